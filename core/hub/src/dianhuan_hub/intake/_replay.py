"""Trying again: quarantined rows after the register is fixed, raw files after the adapter or mapping is fixed."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from dianhuan_hub.intake._intake import Intake, Source, Summary
from dianhuan_hub.intake._unit import Gathered
from dianhuan_hub.store import Store, open_quarantine
from dianhuan_sdk import ROW_COLUMN, Batch, SourceRef
from dianhuan_standards import TABLES


def replay_quarantine(
    store: Store,
    intake: Intake,
    *,
    table: str | None = None,
    codes: Sequence[str] | None = None,
    load_id: int | None = None,
) -> Summary:
    """Check open quarantined rows again; those that pass go in, those that fail are refused anew.

    Every row tried is closed and points to the load that tried it, so nothing is ever counted twice.
    """
    with store.engine.cursor() as con:
        rows = open_quarantine(con, table, codes, load_id)
    summary = Summary("quarantine", table or "all")
    for name in sorted(set(rows.column("table_name").to_pylist())):
        mine = rows.filter(pa.array(np.asarray(rows.column("table_name").to_pylist()) == name))
        gathered = Gathered()
        ref = SourceRef(f"quarantine:{name}")
        for batch in mine.to_batches(max_chunksize=20_000):
            records = [json.loads(text) for text in batch.column("payload").to_pylist()]
            restored = _restored(name, records, batch.column("row_no"))
            intake.check_and_gather(gathered, Batch(name, restored, ref))
        source = Source("quarantine", "hub", "", name)
        summary.add(intake.commit(source, gathered, ref, None, replayed=mine.column("quarantine_id").combine_chunks()))
    return summary


def _restored(table: str, records: list[dict[str, object]], numbers: pa.Array) -> pa.RecordBatch:
    contract = TABLES[table]
    columns = []
    for f in contract.fields:
        values = [r.get(f.name) for r in records]
        if pa.types.is_date32(f.type) or pa.types.is_timestamp(f.type):
            texts = pa.array([None if v is None else str(v) for v in values], pa.string())
            columns.append(texts.cast(f.type))
        else:
            columns.append(pa.array(values, f.type))
    return pa.record_batch([*columns, numbers], names=[*(f.name for f in contract.fields), ROW_COLUMN])
