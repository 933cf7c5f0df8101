"""Conditions that look at more than one column, or at a column in a way that no field option can say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_sdk import Rule
from dianhuan_sdk.contracts import BoolArray
from dianhuan_standards.identifiers import PERMIT_PATTERN, valid_usccs


def credit_code(column: str) -> Rule:
    """Rule: a credit code has its right check digit (GB 32100-2015). Null passes."""

    def passes(batch: pa.RecordBatch) -> BoolArray:
        values = batch.column(column)
        return _array(pc.is_null(values)) | valid_usccs(values)

    return Rule("bad_check_digit", (column,), passes, f"{column} has the check digit of GB 32100-2015")


def permit_number(column: str) -> Rule:
    """Rule: where a permit number has the national form, the credit code in it is right. Other forms pass."""

    def passes(batch: pa.RecordBatch) -> BoolArray:
        values = batch.column(column)
        national = pc.fill_null(pc.match_substring_regex(values, f"^(?:{PERMIT_PATTERN})$"), False)
        return ~_array(national) | valid_usccs(pc.utf8_slice_codeunits(values, 0, 18))

    return Rule(
        "bad_check_digit", (column,), passes, f"the credit code in {column} has the check digit of GB 32100-2015"
    )


def together(first: str, second: str) -> Rule:
    """Rule: both columns are given, or neither is."""

    def passes(batch: pa.RecordBatch) -> BoolArray:
        return _array(pc.equal(pc.is_valid(batch.column(first)), pc.is_valid(batch.column(second))))

    return Rule("incomplete_pair", (first, second), passes, f"{first} and {second} are given together")


def at_least_one(*columns: str) -> Rule:
    """Rule: at least one of the columns is given."""

    def passes(batch: pa.RecordBatch) -> BoolArray:
        return np.asarray(np.logical_or.reduce([_array(pc.is_valid(batch.column(c))) for c in columns]), dtype=bool)

    return Rule("nothing_given", columns, passes, f"at least one of {', '.join(columns)} is given")


def above_zero(column: str) -> Rule:
    """Rule: a number is above zero. Null passes."""

    def passes(batch: pa.RecordBatch) -> BoolArray:
        return _array(pc.fill_null(pc.greater(batch.column(column), 0), True))

    return Rule("below_range", (column,), passes, f"{column} is above 0")


def one_of_numbers(column: str, *numbers: int) -> Rule:
    """Rule: a number is one of a few. Null passes."""
    allowed = set(numbers)

    def passes(batch: pa.RecordBatch) -> BoolArray:
        values = batch.column(column)
        return _array(pc.or_(pc.is_null(values), pc.is_in(values, value_set=pa.array(sorted(allowed), values.type))))

    return Rule("unknown_code", (column,), passes, f"{column} is one of {', '.join(map(str, numbers))}")


def no_share_in(column: str, kind: str, stopping: tuple[str, ...]) -> Rule:
    """Rule: an order that stops production leaves no share of it."""

    def passes(batch: pa.RecordBatch) -> BoolArray:
        stops = _array(pc.is_in(batch.column(kind), value_set=pa.array(stopping)))
        rest = _array(pc.fill_null(pc.greater(batch.column(column), 0), False))
        return ~(stops & rest)

    words = f"{column} is empty or 0 where {kind} is {', '.join(stopping)}"
    return Rule("contradiction", (column, kind), passes, words)


def _array(answer: pa.Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.asarray(answer.to_numpy(zero_copy_only=False), dtype=bool)
