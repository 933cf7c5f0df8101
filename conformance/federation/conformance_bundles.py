"""Whole bundles with the answer that every verifier must give: one good, and each reason code at least once."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance_world import (
    DAY,
    HUB,
    NOW,
    READER,
    Log,
    TrustBuilder,
    hub_file,
    iso,
    key_entry,
    policy_text,
    signer,
    usual_log,
    warning_row,
)

from dianhuan_federation.bundle import BundleReader, BundleReport, export_bundle, log_files
from dianhuan_federation.core import Verdict, parse_checkpoint, parse_policy, row_root

HERE = Path(__file__).parent / "bundles"


@dataclass
class Case:
    """One bundle and what the reader knows beside it."""

    name: str
    log: Log
    trust: TrustBuilder = field(default_factory=TrustBuilder)
    now: int = NOW
    before: str | None = None
    damage: Any = None
    log_damage: Any = None


def contents(case: Case) -> dict[str, bytes]:
    """Path → bytes of the bundle."""
    log = case.log
    files = {f"trust/{path}": data for path, data in case.trust.build().items()}
    kept = {f"checkpoints/{parse_checkpoint(head)[0].size}": head for head in log.heads}
    own = {"checkpoint": log.heads[-1], **kept, **log.tiles()}
    if case.log_damage:
        own = case.log_damage(own)
    files.update(log_files(log.origin, own))
    files.update({f"blobs/sha256/{name}": blob for name, blob in log.blobs.items()})
    return files


def _publisher(**changes: Any) -> TrustBuilder:
    keys = [
        key_entry(role, f"{role}-{HUB}", **(changes if role == "publisher" else {}))
        for role in ("log", "publisher", "transport")
    ]
    return TrustBuilder(hubs={HUB: hub_file(HUB, keys=keys), READER: hub_file(READER)})


def _log(*, policy: dict[str, Any] | None = None, rows: bool = True, **publish: Any) -> Log:
    log = Log()
    log.add_policy(**(policy or {}))
    if rows:
        log.add_batch([warning_row(i) for i in (1, 2, 3)])
    log.publish(**publish)
    return log


def _reversed_rows() -> Log:
    log = _log()
    name = next(iter(log.blobs))
    lines = gzip.decompress(log.blobs[name]).split(b"\n")[:-1]
    payload = b"".join(line + b"\n" for line in reversed(lines))
    log = Log()
    log.add_policy()
    fields = log.batch_fields(payload, len(lines), row_root(payload))
    log.add(log.statement("result-batch", "warnings", fields, payload))
    log.publish()
    return log


def _bomb() -> Log:
    log = Log()
    log.add_policy()
    payload = bytes(1024 * 1024)
    log.add(log.statement("result-batch", "warnings", log.batch_fields(payload, 0, row_root(b"")), payload))
    log.publish()
    return log


def _other_kind(kind: str, **head: Any) -> Log:
    log = Log()
    log.add(log.statement(kind, "alive", {"streams": 1}, **head))
    log.publish()
    return log


def _fork() -> Log:
    log = usual_log(1)
    for number in (71, 72, 73):
        log.add_batch([warning_row(number)])
    log.publish(NOW - 100)
    return log


def _signed_by_another() -> Log:
    log = Log()
    log.add(log.statement("heartbeat", "alive", {"streams": 1}), [f"publisher-{READER}"])
    log.publish()
    return log


def _bit(files: dict[str, bytes], part: str) -> dict[str, bytes]:
    name = next(path for path in files if part in path)
    data = files[name]
    return {**files, name: data[:50] + bytes([data[50] ^ 1]) + data[51:]}


def cases() -> Iterator[Case]:
    """Every case."""
    yield Case("good", usual_log())
    yield Case("v0-trailing", usual_log(1), damage=lambda data: data + b"!" * 512)
    yield Case("v0-damaged-header", usual_log(1), damage=lambda data: data.replace(b"bundle.json", b"bundle.jsom"))
    yield Case(
        "v1-hub-unknown", usual_log(1), TrustBuilder(hubs={READER: hub_file(READER), "430300": hub_file("430300")})
    )
    yield Case("v1-stale", usual_log(1), TrustBuilder(expires={"timestamp": NOW - 10 * DAY}))
    yield Case("v1-very-stale", usual_log(1), TrustBuilder(expires={"timestamp": NOW - 40 * DAY}))
    yield Case("v2-wrong-log-key", _log(log=f"log-{READER}"))
    yield Case("v3-fork", _fork(), before="good")
    yield Case("v4-one-witness", _log(witnesses=("w43",)))
    yield Case("v4-future", _log(at=NOW + DAY))
    yield Case("v5-entry-changed", usual_log(1), log_damage=lambda files: _bit(files, "entries"))
    yield Case("v6-wrong-publisher", _signed_by_another())
    yield Case("v6-revoked", _log(), _publisher(revoked_at=iso(NOW - 7200), reason="stolen"))
    yield Case("v7-unknown-kind", _other_kind("full-moon"))
    yield Case("v7-gap", _other_kind("heartbeat", stream_seq=2))
    yield Case("v8-withheld", _log(policy={"class": "withheld"}))
    missing = _log()
    missing.blobs.clear()
    yield Case("v9-missing", missing)
    changed = _log()
    name = next(iter(changed.blobs))
    changed.blobs[name] = changed.blobs[name][:-1] + b"!"
    yield Case("v9-digest", changed)
    yield Case("v9-bomb", _bomb())
    yield Case("v10-unsorted", _reversed_rows())


def words(verdict: Verdict) -> str:
    """A verdict as the index writes it."""
    return " ".join(str(part) for part in (verdict.step, verdict.code, verdict.state) if part)


def describe(report: BundleReport) -> dict[str, Any]:
    """The answer about a bundle as the index writes it."""
    logs = {
        origin: {"verdict": words(log.verdict), "entries": [words(e.verdict) for e in log.entries]}
        for origin, log in report.logs.items()
    }
    return {"verdict": words(report.verdict), "logs": logs}


def write(folder: Path) -> dict[str, Any]:
    """Write every bundle, the root and the witness policy; return the index."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "root.json").write_bytes(TrustBuilder().bootstrap())
    (folder / "witnesses.policy").write_bytes(policy_text())
    index = []
    states: dict[str, Any] = {}
    for case in cases():
        path = folder / f"{case.name}.tar"
        exporter = READER
        export_bundle(
            path, contents(case).items(), exporter=exporter, signer=signer(f"transport-{exporter}"), created_at=NOW
        )
        if case.damage:
            path.write_bytes(case.damage(path.read_bytes()))
        reader = BundleReader(TrustBuilder().bootstrap(), parse_policy(policy_text()), case.now, READER)
        report = reader.verify(path, states.get(case.before or ""))
        states[case.name] = {origin: log.state for origin, log in report.logs.items()}
        entry = {"name": case.name, "file": path.name, "now": case.now, "reader": READER, "before": case.before}
        index.append({**entry, "expected": describe(report)})
    return {"root": "root.json", "policy": "witnesses.policy", "cases": index}


if __name__ == "__main__":
    content = json.dumps(write(HERE), indent=1) + "\n"
    (HERE / "index.json").write_text(content, "utf-8")
