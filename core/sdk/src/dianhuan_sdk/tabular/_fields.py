"""One field of a contract from a frame: by mapping, else by the field's name, label or aliases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_sdk.contracts import Field, TableContract
from dianhuan_sdk.errors import InputError
from dianhuan_sdk.tabular import _values as v
from dianhuan_sdk.tabular._frame import Bools, Frame
from dianhuan_sdk.tabular._mapping import Column, Mapping

OTHERS = "*"


def position(headers: Sequence[str], name: str) -> int | None:
    """Where a header of that name stands, blind to case and outer blanks; None if nowhere."""
    wanted = name.strip().casefold()
    return next((i for i, header in enumerate(headers) if header.strip().casefold() == wanted), None)


def required_position(headers: Sequence[str], name: str, origin: str) -> int:
    """Where that header stands.

    Raises:
        InputError: nowhere; the message says which headers there are.
    """
    found = position(headers, name)
    if found is None:
        shown = ", ".join(headers[:12]) + (" …" if len(headers) > 12 else "")
        raise InputError(
            f"{origin} has no column {name!r}; its header reads: {shown}",
            expected=f"a column {name!r}",
            hint="correct the mapping or the file's header; strange characters there mean a wrong `encoding`",
        )
    return found


def plan_columns(mapping: Mapping, contract: TableContract, headers: Sequence[str], origin: str) -> dict[str, Column]:
    """Field → column for every field that the file carries.

    Raises:
        InputError: a mapped or required column is not in the file, or no column of the table is.
    """
    unknown = [name for name in mapping.columns if name not in {f.name for f in contract.fields}]
    if unknown:
        raise InputError(
            f"the mapping fills {', '.join(unknown)}, which {contract.name} does not have",
            expected=f"fields of {contract.name}: {', '.join(f.name for f in contract.fields)}",
            hint="correct `columns` in the mapping",
        )
    plan: dict[str, Column] = {}
    for field in contract.fields:
        if mapping.only and field.name not in mapping.only:
            continue
        column = mapping.columns.get(field.name)
        if column is None:
            names = (field.name, field.zh, *field.aliases)
            by_label = next((n for n in names if position(headers, n) is not None), None)
            column = Column(column=by_label) if by_label else None
        else:
            for used in used_columns(column):
                required_position(headers, used, origin)
        if column is not None:
            plan[field.name] = column
    return plan


def ensure_required(plan: dict[str, Column], contract: TableContract, headers: Sequence[str], origin: str) -> None:
    """Raises `InputError` where a required field has no column at all: the header is missing or another table's."""
    lacking = [f for f in contract.fields if f.required and f.name not in plan]
    if lacking:
        words = ", ".join(f"{f.name} ({f.zh})" for f in lacking)
        shown = ", ".join(headers[:12]) + (" …" if len(headers) > 12 else "")
        raise InputError(
            f"{origin} has no column for {words}; its first line reads: {shown}",
            expected=f"a header line with the columns of {contract.name}",
            hint="add the header, or name the columns in a mapping file (`dianhuan grid inspect FILE` proposes one)",
        )


def used_columns(column: Column) -> Iterator[str]:
    """The header names that a column and its alternatives read."""
    if column.column is not None:
        yield column.column
    if column.otherwise is not None:
        yield from used_columns(column.otherwise)


def convert(frame: Frame, column: Column, field: Field, mapping: Mapping) -> tuple[pa.Array, Bools]:
    """A field's values in its Arrow type, and the rows whose text cannot be brought there."""
    values, bad = _convert_one(frame, column, field, mapping)
    if column.otherwise is not None:
        other, other_bad = convert(frame, column.otherwise, field, mapping)
        empty = v.to_bools(pc.is_null(values)) & ~bad
        values = pc.if_else(pa.array(empty), other, values)
        bad = np.where(empty, other_bad, bad)
    return values, bad


def _convert_one(frame: Frame, column: Column, field: Field, mapping: Mapping) -> tuple[pa.Array, Bools]:
    count = len(frame.rows)
    if column.column is None:
        texts = pa.array([str(column.constant)] * count, pa.string())
        return typed(texts, column, field.type, mapping)
    index = position(frame.headers, column.column)
    assert index is not None  # plan_columns has looked
    source = frame.columns[index]
    if not column.values and _is_ready(source.type, field.type) and not column.prefix and column.scale == 1.0:
        return source.cast(field.type), np.zeros(count, dtype=bool)
    texts, undecoded = frame.text(index)
    for part in column.strip:
        texts = pc.replace_substring(texts, part, "")
    texts = v.blank_to_null(texts, mapping.missing)
    if column.values:
        texts = _mapped(texts, column.values)
    values, bad = typed(texts, column, field.type, mapping)
    return values, bad | undecoded


def _is_ready(source: pa.DataType, target: pa.DataType) -> bool:
    if pa.types.is_floating(target) or pa.types.is_integer(target):
        return bool(pa.types.is_integer(source)) or bool(pa.types.is_floating(source) and pa.types.is_floating(target))
    if pa.types.is_timestamp(target):
        return bool(pa.types.is_timestamp(source) and source.tz is not None)
    return bool(source == target and not pa.types.is_string(target))


def _mapped(texts: pa.Array, values: dict[str, Any]) -> pa.Array:
    known = {k: None if w is None else str(w) for k, w in values.items() if k != OTHERS}
    if not known:
        rest = values[OTHERS]
        return pc.if_else(pc.is_valid(texts), pa.scalar(None if rest is None else str(rest), pa.string()), texts)
    at = pc.index_in(texts, value_set=pa.array(list(known), pa.string()))
    found = pa.array(list(known.values()), pa.string()).take(at)
    rest = texts
    if OTHERS in values:
        other = values[OTHERS]
        rest = pc.if_else(pc.is_valid(texts), pa.scalar(None if other is None else str(other), pa.string()), texts)
    return pc.if_else(pc.is_valid(at), found, rest)


def typed(texts: pa.Array, column: Column, kind: pa.DataType, mapping: Mapping) -> tuple[pa.Array, Bools]:
    """Texts (null = missing) in an Arrow type by the column's options."""
    if pa.types.is_date(kind):
        return v.days(texts, column.format)
    if pa.types.is_timestamp(kind):
        default = mapping.curve.zone if mapping.curve else "Asia/Shanghai"
        return v.instants(texts, column.format, v.zone_of(column.zone or default))
    if pa.types.is_boolean(kind):
        return v.flags(texts)
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        values, bad = v.numbers(texts, mapping.decimal, column.units)
        if column.scale != 1.0:
            values = pc.multiply(values, column.scale)
        if pa.types.is_integer(kind):
            broken = v.to_bools(pc.not_equal(values, pc.round(values)))
            return pc.if_else(pa.array(broken), pa.scalar(None, pa.float64()), values).cast(kind), bad | broken
        return values.cast(kind), bad
    if column.prefix:
        texts = pc.binary_join_element_wise(pa.scalar(column.prefix), texts, "")
    return texts, np.zeros(len(texts), dtype=bool)
