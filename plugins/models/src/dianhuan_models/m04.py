"""M4 数据造假与失真: frozen values, replayed days, and sub-meters that do not add up to the plant's meter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dianhuan_models import _balance, _levels, _replay
from dianhuan_models._corroborate import Case, DispatchConfig, Support, support
from dianhuan_models._events import Events
from dianhuan_models._linked import EXCUSES
from dianhuan_models._samples import Sample, new_samples
from dianhuan_sdk import StateField, StreamFinding, StreamState, StreamWindow, Text
from dianhuan_sdk.state import StateTable
from dianhuan_sdk.stream import instant

Columns = dict[str, np.ndarray[Any, Any]]
MONTH_MINUTES = 30 * 1440
NEW_MINUTES = 7 * 1440
EQUAL = 1e-6
"""Means of equal values over a sample differ in the last digit only."""


class ForgedConfig(BaseModel):
    """Parameters of M4; eps, 8 samples and ten percent are the recipe's."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    eps: float = Field(default=1e-3, gt=0, description="wrong findings a circuit and month that are put up with")
    least_run: int = Field(default=8, ge=3, description="fewest equal samples of a frozen channel")
    run_minutes: float = Field(default=60.0, ge=0, description="and so long at least")
    run_factor: float = Field(default=3.0, ge=1, description="and so many times the longest own run")
    least_replay: int = Field(default=12, ge=4, description="fewest half hours that agree with an earlier day")
    balance_k: float = Field(default=1.0, gt=0, description="slack of the balance's CUSUM in spreads an hour")
    balance_h: float = Field(default=24.0, gt=0, description="its threshold")
    least_gap: float = Field(default=0.08, gt=0, lt=1, description="smallest drop of total ÷ circuits that counts")
    mute_hours: float = Field(default=72.0, ge=0, description="an event again within this time is the same event")
    points_replay: float = Field(default=0.5, description="points of a replay towards dispatch")
    dispatch: DispatchConfig = DispatchConfig(answer_minutes=1440.0, long_minutes=1440.0)


class Forged:
    """Data that no live process gives."""

    def __init__(self, config: ForgedConfig) -> None:
        self.config = config
        mute = config.mute_hours * 60
        wait = config.dispatch.wait_minutes
        self.frozen, self.replayed = Events("m04f", mute), Events("m04r", mute, wait)
        self.gap = Events("m04b", mute, wait)

    @property
    def layout(self) -> Mapping[StateTable, Sequence[StateField]]:
        """See `StreamModel.layout`."""
        return {
            "circuit": (
                *_levels.LEVEL_FIELDS,
                *_replay.REPLAY_FIELDS,
                StateField("last", "f4", np.nan),
                StateField("run", "f4", 0.0),
                StateField("run_since", "i8", 0),
                StateField("longest", "f4", 0.0),
                StateField("repeat", "f4", 0.02),
                *self.frozen.fields,
                *self.replayed.fields,
            ),
            "entity": (*_balance.BALANCE_FIELDS, *self.gap.fields),
        }

    def step(self, state: StreamState, window: StreamWindow) -> Sequence[StreamFinding]:
        """See `StreamModel.step`."""
        out: list[StreamFinding] = []
        for sample in new_samples(window, state.align(window)):
            out += self._sample(state, window, sample)
        return out

    def _sample(self, state: StreamState, window: StreamWindow, s: Sample) -> list[StreamFinding]:
        c, e, top, config = state["circuit"], state["entity"], window.topology, self.config
        n = len(top.circuits)
        _levels.learn(c, top, s, np.ones(n, bool))
        with np.errstate(invalid="ignore"):
            busy = _levels.known(c, s) & (s.x > 0.5 * c["on_above"])
        frozen = self._freeze(c, s, busy)
        replayed = _replay.follow(c, s, busy, config.eps, config.least_replay)
        covered = window.context.outages.covered(s.second, n)
        covered |= window.context.reports.covered(s.second, n, EXCUSES)
        excluded = np.bincount(top.circuit_entity[covered], minlength=len(top.entity_ids)) > 0
        dead = (s.x == 0) & (c["hist"][:, 0] < 0.25 * np.minimum(c["seen"], MONTH_MINUTES))
        _balance.follow(e, top, s, dead, excluded, config.balance_k, config.balance_h)
        side = np.maximum(e["cusum"], e["cusum_up"])
        gone = (side >= config.balance_h) & (np.abs(e["gap"]) > -np.log1p(-config.least_gap))
        still = (self.gap.phase(e) > 0) & (side >= config.balance_h / 3)
        nobody, no_plant = np.zeros(n, bool), np.zeros(len(top.entity_ids), bool)
        replay_since = c["run_since"].copy()
        for r in np.flatnonzero(replayed):
            replay_since[r] = _replay.longest(c, int(r))[2]
        out: list[StreamFinding] = []
        for events, t, active, since, silent in (
            (self.frozen, c, frozen, c["run_since"], nobody),
            (self.replayed, c, replayed, replay_since, nobody),
            (self.gap, e, gone | still, np.where(e["cusum"] >= e["cusum_up"], e["began"], e["began_up"]), no_plant),
        ):
            changes = events.advance(t, active, since, silent, s.second, s.minutes)
            for change, rows in (("opened", changes.opened), ("again", changes.again), ("ended", changes.ended)):
                out += [self._finding(events, state, window, s, int(r), change) for r in rows]
            if events is self.frozen:
                continue  # a frozen channel is a matter for the plant's device first, never for an officer alone
            for r in np.flatnonzero(events.open_or_waiting(t)):
                found = self._support(events, t, window, s, int(r))
                if found.points >= config.dispatch.threshold:
                    events.send(t, r)
                    out.append(self._finding(events, state, window, s, int(r), "raised", found))
        return out

    def _freeze(self, c: Columns, s: Sample, busy: Any) -> Any:
        """Shape (circuits,): equal values under load for longer than the channel's own repeats explain."""
        config = self.config
        live = s.fresh & busy & ~s.changed
        with np.errstate(invalid="ignore"):
            same = live & (np.abs(s.x - c["last"]) <= EQUAL * np.abs(s.x))
        need = _replay.run_needed(c["repeat"], config.eps, MONTH_MINUTES / s.minutes, config.least_run)
        need = np.maximum(np.maximum(need, config.run_factor * c["longest"]), config.run_minutes / s.minutes)
        broken = live & ~same
        learn = live & (c["run"] < need / 2)
        learn |= live & (c["seen"] < NEW_MINUTES)  # a new channel is taken as it is
        rate = np.maximum(s.minutes / (c["seen"] + 60), s.minutes / 7200)
        c["repeat"][learn] += (rate * (same - c["repeat"]))[learn]
        np.clip(c["repeat"], 0.01, 0.98, out=c["repeat"])
        quiet = broken & (c["run"] < 3 * need)  # what was told once and ended is the channel's own from then on
        c["longest"][quiet] = np.maximum(c["longest"][quiet] * np.float32(0.9999), c["run"][quiet])
        c["run_since"][same & (c["run"] == 0)] = s.second - int(2 * s.minutes * 60)
        c["run"][same] += 1
        c["run"][broken | (~busy & s.fresh)] = 0
        c["last"][s.fresh] = s.x[s.fresh]
        return c["run"] >= need

    def _support(self, events: Events, t: Columns, window: StreamWindow, s: Sample, row: int) -> Support:
        case = Case(
            event_id=events.id(t, row, self._key(events, window, row)),
            minutes=events.lasted(t, row, s.second),
            opened_at=int(events.opened_at(t)[row]),
            second_circuit=False,
            repeats=float(events.repeats(t)[row]),
            base=self.config.points_replay,
        )
        return support(self.config.dispatch, window.context, case, s.second)

    def _key(self, events: Events, window: StreamWindow, row: int) -> str:
        top = window.topology
        return top.entity_ids[row] if events is self.gap else top.circuits[row].circuit_id

    def _finding(
        self,
        events: Events,
        state: StreamState,
        window: StreamWindow,
        s: Sample,
        row: int,
        change: Any,
        more: Support | None = None,
    ) -> StreamFinding:
        top, c = window.topology, state["circuit"]
        t = state["entity"] if events is self.gap else c
        found = more or self._support(events, t, window, s, row)
        minutes = events.lasted(t, row, s.second)
        evidence: dict[str, Any] = {"minutes": round(minutes, 1)}
        if events is self.gap:
            rule, plant, percent = "energy_balance", top.entity_ids[row], float(np.expm1(t["gap"][row]) * 100)
            circuits = tuple(q.circuit_id for q in top.circuits if q.entity_id == plant and q.role == "plant_total")
            evidence["gap_percent"] = round(percent, 1)
            word = Text(
                f"总表电量与各回路之和之比较平时变化 {percent:+.0f} %",
                f"the plant's meter against the sum of its circuits has moved by {percent:+.0f} %",
            )
        else:
            plant, circuits = top.circuits[row].entity_id, (top.circuits[row].circuit_id,)
            if events is self.frozen:
                rule, evidence["run"] = "frozen", int(c["run"][row])
                word = Text(
                    f"数值 {minutes:.0f} 分钟不变,超出本通道自身的重复",
                    f"the value has not moved for {minutes:.0f} minutes, beyond this channel's own repeats",
                )
            else:
                rule, (day, halves, _) = "replayed", _replay.longest(c, row)
                evidence["days_before"], evidence["half_hours"] = day, halves
                word = Text(
                    f"曲线与 {day} 天前相同,已 {halves} 个半小时",
                    f"the curve equals that of {day} days before, for {halves} half hours",
                )
        return StreamFinding(
            event_id=events.id(t, row, self._key(events, window, row)),
            change=change,
            level=events.level(t, row),
            link_id="",
            entity_id=plant,
            circuit_ids=circuits,
            rule=rule,
            verdict="suspect",
            since=instant(events.since(t)[row]),
            at=instant(s.second),
            expected_end=None,
            score=float(np.clip(0.5 + 0.15 * found.points, 0.05, 1.0)),
            reasons=(word, *found.reasons),
            counter=found.counter,
            evidence={**evidence, **found.evidence},
        )
