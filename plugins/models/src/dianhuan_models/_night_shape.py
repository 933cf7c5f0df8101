"""What the raw curves of a few candidates add: when their nights start, and whether the day's gap is the sun's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dianhuan_models._city import City
from dianhuan_models._stats import Array, Bools, Rows, median

_EVENING = 72
"""A night is looked at from 18:00 of one day …"""
_MORNING = 32
"""… to 08:00 of the next."""
_MIN_ON = 8
"""Quarter hours on that make a night."""


@dataclass(frozen=True)
class NightShape:
    """Shape of the nights; arrays of shape (rows,).

    Args:
        jitter_h: mean absolute deviation of the starts from their median, hours; 0 where fewer than 3 nights.
        start_slot: median start, slots after 18:00; NaN where no night was seen.
        sun: true where the day's gap looks like PV: smooth, deepest at noon, with shoulders on both sides.
    """

    jitter_h: Array
    start_slot: Array
    sun: Bools

    @classmethod
    def unseen(cls, count: int) -> NightShape:
        """The neutral answer before curves are read."""
        return cls(np.zeros(count), np.full(count, np.nan), np.zeros(count, dtype=bool))

    def clock(self, i: int) -> str | None:
        """Median start as HH:MM."""
        if np.isnan(self.start_slot[i]):
            return None
        minutes = (int(self.start_slot[i]) + _EVENING) % 96 * 15
        return f"{minutes // 60:02d}:{minutes % 60:02d}"


def look_at_curves(city: City, rows: Rows, level: Array) -> NightShape:
    """Reads the curves of `rows` (their night level in kW given) and describes their nights."""
    kw = city.block.curves(rows)
    nights = np.concatenate([kw[:, :-1, _EVENING:], kw[:, 1:, :_MORNING]], axis=2)
    with np.errstate(invalid="ignore"):
        on = nights > (0.5 * level)[:, None, None]
    seen = on.sum(axis=2) >= _MIN_ON
    starts = np.where(seen, on.argmax(axis=2), np.nan)
    middle = median(starts)
    deviation = np.nansum(np.abs(starts - middle[:, None]), axis=1) / np.maximum(seen.sum(axis=1), 1) / 4
    return NightShape(np.where(seen.sum(axis=1) >= 3, deviation, 0.0), middle, _sun(kw))


def _sun(kw: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Bools:
    """Is the gap of the day the sun's?

    PV takes load away in a smooth bell: 06–09 and 15:30–18:30 both stand above noon, and no quarter hour between
    06:00 and 18:30 steps by more than half of the gap, as the end of a shift does.
    """
    profile = median(np.moveaxis(kw, 1, 2))
    smooth = (profile[:, :-1] + profile[:, 1:]) / 2
    noon = profile[:, 44:56].mean(axis=1)
    shoulder = np.minimum(smooth[:, 24:36].max(axis=1), smooth[:, 62:74].max(axis=1))
    gap = shoulder - noon
    with np.errstate(invalid="ignore"):
        step = median(np.nan_to_num(np.abs(np.diff(kw[:, :, 24:75], axis=2))).max(axis=2))
        return np.asarray((gap > 0.3 * np.fmax.reduce(profile, axis=1)) & (step < 0.5 * gap))
