"""Wide files: a row is one metering point's day."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_sdk.contracts import POINTS_PER_DAY, TableContract
from dianhuan_sdk.tabular import _values as v
from dianhuan_sdk.tabular._blocks import Block
from dianhuan_sdk.tabular._curve import Floats, curve_batches, kilo_factor, missing_numbers, spread
from dianhuan_sdk.tabular._fields import convert, ensure_required, plan_columns, required_position, used_columns
from dianhuan_sdk.tabular._frame import Frame, Rejects
from dianhuan_sdk.tabular._mapping import Column, Mapping
from dianhuan_sdk.tabular._points import Points, find_points
from dianhuan_sdk.tabular._sieve import Sieve, kept, multipliers

_TRANSPOSE_ROWS = 256


@dataclass(frozen=True)
class _Plan:
    mapping: Mapping
    contract: TableContract
    origin: str
    columns: dict[str, Column]
    points: Points | None
    types: dict[int, pa.DataType]


def wide_batches(
    blocks: Iterator[Block], mapping: Mapping, contract: TableContract, rejects: Rejects, origin: str
) -> Iterator[pa.RecordBatch]:
    """Batches of `load_curve` from a wide file; rows that do not convert go to `rejects`.

    Raises:
        InputError: the header lacks a column, or has another number of value columns than 96, 48, 24 or none.
    """
    plan: _Plan | None = None
    for block in blocks:
        plan = plan or _plan(block.headers, mapping, contract, origin)
        frame = block.typed(plan.types, mapping.missing)
        if frame is not None:
            trial = Rejects()
            batches = _convert(frame, plan, trial)
            if not len(trial):
                rejects.ignored += trial.ignored
                yield from batches
                continue
        # Something in this block is wrong: read it again with all columns, so that bad rows can be shown whole.
        yield from _convert(block.careful(rejects), plan, rejects)


def _plan(headers: Sequence[str], mapping: Mapping, contract: TableContract, origin: str) -> _Plan:
    columns = plan_columns(mapping, contract, headers, origin)
    for made_here in ("kw", "points"):
        columns.pop(made_here, None)
    points = find_points(headers, mapping.curve, origin)
    ensure_required(columns, contract, headers, origin)
    if points is None and "kwh" not in columns:
        required_position(headers, "P1", origin)
    names = [name for column in columns.values() for name in used_columns(column)]
    names += mapping.keep
    if mapping.curve is not None and isinstance(mapping.curve.multiplier, Column):
        names += used_columns(mapping.curve.multiplier)
    types: dict[int, pa.DataType] = {required_position(headers, name, origin): pa.binary() for name in names}
    if points is not None:
        types |= dict.fromkeys(points.positions, pa.float32())
    return _Plan(mapping, contract, origin, columns, points, types)


def _convert(frame: Frame, plan: _Plan, rejects: Rejects) -> list[pa.RecordBatch]:
    curve = plan.mapping.curve
    frame = kept(frame, plan.mapping, rejects, plan.origin)
    sieve = Sieve(frame, rejects)
    arrays: dict[str, pa.Array] = {}
    for name, column in plan.columns.items():
        arrays[name], bad = convert(frame, column, plan.contract.field(name), plan.mapping)
        if bad.any():
            sieve.refuse(bad, "unreadable_value", f"{column.column} cannot be read as {name}")
    factor = multipliers(frame, curve, plan.mapping, sieve, plan.origin)
    values = _values_of(frame, plan, sieve)
    count = len(frame.rows)
    kwh = arrays.get("kwh", pa.nulls(count, pa.float64()))
    if factor is not None:
        values *= factor[:, None]
        kwh = pc.multiply(kwh, pa.array(factor, pa.float64()))
    points = pa.array(np.full(count, len(plan.points.positions) if plan.points else 1, np.int32))
    columns = [arrays["metering_point_id"], arrays["day"], points, kwh, pa.array(frame.rows)]
    if not sieve.good.all():
        mask = pa.array(sieve.good)
        columns = [column.filter(mask) for column in columns]
        values = values[sieve.good]
    meters, days, points, kwh, rows = columns
    return curve_batches(meters, days, spread(values), points, kwh, rows)


def _values_of(frame: Frame, plan: _Plan, sieve: Sieve) -> Floats:
    count = len(frame.rows)
    if plan.points is None:
        return np.full((count, POINTS_PER_DAY), np.nan, dtype=np.float32)
    columns = [_column(frame, at, plan, sieve) for at in plan.points.positions]
    out = np.empty((count, len(columns)), dtype=np.float32)
    for start in range(0, count, _TRANSPOSE_ROWS):
        stop = min(start + _TRANSPOSE_ROWS, count)
        out[start:stop] = np.stack([c[start:stop] for c in columns], axis=1)
    for mark in missing_numbers(plan.mapping):
        gaps = out == np.float32(mark)
        if gaps.any():
            out[gaps] = np.nan
    factor = kilo_factor(plan.mapping.curve.unit if plan.mapping.curve else "kW", plan.points.minutes)
    return out if factor == 1.0 else out * np.float32(factor)


def _column(frame: Frame, at: int, plan: _Plan, sieve: Sieve) -> Floats:
    column = frame.columns[at]
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        texts, undecoded = frame.text(at)
        column, bad = v.numbers(v.blank_to_null(texts, plan.mapping.missing), plan.mapping.decimal)
        bad = bad | undecoded
        if bad.any():
            sieve.refuse(bad, "bad_number", f"{frame.headers[at]} is not a number", texts)
    return np.asarray(column.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False))
