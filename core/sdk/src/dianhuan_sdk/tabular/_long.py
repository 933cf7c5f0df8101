"""Long and matrix files: readings with a time stamp, gathered into days."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_sdk.contracts import TableContract
from dianhuan_sdk.errors import InputError
from dianhuan_sdk.tabular import _values as v
from dianhuan_sdk.tabular._blocks import Block
from dianhuan_sdk.tabular._curve import missing_numbers
from dianhuan_sdk.tabular._fields import convert, plan_columns, required_position
from dianhuan_sdk.tabular._frame import Bools, Frame, IntArray, Rejects
from dianhuan_sdk.tabular._mapping import Column, Curve, Mapping
from dianhuan_sdk.tabular._points import clock_minutes
from dianhuan_sdk.tabular._readings import Doubles, Readings
from dianhuan_sdk.tabular._sieve import Sieve, kept, multipliers

_METER = "metering_point_id"


def long_batches(
    blocks: Iterator[Block], mapping: Mapping, contract: TableContract, rejects: Rejects, origin: str
) -> Iterator[pa.RecordBatch]:
    """Batches of `load_curve` from one row per reading; about 32 bytes of memory a reading.

    Raises:
        InputError: the header lacks a column; or the file breaks off (after the days before the break).
    """
    curve = mapping.curve
    assert curve is not None
    assert curve.time is not None
    assert curve.value is not None
    readings = Readings(curve)
    broken: InputError | None = None
    meter: Column | None = None
    try:
        for block in blocks:
            headers = block.headers
            if meter is None:
                meter = _meter_column(mapping, contract, headers, origin)
                for name in (curve.value, curve.time.column, curve.clock, *mapping.keep):
                    if name:
                        required_position(headers, name, origin)
                if isinstance(curve.multiplier, Column) and curve.multiplier.column:
                    required_position(headers, curve.multiplier.column, origin)
            frame = kept(block.careful(rejects), mapping, rejects, origin)
            _add_long(frame, mapping, contract, readings, meter, rejects, origin)
    except InputError as error:
        if meter is None:
            raise
        broken = error
    yield from readings.days(rejects)
    if broken is not None:
        raise broken


def _meter_column(mapping: Mapping, contract: TableContract, headers: Sequence[str], origin: str) -> Column:
    plan = plan_columns(mapping, contract, headers, origin)
    if _METER not in plan:
        required_position(headers, contract.field(_METER).zh, origin)
    return plan[_METER]


def _add_long(
    frame: Frame,
    mapping: Mapping,
    contract: TableContract,
    readings: Readings,
    meter: Column,
    rejects: Rejects,
    origin: str,
) -> None:
    curve = mapping.curve
    assert curve is not None
    assert curve.value is not None
    sieve = Sieve(frame, rejects)
    meters, bad = convert(frame, meter, contract.field(_METER), mapping)
    sieve.refuse(
        bad | ~v.to_bools(pc.is_valid(meters)), "missing_value", f"{meter.column or _METER} is empty or unreadable"
    )
    seconds, absolute = _stamps(frame, curve, sieve, origin)
    texts, undecoded = frame.text(required_position(frame.headers, curve.value, origin))
    numbers, bad = v.numbers(v.blank_to_null(texts, mapping.missing), mapping.decimal)
    sieve.refuse(bad | undecoded, "bad_number", f"{curve.value} is not a number", texts)
    values = _gaps(numbers, mapping)
    factor = multipliers(frame, curve, mapping, sieve, origin)
    if factor is not None:
        values = values * factor
    good = sieve.good
    codes = readings.codes(meters.filter(pa.array(good)))
    readings.add(codes, seconds[good], absolute[good], values[good], frame.rows[good])


def _stamps(frame: Frame, curve: Curve, sieve: Sieve, origin: str) -> tuple[IntArray, Bools]:
    assert curve.time is not None
    assert curve.time.column is not None
    at = required_position(frame.headers, curve.time.column, origin)
    source = frame.columns[at]
    if pa.types.is_timestamp(source.type):
        absolute = np.full(len(frame.rows), source.type.tz is not None)
        seconds, bad = (
            source.cast(pa.timestamp("s"), safe=False).cast(pa.int64()),
            np.zeros(len(frame.rows), dtype=bool),
        )
    else:
        texts, undecoded = frame.text(at)
        seconds, bad, absolute = v.stamps(v.blank_to_null(texts, ()), curve.time.format)
        bad |= undecoded
    bad |= ~v.to_bools(pc.is_valid(seconds))
    sieve.refuse(bad, "unreadable_date", f"{curve.time.column} is not a time as the mapping reads it")
    walls = np.array(seconds.fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)
    if curve.clock:
        texts, _ = frame.text(required_position(frame.headers, curve.clock, origin))
        minutes = np.array([_clock(text, curve) for text in texts.to_pylist()], dtype=np.int64)
        sieve.refuse(minutes < 0, "unreadable_date", f"{curve.clock} is neither a clock time nor a point's number")
        walls += minutes * 60
    return walls, absolute


def _clock(text: str | None, curve: Curve) -> int:
    if text is None:
        return -1
    if text.isdigit() and len(text) <= 3:
        # Points count intervals from 1; how stamps are meant does not matter to them.
        step = curve.interval_minutes or 15
        number = int(text) - (curve.stamp == "interval_start")
        return number * step if 1 <= int(text) <= 1440 // step else -1
    minutes = clock_minutes(text)
    return -1 if minutes is None else minutes


def _gaps(numbers: pa.Array, mapping: Mapping) -> Doubles:
    values = np.array(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)
    for mark in missing_numbers(mapping):
        values[values == mark] = np.nan
    return values


def matrix_batches(
    blocks: Iterator[Block], mapping: Mapping, contract: TableContract, rejects: Rejects, origin: str
) -> Iterator[pa.RecordBatch]:
    """Batches of `load_curve` from timestamps down and one column per meter; the headers are the meters.

    Raises:
        InputError: the header lacks a column; or the file breaks off (after the days before the break).
    """
    curve = mapping.curve
    assert curve is not None
    assert curve.time is not None
    readings = Readings(curve)
    positions: list[int] | None = None
    broken: InputError | None = None
    try:
        for block in blocks:
            if positions is None:
                positions = _meters(block.headers, curve, origin)
            _add_matrix(block.careful(rejects), mapping, readings, positions, rejects, origin)
    except InputError as error:
        if positions is None:
            raise
        broken = error
    yield from readings.days(rejects)
    if broken is not None:
        raise broken


def _meters(headers: Sequence[str], curve: Curve, origin: str) -> list[int]:
    assert curve.time is not None
    time_at = required_position(headers, curve.time.column or "", origin)
    if curve.values:
        return [required_position(headers, name, origin) for name in curve.values]
    found = [i for i, header in enumerate(headers) if i != time_at and header]
    if not found:
        raise InputError(f"{origin} has no meter columns", expected="one column per meter", hint="check the delimiter")
    return found


def _add_matrix(
    frame: Frame, mapping: Mapping, readings: Readings, positions: list[int], rejects: Rejects, origin: str
) -> None:
    curve = mapping.curve
    assert curve is not None
    sieve = Sieve(frame, rejects)
    seconds, absolute = _stamps(frame, curve, sieve, origin)
    good = sieve.good
    factor = curve.scale * (curve.multiplier if isinstance(curve.multiplier, int | float) else 1.0)
    for at in positions:
        column = frame.columns[at]
        if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
            numbers, bad = column.cast(pa.float64()), np.zeros(len(frame.rows), dtype=bool)
        else:
            texts, undecoded = frame.text(at)
            numbers, bad = v.numbers(v.blank_to_null(texts, mapping.missing), mapping.decimal)
            bad = bad | undecoded
        for i in np.flatnonzero(bad & good):
            # One bad cell is one missing reading; the other meters of the row go on.
            words = f"{frame.headers[at]}: not a number, taken as missing"
            rejects.add(int(frame.rows[i]), "bad_number", words, frame.raw(int(i)))
        values = _gaps(numbers, mapping) * factor
        code = int(readings.codes(pa.array([frame.headers[at]]))[0])
        codes = np.full(int(good.sum()), code, dtype=np.int32)
        readings.add(codes, seconds[good], absolute[good], values[good], frame.rows[good])
