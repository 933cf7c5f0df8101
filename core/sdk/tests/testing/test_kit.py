"""The conformance kit: a good plugin passes, and each thing that a bad one does wrong fails its own check."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dianhuan_sdk import Field, TableContract, Window
from dianhuan_sdk.testing import (
    LEVELS,
    GridScenario,
    Report,
    Scenario,
    check_adapter,
    check_model,
    check_plugin,
    city,
    conformance,
)

Build = Callable[..., str]

MODEL = """
import numpy as np
from pydantic import BaseModel, ConfigDict
from dianhuan_sdk import Finding, ModelCard, ModelSpec, Text, hookimpl

class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")
    limit: float = 50.0

class Model:
    def __init__(self, config):
        self.config = config
        self.seen = 0

    def score(self, block, context):
        self.seen += 1
        night = block.feature("night_kw")[:, -1] if len(block.entities) else []
        names = block.entities["entity_id"].to_pylist()
        found = []
        for i, kw in enumerate(night):
            if kw > self.config.limit:
                score = float(min(1, kw / 1000))
                found.append(Finding(names[i], block.days[-1], "night", "suspect", score, (Text("夜", "night"),), (),
                                     {"kw": float(kw)}))
        {twist}
        return found

NONE = Text("", "")

@hookimpl
def dianhuan_models():
    yield ModelSpec(id="m91-night", version="1", zh="", en="", tier="daily", window_days=3, features=("night_kw",),
                    reads=(), gates=(), alarm_budget=0.05, config_model=Config,
                    factory=lambda context: Model(context.config), card=ModelCard(NONE, NONE, NONE, "", (), ()))
"""


def status(report: Report) -> Mapping[str, str]:
    return {r.check: r.status for r in report.results}


def failed(report: Report) -> set[str]:
    return {r.check for r in report.failed}


def described(code: str, hook: str, twist: str) -> Any:
    """The first descriptor of a plugin's code, without packaging it."""
    module = types.ModuleType("twisted")
    exec(code.replace("{twist}", twist), module.__dict__)
    return next(iter(getattr(module, hook)()))


def test_good_model_reaches_gold(plugin: Build) -> None:
    report = check_plugin(plugin(MODEL.replace("{twist}", "pass")))
    assert failed(report) == set(), report.failed
    assert set(status(report).values()) == {"done"}
    assert {c for c in LEVELS if not c.startswith(("grid.", "stream."))} == set(status(report))
    assert report.level == "gold"
    assert report.as_dict()["level"] == "gold"
    conformance("vendor")()


TWISTS = {
    "found = [f for f in found if np.random.default_rng().random() < 0.5]": {"model.deterministic"},
    "found = found[self.seen % 2:]": {"model.pure", "model.future_poison"},
    "block.kw[0] = 1.0": {"model.pure"},
    "found = found[:1]": {"model.row_order"},
    "found += [Finding('E0001', block.days[-1], 'x', 'suspect', 0.5, (Text('甲', 'a'),), (), {})]": {"model.missing"},
    "found = [Finding('nobody', block.days[-1], 'x', 'suspect', 0.5, (Text('甲', 'a'),), (), {})]": {"model.findings"},
    "found = [Finding('E0001', block.days[-1], 'x', 'suspect', 2.0, (Text('甲', 'a'),), (), {})]": {"model.findings"},
    "found = [Finding('E0001', block.days[-1], 'x', 'suspect', 0.5, (Text('甲', ''),), (), {})]": {"model.findings"},
    "found = [Finding('E0001', block.days[-1], 'x', 'cannot_tell', 0.5, (), (), {})]": {"model.findings"},
    "found = [Finding('E0001', block.days[-1], 'x', 'suspect', 0.5, (Text('甲', 'a'),), (), {'v': float('nan')})]": {
        "model.findings"
    },
    "self.top = max(getattr(self, 'top', 0), np.nanmax(block.kw, initial=0)); found *= self.top < 1e5": {
        "model.future_poison"
    },
    "raise ValueError('broken')": {"model.findings", "model.deterministic", "model.pure", "model.speaks"},
}


@pytest.mark.parametrize("twist", TWISTS)
def test_hostile_model_fails_the_check_that_is_about_it(twist: str) -> None:
    report = Report("kit", check_model(described(MODEL, "dianhuan_models", twist), Scenario()))
    assert TWISTS[twist] <= failed(report), report.results
    assert report.level != "gold"


def test_silent_model_is_not_gold(plugin: Build) -> None:
    report = check_plugin(plugin(MODEL.replace("{twist}", "found = []")))
    assert failed(report) == set()
    assert status(report)["model.speaks"] == "todo"
    assert report.level == "silver"


def test_undeclared_table_and_missing_contract(plugin: Build) -> None:
    report = check_plugin(plugin(MODEL.replace("{twist}", "pass").replace("reads=()", 'reads=("permit",)')))
    assert failed(report) == {"plugin.registers"}
    assert "capabilities.reads" in report.failed[0].words


IMPORTS = {
    "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()": "threads",
    "import socket\ns = socket.socket()\ns.bind(('127.0.0.1', 0))\ns.close()": "network",
    "open(__file__ + '.log', 'w').close()": "writing",
    "import sys\nsys.modules['duckdb'] = sys": "must not know",
    "import os\nos._exit(7)": "code 7",
    "raise RuntimeError('no licence')": "no licence",
}


@pytest.mark.parametrize("code", IMPORTS)
def test_hostile_import_is_seen_and_goes_no_further(plugin: Build, code: str) -> None:
    report = check_plugin(plugin(code))
    assert failed(report) == {"plugin.import"}
    assert IMPORTS[code] in report.failed[0].words
    assert "plugin.registers" not in status(report)
    assert report.level is None
    with pytest.raises(AssertionError, match=r"plugin\.import"):
        conformance("vendor")()


def test_manifest_api_and_unknown_plugin(plugin: Build) -> None:
    assert failed(check_plugin(plugin("", api=">=9"))) == {"plugin.manifest"}
    assert failed(check_plugin("nobody")) == {"plugin.manifest"}


def test_open_config_is_refused_and_can_be_exempt_with_a_reason(plugin: Build) -> None:
    name = plugin(MODEL.replace("{twist}", "pass").replace('extra="forbid"', ""))
    assert failed(check_plugin(name)) == {"plugin.config"}
    report = check_plugin(name, Scenario(exempt={"plugin.config": "old settings stay readable until 2027"}))
    assert failed(report) == set()
    assert [r.words for r in report.results if r.status == "exempt"] == ["old settings stay readable until 2027"]
    with pytest.raises(ValueError, match="there is no check"):
        Scenario(exempt={"plugin.nonsense": "x"})


def test_city_is_seeded() -> None:
    one, same, other = city(5), city(5), city(5, seed=2)
    assert np.array_equal(one.kw, same.kw, equal_nan=True)
    assert not np.array_equal(one.kw, other.kw, equal_nan=True)
    assert one.kw.shape == (60, 5, 96)
    assert one.window[-1] == date(2026, 3, 1)


GRID = """
import csv
import time
from datetime import date
from pathlib import Path
import pyarrow as pa
from pydantic import BaseModel, ConfigDict
from dianhuan_sdk import *

class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")
    path: str

class Adapter:
    def __init__(self, context):
        self.folder = Path(context.config.path)

    async def check(self):
        return CheckReport(self.folder.is_dir(), "no folder", "make it")

    async def discover(self):
        return [StreamInfo("load_curve", ("kwh",), "", "")]

    async def read(self, stream, window=None, cursor=None):
        done = "" if window or not cursor else cursor["file"]
        for file in sorted(self.folder.glob("*.csv")):
            if file.name <= done:
                continue
            lines = csv.reader(file.read_text("utf-8").splitlines())
            rows = [(a, date.fromisoformat(d), float(v)) for a, d, v in lines]
            rows = [r for r in rows if window is None or r[1] in window]
            {twist}
            columns = zip(*rows) if rows else ([], [], [])
            types = (pa.string(), pa.date32(), pa.float64())
            arrays = [pa.array(c, t) for c, t in zip(columns, types)]
            batch = pa.RecordBatch.from_arrays(arrays, names=["account", "day", "kwh"])
            yield Batch("kwh", batch, SourceRef(str(file)))
            yield Checkpoint({"file": file.name})

@hookimpl
def dianhuan_grid_adapters():
    return [GridAdapterSpec(id="acme", zh="", en="", config_model=Config, factory=Adapter)]
"""

KWH = TableContract(
    "kwh",
    "1.0",
    "电量",
    (
        Field("account", pa.string(), "户号", required=True),
        Field("day", pa.date32(), "日期", required=True),
        Field("kwh", pa.float64(), "电量", low=0),
    ),
    ("account", "day"),
)


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    folder = tmp_path / "in"
    folder.mkdir()
    for day in (1, 2, 3, 4):
        text = f"A1,2026-01-0{day},5\nA2,2026-01-0{day},{day}\n"
        (folder / f"2026010{day}.csv").write_text(text, "utf-8")
    windows = (Window(date(2026, 1, 1), date(2026, 1, 3)), Window(date(2026, 1, 3), date(2026, 1, 5)))
    config: dict[str, Any] = {"path": str(folder)}
    return Scenario(grid={"acme": GridScenario(config, "load_curve", windows, {"kwh": KWH})})


def test_good_adapter_reaches_silver(plugin: Build, scenario: Scenario) -> None:
    report = check_plugin(plugin(GRID.replace("{twist}", "pass"), kind="grid"), scenario)
    assert failed(report) == set(), report.failed
    assert set(status(report).values()) == {"done"}
    assert report.level == "silver"


def test_adapter_without_a_scenario_is_todo(plugin: Build) -> None:
    report = check_plugin(plugin(GRID.replace("{twist}", "pass"), kind="grid"))
    assert status(report)["grid.windows"] == "todo"
    assert report.level is None


GRID_TWISTS = {
    "rows = [(a, d, float(time.perf_counter_ns())) for a, d, v in rows]": {"grid.idempotent"},
    "rows = rows if window is None or (window.end - window.start).days > 2 else rows[1:]": {"grid.windows"},
    "rows = rows or [('A9', date(2026, 1, 1), 1.0)]": {"grid.windows"},
    "rows = [(a, d, -v) for a, d, v in rows]": {"grid.contract"},
    "file = file.with_name('0')": {"grid.cursor"},
    "if cursor and file.name.startswith('20260103'): continue": {"grid.cursor"},
    "yield Checkpoint({'file': object()})": {"grid.cursor"},
    "yield Batch('other', pa.RecordBatch.from_pylist([{'a': 1}]), SourceRef(''))": {"grid.contract"},
    "yield Batch('kwh', pa.RecordBatch.from_pylist([{'kwh': 1}]), SourceRef(''))": {"grid.contract"},
    "raise OSError('gone')": {"grid.contract", "grid.cursor", "grid.idempotent", "grid.windows"},
}


@pytest.mark.parametrize("twist", GRID_TWISTS)
def test_hostile_adapter_fails_the_check_that_is_about_it(scenario: Scenario, twist: str) -> None:
    report = Report("kit", check_adapter(described(GRID, "dianhuan_grid_adapters", twist), scenario))
    assert GRID_TWISTS[twist] <= failed(report), report.results
    assert status(report)["grid.check"] == "done"


def test_windows_of_a_scenario_touch() -> None:
    windows = (Window(date(2026, 1, 1), date(2026, 1, 2)), Window(date(2026, 1, 3), date(2026, 1, 5)))
    with pytest.raises(ValueError, match="touch"):
        GridScenario({}, "load_curve", windows, {})
