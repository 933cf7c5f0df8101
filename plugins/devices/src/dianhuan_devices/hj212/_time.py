"""Times of HJ 212: civil time of the station (UTC+8) as digits."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from dianhuan_sdk import LOCAL_ZONE, Deviation

_OFFSET = timedelta(hours=8)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - civil time, shifted by the offset below
_ONE = timedelta(microseconds=1)
_KEPT = 4096


class Times:
    """Reads `DataTime` texts; the days and the texts that many stations share are kept, a bounded number of them."""

    __slots__ = ("_days", "_known")

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._days: dict[str, int] = {}

    def regular(self, text: str) -> int | None:
        """Microseconds since 1970 UTC of fourteen digits; None where it is irregular or no such time."""
        at = self._known.get(text)
        if at is None:
            if len(text) != 14 or not (text.isascii() and text.isdigit()):
                return None
            day = self._days.get(text[:8])
            if day is None:
                day = _micros(text[:8] + "000000")
                if day is None:
                    return None
                if len(self._days) >= _KEPT:
                    self._days.clear()
                self._days[text[:8]] = day
            minutes, second = divmod(int(text[8:]), 100)
            hour, minute = divmod(minutes, 100)
            if hour > 23 or minute > 59 or second > 59:
                return None
            at = day + (hour * 3600 + minute * 60 + second) * 1_000_000
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[text] = at
        return at

    def any(self, text: str) -> tuple[int | None, Deviation | None]:
        """The same for text as the field sends it, with what is irregular about it."""
        at = self.regular(text)
        if at is not None:
            return at, None
        digits = re.sub(r"[^0-9]", "", text)
        if len(digits) not in (8, 12, 14, 17):
            return None, Deviation("time_invalid", f"DataTime={text[:40]!r} has {len(digits)} digits, not 14")
        at = _micros(digits[:14].ljust(14, "0"))
        if at is None:
            return None, Deviation("time_invalid", f"DataTime={text[:40]!r} is no time")
        if len(digits) == 17:
            at += int(digits[14:]) * 1000
        return at, Deviation("time_form", f"DataTime={text[:40]!r} is not YYYYMMDDhhmmss")


def _micros(digits: str) -> int | None:
    try:
        civil = datetime(  # noqa: DTZ001
            int(digits[:4]), int(digits[4:6]), int(digits[6:8]), int(digits[8:10]), int(digits[10:12]), int(digits[12:])
        )
    except ValueError:
        return None
    return (civil - _OFFSET - _EPOCH) // _ONE


def instant(micros: int) -> datetime:
    """Aware UTC instant of microseconds since 1970."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def digits(at: datetime) -> str:
    """`YYYYMMDDhhmmss` in civil time, for DataTime, BeginTime, SystemTime."""
    return at.astimezone(LOCAL_ZONE).strftime("%Y%m%d%H%M%S")


def request_number(at: datetime) -> str:
    """QN: the instant to the millisecond, `YYYYMMDDhhmmsszzz`."""
    civil = at.astimezone(LOCAL_ZONE)
    return f"{civil:%Y%m%d%H%M%S}{civil.microsecond // 1000:03d}"
