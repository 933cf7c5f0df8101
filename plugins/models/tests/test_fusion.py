"""Ways of fusing: they never fall in a score, come back from their state, and learn what is there."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dianhuan_models.fusion import FUSIONS, Boosting, Logistic

COLUMNS = ("m05", "m06", "m09", "hub:recidivist")
WAYS = {"logistic": Logistic(1.0), "boosting": Boosting(120, 6, 0.06, 15)}


def world(seed: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Visits whose truth depends on two of four columns."""
    rng = np.random.default_rng(seed)
    scores = rng.random((size, 4)) * (rng.random((size, 4)) < 0.6)
    odds = -2.0 + 4.0 * scores[:, 0] + 2.5 * scores[:, 3]
    return scores, rng.random(size) < 1 / (1 + np.exp(-odds)), np.ones(size)


@pytest.mark.parametrize("name", WAYS)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000))
def test_no_score_speaks_for_innocence(name: str, seed: int) -> None:
    scores, found, weights = world(seed, 200)
    found = found ^ (np.random.default_rng(seed).random(200) < 0.3)  # even where the visits are noise
    way = WAYS[name]
    state = way.fit(COLUMNS, scores, found, weights)
    base = scores[:40]
    for column in range(4):
        low, high = base.copy(), base.copy()
        high[:, column] = np.minimum(low[:, column] + 0.3, 1.0)
        rise = way.predict(state, COLUMNS, high) - way.predict(state, COLUMNS, low)
        assert rise.min() >= -1e-9


@pytest.mark.parametrize("name", WAYS)
def test_it_learns_which_findings_hold(name: str) -> None:
    way = WAYS[name]
    state = way.fit(COLUMNS, *world(1, 900))
    scores, found, _ = world(2, 4000)
    p = way.predict(state, COLUMNS, scores)
    order = np.argsort(-p)
    assert found[order[:400]].mean() > found.mean() + 0.25
    for low, high in ((0.0, 0.3), (0.3, 0.6), (0.6, 1.0)):
        band = (p >= low) & (p < high)
        assert abs(p[band].mean() - found[band].mean()) < 0.08


@pytest.mark.parametrize("name", WAYS)
def test_the_state_is_text_that_gives_the_same_answer_with_columns_in_any_order(name: str) -> None:
    way = WAYS[name]
    scores, found, weights = world(3, 400)
    state = way.fit(COLUMNS, scores, found, weights)
    json.loads(state)
    assert state == way.fit(COLUMNS, scores, found, weights)
    turned = way.predict(state, ("new", *COLUMNS[::-1]), np.hstack([np.ones((400, 1)), scores[:, ::-1]]))
    assert turned == pytest.approx(way.predict(state, COLUMNS, scores))


def test_boosting_reads_its_trees_as_scikit_learn_does() -> None:
    from sklearn.tree import DecisionTreeRegressor

    from dianhuan_models.fusion._boosting import _nodes, _walk

    scores, found, weights = world(4, 500)
    tree = DecisionTreeRegressor(max_leaf_nodes=12, monotonic_cst=[1] * 4, random_state=0)
    tree.fit(scores.astype(np.float32), found, sample_weight=weights)
    assert _walk(_nodes(tree.tree_, 1.0), scores.astype(np.float32)) == pytest.approx(tree.predict(scores))


def test_descriptors_ask_for_visits_that_failed_too() -> None:
    assert [(f.id, f.least) for f in FUSIONS] == [("logistic", 100), ("boosting", 300)]
    assert all(f.least_wasted > 0 for f in FUSIONS)
