"""Plants and what they consist of: lines, treatment, circuits, and which line belongs to which treatment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dianhuan_simulator._identity import credit_codes
from dianhuan_simulator._random import Bools, Floats, Ints, Purpose, stream
from dianhuan_simulator.emulator._knobs import Industry, PlantsKnobs

PLANT_BLOCK = 128
"""Plants are made in blocks of this many, each from streams of its own."""

ROLES = ("plant_total", "production", "treatment", "combined", "indirect")
"""Roles of circuits: 企业总电, 产污, 治污, 产治一体, 间接 (codes of the standard table `channel`)."""

TOTAL, PRODUCTION, TREATMENT, COMBINED, INDIRECT = range(5)
SHIFTS = ("single", "two", "three", "valley", "continuous")

Names = np.ndarray[Any, np.dtype[np.str_]]


@dataclass(frozen=True)
class Site:
    """A block of plants. Groups, lines and units stand in plant order; so do circuits: total, lines, units, indirect.

    Args:
        number: number of the block.
        plant_id: shape (plants,), 统一社会信用代码.
        industry: shape (plants,), index into the knobs' industries.
        night_ban: shape (plants,), a standing ban of 22:00–06:00.
        unmetered, loss: shape (plants,), kW and share of what only the plant total sees.
        drift: shape (plants,), minutes that the clock of the treatment's logger is ahead; 0 = right.
        group_plant: shape (groups,).
        line_*: shape (lines,); `cycle` 0 = none, `warm` minutes of heating up.
        unit_*: shape (units,); `backup` is the second of a duty and standby pair.
        group_lunch, group_wash, group_batch: habits, shape (groups,); `group_batch` is the interval between pauses,
            0 = none.
        group_factor, group_raw, group_removal: is a concentration measured behind the treatment, what it is
            untreated at full load, and the share that treatment takes away.
        circuit_*: shape (circuits,); `place` is the index among lines or units, or of the plant.
    """

    number: int
    plant_id: Names
    industry: Ints
    shift: Ints
    night_ban: Bools
    unmetered: Floats
    loss: Floats
    drift: Ints
    group_plant: Ints
    group_lunch: Bools
    group_wash: Bools
    group_batch: Ints
    group_lead: Ints
    group_after: Ints
    group_factor: Bools
    group_raw: Floats
    group_removal: Floats
    line_plant: Ints
    line_group: Ints
    line_kw: Floats
    line_idle: Floats
    line_combined: Bools
    line_cycle: Ints
    line_warm: Ints
    line_ratio: Floats
    unit_plant: Ints
    unit_group: Ints
    unit_kw: Floats
    unit_floor: Floats
    unit_standby: Floats
    unit_paired: Bools
    unit_backup: Bools
    unit_flat: Bools
    circuit_plant: Ints
    circuit_role: Ints
    circuit_place: Ints
    circuit_kw: Floats
    circuit_pf: Floats
    circuit_quantum: Floats
    circuit_energy: np.ndarray[Any, np.dtype[np.float64]]

    def circuits_of(self, plant: int) -> Ints:
        """Rows of a plant's circuits."""
        return np.flatnonzero(self.circuit_plant == plant)

    def row_of(self, role: int, place: int) -> int:
        """Row of the circuit of a line (production, combined), a unit, or a plant's total or indirect circuit."""
        return int(np.flatnonzero((self.circuit_role == role) & (self.circuit_place == place))[0])


def _pick(rng: np.random.Generator, shares: list[float]) -> int:
    edges = np.cumsum(shares)
    return int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))


def _within(rng: np.random.Generator, pair: tuple[float, float]) -> float:
    return float(rng.uniform(*pair))


def site(knobs: PlantsKnobs, seed: int, number: int) -> Site:
    """Block `number` of the plants."""
    rng = stream(seed, Purpose.PLANT, number)
    kinds = list(knobs.industries.values())
    p, r, t = knobs.plant, knobs.run, knobs.twins
    plant: dict[str, list[Any]] = {k: [] for k in ("industry", "shift", "ban", "unmetered", "loss", "drift")}
    group: dict[str, list[Any]] = {
        k: [] for k in ("plant", "lunch", "wash", "batch", "lead", "after", "factor", "raw", "removal")
    }
    line: dict[str, list[Any]] = {k: [] for k in ("plant", "group", "kw", "idle", "combined", "cycle", "warm", "ratio")}
    unit: dict[str, list[Any]] = {
        k: [] for k in ("plant", "group", "kw", "floor", "standby", "paired", "backup", "flat")
    }
    circuit: dict[str, list[Any]] = {k: [] for k in ("plant", "role", "place", "kw", "pf", "quantum", "energy")}

    def put(table: dict[str, list[Any]], *values: Any) -> int:
        for column, value in zip(table.values(), values, strict=True):
            column.append(value)
        return len(table["plant"]) - 1

    def wire(owner: int, role: int, place: int, kw: float, coarse: bool) -> None:
        quantum = p.quantum.coarse if coarse else p.quantum.fine
        put(circuit, owner, role, place, kw, _within(rng, p.power_factor), quantum, _within(rng, r.energy_start_kwh))

    for owner in range(PLANT_BLOCK):
        which = _pick(rng, [k.share for k in kinds])
        kind: Industry = kinds[which]
        shift = SHIFTS.index(list(kind.shifts)[_pick(rng, list(kind.shifts.values()))])
        lines = 1 + _pick(rng, list(kind.lines))
        groups = 2 if lines > 1 and rng.random() < p.second_group else 1
        first_group, first_line = len(group["plant"]), len(line["plant"])
        lead = round(_within(rng, r.lead))
        for _ in range(groups):
            batch = round(_within(rng, t.batch_every)) if rng.random() < kind.batch_treatment else 0
            after = round(_within(rng, r.after_run))
            lunch, wash, factor = rng.random(3) < (t.lunch_off, t.backwash, p.factor)
            raw, removal = _within(rng, knobs.factors.raw), _within(rng, knobs.factors.removal)
            put(group, owner, lunch, wash, batch, lead, after, factor, raw, removal)
        warms = rng.random() < kind.warm_up
        for i in range(lines):
            kw = kind.kw[0] * float(np.exp(kind.kw[1] * rng.standard_normal()))
            combined = i > groups - 1 and rng.random() < kind.combined
            cycle = round(_within(rng, kind.cycle)) if kind.cycle is not None else 0
            warm = round(_within(rng, r.warm_up)) if warms else 0
            idle, ratio = _within(rng, r.idle), _within(rng, kind.ratio)
            put(line, owner, first_group + i % groups, kw, idle, combined, cycle, warm, ratio)
        coarse = sum(line["kw"][first_line:]) > 200
        for i in range(first_line, len(line["plant"])):
            role = COMBINED if line["combined"][i] else PRODUCTION
            wire(owner, role, i, line["kw"][i] * (1 + line["ratio"][i] * line["combined"][i]), coarse)
        for g in range(first_group, len(group["plant"])):
            mine = [i for i in range(first_line, len(line["plant"])) if line["group"][i] == g]
            full = sum(line["kw"][i] * line["ratio"][i] for i in mine if not line["combined"][i])
            pair = rng.random() < p.duty_standby
            vfd = rng.random() < kind.vfd
            flat = not vfd and rng.random() < p.constant_coarse
            for backup in (False, True) if pair else (False,):
                floor = _within(rng, r.vfd_floor) if vfd else 0.93
                row = put(unit, owner, g, full, floor, _within(rng, r.standby), pair, backup, flat)
                wire(owner, TREATMENT, row, full, coarse or flat)
        rated = sum(line["kw"][first_line:])
        if rng.random() < p.indirect:
            wire(owner, INDIRECT, owner, rated * _within(rng, p.indirect_share), coarse)
        wire(owner, TOTAL, owner, 1.4 * rated, coarse)
        drift = round(_within(rng, t.clock_drift_minutes)) * (1 if rng.random() < 0.5 else -1)
        plant["industry"].append(which)
        plant["shift"].append(shift)
        plant["ban"].append(SHIFTS[shift] in ("single", "two") and rng.random() < 4 * knobs.orders.night_ban)
        plant["unmetered"].append(rated * _within(rng, p.unmetered))
        plant["loss"].append(_within(rng, p.loss))
        plant["drift"].append(drift if rng.random() < t.clock_drift else 0)

    order = np.lexsort((np.array(circuit["place"]), np.array(circuit["role"]), np.array(circuit["plant"])))
    wired = {k: np.array(v)[order] for k, v in circuit.items()}
    serial = number * PLANT_BLOCK + np.arange(PLANT_BLOCK) + 7_000_000
    codes = credit_codes(np.full(PLANT_BLOCK, 91), np.full(PLANT_BLOCK, 430200), serial.astype(np.int64))

    def f32(values: list[Any]) -> Floats:
        return np.array(values, dtype=np.float32)

    def i64(values: list[Any]) -> Ints:
        return np.array(values, dtype=np.int64)

    def flags(values: list[Any]) -> Bools:
        return np.array(values, dtype=np.bool_)

    return Site(
        number=number,
        plant_id=codes.astype(str),
        industry=i64(plant["industry"]),
        shift=i64(plant["shift"]),
        night_ban=flags(plant["ban"]),
        unmetered=f32(plant["unmetered"]),
        loss=f32(plant["loss"]),
        drift=i64(plant["drift"]),
        group_plant=i64(group["plant"]),
        group_lunch=flags(group["lunch"]),
        group_wash=flags(group["wash"]),
        group_batch=i64(group["batch"]),
        group_lead=i64(group["lead"]),
        group_after=i64(group["after"]),
        group_factor=flags(group["factor"]),
        group_raw=f32(group["raw"]),
        group_removal=f32(group["removal"]),
        line_plant=i64(line["plant"]),
        line_group=i64(line["group"]),
        line_kw=f32(line["kw"]),
        line_idle=f32(line["idle"]),
        line_combined=flags(line["combined"]),
        line_cycle=i64(line["cycle"]),
        line_warm=i64(line["warm"]),
        line_ratio=f32(line["ratio"]),
        unit_plant=i64(unit["plant"]),
        unit_group=i64(unit["group"]),
        unit_kw=f32(unit["kw"]),
        unit_floor=f32(unit["floor"]),
        unit_standby=f32(unit["standby"]),
        unit_paired=flags(unit["paired"]),
        unit_backup=flags(unit["backup"]),
        unit_flat=flags(unit["flat"]),
        circuit_plant=wired["plant"].astype(np.int64),
        circuit_role=wired["role"].astype(np.int64),
        circuit_place=wired["place"].astype(np.int64),
        circuit_kw=wired["kw"].astype(np.float32),
        circuit_pf=wired["pf"].astype(np.float32),
        circuit_quantum=wired["quantum"].astype(np.float32),
        circuit_energy=np.array([round(e, 2) for e in wired["energy"].tolist()]),
    )
