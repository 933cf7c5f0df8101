"""Gradient boosting that may only rise in each score, of scikit-learn's monotone trees."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from dianhuan_sdk import PluginError
from dianhuan_sdk.features import BoolArray
from dianhuan_sdk.fusion import DoubleArray

_NEWTON = 4.0
"""1 / (largest curvature of the log loss), by which a tree of residuals becomes a step of the log odds."""


class Boosting:
    """`Fuser` for some hundred visits, some of them wasted.

    The state is JSON, trees written out: a hub never unpickles anything.

    Args:
        trees, leaves, rate, least_in_leaf: number of trees, size of each, step, visits in each leaf.
    """

    def __init__(self, trees: int, leaves: int, rate: float, least_in_leaf: int) -> None:
        self._trees = trees
        self._rate = rate
        self._settings: dict[str, Any] = {"max_leaf_nodes": leaves, "min_samples_leaf": least_in_leaf}

    def fit(self, columns: Sequence[str], scores: DoubleArray, found: BoolArray, weights: DoubleArray) -> bytes:
        """See `dianhuan_sdk.Fuser.fit`. Trees of residuals, not of Newton steps, which would not stay monotone."""
        try:
            from sklearn.tree import DecisionTreeRegressor
        except ImportError:
            raise PluginError(
                "boosting needs scikit-learn", hint="pip install 'dianhuan-models[boost]', or let it be"
            ) from None
        x, y = np.asarray(scores, np.float32), np.asarray(found, np.float64)
        share = float(np.clip(np.average(y, weights=weights), 1e-3, 1 - 1e-3))
        base = float(np.log(share / (1 - share)))
        raw: DoubleArray = np.full(len(y), base, np.float64)
        trees = []
        for _ in range(self._trees):
            model = DecisionTreeRegressor(**self._settings, monotonic_cst=[1] * len(columns), random_state=0)
            model.fit(x, y - _sigmoid(raw), sample_weight=weights)
            trees.append(_nodes(model.tree_, self._rate * _NEWTON))
            raw += _walk(trees[-1], x)
        return json.dumps({"columns": list(columns), "base": base, "trees": trees}).encode()

    def predict(self, state: bytes, columns: Sequence[str], scores: DoubleArray) -> DoubleArray:
        """See `dianhuan_sdk.Fuser.predict`."""
        learnt = json.loads(state)
        places = {name: place for place, name in enumerate(columns)}
        x = np.zeros((len(scores), len(learnt["columns"])), np.float32)
        for to, name in enumerate(learnt["columns"]):
            if name in places:
                x[:, to] = scores[:, places[name]]
        raw: DoubleArray = np.full(len(x), learnt["base"], np.float64)
        for tree in learnt["trees"]:
            raw += _walk(tree, x)
        return _sigmoid(raw)


def _sigmoid(z: DoubleArray) -> DoubleArray:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)), np.float64)


def _nodes(tree: Any, step: float) -> list[list[float]]:
    """Nodes as [value] of a leaf or [column, threshold, left, right]."""
    return [
        [float(tree.value[n].item()) * step]
        if tree.children_left[n] < 0
        else [int(tree.feature[n]), float(tree.threshold[n]), int(tree.children_left[n]), int(tree.children_right[n])]
        for n in range(tree.node_count)
    ]


def _walk(tree: list[list[float]], x: np.ndarray[Any, np.dtype[np.float32]]) -> DoubleArray:
    out = np.zeros(len(x))
    waiting = [(0, np.arange(len(x)))]
    while waiting:
        node, rows = waiting.pop()
        here = tree[node]
        if len(here) == 1:
            out[rows] = here[0]
            continue
        left = x[rows, int(here[0])] <= here[1]
        waiting.append((int(here[2]), rows[left]))
        waiting.append((int(here[3]), rows[~left]))
    return out
