"""M3 管控期违规生产: production under a closure, stop, seal, night ban or off-peak order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dianhuan_models import _levels
from dianhuan_models._corroborate import Case, DispatchConfig, Support, support
from dianhuan_models._events import Events
from dianhuan_models._linked import kw, officer_mute
from dianhuan_models._samples import Sample, new_samples
from dianhuan_sdk import CIRCUIT_ROLES, StateField, StreamFinding, StreamState, StreamWindow, Text
from dianhuan_sdk.context import LOCAL_ZONE
from dianhuan_sdk.features import BoolArray
from dianhuan_sdk.spans import OPEN_END
from dianhuan_sdk.state import StateTable
from dianhuan_sdk.stream import instant

ALL_DAY = ("closure", "stop", "seal", "peak_shift")
NIGHT = ("night_ban",)
NIGHT_HOURS = (22, 6)
"""Night of GB 12348: 22:00 to 06:00."""

EXCUSES = ("commissioning", "maintenance")


class OrderConfig(BaseModel):
    """Parameters of M3; 30 minutes and 1.5 × q99 of the idle load are the recipe's."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    persist_minutes: float = Field(default=30.0, gt=0, description="above idle for so long")
    idle_factor: float = Field(default=1.5, ge=1, description="times the q99 of the own idle load")
    least_of_on: float = Field(default=0.75, ge=0, le=1, description="and above this part of the level of production")
    grace_minutes: float = Field(default=30.0, ge=0, description="from an order's start to wind down safely")
    reset_minutes: float = Field(default=10.0, ge=0, description="idle for so long: it is over")
    dark_minutes: float = Field(default=20.0, ge=0, description="unknown for longer: the time counted so far is void")
    mute_hours: float = Field(default=24.0, ge=0, description="an event again within this time is the same event")
    points_order: float = Field(default=0.5, description="points of an order in force towards dispatch")
    dispatch: DispatchConfig = DispatchConfig()


class UnderOrder:
    """Production circuits that an order names, above their own idle load."""

    def __init__(self, config: OrderConfig) -> None:
        self.config = config
        self.events = Events("m03", config.mute_hours * 60, config.dispatch.wait_minutes)

    @property
    def layout(self) -> Mapping[StateTable, Sequence[StateField]]:
        """See `StreamModel.layout`."""
        return {
            "circuit": (
                *_levels.LEVEL_FIELDS,
                StateField("clock", "f4", 0.0),
                StateField("calm", "f4", 0.0),
                StateField("dark", "f4", 0.0),
                StateField("began", "i8", 0),
                *self.events.fields,
            )
        }

    def step(self, state: StreamState, window: StreamWindow) -> Sequence[StreamFinding]:
        """See `StreamModel.step`."""
        out: list[StreamFinding] = []
        for sample in new_samples(window, state.align(window)):
            out += self._sample(state, window, sample)
        return out

    def _sample(self, state: StreamState, window: StreamWindow, s: Sample) -> list[StreamFinding]:
        c, top, config, m = state["circuit"], window.topology, self.config, s.minutes
        ordered = self._ordered(window, s.second)
        _levels.learn(c, top, s, ~ordered)
        producer = np.isin(top.circuit_role, [CIRCUIT_ROLES.index(r) for r in ("production", "combined")])
        excused = window.context.reports.covered(s.second, len(top.circuits), EXCUSES)
        early = int(config.grace_minutes * 60)
        due = ordered & self._ordered(window, s.second - early) & producer & ~excused
        known = _levels.known(c, s) & ~s.changed
        with np.errstate(invalid="ignore"):
            above = s.x > np.fmax(config.idle_factor * c["idle"], config.least_of_on * c["on_above"])
        hit = due & known & above
        c["began"][hit & (c["clock"] == 0)] = s.second - int(m * 60)
        c["clock"][hit] += m
        calm = ~due | (known & ~above)
        c["calm"] = np.where(hit, 0, np.where(calm, c["calm"] + m, c["calm"])).astype(np.float32)
        c["dark"] = np.where(hit | calm, 0, c["dark"] + m).astype(np.float32)
        c["clock"][~due | (c["calm"] >= config.reset_minutes) | (c["dark"] > config.dark_minutes)] = 0
        active = c["clock"] >= config.persist_minutes
        silent = self._silent(window, s.second)
        changes = self.events.advance(c, active, c["began"], silent, s.second, m)
        out = [self._finding(state, window, s, r, "opened") for r in changes.opened]
        out += [self._finding(state, window, s, r, "again") for r in changes.again]
        out += [self._finding(state, window, s, r, "ended") for r in changes.ended]
        for row in np.flatnonzero(self.events.open_or_waiting(c)):
            found = self._support(state, window, s, int(row))
            if found.points >= config.dispatch.threshold and not silent[row]:
                self.events.send(c, row)
                out.append(self._finding(state, window, s, int(row), "raised", found))
        return out

    def _ordered(self, window: StreamWindow, second: int) -> BoolArray:
        """Shape (circuits,): an order forbids production at that second."""
        orders, n = window.context.orders, len(window.topology.circuits)
        now = orders.covered(second, n, ALL_DAY)
        hour = instant(second).astimezone(LOCAL_ZONE).hour
        if hour >= NIGHT_HOURS[0] or hour < NIGHT_HOURS[1]:
            now |= orders.covered(second, n, NIGHT)
            now &= ~window.context.reports.covered(second, n, ("night_work",)) | orders.covered(second, n, ALL_DAY)
        return now

    def _silent(self, window: StreamWindow, second: int) -> BoolArray:
        """Shape (circuits,): every link of the circuit is muted by an officer."""
        top = window.topology
        if not window.context.muted:
            return np.zeros(len(top.circuits), bool)
        muted = officer_mute(window, top.keys("link"), second)
        some, open_ = np.zeros(len(top.circuits), bool), np.zeros(len(top.circuits), bool)
        some[top.pair_circuit[muted[top.pair_link]]] = True
        open_[top.pair_circuit[~muted[top.pair_link]]] = True
        return some & ~open_

    def _support(self, state: StreamState, window: StreamWindow, s: Sample, row: int) -> Support:
        c, top = state["circuit"], window.topology
        mine = top.circuit_entity == top.circuit_entity[row]
        mates = mine & (self.events.phase(c) > 0)
        total = mine & (top.circuit_role == CIRCUIT_ROLES.index("plant_total")) & c["on"] & _levels.known(c, s)
        case = Case(
            event_id=self.events.id(c, row, top.circuits[row].circuit_id),
            minutes=self.events.lasted(c, row, s.second),
            opened_at=int(self.events.opened_at(c)[row]),
            second_circuit=bool(mates.sum() > 1 or total.any()),
            repeats=float(self.events.repeats(c)[row]),
            base=self.config.points_order,
        )
        return support(self.config.dispatch, window.context, case, s.second)

    def _finding(
        self, state: StreamState, window: StreamWindow, s: Sample, row: int, change: Any, more: Support | None = None
    ) -> StreamFinding:
        c, top = state["circuit"], window.topology
        circuit, found = top.circuits[row], more or self._support(state, window, s, int(row))
        ends = int(window.context.orders.ends(s.second, len(top.circuits), (*ALL_DAY, *NIGHT))[row])
        minutes = self.events.lasted(c, row, s.second)
        x, idle = float(s.x[row]), float(c["idle"][row])
        word = Text(
            f"管控期间生产回路有负荷 {kw(x)}(平时空载不高于 {kw(idle)}),已 {minutes:.0f} 分钟",
            f"production circuit at {kw(x)} under an order (idle: up to {kw(idle)}), for {minutes:.0f} minutes",
        )
        return StreamFinding(
            event_id=self.events.id(c, row, circuit.circuit_id),
            change=change,
            level=self.events.level(c, row),
            link_id="",
            entity_id=circuit.entity_id,
            circuit_ids=(circuit.circuit_id,),
            rule="production_under_order",
            verdict="suspect",
            since=instant(self.events.since(c)[row]),
            at=instant(s.second),
            expected_end=instant(ends) if 0 < ends < OPEN_END else None,
            score=float(np.clip(0.6 + 0.15 * found.points, 0.05, 1.0)),
            reasons=(word, *found.reasons),
            counter=found.counter,
            evidence={
                "load": None if np.isnan(x) else round(x, 3),
                "idle": None if np.isnan(idle) else round(idle, 3),
                "minutes": round(minutes, 1),
                **found.evidence,
            },
        )
