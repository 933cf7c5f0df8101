"""M2 治污设施低载: the treatment runs, but at less than its production usually has it run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dianhuan_models import _levels
from dianhuan_models._corroborate import (
    FACTOR_FIELDS,
    LINK_FIELDS,
    Case,
    DispatchConfig,
    Support,
    follow_factors,
    support,
)
from dianhuan_models._events import Events
from dianhuan_models._linked import ZERO_FIELDS, Links, look, officer_mute
from dianhuan_models._samples import Sample, new_samples
from dianhuan_sdk import StateField, StreamFinding, StreamState, StreamWindow, Text
from dianhuan_sdk.features import BoolArray
from dianhuan_sdk.state import StateTable
from dianhuan_sdk.stream import instant

Columns = dict[str, np.ndarray[Any, Any]]
BIN_EDGES = np.array([0.5, 0.65, 0.8, 0.95], np.float32)
"""Bins of production load ÷ its usual top: a fan of constant speed and one that follows the load have both a
baseline in every bin."""

BIN_COUNT = len(BIN_EDGES) + 1
SAMPLE_MINUTES = 5.0
"""k and h are per five minutes; other sample lengths are scaled."""

CLIP, SPREAD_FLOOR = 4.0, 0.08
BIN_SPREAD = 0.1
"""A baseline borrowed from a neighbouring load bin is so much less sure, per bin."""


class UnderloadConfig(BaseModel):
    """Parameters of M2; k, h, clip and floor of the spread are the recipe's."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    k: float = Field(default=1.0, gt=0, description="slack of the CUSUM in spreads")
    h: float = Field(default=24.0, gt=0, description="threshold of the CUSUM")
    least_drop: float = Field(default=0.34, ge=0, lt=1, description="smallest drop of the ratio that is an event")
    settle_minutes: float = Field(default=20.0, ge=0, description="after a start nothing is judged for so long")
    warm_minutes: float = Field(default=45.0, ge=0, description="the same after a start of production from cold")
    stale_minutes: float = Field(default=180.0, gt=0, description="evidence that has not sufficed by then is dropped")
    ready_minutes: float = Field(default=180.0, gt=0, description="own minutes in a load bin before it is judged")
    memory_days: float = Field(default=10.0, gt=0, description="how far back the baseline reaches")
    mute_hours: float = Field(default=168.0, ge=0, description="an event again within this time is the same event")
    dispatch: DispatchConfig = DispatchConfig(points_unanswered=0.0, points_long=0.0, points_repeat=0.0)


class Underload:
    """One-sided CUSUM on log(treatment ÷ production) against the link's own baseline in the same load bin."""

    def __init__(self, config: UnderloadConfig) -> None:
        self.config = config
        self.events = Events("m02", config.mute_hours * 60, config.dispatch.wait_minutes)

    @property
    def layout(self) -> Mapping[StateTable, Sequence[StateField]]:
        """See `StreamModel.layout`."""
        return {
            "circuit": (*_levels.LEVEL_FIELDS, *ZERO_FIELDS),
            "factor": FACTOR_FIELDS,
            "link": (
                StateField("usual", "f4", np.nan, BIN_COUNT),
                StateField("spread", "f4", 0.2, BIN_COUNT),
                StateField("seen", "f4", 0.0, BIN_COUNT),
                StateField("running", "f4", 0.0),
                StateField("ratio", "f4", np.nan),
                StateField("below", "f4", 0.0),
                StateField("cusum", "f4", 0.0),
                StateField("began", "i8", 0),
                StateField("relearned", "i8", 0),
                *LINK_FIELDS,
                *self.events.fields,
            ),
        }

    def step(self, state: StreamState, window: StreamWindow) -> Sequence[StreamFinding]:
        """See `StreamModel.step`."""
        out: list[StreamFinding] = []
        new = state.align(window)
        if not window.topology.links:
            return out
        self.events.rearm(state["link"], window.topology.keys("link"), window.context.rearmed)
        for sample in new_samples(window, new):
            out += self._sample(state, window, sample)
        return out

    def _sample(self, state: StreamState, window: StreamWindow, s: Sample) -> list[StreamFinding]:
        c, t, top, config = state["circuit"], state["link"], window.topology, self.config
        usual = np.ones(len(top.circuits), bool)
        usual[top.unit_circuit[(t["cusum"] > config.h / 4)[top.unit_link]]] = False
        _levels.learn(c, top, s, usual)
        links = look(c, window, s)
        judged = self._judge(t, window, links, s)
        self._cusum(t, judged, links, s)
        phase, keys = self.events.phase(t), top.keys("link")
        active = (t["cusum"] >= config.h) | ((phase > 0) & (t["cusum"] >= config.h / 3))
        silent = officer_mute(window, keys, s.second)
        changes = self.events.advance(t, active, t["began"], silent, s.second, s.minutes)
        usual_now, low_now = judged & (t["cusum"] < config.h / 4), t["cusum"] > config.h / 2
        t["m02_waits"][links.reported] = 0  # a report that was filed meanwhile is an answer
        waiting = t["m02_waits"] > 0
        follow_factors(config.dispatch, state, window, s.column, usual_now, low_now, waiting, s.minutes)
        out = [self._finding(state, window, s, r, "opened") for r in changes.opened]
        out += [self._finding(state, window, s, r, "again") for r in changes.again]
        out += [self._finding(state, window, s, r, "ended") for r in changes.ended]
        for row in np.flatnonzero((phase > 0) | waiting):
            self._relearn(t, window, int(row), keys[row])
        for row in np.flatnonzero(self.events.open_or_waiting(t)):
            found = self._support(state, window, s, int(row))
            if found.points >= config.dispatch.threshold and not silent[row]:
                self.events.send(t, row)
                out.append(self._finding(state, window, s, int(row), "raised", found))
        return out

    def _judge(self, t: Columns, window: StreamWindow, links: Links, s: Sample) -> BoolArray:
        """Links whose ratio counts now: both sides run and have settled, nothing stands in the way."""
        top, m = window.topology, s.minutes
        t["seen"][links.changed] = 0
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.log(links.treatment / links.load)
        run = links.producing & links.running & np.isfinite(ratio)
        stopped = links.idle | links.low
        t["running"] = np.where(run, t["running"] + m, np.where(stopped, 0, t["running"])).astype(np.float32)
        first = run & np.isnan(t["ratio"])
        t["ratio"][stopped] = np.nan
        t["ratio"][first] = ratio[first]
        t["ratio"][run] += min(m / SAMPLE_MINUTES, 1.0) * (ratio - t["ratio"])[run]
        clear = ~top.combined & ~links.dark & ~links.reported
        t["cusum"][links.idle | links.reported | links.changed] = 0
        settled = (t["running"] >= self.config.settle_minutes) & (links.settled >= self.config.warm_minutes)
        return np.asarray(run & clear & settled & (links.relative > 0))

    def _cusum(self, t: Columns, judged: BoolArray, links: Links, s: Sample) -> None:
        """Move baseline and CUSUM of the judged links; the baseline stands still while anything is suspected."""
        config, m = self.config, s.minutes
        rows = np.flatnonzero(judged)
        if not rows.size:
            return
        place = np.searchsorted(BIN_EDGES, links.relative[rows])
        ratio, seen = t["ratio"][rows], t["seen"][rows, place]
        first = np.isnan(t["usual"][rows, place]) | (seen == 0)
        t["usual"][rows[first], place[first]] = ratio[first]
        own_off = ratio - t["usual"][rows, place]
        usual, spread, ready = self._baseline(t, rows, place)
        off_by = ratio - usual
        z = np.clip(off_by / np.maximum(spread, SPREAD_FLOOR), -CLIP, CLIP)
        back = (self.events.phase(t)[rows] > 0) & (z > -config.k)  # an event that is over ends soon
        step = (m / SAMPLE_MINUTES) * np.where(back, -CLIP, -z - config.k)
        before = t["cusum"][rows]
        after = np.where(ready, np.clip(before + step, 0, 1.5 * config.h), before)
        small = off_by > np.log1p(-config.least_drop)  # an event needs a drop that matters, not only a sure one
        after = np.where(small & (step > 0), before, after)
        t["began"][rows[(before == 0) & (after > 0)]] = s.second - int(m * 60)
        stale = (after < config.h) & (s.second - t["began"][rows] > config.stale_minutes * 60)
        after = np.where(stale & (self.events.phase(t)[rows] == 0), 0, after)  # pauses of many hours must not add up
        t["cusum"][rows] = after
        t["below"][rows] = off_by
        learn = (after < config.h / 4) & (self.events.phase(t)[rows] == 0)
        rate = np.maximum(m / (seen + 60), m / (config.memory_days * 480)).astype(np.float32)
        own = np.maximum(t["spread"][rows, place], SPREAD_FLOOR / 2)
        bounded = np.where(seen >= config.ready_minutes, np.clip(own_off, -own, own), own_off)
        at = rows[learn], place[learn]
        t["usual"][at] += (rate * bounded)[learn]
        t["spread"][at] += (rate * (np.minimum(1.25 * np.abs(own_off), 3 * own) - own))[learn]
        t["seen"][at] += m

    def _baseline(self, t: Columns, rows: Any, place: Any) -> tuple[Any, Any, Any]:
        """Usual log-ratio and spread in the load bin, or of the nearest bin that is ready, with a wider spread."""
        ready = t["seen"] >= self.config.ready_minutes
        best, found = place.copy(), ready[rows, place]
        for far in range(1, BIN_COUNT):
            for beside in (place + far, place - far):
                fits = ~found & (beside >= 0) & (beside < BIN_COUNT)
                fits[fits] = ready[rows[fits], beside[fits]]
                best[fits] = beside[fits]
                found |= fits
        spread = t["spread"][rows, best] + BIN_SPREAD * np.abs(best - place)
        return t["usual"][rows, best], spread, found

    def _relearn(self, t: Columns, window: StreamWindow, row: int, key: str) -> None:
        """An accepted answer (another product, a new fan) makes the present ratio the usual one."""
        answer = window.context.answers.get(self.events.id(t, row, key))
        if answer is not None and answer.accepted and t["relearned"][row] < self.events.opened_at(t)[row]:
            t["relearned"][row] = window.second
            t["seen"][row] = 0
            t["cusum"][row] = 0

    def _support(self, state: StreamState, window: StreamWindow, s: Sample, row: int) -> Support:
        t, top = state["link"], window.topology
        mates = (top.link_entity == top.link_entity[row]) & (self.events.phase(t) > 0)
        case = Case(
            event_id=self.events.id(t, row, top.links[row].link_id),
            minutes=self.events.lasted(t, row, s.second),
            opened_at=int(self.events.opened_at(t)[row]),
            second_circuit=bool(mates.sum() > 1),
            repeats=float(self.events.repeats(t)[row]),
            told=int(t["told"][row]),
            told_percent=float(t["told_percent"][row]),
        )
        return support(self.config.dispatch, window.context, case, s.second)

    def _finding(
        self, state: StreamState, window: StreamWindow, s: Sample, row: int, change: Any, more: Support | None = None
    ) -> StreamFinding:
        t, top = state["link"], window.topology
        link, found = top.links[row], more or self._support(state, window, s, int(row))
        percent = float(-np.expm1(t["below"][row]) * 100)
        minutes = self.events.lasted(t, row, s.second)
        word = Text(
            f"治污与产污用电之比比平时同负荷下低 {percent:.0f} %,已 {minutes:.0f} 分钟",
            f"treatment ÷ production is {percent:.0f} % below usual at this load, for {minutes:.0f} minutes",
        )
        return StreamFinding(
            event_id=self.events.id(t, row, link.link_id),
            change=change,
            level=self.events.level(t, row),
            link_id=link.link_id,
            entity_id=top.entity_ids[top.link_entity[row]],
            circuit_ids=(*link.treatment, *link.production),
            rule="treatment_underload",
            verdict="suspect",
            since=instant(self.events.since(t)[row]),
            at=instant(s.second),
            expected_end=None,
            score=float(np.clip(0.45 + 0.15 * found.points, 0.05, 1.0)),
            reasons=(word, *found.reasons),
            counter=found.counter,
            evidence={
                "drop_percent": round(percent, 1),
                "cusum": round(float(t["cusum"][row]), 1),
                "minutes": round(minutes, 1),
                **found.evidence,
            },
        )
