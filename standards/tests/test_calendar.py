"""The work calendar: announced years, the forecast beyond them, and a city's own rows."""

from datetime import date, timedelta

import pyarrow as pa
import pytest

from dianhuan_sdk import InputError, Window
from dianhuan_standards import TABLES
from dianhuan_standards.calendar import WorkCalendar, spring_festival
from dianhuan_standards.calendar._forecast import forecast


@pytest.mark.parametrize(
    ("day", "kind", "name"),
    [
        (date(2024, 2, 4), "makeup", "春节"),
        (date(2024, 2, 10), "holiday", "春节"),
        (date(2024, 4, 7), "makeup", "清明节"),
        (date(2024, 10, 12), "makeup", "国庆节"),
        (date(2025, 1, 1), "holiday", "元旦"),
        (date(2025, 1, 28), "holiday", "春节"),
        (date(2025, 5, 5), "holiday", "劳动节"),
        (date(2025, 10, 6), "holiday", "中秋节"),
        (date(2025, 10, 11), "makeup", "国庆节"),
        (date(2026, 1, 4), "makeup", "元旦"),
        (date(2026, 2, 17), "holiday", "春节"),
        (date(2026, 6, 19), "holiday", "端午节"),
        (date(2026, 11, 23), "workday", ""),
        (date(2026, 11, 22), "weekend", ""),
        (date(2026, 12, 31), "workday", ""),
    ],
)
def test_announced_days(day: date, kind: str, name: str) -> None:
    found = WorkCalendar().day(day)
    assert (found.kind, found.name, found.provisional) == (kind, name, False)


@pytest.mark.parametrize(
    ("day", "kind", "name"),
    [
        (date(2027, 1, 1), "holiday", "元旦"),
        (date(2027, 2, 5), "holiday", "春节"),
        (date(2027, 2, 12), "holiday", "春节"),
        (date(2027, 2, 13), "weekend", ""),
        (date(2027, 4, 5), "holiday", "清明节"),
        (date(2027, 6, 9), "holiday", "端午节"),
        (date(2027, 6, 10), "workday", ""),
        (date(2027, 9, 15), "holiday", "中秋节"),
        (date(2027, 10, 7), "holiday", "国庆节"),
        (date(2027, 10, 8), "workday", ""),
        (date(2028, 10, 3), "holiday", "中秋节"),
        (date(2028, 10, 8), "holiday", "国庆节"),
        (date(2029, 12, 31), "holiday", "元旦"),
    ],
)
def test_forecast_days_are_provisional(day: date, kind: str, name: str) -> None:
    found = WorkCalendar().day(day)
    assert (found.kind, found.name, found.provisional) == (kind, name, True)


@pytest.mark.parametrize(("year", "missed"), [(2025, []), (2026, [date(2026, 2, 15)])])
def test_the_forecast_rule_gives_the_announced_holidays_of_the_years_since_it_holds(
    year: int, missed: list[date]
) -> None:
    """All 365 days of 2025 and 2026; in 2026 a Sunday before New Year's Eve was announced as part of the festival."""
    calendar = WorkCalendar()
    days = [date(year, 1, 1) + timedelta(days=i) for i in range(365)]
    announced = {d.day: d.name for d in map(calendar.day, days) if d.kind == "holiday"}
    expected = {day: name for day, name in forecast(year).items() if day.year == year}
    assert {day: name for day, name in announced.items() if day not in missed} == expected


def test_spring_offset_reaches_fifteen_days_to_both_sides() -> None:
    assert spring_festival(2027) == date(2027, 2, 6)
    calendar = WorkCalendar()
    window = Window(date(2027, 1, 21), date(2027, 2, 23))
    offsets = [day.spring_offset for day in calendar.days(window)]
    assert offsets == [None, *range(-15, 16), None]


def _rows(*rows: tuple[date, str, str | None]) -> pa.Table:
    return pa.Table.from_pylist(
        [{"day": day, "kind": kind, "name": name, "source": None} for day, kind, name in rows],
        schema=TABLES["calendar"].schema,
    )


def test_a_citys_own_row_wins_over_announcement_and_forecast_and_is_not_provisional() -> None:
    calendar = WorkCalendar(_rows((date(2026, 11, 23), "holiday", "自治州庆"), (date(2027, 2, 20), "makeup", None)))
    local = calendar.day(date(2026, 11, 23))
    assert (local.kind, local.name, local.provisional) == ("holiday", "自治州庆", False)
    makeup = calendar.day(date(2027, 2, 20))
    assert (makeup.kind, makeup.name, makeup.provisional, makeup.spring_offset) == ("makeup", "", False, 14)
    assert calendar.day(date(2027, 2, 21)).provisional


def test_the_last_of_two_rows_of_a_day_wins() -> None:
    calendar = WorkCalendar(_rows((date(2026, 5, 6), "holiday", "a"), (date(2026, 5, 6), "workday", "b")))
    assert (calendar.day(date(2026, 5, 6)).kind, calendar.day(date(2026, 5, 6)).name) == ("workday", "b")


def test_an_unknown_kind_is_refused_with_what_to_do() -> None:
    with pytest.raises(InputError, match=r"2026-05-06.*'day off'.*expected.*makeup"):
        WorkCalendar(_rows((date(2026, 5, 6), "day off", None)))


def test_a_window_gives_its_days_in_order() -> None:
    window = Window(date(2026, 9, 1), date(2026, 12, 1))
    assert tuple(day.day for day in WorkCalendar().days(window)) == window.days
