"""Which days are worked: a city's own rows, then the announced national calendar, then the forecast."""

from collections.abc import Mapping
from datetime import date
from functools import cache, lru_cache
from typing import cast, get_args, get_type_hints

import pyarrow as pa

from dianhuan_sdk import CalendarDay, InputError, Window
from dianhuan_standards.calendar._forecast import DRAGON, LABOUR, MOON, NATIONAL, TOMB, forecast, spring_festival

SPRING_REACH = 15
"""Days before and after Spring Festival on which `spring_offset` is given."""

_NAMES = {"清明": TOMB, "端午": DRAGON, "中秋": MOON, "国庆节": NATIONAL, "劳动节": LABOUR}
_KINDS: tuple[str, ...] = get_args(get_type_hints(CalendarDay)["kind"])


class WorkCalendar:
    """The work calendar of one city.

    A row of the city's `calendar` table always wins. Without one, a day is taken from the State Council's
    announcements (package `chinesecalendar`); in a year that it does not hold yet, from the rule of
    `dianhuan_standards.calendar._forecast`, and the day is then marked `provisional`.

    Args:
        overrides: rows of the standard table `calendar` (`day`, `kind`, `name`); a later row of a day wins.

    Raises:
        InputError: a row's kind is none of `workday`, `weekend`, `holiday`, `makeup`.
    """

    def __init__(self, overrides: pa.Table | None = None) -> None:
        self._own = _own_days(overrides) if overrides is not None else {}

    def day(self, day: date) -> CalendarDay:
        """One civil day."""
        own = self._own.get(day)
        return own if own is not None else _national(day)

    def days(self, window: Window) -> tuple[CalendarDay, ...]:
        """The days of a window in order."""
        return tuple(self.day(day) for day in window.days)


def _own_days(rows: pa.Table) -> Mapping[date, CalendarDay]:
    columns = [rows.column("day").to_pylist(), rows.column("kind").to_pylist()]
    names = rows.column("name").to_pylist() if "name" in rows.column_names else [None] * rows.num_rows
    own: dict[date, CalendarDay] = {}
    for day, kind, name in zip(*columns, names, strict=True):
        if kind not in _KINDS:
            raise InputError(
                f"calendar row of {day}: kind {kind!r}",
                expected=f"one of {', '.join(_KINDS)}",
                hint="correct the row in the city's `calendar` table",
            )
        own[day] = CalendarDay(day, kind, name or "", _spring_offset(day))
    return own


@lru_cache(maxsize=8192)
def _national(day: date) -> CalendarDay:
    offset = _spring_offset(day)
    if _is_announced(day):
        from chinese_calendar import Holiday, get_holiday_detail

        free, code = get_holiday_detail(day)
        label = cast(str, Holiday(code).chinese) if code else ""
        name = _NAMES.get(label, label)
        if free:
            return CalendarDay(day, "holiday" if code else "weekend", name, offset)
        return CalendarDay(day, "makeup" if code else "workday", name, offset)
    name = forecast(day.year).get(day) or forecast(day.year + 1).get(day) or ""
    if name:
        return CalendarDay(day, "holiday", name, offset, provisional=True)
    return CalendarDay(day, "weekend" if day.weekday() >= 5 else "workday", "", offset, provisional=True)


def _is_announced(day: date) -> bool:
    first, last = _announced_years()
    # Days off before 1 January come with the announcement of the year that begins.
    return first <= day.year < last or (day.year == last and day not in forecast(day.year + 1))


@cache
def _announced_years() -> tuple[int, int]:
    from chinese_calendar.constants import holidays

    return min(holidays).year, max(holidays).year


def _spring_offset(day: date) -> int | None:
    offset = (day - spring_festival(day.year)).days
    return offset if abs(offset) <= SPRING_REACH else None
