"""The kit's checks of real-time models: a good one passes, and each thing that a bad one does wrong is seen."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest

from dianhuan_sdk.testing import Report, Scenario, check_plugin, check_stream_model, plants

Build = Callable[..., str]

MODEL = """
import numpy as np
from pydantic import BaseModel, ConfigDict
from dianhuan_sdk import ModelCard, StateField, StreamFinding, StreamModelSpec, Text, hookimpl
from dianhuan_sdk.stream import instant

class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")

class Model:
    layout = {"link": (StateField("low", "i4"), StateField("since", "i8"), StateField("open", "?"))}

    def __init__(self):
        self.seen, self.top = 0, 0.0

    def step(self, state, window):
        top, found = window.topology, []
        for back in range(state.align(window))[::-1]:
            if not top.links:
                continue
            self.seen += 1
            x = window.values[:, window.samples - 1 - back]
            second = window.second - back * window.step_s
            t = state["link"]
            off = (x[top.unit_circuit[top.unit_start]] < 2) & (x[top.pair_circuit[top.pair_start]] > 30)
            {twist}
            t["low"][:] = np.where(off, t["low"] + 1, 0)
            for row in np.flatnonzero((t["low"] >= 5) != t["open"]):
                if not t["open"][row]:
                    t["since"][row] = second - 5 * window.step_s
                change = "ended" if t["open"][row] else "opened"
                t["open"][row] ^= True
                link = top.links[row]
                found.append(StreamFinding(
                    event_id=f"v:{link.link_id}:{t['since'][row]}", change=change, level="notice",
                    link_id=link.link_id, entity_id=top.entity_ids[top.link_entity[row]],
                    circuit_ids=link.treatment, rule="off", verdict="suspect", since=instant(t["since"][row]),
                    at=instant(second), expected_end=None, score=0.5, reasons=(Text("停", "off"),), counter=(),
                    evidence={}))
        return found

NONE = Text("", "")

@hookimpl
def dianhuan_stream_models():
    yield StreamModelSpec(id="m92-off", version="1", zh="", en="", window_minutes=60, rules=("off",), reads=(),
                          gates=(), alarm_budget=0.1, delay_minutes=50, config_model=Config,
                          factory=lambda context: Model(), card=ModelCard(NONE, NONE, NONE, "", (), ()))
"""

TWISTS = {
    "self.top = max(self.top, float(np.nanmax(x, initial=0))); off &= self.top < 1e5": {"stream.future_poison"},
    "off &= self.seen > 100": {"stream.restart"},
    "off[1:] = False": {"stream.link_order"},
    "off |= np.isnan(x[top.unit_circuit[top.unit_start]])": {"stream.missing"},
    "window.values[:, -1] = 1.0": {"stream.pure"},
    "raise ValueError('broken')": {"stream.findings", "stream.events", "stream.speaks"},
}


def described(twist: str) -> Any:
    module = types.ModuleType("twisted")
    exec(MODEL.replace("{twist}", twist), module.__dict__)
    return next(iter(module.dianhuan_stream_models()))


def small() -> Scenario:
    return Scenario(plants={"m92-off": lambda seed: plants(days=2, seed=seed)})


def test_good_stream_model_reaches_gold(plugin: Build) -> None:
    report = check_plugin(plugin(MODEL.replace("{twist}", "pass")), small())
    assert [r for r in report.results if r.status != "done"] == []
    assert report.level == "gold"


@pytest.mark.parametrize("twist", TWISTS)
def test_hostile_stream_model_fails_the_check_that_is_about_it(twist: str) -> None:
    report = Report("kit", check_stream_model(described(twist), small()))
    assert TWISTS[twist] <= {r.check for r in report.failed}, report.results


def test_silent_stream_model_is_not_gold() -> None:
    report = Report("kit", check_stream_model(described("off[:] = False"), small()))
    assert report.failed == []
    assert report.level == "silver"
