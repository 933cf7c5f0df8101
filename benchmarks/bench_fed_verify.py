"""Verification of what other hubs share, V1 to V10 with every row check, beside loading the same rows unverified.

Two shapes: the country (340 hubs, three daily batches of 400 rows each) and one large sender (50 batches of 20,000
rows). The alternatives run in turn with it on the same bytes: DuckDB loading the gzip NDJSON into a typed table with
a key and into one without, SHA-256 of the files, gunzip and SHA-256 of the rows. DuckDB works on one
thread. Rates are per second of one core, so that neighbours on the machine count less; wall time stands beside.
"""

from __future__ import annotations

import gzip
import importlib.util
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb

from benchmarks._report import write
from dianhuan_federation.core import LogState, State, Verifier, load_trust, parse_policy

RUNS = 7
TARGET = 250_000
SHAPES = {"country": (340, 3, 400), "large": (1, 50, 20_000)}
QUICK = {"country": (20, 3, 400), "large": (1, 3, 20_000)}


def _world() -> ModuleType:
    """The builders of the conformance vectors."""
    path = Path(__file__).parents[1] / "conformance" / "federation" / "conformance_world.py"
    spec = importlib.util.spec_from_file_location("conformance_world", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["conformance_world"] = module
    spec.loader.exec_module(module)
    return module


def _rows(world: ModuleType, rng: random.Random, hub: str, batch: int, count: int) -> list[dict[str, Any]]:
    """Warnings that are not all alike: texts, scores, days and nulls vary."""
    names = ("湘江化工有限公司", "洞庭水泥厂", "衡山机械制造股份有限公司", "长沙食品加工厂", None)
    return [
        world.warning_row(
            record_id=f"{hub}-{batch:03d}-{number:06d}",
            enterprise=f"91430100{rng.choice('MFH')}A{rng.randrange(10**7):07d}8",
            enterprise_name=rng.choice(names),
            division=hub,
            industry=rng.choice(("C2614", "C30", "B0610", "H6110", None)),
            day=f"2026-11-{rng.randrange(1, 24):02d}",
            model_id=rng.choice(("m05-night-only", "m01-flat-load", "m12-holiday")),
            score=f"0.{rng.randrange(10_000):04d}",
            raised_at=f"2026-11-24T{rng.randrange(24):02d}:{rng.randrange(60):02d}:00Z",
        )
        for number in range(count)
    ]


def _build(world: ModuleType, hubs: int, batches: int, rows: int) -> tuple[Any, list[Any], int]:
    """Trust repository, one submission a hub, and the number of rows."""
    rng = random.Random(10)
    provinces = [f"{number:02d}" for number in range(11, 42)]
    codes = [f"{provinces[i % 31]}{i // 31 + 1:02d}00" for i in range(hubs)]
    builder = world.TrustBuilder(
        hubs={code: world.hub_file(code) for code in codes}, provinces=tuple(f"prov-{p}" for p in provinces)
    )
    submissions = []
    for code in codes:
        log = world.Log(code)
        log.add_policy()
        for batch in range(batches):
            log.add_batch(_rows(world, rng, code, batch, rows))
        log.publish()
        submissions.append(log.submission())
    return builder, submissions, hubs * batches * rows


def _quartiles(values: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": round(middle, 4), "iqr": round(high - low, 4)}


COLUMNS = {
    "record_id": "VARCHAR",
    "enterprise": "VARCHAR",
    "enterprise_name": "VARCHAR",
    "division": "VARCHAR",
    "industry": "VARCHAR",
    "day": "DATE",
    "model_id": "VARCHAR",
    "model_version": "VARCHAR",
    "score": "DECIMAL(5, 4)",
    "raised_at": "TIMESTAMPTZ",
}


def _load(files: list[Path], *, keyed: bool) -> int:
    """The rows of the files in a fresh database on disk, typed, unverified.

    Args:
        files: gzip NDJSON.
        keyed: into a table with a key, so that what arrives twice is one row, as a replica must; otherwise appended.
    """
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(f"{folder}/rows.duckdb") as db:
        db.execute("SET threads = 1")
        db.execute(f"CREATE TABLE warning ({columns}{', PRIMARY KEY (record_id)' if keyed else ''})")
        db.execute(
            f"INSERT {'OR REPLACE' if keyed else ''} INTO warning BY NAME SELECT * FROM "
            f"read_json($1, format = 'newline_delimited', columns = {COLUMNS})",
            [[str(file) for file in files]],
        )
        db.execute("CHECKPOINT")
        return int(db.execute("SELECT count(*) FROM warning").fetchall()[0][0])


def _measure(world: ModuleType, shape: tuple[int, int, int], runs: int) -> dict[str, Any]:
    builder, submissions, rows = _build(world, *shape)
    files = builder.build()
    blobs = [blob for submission in submissions for blob in submission.blobs.values()]

    states: dict[str, LogState] = {}

    def verify(known: Mapping[str, LogState], expected: int) -> None:
        trust = load_trust(builder.bootstrap(), files, world.NOW)
        verifier = Verifier(trust, parse_policy(world.policy_text()), world.NOW)
        seen = 0
        for submission in submissions:
            report = verifier.verify(submission, known.get(submission.origin))
            assert report.verdict.state is State.ACCEPTED
            assert all(entry.verdict.state is State.ACCEPTED for entry in report.entries)
            states[submission.origin] = report.state
            seen += sum(len(entry.rows) for entry in report.entries)
        assert seen == expected

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.json.gz" for number in range(len(blobs))]
        for path, blob in zip(paths, blobs, strict=True):
            path.write_bytes(blob)

        def load(keyed: bool) -> None:
            assert _load(paths, keyed=keyed) == rows

        work: dict[str, Callable[[], object]] = {
            "verify": lambda: verify({}, rows),
            # The same heads once more: trust root, log signatures and cosignatures, but no new entry.
            "of_that_trust_and_heads": lambda: verify(states, 0),
            "load_unverified_keyed": lambda: load(True),
            "load_unverified_appended": lambda: load(False),
            "sha256_of_files": lambda: [sha256(blob).digest() for blob in blobs],
            "gunzip_and_sha256": lambda: [sha256(gzip.decompress(blob)).digest() for blob in blobs],
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in work}
        for run in range(runs + 1):
            for name, step in work.items():
                began = time.process_time(), time.perf_counter()
                step()
                if run:
                    taken[name].append((time.process_time() - began[0], time.perf_counter() - began[1]))
    seconds = {name: _quartiles([core for core, _ in values]) for name, values in taken.items()}
    walls = {name: _quartiles([wall for _, wall in values]) for name, values in taken.items()}
    whole, heads = seconds["verify"]["median"], seconds["of_that_trust_and_heads"]["median"]
    rate = rows / (whole - heads)
    keyed, appended = (whole / seconds[f"load_unverified_{way}"]["median"] for way in ("keyed", "appended"))
    return {
        "hubs_batches_rows": shape,
        "rows": rows,
        "bytes": {"transported": sum(map(len, blobs)), "rows": sum(len(gzip.decompress(blob)) for blob in blobs)},
        "core_seconds": seconds,
        "wall_seconds": walls,
        "rows_per_s_v1_to_v10": round(rows / whole),
        "rows_per_s_v5_to_v10": round(rate),
        "verification_over_loading_percent": {"keyed": round(100 * keyed, 1), "appended": round(100 * appended, 1)},
        "met": {"V5 to V10 at 250,000 rows/s": rate >= TARGET, "at most 100 % over keyed loading": keyed <= 1},
    }


def _ed25519() -> str:
    """What OpenSSL says of one core's Ed25519, for scale."""
    try:
        done = subprocess.run(
            ["openssl", "speed", "-seconds", "1", "ed25519"], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return "openssl is not installed"
    return " ".join(done.stdout.strip().splitlines()[-1].split())


def main() -> None:
    """Both shapes; seven runs after a warm-up, `--quick` for a glance."""
    quick = "--quick" in sys.argv
    world = _world()
    shapes = QUICK if quick else SHAPES
    results = {name: _measure(world, shape, 2 if quick else RUNS) for name, shape in shapes.items()}
    write("fed_verify", {"openssl_speed_ed25519": _ed25519(), "shapes": results})


if __name__ == "__main__":
    main()
