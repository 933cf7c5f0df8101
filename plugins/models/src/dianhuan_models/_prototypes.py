"""Prototype shapes of the city and how industrial each of them is.

k-means over a balanced sample of industrial and other enterprises; the industrial posterior of a prototype is the
share of industrial members under equal priors, so it does not depend on how common industry is. It is refitted in
every run from the block alone: the model stays a pure function of its inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dianhuan_models._city import City
from dianhuan_models._shapes import shapes
from dianhuan_models._stats import Array, Rows

_ROUNDS = 12
_PRIOR = 1.0
"""Pseudo-members that pull the posterior of a small prototype towards one half."""
_PER_PROTOTYPE = 40
"""Members of the smaller side for each prototype: fewer prototypes in a small city."""


class LearnConfig(Protocol):
    """What the fit needs of the configuration."""

    @property
    def prototypes(self) -> int: ...
    @property
    def sample(self) -> int: ...
    @property
    def min_side(self) -> int: ...


@dataclass(frozen=True)
class Prototypes:
    """Centres, shape (k, features), and the industrial posterior of each, shape (k,)."""

    centres: Array
    industrial: Array


def learn(city: City, level: Array, industrial: Rows, other: Rows, config: LearnConfig) -> Prototypes | None:
    """Prototypes of the city, or None where one side has too few enterprises to learn from."""
    if min(len(industrial), len(other)) < config.min_side:
        return None
    sides = [_sample(level, rows, config.sample) for rows in (industrial, other)]
    vectors = [shapes(city, rows).vectors for rows in sides]
    vectors = [v[~np.isnan(v).any(axis=1)] for v in vectors]
    if min(map(len, vectors)) < config.min_side:
        return None
    # sorted, so that neither the centres nor their order depend on the order of rows
    pool = np.concatenate([v[np.lexsort(v.T[::-1])] for v in vectors])
    centres = _k_means(pool, max(2, min(config.prototypes, min(map(len, vectors)) // _PER_PROTOTYPE)))
    share = [np.bincount(_nearest(v, centres), minlength=len(centres)) / len(v) for v in vectors]
    weight = np.array([len(v) for v in vectors]).min()
    yes, no = share[0] * weight, share[1] * weight
    return Prototypes(centres, (yes + _PRIOR / 2) / (yes + no + _PRIOR))


def posterior(prototypes: Prototypes, vectors: Array) -> Array:
    """Industrial posterior of each vector's nearest prototype; 0 where the vector is NaN."""
    answer: Array = np.zeros(len(vectors))
    whole = ~np.isnan(vectors).any(axis=1)
    answer[whole] = prototypes.industrial[_nearest(vectors[whole], prototypes.centres)]
    return answer


def _sample(level: Array, rows: Rows, most: int) -> Rows:
    """Up to `most` rows, chosen by a hash of their own load: deterministic and independent of the order of rows."""
    if len(rows) <= most:
        return rows
    bits = level[rows].astype(np.float32).view(np.uint32)
    mixed = bits * np.uint32(2654435769)
    mixed ^= mixed >> np.uint32(15)
    return rows[np.argsort(mixed * np.uint32(2246822519), kind="stable")[:most]]


def _nearest(vectors: Array, centres: Array) -> Rows:
    distance = (centres**2).sum(axis=1)[None, :] - 2 * vectors @ centres.T
    return np.asarray(distance.argmin(axis=1), dtype=np.int64)


def _k_means(pool: Array, k: int) -> Array:
    """Lloyd's algorithm from a seeded k-means++ start; an empty cluster keeps its centre."""
    rng = np.random.default_rng(0)
    first = int(rng.integers(len(pool)))
    picked = [first]
    nearest = ((pool - pool[first]) ** 2).sum(axis=1)
    for _ in range(k - 1):
        total = float(nearest.sum())
        if total <= 0:
            break
        picked.append(int(np.searchsorted(np.cumsum(nearest), rng.random() * total)))
        nearest = np.minimum(nearest, ((pool - pool[picked[-1]]) ** 2).sum(axis=1))
    centres: Array = pool[picked].astype(np.float64)
    for _ in range(_ROUNDS):
        owner = _nearest(pool, centres)
        counts = np.bincount(owner, minlength=len(centres))
        sums = np.stack(
            [np.bincount(owner, weights=pool[:, j], minlength=len(centres)) for j in range(pool.shape[1])], axis=1
        )
        centres = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
    return centres
