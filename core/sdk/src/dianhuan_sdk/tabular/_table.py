"""Ordinary tables: frames into batches of a contract."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_sdk.batches import ROW_COLUMN
from dianhuan_sdk.contracts import TableContract
from dianhuan_sdk.tabular._fields import convert, ensure_required, plan_columns, required_position
from dianhuan_sdk.tabular._frame import Bools, Frame, Rejects
from dianhuan_sdk.tabular._mapping import Mapping
from dianhuan_sdk.tabular._sieve import kept


def table_batches(
    frames: Iterator[Frame], mapping: Mapping, contract: TableContract, rejects: Rejects, origin: str
) -> Iterator[pa.RecordBatch]:
    """Record batches with the contract's columns and `_row`; rows that do not convert go to `rejects`.

    Raises:
        InputError: the header lacks a column that the mapping names or the contract requires.
    """
    plan = None
    gathered: list[pa.RecordBatch] = []
    for frame in frames:
        if plan is None:
            plan = plan_columns(mapping, contract, frame.headers, origin)
            ensure_required(plan, contract, frame.headers, origin)
            for name in mapping.keep:
                required_position(frame.headers, name, origin)
        frame = kept(frame, mapping, rejects, origin)
        arrays = {}
        good: Bools = np.ones(len(frame.rows), dtype=bool)
        for name, column in plan.items():
            arrays[name], bad = convert(frame, column, contract.field(name), mapping)
            for i in np.flatnonzero(bad & good):
                label = column.column or name
                detail = f"{label}: not a {_kind(contract.field(name).type)} as the mapping reads it"
                rejects.add(int(frame.rows[i]), "unreadable_value", detail, frame.raw(int(i)))
            good &= ~bad
        arrays[ROW_COLUMN] = pa.array(frame.rows)
        batch = pa.RecordBatch.from_pydict(arrays)
        if not good.all():
            batch = batch.filter(pa.array(good))
        if mapping.unique:
            gathered.append(batch)
        else:
            yield batch
    if gathered:
        yield _unique(pa.Table.from_batches(gathered).combine_chunks(), mapping.unique, rejects)


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_date(kind):
        return "day"
    if pa.types.is_timestamp(kind):
        return "time"
    if pa.types.is_boolean(kind):
        return "yes or no"
    return "text" if pa.types.is_string(kind) else "number"


def _unique(table: pa.Table, key: tuple[str, ...], rejects: Rejects) -> pa.RecordBatch:
    """One row per key; keys whose rows disagree in another column are refused, one reject a row."""
    others = [n for n in table.column_names if n not in (*key, ROW_COLUMN)]
    distinct = table.group_by([*key, *others], use_threads=False).aggregate([(ROW_COLUMN, "min")])
    counts = distinct.group_by(list(key), use_threads=False).aggregate([([], "count_all")])
    clashing = counts.filter(pc.greater(counts.column("count_all"), 1)).select(list(key))
    distinct = distinct.rename_columns([*key, *others, ROW_COLUMN]).sort_by(ROW_COLUMN)
    if clashing.num_rows:
        words = f"rows with the same {', '.join(key)} differ in another column"
        bad = distinct.join(clashing, keys=list(key), join_type="left semi", use_threads=False).sort_by(ROW_COLUMN)
        for row in bad.to_pylist():
            number = int(row.pop(ROW_COLUMN))
            rejects.add(number, "clash", words, json.dumps(row, ensure_ascii=False, default=str))
        distinct = distinct.join(clashing, keys=list(key), join_type="left anti", use_threads=False).sort_by(ROW_COLUMN)
    batches = distinct.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=distinct.schema)
