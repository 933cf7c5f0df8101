"""What happens to the entities of a block: violations, their benign twins, moves, closures, reports.

Everything is placed in days from the city's first day and independent of how many days a run makes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from dianhuan_simulator._curtailment import Curtailed, curtailments
from dianhuan_simulator._knobs import Knobs
from dianhuan_simulator._people import BLOCK, NEVER, People
from dianhuan_simulator._random import Ints, Purpose, stream
from dianhuan_simulator._shapes import PERSONS

ALWAYS = -400
"""Start of what began long before the first day."""


@dataclass(frozen=True)
class Story:
    """One line of truth, with the parameters by which `_acts` plays it."""

    entity: int
    kind: str
    model: str
    start: int
    end: int
    violation: bool
    note: str = ""
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """A filed report: kind, first and last day."""

    entity: int
    kind: str
    start: int
    end: int
    note: str = ""


@dataclass(frozen=True)
class Acceptance:
    """An acceptance row in day offsets; `accepted` or `trial_until` is NEVER where there is none."""

    entity: int
    approved: int
    accepted: int
    trial_until: int = NEVER


@dataclass
class Stories:
    """All events of a block that are more than a profile."""

    acts: list[Story] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    acceptances: list[Acceptance] = field(default_factory=list)
    closures: list[tuple[int, int]] = field(default_factory=list)
    moves: list[tuple[int, int, int]] = field(default_factory=list)
    shares: list[tuple[int, int, int]] = field(default_factory=list)
    curtailed: list[Curtailed] = field(default_factory=list)
    raised: list[tuple[int, int, float]] = field(default_factory=list)
    """Contract capacity × factor from a day on."""


class Teller:
    """Takes entities out of pools and writes their stories."""

    def __init__(self, knobs: Knobs, seed: int, folk: People) -> None:
        self.knobs, self.twins, self.folk = knobs, knobs.twins, folk
        self.rng = stream(seed, Purpose.STORY, folk.number)
        self.out = Stories()
        self.free = np.ones(BLOCK, dtype=bool)
        names = list(knobs.profiles)
        self.numbers = {name: number for number, name in enumerate(names)}
        self.polluting = np.array([p.polluting for p in knobs.profiles.values()])
        mix = knobs.violations.mix.model_dump()
        scale = knobs.violations.base_rate * BLOCK / (sum(mix.values()) or 1.0)
        self.expected: dict[str, float] = {kind: part * scale for kind, part in mix.items()}

    def pool(self, *profiles: str) -> Ints:
        """Free entities of these profiles, in order."""
        return np.flatnonzero(self.free & np.isin(self.folk.profile, [self.numbers[p] for p in profiles]))

    def take(self, pool: Ints, expected: float) -> list[int]:
        """About `expected` entities, evenly spread over the block so that its first part has its part of them."""
        count = min(len(pool), int(expected + self.rng.random()))
        places = ((np.arange(count) + self.rng.random(count)) / max(count, 1) * len(pool)).astype(np.int64)
        chosen = pool[places]
        self.free[chosen] = False
        return [int(i) for i in chosen]

    def pairs(self, hosts: list[int], *profiles: str) -> Iterator[tuple[int, int]]:
        """Each host with a free entity of these profiles, as long as there are any."""
        for host in hosts:
            partner = self.take(self.pool(*profiles), 1.0)
            if partner:
                yield host, partner[0]

    def between(self, bounds: tuple[float, float]) -> float:
        """A uniform number."""
        return float(self.rng.uniform(*bounds))

    def day(self, first: int, last: int) -> int:
        """A uniform day offset, both ends in."""
        return int(self.rng.integers(first, last + 1))

    def onset(self) -> int:
        """First day of a violation: long ago, or within the run."""
        if self.rng.random() < self.knobs.violations.since_long:
            return ALWAYS
        return self.day(*self.knobs.violations.onset)

    def phase(self, entity: int, start: int, end: int, active: float, base: float = 1.0) -> None:
        """Days [start, end) at another activity and base load."""
        f = self.folk
        f.phase_from[entity], f.phase_to[entity] = start, end
        f.phase_active[entity], f.phase_base[entity] = active, base

    def tell(
        self, entity: int, kind: str, model: str, start: int, end: int = NEVER, note: str = "", **values: float
    ) -> None:
        """Write a violation (`note` free) or, where the kind is a twin's, a benign story."""
        violation = kind in self.expected
        self.out.acts.append(Story(entity, kind, model, start, end, violation, note, values))


def stories(knobs: Knobs, seed: int, folk: People) -> Stories:
    """The stories of a block; `folk` takes the phases, boosts, permits and closures that follow from them."""
    teller = Teller(knobs, seed, folk)
    _night_only(teller)
    _valley_switches(teller)
    _before_acceptance(teller)
    _overloads(teller)
    _closures(teller)
    _hidden_workshops(teller)
    _churn(teller)
    _permits(teller)
    _stoppages(teller)
    teller.out.curtailed = curtailments(knobs, seed, folk, {s.entity for s in teller.out.acts})
    return teller.out


def _night_only(t: Teller) -> None:
    for entity in t.take(t.pool("workshop"), t.expected["night_only"]):
        start = t.onset()
        covered = t.rng.random() < 0.2
        t.phase(entity, start, NEVER, t.between((0.08, 0.2)) if covered else 0.0)
        t.folk.kw[entity] = max(float(t.folk.kw[entity]), 15.0)
        if t.rng.random() < 0.35:
            t.folk.permit[entity], t.folk.night_permit[entity] = 3 - int(t.rng.random() < 0.3), 0
        t.tell(
            entity,
            "night_only",
            "m05",
            start,
            note="light day work as cover" if covered else "day idle",
            chance=t.between(t.knobs.violations.night_probability),
            begins=t.between((21.4, 23.6)),
            ends=t.between((4.0, 6.0)),
            level=t.between((0.5, 1.0)),
        )


def _valley_switches(t: Teller) -> None:
    for entity in t.take(t.pool("workshop"), t.twins.valley_switch * BLOCK):
        start = t.day(*t.knobs.violations.onset)
        t.phase(entity, start, NEVER, 0.0)
        t.out.reports.append(Report(entity, "night_work", start, 365, "低谷电夜间生产"))
        person, level = float(t.rng.integers(0, PERSONS)), t.between((0.8, 1.05))
        t.tell(entity, "valley_switch", "m05", start, note="registered, steady", person=person, level=level)


def _before_acceptance(t: Teller) -> None:
    pool = ("workshop", "two_shift")
    for entity in t.take(t.pool(*pool), t.expected["before_acceptance"]):
        first, opened = t.day(-20, 24), t.day(-90, -30)
        accepted = NEVER if t.rng.random() < 0.6 else first + t.day(15, 90)
        t.phase(entity, ALWAYS, first, 0.06)
        t.folk.opened[entity], t.folk.permit[entity] = opened, 2 + int(t.rng.random() < 0.5)
        t.out.acceptances.append(Acceptance(entity, opened - t.day(60, 300), accepted))
        t.tell(entity, "before_acceptance", "m05", first, accepted, "full production before acceptance (未验先投)")
    for entity in t.take(t.pool(*pool), t.twins.commissioning * BLOCK):
        first, opened = t.day(-20, 24), t.day(-90, -30)
        trial = first + t.day(60, 170)
        accepted = first + t.day(20, 150)
        t.phase(entity, ALWAYS, first, 0.06)
        t.folk.opened[entity], t.folk.permit[entity] = opened, 2 + int(t.rng.random() < 0.5)
        t.out.acceptances.append(Acceptance(entity, opened - t.day(60, 300), min(accepted, trial), trial))
        t.out.reports.append(Report(entity, "commissioning", first, min(accepted, trial), "调试"))
        t.tell(entity, "commissioning", "m05", first, min(accepted, trial), "declared commissioning (调试)")
    for entity in t.take(t.pool(*pool), t.twins.construction_load * BLOCK):
        opened, accepted = t.day(-90, -10), t.day(20, 120)
        t.phase(entity, ALWAYS, accepted, t.between((0.03, 0.09)))
        t.folk.opened[entity], t.folk.permit[entity] = opened, 2
        t.out.acceptances.append(Acceptance(entity, opened - t.day(60, 300), accepted))
        t.tell(entity, "construction_load", "m05", opened, accepted, "building-site load only before acceptance")


def _overloads(t: Teller) -> None:
    pool = ("workshop", "two_shift", "catering", "cold_store")
    f = t.folk
    for entity in t.take(t.pool(*pool), t.expected["overload"]):
        start = t.day(10, 26)
        f.boost_from[entity], f.boost[entity] = start, t.between(t.knobs.violations.overload_factor)
        t.tell(entity, "overload", "m10", start, note="load far above own history, peers and contract capacity")
    for entity in t.take(t.pool(*pool), t.twins.legal_expansion * BLOCK):
        start, factor = t.day(10, 26), t.between((1.5, 3.0))
        f.boost_from[entity], f.boost[entity] = start, factor
        t.out.raised.append((entity, start - t.day(1, 15), factor))
        t.out.acceptances.append(Acceptance(entity, start - t.day(100, 300), start - t.day(1, 20)))
        t.tell(entity, "legal_expansion", "m10", start, note="capacity raised and expansion accepted before")
    for entity in t.take(t.pool(*pool), t.twins.seasonal_peak * BLOCK):
        start = t.day(5, 30)
        end = start + t.day(10, 25)
        f.boost_from[entity], f.boost_to[entity], f.boost[entity] = start, end, t.between((1.3, 1.8))
        t.tell(entity, "seasonal_peak", "m10", start, end, "some weeks of orders within the contract")


def _closures(t: Teller) -> None:
    v = t.knobs.violations
    pool = ("workshop", "two_shift", "three_shift")

    def close(entity: int, residual: float = 0.08) -> int:
        closed = t.day(-30, 8)
        t.phase(entity, closed, NEVER, 0.0, residual)
        t.out.closures.append((entity, closed))
        if t.rng.random() < 0.4:
            t.folk.permit[entity] = 3
        return closed

    for entity in t.take(t.pool(*pool), t.expected["rebound"]):
        start = close(entity) + t.day(*v.rebound_after)
        t.tell(
            entity,
            "rebound",
            "m09",
            start,
            note="production again after closure, nights first",
            level=t.between(v.rebound_level),
            nights=t.day(4, 12),
            chance=t.between((0.75, 0.95)),
        )
    moving = t.take(t.pool(*pool), t.expected["relocation"])
    for entity, near in t.pairs(moving, "workshop", "retail", "farm", "logistics"):
        closed, f = close(entity), t.folk
        f.division[near], f.phone[near], f.contact[near] = f.division[entity], f.phone[entity], f.contact[entity]
        f.lon[near], f.lat[near] = f.lon[entity] + np.float32(t.between((-0.002, 0.002))), f.lat[entity]
        t.tell(
            near,
            "relocation",
            "m09",
            closed + t.day(*v.rebound_after),
            note=f"takes over the production of the closed {f.uscc[entity].decode()} next door",
            source=entity,
            level=t.between((0.7, 1.0)),
        )
    for entity in t.take(t.pool(*pool), t.twins.closed_quiet * BLOCK):
        t.tell(entity, "closed_quiet", "m09", close(entity), note="closed and idle")
    for entity in t.take(t.pool(*pool), t.twins.caretaker * BLOCK):
        closed = close(entity)
        t.tell(entity, "caretaker", "m09", closed, note="guard house and lights", level=t.between((0.005, 0.03)))
    for entity in t.take(t.pool(*pool), t.twins.dismantling * BLOCK):
        start = close(entity) + t.day(2, 8)
        end = start + t.day(5, 18)
        if t.rng.random() < t.twins.report_compliance:
            t.out.reports.append(Report(entity, "other", start, end, "设备拆除"))
        t.tell(entity, "dismantling", "m09", start, end, "daytime dismantling works", level=t.between((0.05, 0.2)))
    for entity, guest in t.pairs(t.take(t.pool(*pool), t.twins.new_legal_tenant * BLOCK), "workshop"):
        moved = close(entity) + t.day(8, 25)
        _pass_on(t, entity, guest, moved)
        t.folk.permit[guest] = 3
        t.out.acceptances.append(Acceptance(guest, moved - t.day(40, 120), moved - t.day(1, 10)))
        t.tell(guest, "new_legal_tenant", "m09", moved, note="took over the closed plant's account, permitted")


def _pass_on(t: Teller, host: int, guest: int, day: int) -> None:
    t.out.moves.append((host, guest, day))
    f = t.folk
    f.guest[guest], f.opened[guest], f.division[guest] = True, day - 20, f.division[host]
    f.lon[guest], f.lat[guest] = f.lon[host], f.lat[host]


def _hidden_workshops(t: Teller) -> None:
    median, sigma = t.knobs.violations.workshop_kw
    for entity in t.take(t.pool("home", "farm", "retail", "services"), t.expected["hidden_workshop"]):
        works = ("single", "two_shift", "night")[int(t.rng.choice(3, p=(0.55, 0.2, 0.25)))]
        t.tell(
            entity,
            "hidden_workshop",
            "m06",
            t.onset(),
            note=f"workshop on a non-industrial tariff, {works.replace('_', ' ')}",
            kw=median * float(np.exp(sigma * t.rng.standard_normal())),
            shift=float(("single", "two_shift", "night").index(works)),
            person=float(t.rng.integers(0, PERSONS)),
            sunday=float(t.rng.random() < 0.3),
        )


def _churn(t: Teller) -> None:
    p, f = t.knobs.population, t.folk
    ordinary = ("retail", "catering", "office", "services", "workshop", "home")
    for host, guest in t.pairs(t.take(t.pool(*ordinary), p.moved_share * BLOCK), "retail", "services", "office"):
        day = t.day(0, 90)
        _pass_on(t, host, guest, day)
        f.closed[host] = day
    for host in t.take(t.pool("office", "retail", "workshop"), p.shared_meter_share * BLOCK):
        for guest in t.take(t.pool("retail", "services", "office"), 2.0):
            t.out.shares.append((host, guest, 2))
            f.guest[guest], f.division[guest] = True, f.division[host]
            f.lon[guest], f.lat[guest] = f.lon[host], f.lat[host]
    for entity in t.take(t.pool(*ordinary), p.new_account_share * BLOCK):
        f.opened[entity] = t.day(0, 90)
    for entity in t.take(t.pool(*ordinary), p.closed_account_share * BLOCK):
        f.closed[entity] = t.day(0, 90)


def _permits(t: Teller) -> None:
    k, f = t.knobs.permits, t.folk
    valley = t.pool("valley_works")
    permitted = t.take(valley, len(valley) * k.valley_permit)
    f.permit[permitted], f.night_permit[permitted] = 3 - (t.rng.random(len(permitted)) < 0.5), 1
    for entity in t.take(t.pool("valley_works"), len(valley) * k.valley_report):
        t.out.reports.append(Report(entity, "night_work", -t.day(10, 300), 365, "低谷电夜间生产"))
    pool = np.flatnonzero(t.free & t.polluting[f.profile] & (f.permit == 0))
    wanted = int(max(0.0, k.share * BLOCK - np.count_nonzero(f.permit)) + t.rng.random())
    if len(pool) and wanted:
        size = np.sqrt(f.kw[pool])
        keys = t.rng.random(len(pool)) ** (1 / size)
        holders = pool[np.argsort(-keys)[:wanted]]
        rank = np.argsort(np.argsort(-f.kw[holders])) / len(holders)
        f.permit[holders] = np.where(rank < k.key, 1, np.where(rank < k.key + k.simplified, 2, 3))
        long = np.isin(
            f.profile[holders], [t.numbers[p] for p in ("two_shift", "three_shift", "continuous", "night_food")]
        )
        named = long & (f.permit[holders] < 3) & (t.rng.random(len(holders)) < k.night_stated)
        f.night_permit[holders] = np.where(named, 1, -1)
    told = {a.entity for a in t.out.acceptances}
    for entity in np.flatnonzero(f.permit > 0).tolist():
        if entity in told:
            continue
        if t.free[entity] and t.rng.random() < k.late_acceptance:
            accepted = t.day(-60, 60)
            trial = accepted + t.day(5, 60)
            t.free[entity] = False
            f.opened[entity] = accepted - t.day(60, 100)
            t.out.acceptances.append(Acceptance(entity, accepted - t.day(200, 500), accepted, trial))
            t.tell(entity, "late_acceptance", "m05", f.opened[entity], accepted, "accepted within its trial period")
        else:
            accepted = int(f.opened[entity]) + t.day(10, 60)
            t.out.acceptances.append(Acceptance(entity, accepted - t.day(150, 500), min(accepted, -40)))


def _stoppages(t: Teller) -> None:
    k = t.knobs.twins
    pool = t.pool("workshop", "two_shift", "three_shift", "continuous", "valley_works")
    for entity in t.take(pool, k.stoppage * len(pool)):
        start = t.day(0, 90)
        end = start + t.day(2, 6)
        t.phase(entity, start, end, 0.0, 0.7)
        filed = t.rng.random() < k.report_compliance
        if filed:
            t.out.reports.append(Report(entity, "maintenance" if t.rng.random() < 0.5 else "stoppage", start, end))
        t.tell(entity, "stoppage", "", start, end, "filed" if filed else "not filed")
