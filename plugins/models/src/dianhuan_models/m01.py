"""M1 产治不同步: the treatment is off while its production runs."""

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
from dianhuan_models._linked import COMBINED, DEAD, NO_DATA, ZERO_FIELDS, Links, kw, look, officer_mute
from dianhuan_models._samples import Sample, new_samples
from dianhuan_sdk import StateField, StreamFinding, StreamState, StreamWindow, Text
from dianhuan_sdk.features import BoolArray
from dianhuan_sdk.state import StateTable
from dianhuan_sdk.stream import instant

Columns = dict[str, np.ndarray[Any, Any]]
OFF, OFTEN = 0, 1
RULES = ("treatment_off", "treatment_off_often")


class OffConfig(BaseModel):
    """Parameters of M1; 45 minutes and 24 hours are the recipe's, the others judgements checked on the simulator."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    persist_minutes: float = Field(default=45.0, ge=30, description="a plant's own pauses may only lengthen it")
    longest_minutes: float = Field(default=90.0, ge=30, description="most that own pauses lengthen it to")
    pause_factor: float = Field(default=1.3, ge=1, description="own usual longest pause times this is no event")
    reset_minutes: float = Field(default=5.0, ge=0, description="treatment on or production off so long: over")
    dark_minutes: float = Field(default=20.0, ge=0, description="unknown for longer: the time counted so far is void")
    often_margin: float = Field(default=0.25, gt=0, lt=1, description="share off above the own share that adds up")
    often_minutes: float = Field(default=65.0, gt=0, description="sum of that excess that makes an event")
    mute_hours: float = Field(default=24.0, ge=0, description="an event again within this time is the same event")
    dispatch: DispatchConfig = DispatchConfig()


class TreatmentOff:
    """Production on, treatment off, for longer than the plant's own pauses."""

    def __init__(self, config: OffConfig) -> None:
        self.config = config
        self.events = Events("m01", config.mute_hours * 60, config.dispatch.wait_minutes)
        self.doubts = Events("m01q", config.mute_hours * 60)

    @property
    def layout(self) -> Mapping[StateTable, Sequence[StateField]]:
        """See `StreamModel.layout`."""
        return {
            "circuit": (*_levels.LEVEL_FIELDS, *ZERO_FIELDS),
            "factor": FACTOR_FIELDS,
            "link": (
                StateField("clock", "f4", 0.0),
                StateField("began", "i8", 0),
                StateField("calm", "f4", 0.0),
                StateField("dark", "f4", 0.0),
                StateField("blind", "f4", 0.0),
                StateField("blind_since", "i8", 0),
                StateField("pause", "f4", 0.0),
                StateField("excess", "f4", 0.0),
                StateField("excess_since", "i8", 0),
                StateField("share", "f4", 0.05),
                StateField("rule", "i1", OFF),
                *LINK_FIELDS,
                *self.events.fields,
                *self.doubts.fields,
            ),
        }

    def step(self, state: StreamState, window: StreamWindow) -> Sequence[StreamFinding]:
        """See `StreamModel.step`."""
        out: list[StreamFinding] = []
        new = state.align(window)
        if not window.topology.links:
            return out
        keys = window.topology.keys("link")
        self.events.rearm(state["link"], keys, window.context.rearmed)
        for sample in new_samples(window, new):
            out += self._sample(state, window, sample)
        return out

    def _sample(self, state: StreamState, window: StreamWindow, sample: Sample) -> list[StreamFinding]:
        c, t, top = state["circuit"], state["link"], window.topology
        usual = np.ones(len(top.circuits), bool)
        usual[top.unit_circuit[((t["clock"] > 0) | (t["excess"] > 30))[top.unit_link]]] = False
        _levels.learn(c, top, sample, usual)
        links = look(c, window, sample)
        clear = ~top.combined & ~links.dark & ~links.reported
        off = links.producing & links.low & clear
        self._clocks(t, links, off, clear, sample)
        keys, m = top.keys("link"), sample.minutes
        persist = np.clip(
            self.config.pause_factor * t["pause"], self.config.persist_minutes, self.config.longest_minutes
        )
        long_off, often = t["clock"] >= persist, t["excess"] >= self.config.often_minutes
        phase = self.events.phase(t)
        off_goes_on = (phase > 0) & (t["rule"] == OFF)
        often_goes_on = (phase > 0) & (t["rule"] == OFTEN) & (t["excess"] >= self.config.often_minutes / 2)
        active = np.where(off_goes_on, t["clock"] > 0, long_off | often | often_goes_on) & ~top.combined
        t["excess"][off_goes_on & ~active] = 0  # told already
        fresh = active & (phase == 0)
        t["rule"][fresh] = np.where(long_off[fresh], OFF, OFTEN)
        since = np.where(long_off, t["began"], t["excess_since"])
        silent = officer_mute(window, keys, sample.second)
        changes = self.events.advance(t, active, since, silent, sample.second, m)
        running = links.producing & links.running & clear
        t["m01_waits"][links.reported] = 0  # a report that was filed meanwhile is an answer
        waiting = t["m01_waits"] > 0
        follow_factors(
            self.config.dispatch, state, window, sample.column, running & (phase == 0), t["clock"] > 0, waiting, m
        )
        out = [self._finding(state, window, sample, r, "opened") for r in changes.opened]
        out += [self._finding(state, window, sample, r, "again") for r in changes.again]
        out += [self._finding(state, window, sample, r, "ended") for r in changes.ended]
        for row in np.flatnonzero(self.events.open_or_waiting(t)):
            found = self._support(state, window, sample, int(row))
            if found.points >= self.config.dispatch.threshold and not silent[row]:
                self.events.send(t, row)
                out.append(self._finding(state, window, sample, int(row), "raised", found))
        return out + self._doubts(state, window, sample, links, silent)

    def _clocks(self, t: Columns, links: Links, off: BoolArray, clear: BoolArray, s: Sample) -> None:
        """Minutes off, minutes calm, minutes unknown, excess of the share off, and what they teach."""
        config, m = self.config, s.minutes
        judged = links.producing & (links.low | links.running) & clear
        known = judged | links.idle | links.reported
        t["began"][off & (t["clock"] == 0)] = s.second - int(m * 60)
        t["clock"][off] += m
        t["calm"] = np.where(off, 0, np.where(known, t["calm"] + m, t["calm"])).astype(np.float32)
        t["dark"] = np.where(known, 0, t["dark"] + m).astype(np.float32)
        over = (t["calm"] >= config.reset_minutes) & (t["clock"] > 0)
        pause = over & (t["clock"] >= 10) & (self.events.phase(t) == 0)
        longer = t["clock"] - t["pause"]
        t["pause"][pause] += np.where(longer > 0, 0.3 * longer, 0.02 * longer)[pause]
        t["clock"][over | links.reported | (t["dark"] > config.dark_minutes)] = 0
        learn = judged & (t["excess"] < 30) & (t["clock"] < config.persist_minutes)
        rate = np.float32(m / (5 * 1440))
        t["share"][learn] += rate * (off[learn] - t["share"][learn])
        step = off - (np.minimum(t["share"], 0.3) + config.often_margin)
        before = t["excess"].copy()
        t["excess"][judged] = np.maximum(before + m * step, 0)[judged]
        np.minimum(t["excess"], 2 * config.often_minutes, out=t["excess"])
        t["excess"][links.reported] = 0
        t["excess_since"][(before == 0) & (t["excess"] > 0)] = s.second - int(m * 60)
        blind = links.producing & ~links.reported & ~links.dark & ~links.low & ~links.running
        t["blind_since"][blind & (t["blind"] == 0)] = s.second - int(m * 60)
        t["blind"] = np.where(blind, t["blind"] + m, np.where(known & clear, 0, t["blind"])).astype(np.float32)

    def _doubts(
        self, state: StreamState, window: StreamWindow, s: Sample, links: Links, silent: BoolArray
    ) -> list[StreamFinding]:
        """`cannot_tell`, once per stretch: production runs and the treatment cannot be judged."""
        t, top = state["link"], window.topology
        here = top.combined & (links.producing | (self.doubts.phase(t) > 0))
        active = here | (t["blind"] >= self.config.persist_minutes)
        since = np.where(here, s.second - int(s.minutes * 60), t["blind_since"])
        changes = self.doubts.advance(t, active, since, silent, s.second, s.minutes)
        out = []
        for change, rows in (("opened", changes.opened), ("again", changes.again), ("ended", changes.ended)):
            for row in rows:
                why = COMBINED if top.combined[row] else DEAD if links.dead[row] else NO_DATA
                out.append(
                    StreamFinding(
                        event_id=self.doubts.id(t, row, top.links[row].link_id),
                        change=change,  # type: ignore[arg-type]
                        level="notice",
                        link_id=top.links[row].link_id,
                        entity_id=top.entity_ids[top.link_entity[row]],
                        circuit_ids=top.links[row].treatment,
                        rule="treatment_unknown",
                        verdict="cannot_tell",
                        since=instant(self.doubts.since(t)[row]),
                        at=instant(s.second),
                        expected_end=None,
                        score=0.0,
                        reasons=(),
                        counter=(why,),
                        evidence={"blind_minutes": round(float(t["blind"][row]), 1)},
                    )
                )
        return out

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
        c, t, top = state["circuit"], state["link"], window.topology
        link, found = top.links[row], more or self._support(state, window, s, int(row))
        units = top.unit_circuit[top.unit_link == row]
        x, usual = float(s.x[units].sum()), float(c["on_level"][units].max())
        minutes = self.events.lasted(t, row, s.second)
        if t["rule"][row] == OFF:
            word = Text(
                f"产污设施在生产,治污设施停运已 {minutes:.0f} 分钟(现 {kw(x)},平时运行 {kw(usual)})",
                f"production runs, treatment has been off for {minutes:.0f} minutes (now {kw(x)}, usually {kw(usual)})",
            )
        else:
            word = Text(
                f"治污设施反复停运,累计超出平时 {float(t['excess'][row]):.0f} 分钟",
                f"treatment is off again and again, {float(t['excess'][row]):.0f} minutes more than usual",
            )
        evidence = {
            "off_minutes": round(minutes, 1),
            "treatment_now": None if np.isnan(x) else round(x, 3),
            "treatment_usual": None if np.isnan(usual) else round(usual, 3),
            "usual_pause_minutes": round(float(t["pause"][row]), 1),
            "share_off_usual": round(float(t["share"][row]), 3),
            **found.evidence,
        }
        return StreamFinding(
            event_id=self.events.id(t, row, link.link_id),
            change=change,
            level=self.events.level(t, row),
            link_id=link.link_id,
            entity_id=top.entity_ids[top.link_entity[row]],
            circuit_ids=(*link.treatment, *link.production),
            rule=RULES[int(t["rule"][row])],
            verdict="suspect",
            since=instant(self.events.since(t)[row]),
            at=instant(s.second),
            expected_end=None,
            score=float(np.clip(0.5 + 0.15 * found.points, 0.05, 1.0)),
            reasons=(word, *found.reasons),
            counter=found.counter,
            evidence=evidence,
        )
