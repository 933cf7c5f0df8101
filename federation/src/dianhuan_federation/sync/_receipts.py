"""V12: a signed receipt for what was acquired. It is kept as a file, and sent to a peer that takes receipts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
LOGS_OF_ONE = 40
"""Logs that one receipt is about: peers take receipts of up to 16 KiB."""


def write_receipts(
    storage: StoragePort,
    folder: Path,
    merged: Iterable[Merged],
    places: Mapping[str, str],
    reader: str,
    signer: Signer,
    now: int,
) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Sign receipts for logs of which the present size is not acknowledged yet, also after a crash.

    Args:
        storage: the hub's storage.
        folder: the federation folder; receipts go to `receipts/<SHA-256>.json`.
        merged: what was merged, or looked at.
        places: origin → where it came from; one receipt is about logs of one place.
        reader: hub id of this hub.
        signer: its transport key.
        now: POSIX seconds.

    Returns:
        (place, digest, new rows of `federated_receipt` in state `kept`) of each receipt.
    """
    at = datetime.fromtimestamp(now, UTC)
    by_place: dict[str, list[dict[str, Any]]] = {}
    for row in _owed(storage, merged):
        row |= {"reader": reader, "received_at": at}
        by_place.setdefault(places.get(row["origin"], ""), []).append(row)
    written = []
    for place, rows in by_place.items():
        for first in range(0, len(rows), LOGS_OF_ONE):
            some = rows[first : first + LOGS_OF_ONE]
            said = {
                "kind": RECEIPT_KIND,
                "reader": reader,
                "received_at": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "logs": [{k: row[k] for k in ("origin", "size", "root", "statements", "rows")} for row in some],
            }
            data = seal(RECEIPT_TYPE, canonical(said), [signer])
            digest = sha256(data).hexdigest()
            (folder / FOLDER).mkdir(parents=True, exist_ok=True)
            aside = folder / FOLDER / f".{digest}.new"
            aside.write_bytes(data)
            aside.replace(folder / FOLDER / f"{digest}.json")
            written.append((place, digest, [{**row, "digest": digest, "state": "kept"} for row in some]))
    return written


def _owed(storage: StoragePort, merged: Iterable[Merged]) -> Iterator[dict[str, Any]]:
    """What is not acknowledged yet of each log: size, root, statements and rows since the last receipt."""
    heads = {m.origin: m for m in merged if m.size}
    if not heads:
        return
    given: dict[str, int] = {}
    known = storage.read(FEDERATED_RECEIPT.name, columns=["origin", "size"], equals={"origin": sorted(heads)})
    for row in known.read_all().to_pylist():
        given[row["origin"]] = max(row["size"], given.get(row["origin"], 0))
    for origin, item in sorted(heads.items()):
        before, hub = given.get(origin, 0), origin.split("/")[-2]
        if item.size > before:
            yield {
                "origin": origin,
                "size": item.size,
                "hub": hub,
                "province": hub[:2],
                "root": item.root,
                "statements": item.size - before,
                # A round that a crash cut short is counted from the tables.
                "rows": item.rows if item.before == before else _rows(storage, origin, before, item.size),
                "via": item.via,
            }


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
