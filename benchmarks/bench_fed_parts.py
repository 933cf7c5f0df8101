"""Parts of the federation beside their peers: log writer, proof checks, signature suites.

Peers that are not installed are left out by name: `aics-tlog` (pip install --ignore-requires-python --no-deps), Go with
golang.org/x/mod (Debian golang-go, golang-golang-x-mod-dev), OpenSSL 3.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from base64 import b64decode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks._report import write
from dianhuan_federation.core import Ed25519Signer, is_included, open_envelope, seal
from dianhuan_federation.core import key_id as id_of
from dianhuan_federation.guard import CheckpointGuard
from dianhuan_federation.log_store import TileLog
from dianhuan_federation.suites import Sm2Signer

VECTORS = Path(__file__).parents[1] / "conformance" / "federation"
ORIGIN = "fed.example/430200/r1"
ENTRY = 1200
"""Bytes of a usual statement in its envelope."""
AICS = importlib.util.find_spec("aics_tlog") is not None


def _rate(work: Callable[[], int], runs: int, seconds: float = 0.5) -> dict[str, float]:
    """Units a second of `work`, which says how many it did: median and interquartile range over the runs."""
    rates = []
    for _ in range(runs):
        done, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds:
            done += work()
        rates.append(done / spent)
    low, middle, high = statistics.quantiles(rates, n=4, method="inclusive")
    return {"median": round(middle), "iqr": round(high - low)}


def _writer(runs: int, step: int, steps: int) -> dict[str, Any]:
    """Entries a second, each step on disk with fsync before the next.

    Ours also signs a checkpoint, keeps it by size and moves the guard in a database of its own; `aics-tlog` writes
    tiles and entries only, the hash chain has neither tiles nor signatures.
    """
    batches = [[os.urandom(ENTRY) for _ in range(step)] for _ in range(steps)]

    def ours(folder: Path) -> None:
        log = TileLog.create(folder / "log", ORIGIN, Ed25519Signer(bytes(32)), CheckpointGuard(folder / "guard.sqlite"))
        for batch in batches:
            log.append(batch)

    def chain(folder: Path) -> None:
        with sqlite3.connect(folder / "chain.sqlite") as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("CREATE TABLE entry (number INTEGER PRIMARY KEY, body BLOB, hash BLOB)")
            last = bytes(32)
            for batch in batches:
                for body in batch:
                    last = sha256(last + body).digest()
                    database.execute("INSERT INTO entry (body, hash) VALUES (?, ?)", (body, last))
                database.commit()

    def theirs(folder: Path) -> None:
        from aics_tlog import DirectoryTileStore, IncrementalTileWriter

        writer = IncrementalTileWriter(DirectoryTileStore(folder, fsync=True))
        for batch in batches:
            writer.append(batch)

    found: dict[str, Any] = {"entries_at_once": step}
    writers = {"dianhuan": ours, "sqlite_hash_chain": chain, **({"aics_tlog": theirs} if AICS else {})}
    rates: dict[str, list[float]] = {name: [] for name in writers}
    for _ in range(runs):
        for name, writer in writers.items():
            with tempfile.TemporaryDirectory() as folder:
                began = time.perf_counter()
                writer(Path(folder))
                rates[name].append(step * steps / (time.perf_counter() - began))
    for name, values in rates.items():
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
        found[name] = {"entries_per_s": round(middle), "iqr": round(high - low)}
    return found


def _proofs(runs: int) -> dict[str, Any]:
    """Inclusion proofs checked a second, in a tree of 65,537 leaves."""
    cases = json.loads((VECTORS / "merkle.json").read_text("utf-8"))["inclusion"]
    good = [
        (b64decode(c["leaf"]), c["index"], c["size"], [b64decode(p) for p in c["path"]], b64decode(c["root"]))
        for c in cases
        if c["holds"] and c["size"] == 65_537
    ]

    def check(verify: Callable[..., bool]) -> int:
        for leaf, index, size, path, root in good:
            assert verify(leaf, index, size, path, root)
        return len(good)

    found: dict[str, Any] = {"dianhuan": _rate(lambda: check(is_included), runs)}
    if AICS:
        from aics_tlog import verify_inclusion

        found["aics_tlog"] = _rate(lambda: check(verify_inclusion), runs)
    go = shutil.which("go")
    if go and Path("/usr/share/gocode/src/golang.org/x/mod/sumdb").is_dir():
        with tempfile.TemporaryDirectory() as cache:
            known = {name: value for name, value in os.environ.items() if not name.startswith("GO")}
            settings = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": cache}
            program = f"{cache}/verify"
            subprocess.run([go, "build", "-o", program, VECTORS / "go" / "main.go"], check=True, env=known | settings)
            done = [
                json.loads(subprocess.run([program, VECTORS, "bench"], check=True, capture_output=True).stdout)
                for _ in range(runs)
            ]
        low, middle, high = statistics.quantiles([d["proofs_per_s"] for d in done], n=4, method="inclusive")
        found["go_sumdb"] = {"median": round(middle), "iqr": round(high - low)}
    return found


def _suites(runs: int) -> dict[str, Any]:
    """Statements sealed and verified a second, and bytes of the envelope over a statement of 800 bytes."""
    one, statement = Ed25519Signer(bytes(32)), b"x" * 800
    combinations: dict[str, list[Any]] = {"ed25519": [one]}
    if importlib.util.find_spec("gmssl_pyx"):
        two = Sm2Signer.generate()
        combinations |= {"sm2-sm3": [two], "ed25519 and sm2-sm3": [one, two]}
    found = {}
    for name, signers in combinations.items():
        data = seal("application/vnd.in-toto+json", statement, signers)
        keys = {id_of(signer.public): signer.public for signer in signers}

        def sign(signers: list[Any] = signers) -> int:
            seal("application/vnd.in-toto+json", statement, signers)
            return 1

        def verify(data: bytes = data, keys: dict[str, Any] = keys) -> int:
            assert open_envelope(data).signed_by(keys) == frozenset(keys)
            return 1

        found[name] = {
            "sealed_per_s": _rate(sign, runs),
            "verified_per_s": _rate(verify, runs),
            "envelope_bytes": len(data),
        }
    return found


def _openssl() -> dict[str, str]:
    """`openssl speed` of the same algorithms."""
    found = {}
    for name in ("ed25519", "sm2"):
        try:
            words = ["openssl", "speed", "-seconds", "1", name]
            done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=30)
            found[name] = " ".join(done.stdout.strip().splitlines()[-1].split())
        except (OSError, subprocess.SubprocessError):
            found[name] = "not available"
    return found


def main() -> None:
    """Seven runs of each, `--quick` for two."""
    runs = 2 if "--quick" in sys.argv else 7
    write(
        "fed_parts",
        {
            "log_writer": [_writer(runs, step, steps) for step, steps in ((1, 50), (256, 8))],
            "inclusion_proofs_per_s": _proofs(runs),
            "suites": _suites(runs),
            "openssl_speed": _openssl(),
        },
    )


if __name__ == "__main__":
    main()
