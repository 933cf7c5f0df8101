"""Trying again: quarantined rows after the register is fixed, raw files after the adapter or mapping is fixed."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_hub.intake._intake import Intake, Source, Summary
from dianhuan_hub.intake._unit import Gathered
from dianhuan_hub.store import Store, open_quarantine
from dianhuan_sdk import ROW_COLUMN, Batch, SourceRef, TableContract


def replay_quarantine(
    store: Store,
    intake: Intake,
    *,
    table: str | None = None,
    codes: Sequence[str] | None = None,
    load_id: int | None = None,
) -> Summary:
    """Check open quarantined rows again, load by load; those that pass go in, those that fail are refused anew.

    Every row tried is closed and points to the load that tried it, so nothing is ever counted twice. A row never takes
    the place of what a later load has brought since.
    """
    with store.engine.cursor() as con:
        rows = open_quarantine(con, table, codes, load_id)
    if codes is None:
        # Of conflicting rows nobody knows which is right; they are tried only when asked for by their code.
        rows = rows.filter(pc.not_equal(rows.column("code"), "conflicting_duplicate"))
    summary = Summary("quarantine", table or "all")
    loads = np.asarray(rows.column("load_id").to_numpy(), np.int64)
    names = np.asarray(rows.column("table_name").to_pylist(), object)
    for origin in np.unique(loads):
        for name in sorted(set(names[loads == origin])):
            mine = rows.filter(pa.array((loads == origin) & (names == name)))
            gathered = Gathered()
            ref = SourceRef(f"quarantine:{name}")
            for batch in mine.to_batches(max_chunksize=20_000):
                records = [json.loads(text) for text in batch.column("payload").to_pylist()]
                restored = _restored(intake.contract(name), records, batch.column("row_no"))
                intake.check_and_gather(gathered, Batch(name, restored, ref))
            source = Source("quarantine", "hub", "", name)
            ids = mine.column("quarantine_id").combine_chunks()
            summary.add(intake.commit(source, gathered, ref, None, replayed=ids, origin=int(origin)))
    return summary


def _restored(contract: TableContract, records: list[dict[str, object]], numbers: pa.Array) -> pa.RecordBatch:
    columns, names = [], []
    for f in contract.fields:
        values = [r.get(f.name) for r in records]
        if all(v is None for v in values):
            continue  # as far as anybody can tell, the source does not have this column
        names.append(f.name)
        if pa.types.is_date32(f.type) or pa.types.is_timestamp(f.type):
            texts = pa.array([None if v is None else str(v) for v in values], pa.string())
            columns.append(texts.cast(f.type))
        else:
            columns.append(pa.array(values, f.type))
    return pa.record_batch([*columns, numbers], names=[*names, ROW_COLUMN])
