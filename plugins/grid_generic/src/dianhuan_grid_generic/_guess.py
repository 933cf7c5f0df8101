"""Guesses about an unknown file, each with its reason: time format, stamps, zone, units, columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

Texts = list[str | None]

METER_NAMES = (
    "metering_point_id", "计量点编号", "计量点", "电表资产号", "表号", "户号", "用户编号", "cons_no", "meter_asset_no",
    "meter", "meter_id", "meterid", "device_id", "id",
)  # fmt: skip
DAY_NAMES = ("day", "日期", "date", "data_date", "数据日期", "stat_date")
MULTIPLIER_NAMES = ("综合倍率", "倍率", "t_factor", "multiplier", "ct_pt")
DATA_TYPE_NAMES = ("数据类型", "data_type")
ENERGY_NAMES = ("kwh", "日电量", "电量", "daily_kwh", "energy_kwh")
_VALUE = re.compile(r"kwh|kw\b|_kw|\bw\b|usage|load|power|value|负荷|功率|电量|读数", re.IGNORECASE)
_NOT_ACTIVE = re.compile(r"kvar|reactive|无功|factor|因数|co2|nsm|volt|电压|电流|current", re.IGNORECASE)
_TIMES = (
    "", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%d.%m.%Y %H:%M", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S",
    "%Y%m%d%H%M", "%Y%m%d%H%M%S", "%Y%m%d %H:%M", "%Y年%m月%d日 %H:%M", "%d/%m/%Y %H:%M:%S", "%d.%m.%Y %H:%M:%S",
)  # fmt: skip
_ZONES = (
    "Europe/Berlin", "Europe/London", "Europe/Athens", "America/New_York", "America/Chicago", "America/Denver",
    "America/Los_Angeles", "Australia/Sydney",
)  # fmt: skip
_UNIT_WORDS = {"kWh": ("kwh", "电量", "度"), "Wh": ("wh",), "kW": ("kw", "功率", "负荷"), "MW": ("mw",)}
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Guess:
    """A value and why."""

    value: str
    reason: str


def named(headers: Sequence[str], names: Sequence[str]) -> int | None:
    """Position of the first header that bears one of these names, in the order of the names."""
    lower = [h.strip().casefold() for h in headers]
    return next((lower.index(n.casefold()) for n in names if n.casefold() in lower), None)


def is_numeric(column: Texts) -> bool:
    """Do nearly all given texts read as numbers?"""
    given = [t for t in column[:2000] if t]
    good = sum(bool(re.fullmatch(r"[+-]?[\d.,]+(e[+-]?\d+)?", t, re.IGNORECASE)) for t in given)
    return bool(given) and good >= 0.9 * len(given)


def parse_times(column: Texts, form: str) -> list[datetime]:
    """The stamps of a column by a form, empty if one in twenty does not fit it."""
    out: list[datetime] = []
    given = [t for t in column if t]
    for text in given:
        try:
            late = _DAY if "24:00" in text else timedelta(0)
            text = text.replace("24:00", "00:00") if late else text
            stamp = datetime.fromisoformat(text) if not form else datetime.strptime(text, form)  # noqa: DTZ007
            out.append(stamp + late)
        except ValueError:
            if len(given) - len(out) > 20 and len(out) < 0.5 * len(given) and len(out) < 5:
                return []
    return out if given and len(out) >= 0.95 * len(given) else []


def guess_time(columns: Sequence[Texts]) -> tuple[int, str, list[datetime]] | None:
    """(position, form, stamps) of the time column: the form under which time goes on most evenly, over least time."""
    best: tuple[tuple[float, float], int, str, list[datetime]] | None = None
    for at, column in enumerate(columns):
        for form in _TIMES:
            if not parse_times(column[:200], form):
                continue
            stamps = parse_times(column, form)
            if len({(s.hour, s.minute) for s in stamps}) < 2:
                continue
            naive = [s.replace(tzinfo=None) for s in stamps]
            steps = Counter(b - a for a, b in pairwise(naive))
            even = steps.most_common(1)[0][1] / max(len(naive) - 1, 1) if steps else 0.0
            score = (round(even, 3), -(max(naive) - min(naive)).total_seconds())
            if best is None or score > best[0]:
                best = (score, at, form, stamps)
    return best[1:] if best else None


def guess_stamp(stamps: Sequence[datetime]) -> Guess:
    """What the stamps of one meter, in file order, name."""
    for a, b in pairwise(stamps):
        if (b.hour, b.minute) == (0, 0) and b.date() == a.date() and a.hour == 23:
            return Guess(
                "interval_end_same_day", f"the row stamped {b:%H:%M} follows {a:%H:%M} and bears the same day's date"
            )
    first, last = stamps[0], stamps[-1]
    midnight = (last.hour, last.minute) == (0, 0)
    if (first.hour, first.minute) != (0, 0) and midnight:
        return Guess("interval_end", f"the file runs from {first:%H:%M} to 00:00 of the next day")
    if (first.hour, first.minute) == (0, 0) and not midnight:
        return Guess("interval_start", f"the file runs from 00:00 to {last:%H:%M} of its last day")
    return Guess("interval_start", f"not clear: the file runs from {first:%H:%M} to {last:%H:%M}; ask the sender")


def guess_zone(stamps: Sequence[datetime]) -> Guess:
    """Asia/Shanghai, unless the stamps carry an offset, or skip and repeat hours as a zone with summer time does."""
    if stamps[0].tzinfo is not None:
        return Guess("UTC", "the stamps carry their own offset")
    order = [s for s in stamps if s.minute == 0]
    seen = Counter(s for s in order)
    twice = {s for s, n in seen.items() if n == 2}
    spans = {s.date() for s in order}
    missing = {
        datetime(d.year, d.month, d.day, h)  # noqa: DTZ001 - the wall clock as written
        for d in spans
        for h in range(24)
        if datetime(d.year, d.month, d.day, h) not in seen  # noqa: DTZ001
    }
    for name in _ZONES if twice or missing else ():
        zone = ZoneInfo(name)
        skipped = {s for s in missing if _skipped(s, zone)}
        doubled = {s for s in twice if s.replace(tzinfo=zone).utcoffset() != s.replace(tzinfo=zone, fold=1).utcoffset()}
        if (skipped or doubled) and doubled == twice:
            day = min(skipped | doubled)
            return Guess(name, f"hours are skipped or repeated as on the clocks of {name}, e.g. on {day:%Y-%m-%d}")
    return Guess("Asia/Shanghai", "no hour is skipped or repeated")


def _skipped(stamp: datetime, zone: ZoneInfo) -> bool:
    there = stamp.replace(tzinfo=zone)
    return there.astimezone(ZoneInfo("UTC")).astimezone(zone).replace(tzinfo=None) != stamp


def value_column(headers: Sequence[str], columns: Sequence[Texts], besides: set[int]) -> int | None:
    """The column of active power or energy by its name; the only numeric column where there is one."""
    numeric = [i for i, c in enumerate(columns) if i not in besides and is_numeric(c)]
    by_name = [i for i in numeric if _VALUE.search(headers[i]) and not _NOT_ACTIVE.search(headers[i])]
    if by_name:
        return by_name[0]
    return numeric[0] if len(numeric) == 1 else None


def guess_unit(header: str, sums: tuple[float, float] | None) -> Guess:
    """The unit by a daily energy beside the points (`sums`: Σ points × hours, stated kWh), else by the name."""
    if sums is not None:
        area, stated = sums
        for unit, factor in (("kW", 1.0), ("W", 1e-3)):
            if abs(area * factor - stated) <= 0.02 * abs(stated):
                return Guess(unit, f"the points times their hours make the stated daily energy of {stated:g} kWh")
    lower = header.casefold()
    for unit, words in (
        ("kWh", ("kwh", "电量", "度")),
        ("Wh", ("wh",)),
        ("kW", ("kw", "功率", "负荷")),
        ("MW", ("mw",)),
    ):
        if any(w in lower for w in words):
            return Guess(unit, f"the name {header!r} says so")
    if re.search(r"(^|[^a-z])w($|[^a-z])", lower):
        return Guess("W", f"the name {header!r} says so")
    return Guess("kW", "not stated: kW is usual; compare a day's energy with a bill")
