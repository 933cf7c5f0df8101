"""Public holidays of years that the State Council has not announced yet.

The rule is the one stated with the arrangement for 2025, after the 2024 revision of 《全国年节及纪念日放假办法》:
Spring Festival is off for 8 days from the eve, National Day for 7 from 1 October (8 where 中秋 falls among them),
Labour Day for 5 days from 1 May; 元旦, 清明, 端午 and 中秋 for 3 days, and for the day alone where it is a Wednesday.
Which weekend days are worked in exchange (调休) follows no rule: they are not forecast and stay `weekend`.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from functools import cache

SPRING, NEW_YEAR, TOMB, LABOUR, DRAGON, MOON, NATIONAL = (
    "春节",
    "元旦",
    "清明节",
    "劳动节",
    "端午节",
    "中秋节",
    "国庆节",
)

# First and last day off, relative to a one-day festival, by its weekday (0 = Monday).
_AROUND = {0: (-2, 0), 1: (-2, 0), 2: (0, 0), 3: (0, 2), 4: (0, 2), 5: (0, 2), 6: (-1, 1)}


@cache
def spring_festival(year: int) -> date:
    """The first day of the lunar year (春节) that begins in `year`."""
    return _lunar(year, 1, 1)


@cache
def forecast(year: int) -> dict[date, str]:
    """Forecast days off of the festivals of `year`, with names; 元旦 may begin in the December before."""
    moon = _lunar(year, 8, 15)
    merged = date(year, 10, 1) <= moon <= date(year, 10, 8)
    off: dict[date, str] = {}
    off.update(_run(spring_festival(year) - timedelta(days=1), 8, SPRING))
    off.update(_run(date(year, 5, 1), 5, LABOUR))
    festivals = {NEW_YEAR: date(year, 1, 1), TOMB: _clear_and_bright(year), DRAGON: _lunar(year, 5, 5)}
    if not merged:
        festivals[MOON] = moon
    for name, day in festivals.items():
        first, last = _AROUND[day.weekday()]
        off.update(_run(day + timedelta(days=first), last - first + 1, name))
    off.update(_run(date(year, 10, 1), 8 if merged else 7, NATIONAL))
    if merged:
        off[moon] = MOON
    return off


def _run(start: date, days: int, name: str) -> Iterator[tuple[date, str]]:
    return ((start + timedelta(days=i), name) for i in range(days))


def _lunar(year: int, month: int, day: int) -> date:
    from lunar_python import Lunar

    return date.fromisoformat(Lunar.fromYmd(year, month, day).getSolar().toYmd())


def _clear_and_bright(year: int) -> date:
    from lunar_python import Solar

    return date.fromisoformat(Solar.fromYmd(year, 4, 1).getLunar().getJieQiTable()["清明"].toYmd())
