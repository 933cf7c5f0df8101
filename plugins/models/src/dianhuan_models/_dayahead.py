"""Day-ahead energy with its uncertainty: level by type of day, recent drift, own backtested residuals (conformal)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dianhuan_models._stats import Array, Bools, Rows, median

DRIFT = 0.7
"""Part of the last days' deviation that is still there tomorrow."""
_BURN_IN = 14
_LAST = 5


@dataclass(frozen=True)
class DayAhead:
    """Forecasts of the day after the window.

    Args:
        point: shape (rows,), log load; NaN where there is too little history.
        normal: shape (rows,), the level of that type of day without the drift.
        misses: shape (rows, days): actual − forecast of the backtest; NaN where there was none.
    """

    point: Array
    normal: Array
    misses: Array

    def quantiles(self, row: int, q: Array) -> Array:
        """Conformal quantiles of one row: order statistics of its own misses, at rank q · (n + 1)."""
        misses = np.sort(self.misses[row][~np.isnan(self.misses[row])])
        place = np.clip(q * (len(misses) + 1) - 1, 0, len(misses) - 1)
        answer: Array = self.point[row] + np.interp(place, np.arange(len(misses)), misses)
        return answer


def day_ahead(logs: Array, train: Bools, groups: Rows, tomorrow: int, near: int = 28) -> DayAhead:
    """Forecast the day after the window, and every day of it from the days before.

    Args:
        logs: shape (rows, days), log load.
        train: shape (rows, days): days that count as ordinary.
        groups: shape (days,): type of day, −1 = none; `tomorrow`: that of the day after.
        near: days back that make a level.
    """
    days = logs.shape[1]
    known = np.where(train & (groups >= 0), logs, np.nan)
    away = np.full((len(logs), days), np.nan)
    misses = np.full((len(logs), days), np.nan)
    for d in range(days):
        if groups[d] < 0:
            continue
        level = _level(known, groups, d, int(groups[d]), near)
        away[:, d] = known[:, d] - level
        if d >= _BURN_IN:
            misses[:, d] = known[:, d] - (level + DRIFT * _drift(away, d))
    normal = _level(known, groups, days, tomorrow, near)
    return DayAhead(normal + DRIFT * _drift(away, days), normal, misses)


def _level(known: Array, groups: Rows, day: int, group: int, near: int) -> Array:
    back = np.arange(max(0, day - near), day)
    alike = back[groups[back] == group]
    if not len(alike):
        return np.full(len(known), np.nan)
    level: Array = median(known[:, alike])
    level[(~np.isnan(known[:, alike])).sum(axis=1) < min(3, near // 7)] = np.nan
    return level


def _drift(away: Array, day: int) -> Array:
    """Median of the last known deviations; 0 where there are none."""
    return np.asarray(np.nan_to_num(median(away[:, max(0, day - _LAST) : day]))) if day else np.zeros(len(away))
