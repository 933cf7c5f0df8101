"""init, plugin, doctor, standards: what they print, and what they say to do."""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dianhuan_hub.cli import main
from dianhuan_hub.cli._output import emit, progress, to_json
from dianhuan_hub.kernel.config import HubConfig, load_config
from dianhuan_standards import TABLES

Build = Callable[..., str]
Run = Callable[..., tuple[int, str, str]]
Lines = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(w) for w in words])
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture
def lines(run: Run) -> Lines:
    """Runs a command with `--json` and gives its rows by their first key's value."""

    def call(*words: str | Path, code: int = 0) -> dict[str, dict[str, Any]]:
        got, out, err = run(*words, "--json")
        assert got == code, err
        rows = [json.loads(line) for line in out.splitlines()]
        return {next(iter(row.values())): row for row in rows}

    return call


def test_init_makes_a_hub_that_doctor_likes(run: Run, lines: Lines, tmp_path: Path) -> None:
    folder = tmp_path / "zhuzhou"
    made = json.loads(run("init", folder, "--name", "株洲市", "--division", "430200", "--json")[1])
    assert made["file"] == str(folder / "hub.toml")
    assert load_config(folder, {}).city.name == "株洲市"
    found = lines("--hub", folder, "doctor")
    assert {"python", "config", "data_dir", "disk", "port"} <= found.keys()
    assert found["config"]["result"] == "ok"
    code, out, err = run("init", folder, "--name", "株洲市", "--division", "430200")
    assert (code, out) == (1, "")
    assert "is there already" in err


def test_doctor_says_what_is_wrong(lines: Lines, hub: HubConfig, plugin: Build, site: Path) -> None:
    plugin("bad", "raise RuntimeError('no licence')")
    with socket.create_server(("127.0.0.1", 0)) as busy:
        text = hub.file.read_text("utf-8").replace("port = 8400", f"port = {busy.getsockname()[1]}")
        hub.file.write_text(text + '[sources.a]\nadapter = "gone"\n', "utf-8")
        found = lines("--hub", hub.file.parent, "doctor", code=1)
    assert found["port"]["result"] == "warn"
    assert "in use" in found["port"]["message"]
    assert found["plugin bad"]["result"] == "fail"
    assert "no licence" in found["plugin bad"]["message"]
    assert "sources.a.adapter = 'gone'" in found["config"]["message"]


def test_doctor_outside_of_a_hub(lines: Lines, tmp_path: Path) -> None:
    found = lines("--hub", tmp_path, "doctor", code=1)
    assert found["config"]["result"] == "fail"
    assert "dianhuan init" in found["config"]["hint"]


def test_doctor_where_the_data_folder_is_a_file(lines: Lines, hub: HubConfig) -> None:
    hub.data_dir.write_text("", "utf-8")
    found = lines("--hub", hub.file.parent, "doctor", code=1)
    assert found["data_dir"]["result"] == "fail"


def test_plugin_list_has_models_and_hints(
    lines: Lines, run: Run, plugin: Build, model_code: Callable[[str], str], tmp_path: Path
) -> None:
    plugin("models_a", model_code("m91-night-only"))
    plugin("bad", "raise RuntimeError('no licence')")
    rows = lines("--hub", tmp_path, "plugin", "list")
    assert rows["models_a"]["models"] == ["m91-night-only"]
    assert (rows["models_a"]["kind"], rows["models_a"]["state"], rows["models_a"]["version"]) == (
        "grid",
        "LOADED",
        "1.2",
    )
    assert rows["bad"]["state"] == "FAILED"
    assert "plugin disable bad" in rows["bad"]["hint"]
    table = run("--hub", tmp_path, "plugin", "list")[1]
    assert "m91-night-only" in table
    assert "FAILED" in table


def test_plugin_inspect(lines: Lines, run: Run, plugin: Build, model_code: Callable[[str], str]) -> None:
    plugin("models_a", model_code("m91-night-only"))
    plugin("good")
    facts = lines("plugin", "inspect", "models_a")["models_a"]
    assert facts["manifest"]["api"] == ">=1,<2"
    assert facts["models"][0]["config"] == {"ratio": 3.0}
    assert lines("plugin", "inspect", "good")["good"]["adapters"][0]["config"]["path"]["type"] == "string"
    code, _, err = run("plugin", "inspect", "nobody")
    assert code == 1
    assert "no plugin nobody" in err


def test_plugin_disable_and_enable(lines: Lines, run: Run, plugin: Build, hub: HubConfig) -> None:
    plugin("good")
    here = ("--hub", hub.file.parent)

    def state() -> str:
        return str(lines(*here, "plugin", "list")["good"]["state"])

    assert state() == "LOADED"
    lines(*here, "plugin", "disable", "good")
    assert state() == "DISABLED"
    assert lines(*here, "plugin", "enable", "good")["good"]["changed"] is True
    assert lines(*here, "plugin", "enable", "good")["good"]["changed"] is False
    assert state() == "LOADED"
    assert run(*here, "plugin", "disable", "nobody")[0] == 1
    hub.file.write_text(hub.file.read_text("utf-8").replace("disabled = []", 'disabled = ["good"]'), "utf-8")
    code, _, err = run(*here, "plugin", "enable", "good")
    assert code == 1
    assert "remove good from plugins.disabled" in err


def test_hostile_plugin_doctor_survives_what_it_looks_at(
    lines: Lines, plugin: Build, site: Path, hub: HubConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(site))
    plugin("good")
    plugin("bad", "import os\nos._exit(9)")
    here = ("--hub", hub.file.parent)
    assert lines(*here, "plugin", "doctor", "good")["good"]["state"] == "LOADED"
    row = lines(*here, "plugin", "doctor", "bad", code=1)["bad"]
    assert "ended with code 9" in row["error"]
    assert "vendor-bad" in row["hint"]
    lines(*here, "plugin", "disable", "bad")
    assert lines(*here, "plugin", "list")["good"]["state"] == "LOADED"


def test_plugin_test_runs_the_conformance_kit(
    run: Run, plugin: Build, model_code: Callable[[str], str], tmp_path: Path
) -> None:
    toml = '[[plugin]]\nid = "models_a"\nkind = "model"\napi = ">=1,<2"\nzh = "a"\nen = "a"\nmaintainers = ["v"]\n'
    plugin("models_a", model_code("m91-night-only"), manifest=toml + "alarm_budget = 0.05\n")
    code, out, err = run("plugin", "test", "models_a", "--json")
    report = json.loads(out)
    assert (code, report["plugin"], report["level"]) == (0, "models_a", "silver"), err
    assert {r["check"]: r["status"] for r in report["results"]}["model.speaks"] == "todo"
    plugin("good")
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(
        '[grid.good]\nstream = "load_curve"\nconfig = { path = "x" }\ndays = [2026-01-01, 2026-01-03, 2026-01-05]\n',
        "utf-8",
    )
    code, out, _ = run("plugin", "test", "good", "--scenario", scenario)
    assert code == 1
    assert "below bronze" in out
    assert "accepts unknown keys" in out
    scenario.write_text('[exempt]\n"nonsense" = "x"\n', "utf-8")
    code, _, err = run("plugin", "test", "good", "--scenario", scenario)
    assert code == 1
    assert "there is no check nonsense" in err


def test_standards_list_and_show(lines: Lines, run: Run) -> None:
    assert lines("standards", "list").keys() == TABLES.keys()
    shown = lines("standards", "show", "load_curve")["load_curve"]
    fields = {f["name"]: f for f in shown["fields"]}
    assert fields["kw"]["unit"] == "kW"
    assert "kw" in run("standards", "show", "load_curve")[1]
    code, _, err = run("standards", "show", "nope")
    assert code == 1
    assert "load_curve" in err


def test_standards_validate_says_row_by_row_what_is_wrong(run: Run, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    head = "account_no,entity_id,valid_from,valid_to\n"
    good.write_text(head + "A1,E1,2026-01-01,\n", "utf-8")
    bad.write_text(head + "A1,E1,2026-01-01,\nA2,E2,soon,\nA3,,2026-01-01,\n", "utf-8")
    code, out, _ = run("standards", "validate", good, "--table", "account_link")
    assert code == 0
    assert "account_link" in out
    code, out, _ = run("standards", "validate", bad, "--table", "account_link", "--json")
    report = json.loads(out)
    assert (code, report["ok"], report["rows"], report["refused"]) == (1, False, 3, 2)
    assert [(r["row"], r["column"]) for r in report["refusals"]] == [(2, "valid_from"), (3, "entity_id")]
    code, out, _ = run("standards", "validate", bad, "--table", "account_link", "--limit", "1")
    assert code == 1
    assert "第 2 行" in out
    assert "第 3 行" not in out
    assert "另有 1 行" in out
    code, out, err = run("standards", "validate", tmp_path / "none.csv", "--json")
    assert (code, out) == (1, "")
    assert json.loads(err)["error"] == "InputError"


def test_json_lines_are_plain_json() -> None:
    value = {"日": date(2026, 1, 2), "nan": math.nan, "n": np.float32(1.5), "path": Path("a"), "list": (1, {2})}
    assert json.loads(to_json(value)) == {"日": "2026-01-02", "nan": None, "n": 1.5, "path": "a", "list": [1, [2]]}
    assert "日" in to_json(value)


def test_tables_show_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    emit([{"name": "[red]钢厂[/red]", "ok": True, "none": None}], as_json=False)
    emit([], as_json=False)
    emit([], as_json=True)
    out = capsys.readouterr().out
    assert "[red]钢厂[/red]" in out
    assert "None" not in out


def test_progress_keeps_off_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    done = []
    with progress("reading", 2) as advance:
        for _ in range(2):
            advance(1)
            done.append(1)
    assert (len(done), capsys.readouterr().out) == (2, "")
