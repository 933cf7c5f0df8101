"""What an enterprise would have used: own level by type of day and temperature, on a log scale."""

from __future__ import annotations

import zlib

import numpy as np

from dianhuan_models._city import City
from dianhuan_models._stats import Array, Bools, Rows, median, sigma
from dianhuan_models._weather import Weather

FLOOR_SHARE = 0.01
"""Of the own median: keeps the logarithm of an idle day finite."""
_RIDGE = 20.0
"""Degrees² of prior: a few cold days alone do not make a slope."""


def log_energy(city: City, rows: Rows) -> Array:
    """Shape (rows, days): log of mean kW, floored at 1 % of the row's median; NaN on days that are not valid."""
    kw = np.maximum(np.where(city.valid[rows], city.hourly_of(rows), np.nan), 0)
    floor = np.maximum(FLOOR_SHARE * median(kw), 1e-3)
    answer: Array = np.log(np.maximum(kw, floor[:, None]))
    return answer


def day_groups(city: City) -> Rows:
    """Shape (days,): 0 workday, 1 Saturday, 2 Sunday, −1 holiday."""
    weekday = np.array([d.weekday() for d in city.days])
    return np.where(city.work, 0, np.where(city.rest, np.where(weekday == 6, 2, 1), -1))


def expected(city: City, rows: Rows, logs: Array, train: Bools, weather: Weather) -> Array:
    """The log load that a row's own training days lead one to expect on every day; NaN where they say nothing.

    Args:
        logs: shape (rows, days).
        train: shape (rows, days): days that the baseline may learn from.
        weather: temperatures; without them the level by type of day alone.
    """
    groups = day_groups(city)
    level = np.full(logs.shape, np.nan)
    for group in range(3):
        mine = groups == group
        if mine.any():
            known = np.where(train[:, mine], logs[:, mine], np.nan)
            middle = median(known)
            middle[(~np.isnan(known)).sum(axis=1) < 3] = np.nan
            level[:, mine] = middle[:, None]
    if not weather.known:
        return level
    degrees = weather.degrees[weather.district(rows)]
    rest = np.where(train, logs - level, np.nan)
    scale = np.maximum(sigma(rest, np.zeros(len(rest))), 0.02)[:, None]
    rest = np.clip(rest, -3 * scale, 3 * scale)
    use = ~np.isnan(rest) & ~np.isnan(degrees).any(axis=2)
    count = np.maximum(use.sum(axis=1), 1)[:, None]
    x = np.where(use[:, :, None], degrees, 0)
    centre = x.sum(axis=1) / count
    x = np.where(use[:, :, None], degrees - centre[:, None, :], 0)
    y = np.where(use, rest, 0)
    a = np.einsum("rdi,rdj->rij", x, x) + _RIDGE * np.eye(2)
    slope = np.linalg.solve(a, np.einsum("rdi,rd->ri", x, y)[:, :, None])[:, :, 0]
    effect = ((np.nan_to_num(degrees) - centre[:, None, :]) * slope[:, None, :]).sum(axis=2)
    effect[np.isnan(degrees).any(axis=2)] = 0
    # a type's level was taken over its own mean temperature: take that part out once more
    for group in range(3):
        mine = groups == group
        part = np.where((train & use)[:, mine], effect[:, mine], np.nan)
        effect[:, mine] -= np.nan_to_num(median(part))[:, None]
    return np.asarray(level + effect)


def sample(city: City, rows: Rows, most: int) -> Rows:
    """At most so many rows, the same whatever their order: those whose entity id has the smallest checksum."""
    if len(rows) <= most:
        return rows
    marks = np.array([zlib.crc32(city.entity_id(int(r)).encode()) for r in rows])
    return rows[np.sort(np.argsort(marks, kind="stable")[:most])]
