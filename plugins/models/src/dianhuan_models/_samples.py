"""The new samples of a window, one after the other, with the last known value held over short gaps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from dianhuan_sdk import Health, StreamWindow
from dianhuan_sdk.features import BoolArray, FloatArray

HOLD_S = 360
"""A meter that reports every five minutes is known in between; a longer gap is unknown, never zero."""

UNRELIABLE = Health.COMM_LOSS | Health.DEAD | Health.FAULT | Health.MAINTENANCE | Health.CALIBRATION
Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]


@dataclass(frozen=True)
class Sample:
    """All circuits at one sample.

    Args:
        second: end of the sample, seconds since 1970 UTC.
        minutes: length of the sample.
        x: shape (circuits,): held value; NaN where unknown or the device is not to be trusted.
        fresh: shape (circuits,): the sample itself has a value.
        changed: shape (circuits,): meter, CT or PT was changed; what was learned does not hold.
        column: its column in the window.
    """

    second: int
    minutes: float
    x: FloatArray
    fresh: BoolArray
    changed: BoolArray
    column: int


def new_samples(window: StreamWindow, count: int) -> Iterator[Sample]:
    """The newest `count` samples, oldest first. Health marks are those of now: earlier ones are not handed on."""
    reach = max(HOLD_S // window.step_s, 1)
    unreliable = (window.health & UNRELIABLE) != 0
    changed = (window.health & Health.CHANGED) != 0
    for column in range(window.samples - count, window.samples):
        x = window.values[:, column].copy()
        gone = np.isnan(x)
        fresh = ~gone
        rows = np.flatnonzero(gone)
        for back in range(1, min(reach, column + 1)):
            if not rows.size:
                break
            x[rows] = window.values[rows, column - back]
            rows = rows[np.isnan(x[rows])]
        x[unreliable] = np.nan
        second = window.second - (window.samples - 1 - column) * window.step_s
        yield Sample(second, window.step_s / 60, x, fresh & ~unreliable, changed, column)
