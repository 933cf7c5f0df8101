"""Accounts, metering points and meters of a block, and where they hang in the grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dianhuan_simulator._digits import LIMIT, QUANTA
from dianhuan_simulator._knobs import Knobs
from dianhuan_simulator._people import BLOCK, NEVER, People
from dianhuan_simulator._random import Bools, Floats, Ints, Purpose, stream
from dianhuan_simulator._stories import Stories

FEEDER_ENTITIES, AREA_ENTITIES = 300, 25
PV_NONE, PV_SURPLUS, PV_FULL, PV_UNREGISTERED = range(4)
_CT = np.array([2, 4, 6, 10, 15, 20, 30, 40, 60, 80, 100, 120, 160, 200])
_CT_PT = np.array([500, 1000, 1500, 2000, 3000, 4000, 6000, 8000, 10_000, 15_000, 20_000, 30_000, 40_000, 60_000])
_STEPS = np.array([3, 5, 8, 10, 15, 20, 30, 40, 50, 63, 80, 100, 125, 160, 200, 250, 315, 400, 500, 630, 800, 1000])
_STEPS = np.concatenate([_STEPS, [1250, 1600, 2000, 2500, 3150, 4000, 5000, 6300, 8000, 10_000, 16_000, 40_000]])


@dataclass
class Meters:
    """Arrays of shape (metering points,); day offsets count from the city's first day."""

    owner: Ints
    next_owner: Ints
    moved: Ints
    part: Floats
    account: Ints
    point: Ints
    opened: Ints
    closed: Ints
    multiplier: Ints
    swapped: Ints
    next_multiplier: Ints
    quantum: Ints
    voltage: Floats
    contract: Floats
    raised: Ints
    next_contract: Floats
    pv_kwp: Floats
    pv: Ints
    feeder: Ints
    area: Ints
    listed: Ints
    unlisted: Bools
    dead: Ints
    dead_zero: Bools
    mismatch: Bools
    no_code: Bools
    first_of: Ints
    """Shape (BLOCK,): first metering point of each entity, −1 for guests."""

    def multiplier_on(self, day: int) -> Ints:
        """CT × PT of each point on a day."""
        return np.where(self.swapped <= day, self.next_multiplier, self.multiplier)

    def owner_on(self, day: int) -> Ints:
        """The entity that each point feeds on a day."""
        return np.where(self.moved <= day, self.next_owner, self.owner)

    def alive(self, day: int) -> Bools:
        """Which points exist on a day."""
        return (self.opened <= day) & (self.closed > day)


def _rating(peak: Floats) -> tuple[Ints, Ints, Floats]:
    """Multiplier, number of the quantum, voltage in kV of a meter that carries `peak` kW."""
    low = _CT[np.clip(np.searchsorted(_CT * 3.3, peak * 1.15), 0, len(_CT) - 1)]
    high = _CT_PT[np.clip(np.searchsorted(_CT_PT * 0.86, peak * 1.15), 0, len(_CT_PT) - 1)]
    direct, middle = peak <= 30, peak <= 180
    multiplier = np.where(direct, 1, np.where(middle, low, high))
    quantum = np.where(direct & (peak > 4), 1, 0)
    voltage = np.where(peak <= 7, 0.22, np.where(middle, 0.38, np.where(peak <= 8000, 10.0, 35.0)))
    limit = LIMIT * np.array(QUANTA)[quantum] * multiplier
    assert bool((limit > peak * 1.1).all())
    return multiplier, quantum, voltage.astype(np.float32)


def meters(knobs: Knobs, seed: int, folk: People, told: Stories) -> Meters:
    """The metering points of a block in entity order; guests of others' accounts have none."""
    rng = stream(seed, Purpose.METERS, folk.number)
    p = knobs.population
    accounts = np.where(rng.random(BLOCK) < p.multi_account_share, rng.integers(2, 5, BLOCK), 1)
    has_pv = (rng.random(BLOCK) < _pv_chance(knobs, folk)) & ~folk.guest
    mode = rng.random(BLOCK)
    pv = np.where(mode < p.pv_unregistered_share, PV_UNREGISTERED, PV_SURPLUS)
    pv = np.where(mode > 1 - p.pv_full_feed_share, PV_FULL, pv) * has_pv
    moving = {host for host, _, _ in told.moves} | {host for host, _, _ in told.shares}
    accounts[list(moving)] = 1
    special = [s.entity for s in told.acts]
    accounts[special] = np.minimum(accounts[special], 2)
    pv[special] = 0
    second_point = (rng.random(BLOCK) < p.second_point_share).astype(np.int64)
    points = np.where(folk.guest, 0, accounts + second_point + (pv == PV_FULL))
    owner = np.repeat(np.arange(BLOCK), points)
    first = np.concatenate([[0], np.cumsum(points)[:-1]])
    rank = np.arange(len(owner)) - first[owner]
    n = len(owner)
    feeds_in = (pv[owner] == PV_FULL) & (rank == points[owner] - 1)
    consuming = np.maximum(points[owner] - (pv[owner] == PV_FULL), 1)
    part = np.where(rank == 0, np.where(consuming > 1, 0.7, 1.0), 0.3 / np.maximum(consuming - 1, 1))
    part[feeds_in] = 0
    same_account = (rank == 1) & (second_point[owner] == 1)
    account_rank = np.where(same_account, 0, rank - (second_point[owner] == 1) * (rank > 1))

    peak = _peaks(folk, told)[owner] * part
    kwp = np.where(pv > 0, np.clip(folk.kw * rng.uniform(0.6, 2.0, BLOCK), 3, 2000), 0)[owner]
    carries_pv = feeds_in | ((rank == 0) & (pv[owner] > 0) & (pv[owner] != PV_FULL))
    kwp = np.where(carries_pv, kwp, 0)
    multiplier, quantum, voltage = _rating(np.maximum(peak, kwp).astype(np.float32))
    ordinary = np.maximum(folk.kw[owner] * part, kwp * 0.8) / rng.uniform(0.45, 0.85, n)
    contract = _STEPS[np.clip(np.searchsorted(_STEPS, ordinary), 0, len(_STEPS) - 1)].astype(np.float32)
    swapped = np.where(rng.random(n) < knobs.twins.meter_swap, rng.integers(0, 91, n), NEVER)
    dead = np.where(rng.random(n) < knobs.twins.dead_meter, rng.integers(-20, 91, n), NEVER)
    busy = np.zeros(BLOCK, dtype=bool)
    busy[special] = True
    dead[busy[owner]] = NEVER
    feeder, area = _grid(folk, owner, rng)
    serial = folk.number * 40_000 + np.arange(n)
    out = Meters(
        owner=owner,
        next_owner=owner.copy(),
        moved=np.full(n, NEVER),
        part=part.astype(np.float32),
        account=4_310_000_000 + (folk.number * BLOCK + owner) * 8 + account_rank,
        point=431_000_000_000 + serial,
        opened=folk.opened[owner],
        closed=folk.closed[owner],
        multiplier=multiplier,
        swapped=swapped,
        next_multiplier=np.where((multiplier > 1) & (rng.random(n) < 0.5), multiplier * 2, multiplier),
        quantum=quantum,
        voltage=voltage,
        contract=contract,
        raised=np.full(n, NEVER),
        next_contract=contract.copy(),
        pv_kwp=kwp.astype(np.float32),
        pv=np.where(carries_pv, pv[owner], PV_NONE),
        feeder=feeder,
        area=area,
        listed=folk.opened[owner] + (rng.random(n) < knobs.dirty.late_archive_row),
        unlisted=(rng.random(n) < knobs.dirty.unlisted_account) & ~busy[owner],
        dead=dead,
        dead_zero=rng.random(n) < 0.4,
        mismatch=rng.random(n) < knobs.dirty.name_mismatch,
        no_code=(rng.random(n) < knobs.dirty.uscc_missing) & ~busy[owner],
        first_of=np.where(points > 0, first, -1),
    )
    _follow(out, told)
    return out


def _pv_chance(knobs: Knobs, folk: People) -> Floats:
    roofs = {"home", "farm", "livestock", "workshop", "two_shift", "logistics", "school", "retail"}
    chance = np.array([name in roofs for name in knobs.profiles], dtype=np.float32)[folk.profile]
    return np.asarray(chance * np.float32(knobs.population.pv_share / max(float(chance.mean()), 1e-6)))


def _peaks(folk: People, told: Stories) -> Floats:
    """Largest load that an entity's meters must carry, kW."""
    peak = folk.kw * np.maximum(folk.boost, 1) * (1 + 1.2 * folk.temp) * (1 + 3 * folk.noise)
    for story in told.acts:
        peak[story.entity] += 2 * story.values.get("kw", 0.0)
        if story.kind == "relocation":
            peak[story.entity] += 1.5 * folk.kw[int(story.values["source"])]
    for host, guest, _ in told.moves:
        peak[host] = max(peak[host], peak[guest])
    return np.asarray(peak, dtype=np.float32)


def _grid(folk: People, owner: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Feeder and transformer area of each point, numbered within the block, neighbours by district."""
    feeder, area = np.zeros(BLOCK, dtype=np.int64), np.zeros(BLOCK, dtype=np.int64)
    feeders = areas = 0
    for division in range(int(folk.division.max()) + 1):
        there = np.flatnonzero(folk.division == division)
        there = there[rng.permutation(len(there))]
        feeder[there] = feeders + np.arange(len(there)) // FEEDER_ENTITIES
        area[there] = areas + np.arange(len(there)) // AREA_ENTITIES
        feeders, areas = feeders + -(-len(there) // FEEDER_ENTITIES), areas + -(-len(there) // AREA_ENTITIES)
    return feeder[owner], area[owner]


def _follow(out: Meters, told: Stories) -> None:
    for host, guest, day in told.moves:
        rows = out.owner == host
        out.next_owner[rows], out.moved[rows], out.closed[rows] = guest, day, NEVER
    for entity, day, factor in told.raised:
        rows = out.owner == entity
        wanted = out.contract[rows] * factor
        out.raised[rows] = day
        out.next_contract[rows] = _STEPS[np.clip(np.searchsorted(_STEPS, wanted), 0, len(_STEPS) - 1)]
