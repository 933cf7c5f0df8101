"""Clocks: the only sources of time in the hub."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from dianhuan_sdk import LOCAL_ZONE


class SystemClock:
    """The machine's time."""

    def now(self) -> datetime:
        """The present instant, aware, UTC."""
        return datetime.now(UTC)

    def today(self) -> date:
        """The present civil day in `LOCAL_ZONE`."""
        return self.now().astimezone(LOCAL_ZONE).date()


@dataclass(frozen=True, slots=True)
class FixedClock:
    """A clock that stands still, for tests and `--as-of`.

    Args:
        instant: an aware instant.
    """

    instant: datetime

    def __post_init__(self) -> None:
        if self.instant.tzinfo is None:
            raise ValueError(f"a clock needs an aware instant, got {self.instant}")

    @classmethod
    def on(cls, day: date, at: time = time(6, 30)) -> FixedClock:
        """A clock that stands at a local time of a civil day, by default when the night's work begins."""
        return cls(datetime.combine(day, at, LOCAL_ZONE))

    def now(self) -> datetime:
        """The instant, UTC."""
        return self.instant.astimezone(UTC)

    def today(self) -> date:
        """Its civil day in `LOCAL_ZONE`."""
        return self.instant.astimezone(LOCAL_ZONE).date()
