"""Emulated plants with known truth: one-minute samples a day at a time, their context, their truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from dianhuan_sdk import LOCAL_ZONE, InputError
from dianhuan_simulator._random import Bools, Floats, Purpose, stream
from dianhuan_simulator.emulator._answers import Answer, answer
from dianhuan_simulator.emulator._knobs import PlantsKnobs, load_plants_knobs
from dianhuan_simulator.emulator._minutes import SiteMinutes
from dianhuan_simulator.emulator._offences import Offender, strategies
from dianhuan_simulator.emulator._plants import PLANT_BLOCK, Site, site
from dianhuan_simulator.emulator._shifts import DAY, Order, Timetable, timetable
from dianhuan_simulator.emulator._stories import Effect, Report, Story
from dianhuan_simulator.emulator._twins import Twins


@dataclass(frozen=True)
class PlantDay:
    """A local civil day of all circuits.

    Args:
        day: the day.
        offset: days from the first; minute m of the day is minute `offset * 1440 + m` of the run.
        kw: shape (circuits, 1440) float32, mean active power of each minute by the device's clock, once buffers
            are sent; NaN = never came.
        metered: same shape, what the meter integrates into its register.
        factors: shape (factors, 1440) float32, concentrations behind the treatment, rows as in `Emulation.factors()`;
            NaN = never came.
        registers: shape (circuits,) float64, kWh at the start of the day.
        late: (plant, start, end, arrives): minutes [start, end) of the run of a plant that came only at `arrives`.
        circuit_plant: shape (circuits,), number of the plant of each circuit.
        factor_plant: shape (factors,), number of the plant of each factor.
        power_factor: shape (circuits,).
    """

    day: date
    offset: int
    kw: Floats
    metered: Floats
    factors: Floats
    registers: np.ndarray[Any, np.dtype[np.float64]]
    late: tuple[tuple[int, int, int, int], ...]
    circuit_plant: np.ndarray[Any, np.dtype[np.int64]]
    factor_plant: np.ndarray[Any, np.dtype[np.int64]]
    power_factor: Floats

    def live(self) -> Floats:
        """`kw` as it was known within the minute: NaN also where a buffer was sent later."""
        return self._not_late(self.kw.copy(), self.circuit_plant)

    def live_factors(self) -> Floats:
        """`factors` as they were known within the minute."""
        return self._not_late(self.factors.copy(), self.factor_plant)

    def _not_late(self, values: Floats, owner: np.ndarray[Any, np.dtype[np.int64]]) -> Floats:
        base = self.offset * DAY
        for plant, start, end, _ in self.late:
            values[owner == plant, max(start - base, 0) : min(end - base, DAY)] = np.nan
        return values

    def current(self) -> Floats:
        """Current of each circuit, A, from `kw` at 380 V three-phase and the circuit's power factor."""
        return np.asarray(self.kw / (np.float32(3**0.5 * 0.38) * self.power_factor[:, None]), dtype=np.float32)

    def energy(self, rows: slice | np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Forward energy registers at the end of each minute, kWh in steps of 0.01; they roll over at 1,000,000."""
        grown = np.cumsum(self.metered[rows], axis=1, dtype=np.float64) / 60
        return np.round((self.registers[rows][:, None] + grown) % 1_000_000, 2)


class _Plot:
    """One block of plants with its stories."""

    def __init__(self, knobs: PlantsKnobs, seed: int, number: int, config: Emulation) -> None:
        self.site: Site = site(knobs, seed, number)
        self.strategies = strategies(knobs, seed, self.site, config.offenders_share)
        self.inside = min(PLANT_BLOCK, config.plants - number * PLANT_BLOCK)
        ordered: Bools = np.array([s == "under_order" for s in self.strategies])
        self.plan: Timetable = timetable(knobs, seed, self.site, config.start, config.days, ordered)
        offences: list[Story] = []
        for plant, strategy in enumerate(self.strategies):
            if strategy:
                mind = Offender(knobs, seed, self.site, self.plan, plant, config.days, config.first_offence_day)
                offences += mind.stories(strategy)
        twins = Twins(knobs, seed, self.site, self.plan, config.days).stories()
        mine: dict[int, list[Story]] = {}
        for s in offences:
            mine.setdefault(s.plant, []).append(s)
        # A twin that would hide an offence is dropped, so that every offence can be seen in the data.
        apart = [
            t
            for t in twins
            if (not t.effects and t.report is None and not t.kind.startswith("order"))
            or not any(t.meets(s.start - 60, s.end + 60) or _shadows(t, s) for s in mine.get(t.plant, ()))
        ]
        self.stories = sorted((s for s in offences + apart if s.plant < self.inside), key=lambda s: (s.plant, s.start))
        self.minutes = SiteMinutes(knobs, seed, self.site, self.plan, self.stories)
        self.rows = np.flatnonzero(self.site.circuit_plant < self.inside)
        owner = self.site.group_plant[self.site.group_factor]
        self.factor_plant = owner[owner < self.inside]


def _shadows(twin: Story, offence: Story) -> bool:
    """Do the twin's effects reach into the offence, or into the day that a replay copies?"""
    days = [(e.source * DAY, (e.source + 1) * DAY) for e in offence.effects if e.kind == "replay"]
    spans = [(offence.start, offence.end), *days]
    return any(e.start < end and start < e.end for e in twin.effects for start, end in spans)


class Emulation:
    """Plants with known truth; equal for equal arguments and notices.

    Iterating gives the days in order; memory holds one day. Plants are numbered from 0; the first ones are the same
    for any number of plants. Circuits stand in plant order, each plant's total first; see `circuits()`.

    Args:
        plants: how many.
        days: length of the run.
        seed: of all random streams.
        offenders_share: share of plants that offend; a larger share keeps the offenders of a smaller one.
        start: first day.
        first_offence_day: no offence begins before this day, so that models can learn what is usual.
        knobs: `load_plants_knobs()` by default.
    """

    def __init__(
        self,
        plants: int = 1500,
        days: int = 30,
        seed: int = 1,
        offenders_share: float = 0.01,
        *,
        start: date = date(2026, 3, 2),
        first_offence_day: int = 0,
        knobs: PlantsKnobs | None = None,
    ) -> None:
        if plants < 1 or days < 1 or not 0 <= offenders_share <= 1 or not 0 <= first_offence_day <= days:
            raise InputError(
                f"plants {plants}, days {days}, share {offenders_share}, first offence on day {first_offence_day}",
                expected="at least one plant and day, a share of 0 … 1, a day of the run",
            )
        self.plants, self.days, self.seed, self.offenders_share = plants, days, seed, offenders_share
        self.start, self.first_offence_day = start, first_offence_day
        self.knobs = knobs or load_plants_knobs()
        self.plots = [_Plot(self.knobs, seed, n, self) for n in range(-(-plants // PLANT_BLOCK))]
        self.circuit_plant = np.concatenate(
            [p.site.circuit_plant[p.rows] + p.site.number * PLANT_BLOCK for p in self.plots]
        )
        self.factor_plant = np.concatenate([p.factor_plant + p.site.number * PLANT_BLOCK for p in self.plots])
        self._pf = np.concatenate([p.site.circuit_pf[p.rows] for p in self.plots])
        self._registers = {0: np.concatenate([p.site.circuit_energy[p.rows] for p in self.plots])}
        self._answers: list[tuple[int, int, Answer]] = []
        self._filed: list[tuple[int, Report]] = []

    # -- samples -------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[PlantDay]:
        for offset in range(self.days):
            yield self.day(offset)

    def day(self, offset: int) -> PlantDay:
        """One day. Registers need the days before it: without them they are made on the way.

        Raises:
            InputError: the day is not of this run.
        """
        if not 0 <= offset < self.days:
            raise InputError(f"day {offset}", expected=f"0 … {self.days - 1}", hint="raise `days`")
        while offset not in self._registers:
            self.day(max(self._registers))
        kw = np.empty((len(self.circuit_plant), DAY), dtype=np.float32)
        metered = np.empty_like(kw)
        factors: list[Floats] = []
        late: list[tuple[int, int, int, int]] = []
        at = 0
        for plot in self.plots:
            made = plot.minutes.day(offset)
            after = at + len(plot.rows)
            kw[at:after] = made.kw[plot.rows]
            metered[at:after] = made.metered[plot.rows]
            factors.append(made.factors[: len(plot.factor_plant)])
            late += [
                (e.target + plot.site.number * PLANT_BLOCK, e.start, e.end, e.arrives)
                for e in made.late
                if e.target < plot.inside
            ]
            at = after
        self._registers.setdefault(
            offset + 1, (self._registers[offset] + metered.sum(axis=1, dtype=np.float64) / 60) % 1_000_000
        )
        return PlantDay(
            day=self.start + timedelta(days=offset),
            offset=offset,
            kw=kw,
            metered=metered,
            factors=np.concatenate(factors),
            registers=self._registers[offset],
            late=tuple(late),
            circuit_plant=self.circuit_plant,
            factor_plant=self.factor_plant,
            power_factor=self._pf,
        )

    def instant(self, minute: int) -> datetime:
        """The instant at the start of a minute of the run."""
        midnight = datetime(self.start.year, self.start.month, self.start.day, tzinfo=LOCAL_ZONE)
        return midnight + timedelta(minutes=minute)

    # -- what is known ---------------------------------------------------------------------------------------------

    def circuits(self) -> pa.Table:
        """One row a circuit, in the order of the samples; see `_tables.circuits`."""
        from dianhuan_simulator.emulator._tables import circuits

        return circuits(self)

    def links(self) -> pa.Table:
        """Which circuits of production belong to which of treatment; see `_tables.links`."""
        from dianhuan_simulator.emulator._tables import links

        return links(self)

    def factors(self) -> pa.Table:
        """Concentrations that are measured behind treatment, in the order of `PlantDay.factors`."""
        from dianhuan_simulator.emulator._tables import factors

        return factors(self)

    def context(self, name: str) -> pa.Table:
        """`filed_report`, `order`, `outage` (with `plant` numbers and minutes of the run), or `work_order`."""
        from dianhuan_simulator.emulator._tables import context

        return context(self, name)

    def filed(self) -> list[tuple[int, Report]]:
        """(plant, report) of everything that plants file, by minute of filing; answers to notices included."""
        found = [(p.site.number * PLANT_BLOCK + s.plant, s.report) for p in self.plots for s in p.stories if s.report]
        return sorted([*found, *self._filed], key=lambda item: (item[1].filed, item[0], item[1].start))

    def orders(self) -> list[tuple[int, Order]]:
        """(plant, order) of the run."""
        return [
            (p.site.number * PLANT_BLOCK + o.plant, o) for p in self.plots for o in p.plan.orders if o.plant < p.inside
        ]

    # -- what is true ----------------------------------------------------------------------------------------------

    def stories(self) -> Iterator[tuple[int, Story]]:
        """(plant, story) in plant order; the truth table is made of them."""
        for plot in self.plots:
            for story in plot.stories:
                yield plot.site.number * PLANT_BLOCK + story.plant, story

    def truth(self) -> pa.Table:
        """Offences and twins; see `_tables.TRUTH_SCHEMA`. Notices may have changed what comes after them."""
        from dianhuan_simulator.emulator._tables import truth

        return truth(self)

    def answers(self) -> list[tuple[int, int, Answer]]:
        """(plant, minute of the notice, answer) of all notices, in the order given."""
        return list(self._answers)

    # -- notices ---------------------------------------------------------------------------------------------------

    def notice(self, plant: int, minute: int) -> Answer:
        """Tell a plant of a warning; it answers, and offenders react from the next day on.

        Call it between days, after the day that holds `minute` was made. An adaptive offender lies low for some days
        and then offends in ways that the notice could not have been about (pulses, an idling fan); others may stop
        for good.

        Raises:
            InputError: no such plant, or a minute outside of the run.
        """
        if not 0 <= plant < self.plants or not 0 <= minute < self.days * DAY:
            raise InputError(f"notice to plant {plant} at minute {minute}", expected="a plant and a minute of the run")
        plot, local = self.plots[plant // PLANT_BLOCK], plant % PLANT_BLOCK
        mine = [s for s in plot.stories if s.plant == local]
        near = [s for s in mine if s.meets(minute - 180, minute + 1)]
        offends = any(s.offence for s in near)
        causes = [s for s in near if not s.offence and s.effects]
        given = answer(self.knobs.answers, self.seed, plant, minute, causes, offends)
        self._answers.append((plant, minute, given))
        if given.kind == "filed_report":
            report = Report(plant, "maintenance", minute - 180, given.at + 240, given.at, given.words)
            self._filed.append((plant, report))
        if offends:
            self._react(plot, local, plant, minute)
        return given

    def _react(self, plot: _Plot, local: int, plant: int, minute: int) -> None:
        k = self.knobs.offences
        rng = stream(self.seed, Purpose.ANSWER, plant, minute + 1)
        after = (minute // DAY + 1) * DAY
        adaptive = plot.strategies[local] == "adaptive"
        if not adaptive and rng.random() >= k.deterred:
            return
        quiet = after + round(float(rng.uniform(*k.quiet_days))) * DAY
        kept = []
        for s in plot.stories:
            if s.plant == local and s.offence and s.start >= after:
                if not adaptive or s.start < quiet:
                    continue
                s = _evasive(s, k.pulse, float(rng.uniform(*k.idling)))
            kept.append(s)
        plot.stories[:] = kept


def _evasive(story: Story, pulse: tuple[float, float], idling: float) -> Story:
    """A plain treatment-off made harder to see: pulses where there is room for two, else an idling fan."""
    if story.kind != "treatment_off" or len(story.effects) != 1:
        return story
    off, on = (int(x) for x in pulse)
    starts = range(story.start, story.end - off + 1, off + on)
    if len(starts) > 1:
        effects = tuple(Effect("treatment_off", story.group, s, s + off) for s in starts)
        return replace(story, effects=effects, end=effects[-1].end, note=f"off {off} of every {off + on} min")
    effect = Effect("treatment_scale", story.group, story.start, story.end, idling)
    return replace(story, kind="under_load", effects=(effect,), note=f"at {idling:.0%}")


def emulate(
    plants: int = 1500,
    days: int = 30,
    seed: int = 1,
    offenders_share: float = 0.01,
    *,
    start: date = date(2026, 3, 2),
    first_offence_day: int = 0,
    knobs: PlantsKnobs | None = None,
) -> Emulation:
    """`Emulation`, to iterate over: `for day in emulate(1500, 30, seed=3, offenders_share=.01): …`."""
    return Emulation(plants, days, seed, offenders_share, start=start, first_offence_day=first_offence_day, knobs=knobs)
