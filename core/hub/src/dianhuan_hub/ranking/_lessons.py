"""What visits taught: cases with their scores and outcomes, as far as they were known at a moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np

from dianhuan_hub.ranking._bound import PastDay
from dianhuan_sdk.features import BoolArray
from dianhuan_sdk.fusion import DoubleArray

FOUND = "verified"
WASTED = frozenset({"benign_explained", "device_fault", "not_found"})
"""Outcomes that made the trip a wasted one; `could_not_inspect` says nothing about the case."""

RECIDIVIST = "hub:recidivist"
"""Column: 1 where an earlier visit to the enterprise held."""

LEAST_PROPENSITY = 0.01


@dataclass(frozen=True, slots=True)
class Visit:
    """A visit with the line of the list that led to it.

    Args:
        day: of that list.
        place: on the list, from 0.
        arm: `ranked` or `random`.
        propensity: probability that the case was on the list, 1 in the ranked arm.
        probability: as printed.
        case_id, entity_id: what was visited.
        scores: column → score as it was known on that day.
        code: outcome.
        at: when the outcome came in.
    """

    day: date
    place: int
    arm: str
    propensity: float
    probability: float
    case_id: str
    entity_id: str
    scores: Mapping[str, float]
    code: str
    at: datetime

    @property
    def judged(self) -> bool:
        """It tells whether the case held."""
        return self.code == FOUND or self.code in WASTED


@dataclass(frozen=True)
class Lessons:
    """A training set, oldest visit first.

    Args:
        columns: names of the columns of `scores`.
        scores: shape (visits, columns).
        found: shape (visits,).
        weights: shape (visits,): 1 / propensity.
    """

    columns: tuple[str, ...]
    scores: DoubleArray
    found: BoolArray
    weights: DoubleArray

    @property
    def wasted(self) -> int:
        """Visits that found nothing."""
        return int((~self.found).sum())

    def split(self, share: float) -> tuple[Lessons, Lessons]:
        """The earlier part and the rest: never the other way round."""
        cut = round(len(self.found) * share)
        return self._part(slice(None, cut)), self._part(slice(cut, None))

    def _part(self, rows: slice) -> Lessons:
        return Lessons(self.columns, self.scores[rows], self.found[rows], self.weights[rows])


def lessons(visits: Sequence[Visit]) -> Lessons:
    """The training set of judged visits."""
    judged = sorted((v for v in visits if v.judged), key=lambda v: (v.at, v.case_id))
    columns = tuple(sorted({name for v in judged for name in v.scores}))
    return Lessons(
        columns,
        matrix([v.scores for v in judged], columns),
        np.array([v.code == FOUND for v in judged], bool),
        np.array([1 / max(v.propensity, LEAST_PROPENSITY) for v in judged]),
    )


def matrix(scores: Sequence[Mapping[str, float]], columns: Sequence[str]) -> DoubleArray:
    """Scores as an array of shape (cases, columns); 0 where there is none."""
    return np.array([[row.get(name, 0.0) for name in columns] for row in scores]).reshape(len(scores), len(columns))


def past_days(visits: Sequence[Visit]) -> list[PastDay]:
    """Ranked visits that were judged, day by day, each under the list that led to it."""
    days: dict[date, list[Visit]] = {}
    for visit in visits:
        if visit.judged and visit.arm == "ranked":
            days.setdefault(visit.day, []).append(visit)
    out = []
    for _, mine in sorted(days.items()):
        mine.sort(key=lambda v: v.place)
        out.append(PastDay(np.array([v.probability for v in mine]), np.array([v.code in WASTED for v in mine], bool)))
    return out


def share_found(visits: Sequence[Visit], arm: str) -> tuple[int, int]:
    """(visits that held, judged visits) of one arm."""
    judged: list[Any] = [v for v in visits if v.judged and v.arm == arm]
    return sum(v.code == FOUND for v in judged), len(judged)
