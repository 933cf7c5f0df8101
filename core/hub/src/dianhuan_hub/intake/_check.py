"""A batch against its contract: rows that pass, and rows for quarantine with their reasons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_hub.store import QUARANTINE_SCHEMA, CurveRows, RegisterRows, Topology, curves_to_nan, day_number
from dianhuan_sdk import ROW_COLUMN, Batch, InputError, Refusal, TableContract
from dianhuan_standards import REGISTERS, TABLES

Payload = Callable[[pa.Table], pa.Array]
"""Rows → their JSON texts."""


@dataclass(frozen=True)
class Checked:
    """The two halves of a batch: what passed (curves or register rows) and what is refused."""

    curves: CurveRows | None
    register: RegisterRows | None
    refused: pa.Table


def contract_of(table: str, owned: Mapping[str, TableContract]) -> TableContract:
    """The contract of a table that can be loaded: a register, load curves, or a plugin's own.

    Raises:
        InputError: the table is unknown or is not one that can be loaded.
    """
    if table in owned:
        return owned[table]
    if table not in (*REGISTERS, "load_curve"):
        raise InputError(
            f"table {table!r} cannot be loaded",
            expected=f"load_curve or one of {', '.join(REGISTERS)}",
            hint="dianhuan standards list shows every table",
        )
    return TABLES[table]


def in_contract_form(rows: pa.RecordBatch, contract: TableContract) -> tuple[pa.RecordBatch, np.ndarray]:
    """Columns in the contract's order and types, missing ones null; and the row numbers in the source.

    Raises:
        InputError: a column has another type than the contract's and cannot be cast.
    """
    columns = []
    for f in contract.fields:
        index = rows.schema.get_field_index(f.name)
        if index < 0:
            columns.append(pa.nulls(rows.num_rows, f.type))
            continue
        column = rows.column(index)
        try:
            columns.append(column if column.type == f.type else column.cast(f.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InputError(
                f"column {f.name} of {contract.name} is {column.type}", expected=str(f.type), hint=str(error)[:200]
            ) from error
    schema = pa.schema([pa.field(f.name, f.type) for f in contract.fields])
    index = rows.schema.get_field_index(ROW_COLUMN)
    numbers = (
        np.asarray(rows.column(index).to_numpy(zero_copy_only=False), np.int64)
        if index >= 0
        else np.arange(1, rows.num_rows + 1)
    )
    return pa.record_batch(columns, schema=schema), numbers


def check_batch(batch: Batch, contract: TableContract, topology: Topology, today: date, payload: Payload) -> Checked:
    """Split a batch into what goes in and what is refused; together they are the whole batch.

    Args:
        batch: rows of one table with the adapter's own rejects.
        contract: of that table.
        topology: known metering points.
        today: the present civil day; curves of later days are refused.
        payload: makes the JSON of refused rows.
    """
    rows, numbers = in_contract_form(batch.rows, contract)
    refusals = contract.check(rows)
    ordinals, kw = np.empty(0, np.int32), np.empty((0, 96), np.float32)
    if contract.name == "load_curve":
        ordinals = topology.point_ordinals(rows.column("metering_point_id"))
        kw = curves_to_nan(rows.column("kw"))
        refusals += _curve_refusals(rows, ordinals, kw, topology, today, refusals)
    refused = [_adapter_rejects(batch), *(refused_rows(contract.name, rows, numbers, r, payload) for r in refusals)]
    good = np.ones(rows.num_rows, bool)
    for refusal in refusals:
        good[refusal.rows] = False
    if contract.name != "load_curve":
        kept = pa.Table.from_batches([rows]).filter(pa.array(good))
        delivered = tuple(f.name for f in contract.fields if f.name in batch.rows.schema.names)
        register = RegisterRows(
            contract, kept.append_column(ROW_COLUMN, pa.array(numbers[good])), delivered, only_new=batch.only_new
        )
        return Checked(None, register, _joined(refused))
    keep = np.flatnonzero(good)
    if len(keep) < rows.num_rows:
        plain = rows.drop_columns(["kw"]).take(pa.array(keep))
        ordinals, numbers, kw = ordinals[keep], numbers[keep], kw[keep]
    else:
        plain = rows
    points = pc.fill_null(plain.column("points"), 96)
    curves = CurveRows(
        mp=ordinals,
        day=np.asarray(plain.column("day").cast(pa.int32()).to_numpy(), np.int32),
        kw=kw,
        points=np.asarray(points.to_numpy(zero_copy_only=False), np.uint8),
        kwh=np.asarray(plain.column("kwh").to_numpy(zero_copy_only=False), np.float64),
        row_no=numbers,
    )
    return Checked(curves, None, _joined(refused))


def _curve_refusals(
    rows: pa.RecordBatch,
    ordinals: np.ndarray,
    kw: np.ndarray,
    topology: Topology,
    today: date,
    earlier: Sequence[Refusal],
) -> list[Refusal]:
    alive = np.ones(rows.num_rows, bool)
    for refusal in earlier:
        alive[refusal.rows] = False
    found: list[Refusal] = []

    def refuse(bad: np.ndarray, code: str, column: str, words: str) -> None:
        nonlocal alive
        hit = alive & bad
        if hit.any():
            found.append(Refusal(np.flatnonzero(hit), code, column, words))
            alive &= ~hit

    refuse(
        ordinals < 0,
        "unknown_metering_point",
        "metering_point_id",
        "the metering point is in the register: load the customer archive, then replay",
    )
    days = np.asarray(pc.fill_null(rows.column("day").cast(pa.int32()), 0).to_numpy(zero_copy_only=False))
    refuse(days > day_number(today), "future_day", "day", f"the day is not after {today}")
    if len(topology.net):
        low = np.fmin.reduce(kw, axis=1)
        refuse(
            (low < 0) & ~topology.net[np.maximum(ordinals, 0)],
            "negative_value",
            "kw",
            "kW ≥ 0, unless the register declares net or reverse energy (net_metering)",
        )
    return found


def refused_rows(table: str, rows: pa.RecordBatch, numbers: np.ndarray, refusal: Refusal, payload: Payload) -> pa.Table:
    """Rows of one refusal for quarantine, in contract form so that they can be tried again."""
    taken = pa.Table.from_batches([rows.take(pa.array(refusal.rows))])
    size = taken.num_rows
    return pa.table(
        [
            pa.array([table] * size),
            pa.array(numbers[refusal.rows]),
            pa.array([refusal.code] * size),
            pa.array([f"{refusal.column}: {refusal.words}"] * size),
            payload(taken),
            pa.array([True] * size),
        ],
        schema=QUARANTINE_SCHEMA,
    )


def _adapter_rejects(batch: Batch) -> pa.Table:
    if batch.rejects is None or batch.rejects.num_rows == 0:
        return QUARANTINE_SCHEMA.empty_table()
    rejects = batch.rejects
    size = rejects.num_rows
    return pa.table(
        [
            pa.array([batch.table] * size),
            rejects.column("row"),
            rejects.column("code"),
            rejects.column("detail"),
            rejects.column("raw"),
            pa.array([False] * size),
        ],
        schema=QUARANTINE_SCHEMA,
    )


def _joined(parts: list[pa.Table]) -> pa.Table:
    some = [p for p in parts if p.num_rows]
    return pa.concat_tables(some) if some else QUARANTINE_SCHEMA.empty_table()
