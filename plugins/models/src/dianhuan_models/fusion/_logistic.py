"""Logistic regression whose coefficients are not negative: no finding ever speaks for innocence."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from dianhuan_sdk.features import BoolArray
from dianhuan_sdk.fusion import DoubleArray

_STEPS = 4000
_CALM = 1e-9


class Logistic:
    """`Fuser` of few parameters, for about a hundred visits.

    Args:
        ridge: penalty on the squared coefficients, in visits.
    """

    def __init__(self, ridge: float) -> None:
        self._ridge = ridge

    def fit(self, columns: Sequence[str], scores: DoubleArray, found: BoolArray, weights: DoubleArray) -> bytes:
        """See `dianhuan_sdk.Fuser.fit`. Projected gradient steps with momentum (FISTA) on a convex loss."""
        x = np.hstack([np.ones((len(found), 1)), np.asarray(scores, np.float64)])
        y = np.asarray(found, np.float64)
        w = np.asarray(weights, np.float64) / np.mean(weights)
        ridge = np.full(x.shape[1], self._ridge)
        ridge[0] = 1e-6
        step = 1.0 / (0.25 * float(np.linalg.eigvalsh(x.T @ (x * w[:, None]))[-1]) + self._ridge)
        at = ahead = np.zeros(x.shape[1])
        momentum = 1.0
        for _ in range(_STEPS):
            slope = x.T @ (w * (_sigmoid(x @ ahead) - y)) + ridge * ahead
            after = ahead - step * slope
            after[1:] = np.maximum(after[1:], 0.0)
            if float(np.abs(after - at).max()) < _CALM:
                break
            following = (1.0 + np.sqrt(1.0 + 4.0 * momentum**2)) / 2.0
            ahead = after + (momentum - 1.0) / following * (after - at)
            at, momentum = after, following
        return json.dumps(
            {"intercept": float(at[0]), "coefficients": dict(zip(columns, at[1:].tolist(), strict=True))}
        ).encode()

    def predict(self, state: bytes, columns: Sequence[str], scores: DoubleArray) -> DoubleArray:
        """See `dianhuan_sdk.Fuser.predict`."""
        learnt = json.loads(state)
        coefficients = np.array([learnt["coefficients"].get(name, 0.0) for name in columns])
        return _sigmoid(learnt["intercept"] + np.asarray(scores, np.float64) @ coefficients)


def _sigmoid(z: DoubleArray) -> DoubleArray:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)), np.float64)
