"""Missing points in their three forms: null in contracts, 0.0 with a mask in the store, NaN in model blocks.

The mask is Arrow's own validity bitmap of the day's 96 elements: 12 bytes, least significant bit first, 1 = present.
It is stored only where a point is missing; NULL means that the day is complete.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from dianhuan_sdk import POINTS_PER_DAY

FloatArray = np.ndarray[Any, np.dtype[np.float32]]
MASK_BYTES = POINTS_PER_DAY // 8


def curves_to_nan(column: pa.FixedSizeListArray) -> FloatArray:
    """Contract form (null = missing) → shape (n, 96), float32, NaN = missing. A null row is all missing."""
    rows = len(column)
    flat = column.values.slice(column.offset * POINTS_PER_DAY, rows * POINTS_PER_DAY)
    if flat.null_count == 0:
        kw = np.asarray(flat.to_numpy(zero_copy_only=False), np.float32).reshape(rows, POINTS_PER_DAY)
    else:
        raw = np.frombuffer(flat.buffers()[1], np.float32, rows * POINTS_PER_DAY, flat.offset * 4)
        present = _bits(flat.buffers()[0], flat.offset, rows * POINTS_PER_DAY)
        kw = np.where(present, raw, np.float32(np.nan)).reshape(rows, POINTS_PER_DAY)
    if column.null_count:
        kw = kw.copy()
        kw[~np.asarray(column.is_valid().to_numpy(zero_copy_only=False), bool)] = np.nan
    return kw


def nan_to_store(kw: FloatArray) -> tuple[pa.FixedSizeListArray, pa.Array]:
    """Shape (n, 96), NaN = missing → the store's `kw` and `missing` columns."""
    absent = np.isnan(kw)
    gaps = absent.any(axis=1)
    if gaps.any():
        masks = np.packbits(~absent, axis=1, bitorder="little")
        packed = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(MASK_BYTES),
            len(kw),
            [pa.py_buffer(np.packbits(gaps, bitorder="little").tobytes()), pa.py_buffer(masks.tobytes())],
        )
        missing = packed.cast(pa.binary())
        kw = np.where(absent, np.float32(0), kw)
    else:
        missing = pa.nulls(len(kw), pa.binary())
    values = pa.array(np.ascontiguousarray(kw, np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(values, POINTS_PER_DAY), missing


def store_to_nan(kw: pa.Array, missing: pa.Array) -> FloatArray:
    """The store's columns → shape (n, 96), NaN = missing."""
    rows = len(kw)
    flat = kw.flatten().to_numpy(zero_copy_only=False)
    values = np.asarray(flat, np.float32).reshape(rows, POINTS_PER_DAY)
    gaps = np.flatnonzero(np.asarray(missing.is_valid().to_numpy(zero_copy_only=False), bool))
    if len(gaps):
        values = values.copy()
        packed = b"".join(missing.drop_null().to_pylist())
        present = np.unpackbits(np.frombuffer(packed, np.uint8).reshape(-1, MASK_BYTES), axis=1, bitorder="little")
        some = values[gaps]
        some[present == 0] = np.nan
        values[gaps] = some
    return values


def nan_to_contract(kw: FloatArray) -> pa.FixedSizeListArray:
    """Shape (n, 96), NaN = missing → contract form."""
    flat = np.ascontiguousarray(kw, np.float32).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat, mask=np.isnan(flat)), POINTS_PER_DAY)


def _bits(buffer: pa.Buffer, offset: int, count: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    start = offset // 8
    raw = np.frombuffer(buffer, np.uint8)[start : (offset + count + 7) // 8]
    return np.unpackbits(raw, bitorder="little")[offset % 8 : offset % 8 + count].astype(bool)
