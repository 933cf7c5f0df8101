"""Tariff periods: the shipped files, a change of scheme inside a history, seasons, and files that are wrong."""

from datetime import date
from pathlib import Path

import pytest

from dianhuan_sdk import ConfigError, Window
from dianhuan_standards.tariffs import TariffBook

ZHUZHOU = "430212"


@pytest.fixture(scope="module")
def book() -> TariffBook:
    return TariffBook.load()


def _hours(periods: tuple[str, ...], wanted: str) -> set[float]:
    return {slot / 4 for slot, period in enumerate(periods) if period == wanted}


def _between(*spans: tuple[float, float]) -> set[float]:
    return {slot / 4 for slot in range(96) for start, end in spans if start <= slot / 4 < end}


def test_hunan_before_and_after_the_change_of_the_whole_scheme(book: TariffBook) -> None:
    old, new = book.days(ZHUZHOU, Window(date(2025, 8, 31), date(2025, 9, 2)))
    assert _hours(old.periods, "valley") == _between((0, 7), (23, 24))
    assert _hours(old.periods, "flat") == _between((7, 8), (11, 15), (22, 23))
    assert _hours(old.periods, "peak") == _between((8, 11), (15, 19))
    assert _hours(old.periods, "sharp") == _between((19, 22))
    assert _hours(new.periods, "valley") == _between((0, 6), (12, 14))
    assert _hours(new.periods, "flat") == _between((6, 12), (14, 16))
    assert _hours(new.periods, "peak") == _between((16, 24))
    assert not _hours(new.periods, "sharp")
    assert "385号" in new.source
    assert not old.provisional
    assert not new.provisional
    assert new.valley.sum() == 32


@pytest.mark.parametrize(
    ("day", "sharp"),
    [
        (date(2025, 11, 30), ()),
        (date(2025, 12, 1), ((18, 22),)),
        (date(2026, 1, 31), ((18, 22),)),
        (date(2026, 2, 1), ()),
        (date(2026, 7, 1), ((20, 24),)),
        (date(2026, 8, 31), ((20, 24),)),
        (date(2026, 9, 1), ()),
    ],
)
def test_hunan_sharp_periods_by_season(book: TariffBook, day: date, sharp: tuple[tuple[float, float], ...]) -> None:
    periods = book.day(ZHUZHOU, day).periods
    assert _hours(periods, "sharp") == _between(*sharp)
    assert _hours(periods, "peak") == _between((16, 24)) - _between(*sharp)


def test_every_day_of_every_division_on_file_has_96_known_periods(book: TariffBook) -> None:
    for division in (*book.divisions, "11"):
        for tariff in book.days(division, Window(date(2025, 1, 1), date(2027, 1, 1))):
            assert len(tariff.periods) == 96
            assert set(tariff.periods) <= {"valley", "flat", "peak", "sharp"}


def test_a_province_with_nothing_on_file_gets_the_generic_valley_as_provisional(book: TariffBook) -> None:
    tariff = book.day("110105", date(2026, 5, 1))
    assert tariff.provisional
    assert _hours(tariff.periods, "valley") == _between((0, 7), (23, 24))


def test_jiangxi_is_an_assumption_and_says_so(book: TariffBook) -> None:
    tariff = book.day("360300", date(2026, 5, 1))
    assert tariff.provisional
    assert "assumed" in tariff.source
    assert _hours(tariff.periods, "valley") == _between((0, 6), (11.5, 13.5))


SCHEME = """
  - id: {id}
    source: notice {id}
    verified: true
    valid_from: {start}
    valid_to: {end}
    periods:
      valley: ["{valley}"]
      flat: ["{flat}"]
"""


def _file(
    *schemes: tuple[str, str, str], division: str = "43", valley: str = "22:00-06:00", flat: str = "06:00-22:00"
) -> str:
    body = "".join(
        SCHEME.format(id=name, start=start, end=end, valley=valley, flat=flat) for name, start, end in schemes
    )
    return f'division: "{division}"\nzh: 试验\nen: test\nschemes:{body}'


def test_a_citys_own_file_wins_for_its_division_only(tmp_path: Path, book: TariffBook) -> None:
    (tmp_path / "zhuzhou.yaml").write_text(_file(("own", "2026-01-01", "null"), division="4302"), encoding="utf-8")
    own = TariffBook.load(tmp_path)
    day = date(2026, 3, 1)
    assert own.day(ZHUZHOU, day).source == "notice own"
    assert own.day("430100", day) == book.day("430100", day)
    assert not own.day(ZHUZHOU, day).provisional


def test_a_day_outside_every_validity_takes_the_nearest_scheme_as_provisional(tmp_path: Path) -> None:
    path = tmp_path / "hunan.yaml"
    path.write_text(_file(("one", "2025-01-01", "2025-06-01"), ("two", "2025-06-01", "2026-01-01")), encoding="utf-8")
    book = TariffBook.load(path)
    found = [book.day("43", day) for day in (date(2024, 12, 31), date(2025, 5, 31), date(2025, 6, 1), date(2026, 1, 1))]
    assert [(f.source, f.provisional) for f in found] == [
        ("notice one", True),
        ("notice one", False),
        ("notice two", False),
        ("notice two", True),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (_file(("a", "null", "2025-06-01"), ("b", "2025-05-01", "null")), "a and b overlap"),
        (_file(("a", "null", "2025-06-01"), ("b", "2025-07-01", "null")), "gap between schemes a and b"),
        (_file(("a", "null", "null"), ("b", "2025-07-01", "null")), "open end"),
        (_file(("a", "2025-06-01", "2025-06-01")), "not after"),
        (_file(("a", "null", "null"), valley="22:00-07:00"), "06:00 is both valley and flat"),
        (_file(("a", "null", "null"), valley="23:00-06:00"), "no period from 22:00"),
        (_file(("a", "null", "null"), valley="22:10-06:00"), "22:10 is not a quarter hour"),
        (_file(("a", "null", "null"), valley="22:00-25:00"), "25:00 is not a quarter hour"),
        (_file(("a", "null", "null"), division="4"), "division"),
        (_file(("a", "null", "null")).replace("flat:", "cheap:"), "cheap"),
        ("division: [", "tariff file"),
        ("", "tariff file"),
    ],
)
def test_a_wrong_file_is_refused_with_the_reason(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        TariffBook.load(path)


def test_a_month_in_two_seasons_is_refused(tmp_path: Path) -> None:
    seasons = "".join(
        f'      - {{months: [7], periods: {{sharp: ["{span}"]}}}}\n' for span in ("10:00-11:00", "12:00-13:00")
    )
    path = tmp_path / "x.yaml"
    path.write_text(_file(("a", "null", "null")).rstrip() + f"\n    seasons:\n{seasons}", encoding="utf-8")
    with pytest.raises(ConfigError, match="a month stands in two seasons"):
        TariffBook.load(path)


def test_two_files_of_one_division_and_a_missing_path_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(_file((name, "null", "null")), encoding="utf-8")
    with pytest.raises(ConfigError, match="two tariff files for division 43"):
        TariffBook.load(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        TariffBook.load(tmp_path / "none.yaml")
