"""The frame: help imports nothing heavy, errors are words and exit codes, plugins add commands."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dianhuan_hub.cli import _plugin_commands, main
from dianhuan_hub.cli._commands import COMMANDS
from dianhuan_hub.kernel.config import HubConfig

Build = Callable[..., str]
Run = Callable[..., tuple[int, str, str]]

TOML = """
[[plugin]]
id = "{id}"
kind = "tool"
api = ">=1,<2"
zh = "甲"
en = "A"
maintainers = ["v"]
commands = [{{ name = "{command}", help = "vendor's help", target = "{target}" }}]
"""

COMMAND = """
import typer
app = typer.Typer()

@app.command()
def say(word: str) -> None:
    print(word)

@app.command()
def fail() -> None:
    from dianhuan_sdk import InputError
    raise InputError("bad file", expected="a good one", hint="repair it")
"""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    def call(*words: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(w) for w in words])
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    _plugin_commands.found.cache_clear()
    yield call
    _plugin_commands.found.cache_clear()
    _plugin_commands._tables.cache_clear()


HELP = """
import sys
from dianhuan_hub.cli import main
sys.path.insert(0, sys.argv[1])
try:
    main(["--help"])
except SystemExit as end:
    heavy = {"duckdb", "pyarrow", "numpy", "pydantic", "httpx", "fastapi", "strawberry", "vendor_good"}
    heavy |= {"dianhuan_sdk", "dianhuan_standards"}
    print("heavy:", sorted(heavy & sys.modules.keys()), end.code)
"""


def test_help_shows_all_commands_and_imports_nothing_heavy(plugin: Build, site: Path) -> None:
    plugin("good", COMMAND, manifest=TOML.format(id="good", command="vend", target="vendor_good:app"))
    child = subprocess.run(
        [sys.executable, "-c", HELP, str(site)], capture_output=True, text=True, timeout=60, check=True
    )
    for command in [*COMMANDS, "vend"]:
        assert f" {command} " in child.stdout
    assert "vendor's help" in child.stdout
    assert child.stdout.splitlines()[-1] == "heavy: [] 0"


def test_every_command_can_be_imported(run: Run) -> None:
    for command in COMMANDS:
        code, out, _ = run(command, "--help")
        assert code == 0
        assert f"dianhuan {command}" in out


def test_unknown_command_and_wrong_option(run: Run) -> None:
    code, out, err = run("nonsense")
    assert (code, out) == (2, "")
    assert "nonsense" in err
    assert run("doctor", "--nonsense")[0] == 2


def test_version(run: Run) -> None:
    code, out, _ = run("--version")
    assert (code, out.split()[0]) == (0, "dianhuan")


def test_plugin_command_runs_behind_the_guard(run: Run, plugin: Build) -> None:
    plugin("good", COMMAND, manifest=TOML.format(id="good", command="vend", target="vendor_good:app"))
    assert run("vend", "say", "喂") == (0, "喂\n", "")
    code, out, err = run("vend", "fail")
    assert (code, out) == (1, "")
    assert [line.split(": ", 1)[1] for line in err.splitlines()] == ["bad file", "a good one", "repair it"]


def test_expected_error_is_one_json_object(run: Run, tmp_path: Path) -> None:
    code, out, err = run("--hub", tmp_path, "plugin", "enable", "x", "--json")
    assert (code, out) == (1, "")
    error = json.loads(err)
    assert error["error"] == "ConfigError"
    assert "hub.toml" in error["message"]
    assert "dianhuan init" in error["hint"]


@pytest.mark.parametrize(
    ("target", "words"),
    [("vendor_bad:nothing", "AttributeError"), ("vendor_gone:app", "ModuleNotFoundError")],
)
def test_hostile_plugin_command_is_an_expected_error(run: Run, plugin: Build, target: str, words: str) -> None:
    plugin("bad", COMMAND, manifest=TOML.format(id="bad", command="vend", target=target))
    code, _, err = run("vend")
    assert code == 1
    assert words in err
    assert "plugin bad: command vend" in err


def test_hostile_claim_of_a_command_names_both_and_never_hides_ours(run: Run, plugin: Build) -> None:
    for name in ("good", "bad"):
        plugin(name, COMMAND, manifest=TOML.format(id=name, command="vend", target=f"vendor_{name}:app"))
    plugin("worse", "raise RuntimeError", manifest=TOML.format(id="worse", command="doctor", target="vendor_worse:app"))
    code, _, err = run("vend", "say", "x")
    assert code == 1
    assert "good (vendor-good)" in err
    assert "bad (vendor-bad)" in err
    assert run("doctor", "--help")[0] == 0


def test_hostile_manifest_does_not_spoil_help(run: Run, plugin: Build) -> None:
    plugin("bad", COMMAND, manifest="[[plugin")
    assert run("--help")[0] == 0


def test_switched_off_plugin_runs_no_command(run: Run, plugin: Build, hub: HubConfig) -> None:
    plugin("good", COMMAND, manifest=TOML.format(id="good", command="vend", target="vendor_good:app"))
    assert run("--hub", hub.file.parent, "plugin", "disable", "good")[0] == 0
    code, _, err = run("--hub", hub.file.parent, "vend", "say", "x")
    assert code == 1
    assert "plugin enable good" in err


def test_unexpected_error_is_short_and_ends_in_70(run: Run, plugin: Build) -> None:
    plugin(
        "bad",
        COMMAND + "@app.command()\ndef crash() -> None:\n    1 / 0\n",
        manifest=TOML.format(id="bad", command="vend", target="vendor_bad:app"),
    )
    code, out, err = run("vend", "crash")
    assert (code, out) == (70, "")
    assert "ZeroDivisionError" in err
    assert "Traceback" not in err
    assert len(err.splitlines()) == 2
