"""Real-time models on emulated plants with known truth, beside rules of running systems in the same run.

Plants of `dianhuan_simulator.emulator` are read in five-minute means of what was known within the minute. Notices go to
the plants, whose answers (honest, late, false, none) come back into the context; work orders mark meters as changed.
The first `--warm` days teach; offences and figures begin after them. Seeds 1–9 were used for tuning, 11 and up are for
reporting.

An answer is taken as an officer at a desk would: a filed report or a fault is accepted; an explanation is refused where
it admits the offence or contradicts the meters ("no production"), left open where it only denies, else accepted.

`--plants 1500 --days 30 --share 0.01 --seed 11`
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from benchmarks._report import table, write
from dianhuan_models.stream_specs import STREAM_SPECS
from dianhuan_sdk import (
    Answer,
    Circuit,
    Factor,
    Health,
    Link,
    Spans,
    StreamContext,
    StreamFinding,
    StreamState,
    StreamWindow,
    Topology,
)
from dianhuan_sdk.testing import kit_context
from dianhuan_simulator.emulator import Emulation

STEP = 5
SAMPLES = 12
PER_DAY = 1440 // STEP
RULE_OF = {
    "treatment_off": ("treatment_off", "treatment_off_often"),
    "under_load": ("treatment_underload",),
    "start_under_order": ("production_under_order",),
    "frozen": ("frozen",),
    "replay": ("replayed",),
    "forged_ratio": ("forged_ratio",),
    "bypass": ("energy_balance",),
}
HABITS = {
    "backwash", "batch_treatment", "lunch_stop", "duty_standby", "constant_coarse", "after_run", "warm_up",
    "combined_circuit", "clock_drift",
}  # fmt: skip
SLACK = 30
"""Minutes around an offence in which a notice counts as being about it."""


@dataclass
class Told:
    """One event as the plant or the officer heard of it."""

    plant: int
    rule: str
    since: int
    at: int
    link: int
    times: list[int] = field(default_factory=list)
    dispatched: int = -1


def topology(world: Emulation) -> Topology:
    """Circuits, confirmed links and factors of the emulated plants."""
    rows = world.circuits().to_pylist()
    names = [f"C{r['circuit']}" for r in rows]
    circuits = [
        Circuit(n, r["entity_id"], r["role"], rated=r["rated_kw"], station=r["entity_id"], facility=r["facility"])
        for n, r in zip(names, rows, strict=True)
    ]
    links = [
        Link(
            f"L{g['link']}",
            tuple(names[i] for i in g["treatment"]),
            tuple(names[i] for i in g["production"] or g["combined"]),
        )
        for g in world.links().to_pylist()
    ]
    factors = [Factor(f"F{f['factor']}", f"L{f['link']}", f["code"]) for f in world.factors().to_pylist()]
    return Topology.of(circuits, links, factors)


def means(minutes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Five-minute means of one-minute samples; NaN where none came."""
    cut = minutes.reshape(len(minutes), PER_DAY, STEP)
    seen = ~np.isnan(cut)
    count = seen.sum(axis=2)
    total = np.where(seen, cut, 0).sum(axis=2)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


class Run:
    """One emulation through all models and plain rules."""

    def __init__(self, plants: int, days: int, seed: int, share: float, warm: int) -> None:
        self.world = Emulation(plants, days, seed, share, first_offence_day=warm)
        self.top = topology(self.world)
        self.warm = warm * 1440
        self.zero = int(self.world.instant(0).timestamp())
        self.plant_of = {e: i for i, e in enumerate(self.top.entity_ids)}
        self.models = [s.factory(kit_context("bench", s.config_model(), None)) for s in STREAM_SPECS]  # type: ignore[arg-type]
        self.states = [StreamState(m.layout) for m in self.models]
        self.told: dict[str, Told] = {}
        self.answers: dict[str, Answer] = {}
        self.pending: list[tuple[int, str, Answer]] = []
        self.reports = 0
        self.context = StreamContext()
        self.plain: dict[str, list[Told]] = defaultdict(list)
        self.unknown = 0
        self.tick_ms: list[float] = []

    def go(self) -> None:
        """Tick through all days."""
        tail = np.full((len(self.top.circuits), SAMPLES), np.nan, np.float32)
        gas_tail = np.full((len(self.top.factors), SAMPLES), np.nan, np.float32)
        orders = Spans.of(self.world.context("order").to_pylist(), self.top)
        outages = Spans.of([{**r, "kind": "fault"} for r in self.world.context("outage").to_pylist()], self.top)
        self.context = StreamContext(orders=orders, outages=outages)
        for day in self.world:
            kw = np.concatenate([tail, means(day.live())], axis=1)
            gas = np.concatenate([gas_tail, means(day.live_factors())], axis=1)
            health = self._health(day.offset)
            for i in range(PER_DAY):
                self._tick(day.offset * 1440 + (i + 1) * STEP, kw, gas, health[:, i], i)
            self._plain(day.offset, kw[:, SAMPLES:])
            tail, gas_tail = kw[:, -SAMPLES:], gas[:, -SAMPLES:]

    def _health(self, offset: int) -> np.ndarray[Any, Any]:
        marks = np.zeros((len(self.top.circuits), PER_DAY), np.uint8)
        for w in self.world.context("work_order").to_pylist():
            first = (w["start"] - offset * 1440) // STEP
            last = (w["end"] - offset * 1440) // STEP + 2
            if last > 0 and first < PER_DAY:
                mine = (self.top.circuit_entity == w["plant"]) & (self.top.circuit_role == 2)
                marks[mine, max(first, 0) : last] |= np.uint8(Health.CHANGED)
        return marks

    def _tick(self, minute: int, kw: Any, gas: Any, health: Any, i: int) -> None:
        due = [p for p in self.pending if p[0] <= minute]
        if due:
            self.pending = [p for p in self.pending if p[0] > minute]
            self.answers |= {event: a for _, event, a in due}
        if len(self.world.answers()) + 1 != self.reports:
            self.reports = len(self.world.answers()) + 1
            rows = self.world.context("filed_report").to_pylist()
            self.context = replace(self.context, reports=Spans.of(rows, self.top, "filed_at"))
        window = StreamWindow(
            at=datetime.fromtimestamp(self.zero + minute * 60, UTC),
            topology=self.top,
            values=kw[:, i + 1 : i + 1 + SAMPLES],
            age_s=np.zeros(len(kw), np.float32),
            health=health,
            factors=gas[:, i + 1 : i + 1 + SAMPLES],
            context=replace(self.context, answers=self.answers),
            step_s=STEP * 60,
        )
        began = time.perf_counter()
        found = [f for m, s in zip(self.models, self.states, strict=True) for f in m.step(s, window)]
        self.tick_ms.append((time.perf_counter() - began) * 1e3)
        for f in found:
            self._hear(f, minute)

    def _hear(self, f: StreamFinding, minute: int) -> None:
        if f.verdict == "cannot_tell":
            self.unknown += f.change == "opened"
            return
        plant = self.plant_of[f.entity_id]
        since = (int(f.since.timestamp()) - self.zero) // 60
        if f.change == "opened":
            self.told[f.event_id] = Told(
                plant, f.rule, since, minute, int(f.link_id[1:]) if f.link_id else -1, [minute]
            )
            if minute < self.world.days * 1440:
                self._answer(f, plant, minute)
        elif f.change == "again":
            self.told[f.event_id].times.append(minute)
        elif f.change == "raised":
            self.told[f.event_id].dispatched = minute

    def _answer(self, f: StreamFinding, plant: int, minute: int) -> None:
        a = self.world.notice(plant, minute)
        if a.kind == "none":
            return
        kind = {"filed_report": "filed"}.get(a.kind, a.kind)
        accepted: bool | None = True
        if a.kind == "explanation":
            if "停运" in a.words or "未生产" in a.words:
                accepted = False
            elif "正常" in a.words:
                accepted = None
        at = datetime.fromtimestamp(self.zero + a.at * 60, UTC)
        self.pending.append((a.at, f.event_id, Answer(kind, at, accepted)))  # type: ignore[arg-type]

    def _plain(self, offset: int, kw: Any) -> None:
        """Rules of running systems on the same samples: one alarm per run, at most one in 30 minutes."""
        top = self.top
        with np.errstate(invalid="ignore", divide="ignore"):
            producing = np.logical_or.reduceat((kw >= 0.2 * top.rated[:, None])[top.pair_circuit], top.pair_start)
            treatment = np.add.reduceat(kw[top.unit_circuit], top.unit_start)
            rated = np.add.reduceat(top.rated[top.unit_circuit], top.unit_start)
            off = producing & (treatment < 0.1 * rated[:, None])
            ratio = np.log(treatment / np.add.reduceat(kw[top.pair_circuit], top.pair_start))
        if not hasattr(self, "_ratios"):
            self._ratios: list[Any] = []
        self._ratios = [*self._ratios[-9:], np.where(producing, ratio, np.nan)]
        known = np.concatenate(self._ratios[:-1] or self._ratios, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            finite = np.isfinite(known)
            n = np.maximum(finite.sum(axis=1), 1)
            mean = np.where(finite, known, 0).sum(axis=1) / n
            sd = np.sqrt(np.where(finite, (known - mean[:, None]) ** 2, 0).sum(axis=1) / n)
            low = producing & (ratio < (mean - 3 * sd)[:, None])
        held = np.logical_and.reduce([np.roll(off, s, axis=1) for s in range(3)])
        held[:, :2] = False
        for name, hit in (("instant off rule", off), ("off for 15 minutes", held), ("three-sigma ratio", low)):
            rise = hit.copy()
            rise[:, 1:] &= ~hit[:, :-1]
            last: dict[int, int] = {}
            for link, i in zip(*np.nonzero(rise), strict=True):
                at = offset * 1440 + (int(i) + 1) * STEP
                if at - last.get(int(link), -99) >= 30:
                    self.plain[name].append(Told(int(top.link_entity[link]), "", at, at, int(link), [at]))
                last[int(link)] = at


def figures(run: Run) -> dict[str, Any]:
    """Notices, dispatches, recall and false alarms by twin, against the truth."""
    truth = run.world.truth().to_pylist()
    offences = [t for t in truth if t["is_violation"]]
    by_plant: dict[int, list[dict[str, Any]]] = defaultdict(list)
    twins: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for t in truth:
        (by_plant if t["is_violation"] else twins)[t["plant"]].append(t)
    months = run.world.plants * (run.world.days * 1440 - run.warm) / (30 * 1440)

    def right(e: Told, at: int) -> bool:
        return any(o["start"] - SLACK <= at and e.since <= o["end"] + SLACK for o in by_plant[e.plant])

    def blame(e: Told) -> str:
        near = [t for t in twins[e.plant] if t["start"] - 60 <= e.at and e.since <= t["end"] + 60]
        near = [t for t in near if t["link"] in (-1, e.link) or e.link < 0]
        events = [t["kind"] for t in near if t["kind"] not in HABITS]
        return (events or [t["kind"] for t in near] or ["none"])[0]

    def score(events: list[Told]) -> dict[str, Any]:
        counted = [e for e in events if e.at >= run.warm]
        good = sum(right(e, e.at) for e in counted)
        return {
            "notices": len(counted),
            "false_per_plant_month": round((len(counted) - good) / months, 4),
            "precision": round(good / len(counted), 3) if counted else None,
        }

    told = list(run.told.values())
    sent = [e for e in told if e.dispatched >= run.warm]
    good_sent = [e for e in sent if right(e, e.at)]
    recall: dict[str, Any] = {}
    delays: list[int] = []
    for kind, rules in RULE_OF.items():
        mine = [o for o in offences if o["kind"] == kind and (kind != "treatment_off" or o["end"] - o["start"] >= 60)]
        groups = {kind: mine}
        if kind == "treatment_off":
            groups = {
                "treatment_off ≥ 1 h": [o for o in mine if "every" not in o["note"]],
                "treatment_off in pulses": [o for o in mine if "every" in o["note"]],
            }
        for name, chosen in groups.items():
            first = [_first(o, told, rules) for o in chosen]
            hit = [f - o["start"] for f, o in zip(first, chosen, strict=True) if f is not None]
            delays += hit if name == "treatment_off ≥ 1 h" else []
            recall[name] = {
                "events": len(chosen),
                "recall": round(len(hit) / len(chosen), 3) if chosen else None,
                "any_rule": round(sum(_first(o, told, ()) is not None for o in chosen) / len(chosen), 3)
                if chosen
                else None,
                "within_60_min": round(sum(h <= 60 for h in hit) / len(chosen), 3) if chosen else None,
                "median_delay_min": float(np.median(hit)) if hit else None,
                "dispatched": round(sum(_sent(o, sent) for o in chosen) / len(chosen), 3) if chosen else None,
            }
    long_ones = [o for o in offences if o["end"] - o["start"] >= 60]
    wrong = [e for e in told if e.at >= run.warm and not right(e, e.at)]
    return {
        "all models": score(told),
        "by rule": {r: score([e for e in told if e.rule == r]) for r in sorted({e.rule for e in told})},
        "recall": recall,
        "off_median_delay_min": float(np.median(delays)) if delays else None,
        "dispatch": {
            "sent": len(sent),
            "precision": round(len(good_sent) / len(sent), 3) if sent else None,
            "recall_of_offences": round(sum(_sent(o, sent) for o in long_ones) / len(long_ones), 3)
            if long_ones
            else None,
            "false by twin": dict(Counter(blame(e) for e in sent if e not in good_sent).most_common()),
        },
        "false by rule and twin": {
            f"{r} / {k}": n for (r, k), n in Counter((e.rule, blame(e)) for e in wrong).most_common(40)
        },
        "plain rules": {
            name: {**score(events), "recall_off_1h": _recall(offences, events)} for name, events in run.plain.items()
        },
        "cannot_tell": run.unknown,
        "plant_months": round(months, 1),
        "tick_ms_median": round(float(np.median(run.tick_ms)), 1),
    }


def _first(o: dict[str, Any], told: list[Told], rules: tuple[str, ...]) -> int | None:
    """First time that an event was told during an offence, by these rules or any."""
    times = [
        t
        for e in told
        if e.plant == o["plant"] and (not rules or e.rule in rules) and _link_fits(o, e)
        for t in e.times
        if o["start"] <= t <= o["end"] + SLACK
    ]
    return min(times) if times else None


def _link_fits(o: dict[str, Any], e: Told) -> bool:
    return e.link < 0 or o["link"] in (-1, e.link)


def _sent(o: dict[str, Any], sent: list[Told]) -> bool:
    return any(
        e.plant == o["plant"] and any(o["start"] <= t <= o["end"] + SLACK for t in e.times) and _link_fits(o, e)
        for e in sent
    )


def _recall(offences: list[dict[str, Any]], events: list[Told]) -> float | None:
    mine = [o for o in offences if o["kind"] == "treatment_off" and o["end"] - o["start"] >= 60]
    if not mine:
        return None
    at: dict[int, list[Told]] = defaultdict(list)
    for e in events:
        at[e.plant].append(e)
    return round(sum(any(o["start"] <= e.at <= o["end"] for e in at[o["plant"]]) for o in mine) / len(mine), 3)


def main() -> None:
    """Run and write the figures."""
    ask = argparse.ArgumentParser()
    for name, kind, default in (
        ("plants", int, 1500), ("days", int, 30), ("seed", int, 11), ("share", float, 0.01), ("warm", int, 7)
    ):  # fmt: skip
        ask.add_argument(f"--{name}", type=kind, default=default)
    given = ask.parse_args()
    run = Run(given.plants, given.days, given.seed, given.share, given.warm)
    run.go()
    facts = figures(run)
    write(f"realtime_{given.share:g}_seed{given.seed}", {**vars(given), **facts})
    rows = [
        {"what": name, **values} for name, values in (("all models", facts["all models"]), *facts["by rule"].items())
    ]
    print(table(rows))
    print(table([{"offence": k, **v} for k, v in facts["recall"].items()]))


if __name__ == "__main__":
    main()
