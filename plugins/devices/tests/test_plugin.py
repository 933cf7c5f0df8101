"""What the host sees of the distribution: manifest, entry points, hooks, imports."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

import pluggy
import pytest

from dianhuan_sdk import API_VERSION, DeviceCodec, DeviceProtocolSpec, hooks
from dianhuan_sdk.manifest import ENTRY_POINT_GROUP, read_manifests

PLUGINS = ("hj212", "dlt645", "modbus", "mqtt")


def test_manifest_names_every_entry_point() -> None:
    manifests = read_manifests(Path(str(files("dianhuan_devices"))) / "plugin.toml")
    assert tuple(manifests) == PLUGINS
    for manifest in manifests.values():
        assert manifest.allows(API_VERSION)
        assert manifest.kind == "device"
        assert set(manifest.capabilities.writes) == {"channel", "reading"}
    found = {e.name: e.value for e in entry_points(group=ENTRY_POINT_GROUP) if "dianhuan_devices" in e.value}
    assert found == {name: f"dianhuan_devices.{name}" for name in PLUGINS}


def test_command_group_is_reachable() -> None:
    manifests = read_manifests(Path(str(files("dianhuan_devices"))) / "plugin.toml")
    (command,) = manifests["hj212"].commands
    module, _, name = command.target.partition(":")
    assert command.name == "device"
    assert callable(getattr(import_module(module), name))


@pytest.mark.parametrize("name", PLUGINS)
def test_hook_registers_one_protocol(name: str) -> None:
    manager = pluggy.PluginManager(hooks.PROJECT)
    manager.add_hookspecs(hooks)
    manager.register(import_module(f"dianhuan_devices.{name}"))
    manager.check_pending()
    ((spec,),) = manager.hook.dianhuan_device_protocols()
    assert isinstance(spec, DeviceProtocolSpec)
    assert spec.id == name
    for method in ("feed", "settle", "reply", "plan", "sent", "to_batch", "channels"):
        assert hasattr(DeviceCodec, method)


def test_import_of_the_top_package_loads_nothing_else() -> None:
    code = "import sys; import dianhuan_devices; print(sorted(m for m in sys.modules if '.' not in m))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("pyarrow", "cryptography", "msgspec", "typer", "pydantic"):
        assert f"'{heavy}'" not in loaded


@pytest.mark.parametrize("name", PLUGINS)
def test_import_of_a_plugin_starts_no_thread_and_no_cipher(name: str) -> None:
    code = (
        f"import sys, threading; import dianhuan_devices.{name}; "
        "print(threading.active_count(), 'cryptography' in sys.modules, 'pymodbus' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False", "False"]
