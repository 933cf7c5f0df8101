"""The plugin as the host sees it: entry point, manifest, specs."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from pathlib import Path

import pluggy
import pytest
from pydantic import BaseModel

import dianhuan_models
from dianhuan_models.specs import SPECS
from dianhuan_models.stream_specs import STREAM_SPECS
from dianhuan_sdk import API_VERSION, FEATURES, ConfigError, PluginContext, hooks
from dianhuan_sdk.manifest import ENTRY_POINT_GROUP, read_manifests
from dianhuan_standards.tables import TABLES


class Foreign(BaseModel):
    """Another plugin's configuration."""


def manifest():
    return read_manifests(Path(dianhuan_models.__file__).parent / "plugin.toml")["models"]


def context(config):
    blank = dict.fromkeys(("secret", "clock", "log", "metrics", "http", "storage", "folder"))
    return PluginContext(plugin_id="models", config=config, **blank)


def test_the_entry_point_registers_every_model():
    (entry,) = [e for e in entry_points(group=ENTRY_POINT_GROUP) if e.name == "models"]
    manager = pluggy.PluginManager(hooks.PROJECT)
    manager.add_hookspecs(hooks)
    manager.register(importlib.import_module(entry.value))
    (specs,) = manager.hook.dianhuan_models()
    assert [s.id for s in specs] == [s.id for s in SPECS]
    assert manifest().allows(API_VERSION)


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.id)
def test_specs_read_only_what_exists_and_is_declared(spec):
    assert set(spec.features) <= {f.name for f in FEATURES}
    assert set(spec.reads) <= set(manifest().capabilities.reads) & set(TABLES)
    assert spec.alarm_budget <= manifest().alarm_budget
    assert callable(spec.factory(context(spec.config_model())).score)
    assert spec.card.limits
    assert spec.card.false_positives


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.id)
def test_a_foreign_configuration_is_refused_with_a_hint(spec):
    with pytest.raises(ConfigError, match=spec.config_model.__name__):
        spec.factory(context(Foreign()))


def test_the_stream_hook_registers_the_real_time_models():
    manager = pluggy.PluginManager(hooks.PROJECT)
    manager.add_hookspecs(hooks)
    manager.register(dianhuan_models)
    (specs,) = manager.hook.dianhuan_stream_models()
    assert [s.id for s in specs] == [s.id for s in STREAM_SPECS]
    assert not {s.id.partition("-")[0] for s in specs} & {s.id.partition("-")[0] for s in SPECS}
    assert {t for s in specs for t in s.reads} <= set(manifest().capabilities.reads) & set(TABLES)
    assert max(s.alarm_budget for s in specs) <= manifest().alarm_budget
    for spec in specs:
        with pytest.raises(ConfigError, match=spec.config_model.__name__):
            spec.factory(context(Foreign()))
