"""One-minute samples of a site on a day: what flows, and what the meters report."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi

import numpy as np

from dianhuan_simulator._random import Bools, Floats, Ints, Purpose, stream
from dianhuan_simulator.emulator._knobs import PlantsKnobs
from dianhuan_simulator.emulator._plants import (
    COMBINED,
    INDIRECT,
    PLANT_BLOCK,
    PRODUCTION,
    TOTAL,
    TREATMENT,
    Site,
)
from dianhuan_simulator.emulator._shifts import DAY, Timetable
from dianhuan_simulator.emulator._stories import Effect, Story

_MINUTES = np.arange(DAY)
_SLOW = 30
_OFFICE = np.interp(_MINUTES, [0, 420, 480, 1080, 1200, 1440], [0.25, 0.3, 1.0, 1.0, 0.35, 0.25]).astype(np.float32)
_BATCH_PART, _BATCH_LOW = 0.72, 0.32


@dataclass(frozen=True)
class SiteDay:
    """A day of a site, shape (circuits, 1440) each.

    Args:
        kw: as the hub holds it once buffers are sent; NaN = never came.
        metered: kW that the meter integrates into its register, whatever the logger then sends.
        factors: shape (groups with a factor, 1440), concentrations behind the treatment.
        late: intervals that came late, as effects of kind `lost`.
    """

    kw: Floats
    metered: Floats
    factors: Floats
    late: tuple[Effect, ...]


class SiteMinutes:
    """Renders the days of one site; `stories` may change between days."""

    def __init__(self, knobs: PlantsKnobs, seed: int, at: Site, plan: Timetable, stories: list[Story]) -> None:
        self.knobs, self.seed, self.at, self.plan, self.stories = knobs, seed, at, plan, stories
        rng = stream(seed, Purpose.MINUTE, at.number)
        groups, lines = len(at.group_plant), len(at.line_plant)
        self._phase = rng.integers(0, 10_000, lines)
        self._group_phase = rng.integers(0, 10_000, groups)
        self._pause = rng.uniform(*knobs.twins.batch_pause_minutes, groups).astype(np.int64)
        self._lunch = rng.uniform(*knobs.twins.lunch_idle, lines).astype(np.float32)[:, None]
        role, place = at.circuit_role, at.circuit_place
        self._line_rows = np.empty(lines, dtype=np.int64)
        is_line = (role == PRODUCTION) | (role == COMBINED)
        self._line_rows[place[is_line]] = np.flatnonzero(is_line)
        self._unit_rows = np.empty(len(at.unit_plant), dtype=np.int64)
        self._unit_rows[place[role == TREATMENT]] = np.flatnonzero(role == TREATMENT)
        self._other_rows = np.flatnonzero(role == INDIRECT)
        self._total_rows = np.flatnonzero(role == TOTAL)
        self._by_group = np.argsort(at.line_group, kind="stable")
        self._group_starts = np.searchsorted(at.line_group[self._by_group], np.arange(groups))
        self._copies: dict[tuple[int, int], Floats] = {}
        self._held: dict[tuple[int, int], float] = {}

    def day(self, offset: int) -> SiteDay:
        """The day `offset` days after the first."""
        base = offset * DAY
        effects = [e for s in self.stories for e in s.effects if e.start < base + DAY and base < e.end]
        rng = stream(self.seed, Purpose.MINUTE, self.at.number, offset + 1)
        kw, factors = self._flow(offset, effects, rng)
        self._shift_clocks(kw)
        return self._report(kw, factors, offset, effects, rng)

    # -- what flows ----------------------------------------------------------------------------------------------

    def _flow(self, offset: int, effects: list[Effect], rng: np.random.Generator) -> tuple[Floats, Floats]:
        at, base = self.at, offset * DAY
        on, act = self._lines(offset, effects, rng)
        lines = at.line_kw[:, None] * np.maximum(act, at.line_idle[:, None])
        # Drawn whether anyone holds heat or not: what one plant does never changes another's noise.
        held = 1 + np.float32(0.05) * rng.standard_normal(DAY, dtype=np.float32)
        for e in effects:
            if e.kind == "hold_heat":
                cut = _cut(e, base)
                lines[e.target, cut] = np.maximum(lines[e.target, cut], e.value * at.line_kw[e.target] * held[cut])
        works = self._treatment_on(offset, on, effects, rng)
        own = np.where(at.line_combined, np.float32(0), at.line_kw)
        load = np.add.reduceat((act * own[:, None])[self._by_group], self._group_starts, axis=0)
        load /= np.add.reduceat(own[self._by_group], self._group_starts)[:, None]
        units = self._units(offset, works, load, effects, rng)
        kw = np.zeros((len(at.circuit_plant), DAY), dtype=np.float32)
        kw[self._line_rows] = lines * (1 + at.line_combined * at.line_ratio)[:, None]
        kw[self._unit_rows] = units
        office = rng.standard_normal((len(self._other_rows), DAY), dtype=np.float32)
        kw[self._other_rows] = at.circuit_kw[self._other_rows, None] * _OFFICE * (1 + np.float32(0.08) * office)
        total = np.add.reduceat(kw, self._total_rows, axis=0) * (1 + at.loss)[:, None]
        rest = rng.standard_normal((PLANT_BLOCK, DAY), dtype=np.float32)
        total += at.unmetered[:, None] * (0.7 + 0.3 * _OFFICE) * (1 + np.float32(0.05) * rest)
        kw[self._total_rows] = total
        np.maximum(kw, 0, out=kw)
        for e in effects:
            if e.kind == "dark":
                kw[at.circuit_plant == e.target, _cut(e, base)] = 0
        return kw, self._factors(offset, works, load, effects)

    def _factors(self, offset: int, works: Bools, load: Floats, effects: list[Effect]) -> Floats:
        """Concentrations behind the treatment: what production gives off less what treatment in order removes."""
        at, k = self.at, self.knobs.factors
        effect = works.astype(np.float32)
        for e in effects:
            if e.kind == "treatment_scale":
                effect[e.target, _cut(e, offset * DAY)] *= np.float32(e.value)
        mine = np.flatnonzero(at.group_factor)
        given = np.minimum(load[mine] / np.float32(0.6), np.float32(1)) * (
            1 - at.group_removal[mine, None] * effect[mine]
        )
        # The mean of the last minutes: what was given off then arrives now.
        summed = np.cumsum(np.hstack([np.repeat(given[:, :1], k.lag, axis=1), given]), axis=1, dtype=np.float64)
        arrived = (summed[:, k.lag :] - summed[:, : -k.lag]) / k.lag
        rng = stream(self.seed, Purpose.MINUTE, at.number, 2_000_000 + offset)
        noise = 1 + k.noise * rng.standard_normal(arrived.shape, dtype=np.float32)
        return np.asarray(at.group_raw[mine, None] * (arrived + 0.01) * np.maximum(noise, 0.1), dtype=np.float32)

    def _lines(self, offset: int, effects: list[Effect], rng: np.random.Generator) -> tuple[Bools, Floats]:
        """Which lines run (breaks included), and their activity as a share of rated power."""
        at, base, knobs = self.at, offset * DAY, self.knobs.run
        window = self.plan.window[:, offset : offset + 3] - base
        begin, end = window[..., 0], window[..., 1]
        real = end > begin
        level = np.where(real, self.plan.level[:, offset : offset + 3], 0)
        act = _marks(begin, end, level)
        on: Bools = act > 1e-3
        pauses = self.plan.breaks[:, offset : offset + 3] - base
        paused = _marks(pauses[..., 0].reshape(len(act), -1), pauses[..., 1].reshape(len(act), -1)) > 0
        heating = _marks(begin, np.where(real, begin + at.line_warm[:, None], begin)) > 0
        act *= on
        act = np.where(paused, act * self._lunch, act)
        act = np.where(heating, act * np.float32(0.55), act)
        charged = np.flatnonzero(at.line_cycle)
        cycle = at.line_cycle[charged, None]
        into = (base + _MINUTES + self._phase[charged, None]) % cycle / cycle
        act[charged] *= np.where(into < _BATCH_PART, np.float32(1), np.float32(_BATCH_LOW))
        factor = rng.standard_normal((len(act), DAY), dtype=np.float32)
        factor *= np.float32(knobs.fast_noise)
        factor += 1 + np.float32(knobs.slow_noise) * _wander(rng, len(act))
        for e in effects:
            if e.kind == "line_scale":
                act[e.target, _cut(e, base)] *= np.float32(e.value)
            elif e.kind == "line_run":
                cut = _cut(e, base)
                act[e.target, cut] = np.float32(e.value)
                on[e.target, cut] = True
        act *= np.maximum(factor, np.float32(0.2))
        return on & ~paused, act

    def _treatment_on(self, offset: int, on: Bools, effects: list[Effect], rng: np.random.Generator) -> Bools:
        at, twins, base = self.at, self.knobs.twins, offset * DAY
        window = self.plan.window[:, offset : offset + 3] - base
        begin, end = window[..., 0], window[..., 1]
        group = at.line_group
        lead = np.where(at.line_warm > 0, -at.line_warm, at.group_lead[group])[:, None]
        real = end > begin
        starts = np.where(real, begin - lead, 0)
        ends = np.where(real, end + at.group_after[group][:, None], 0)
        due = _marks(starts, ends)[self._by_group]
        works: Bools = np.add.reduceat(due, self._group_starts, axis=0) > 0.5
        idle = ~np.logical_or.reduceat(on[self._by_group], self._group_starts, axis=0)
        shut = at.group_lunch[:, None] & idle & self._in_break(offset)
        works &= ~shut
        draw = rng.random((3, len(works)))
        low, high = twins.backwash_minutes
        for g in np.flatnonzero(at.group_wash & (draw[0] < twins.backwash_a_day)).tolist():
            begins = int(draw[1, g] * (DAY - high))
            works[g, begins : begins + round(low + draw[2, g] * (high - low))] = False
        for g in np.flatnonzero(at.group_batch).tolist():
            into = (base + _MINUTES + self._group_phase[g]) % at.group_batch[g]
            works[g, into < self._pause[g]] = False
        for e in effects:
            if e.kind == "treatment_on":
                works[e.target, _cut(e, base)] = True
        for e in effects:
            if e.kind == "treatment_off":
                works[e.target, _cut(e, base)] = False
        return works

    def _in_break(self, offset: int) -> Bools:
        """Groups one of whose lines has its break."""
        pauses = (self.plan.breaks[:, offset : offset + 3] - offset * DAY).reshape(len(self.at.line_plant), -1, 2)
        paused = _marks(pauses[..., 0], pauses[..., 1])[self._by_group]
        found: Bools = np.add.reduceat(paused, self._group_starts, axis=0) > 0.5
        return found

    def _units(
        self, offset: int, works: Bools, load: Floats, effects: list[Effect], rng: np.random.Generator
    ) -> Floats:
        at, run = self.at, self.knobs.run
        duty = ~at.unit_paired | (((offset // 7) % 2 == 1) == at.unit_backup)
        on = works[at.unit_group] & duty[:, None]
        floor = at.unit_floor[:, None]
        shape = floor + (1 - floor) * np.minimum(load[at.unit_group], np.float32(1.1))
        noise = rng.standard_normal(shape.shape, dtype=np.float32)
        slow = np.float32(run.treatment_slow) * _wander(rng, len(shape))
        # A flat one is a fan at the mains on a coarse meter: it hardly moves.
        still = np.where(at.unit_flat, np.float32(0.02), np.float32(1))[:, None]
        factor = 1 + still * (np.float32(run.treatment_noise) * noise + slow)
        flat = at.unit_flat[:, None]
        season = np.float32(1 + run.season * cos(2 * pi * offset / 365))
        units = at.unit_kw[:, None] * np.where(flat, np.float32(0.96), shape * season) * factor
        for e in effects:
            if e.kind in ("treatment_scale", "unit_scale"):
                units[at.unit_group == e.target, _cut(e, offset * DAY)] *= np.float32(e.value)
        standby = (at.unit_kw * at.unit_standby)[:, None] * (1 + np.float32(0.05) * noise)
        return np.asarray(np.where(on, units, standby), dtype=np.float32)

    # -- what the meters report ----------------------------------------------------------------------------------

    def _shift_clocks(self, kw: Floats) -> None:
        """The logger of the treatment stamps its samples by its own clock."""
        for plant in np.flatnonzero(self.at.drift).tolist():
            ahead = int(self.at.drift[plant])
            for row in np.flatnonzero((self.at.circuit_plant == plant) & (self.at.circuit_role == TREATMENT)):
                if ahead > 0:
                    kw[row, ahead:] = kw[row, :-ahead].copy()
                else:
                    kw[row, :ahead] = kw[row, -ahead:].copy()

    def _report(
        self, kw: Floats, factors: Floats, offset: int, effects: list[Effect], rng: np.random.Generator
    ) -> SiteDay:
        at, base = self.at, offset * DAY
        forger = stream(self.seed, Purpose.PLANT_STORY, at.number, 1_000_000 + offset)
        for e in effects:
            if e.kind == "scale":
                kw[e.target, _cut(e, base)] *= np.float32(e.value)
            elif e.kind == "zero":
                kw[e.target, _cut(e, base)] = 0
        step = at.circuit_quantum[:, None]
        sent = np.rint(kw / step)
        sent *= step
        for e in effects:
            cut = _cut(e, base)
            if e.kind == "frozen":
                sent[e.target, cut] = self._value(sent, e, base)
            elif e.kind == "replay":
                copy = self._copy(e.target, e.source)[cut]
                noise = 1 + e.value * forger.standard_normal(len(copy)) if e.value else 1.0
                quantum = float(at.circuit_quantum[e.target])
                sent[e.target, cut] = np.rint(copy * noise / quantum) * quantum
            elif e.kind == "forged":
                sent[e.target, cut] = self._forge(kw, e, cut, forger)
        self._keep(sent, offset)
        sent.reshape(-1)[rng.integers(0, sent.size, rng.binomial(sent.size, self.knobs.twins.lost_sample))] = np.nan
        late = []
        owner = at.group_plant[at.group_factor]
        for e in effects:
            cut = _cut(e, base)
            if e.kind == "missing":
                sent[e.target, cut] = np.nan
            elif e.kind == "dark" and not e.value:
                sent[at.circuit_plant == e.target, cut] = np.nan
                factors[owner == e.target, cut] = np.nan
            elif e.kind == "lost" and e.value:
                late.append(e)
            elif e.kind == "lost":
                sent[at.circuit_plant == e.target, cut] = np.nan
                factors[owner == e.target, cut] = np.nan
        return SiteDay(sent, kw, factors, tuple(late))

    def _forge(self, kw: Floats, e: Effect, cut: slice, rng: np.random.Generator) -> Floats:
        unit = int(self.at.circuit_place[e.target])
        mine = np.flatnonzero((self.at.line_group == self.at.unit_group[unit]) & ~self.at.line_combined)
        production = kw[self._line_rows[mine], cut].sum(axis=0)
        forged = e.value * production * (1 + 0.001 * rng.standard_normal(len(production)))
        step = float(self.at.circuit_quantum[e.target])
        return np.asarray(np.rint(forged / step) * step, dtype=np.float32)

    def _value(self, sent: Floats, e: Effect, base: int) -> float:
        """The value that a frozen circuit holds: its last one before it froze."""
        key = (e.target, e.start)
        if key not in self._held:
            if e.start < base:
                self.day(e.start // DAY)
            else:
                self._held[key] = float(sent[e.target, e.start - base])
        return self._held[key]

    def _copy(self, row: int, source: int) -> Floats:
        if (row, source) not in self._copies:
            self.day(source)
        return self._copies[row, source]

    def _keep(self, sent: Floats, offset: int) -> None:
        """Keep what a later replay copies, and let go what none will copy any more."""
        for s in self.stories:
            for e in s.effects:
                if e.kind == "replay" and e.source == offset:
                    self._copies[e.target, offset] = sent[e.target].copy()
        for key in [k for k in self._copies if k[1] < offset - 7]:
            del self._copies[key]


def _cut(e: Effect, base: int) -> slice:
    """The part of a day that an effect covers."""
    return slice(max(e.start - base, 0), min(e.end - base, DAY))


def _marks(starts: Ints, ends: Ints, weight: Floats | float = 1.0) -> Floats:
    """Sum of weights over the [start, end) of each row, clipped to the day: shape (rows, 1440)."""
    rows = np.broadcast_to(np.arange(len(starts))[:, None], starts.shape)
    steps = np.zeros((len(starts), DAY + 1), dtype=np.float32)
    weights = np.where(ends > starts, np.broadcast_to(np.asarray(weight, np.float32), starts.shape), np.float32(0))
    np.add.at(steps, (rows, np.clip(starts, 0, DAY)), weights)
    np.subtract.at(steps, (rows, np.clip(ends, 0, DAY)), weights)
    marks: Floats = np.cumsum(steps[:, :DAY], axis=1, dtype=np.float32)
    return marks


def _wander(rng: np.random.Generator, rows: int) -> Floats:
    """Normal numbers every half hour, joined by lines: shape (rows, 1440)."""
    knots = rng.standard_normal((rows, DAY // _SLOW + 1), dtype=np.float32)
    part = (np.arange(_SLOW, dtype=np.float32) / _SLOW)[None, None, :]
    joined = knots[:, :-1, None] * (1 - part) + knots[:, 1:, None] * part
    return np.asarray(joined.reshape(rows, DAY), dtype=np.float32)
