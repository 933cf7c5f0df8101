"""V12: a signed receipt for what was acquired. It is kept as a file, and sent to a peer that takes receipts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa

from dianhuan_federation.core import Signer, canonical, seal
from dianhuan_federation.replica import FEDERATED_RECEIPT, Merged
from dianhuan_sdk import Batch, SourceRef, StoragePort

RECEIPT_TYPE = "application/vnd.dianhuan.receipt+json"
RECEIPT_KIND = "urn:dianhuan:federation:receipt:v1"
FOLDER = "receipts"


def write_receipts(
    folder: Path, merged: Iterable[Merged], reader: str, signer: Signer, now: int
) -> list[dict[str, Any]]:
    """Sign a receipt for each log that grew.

    Args:
        folder: the federation folder; receipts go to `receipts/<SHA-256>.json`.
        merged: what was merged.
        reader: hub id of this hub.
        signer: its transport key.
        now: POSIX seconds.

    Returns:
        Rows of `federated_receipt`, state `kept`.
    """
    at = datetime.fromtimestamp(now, UTC)
    rows = []
    for item in merged:
        if item.size <= item.before:
            continue
        hub = item.origin.split("/")[-2]
        said: Mapping[str, object] = {
            "kind": RECEIPT_KIND,
            "origin": item.origin,
            "size": item.size,
            "root": item.root,
            "before": item.before,
            "reader": reader,
            "rows": item.rows,
            "statements": sum(item.statements.values()),
            "received_at": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        data = seal(RECEIPT_TYPE, canonical(dict(said)), [signer])
        digest = sha256(data).hexdigest()
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        aside = folder / FOLDER / f".{digest}.new"
        aside.write_bytes(data)
        aside.replace(folder / FOLDER / f"{digest}.json")
        rows.append(
            {
                "origin": item.origin,
                "size": item.size,
                "hub": hub,
                "province": hub[:2],
                "reader": reader,
                "root": item.root,
                "statements": said["statements"],
                "rows": item.rows,
                "received_at": at,
                "via": item.via,
                "digest": digest,
                "state": "kept",
            }
        )
    return rows


def store_receipts(storage: StoragePort, rows: list[dict[str, Any]]) -> None:
    """Write rows of `federated_receipt`."""
    if rows:
        batch = pa.RecordBatch.from_pylist(rows, schema=FEDERATED_RECEIPT.schema)
        storage.commit([Batch(FEDERATED_RECEIPT.name, batch, SourceRef("federation:receipts"))])
