"""Plays the stories that add load at particular hours: night production, hidden workshops, rebounds, dismantling.

Each story draws from its own row of a day's random numbers; what runs past midnight draws its second half from the
numbers of the day before, so that a night is one decision although a day can be made alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dianhuan_simulator._calendar import CityDay
from dianhuan_simulator._meters import Meters
from dianhuan_simulator._pauses import Pauses
from dianhuan_simulator._people import People
from dianhuan_simulator._random import Floats, Purpose, stream
from dianhuan_simulator._shapes import HOURS, PERSONS, VARIANTS, Curve, largest, shape_index, window
from dianhuan_simulator._stories import Story

Numbers = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Scene:
    """What a story sees of its day."""

    folk: People
    library: Floats
    day: CityDay
    offset: int
    spring: Floats
    tonight: Numbers
    last_night: Numbers

    def night(self, chance: float, begins: float, ends: float, since: int) -> Curve:
        """Production from this evening on and in the early hours after last evening, each if that night is one."""
        out = np.zeros(96)
        if self.tonight[0] < chance and self.offset >= since:
            starts = begins + 0.8 * (self.tonight[2] - 0.5)
            out += np.clip((HOURS - starts) / 0.25 + 0.5, 0, 1) * (HOURS > 20) * (0.85 + 0.3 * self.tonight[1])
        if self.last_night[0] < chance and self.offset > since:
            stops = ends + 0.8 * (self.last_night[3] - 0.5)
            out += np.clip((stops - HOURS) / 0.25 + 0.5, 0, 1) * (HOURS < 8) * (0.85 + 0.3 * self.last_night[1])
        return out

    def shape(self, name: str, person: int) -> Curve:
        """Today's shape of a person in the library."""
        variant = int(self.tonight[1] * VARIANTS)
        return np.asarray(self.library[(shape_index(name) * PERSONS + person) * VARIANTS + variant], dtype=np.float64)


def _night_only(s: Story, at: Scene) -> Curve:
    v = s.values
    return v["level"] * float(at.folk.kw[s.entity]) * at.night(v["chance"], v["begins"], v["ends"], s.start)


def _valley_switch(s: Story, at: Scene) -> Curve:
    f, v = at.folk, s.values
    works = at.day.kind in ("workday", "saturday") or (at.day.kind == "sunday" and f.sunday[s.entity] > 0)
    return v["level"] * float(f.kw[s.entity]) * works * at.shape("valley", int(v["person"]))


def _hidden_workshop(s: Story, at: Scene) -> Curve:
    v = s.values
    if v["shift"] == 2:
        return v["kw"] * at.night(0.8, 22.0, 5.5, s.start)
    if at.day.kind == "holiday" or (at.day.kind == "sunday" and not v["sunday"]) or at.tonight[0] > 0.95:
        return np.zeros(96)
    return v["kw"] * at.shape("two_shift" if v["shift"] == 1 else "single", int(v["person"]))


def _rebound(s: Story, at: Scene) -> Curve:
    v = s.values
    night = at.night(v["chance"], 22.0, 5.0, s.start)
    if at.offset - s.start >= v["nights"] and at.tonight[0] < v["chance"]:
        night = largest(0.7 * night, window(8, 18, 0.4))
    return v["level"] * float(at.folk.kw[s.entity]) * night


def _relocation(s: Story, at: Scene) -> Curve:
    f, source = at.folk, int(s.values["source"])
    works = {"workday": 1.0, "saturday": f.saturday[source], "sunday": f.sunday[source], "holiday": f.holiday[source]}
    row = np.asarray(at.library[int(f.shape_row[source]) + int(at.tonight[1] * VARIANTS)], dtype=np.float64)
    return np.asarray(s.values["level"] * float(f.kw[source]) * float(works[at.day.kind]) * row)


def _caretaker(s: Story, at: Scene) -> Curve:
    return s.values["level"] * float(at.folk.kw[s.entity]) * (0.6 + 0.4 * window(18.3, 23, 0.3))


def _dismantling(s: Story, at: Scene) -> Curve:
    return s.values["level"] * float(at.folk.kw[s.entity]) * window(8, 17.5, 0.4) * (0.5 + float(at.tonight[1]))


ACTS: dict[str, Callable[[Story, Scene], Curve]] = {
    "night_only": _night_only,
    "valley_switch": _valley_switch,
    "hidden_workshop": _hidden_workshop,
    "rebound": _rebound,
    "relocation": _relocation,
    "caretaker": _caretaker,
    "dismantling": _dismantling,
}
"""Kinds that add load of their own; all others are phases and boosts of an entity."""

_SPRING_BOUND = frozenset({"night_only", "valley_switch", "hidden_workshop", "relocation"})


class Stage:
    """The stories of one block that add load."""

    def __init__(self, seed: int, folk: People, points: Meters, told: list[Story], pauses: Pauses) -> None:
        self.seed, self.folk, self.pauses = seed, folk, pauses
        self.acts = [s for s in told if s.kind in ACTS and points.first_of[s.entity] >= 0]
        self.rows = np.array([points.first_of[s.entity] for s in self.acts], dtype=np.int64)

    def _numbers(self, ordinal: int) -> tuple[Numbers, Numbers]:
        rng = stream(self.seed, Purpose.ACTS, self.folk.number, ordinal)
        return rng.random((len(self.acts), 4)), rng.standard_normal((len(self.acts), 96))

    def play(self, kw: Floats, library: Floats, day: CityDay, offset: int, spring: Floats) -> None:
        """Add the day's load of every running story to `kw`, shape (points, 96), in place."""
        ordinal = day.day.toordinal()
        tonight, noise = self._numbers(ordinal)
        last_night, _ = self._numbers(ordinal - 1)
        for i, story in enumerate(self.acts):
            if not story.start <= offset < story.end:
                continue
            level = self.pauses.level(story.entity, offset) if story.violation else 1.0
            if level == 0:
                continue
            scene = Scene(self.folk, library, day, offset, spring, tonight[i], last_night[i])
            added = ACTS[story.kind](story, scene) * (level * (1 + 0.08 * noise[i]))
            if story.kind in _SPRING_BOUND:
                added = added * float(spring[story.entity])
            kw[self.rows[i]] += np.maximum(added, 0).astype(np.float32)
