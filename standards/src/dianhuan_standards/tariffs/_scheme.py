"""The form of a tariff file: one division, its schemes one after the other, each with base periods and seasons."""

from __future__ import annotations

import re
from datetime import date
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from dianhuan_sdk import POINTS_PER_DAY

Period = Literal["valley", "flat", "peak", "sharp"]
Span = Annotated[str, StringConstraints(pattern=r"^\d\d:\d\d-\d\d:\d\d$")]
"""`HH:MM-HH:MM` on quarter hours, start in, end out; may wrap midnight; `24:00` is allowed as an end."""

MINUTES_PER_SLOT = 24 * 60 // POINTS_PER_DAY


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Season(_Strict):
    """Months in which some periods differ from the base.

    Args:
        months: 1 … 12.
        periods: spans that replace what the base says for their slots.
    """

    months: tuple[Annotated[int, Field(ge=1, le=12)], ...] = Field(min_length=1)
    periods: dict[Period, tuple[Span, ...]]

    @model_validator(mode="after")
    def _spans_do_not_overlap(self) -> Self:
        _paint([None] * POINTS_PER_DAY, self.periods)
        return self


class Scheme(_Strict):
    """One scheme of periods with its validity.

    Args:
        id: stable id, e.g. `hunan-2025`.
        source: the notice it comes from, and how it was learned.
        verified: true once a person has compared it with the notice.
        assumed: true where the hours come from no notice at all; its days are `provisional`.
        valid_from: first day, or None for an open beginning.
        valid_to: first day on which it no longer holds, or None.
        periods: spans of the base, which cover the day exactly once.
        seasons: what differs by month; a month belongs to one season at most.
        note: words for people.
    """

    id: str = Field(min_length=1)
    source: str = Field(min_length=1)
    verified: bool
    assumed: bool = False
    valid_from: date | None
    valid_to: date | None
    periods: dict[Period, tuple[Span, ...]]
    seasons: tuple[Season, ...] = ()
    note: str = ""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.valid_from and self.valid_to and self.valid_to <= self.valid_from:
            raise ValueError(f"scheme {self.id}: valid_to {self.valid_to} is not after valid_from {self.valid_from}")
        if self.verified and self.assumed:
            raise ValueError(f"scheme {self.id}: an assumed scheme is not verified")
        missing = [i for i, period in enumerate(_paint([None] * POINTS_PER_DAY, self.periods)) if period is None]
        if missing:
            raise ValueError(f"scheme {self.id}: no period from {_clock(missing[0])} on; the base covers the whole day")
        months = [month for season in self.seasons for month in season.months]
        if len(months) != len(set(months)):
            raise ValueError(f"scheme {self.id}: a month stands in two seasons")
        return self

    def slots(self, month: int) -> tuple[str, ...]:
        """The period of each of 96 slots in that month."""
        base = _paint([None] * POINTS_PER_DAY, self.periods)
        season = next((s for s in self.seasons if month in s.months), None)
        over = _paint([None] * POINTS_PER_DAY, season.periods) if season else base
        return tuple(b if o is None else o for b, o in zip(base, over, strict=True) if b is not None)


class TariffFile(_Strict):
    """Content of one tariff file.

    Args:
        division: leading digits of the GB/T 2260 code that it holds for: 2 (province), 4 (city) or 6.
        zh, en: name of the division.
        schemes: in order of time, each beginning on the day the one before ends.
    """

    division: Annotated[str, StringConstraints(pattern=r"^(\d{2}|\d{4}|\d{6})$")]
    zh: str
    en: str
    schemes: tuple[Scheme, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _schemes_follow_each_other(self) -> Self:
        for earlier, later in pairwise(self.schemes):
            if earlier.valid_to is None or later.valid_from is None:
                raise ValueError(f"schemes {earlier.id} and {later.id} overlap: an open end lies between them")
            if later.valid_from < earlier.valid_to:
                raise ValueError(
                    f"schemes {earlier.id} and {later.id} overlap on {later.valid_from} … {earlier.valid_to}"
                )
            if later.valid_from > earlier.valid_to:
                raise ValueError(
                    f"gap between schemes {earlier.id} and {later.id}: {earlier.valid_to} … {later.valid_from}"
                )
        return self


def _paint(slots: list[Period | None], periods: dict[Period, tuple[Span, ...]]) -> list[Period | None]:
    for period, spans in periods.items():
        for span in spans:
            for slot in _slots_of(span):
                if slots[slot] is not None:
                    raise ValueError(f"{_clock(slot)} is both {slots[slot]} and {period}")
                slots[slot] = period
    return slots


def _slots_of(span: Span) -> list[int]:
    start, end = (_minutes(text, span) for text in span.split("-"))
    if start == 24 * 60 or start == end:
        raise ValueError(f"span {span!r} is empty; the whole day is 00:00-24:00")
    first, last = start // MINUTES_PER_SLOT, end // MINUTES_PER_SLOT
    return [*range(first, last)] if first < last else [*range(first, POINTS_PER_DAY), *range(last)]


def _minutes(text: str, span: Span) -> int:
    found = re.fullmatch(r"(\d\d):(\d\d)", text)
    minutes = int(found[1]) * 60 + int(found[2]) if found and int(found[2]) < 60 else -1
    if not 0 <= minutes <= 24 * 60 or minutes % MINUTES_PER_SLOT:
        raise ValueError(f"span {span!r}: {text} is not a quarter hour between 00:00 and 24:00")
    return minutes


def _clock(slot: int) -> str:
    return f"{slot // 4:02d}:{slot % 4 * 15:02d}"
