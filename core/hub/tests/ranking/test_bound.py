"""The bound on wasted visits holds under shocks that hit a whole day, where bounds for independent cases break."""

from __future__ import annotations

import numpy as np
import pytest

from dianhuan_hub.ranking import PastDay, bound, clopper_pearson, days_needed, longest


def a_day(rng: np.random.Generator, shock: float, k: int = 130) -> PastDay:
    """A list whose probabilities are right on usual days; a shocked day fills it with cases that fail together."""
    probability = np.sort(rng.beta(8, 1.2, k))[::-1]
    truth = probability * (rng.uniform(0.3, 1.0) if rng.random() < shock else 1.0)
    return PastDay(probability, rng.random(k) >= truth)


@pytest.mark.parametrize("shock", [0.0, 0.1, 0.4])
def test_the_bound_is_broken_in_no_more_than_its_share_of_cities(shock: float) -> None:
    rng = np.random.default_rng(7)
    broken = 0
    cities = 300
    for _ in range(cities):
        past = [a_day(rng, shock, int(rng.integers(30, 131))) for _ in range(40)]
        today = a_day(rng, shock)
        found = bound(today.probability, past)
        assert found is not None
        broken += bool((np.cumsum(today.wasted) > found.wasted).any())
    # 95 % are promised; a binomial of 300 with share .05 exceeds 24 in fewer than 2 of 100 cases
    assert broken <= 24


def test_it_is_sharp_where_the_probabilities_are_right() -> None:
    rng = np.random.default_rng(11)
    past = [a_day(rng, 0.0) for _ in range(60)]
    today = a_day(rng, 0.0)
    found = bound(today.probability, past)
    assert found is not None
    assert found.wasted[64] < 20
    assert found.wasted[64] >= np.cumsum(today.wasted)[64]


def test_no_bound_with_too_few_days() -> None:
    rng = np.random.default_rng(3)
    assert days_needed() == 19
    past = [a_day(rng, 0.0) for _ in range(19)]
    assert bound(past[0].probability, past[:18]) is None
    assert bound(past[0].probability, [*past[:18], PastDay(np.zeros(0), np.zeros(0, bool))]) is None
    assert bound(past[0].probability, past) is not None


def test_counts_grow_by_one_at_most_and_never_fall() -> None:
    rng = np.random.default_rng(5)
    found = bound(rng.random(50), [a_day(rng, 0.3) for _ in range(30)])
    assert found is not None
    steps = np.diff(found.wasted)
    assert ((steps == 0) | (steps == 1)).all()
    assert (found.wasted <= np.arange(1, 51)).all()


def test_longest_list_within_a_share() -> None:
    rng = np.random.default_rng(5)
    found = bound(np.full(100, 0.99), [PastDay(np.full(100, 0.99), rng.random(100) > 0.99) for _ in range(40)])
    assert found is not None
    k = longest(found, 0.1)
    assert k > 0
    assert found.wasted[k - 1] <= 0.1 * k
    assert (found.wasted[k:] > 0.1 * np.arange(k + 1, 101)).all()
    assert longest(found, 0.0) == 0 or found.wasted[longest(found, 0.0) - 1] == 0


def test_an_empty_list_is_bounded() -> None:
    rng = np.random.default_rng(5)
    found = bound(np.zeros(0), [a_day(rng, 0.0) for _ in range(20)])
    assert found is not None
    assert len(found.wasted) == 0
    assert longest(found, 0.1) == 0


@pytest.mark.parametrize(
    ("hits", "visits", "low", "high"),
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (5, 10, 0.1871, 0.8129), (128, 130, 0.9455, 0.9981)],
)
def test_clopper_pearson_against_published_tables(hits: int, visits: int, low: float, high: float) -> None:
    assert clopper_pearson(hits, visits) == pytest.approx((low, high), abs=2e-4)


def test_clopper_pearson_without_visits() -> None:
    assert clopper_pearson(0, 0) == (0.0, 1.0)
