"""Events of rows of a state table: opened, back within the own mute, raised, ended; one id as long as it goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np

from dianhuan_sdk import StateField
from dianhuan_sdk.features import BoolArray

Columns = dict[str, np.ndarray[Any, Any]]
Rows = np.ndarray[Any, np.dtype[np.intp]]
NOTICE, DISPATCH = 1, 2


@dataclass(frozen=True)
class Changes:
    """Rows whose event changed at this sample."""

    opened: Rows
    again: Rows
    ended: Rows

    @property
    def any(self) -> bool:
        """Did anything change?"""
        return bool(self.opened.size or self.again.size or self.ended.size)


@dataclass(frozen=True)
class Events:
    """The events of one kind in a state table.

    Args:
        prefix: begins the names of its columns.
        mute_minutes: an event that comes back within this time since it opened is the same event again.
        wait_minutes: so long after it opened, an event that is over may still be raised; 0 = not at all.
    """

    prefix: str
    mute_minutes: float
    wait_minutes: float = 0.0

    @property
    def fields(self) -> tuple[StateField, ...]:
        """Columns of the state table."""
        p = self.prefix
        return (
            StateField(f"{p}_phase", "i1", 0),
            StateField(f"{p}_since", "i8", 0),
            StateField(f"{p}_opened", "i8", 0),
            StateField(f"{p}_muted", "i8", 0),
            StateField(f"{p}_repeats", "f4", 0.0),
            StateField(f"{p}_waits", "i8", 0),
            StateField(f"{p}_ended", "i8", 0),
            StateField(f"{p}_sent", "?", False),
        )

    def phase(self, t: Columns) -> np.ndarray[Any, np.dtype[np.int8]]:
        """Shape (rows,): 0 none, 1 notice, 2 dispatch."""
        return t[f"{self.prefix}_phase"]

    def since(self, t: Columns) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Shape (rows,): when the present or last event began."""
        return t[f"{self.prefix}_since"]

    def opened_at(self, t: Columns) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Shape (rows,): when the present or last event was first told."""
        return t[f"{self.prefix}_opened"]

    def repeats(self, t: Columns) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Shape (rows,): tellings of the last weeks, fading over 30 days, the present one included."""
        return t[f"{self.prefix}_repeats"]

    def advance(
        self, t: Columns, active: BoolArray, since: np.ndarray[Any, Any], silent: BoolArray, second: int, minutes: float
    ) -> Changes:
        """Move all rows by one sample.

        Args:
            t: the state table.
            active: shape (rows,): the condition holds, persistence included.
            since: shape (rows,): when it began, seconds.
            silent: shape (rows,): muted by an officer: nothing opens.
            second: now.
            minutes: length of the sample.
        """
        phase, muted = self.phase(t), t[f"{self.prefix}_muted"]
        waits, sent = t[f"{self.prefix}_waits"], t[f"{self.prefix}_sent"]
        self.repeats(t)[:] *= np.float32(np.exp(-minutes / (30 * 1440)))
        begin = active & (phase == 0) & ~silent
        opened, again = np.flatnonzero(begin & (muted <= second)), np.flatnonzero(begin & (muted > second))
        ended = np.flatnonzero(~active & (phase > 0))
        sent[opened] = False
        phase[opened] = NOTICE
        phase[again] = np.where(sent[again], DISPATCH, NOTICE)
        self.since(t)[opened] = since[opened]
        self.opened_at(t)[opened] = second
        muted[opened] = second + int(self.mute_minutes * 60)
        self.repeats(t)[opened] += 1
        self.repeats(t)[again] += 1
        waits[opened] = waits[again] = 0
        told = ended[phase[ended] == NOTICE]
        waits[told] = self.opened_at(t)[told] + int(self.wait_minutes * 60)
        t[f"{self.prefix}_ended"][ended] = second
        waits[waits <= second] = 0
        phase[ended] = 0
        return Changes(opened, again, ended)

    def open_or_waiting(self, t: Columns) -> BoolArray:
        """Shape (rows,): a notice that may be raised: it goes on, or is over and not answered yet."""
        return np.asarray((self.phase(t) == NOTICE) | (t[f"{self.prefix}_waits"] > 0))

    def lasted(self, t: Columns, row: int, second: int) -> float:
        """Minutes from the beginning of the row's event to its end, or to now."""
        last = second if self.phase(t)[row] else max(int(t[f"{self.prefix}_ended"][row]), int(self.since(t)[row]))
        return (last - int(self.since(t)[row])) / 60

    def send(self, t: Columns, row: int | np.signedinteger[Any]) -> None:
        """Raise the row's event to dispatch."""
        if self.phase(t)[row]:
            self.phase(t)[row] = DISPATCH
        t[f"{self.prefix}_waits"][row] = 0
        t[f"{self.prefix}_sent"][row] = True

    def level(self, t: Columns, row: int) -> Literal["notice", "dispatch"]:
        """Level of the row's present or last event."""
        return "dispatch" if t[f"{self.prefix}_sent"][row] else "notice"

    def rearm(self, t: Columns, keys: Sequence[str], rearmed: Mapping[str, datetime]) -> None:
        """End the own mute of rows that an officer re-armed after their last event was told."""
        if not rearmed:
            return
        for row, key in enumerate(keys):
            at = rearmed.get(key)
            if at is not None and at.timestamp() >= self.opened_at(t)[row]:
                t[f"{self.prefix}_muted"][row] = 0

    def id(self, t: Columns, row: int, key: str) -> str:
        """Id of the row's present or last event."""
        return f"{self.prefix}:{key}:{int(self.since(t)[row])}"
