"""V12: a signed receipt for what was acquired. It is kept as a file, and sent to a peer that takes receipts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa

from dianhuan_federation.core import Signer, canonical, seal
from dianhuan_federation.replica import FEDERATED_RECEIPT, FEDERATED_STATEMENT, Merged
from dianhuan_sdk import Batch, SourceRef, StoragePort

RECEIPT_TYPE = "application/vnd.dianhuan.receipt+json"
RECEIPT_KIND = "urn:dianhuan:federation:receipt:v1"
FOLDER = "receipts"


def write_receipts(
    storage: StoragePort, folder: Path, merged: Iterable[Merged], reader: str, signer: Signer, now: int
) -> list[dict[str, Any]]:
    """Sign a receipt for each log of which the present size is not acknowledged yet, also after a crash.

    Args:
        storage: the hub's storage.
        folder: the federation folder; receipts go to `receipts/<SHA-256>.json`.
        merged: what was merged, or looked at.
        reader: hub id of this hub.
        signer: its transport key.
        now: POSIX seconds.

    Returns:
        New rows of `federated_receipt`, state `kept`.
    """
    at = datetime.fromtimestamp(now, UTC)
    heads = {m.origin: m for m in merged if m.size}
    equals = {"origin": sorted(heads)}
    given: dict[str, int] = {}
    known = storage.read(FEDERATED_RECEIPT.name, columns=["origin", "size"], equals=equals) if heads else None
    for row in known.read_all().to_pylist() if known else ():
        given[row["origin"]] = max(row["size"], given.get(row["origin"], 0))
    rows = []
    for origin, item in sorted(heads.items()):
        before = given.get(origin, 0)
        if item.size <= before:
            continue
        said: Mapping[str, object] = {
            "kind": RECEIPT_KIND,
            "origin": origin,
            "size": item.size,
            "root": item.root,
            "before": before,
            "reader": reader,
            "rows": _rows(storage, origin, before, item.size),
            "statements": item.size - before,
            "received_at": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        data = seal(RECEIPT_TYPE, canonical(dict(said)), [signer])
        digest = sha256(data).hexdigest()
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        aside = folder / FOLDER / f".{digest}.new"
        aside.write_bytes(data)
        aside.replace(folder / FOLDER / f"{digest}.json")
        hub = origin.split("/")[-2]
        rows.append(
            {
                **{k: said[k] for k in ("origin", "size", "root", "reader", "rows", "statements")},
                "hub": hub,
                "province": hub[:2],
                "received_at": at,
                "via": item.via,
                "digest": digest,
                "state": "kept",
            }
        )
    return rows


def _rows(storage: StoragePort, origin: str, before: int, size: int) -> int:
    """Rows of the accepted statements in a range of a log."""
    equals = {"origin": origin, "state": "ACCEPTED", "index": list(range(before, size))}
    counts = storage.read(FEDERATED_STATEMENT.name, columns=["rows"], equals=equals).read_all().column("rows")
    return sum(count for count in counts.to_pylist() if count)


def store_receipts(storage: StoragePort, rows: list[dict[str, Any]]) -> None:
    """Write rows of `federated_receipt`."""
    if rows:
        batch = pa.RecordBatch.from_pylist(rows, schema=FEDERATED_RECEIPT.schema)
        storage.commit([Batch(FEDERATED_RECEIPT.name, batch, SourceRef("federation:receipts"))])
