"""Warning models: blocks in, findings out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from pydantic import BaseModel

from dianhuan_sdk.context import PluginContext
from dianhuan_sdk.features import BoolArray, FloatArray, daily_features

IndexArray = np.ndarray[Any, np.dtype[np.int64]]
Tier = Literal["daily", "realtime", "advance"]
Gate = Literal["G1", "G2", "G3", "G4", "G5", "G6", "G7"]


class Text(NamedTuple):
    """Words for people, in Chinese and English."""

    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class CalendarDay:
    """One civil day of the Chinese work calendar.

    Args:
        day: the day.
        kind: `workday`, `weekend`, `holiday`, or `makeup` (调休: a weekend day that is worked).
        name: name of the holiday or empty.
        spring_offset: days from the nearest Spring Festival (−15 … 15), or None outside of that range.
        provisional: true where the State Council has not announced the year yet and the kind is a forecast.
    """

    day: date
    kind: Literal["workday", "weekend", "holiday", "makeup"]
    name: str = ""
    spring_offset: int | None = None
    provisional: bool = False


@dataclass(frozen=True, slots=True)
class TariffDay:
    """Tariff periods of one civil day: for each of 96 slots one of `valley`, `flat`, `peak`, `sharp`.

    Args:
        periods: 96 names.
        source: the notice it comes from.
        provisional: true where no tariff is on file for that day and the nearest one was taken.
    """

    periods: tuple[str, ...]
    source: str
    provisional: bool = False

    @property
    def valley(self) -> BoolArray:
        """Shape (96,): true in valley slots."""
        return np.array([p == "valley" for p in self.periods])


class Block(Protocol):
    """Entities × days as a model sees them. Rows are in entity order, days ascend without gaps.

    A feature or curve that is not there is NaN, never 0.
    """

    @property
    def entities(self) -> pa.Table:
        """One row per entity, in the order of the arrays; columns as `ENTITY_COLUMNS`."""
        ...

    @property
    def days(self) -> Sequence[date]:
        """The days of the window."""
        ...

    def feature(self, name: str) -> FloatArray:
        """Shape (entities, days), float32: a daily feature of `dianhuan_sdk.features`; NaN where there is none."""
        ...

    def curves(self, rows: IndexArray) -> FloatArray:
        """Shape (len(rows), days, 96), float32, kW: raw curves of a few entities; NaN = missing."""
        ...


ENTITY_COLUMNS: Mapping[str, str] = {
    "entity_id": "key of the enterprise",
    "name": "name",
    "division": "GB/T 2260 code of the plant's district",
    "industry": "GB/T 4754 code, e.g. C3011, or null",
    "opened_on": "day of registration, or null",
    "permit_class": "key | simplified | registered | none; null where the permit register is not loaded",
    "night_permitted": "true where the permit or an approval names night work; null where unknown",
    "tariff_class": "industrial | commercial | agricultural | residential | ev | null; of its largest account",
    "contract_kva": "sum over its accounts, null where unknown",
    "pv": "true where an account declares net or reverse energy",
    "accounts": "accounts linked on the last day",
    "shared_meter": "true where an account also feeds others (转供电)",
    "closed_on": "day of a closure order in force, or null",
    "lon": "degrees east, CGCS2000, or null",
    "lat": "degrees north, CGCS2000, or null",
}
"""Columns of `Block.entities`."""


@dataclass(frozen=True)
class ArrayBlock:
    """A block over arrays in memory, for evaluation, tests and clusters.

    Args:
        table: the entities, as `Block.entities`.
        window: the days.
        kw: shape (entities, days, 96), float32 kW, NaN = missing.
        valley: shape (days, 96): valley slots of each day.
    """

    table: pa.Table
    window: Sequence[date]
    kw: FloatArray
    valley: BoolArray
    _kept: dict[str, FloatArray] = field(default_factory=dict, repr=False)

    @property
    def entities(self) -> pa.Table:
        """See `Block.entities`."""
        return self.table

    @property
    def days(self) -> Sequence[date]:
        """See `Block.days`."""
        return self.window

    def feature(self, name: str) -> FloatArray:
        """See `Block.feature`."""
        if not self._kept:
            per_day = [daily_features(self.kw[:, d], self.valley[d]) for d in range(len(self.window))]
            for key in per_day[0]:
                self._kept[key] = np.stack([f[key] for f in per_day], axis=1)
        return self._kept[name]

    def curves(self, rows: IndexArray) -> FloatArray:
        """See `Block.curves`."""
        return self.kw[rows]


@dataclass(frozen=True, slots=True)
class ModelContext:
    """All that a model may know beside the block; nothing in it is later than `as_of`.

    Args:
        as_of: the last day of the window.
        calendar: one entry per day of the block.
        tariff: one entry per day of the block.
        tables: the standard tables that the model declares under `reads`.
    """

    as_of: date
    calendar: Sequence[CalendarDay]
    tariff: Sequence[TariffDay]
    tables: Mapping[str, pa.Table]


@dataclass(frozen=True, slots=True)
class Exhibit:
    """What to draw: the days that show it, and the slots of a day [start, end) that matter (may wrap midnight)."""

    days: tuple[date, ...]
    slots: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Finding:
    """A model's claim about one enterprise on one day.

    Args:
        entity_id: the enterprise.
        day: the day it is about.
        rule: stable id of the rule inside the model, e.g. `night_only`.
        verdict: `suspect`, or `cannot_tell` with the reason in `counter`.
        score: 0 … 1, how strong; comparable between days of one model, not between models.
        reasons: evidence in words.
        counter: what speaks against it, in words; never empty for a `cannot_tell`.
        evidence: numbers behind the words, JSON values.
        exhibit: what to draw.
        context: gaps in context that lowered the score, e.g. `calendar_provisional`, `permit_unknown`.
    """

    entity_id: str
    day: date
    rule: str
    verdict: Literal["suspect", "cannot_tell"]
    score: float
    reasons: tuple[Text, ...]
    counter: tuple[Text, ...]
    evidence: Mapping[str, Any]
    exhibit: Exhibit | None = None
    context: tuple[str, ...] = ()


class CurveModel(Protocol):
    """A model of the daily or advance tier: a pure function of its inputs."""

    def score(self, block: Block, context: ModelContext) -> Sequence[Finding]:
        """Findings about the block's last day (or an event that ends on it)."""
        ...


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a user must know before trusting a model; measured figures stand in the bench's report."""

    purpose: Text
    inputs: Text
    algorithm: Text
    source: str
    false_positives: tuple[Text, ...]
    limits: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Descriptor that a plugin registers for one model.

    Args:
        id: `m05-night-only`; the part before the dash is unique in a hub.
        version: raised with every change of behaviour.
        tier: daily | realtime | advance.
        window_days: days of history that it reads, the last one included.
        features: daily features that it reads.
        reads: standard tables that it reads.
        gates: the gates its findings must pass, see `dianhuan_hub.screening`.
        config_model: parameters with their defaults.
        factory: makes the model from its context.
    """

    id: str
    version: str
    zh: str
    en: str
    tier: Tier
    window_days: int
    features: tuple[str, ...]
    reads: tuple[str, ...]
    gates: tuple[Gate, ...]
    alarm_budget: float
    config_model: type[BaseModel]
    factory: Callable[[PluginContext], CurveModel]
    card: ModelCard
