"""Fusion: the findings of several models about one enterprise and day as one probability that a visit will hold.

A fuser learns from outcomes. Its state is bytes that it alone reads, so that the hub can keep each version and any
past list can be made again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from pydantic import BaseModel

from dianhuan_sdk.context import PluginContext
from dianhuan_sdk.features import BoolArray

DoubleArray = np.ndarray[Any, np.dtype[np.float64]]


class Fuser(Protocol):
    """Learns and predicts; a pure function of its inputs."""

    def fit(self, columns: Sequence[str], scores: DoubleArray, found: BoolArray, weights: DoubleArray) -> bytes:
        """Learn from cases that were visited.

        Args:
            columns: what the columns of `scores` are: model ids, then further names of the hub.
            scores: shape (cases, columns), 0 … 1; 0 where a model said nothing. More never speaks for innocence, so
                the probability must not fall in any column.
            found: shape (cases,): the visit found what the case claimed.
            weights: shape (cases,): 1 / probability that the case was chosen for a visit.

        Returns:
            The state.
        """
        ...

    def predict(self, state: bytes, columns: Sequence[str], scores: DoubleArray) -> DoubleArray:
        """Probability that a visit holds, shape (cases,); the columns may differ from those that were learnt."""
        ...


@dataclass(frozen=True, slots=True)
class FusionSpec:
    """Descriptor that a plugin registers for one way of fusing.

    Args:
        id: stable id, e.g. `logistic`.
        version: raised with every change of behaviour.
        zh, en: labels.
        least: judged visits that it needs.
        least_wasted: of these, visits that found nothing: with successes only there is nothing to learn.
        config_model: parameters with their defaults.
        factory: makes the fuser.
    """

    id: str
    version: str
    zh: str
    en: str
    least: int
    least_wasted: int
    config_model: type[BaseModel]
    factory: Callable[[PluginContext], Fuser]
