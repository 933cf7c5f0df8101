"""Does the bound on wasted trips hold when the innocent fail together? Beside bounds that take cases as independent.

Score level: each city has a history of list days and one more day. Cases have scores; on some days a shock (holiday,
heat wave, feeder outage) lifts the scores of a share of the innocent ones. The list shows a probability that was right
on usual days. 200 cities for each setting; a bound is broken if it is exceeded at any k. `--quick`: 40 cities.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks._report import table, write
from dianhuan_hub.ranking import PastDay, bound

SEED = 41_001
K = 130
HISTORY = 60
POOL = 400
SHOCKS = {"none": 0.0, "holiday, 1 day in 20": 0.05, "heat waves, 1 day in 5": 0.2, "feeders, every second day": 0.5}


def a_day(rng: np.random.Generator, prevalence: float, shock: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, probabilities as printed, truth of the first K cases of a day, best first."""
    truth = rng.random(POOL) < prevalence
    score = rng.normal(0.0, 1.0, POOL) + np.where(truth, 2.2, 0.0)
    if rng.random() < shock:
        hit = ~truth & (rng.random(POOL) < 0.3)
        score[hit] += rng.uniform(0.5, 2.0)
    order = np.argsort(-score)[:K]
    odds = np.log(prevalence / (1 - prevalence)) + 2.2 * score - 2.2**2 / 2
    return score[order], 1 / (1 + np.exp(-odds[order])), truth[order]


def by_days(past: list[tuple[np.ndarray, ...]], today: tuple[np.ndarray, ...]) -> np.ndarray:
    """Ours."""
    found = bound(today[1], [PastDay(p, ~t) for _, p, t in past])
    assert found is not None
    return found.wasted


def by_expectation(past: list[tuple[np.ndarray, ...]], today: tuple[np.ndarray, ...]) -> np.ndarray:
    """What the probabilities promise, taken as independent: mean and 1.645 standard deviations."""
    miss = 1 - today[1]
    return np.floor(np.cumsum(miss) + 1.645 * np.sqrt(np.cumsum(miss * (1 - miss))))


def by_cases(past: list[tuple[np.ndarray, ...]], today: tuple[np.ndarray, ...]) -> np.ndarray:
    """Conformal p-values of single cases with the any-k bound of Goeman & Solari by Simes tests."""
    innocent = np.sort(np.concatenate([s[~t] for s, _, t in past]))
    p = (1 + len(innocent) - np.searchsorted(innocent, today[0])) / (len(innocent) + 1)
    order = np.sort(p)
    size = len(order)
    alpha = 0.05
    kept = 0
    for most in range(size, 0, -1):  # Hommel's h: the largest set of the largest p-values that no Simes test rejects
        tail = order[size - most :]
        if (tail > alpha * np.arange(1, most + 1) / most).all():
            kept = most
            break
    if kept == 0:
        return np.zeros(size)
    out = np.empty(size)
    for k in range(1, size + 1):
        ranks = np.ceil(p[:k] * kept / alpha)
        places = np.arange(1, k + 1)
        counts = np.searchsorted(np.sort(ranks), places, side="right")
        out[k - 1] = k - max(0, int((1 - places + counts).max()))
    return out


WAYS: dict[str, Callable[..., np.ndarray]] = {
    "days (ours)": by_days,
    "expectation": by_expectation,
    "cases (Simes, any k)": by_cases,
}


def main() -> None:
    """Run every setting."""
    cities = 40 if "--quick" in sys.argv else 200
    rows: list[dict[str, Any]] = []
    for prevalence in (0.3, 0.6):
        for name, shock in SHOCKS.items():
            rng = np.random.default_rng(SEED)
            broken = dict.fromkeys(WAYS, 0)
            claimed: dict[str, list[float]] = {way: [] for way in WAYS}
            real = []
            for _ in range(cities):
                past = [a_day(rng, prevalence, shock) for _ in range(HISTORY)]
                today = a_day(rng, prevalence, shock)
                wasted = np.cumsum(~today[2])
                real.append(wasted[64])
                for way, run in WAYS.items():
                    limit = run(past, today)
                    broken[way] += bool((wasted > limit).any())
                    claimed[way].append(float(limit[64]))
            for way in WAYS:
                rows.append(
                    {
                        "share of true cases": prevalence,
                        "shock": name,
                        "bound": way,
                        "broken": round(broken[way] / cities, 3),
                        "claimed at 65 (median)": float(np.median(claimed[way])),
                        "wasted at 65 (median)": float(np.median(real)),
                    }
                )
    print(table(rows))
    write("bound", {"seed": SEED, "cities": cities, "history days": HISTORY, "pool": POOL, "k": K, "rows": rows})


if __name__ == "__main__":
    main()
