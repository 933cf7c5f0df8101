"""From findings to a probability: rules at first, then whatever has learnt more and proved it on later visits."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dianhuan_hub.ranking._lessons import Lessons, matrix
from dianhuan_sdk import DianhuanError, Fuser
from dianhuan_sdk.fusion import DoubleArray

log = logging.getLogger(__name__)

RULES = "rules"
EARLIER = 0.75
"""Share of the visits that a trial learns from; it is judged on those that came later."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way of fusing that a plugin brings.

    Args:
        id, version: of its descriptor.
        least, least_wasted: visits it needs.
        fuser: made from it, behind the plugin's guard.
    """

    id: str
    version: str
    least: int
    least_wasted: int
    fuser: Fuser


@dataclass(frozen=True, slots=True)
class Ranking:
    """A version of the ranking, enough to make any list again that it made.

    Args:
        fusion: `rules@1`, or id and version of a way.
        columns: what it learnt from.
        state: of the fuser; empty for rules.
        visits: judged visits that it learnt from.
        trial: log loss on later visits: way → nats.
    """

    fusion: str
    columns: tuple[str, ...] = ()
    state: bytes = b""
    visits: int = 0
    trial: Mapping[str, float] | None = None

    @property
    def version(self) -> str:
        """Digest of everything that decides a probability."""
        head = json.dumps([self.fusion, list(self.columns)]).encode()
        return f"K{hashlib.sha256(head + self.state).hexdigest()[:12]}"


COLD = Ranking(f"{RULES}@1")
"""Before there are enough visits: the priority of a case is 1 − Π(1 − score)."""


def learn(seen: Lessons, ways: Sequence[Way]) -> Ranking:
    """The ranking to use from now on.

    Of the ways that have enough visits the most demanding is taken, if on the later quarter of the visits its log loss,
    after learning from the earlier ones, is no worse than that of everything simpler.

    Args:
        seen: judged visits.
        ways: what plugins bring.
    """
    trial: dict[str, float] = {}
    best: Way | None = None
    earlier, later = seen.split(EARLIER)
    if len(later.found):
        trial[RULES] = log_loss(rules(later.columns, later.scores), later)
    for way in sorted(ways, key=lambda w: (w.least, w.id)):
        if len(seen.found) < way.least or seen.wasted < way.least_wasted or not earlier.found.any():
            continue
        if earlier.found.all():
            continue
        try:
            state = way.fuser.fit(earlier.columns, earlier.scores, earlier.found, earlier.weights)
            loss = log_loss(way.fuser.predict(state, later.columns, later.scores), later)
        except DianhuanError as error:
            log.warning("fusion %s is left out: %s", way.id, error)
            continue
        if loss <= min(trial.values()):
            best = way
        trial[way.id] = loss
    if best is None:
        return Ranking(COLD.fusion, visits=len(seen.found), trial=trial or None)
    state = best.fuser.fit(seen.columns, seen.scores, seen.found, seen.weights)
    return Ranking(f"{best.id}@{best.version}", seen.columns, state, len(seen.found), trial)


def probabilities(ranking: Ranking, ways: Sequence[Way], scores: Sequence[Mapping[str, float]]) -> DoubleArray:
    """Probabilities of cases, shape (cases,).

    Raises:
        KeyError: the way that made this version is not installed any more.
    """
    columns = tuple(sorted({name for row in scores for name in row} | set(ranking.columns)))
    rows = matrix(scores, columns)
    if ranking.fusion == COLD.fusion:
        return rules(columns, rows)
    way = {f"{w.id}@{w.version}": w for w in ways}[ranking.fusion]
    return np.clip(np.asarray(way.fuser.predict(ranking.state, columns, rows), np.float64), 0.0, 1.0)


def rules(columns: Sequence[str], scores: DoubleArray) -> DoubleArray:
    """1 − Π(1 − score) over the models; what the hub itself knows (`hub:…`) is no finding."""
    models = [place for place, name in enumerate(columns) if not name.startswith("hub:")]
    return np.asarray(1.0 - np.prod(1.0 - scores[:, models], axis=1), np.float64)


def log_loss(probability: DoubleArray, seen: Lessons) -> float:
    """Weighted mean log loss, nats."""
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    loss = -np.where(seen.found, np.log(p), np.log1p(-p))
    return float(np.average(loss, weights=seen.weights))
