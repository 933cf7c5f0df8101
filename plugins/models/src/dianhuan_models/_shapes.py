"""The weekly shape of an enterprise as one short vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dianhuan_models._city import City
from dianhuan_models._stats import Array, Rows, mean

BINS = tuple(f"h{start:02d}_kw" for start in range(0, 24, 3))
_ROUGH_WEIGHT = 0.3
"""Roughness counts like a difference of 0.3 in one three-hour bin per e-fold."""


@dataclass(frozen=True)
class Shapes:
    """Shapes of some rows.

    Args:
        vectors: shape (rows, 17): the eight three-hour means of workdays, then of days of rest, over the workdays'
            mean; then log roughness, weighted. NaN only where a row has no valid workday.
        rough: median-free mean of the daily roughness, shape (rows,).
        peak_kw: largest point of the window, shape (rows,).
        rest_ratio: mean load of days of rest over that of workdays, shape (rows,).
    """

    vectors: Array
    rough: Array
    peak_kw: Array
    rest_ratio: Array


def shapes(city: City, rows: Rows) -> Shapes:
    """Shapes of `rows` over the valid days of the window; a row without days of rest takes its workdays for them."""
    work = np.stack([mean(city.daily(b, rows)[:, city.work]) for b in BINS], axis=1)
    rest = np.stack([mean(city.daily(b, rows)[:, city.rest]) for b in BINS], axis=1)
    rest = np.where(np.isnan(rest), work, rest)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.maximum(work.mean(axis=1), 1e-6)
        rough = mean(city.daily("rough", rows)[:, city.normal])
        texture = _ROUGH_WEIGHT * np.log(np.clip(np.nan_to_num(rough), 0.005, 1))
        vectors = np.concatenate([work, rest], axis=1) / size[:, None]
    return Shapes(
        vectors=np.concatenate([np.clip(vectors, -2, 6), texture[:, None]], axis=1),
        rough=rough,
        peak_kw=_largest(city.daily("max_kw", rows)),
        rest_ratio=rest.mean(axis=1) / size,
    )


def _largest(values: np.ndarray[Any, Any]) -> Array:
    answer: Array = np.fmax.reduce(values, axis=1)
    return answer
