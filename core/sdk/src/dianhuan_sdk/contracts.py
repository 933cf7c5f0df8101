"""Table contracts: an Arrow schema with units, labels and row rules.

A contract is checked column-wise on Arrow batches; no rule ever sees a single row. The contracts themselves
stand in `dianhuan_standards`; a plugin that owns a table of its own declares one in the same form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

BoolArray = np.ndarray[Any, np.dtype[np.bool_]]

POINTS_PER_DAY = 96
"""Points of a stored load curve: one civil day at 15 min."""

CURVE_TYPE = pa.list_(pa.float32(), POINTS_PER_DAY)
"""Arrow type of one day's mean active power, kW; a null element is a missing point."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One condition on a batch.

    Args:
        code: stable reason code of a failing row, e.g. `out_of_range`.
        columns: the columns it reads; a failing row is reported under the first one.
        passes: `batch -> bool array` of shape (rows,), true where the row passes. Nulls are the rule's business.
        words: what is expected, for people.
    """

    code: str
    columns: tuple[str, ...]
    passes: Callable[[pa.RecordBatch], BoolArray]
    words: str


@dataclass(frozen=True, slots=True)
class Field:
    """A column: Arrow type, unit, labels and the simple rules that almost every column needs.

    Args:
        name: column name in English, snake case.
        type: Arrow type.
        zh: Chinese label.
        doc: meaning, unit conventions, clause of the standard it comes from.
        unit: `kW`, `kWh`, `V`, `A`, … or empty.
        required: null is refused when true.
        low, high: inclusive bounds of a numeric column, or None.
        codes: the allowed values, or None.
        pattern: RE2 regular expression that the whole text must match, or None.
        personal: true for personal or commercial data that must never leave the city.
        aliases: further header names under which files carry this column.
    """

    name: str
    type: pa.DataType
    zh: str
    doc: str = ""
    unit: str = ""
    required: bool = False
    low: float | None = None
    high: float | None = None
    codes: tuple[str, ...] | None = None
    pattern: str | None = None
    personal: bool = False
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Rows of a batch that failed one rule: their indices into the batch, and why."""

    rows: np.ndarray[Any, np.dtype[np.int64]]
    code: str
    column: str
    words: str


@dataclass(frozen=True)
class TableContract:
    """A versioned table contract.

    Args:
        name: table name, e.g. `load_curve`.
        version: contract version, `major.minor`.
        zh: Chinese name.
        fields: columns in order.
        key: the columns that identify a row; a later row with the same key replaces the earlier one.
        rules: conditions beyond those of single fields.
        doc: meaning of a row.
        owner: plugin id for a plugin's own table, empty for a standard table.
    """

    name: str
    version: str
    zh: str
    fields: tuple[Field, ...]
    key: tuple[str, ...]
    rules: tuple[Rule, ...] = field(default=())
    doc: str = ""
    owner: str = ""

    @cached_property
    def schema(self) -> pa.Schema:
        """Arrow schema with label and unit as field metadata."""
        return pa.schema(
            [
                pa.field(f.name, f.type, nullable=not f.required, metadata={"zh": f.zh, "unit": f.unit})
                for f in self.fields
            ],
            metadata={"contract": self.name, "version": self.version},
        )

    def field(self, name: str) -> Field:
        """The field of that name; `KeyError` if there is none."""
        for f in self.fields:
            if f.name == name:
                return f
        raise KeyError(name)

    @cached_property
    def _all_rules(self) -> tuple[Rule, ...]:
        simple = [rule for f in self.fields for rule in _field_rules(f)]
        return (*simple, *self.rules)

    def check(self, batch: pa.RecordBatch) -> list[Refusal]:
        """Check a batch of this contract's schema; an empty list means every row passes.

        A row that fails several rules is named by the first of them only, so that the refusals are disjoint.
        """
        alive = np.ones(batch.num_rows, dtype=bool)
        refusals: list[Refusal] = []
        for rule in self._all_rules:
            bad = alive & ~rule.passes(batch)
            if bad.any():
                refusals.append(Refusal(np.flatnonzero(bad), rule.code, rule.columns[0], rule.words))
                alive &= ~bad
        return refusals


def _field_rules(f: Field) -> Sequence[Rule]:
    rules: list[Rule] = []

    def add(code: str, words: str, passes: Callable[[pa.Array], Any]) -> None:
        def run(batch: pa.RecordBatch) -> BoolArray:
            column = batch.column(f.name)
            answer = pc.fill_null(passes(column), True)
            return np.asarray(answer.to_numpy(zero_copy_only=False), dtype=bool)

        rules.append(Rule(code, (f.name,), run, words))

    if f.required:
        add("missing_value", f"{f.name} ({f.zh}) is required", pc.is_valid)
    if f.codes is not None:
        codes = pa.array(f.codes, f.type)
        add(
            "unknown_code",
            f"{f.name} is one of {', '.join(f.codes[:12])}{' …' if len(f.codes) > 12 else ''}",
            lambda c: pc.or_(pc.is_null(c), pc.is_in(c, value_set=codes)),
        )
    if f.pattern is not None:
        pattern = f"^(?:{f.pattern})$"
        add("bad_form", f"{f.name} matches {f.pattern}", lambda c: pc.match_substring_regex(c, pattern))
    unit = f" {f.unit}" if f.unit else ""
    if f.low is not None:
        low = f.low
        add("below_range", f"{f.name} is at least {low:g}{unit}", lambda c: pc.greater_equal(c, low))
    if f.high is not None:
        high = f.high
        add("above_range", f"{f.name} is at most {high:g}{unit}", lambda c: pc.less_equal(c, high))
    return rules


def in_order(first: str, second: str) -> Rule:
    """Rule: where both are present, column `first` is not after column `second`."""

    def passes(batch: pa.RecordBatch) -> BoolArray:
        answer = pc.fill_null(pc.less_equal(batch.column(first), batch.column(second)), True)
        return np.asarray(answer.to_numpy(zero_copy_only=False), dtype=bool)

    return Rule("wrong_order", (first, second), passes, f"{first} is not after {second}")
