"""Offenders: who they are, and when they do what."""

from __future__ import annotations

import numpy as np

from dianhuan_simulator._random import Purpose, stream
from dianhuan_simulator.emulator._knobs import PlantsKnobs
from dianhuan_simulator.emulator._plants import PLANT_BLOCK, PRODUCTION, SHIFTS, TREATMENT, Site
from dianhuan_simulator.emulator._shifts import DAY, Timetable
from dianhuan_simulator.emulator._stories import Effect, Story

_TRIES = 40
_LATEST_CYCLE = 45
_NIGHT_SHIFTS = ("three", "valley", "continuous")


def strategies(knobs: PlantsKnobs, seed: int, at: Site, share: float) -> list[str]:
    """Strategy of every plant, empty for the honest; a larger share keeps the offenders of a smaller one."""
    rng = stream(seed, Purpose.PLANT_STORY, at.number)
    draw, which = rng.random((2, PLANT_BLOCK))
    names = list(knobs.offences.mix)
    edges = np.cumsum(list(knobs.offences.mix.values()))
    found = []
    for plant in range(PLANT_BLOCK):
        name = str(names[int(np.searchsorted(edges, which[plant] * edges[-1], side="right"))])
        shift = SHIFTS[at.shift[plant]]
        if (name == "off_night" and shift not in _NIGHT_SHIFTS) or (name == "under_order" and shift == "continuous"):
            name = "off_hours"
        if name == "replay" and bool(at.unit_paired[at.unit_plant == plant].any()):
            name = "forged_ratio"  # a week before, the other fan was on duty
        found.append(name if draw[plant] < share else "")
    return found


class Offender:
    """Plans the offences of one plant.

    Args:
        first_day: no offence begins before this day.
    """

    def __init__(
        self, knobs: PlantsKnobs, seed: int, at: Site, plan: Timetable, plant: int, days: int, first_day: int
    ) -> None:
        self.k, self.at, self.plan, self.plant, self.days = knobs.offences, at, plan, plant, days
        self.first_day = first_day
        self.rng = stream(seed, Purpose.PLANT_STORY, at.number, 1000 + plant)
        self.groups = np.flatnonzero(at.group_plant == plant)

    def stories(self, strategy: str) -> list[Story]:
        """The offences of the run, none overlapping another."""
        rate = self.k.adaptive_events if strategy == "adaptive" else self.k.events
        count = max(1, int(self.rng.poisson(rate * max(self.days - self.first_day, 1) / 30)))
        found: list[Story] = []
        for number in range(count):
            for _ in range(_TRIES):
                story = self._one(strategy, number)
                if story is not None and not any(s.meets(story.start - 120, story.end + 120) for s in found):
                    found.append(story)
                    break
        return sorted(found, key=lambda s: s.start)

    def _one(self, strategy: str, number: int) -> Story | None:
        if strategy in ("off_hours", "off_short", "off_night"):
            return self._off(
                strategy, {"off_hours": self.k.hours, "off_short": self.k.short}.get(strategy, self.k.night)
            )
        if strategy == "adaptive":
            return (self._pulse, self._idling, self._short)[number % 3]()
        if strategy == "under_load":
            return self._under(strategy, self.k.under_load)
        if strategy == "one_fan":
            return self._under(strategy, self.k.one_fan)
        if strategy == "under_order":
            return self._under_order()
        if strategy == "frozen":
            return self._frozen()
        if strategy in ("replay", "forged_ratio"):
            return self._forged(strategy)
        return self._bypass()

    # -- where there is room ----------------------------------------------------------------------------------

    def _within(self, pair: tuple[float, float]) -> int:
        return round(float(self.rng.uniform(*pair)))

    def _line(self, group: int) -> int:
        """The largest line of a group that has a circuit of its own."""
        mine = np.flatnonzero((self.at.line_group == group) & ~self.at.line_combined)
        return int(mine[np.argmax(self.at.line_kw[mine])])

    def _room(self, line: int, minutes: int, *, night: bool = False) -> tuple[int, int] | None:
        """[start, end) of at most `minutes` well inside one day's production of a line."""
        day = int(self.rng.integers(self.first_day, self.days)) if self.days > self.first_day else -1
        if day < 0:
            return None
        begin, end = (int(x) for x in self.plan.window[line, day + 1])
        if end - begin < 150:
            return None
        warm = int(self.at.line_warm[line])
        begin, end = begin + 45 + warm, min(end - 15, self.days * DAY - 5)
        if night and SHIFTS[self.at.shift[self.plant]] != "valley":
            begin, end = max(begin, day * DAY), min(end, day * DAY + 6 * 60)
        length = min(minutes, end - begin)
        if length < min(minutes, _LATEST_CYCLE):
            return None
        start = begin + int(self.rng.integers(0, end - begin - length + 1))
        return None if self._paused(line, start, start + length) > length / 4 else (start, start + length)

    def _paused(self, line: int, start: int, end: int) -> int:
        """Minutes of [start, end) in which a line has its break."""
        begins, ends = self.plan.breaks[line].reshape(-1, 2).T
        return int(np.clip(np.minimum(ends, end) - np.maximum(begins, start), 0, None).sum())

    def _somewhere(self) -> tuple[int, int]:
        group = int(self.rng.choice(self.groups))
        return group, self._line(group)

    # -- treatment ---------------------------------------------------------------------------------------------

    def _off(self, strategy: str, minutes: tuple[float, float]) -> Story | None:
        group, line = self._somewhere()
        room = self._room(line, self._within(minutes), night=strategy == "off_night")
        if room is None:
            return None
        effect = Effect("treatment_off", group, *room)
        return Story(self.plant, "treatment_off", strategy, *room, group, line, (effect,))

    def _short(self) -> Story | None:
        return self._off("adaptive", self.k.short)

    def _pulse(self) -> Story | None:
        group, line = self._somewhere()
        off, on = (int(x) for x in self.k.pulse)
        rounds = self._within(self.k.pulse_rounds)
        room = self._room(line, rounds * (off + on))
        if room is None:
            return None
        every = range(room[0], room[1] - off + 1, off + on)
        starts = [s for s in every if self._paused(line, s, s + off) < off / 4]
        if not starts:
            return None
        effects = tuple(Effect("treatment_off", group, s, s + off) for s in starts)
        return Story(
            self.plant, "treatment_off", "adaptive", room[0], effects[-1].end, group, line, effects,
            note=f"off {off} of every {off + on} min",
        )  # fmt: skip

    def _idling(self) -> Story | None:
        return self._under("adaptive", self.k.idling)

    def _under(self, strategy: str, share: tuple[float, float]) -> Story | None:
        group, line = self._somewhere()
        room = self._room(line, self._within(self.k.under_load_minutes))
        if room is None:
            return None
        factor = float(self.rng.uniform(*share))
        effect = Effect("treatment_scale", group, *room, factor)
        return Story(self.plant, "under_load", strategy, *room, group, line, (effect,), note=f"at {factor:.0%}")

    # -- orders ------------------------------------------------------------------------------------------------

    def _under_order(self) -> Story | None:
        orders = [
            o
            for o in self.plan.orders
            if o.plant == self.plant and o.kind == "stop" and o.start >= self.first_day * DAY
        ]
        if not orders:
            return self._off("off_hours", self.k.hours)
        order = orders[int(self.rng.integers(len(orders)))]
        group, line = self._somewhere()
        length = min(self._within(self.k.under_order_minutes), order.end - order.start - 60)
        day = order.start + DAY * int(self.rng.integers(0, max(1, (order.end - order.start) // DAY)))
        begin = day + int(self.rng.uniform(22, 23.5) * 60 if self.rng.random() < 0.6 else self.rng.uniform(8, 15) * 60)
        begin = max(order.start + 30, min(begin, order.end - length - 5))
        level = float(self.rng.uniform(0.5, 0.85))
        effects = [Effect("line_run", line, begin, begin + length, level)]
        if self.rng.random() < 0.5:
            effects.append(Effect("treatment_on", group, begin, begin + length))
        return Story(self.plant, "start_under_order", "under_order", begin, begin + length, group, line, tuple(effects))

    # -- data --------------------------------------------------------------------------------------------------

    def _rows(self, group: int) -> list[int]:
        units = np.flatnonzero(self.at.unit_group == group)
        return [self.at.row_of(TREATMENT, int(u)) for u in units]

    def _hidden(self, group: int, line: int, start: int, end: int) -> list[Effect]:
        """What the forged data hide: treatment stands for hours of each day's production."""
        found = []
        for begin, stop in self.plan.window[line].tolist():
            first, last = max(begin + 60, start), min(stop - 20, end)
            if stop > begin and last - first > 60:
                length = int(self.rng.uniform(0.4, 0.9) * (last - first))
                found.append(Effect("treatment_off", group, first, first + length))
        return found

    def _frozen(self) -> Story | None:
        group, line = self._somewhere()
        room = self._room(line, 60)
        if room is None:
            return None
        end = min(room[0] + 60 * self._within(self.k.frozen_hours), self.days * DAY)
        effects = [Effect("frozen", row, room[0], end) for row in self._rows(group)]
        effects += self._hidden(group, line, room[0], end)
        return Story(self.plant, "frozen", "frozen", room[0], end, group, line, tuple(effects))

    def _forged(self, strategy: str) -> Story | None:
        group, line = self._somewhere()
        length = self._within(self.k.forged_days)
        first = max(self.first_day, 7)
        if first + 1 > self.days:
            return None
        day = int(self.rng.integers(first, self.days))
        last = min(day + length, self.days)
        start, end = day * DAY, last * DAY
        begins, ends = self.plan.window[line, day + 1 : last + 1].T
        if not bool((ends > begins).any()):
            return None
        effects = []
        noise = self.k.replay_noise if self.rng.random() < 0.5 else 0.0
        for row in self._rows(group):
            if strategy == "replay":
                effects += [Effect("replay", row, d * DAY, (d + 1) * DAY, noise, d - 7) for d in range(day, last)]
            else:
                ratio = float(self.rng.uniform(0.9, 1.0) * self.at.line_ratio[line])
                effects.append(Effect("forged", row, start, end, ratio))
        effects += self._hidden(group, line, start, end)
        note = f"copies the day a week before, noise {noise:.0%}" if strategy == "replay" else "constant ratio"
        return Story(self.plant, strategy, strategy, start, end, group, line, tuple(effects), note=note)

    def _bypass(self) -> Story | None:
        group, line = self._somewhere()
        room = self._room(line, 60)
        if room is None:
            return None
        day = room[0] // DAY
        end = min((day + self._within(self.k.bypass_days)) * DAY, self.days * DAY)
        factor = float(self.rng.uniform(*self.k.bypass_factor))
        row = self.at.row_of(PRODUCTION, line)
        effect = Effect("scale", row, room[0], end, factor)
        return Story(
            self.plant,
            "bypass",
            "bypass",
            room[0],
            end,
            group,
            line,
            (effect,),
            note=f"the line's meter sees {factor:.0%}",
        )
