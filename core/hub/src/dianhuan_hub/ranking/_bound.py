"""How many of k visits may be wasted, at most: a bound that holds for every k at once, with the days that there were.

Findings of one day fail together: a holiday, a heat wave or a feeder that is out makes many enterprises look alike.
Bounds that take the cases as independent break on such days. Days are the unit here: for each past day, how far the
wasted visits ran ahead of what its probabilities promised, in the worst place of the list; the bound takes the
conformal quantile of these over the days. If today is exchangeable with the past days it holds with the stated
confidence, whatever the cases of one day have in common (Vovk et al., Algorithmic Learning in a Random World, 2nd ed.,
2.2; the supremum over k makes it simultaneous, as in Goeman & Solari, Statistical Science 26 (2011), with days for
permutations).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dianhuan_sdk.features import BoolArray
from dianhuan_sdk.fusion import DoubleArray

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class PastDay:
    """The ranked visits of a past day in the order in which they stood on its list.

    Args:
        probability: as printed on that day, shape (visits,).
        wasted: shape (visits,); visits that could not inspect are left out of both.
    """

    probability: DoubleArray
    wasted: BoolArray


@dataclass(frozen=True, slots=True)
class Bound:
    """At most `wasted[k − 1]` of the first k visits are wasted, for all k at once, with `confidence`.

    Args:
        wasted: shape (visits,), whole numbers.
        expected: shape (visits,): what the probabilities promise.
        confidence: e.g. 0.95.
        days: past days behind it.
    """

    wasted: np.ndarray
    expected: DoubleArray
    confidence: float
    days: int


def days_needed(confidence: float = CONFIDENCE) -> int:
    """Days with judged visits without which there is no bound: 19 for 95 %."""
    return math.ceil(confidence / (1 - confidence) - 1e-9)


def bound(probability: DoubleArray, past: Sequence[PastDay], confidence: float = CONFIDENCE) -> Bound | None:
    """The bound for a list.

    Args:
        probability: of the ranked visits in their order, shape (visits,).
        past: days whose ranked visits have been judged, the list as it was printed.
        confidence: that it holds.

    Returns:
        None where there are too few days for one.
    """
    worst = np.sort([_excess(day) for day in past if len(day.wasted)])
    rank = math.ceil((len(worst) + 1) * confidence - 1e-9)
    if rank > len(worst):
        return None
    expected, spread = _promised(probability)
    places = np.arange(1, len(probability) + 1)
    wasted = np.floor(expected + worst[rank - 1] * spread + 1e-9)
    limited = np.minimum(np.clip(wasted, 0, None), places)
    return Bound(_consistent(limited), expected, confidence, len(worst))


def _consistent(limits: DoubleArray) -> np.ndarray:
    """The tightest counts that the limits imply together: one visit more wastes none fewer and one more at most."""
    from_longer = np.minimum.accumulate(limits[::-1])[::-1]
    out = from_longer.copy()
    for place in range(1, len(out)):
        out[place] = min(out[place], out[place - 1] + 1)
    return np.asarray(out, np.int64)


def _promised(probability: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """Expected wasted visits of each beginning of the list, and the scale by which they are measured."""
    miss = 1.0 - np.asarray(probability, np.float64)
    expected = np.cumsum(miss)
    spread = np.sqrt(np.cumsum(miss * (1.0 - miss)) + 1.0)
    return expected, spread


def _excess(day: PastDay) -> float:
    expected, spread = _promised(day.probability)
    return float(np.max((np.cumsum(day.wasted) - expected) / spread))


def longest(found: Bound, share: float) -> int:
    """The longest beginning of the list whose bound is at most that share of wasted visits; 0 if there is none."""
    places = np.arange(1, len(found.wasted) + 1)
    good = np.flatnonzero(found.wasted <= share * places)
    return int(good[-1]) + 1 if len(good) else 0


def clopper_pearson(hits: int, visits: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Two-sided exact interval of a share (Clopper & Pearson, Biometrika 26 (1934)); (0, 1) without any visit."""
    if visits == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else _solve(lambda p: _at_least(hits, visits, p) - tail)
    high = 1.0 if hits == visits else _solve(lambda p: tail - (1 - _at_least(hits + 1, visits, p)))
    return low, high


def _solve(rising: Callable[[float], float]) -> float:
    """Where a function that rises over (0, 1) is zero, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if rising(middle) > 0:
            high = middle
        else:
            low = middle
    return (low + high) / 2


def _at_least(hits: int, visits: int, p: float) -> float:
    """P(X ≥ hits), X binomial."""
    if p <= 0 or p >= 1:
        return float(p >= 1)
    k = np.arange(hits, visits + 1)
    log_choose = np.array([math.lgamma(visits + 1) - math.lgamma(i + 1) - math.lgamma(visits - i + 1) for i in k])
    return float(np.exp(log_choose + k * math.log(p) + (visits - k) * math.log1p(-p)).sum())
