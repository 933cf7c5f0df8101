"""The value columns of wide files: which they are, and which quarter hours they cover."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dianhuan_sdk.errors import InputError
from dianhuan_sdk.tabular._fields import required_position
from dianhuan_sdk.tabular._mapping import Curve

COUNTS = (96, 48, 24)
_NUMBERED = re.compile(r"^(?:p|point|点|v|kw)_?(\d{1,3})$", re.IGNORECASE)
_CLOCK = re.compile(r"^t?([01]?\d|2[0-4])[:：]?([0-5]\d)(?:[:：]00)?$", re.IGNORECASE)
_RANGE = re.compile(r"^(.*)\{(\d+)\.\.(\d+)\}(.*)$")


@dataclass(frozen=True)
class Points:
    """Positions of the value columns, in the order of the intervals of the day."""

    positions: tuple[int, ...]

    @property
    def minutes(self) -> int:
        """Length of one interval."""
        return 1440 // len(self.positions)


def clock_minutes(name: str) -> int | None:
    """Minutes after midnight of a column named by the clock (`00:15`, `T0015`, `24:00`); None for other names."""
    match = _CLOCK.match(name.strip())
    if match is None:
        return None
    minutes = int(match[1]) * 60 + int(match[2])
    return minutes if minutes <= 1440 else None


def point_number(name: str) -> int | None:
    """The number of a column named `P1`, `p96`, `点1`; None for other names."""
    match = _NUMBERED.match(name.strip())
    return int(match[1]) if match else None


def expand_names(names: Sequence[str]) -> list[str]:
    """Header names with patterns such as `P{1..96}` written out; leading zeros keep their width."""
    out: list[str] = []
    for name in names:
        match = _RANGE.match(name)
        if match is None:
            out.append(name)
            continue
        before, first, last, after = match.groups()
        width = len(first) if first.startswith("0") else 0
        out += [f"{before}{n:0{width}d}{after}" for n in range(int(first), int(last) + 1)]
    return out


def find_points(headers: Sequence[str], curve: Curve | None, origin: str) -> Points | None:
    """The value columns of a wide file, by the mapping or by their names; None if there are none.

    Raises:
        InputError: another number than 96, 48 or 24 of them, a gap, or clock names that the stamp rule contradicts.
    """
    if curve is not None and curve.values:
        names = expand_names(curve.values)
        positions = [required_position(headers, name, origin) for name in names]
        _ensure_count(len(positions), origin)
        if all(point_number(n) is not None for n in names):
            # P97 beside P1 … P96 means that something is shifted.
            _ensure_count(sum(point_number(h) is not None for h in headers), origin)
        if all(clock_minutes(n) is not None for n in names):
            return _by_clock(headers, positions, curve, origin)
        return Points(tuple(positions))
    clocks = [i for i, header in enumerate(headers) if clock_minutes(header) is not None]
    if len(clocks) >= 12:
        return _by_clock(headers, clocks, curve, origin)
    numbered = {n: i for i, header in enumerate(headers) if (n := point_number(header)) is not None}
    if len(numbered) >= 12:
        _ensure_count(len(numbered), origin)
        first = min(numbered)
        if first not in (0, 1) or sorted(numbered) != list(range(first, first + len(numbered))):
            raise InputError(
                f"{origin}: the value columns are not numbered without gaps",
                expected="P1 … P96 (or 48, 24 columns)",
                hint="correct the header, or name the columns under curve.values",
            )
        return Points(tuple(numbered[n] for n in sorted(numbered)))
    return None


def _ensure_count(count: int, origin: str) -> None:
    if count not in COUNTS:
        raise InputError(
            f"{origin}: the header has {count} value columns",
            expected="96, 48 or 24 value columns",
            hint="ask the sender for a whole file, or name the columns under curve.values",
        )


def _by_clock(headers: Sequence[str], positions: Sequence[int], curve: Curve | None, origin: str) -> Points:
    _ensure_count(len(positions), origin)
    step = 1440 // len(positions)
    at = {clock_minutes(headers[i]): i for i in positions}
    ends = 1440 in at
    stamp = curve.stamp if curve is not None else ("interval_end" if ends else "interval_start")
    if stamp == "interval_end_same_day" and 0 in at and not ends:
        # 00:00 names the end of the row's own day here.
        at[1440] = at.pop(0)
    wanted = [n * step + (0 if stamp == "interval_start" else step) for n in range(len(positions))]
    if sorted(m for m in at if m is not None) != wanted:
        first, last = min(m for m in at if m is not None), max(m for m in at if m is not None)
        raise InputError(
            f"{origin}: columns from {_clock(first)} to {_clock(last)} do not fit the stamp rule {stamp}",
            expected=f"columns from {_clock(wanted[0])} to {_clock(wanted[-1])} every {step} min",
            hint="set curve.stamp: interval_start for 00:00 … 23:45, interval_end for 00:15 … 24:00, "
            "interval_end_same_day where the column 00:00 holds the last interval of the row's day",
        )
    return Points(tuple(at[m] for m in wanted))


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
