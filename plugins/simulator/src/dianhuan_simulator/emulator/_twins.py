"""Benign twins: what looks like an offence and is none."""

from __future__ import annotations

import numpy as np

from dianhuan_simulator._random import Purpose, stream
from dianhuan_simulator.emulator._knobs import PlantsKnobs
from dianhuan_simulator.emulator._plants import PLANT_BLOCK, SHIFTS, TREATMENT, Site
from dianhuan_simulator.emulator._shifts import DAY, Timetable
from dianhuan_simulator.emulator._stories import Effect, Report, Story


class Twins:
    """Plans the benign stories of a site; the same whoever offends, but for those that would overlap an offence."""

    def __init__(self, knobs: PlantsKnobs, seed: int, at: Site, plan: Timetable, days: int) -> None:
        self.k, self.knobs, self.at, self.plan, self.days = knobs.twins, knobs, at, plan, days
        self.seed = seed

    def stories(self) -> list[Story]:
        """All of the run by plant: habits first, then events."""
        found: list[Story] = []
        for plant in range(PLANT_BLOCK):
            self.rng = stream(self.seed, Purpose.PLANT_STORY, self.at.number, 10_000 + plant)
            self.plant = plant
            self.groups = np.flatnonzero(self.at.group_plant == plant)
            found += self._habits()
            for make, rate in (
                (self._maintenance, self.k.maintenance),
                (self._trip, self.k.trip),
                (self._low_load, self.k.low_load),
                (self._dead_ct, self.k.dead_ct),
                (self._comm_loss, self.k.comm_loss),
                (self._meter_swap, self.k.meter_swap),
                (self._ct_ratio, self.k.ct_ratio_change),
                (self._vfd_change, self.k.vfd_change),
                (self._outage, self.k.outage),
                (self._alone, self.k.treatment_alone),
            ):
                for _ in range(int(self.rng.poisson(rate * self.days / 30))):
                    story = make()
                    if story is not None:
                        found.append(story)
            found += self._stoppages() + self._orders()
        return found

    # -- habits: one row for the whole run -----------------------------------------------------------------------

    def _habits(self) -> list[Story]:
        at, whole, found = self.at, (0, self.days * DAY), []

        def habit(kind: str, group: int = -1, line: int = -1, note: str = "") -> None:
            found.append(Story(self.plant, kind, "", *whole, group, line, note=note))

        for group in self.groups.tolist():
            if at.group_wash[group]:
                habit("backwash", group)
            if at.group_batch[group]:
                habit("batch_treatment", group)
            if at.group_lunch[group] and SHIFTS[at.shift[self.plant]] in ("single", "two"):
                habit("lunch_stop", group)
            units = np.flatnonzero(at.unit_group == group)
            if at.unit_paired[units].any():
                habit("duty_standby", group)
            if at.unit_flat[units].any():
                habit("constant_coarse", group)
            if at.group_after[group] > 20:
                habit("after_run", group, note=f"{at.group_after[group]} min")
        for line in np.flatnonzero(at.line_plant == self.plant).tolist():
            if at.line_warm[line]:
                habit("warm_up", int(at.line_group[line]), line, f"{at.line_warm[line]} min")
            if at.line_combined[line]:
                habit("combined_circuit", int(at.line_group[line]), line)
        if at.drift[self.plant]:
            habit("clock_drift", note=f"{at.drift[self.plant]} min")
        return found

    # -- where ---------------------------------------------------------------------------------------------------

    def _minutes(self, pair: tuple[float, float]) -> int:
        return round(float(self.rng.uniform(*pair)))

    def _running(self, minutes: int) -> tuple[int, int, int, int] | None:
        """(group, line, start, end) within one day's production of a line; None where that day has none."""
        group = int(self.rng.choice(self.groups))
        mine = np.flatnonzero(self.at.line_group == group)
        line = int(mine[np.argmax(np.where(self.at.line_combined[mine], -1, self.at.line_kw[mine]))])
        day = int(self.rng.integers(0, self.days))
        begin, end = (int(x) for x in self.plan.window[line, day + 1])
        begin, end = max(begin + 30, 0), min(end - 10, self.days * DAY)
        length = min(minutes, end - begin)
        if length < 20:
            return None
        start = begin + int(self.rng.integers(0, end - begin - length + 1))
        return group, line, start, start + length

    def _any_time(self, minutes: int) -> tuple[int, int]:
        start = int(self.rng.integers(0, self.days * DAY))
        return start, min(start + minutes, self.days * DAY)

    def _unit_row(self) -> tuple[int, int]:
        units = np.flatnonzero((self.at.unit_plant == self.plant) & ~self.at.unit_backup)
        unit = int(self.rng.choice(units))
        return int(self.at.unit_group[unit]), self.at.row_of(TREATMENT, unit)

    # -- events --------------------------------------------------------------------------------------------------

    def _maintenance(self) -> Story | None:
        room = self._running(self._minutes(self.k.maintenance_minutes))
        draw, delay, part = self.rng.random(3)
        if room is None:
            return None
        group, line, start, end = room
        kind, report = "maintenance_unfiled", None
        if draw < self.k.maintenance_filed:
            kind = "maintenance_filed"
            filed = start - 30 - int(delay * 2880)
            report = Report(self.plant, "maintenance", start - 15, end + 30, filed)
        elif draw < self.k.maintenance_filed + self.k.maintenance_late:
            kind = "maintenance_filed_late"
            report = Report(self.plant, "maintenance", start, end + 30, start + 20 + int(delay * 340))
        lines = np.flatnonzero(self.at.line_group == group)
        effects = [Effect("treatment_off", group, start, end)]
        effects += [Effect("line_scale", int(i), start, end, 0.55 + 0.25 * part) for i in lines]
        return Story(self.plant, kind, "", start, end, group, line, tuple(effects), report)

    def _trip(self) -> Story | None:
        room = self._running(self._minutes(self.k.trip_minutes))
        if room is None:
            return None
        group, line, start, end = room
        return Story(self.plant, "trip", "", start, end, group, line, (Effect("treatment_off", group, start, end),))

    def _low_load(self) -> Story | None:
        room = self._running(self._minutes(self.k.low_load_minutes))
        factor = float(self.rng.uniform(0.25, 0.45))
        if room is None:
            return None
        group, line, start, end = room
        effects = (Effect("line_scale", line, start, end, factor),)
        return Story(self.plant, "low_load", "", start, end, group, line, effects, note=f"at {factor:.0%}")

    def _dead_ct(self) -> Story:
        group, row = self._unit_row()
        start, end = self._any_time(60 * self._minutes(self.k.dead_ct_hours))
        return Story(self.plant, "dead_ct", "", start, end, group, effects=(Effect("zero", row, start, end),))

    def _comm_loss(self) -> Story:
        low, high = np.log(self.k.comm_loss_minutes)
        start, end = self._any_time(int(np.exp(self.rng.uniform(low, high))))
        back = self.rng.random() < self.k.backfilled
        arrives = end + 1 + int(self.rng.integers(0, 30))
        effect = Effect("lost", self.plant, start, end, float(back), arrives=arrives)
        return Story(self.plant, "comm_loss_backfilled" if back else "comm_loss", "", start, end, effects=(effect,))

    def _meter_swap(self) -> Story:
        group, row = self._unit_row()
        start, end = self._any_time(self._minutes(self.k.meter_swap_minutes))
        factor = float(self.rng.uniform(0.985, 1.015))
        effects = (Effect("missing", row, start, end), Effect("scale", row, end, self.days * DAY, factor))
        report = Report(self.plant, "meter", start, end, start - 60, "meter swapped")
        return Story(self.plant, "meter_swap", "", start, end, group, effects=effects, report=report)

    def _ct_ratio(self) -> Story:
        group, row = self._unit_row()
        start, end = self._any_time(60 * self._minutes(self.k.ct_ratio_hours))
        factor = float(self.rng.choice([0.5, 0.67, 1.5, 2.0]))
        report = Report(self.plant, "meter", start, end, start - 30, "CT ratio changed")
        effects = (Effect("scale", row, start, end, factor),)
        return Story(self.plant, "ct_ratio_change", "", start, end, group, effects=effects, report=report)

    def _vfd_change(self) -> Story:
        group, _ = self._unit_row()
        start = int(self.rng.integers(0, self.days * DAY))
        factor = float(self.rng.uniform(0.65, 0.85))
        end = self.days * DAY
        report = None
        if self.rng.random() < self.k.vfd_change_reported:
            report = Report(self.plant, "other", start, start + DAY, start - 120, "new motor or frequency converter")
        effects = (Effect("unit_scale", group, start, end, factor),)
        return Story(self.plant, "vfd_change", "", start, end, group, effects=effects, report=report)

    def _outage(self) -> Story:
        start, end = self._any_time(self._minutes(self.k.outage_minutes))
        zero = float(self.rng.random() < self.k.outage_reads_zero)
        return Story(self.plant, "outage", "", start, end, effects=(Effect("dark", self.plant, start, end, zero),))

    def _alone(self) -> Story:
        group = int(self.rng.choice(self.groups))
        start, end = self._any_time(int(self.rng.integers(30, 240)))
        effects = (Effect("treatment_on", group, start, end),)
        return Story(self.plant, "treatment_alone", "", start, end, group, effects=effects)

    # -- stoppages and orders --------------------------------------------------------------------------------------

    def _stoppages(self) -> list[Story]:
        found = []
        for day in np.flatnonzero(self.plan.off[self.plant, 1:-1]).tolist():
            start, end = day * DAY, (day + 1) * DAY
            report = None
            if self.rng.random() < self.k.stoppage_report:
                report = Report(self.plant, "stoppage", start, end, start - 600)
            found.append(Story(self.plant, "stoppage", "", start, end, report=report))
        return found

    def _orders(self) -> list[Story]:
        found = []
        hot = list(self.knobs.industries)[self.at.industry[self.plant]] in ("furnace", "foundry", "brick")
        for order in self.plan.orders:
            if order.plant != self.plant or order.kind == "night_ban":
                continue
            holds = order.kind == "stop" and hot and self.rng.random() < self.knobs.orders.holding_heat
            kind = "holding_heat" if holds else f"order_{order.kind}_obeyed"
            lines = np.flatnonzero(holds & (self.at.line_plant == self.plant))
            level = float(self.rng.uniform(0.10, 0.20))
            effects = tuple(Effect("hold_heat", int(i), order.start, order.end, level) for i in lines)
            found.append(Story(self.plant, kind, "", order.start, order.end, effects=effects))
        return found
