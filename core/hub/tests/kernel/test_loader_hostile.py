"""Hostile plugins, as real distributions: the hub starts with the others loaded, and says what to do about each."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dianhuan_hub.kernel.clock import SystemClock
from dianhuan_hub.kernel.config import HubConfig, load_config
from dianhuan_hub.kernel.loader import PluginRecord, PluginRegistry, load_plugins, start_log

Build = Callable[..., str]
VENDORS = frozenset({"good", "bad", "worse", "models_a", "models_b"})


def load(hub: HubConfig | None, timeout: float = 30) -> PluginRegistry:
    return load_plugins(hub, only=VENDORS, start_timeout=timeout)


def left_out(registry: PluginRegistry, plugin: str, state: str, step: str) -> PluginRecord:
    """The record of a plugin that is out; the others are loaded."""
    record = registry.record(plugin)
    assert (record.state, record.step) == (state, step), record.error
    assert record.error is not None
    assert record.error.hint
    assert plugin in record.error.message
    assert registry.record("good").state == "LOADED"
    assert "good" in registry.grid_adapters()
    assert not set(record.ids("dianhuan_grid_adapters")) & registry.grid_adapters().keys()
    return record


CODE = {
    "raises": ("raise RuntimeError('no licence')", "import", "no licence"),
    "interrupts": ("raise KeyboardInterrupt", "import", "KeyboardInterrupt"),
    "exits": ("raise SystemExit(3)", "import", "SystemExit"),
    "broken_words": (
        "class E(Exception):\n    def __str__(self):\n        raise ValueError\nraise E()",
        "import",
        "no words",
    ),
    "hook_raises": (
        "from dianhuan_sdk import hookimpl\n@hookimpl\ndef dianhuan_models():\n    raise KeyError('x')",
        "register",
        "KeyError",
    ),
    "misspelt_hook": (
        "from dianhuan_sdk import hookimpl\n@hookimpl\ndef dianhuan_modles():\n    return []",
        "register",
        "dianhuan_modles",
    ),
    "async_hook": (
        "from dianhuan_sdk import hookimpl\n@hookimpl\nasync def dianhuan_models():\n    return []",
        "register",
        "asynchronous",
    ),
    "wrapper": (
        "from dianhuan_sdk import hookimpl\n@hookimpl(wrapper=True)\ndef dianhuan_models():\n    return (yield)",
        "register",
        "wrapper",
    ),
    "wrong_type": (
        "from dianhuan_sdk import hookimpl\n@hookimpl\ndef dianhuan_models():\n    return ['m01']",
        "register",
        "returned a str",
    ),
}


@pytest.mark.parametrize("case", CODE)
def test_hostile_code_leaves_only_that_plugin_out(hub: HubConfig, plugin: Build, case: str) -> None:
    code, step, words = CODE[case]
    plugin("good")
    plugin("bad", code)
    record = left_out(load(hub), "bad", "FAILED", step)
    assert words in str(record.error)


def test_hostile_hang_at_import_is_given_up(hub: HubConfig, plugin: Build) -> None:
    plugin("good")
    plugin("bad", "import threading\nthreading.Event().wait(20)", package="hangs")  # its import lock stays taken
    record = left_out(load(hub, timeout=2), "bad", "FAILED", "import")
    assert "no answer within 2 s" in str(record.error)


MANIFESTS = {
    "not_toml": ("[[plugin", "not TOML"),
    "not_utf8": ("\udcff", "manifest"),
    "no_kind": ('[[plugin]]\nid = "bad"\n', "plugin[0].kind"),
    "odd_shape": ("plugin = 3", "manifest"),
    "other_id": (
        '[[plugin]]\nid = "other"\nkind = "grid"\napi = ">=1"\nzh = "a"\nen = "a"\nmaintainers = ["v"]\n',
        "no plugin with the id bad",
    ),
    "odd_range": (
        '[[plugin]]\nid = "bad"\nkind = "grid"\napi = "~1"\nzh = "a"\nen = "a"\nmaintainers = ["v"]\n',
        "API range clause",
    ),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_hostile_manifest_is_refused_before_import(hub: HubConfig, plugin: Build, site: Path, case: str) -> None:
    text, words = MANIFESTS[case]
    plugin("good")
    package = plugin("bad", "raise RuntimeError", manifest="")
    (site / package / "plugin.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    record = left_out(load(hub), "bad", "REFUSED", "api" if case == "odd_range" else "manifest")
    assert words in str(record.error)
    assert package not in sys.modules


def test_hostile_missing_manifest_and_missing_package(hub: HubConfig, plugin: Build, site: Path) -> None:
    plugin("good")
    (site / plugin("bad") / "plugin.toml").unlink()
    package = site / plugin("worse")
    package.rename(site / "elsewhere")
    registry = load(hub)
    assert "no plugin.toml" in str(left_out(registry, "bad", "REFUSED", "manifest").error)
    assert "install vendor-worse again" in str(left_out(registry, "worse", "REFUSED", "manifest").error)


def test_wrong_api_range_is_refused_before_import(hub: HubConfig, plugin: Build) -> None:
    plugin("good")
    toml = '[[plugin]]\nid = "bad"\nkind = "grid"\napi = ">=7,<8"\nzh = "a"\nen = "a"\nmaintainers = ["v"]\n'
    package = plugin("bad", "raise RuntimeError", manifest=toml)
    record = left_out(load(hub), "bad", "REFUSED", "api")
    assert ">=7,<8" in str(record.error)
    assert "install a version of vendor-bad" in str(record.error)
    assert package not in sys.modules


def test_duplicate_plugin_ids_name_both(hub: HubConfig, plugin: Build) -> None:
    plugin("good")
    plugin("bad", dist="alpha", package="alpha_pkg")
    plugin("bad", dist="beta", package="beta_pkg")
    registry = load(hub)
    assert [r.state for r in registry.records if r.id == "bad"] == ["REFUSED", "REFUSED"]
    assert "alpha 1.2 and beta 1.2" in str(left_out(registry, "bad", "REFUSED", "discover").error)


def test_duplicate_model_numbers_name_both(hub: HubConfig, plugin: Build, model_code: Callable[[str], str]) -> None:
    plugin("good")
    plugin("models_a", model_code("m05-night-only"))
    plugin("models_b", model_code("m05-other"))
    registry = load(hub)
    for name in ("models_a", "models_b"):
        message = str(left_out(registry, name, "REFUSED", "register").error)
        assert "m05" in message
        assert "vendor-models_a" in message
        assert "vendor-models_b" in message
    assert registry.models() == {}


def test_settings_of_a_model_are_checked_with_path(
    hub: HubConfig, plugin: Build, model_code: Callable[[str], str]
) -> None:
    plugin("good")
    plugin("models_a", model_code("m05-night-only"))
    assert load(hub).models()["m05-night-only"].config is not None

    def with_setting(name: str, value: str) -> PluginRegistry:
        config = load_config(hub.file, {f"DIANHUAN_PLUGINS__MODELS_A__{name}": value})
        return load(config)

    good = with_setting("M05-NIGHT-ONLY", '{"ratio": 4}').models()["m05-night-only"].config
    assert getattr(good, "ratio", None) == 4
    bad = left_out(with_setting("M05-NIGHT-ONLY", '{"ratio": "x"}'), "models_a", "REFUSED", "config")
    assert "plugins.models_a.m05-night-only.ratio = 'x'" in str(bad.error)
    typo = left_out(with_setting("M05", '{"ratio": 4}'), "models_a", "REFUSED", "config")
    assert "unknown key plugins.models_a.m05" in str(typo.error)


def test_settings_of_a_source_are_checked_with_path(hub: HubConfig, plugin: Build) -> None:
    plugin("good")
    hub.file.write_text(
        hub.file.read_text("utf-8")
        + '[sources.ok]\nadapter = "good"\nconfig = { path = "in" }\n'
        + '[sources.bad]\nadapter = "good"\nconfig = { path = 3 }\n[sources.lost]\nadapter = "gone"\n',
        "utf-8",
    )
    registry = load(load_config(hub.file, {}))
    assert getattr(registry.source_config("ok"), "path", None) == "in"
    words = " ".join(str(p) for p in registry.problems())
    assert "sources.bad.config.path = 3" in words
    assert "sources.lost.adapter = 'gone'" in words
    assert "sources.ok" not in words


def test_disabled_in_the_file_and_by_command(hub: HubConfig, plugin: Build) -> None:
    plugin("good")
    package = plugin("bad")
    config = load_config(hub.file, {"DIANHUAN_PLUGINS__DISABLED": '["bad"]'})
    assert "plugins.disabled" in str(left_out(load(config), "bad", "DISABLED", "enabled").error)
    start_log(hub).switch_off("bad", "switched off by a person")
    assert "plugin enable bad" in str(left_out(load(hub), "bad", "DISABLED", "enabled").error)
    assert package not in sys.modules
    assert start_log(hub).switch_on("bad")
    assert not start_log(hub).switch_on("bad")
    assert load(hub).record("bad").state == "LOADED"


CHILD = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from dianhuan_hub.kernel.config import load_config
from dianhuan_hub.kernel.loader import load_plugins
registry = load_plugins(load_config(Path(sys.argv[2]), {}), only=frozenset({"good", "bad"}))
print(json.dumps({r.id: [r.state, r.step, str(r.error)] for r in registry.records}))
"""


def start_child(site: Path, hub: HubConfig) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CHILD, str(site), str(hub.file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_hostile_death_at_import_disables_on_the_next_start(hub: HubConfig, plugin: Build, site: Path) -> None:
    plugin("good")
    package = plugin("bad", "import os\nos._exit(9)")
    assert start_child(site, hub).returncode == 9
    second = start_child(site, hub)
    assert second.returncode == 0, second.stderr
    states = json.loads(second.stdout)
    assert states["good"][0] == "LOADED"
    assert states["bad"][:2] == ["DISABLED", "enabled"]
    assert "died while starting it (step import)" in states["bad"][2]
    assert "plugin enable bad" in states["bad"][2]
    (site / package / "__init__.py").write_text("", "utf-8")
    assert start_log(hub).switch_on("bad")
    third = json.loads(start_child(site, hub).stdout)
    assert third["bad"][0] == "LOADED"


def test_a_living_process_is_not_taken_for_a_dead_one(hub: HubConfig) -> None:
    starts = start_log(hub)
    with starts.marker() as marker, marker.starting("bad", "import"):
        assert start_log(hub).off() == {}
    assert list((hub.data_dir / "plugin-state").iterdir()) == []


def test_two_hubs_in_one_process(tmp_path: Path, hub: HubConfig, plugin: Build) -> None:
    plugin("good")
    plugin("bad")
    other = load_config(hub.file, {"DIANHUAN_DATA_DIR": "other", "DIANHUAN_PLUGINS__DISABLED": '["bad"]'})
    first, second = load(hub), load(other)
    assert set(first.grid_adapters()) == {"good", "bad"}
    assert set(second.grid_adapters()) == {"good"}
    assert first.record("good").guard is not second.record("good").guard


def test_hostile_print_keeps_off_stdout(hub: HubConfig, plugin: Build, capsys: pytest.CaptureFixture[str]) -> None:
    plugin("good", "print('advertisement')\n" + "from dianhuan_sdk import hookimpl\n")
    assert load(hub).record("good").state == "LOADED"
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "advertisement" in captured.err


def test_record_for_machines(plugin: Build, model_code: Callable[[str], str]) -> None:
    plugin("models_a", model_code("m05-night-only"))
    row = json.loads(json.dumps(load(None).record("models_a").as_dict()))
    assert (row["id"], row["state"], row["version"], row["models"]) == (
        "models_a",
        "LOADED",
        "1.2",
        ["m05-night-only"],
    )
    assert row["import_seconds"] >= 0
    assert row["last_progress"] <= SystemClock().now().isoformat()
