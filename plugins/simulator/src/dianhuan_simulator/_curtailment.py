"""Heavy-pollution episodes: orders by level with a scope for each plant, obeyed, ignored or worked around."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dianhuan_simulator._knobs import Knobs
from dianhuan_simulator._people import People
from dianhuan_simulator._random import Doubles, Purpose, stream

FIRST, LAST = -60, 1100
"""Day offsets between which episodes are laid out, whatever the length of the run."""


@dataclass(frozen=True)
class Curtailed:
    """An order of an episode to one plant: days [start, end), allowed percent (None = stop), what the plant does.

    `inside` and `around` are the factors of its activity within the window and on the two days on each side of it.
    """

    entity: int
    level: str
    start: int
    end: int
    percent: float | None
    kind: str
    inside: float
    around: float


def episodes(knobs: Knobs, seed: int) -> list[tuple[int, int, str]]:
    """(first day, day after the last, level) of the city's episodes, in order."""
    k = knobs.curtailment
    rng = stream(seed, Purpose.CURTAILMENT)
    out: list[tuple[int, int, str]] = []
    if k.per_year <= 0:
        return out
    shares = np.array(list(k.levels.values()))
    at = float(FIRST)
    while True:
        at += 7 + float(rng.exponential(max(365 / k.per_year - 7, 1)))
        length = int(rng.integers(k.days[0], k.days[1] + 1))
        level = str(rng.choice(list(k.levels), p=shares / shares.sum()))
        if at > LAST:
            return out
        out.append((int(at), int(at) + length, level))
        at += length


def curtailments(knobs: Knobs, seed: int, folk: People, busy: set[int]) -> list[Curtailed]:
    """The orders to the plants of a block and what becomes of them; plants with a story of their own are left out."""
    k = knobs.curtailment
    holders = [int(e) for e in np.flatnonzero((folk.permit == 1) | (folk.permit == 2)) if int(e) not in busy]
    fakes = min(0.5, k.ignore_by_base_rate * knobs.violations.base_rate)
    out = []
    for number, (start, end, level) in enumerate(episodes(knobs, seed)):
        draws = stream(seed, Purpose.CURTAILMENT, folk.number + 1, number).random((len(folk.kw), 5))
        for entity in holders:
            ordered, stops, scope, fake, how = draws[entity].tolist()
            if ordered >= k.ordered.get(level, 0.0):  # type: ignore[call-overload]
                continue
            percent = None if stops < k.stop else k.limit_percent[int(scope * len(k.limit_percent))]
            allowed = 0.0 if percent is None else percent / 100
            obeys = allowed * (k.obeyed[0] + (k.obeyed[1] - k.obeyed[0]) * scope)
            if fake >= fakes:
                made = ("curtailment_obeyed", obeys, 1.0)
            elif how < k.shifted:
                made = ("curtailment_shifted", obeys, 1.35)
            else:
                cut = k.ignored_cut[0] + (k.ignored_cut[1] - k.ignored_cut[0]) * how
                made = ("curtailment_ignored", 1 - cut, 1.0)
            out.append(Curtailed(entity, level, start, end, percent, *made))
    return out


def activity(curtailed: list[Curtailed], offset: int, size: int) -> Doubles:
    """Factor of each entity's activity on a day, shape (size,)."""
    out = np.ones(size)
    for order in curtailed:
        if order.start <= offset < order.end:
            out[order.entity] *= order.inside
        elif order.start - 2 <= offset < order.end + 2:
            out[order.entity] *= order.around
    return out
