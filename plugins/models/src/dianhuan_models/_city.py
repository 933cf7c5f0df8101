"""The block's entity columns as arrays, its valid days by day type, and the gaps in what is known."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_models._stats import Array, Bools, Rows, mean
from dianhuan_sdk import Block, InputError, ModelContext

MIN_POINTS = 72
"""Valid points that make a day usable: three quarters of 96."""


class City:
    """One block with its context, in arrays. Rows are entities in block order.

    Raises:
        InputError: calendar or tariff do not have one entry per day of the block, or the block ends after `as_of`.
    """

    def __init__(self, block: Block, context: ModelContext) -> None:
        self.block = block
        self.context = context
        self.table = block.entities
        self.days = tuple(block.days)
        self.size = self.table.num_rows
        if not len(self.days) == len(context.calendar) == len(context.tariff):
            raise InputError(
                f"{len(self.days)} days, {len(context.calendar)} of calendar, {len(context.tariff)} of tariff",
                expected="one calendar and one tariff entry per day of the block",
            )
        if not self.days or self.days[-1] != context.as_of:
            raise InputError(
                f"the block ends on {self.days[-1] if self.days else 'no day'}",
                expected=f"it ends on as_of, {context.as_of}",
                hint="cut the window at as_of: no model may see a later day",
            )
        self._columns: dict[str, pa.Array] = {}
        kinds = np.array([c.kind for c in context.calendar])
        self.work: Bools = np.isin(kinds, ("workday", "makeup"))
        self.rest: Bools = kinds == "weekend"
        self.normal: Bools = self.work | self.rest

    @cached_property
    def valid(self) -> Bools:
        """Shape (entities, days): enough points for a feature of that day to mean something."""
        return np.asarray(self.block.feature("points") >= MIN_POINTS)

    @cached_property
    def hourly(self) -> Array:
        """Shape (entities, days): mean kW of the valid points, NaN on days that are not valid."""
        return self.daily("kwh") * 4 / np.where(self.valid, self.block.feature("points"), np.float32(1))

    def hourly_of(self, rows: Rows) -> np.ndarray[Any, Any]:
        """`hourly` of a few rows, without computing the rest."""
        return self.daily("kwh", rows) * 4 / np.maximum(self.block.feature("points")[rows], np.float32(1))

    def daily(self, name: str, rows: Rows | None = None) -> np.ndarray[Any, Any]:
        """A feature of all or some rows, NaN on days that are not valid."""
        values, valid = self.block.feature(name), self.valid
        if rows is not None:
            values, valid = values[rows], valid[rows]
        return np.where(valid, values, np.float32(np.nan))

    def column(self, name: str) -> pa.Array:
        """An entity column as one array; all null where the block has none."""
        if name not in self._columns:
            there = name in self.table.column_names
            self._columns[name] = self.table.column(name).combine_chunks() if there else pa.nulls(self.size)
        return self._columns[name]

    def number(self, name: str) -> Array:
        """A numeric entity column, NaN where null."""
        return np.asarray(pc.cast(self.column(name), pa.float64()).to_numpy(zero_copy_only=False))

    def flag(self, name: str) -> Bools:
        """A boolean entity column, false where null."""
        filled = pc.fill_null(pc.cast(self.column(name), pa.bool_()), False)
        return np.asarray(filled.to_numpy(zero_copy_only=False))

    def known(self, name: str) -> Bools:
        """True where an entity column is not null."""
        return np.asarray(pc.is_valid(self.column(name)).to_numpy(zero_copy_only=False))

    def dates(self, name: str) -> np.ndarray[Any, np.dtype[np.datetime64]]:
        """A date column, NaT where null."""
        return np.asarray(pc.cast(self.column(name), pa.date32()).to_numpy(zero_copy_only=False), "datetime64[D]")

    def codes(self, name: str) -> tuple[list[str], Rows]:
        """A text column as (vocabulary, index per row); null is the empty text."""
        filled = pc.fill_null(pc.cast(self.column(name), pa.string()), "").dictionary_encode()
        vocabulary = filled.dictionary.to_pylist()
        order = sorted(range(len(vocabulary)), key=lambda i: str(vocabulary[i]))
        place = np.empty(max(len(order), 1), dtype=np.int64)
        place[order] = np.arange(len(order))
        return [vocabulary[i] for i in order], place[filled.indices.to_numpy(zero_copy_only=False)]

    def where(self, name: str, test: Callable[[str], bool]) -> Bools:
        """True where a text column passes a test (asked once per distinct value)."""
        vocabulary, index = self.codes(name)
        return np.array([test(v) for v in vocabulary], dtype=bool)[index] if self.size else np.zeros(0, bool)

    def entity_id(self, row: int) -> str:
        """The key of one row."""
        return str(self.column("entity_id")[int(row)].as_py())

    def text(self, name: str, row: int) -> str:
        """One text value, empty where null."""
        return str(self.column(name)[int(row)].as_py() or "")

    def rows_of(self, ids: pa.Array | pa.ChunkedArray) -> Rows:
        """Row of each entity id, −1 where the block does not hold it. For registers much shorter than the city."""
        mine = self.column("entity_id")
        wanted = pc.cast(ids, mine.type)
        rows = np.flatnonzero(pc.is_in(mine, value_set=wanted).to_numpy(zero_copy_only=False))
        place = dict(zip(mine.take(pa.array(rows)).to_pylist(), rows.tolist(), strict=True))
        return np.array([place.get(i, -1) for i in wanted.to_pylist()], dtype=np.int64)

    def over(self, values: np.ndarray[Any, Any], days: Bools) -> np.ndarray[Any, Any]:
        """Columns of some days, without a copy where that is all of them."""
        return values if days.all() else values[:, days]

    def picked(self, days: Bools) -> tuple[date, ...]:
        """The days of a mask of shape (days,)."""
        return tuple(d for d, yes in zip(self.days, days, strict=True) if yes)

    @cached_property
    def night_share(self) -> Array:
        """Shape (entities,): part of the energy used in 22:00–06:00, over the valid normal days; NaN where none."""
        night = mean(self.over(np.maximum(self.daily("night_kw"), 0), self.normal))
        whole = mean(self.over(np.maximum(self.hourly, 0), self.normal))
        with np.errstate(divide="ignore", invalid="ignore"):
            answer: Array = np.clip(8 * night / (24 * whole), 0, 1)
        answer[~(whole > 0)] = np.nan
        return answer

    def gaps(self, row: int, *, permit: bool) -> tuple[float, tuple[str, ...]]:
        """What is not known about a row: a factor 0 … 1 for its score, and the codes of the gaps.

        The factors are judgements, not measurements: each gap costs what it would take to make a doubtful finding
        fall below a threshold of 0.5.
        """
        missing = 1 - float(np.nansum(self.block.feature("points")[row])) / (96 * len(self.days))
        found = {
            "calendar_provisional": (0.9, any(c.provisional for c in self.context.calendar)),
            "spring_festival": (0.7, any(c.spring_offset is not None for c in self.context.calendar)),
            "tariff_provisional": (0.9, any(t.provisional for t in self.context.tariff)),
            "permit_unknown": (0.8, permit and not self._permit_known[row]),
            "shared_meter": (0.6, bool(self._shared[row])),
            "missing_data": (1 - missing / 2, missing > 0.05),
        }
        factor = float(np.prod([f for f, holds in found.values() if holds]))
        return factor, tuple(code for code, (_, holds) in found.items() if holds)

    @cached_property
    def tariff_changed(self) -> bool:
        """True where the tariff's periods changed inside the window: habits move with them."""
        return len({t.periods for t in self.context.tariff}) > 1

    def dark(self, row: int) -> bool:
        """True where the grid meter gave no point in the whole window: whether the plant works is not known."""
        return not float(np.nansum(self.block.feature("points")[row])) > 0

    @cached_property
    def _permit_known(self) -> Bools:
        return self.known("permit_class")

    @cached_property
    def _shared(self) -> Bools:
        return self.flag("shared_meter")
