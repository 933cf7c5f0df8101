"""A block of the city and its load on a day: what flows, and what the meters report."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from dianhuan_simulator._acts import Stage
from dianhuan_simulator._calendar import CityDay
from dianhuan_simulator._curtailment import activity
from dianhuan_simulator._digits import LIMIT, MISSING, QUANTA, Bytes, Counts, cell_index
from dianhuan_simulator._faults import faults
from dianhuan_simulator._knobs import Knobs
from dianhuan_simulator._meters import PV_UNREGISTERED, meters
from dianhuan_simulator._pauses import Pauses
from dianhuan_simulator._people import people
from dianhuan_simulator._random import Bools, Floats, Ints, Purpose, stream
from dianhuan_simulator._shapes import VARIANTS
from dianhuan_simulator._stories import stories


@dataclass(frozen=True)
class Surroundings:
    """What a whole day shares: the calendar, the tariff's shapes, weather and sun by district."""

    day: CityDay
    offset: int
    library: Floats
    weather: Floats
    sun: Floats


@dataclass(frozen=True)
class FeederOutage:
    """An outage of one feeder within one day, minutes of the day."""

    feeder: int
    planned: bool
    start: int
    end: int
    reads_zero: bool


@dataclass(frozen=True)
class Delivery:
    """A day as the meters report it.

    `cells` is final, shape (n, 96), in the form of `_digits`; `first_rows` were first sent as `first_cells`; rows
    with a `lag` above zero come (again) in the correction file that many days later; `absent` rows only there.
    """

    rows: Ints
    cells: Counts
    first_rows: Ints
    first_cells: Counts
    lag: Ints
    absent: Bools
    repeated: Ints


class Block:
    """BLOCK entities; see `people`."""

    def __init__(self, knobs: Knobs, seed: int, number: int, start: date) -> None:
        self.knobs, self.seed, self.number, self.start = knobs, seed, number, start
        self.folk = people(knobs, seed, number)
        self.told = stories(knobs, seed, self.folk)
        self.points = meters(knobs, seed, self.folk, self.told)
        self.faults = faults(knobs, seed, number, self.points, {s.entity for s in self.told.acts})
        self.pauses = Pauses(self.told.acts)
        self._stage = Stage(seed, self.folk, self.points, self.told.acts, self.pauses)
        p = self.points
        head = _columns(p.account.astype("S10"), p.point.astype("S12"))
        self._prefixes = [
            np.hstack([head, _columns((43_000_000_000_000 + p.point % 10**10 * 10 + i).astype("S14"))]) for i in (0, 1)
        ]
        self._multipliers = [m.astype("S6") for m in (p.multiplier, p.next_multiplier)]

    # -- what flows -------------------------------------------------------------------------------------------

    def _spring(self, day: CityDay) -> Floats:
        f, offset = self.folk, day.spring_offset
        into = np.minimum((offset + f.spring_before + 4) / 4, (f.spring_after + 6 - offset) / 6)
        return np.asarray(1 - f.spring_depth * np.clip(into, 0, 1), dtype=np.float32)

    def _activity(self, around: Surroundings, spring: Floats) -> tuple[Floats, Floats, Floats]:
        """Activity, base-load factor and size factor of each entity, shape (BLOCK,)."""
        f, ordinal = self.folk, around.day.day.toordinal()
        kind = around.day.kind
        ones = np.ones(len(f.kw), dtype=np.float32)
        works = {"workday": ones, "saturday": f.saturday, "sunday": f.sunday, "holiday": f.holiday}[kind]
        level = stream(self.seed, Purpose.LEVEL, self.number, ordinal).standard_normal(len(ones), dtype=np.float32)
        week, into = divmod(ordinal, 7)
        slow = [
            stream(self.seed, Purpose.WEEK, self.number, w).standard_normal(len(ones), dtype=np.float32)
            for w in (week, week + 1)
        ]
        drift = (slow[0] * (7 - into) + slow[1] * into) / 7
        active = works * spring * np.exp(f.daily * (0.8 * level + 0.6 * drift))
        active = active * activity(self.told.curtailed, around.offset, len(ones))
        phase = (f.phase_from <= around.offset) & (around.offset < f.phase_to)
        quiet = self.pauses.on(around.offset)
        phase[quiet.lifted] = False
        active = np.where(phase, active * f.phase_active, active)
        active[quiet.stopped] *= 0.06
        base = np.where(phase, f.phase_base, ones)
        boosted = (f.boost_from <= around.offset) & (around.offset < f.boost_to)
        boosted[quiet.lifted] = False
        ramp = np.clip((around.offset - f.boost_from + 1) / 3, 0, 1)
        size = np.where(boosted, 1 + (f.boost - 1) * ramp, 1)
        return active.astype(np.float32), base.astype(np.float32), size.astype(np.float32)

    def load(self, around: Surroundings) -> Floats:
        """Power at each metering point, shape (points, 96), kW; below zero where PV feeds back."""
        f, p = self.folk, self.points
        owner = p.owner_on(around.offset)
        spring = self._spring(around.day)
        active, base, size = self._activity(around, spring)
        kw = (f.kw * size)[owner] * p.part
        floor = kw * (f.base * base)[owner]
        top = kw * (active * (1 - f.base))[owner]
        rng = stream(self.seed, Purpose.LOAD, self.number, around.day.day.toordinal())
        row = f.shape_row[owner] + rng.integers(0, VARIANTS, len(f.kw))[owner]
        out: Floats = around.library.take(row, axis=0)
        out *= top[:, None]
        out += floor[:, None]
        factor: Floats = rng.standard_normal((len(out), 96), dtype=np.float32)
        factor[:, 1:] += factor[:, :-1] * np.float32(0.75)
        factor *= 0.8 * f.noise[owner][:, None]
        factor += 1
        np.maximum(factor, np.float32(0.1), out=factor)
        out *= factor
        np.take(around.weather, f.division[owner], axis=0, out=factor, mode="clip")
        factor *= f.temp[owner][:, None]
        factor += 1
        out *= factor
        self._stage.play(out, around.library, around.day, around.offset, spring)
        pv = np.flatnonzero(p.pv_kwp > 0)
        out[pv] -= p.pv_kwp[pv][:, None] * around.sun[f.division[p.owner[pv]]]
        hidden = np.flatnonzero(p.pv == PV_UNREGISTERED)
        out[hidden] = np.maximum(out[hidden], 0)
        return out

    # -- what the meters report -------------------------------------------------------------------------------

    def outages(self, day: date) -> list[FeederOutage]:
        """Outages of the block's feeders that begin on a day (all end within it)."""
        k = self.knobs.outages
        feeders = int(self.points.feeder.max()) + 1
        rng = stream(self.seed, Purpose.OUTAGE, self.number, day.toordinal())
        chance, start, length, zero = rng.random((4, feeders))
        out = []
        for feeder in np.flatnonzero(chance < k.planned + k.fault).tolist():
            planned = bool(chance[feeder] < k.planned)
            begin = int(7 * 60 + start[feeder] * 180 if planned else start[feeder] * 22 * 60)
            minutes = int(240 + length[feeder] * 300 if planned else 30 + length[feeder] ** 2 * 210)
            end = min(begin + minutes, 24 * 60 - 1)
            out.append(FeederOutage(feeder, planned, begin, end, bool(zero[feeder] < k.reads_zero)))
        return out

    def report(self, around: Surroundings) -> Delivery:
        """What the meters report of that day."""
        p, day = self.points, around.day.day
        kw = self.load(around)
        self.faults.apply(kw, around.offset)
        for outage in self.outages(day):
            rows = np.flatnonzero(p.feeder == outage.feeder)
            slots = np.arange(96) * 15
            dark = np.clip(np.minimum(slots + 15, outage.end) - np.maximum(slots, outage.start), 0, 15) / 15
            kw[rows] = kw[rows] * (1 - dark) if outage.reads_zero else np.where(dark > 0, np.nan, kw[rows])
        dead = p.dead <= around.offset
        kw[dead & p.dead_zero] = 0
        kw[dead & ~p.dead_zero] = np.nan
        rng = stream(self.seed, Purpose.TELEMETRY, self.number, day.toordinal())
        k, n = self.knobs.telemetry, len(kw)
        kw.reshape(-1)[rng.integers(0, kw.size, rng.binomial(kw.size, k.lost_point))] = np.nan
        lag, first_rows, first_kw, absent = self._sent_first(kw, rng)
        alive = p.alive(around.offset) & ~np.isnan(kw).all(axis=1)
        rows = np.flatnonzero(alive)
        place = np.cumsum(alive) - 1
        kept = alive[first_rows]
        repeated = np.flatnonzero(rng.random(n)[rows] < k.repeated_row)
        return Delivery(
            rows=rows,
            cells=self._cells(kw[rows] if len(rows) < n else kw, rows, around.offset),
            first_rows=place[first_rows[kept]],
            first_cells=self._cells(first_kw[kept], first_rows[kept], around.offset),
            lag=lag[rows],
            absent=absent[rows],
            repeated=repeated,
        )

    def _sent_first(self, kw: Floats, rng: np.random.Generator) -> tuple[Ints, Ints, Floats, Bools]:
        """Lag of each row's correction, the rows first sent otherwise and how, the rows first not sent at all."""
        k, n = self.knobs.telemetry, len(kw)
        chance, late = rng.random(n), rng.integers(1, 5, n)
        absent = chance < k.late_row
        rolled = (chance > 1 - k.wrong_row - k.rollover) & (chance <= 1 - k.wrong_row) & ~np.isnan(kw).all(axis=1)
        wrong = (chance > 1 - k.wrong_row) & ~np.isnan(kw).all(axis=1)
        lag = np.where(absent, late, np.where(wrong | rolled, 1, 0))
        areas = int(self.points.area.max()) + 1
        hit, refilled, begins, lasts = rng.random((4, areas))
        changed = {int(r): kw[r].copy() for r in np.flatnonzero(wrong)}
        for row, curve in changed.items():
            if row % 2:
                curve *= 2
            else:
                curve[int(late[row]) * 17] = curve[int(late[row]) * 17] * 8 + 1
        for row in np.flatnonzero(rolled).tolist():
            changed[row] = kw[row].copy()
            changed[row][int(late[row]) * 19] = -LIMIT  # the meter's smallest cell
        for area in np.flatnonzero(hit < k.burst).tolist():
            first = int(begins[area] * 92)
            last = min(first + 4 + int(lasts[area] * 44), 96)
            for row in np.flatnonzero(self.points.area == area).tolist():
                if refilled[area] < k.burst_refilled:
                    changed.setdefault(row, kw[row].copy())[first:last] = np.nan
                    lag[row] = max(int(lag[row]), 1 + area % 3)
                else:
                    kw[row, first:last] = np.nan
                    if row in changed:
                        changed[row][first:last] = np.nan
        rows = np.array(sorted(changed), dtype=np.int64)
        first_kw = np.stack([changed[int(r)] for r in rows]) if len(rows) else np.empty((0, 96), dtype=np.float32)
        return lag, rows, first_kw, absent

    def unit(self, rows: Ints, offset: int) -> Floats:
        """Primary-side kW of one count of these rows."""
        quantum = np.array(QUANTA)[self.points.quantum[rows]]
        return np.asarray(quantum * self.points.multiplier_on(offset)[rows], dtype=np.float32)

    def _cells(self, kw: Floats, rows: Ints, offset: int) -> Counts:
        counts = kw * (np.float32(1) / self.unit(rows, offset))[:, None]
        gaps = np.isnan(counts)
        np.rint(counts, out=counts)
        np.clip(counts, -LIMIT, LIMIT, out=counts)
        with np.errstate(invalid="ignore"):
            cells = cell_index(counts.astype(np.int32), self.points.quantum[rows])
        cells[gaps] = MISSING
        return cells

    def kilowatts(self, cells: Counts, rows: Ints, offset: int) -> Floats:
        """Cells back to primary-side kW, NaN = missing."""
        origin = cell_index(np.zeros((len(rows), 1), dtype=np.int32), self.points.quantum[rows])
        kw = (cells - origin).astype(np.float32) * self.unit(rows, offset)[:, None]
        kw[cells == MISSING] = np.nan
        return np.asarray(kw, dtype=np.float32)

    def prefixes(self, rows: Ints, offset: int) -> Bytes:
        """The columns before P1 of a Hunan curve row, shape (len(rows), 64)."""
        swapped = self.points.swapped[rows] <= offset
        head = np.where(swapped[:, None], self._prefixes[1][rows], self._prefixes[0][rows])
        multiplier = np.where(swapped, self._multipliers[1][rows], self._multipliers[0][rows])
        day = np.full(len(rows), (self.start + timedelta(days=offset)).isoformat().encode(), dtype="S10")
        text = np.hstack([head, _columns(day, multiplier)])
        out = np.zeros((len(rows), 64), dtype=np.uint8)
        out[:, : text.shape[1]] = text
        out[:, text.shape[1]] = ord("1")
        return out


def _columns(*texts: np.ndarray) -> Bytes:
    """Byte columns side by side, each followed by a comma."""
    parts: list[Bytes] = []
    for text in texts:
        width = text.dtype.itemsize
        parts.append(np.ascontiguousarray(text).view(np.uint8).reshape(len(text), width))
        parts.append(np.full((len(text), 1), ord(","), dtype=np.uint8))
    return np.hstack(parts)
