"""Figures of a ranked list with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]
KS = (65, 130)
DRAWS = 1000
_SEEN = 5000


def clopper_pearson(hits: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided exact interval of a share (Clopper & Pearson, Biometrika 26 (1934)); (0, 1) without a trial."""
    if trials == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else _root(lambda p: _upper(hits, trials, p) - tail)
    high = 1.0 if hits == trials else _root(lambda p: _upper(hits + 1, trials, p) - (1 - tail))
    return low, high


def _root(rising: Any) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2


def _upper(hits: int, trials: int, p: float) -> float:
    """P(X ≥ hits) by the shorter tail, in logarithms."""
    if p <= 0:
        return float(hits <= 0)
    if p >= 1:
        return 1.0
    if hits > trials * p:
        return _tail(hits, trials, trials, p)
    return 1 - _tail(0, hits - 1, trials, p)


def _tail(first: int, last: int, trials: int, p: float) -> float:
    """P(first ≤ X ≤ last) on one side of the mean; terms too far from it to count are left out."""
    reach = int(60 * math.sqrt(trials * p + 1)) + 200
    first, last = (max(first, last - reach), last) if first == 0 else (first, min(last, first + reach))
    if last < first:
        return 0.0
    k = np.arange(first, last)
    head = math.lgamma(trials + 1) - math.lgamma(first + 1) - math.lgamma(trials - first + 1)
    head += first * math.log(p) + (trials - first) * math.log1p(-p)
    steps = np.log((trials - k) / (k + 1)) + math.log(p) - math.log1p(-p)
    return float(np.exp(head + np.concatenate([[0.0], np.cumsum(steps)])).sum())


def ranking(score: Array, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Rows with a score above zero, best first; rows of equal score in an order that is drawn."""
    listed = np.flatnonzero(score > 0)
    shuffled = listed[rng.permutation(len(listed))]
    return shuffled[np.argsort(-score[shuffled], kind="stable")]


def figures(score: Array, truth: Bools, seed: int) -> Mapping[str, Any]:
    """P@65, P@130, R-precision, MAP@200, PR-AUC and lift of a list, with 95 % intervals.

    Where a list is shorter than k, precision is that of the list, and the `k` beside it says so. PR-AUC is the average
    precision with nothing for violators that are not listed. Intervals: bootstrap over enterprises (1,000 draws,
    Poisson weights), percentiles 2.5 and 97.5; for P@k the wider of these and of Clopper–Pearson at each end, because a
    bootstrap of a list without a miss has no width.

    Args:
        score: shape (enterprises,), 0 = not listed.
        truth: shape (enterprises,), violators.
        seed: of ties and bootstrap.
    """
    rng = np.random.default_rng(seed)
    order = ranking(score, rng)
    hit = truth[order]
    relevant, base = int(truth.sum()), float(truth.mean())
    out: dict[str, Any] = {"listed": len(order), "violators": relevant, "found": int(hit.sum())}
    if not len(order) or not relevant:
        return out
    depth = max(_SEEN, 4 * relevant)
    point = _weighted(hit, np.ones(len(hit)), relevant)
    head = hit[:depth]
    unlisted = relevant - int(head.sum())
    draws: dict[str, list[float]] = {name: [] for name in point}
    for _ in range(DRAWS):
        weights = rng.poisson(1.0, len(head)).astype(np.float64)
        total = float(weights[head].sum()) + rng.poisson(unlisted)
        for name, value in _weighted(head, weights, total).items():
            draws[name].append(value)
    for name, value in point.items():
        low, high = (float(v) for v in np.percentile(draws[name], [2.5, 97.5]))
        out[name] = {"value": round(value, 4)}
        if name.startswith("P@"):
            k = min(int(name[2:]), len(order))
            exact = clopper_pearson(int(hit[:k].sum()), k)
            low, high = min(low, exact[0]), max(high, exact[1])
            out[name]["k"] = k
        out[name] |= {"low": round(low, 4), "high": round(high, 4)}
    precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
    out["PR-AUC"] = round(float((precision * hit).sum() / relevant), 4)
    out["lift@65"] = round(point["P@65"] / base, 1)
    return out


def _weighted(hit: Bools, weights: Array, relevant: float) -> dict[str, float]:
    depth = np.cumsum(weights)
    hits = np.cumsum(weights * hit)
    if not len(depth) or depth[-1] <= 0:
        return {**{f"P@{k}": 0.0 for k in KS}, "R-precision": 0.0, "MAP@200": 0.0}

    def at(k: float) -> tuple[float, float]:
        place = min(int(np.searchsorted(depth, k)), len(depth) - 1)
        over = max(depth[place] - k, 0.0)
        return float(hits[place] - over * hit[place]), min(k, float(depth[-1]))

    out: dict[str, float] = {}
    for k in KS:
        found, of = at(k)
        out[f"P@{k}"] = found / of
    found, _ = at(max(relevant, 1))
    out["R-precision"] = found / max(relevant, 1)
    top = depth <= 200
    precision = hits[top] / np.maximum(depth[top], 1e-9)
    out["MAP@200"] = float((precision * hit[top] * weights[top]).sum() / max(min(relevant, 200), 1))
    return out
