"""Hierarchical beta-binomial model of precision over provinces.

Visits to a model's warnings in province *i* hold with probability p_i; p_i ~ Beta(μκ, (1−μ)κ). μ is uniform on (0, 1)
and κ, the number of visits that the common part is worth, has density (1+κ)⁻². (Gelman et al., Bayesian Data Analysis,
3rd ed., 5.3, with the proper hyperprior of its section 5.6 in place of κ^(-5/2).) The posterior is summed on a fixed
grid, so the same counts give the same figures everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dianhuan_federation.evaluation._counts import Counts

Array = np.ndarray[Any, np.dtype[np.float64]]

_MU = np.linspace(0.005, 0.995, 100)
_KAPPA = np.geomspace(0.25, 1000.0, 48)
_P = np.linspace(0.0005, 0.9995, 1000)
_SLIGHT = 1e-7

_log_gamma = np.frompyfunc(math.lgamma, 1, 1)


@dataclass(frozen=True, slots=True)
class Precision:
    """A precision: posterior mean and the central 90 % interval, so that `low` is a one-sided 95 % bound."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is known of a model.

    Args:
        provinces: province → its precision; provinces without a judged visit are not in it.
        newcomer: of a province that has none yet: the prior that it starts from.
        judged: visits behind it.
    """

    provinces: Mapping[str, Precision]
    newcomer: Precision
    judged: int

    def of(self, province: str) -> Precision:
        """The precision to expect in a province."""
        return self.provinces.get(province, self.newcomer)


def estimate(counts: Sequence[Counts]) -> Estimate:
    """Estimate a model's precision in each province and in a new one."""
    merged: dict[str, list[int]] = {}
    for c in counts:
        if c.judged:
            pair = merged.setdefault(c.province, [0, 0])
            pair[0] += c.found
            pair[1] += c.judged
    mu, kappa = (grid.ravel() for grid in np.meshgrid(_MU, _KAPPA, indexing="ij"))
    a, b = mu * kappa, (1 - mu) * kappa
    # The grid of κ is geometric, so a cell is as wide as κ itself.
    weight = np.log(kappa) - 2 * np.log1p(kappa)
    for found, judged in merged.values():
        weight += _log_beta(a + found, b + judged - found) - _log_beta(a, b)
    weight = np.exp(weight - weight.max())
    weight /= weight.sum()
    heavy = weight > _SLIGHT
    a, b, weight = a[heavy], b[heavy], weight[heavy]
    provinces = {
        province: _summary(a + found, b + judged - found, weight)
        for province, (found, judged) in sorted(merged.items())
    }
    return Estimate(provinces, _summary(a, b, weight), sum(judged for _, judged in merged.values()))


def _log_beta(a: Array, b: Array) -> Array:
    return np.asarray(_log_gamma(a) + _log_gamma(b) - _log_gamma(a + b), np.float64)


def _summary(a: Array, b: Array, weight: Array) -> Precision:
    """Mean and quantiles of a mixture of beta distributions; the densities are summed on a grid of p."""
    constant = np.log(weight) - _log_beta(a, b)
    density = np.zeros(len(_P))
    top = -math.inf  # with very many visits all densities on the grid are too small to be told from zero without it
    for start in range(0, len(a), 512):
        part = slice(start, start + 512)
        exponent = np.outer(a[part] - 1, np.log(_P)) + np.outer(b[part] - 1, np.log1p(-_P)) + constant[part, None]
        highest = max(top, float(exponent.max()))
        density = density * math.exp(top - highest) + np.exp(exponent - highest).sum(axis=0)
        top = highest
    mass = np.cumsum(density) / density.sum()
    low, high = (float(_P[np.searchsorted(mass, q)]) for q in (0.05, 0.95))
    return Precision(float(np.sum(weight * a / (a + b))), low, high)
