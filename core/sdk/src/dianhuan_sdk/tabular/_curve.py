"""Curves in the contract's form: 96 quarter hours of kW with nulls for missing points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from dianhuan_sdk.batches import ROW_COLUMN
from dianhuan_sdk.contracts import CURVE_TYPE, POINTS_PER_DAY
from dianhuan_sdk.tabular._frame import Bools
from dianhuan_sdk.tabular._mapping import Mapping

Floats = np.ndarray[Any, np.dtype[np.float32]]

_TO_KILO = {"kW": 1.0, "W": 1e-3, "MW": 1e3, "kWh": 1.0, "Wh": 1e-3}

CURVE_SCHEMA = pa.schema(
    [
        pa.field("metering_point_id", pa.string()),
        pa.field("day", pa.date32()),
        pa.field("kw", CURVE_TYPE),
        pa.field("points", pa.int32()),
        pa.field("kwh", pa.float64()),
        pa.field(ROW_COLUMN, pa.int64()),
    ]
)


def kilo_factor(unit: str, minutes: int) -> float:
    """What turns a value in `unit` over an interval of that many minutes into mean kW."""
    return _TO_KILO[unit] * (60.0 / minutes if unit.endswith("h") else 1.0)


def missing_numbers(mapping: Mapping) -> list[float]:
    """The missing marks that are numbers, so that -9999.0 is one where -9999 is."""
    found = []
    for mark in mapping.missing:
        try:
            value = float(mark)
        except ValueError:
            continue
        if value == value:
            found.append(value)
    return found


def pack(values: Floats) -> pa.Array:
    """(rows, 96) kW with NaN for missing points as `CURVE_TYPE`.

    The validity bitmap of the flattened child is the mask: 12 bytes a row. A missing point holds 0.0 beneath it.
    """
    flat = np.ascontiguousarray(values, dtype=np.float32).reshape(-1)
    gaps = np.isnan(flat)
    bitmap = None
    if gaps.any():
        bitmap = pa.py_buffer(np.packbits(~gaps, bitorder="little"))
        flat = np.where(gaps, np.float32(0.0), flat)
    child = pa.Array.from_buffers(pa.float32(), len(flat), [bitmap, pa.py_buffer(flat)])
    return pa.FixedSizeListArray.from_arrays(child, POINTS_PER_DAY)


def spread(values: Floats) -> Floats:
    """(rows, 96 | 48 | 24) mean kW as (rows, 96): each value holds for its whole interval, so energy is kept."""
    return values if values.shape[1] == POINTS_PER_DAY else np.repeat(values, POINTS_PER_DAY // values.shape[1], axis=1)


def curve_batches(
    meters: pa.Array, days: pa.Array, values: Floats, points: pa.Array, kwh: pa.Array, rows: pa.Array
) -> list[pa.RecordBatch]:
    """Batches of the contract's columns; rows without any point come apart, with a null curve.

    Lists in one batch are all valid or all null, so that readers may flatten without losing their place.
    """
    empty: Bools = np.asarray(np.isnan(values).all(axis=1), dtype=bool)
    if not empty.any():
        return [pa.RecordBatch.from_arrays([meters, days, pack(values), points, kwh, rows], schema=CURVE_SCHEMA)]
    batches = []
    for without in (False, True):
        choice: Bools = np.equal(empty, without)
        if not choice.any():
            continue
        mask = pa.array(choice)
        kw = pa.nulls(int(choice.sum()), CURVE_TYPE) if without else pack(values[choice])
        columns = [meters.filter(mask), days.filter(mask), kw, points.filter(mask), kwh.filter(mask), rows.filter(mask)]
        batches.append(pa.RecordBatch.from_arrays(columns, schema=CURVE_SCHEMA))
    return batches
