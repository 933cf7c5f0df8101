"""The calendar that the city lives by: public holidays, 调休, and the way into and out of Spring Festival."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

DayKind = Literal["workday", "saturday", "sunday", "holiday"]


@dataclass(frozen=True, slots=True)
class CityDay:
    """One day: its kind as people live it (a 调休 Sunday is a workday), days from the nearest Spring Festival."""

    day: date
    kind: DayKind
    spring_offset: int


def city_day(day: date, spring_festivals: Sequence[date]) -> CityDay:
    """What day it is. Beyond the years that the State Council has announced, holidays are the statutory days."""
    offset = min(((day - festival).days for festival in spring_festivals), key=abs, default=9999)
    return CityDay(day, _kind(day, spring_festivals), offset)


def _kind(day: date, spring_festivals: Sequence[date]) -> DayKind:
    import chinese_calendar

    try:
        rest = bool(chinese_calendar.is_holiday(day))
        named = chinese_calendar.get_holiday_detail(day)[1]
        if not rest:
            return "workday"
        if named is not None:
            return "holiday"
    except NotImplementedError:
        if _statutory(day, spring_festivals):
            return "holiday"
    return "sunday" if day.weekday() == 6 else "saturday" if day.weekday() == 5 else "workday"


def _statutory(day: date, spring_festivals: Sequence[date]) -> bool:
    fixed = (day.month == 10 and day.day <= 7) or (day.month == 5 and day.day <= 5) or (day.month, day.day) == (1, 1)
    return fixed or any(f - timedelta(days=1) <= day <= f + timedelta(days=6) for f in spring_festivals)
