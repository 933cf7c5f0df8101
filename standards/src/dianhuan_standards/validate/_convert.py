"""Columns of a source in the types of a contract, with the rows whose text cannot be brought there."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_sdk import CURVE_TYPE, LOCAL_ZONE, POINTS_PER_DAY, Field, InputError, TableContract
from dianhuan_sdk.contracts import BoolArray
from dianhuan_standards.validate._read import Raw

MISSING = ("", "NULL", "null", r"\N")
"""Texts that stand for a missing value; 0 and −9999 are values."""

_DAYS = ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%Y.%m.%d", "%Y年%m月%d日")
_CLOCKS = ("%H:%M:%S", "%H:%M")
_FLAGS = {"true": True, "1": True, "是": True, "有": True, "false": False, "0": False, "否": False, "无": False}

Converted = tuple[pa.Array, BoolArray]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows in the form of a contract.

    Args:
        batch: all columns of the contract.
        unreadable: field → rows whose text is no value of its type (null in `batch`).
        plan: field → position of its column in the source.
    """

    batch: pa.RecordBatch
    unreadable: dict[str, BoolArray]
    plan: dict[str, int]


def plan_columns(headers: tuple[str, ...], contract: TableContract) -> dict[str, int]:
    """Field → position of the header that carries it: by name, label or alias, blind to case."""
    places: dict[str, int] = {}
    for i, header in enumerate(headers):
        places.setdefault(header.casefold(), i)
    plan: dict[str, int] = {}
    for f in contract.fields:
        found = next((n.casefold() for n in (f.name, f.zh, *f.aliases) if n.casefold() in places), None)
        if found is not None:
            plan[f.name] = places[found]
    return plan


def to_contract(raw: Raw, contract: TableContract, source: str) -> Rows:
    """Bring a source into the form of a contract.

    Raises:
        InputError: a required column is not there.
    """
    plan = plan_columns(raw.headers, contract)
    lacking = [f"{f.name} ({f.zh})" for f in contract.fields if f.required and f.name not in plan]
    if lacking:
        raise InputError(
            f"{source} has no column for {', '.join(lacking)}; its header reads: {', '.join(raw.headers[:20])}",
            expected=f"a header with the columns of {contract.name}",
            hint="rename the columns, or read the file with a mapping (`dianhuan ingest`)",
        )
    arrays, unreadable = [], {}
    for f in contract.fields:
        if f.name in plan:
            values, unreadable[f.name] = _read_column(raw, plan[f.name], f, source)
        else:
            values = pa.nulls(len(raw.rows), f.type)
        arrays.append(values)
    return Rows(pa.RecordBatch.from_arrays(arrays, names=[f.name for f in contract.fields]), unreadable, plan)


def _read_column(raw: Raw, place: int, f: Field, source: str) -> Converted:
    column = raw.columns[place]
    try:
        return _typed(column, f)
    except pa.ArrowException as error:
        raise InputError(
            f"column {raw.headers[place]!r} of {source} has the type {column.type}: {error}",
            expected=f"{f.type} or text for {f.name} ({f.zh})",
            hint="write the column in a plain type",
        ) from error


def _typed(column: pa.Array, f: Field) -> Converted:
    if column.type == f.type and not pa.types.is_string(f.type):
        return column, np.zeros(len(column), dtype=bool)
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return _curves(column)
    if pa.types.is_timestamp(column.type) and column.type.tz and pa.types.is_timestamp(f.type):
        return column.cast(f.type), np.zeros(len(column), dtype=bool)
    texts = pc.utf8_trim_whitespace(column.cast(pa.string()))
    texts = pc.if_else(pc.is_in(texts, value_set=pa.array(MISSING)), pa.scalar(None, pa.string()), texts)
    parse = _parser(f.type)
    if parse is None:
        return texts, np.zeros(len(texts), dtype=bool)
    return _each(texts, parse, f.type)


def _parser(kind: pa.DataType) -> Callable[[str], Any] | None:
    if kind == CURVE_TYPE:
        return _curve
    if pa.types.is_date(kind):
        return _day
    if pa.types.is_timestamp(kind):
        return _instant
    if pa.types.is_boolean(kind):
        return lambda text: _FLAGS[text.lower()]
    if pa.types.is_integer(kind):
        return lambda text: pa.scalar(_whole(text), kind).as_py()
    return _number if pa.types.is_floating(kind) else None


def _each(texts: pa.Array, parse: Callable[[str], Any], kind: pa.DataType) -> Converted:
    distinct = texts.dictionary_encode()
    values: list[Any] = []
    for text in distinct.dictionary.to_pylist():
        try:
            values.append(parse(text))
        except (ValueError, KeyError, OverflowError, RecursionError, pa.ArrowInvalid):
            values.append(None)
    found = pa.array(values, kind).take(distinct.indices)
    bad = pc.and_(pc.is_valid(texts), pc.is_null(found))
    return found, np.asarray(bad.to_numpy(zero_copy_only=False), dtype=bool)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or "_" in text:
        raise ValueError(text)
    return value


def _whole(text: str) -> int:
    value = _number(text)
    if value != int(value):
        raise ValueError(text)
    return int(value)


def _day(text: str) -> date:
    for form in _DAYS:
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007 - a civil day has no zone
        except ValueError:
            continue
    stamp = _stamp(text)
    if (stamp.hour, stamp.minute, stamp.second) != (0, 0, 0):
        raise ValueError(text)
    return stamp.date()


def _instant(text: str) -> datetime:
    """An instant; without offset it is civil time of Asia/Shanghai."""
    stamp = _stamp(text)
    return (stamp if stamp.tzinfo else stamp.replace(tzinfo=LOCAL_ZONE)).astimezone(UTC)


def _stamp(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    for day in _DAYS:
        for clock in _CLOCKS:
            try:
                return datetime.strptime(text, f"{day} {clock}")  # noqa: DTZ007 - the zone is set by the caller
            except ValueError:
                continue
    raise ValueError(text)


def _curve(text: str) -> list[float | None]:
    values = json.loads(text)
    if not isinstance(values, list) or len(values) != POINTS_PER_DAY:
        raise ValueError(text)
    if not all(
        v is None or (isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)) for v in values
    ):
        raise ValueError(text)
    return values


def _curves(column: pa.Array) -> Converted:
    lengths = pc.list_value_length(column)
    good = np.asarray(pc.fill_null(pc.equal(lengths, POINTS_PER_DAY), False).to_numpy(zero_copy_only=False), dtype=bool)
    points = pc.list_flatten(column.filter(pa.array(good))).cast(pa.float32())
    curves = pa.FixedSizeListArray.from_arrays(points, POINTS_PER_DAY)
    places = pa.array(np.cumsum(good) - 1, mask=~good)
    bad = np.asarray(pc.is_valid(column).to_numpy(zero_copy_only=False), dtype=bool) & ~good
    return curves.take(places).cast(CURVE_TYPE), bad
