"""Case-crossover: wet hours of one enterprise against the same hours of its own matched dry days.

Maclure (1991); permutation within matched sets. Pooled over enterprises by an empirical null (Efron 2004): what a
reference sample of the city does in the same hours is not an offence.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np

from dianhuan_models._stats import Array, Bools, Rows

PERMUTATIONS = 499
_CLIP = np.log(5.0)
_CHUNK = 64


@dataclass(frozen=True)
class Episodes:
    """Days with bad hours, and what each may be compared with.

    Args:
        days: shape (episodes,), indices into the window.
        hours: shape (episodes, 24), the bad hours of each.
        controls: shape (episodes, days): matched days that are dry in those hours.
        dose: shape (episodes,): rain of the day, mm, or 0.
    """

    days: Rows
    hours: Bools
    controls: Bools
    dose: Array


def episodes(bad: Bools, groups: Rows, scheme: Rows, dose: Array, near: int, min_hours: int, least: int) -> Episodes:
    """Episodes of one district.

    Args:
        bad: shape (days, 24).
        groups: type of day, −1 = none; `scheme`: the tariff scheme in force; both shape (days,).
        dose: shape (days,).
        near: controls lie within so many days.
        min_hours: bad hours that make an episode.
        least: controls that an episode needs.
    """
    days = np.arange(len(bad))
    alike = (groups[:, None] == groups[None, :]) & (scheme[:, None] == scheme[None, :]) & (groups >= 0)[:, None]
    alike &= np.abs(days[:, None] - days[None, :]) <= near
    dry = (bad.astype(int) @ bad.T.astype(int)) == 0
    cases = np.flatnonzero((bad.sum(axis=1) >= min_hours) & ((alike & dry).sum(axis=1) >= least))
    return Episodes(cases, bad[cases], (alike & dry)[cases], dose[cases])


@dataclass(frozen=True)
class Effects:
    """Log rate ratios of some rows.

    Args:
        effect, spread: mean over the usable episodes, and its standard deviation under permutation.
        p: permutation p of a rise.
        usable: shape (rows, episodes).
        each: shape (rows, episodes): log ratio of every episode; NaN where not usable.
    """

    effect: Array
    spread: Array
    p: Array
    usable: Bools
    each: Array


def effects(hourly: Array, found: Episodes, least: int) -> Effects:
    """Log ratios and their permutation distribution.

    Args:
        hourly: shape (rows, days, 24), kW, NaN = missing.
        found: the episodes of the rows' district.
        least: valid controls that make an episode usable.
    """
    n, count = len(hourly), len(found.days)
    most = 1 + int(found.controls.sum(axis=1).max(initial=0))
    members = np.full((count, most), -1)
    for e in range(count):
        chosen = [found.days[e], *np.flatnonzero(found.controls[e])]
        members[e, : len(chosen)] = chosen
    scale = 0.05 * np.nanmean(np.where(np.isnan(hourly), np.nan, np.maximum(hourly, 0)).reshape(n, -1), axis=1)
    # the same draws for every row, so that the order of rows does not matter
    draws = np.random.default_rng(20260101).random((PERMUTATIONS, count))
    sizes = (members >= 0).sum(axis=1)
    picks = np.minimum((draws * sizes).astype(int), sizes - 1)
    effect, spread, p = (np.full(n, np.nan) for _ in range(3))
    usable, each = np.zeros((n, count), dtype=bool), np.full((n, count), np.nan)
    weights = found.hours.astype(float)
    for start in range(0, n, _CHUNK):
        part = slice(start, min(start + _CHUNK, n))
        kw = np.maximum(hourly[part], 0)
        known, filled = ~np.isnan(kw), np.nan_to_num(kw)
        x = np.full((len(kw), count, most), np.nan)
        for e in range(count):
            there = members[e, : sizes[e]]
            seen = known[:, there] @ weights[e]
            with np.errstate(invalid="ignore", divide="ignore"):
                load = (filled[:, there] @ weights[e]) / seen
            load[seen < 0.7 * weights[e].sum()] = np.nan
            x[:, e, : sizes[e]] = np.log(load + scale[part, None])
        good = ~np.isnan(x)
        k = good.sum(axis=2)
        with np.errstate(invalid="ignore", divide="ignore"):
            middle = np.where(good, x, 0).sum(axis=2) / k
            away = np.clip((x - middle[:, :, None]) * (k / (k - 1))[:, :, None], -_CLIP, _CLIP)
        use = good[:, :, 0] & (k > least)
        away = np.where(good & use[:, :, None], away, 0)
        times = np.maximum(use.sum(axis=1), 1)
        value = away[:, :, 0].sum(axis=1) / times
        null = away[:, np.arange(count)[None, :], picks].sum(axis=2) / times[:, None]
        effect[part], spread[part] = value, null.std(axis=1)
        p[part] = (1 + (null >= value[:, None]).sum(axis=1)) / (PERMUTATIONS + 1)
        usable[part], each[part] = use, np.where(use, away[:, :, 0], np.nan)
    return Effects(effect, spread, p, usable, each)


def upper_tail(z: Array) -> Array:
    """P(Z ≥ z) of the standard normal distribution."""
    return np.array([0.5 * erfc(v / sqrt(2)) for v in z])


def benjamini_hochberg(p: Array, tests: int, q: float) -> Bools:
    """True for those of `p` that are rejected at false discovery rate `q` among `tests` hypotheses."""
    order = np.argsort(p, kind="stable")
    passed = np.flatnonzero(p[order] <= q * np.arange(1, len(p) + 1) / max(tests, 1))
    answer = np.zeros(len(p), dtype=bool)
    if len(passed):
        answer[order[: passed[-1] + 1]] = True
    return answer
