"""Events of rows of a state table: opened, back within the own mute, raised, ended; one id as long as it goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

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
        mute_minutes: after an event ended, a new one within this time since it opened is the same event again.
    """

    prefix: str
    mute_minutes: float

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
        self.repeats(t)[:] *= np.float32(np.exp(-minutes / (30 * 1440)))
        begin = active & (phase == 0) & ~silent
        opened, again = np.flatnonzero(begin & (muted <= second)), np.flatnonzero(begin & (muted > second))
        ended = np.flatnonzero(~active & (phase > 0))
        phase[opened] = phase[again] = NOTICE
        self.since(t)[opened] = since[opened]
        self.opened_at(t)[opened] = second
        muted[opened] = second + int(self.mute_minutes * 60)
        self.repeats(t)[opened] += 1
        self.repeats(t)[again] += 1
        phase[ended] = 0
        return Changes(opened, again, ended)

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
