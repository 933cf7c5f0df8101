"""Finds one installed plugin: entry point, manifest, descriptors. Whatever it raises is a check's answer."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pluggy

from dianhuan_sdk import GridAdapterSpec, Manifest, ModelSpec, PluginError, StreamModelSpec, hooks
from dianhuan_sdk.manifest import ENTRY_POINT_GROUP, read_manifests


@dataclass(frozen=True)
class Subject:
    """The plugin that is looked at."""

    entry_point: importlib.metadata.EntryPoint
    manifest: Manifest
    models: list[ModelSpec] = field(default_factory=list)
    adapters: list[GridAdapterSpec] = field(default_factory=list)
    stream_models: list[StreamModelSpec] = field(default_factory=list)

    @property
    def descriptors(self) -> list[ModelSpec | GridAdapterSpec | StreamModelSpec]:
        """Everything it registers, in the order of `descriptors(entry_point)`."""
        return [*self.models, *self.adapters, *self.stream_models]


def entry_point_of(plugin: str) -> importlib.metadata.EntryPoint:
    """The entry point of that name.

    Raises:
        PluginError: there is none, or several.
    """
    found = [e for e in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP) if e.name == plugin]
    if len(found) != 1:
        raise PluginError(
            f"{len(found)} entry points {plugin} in the group {ENTRY_POINT_GROUP}",
            expected="one",
            hint="install the distribution (an editable installation will do) and read its entry points",
        )
    return found[0]


def manifest_of(entry_point: importlib.metadata.EntryPoint) -> Manifest:
    """Its manifest, read without importing the plugin."""
    spec = importlib.util.find_spec(entry_point.module.partition(".")[0])
    if spec is None or spec.origin is None:
        raise PluginError(f"no package {entry_point.module}", hint="install the distribution again")
    manifests = read_manifests(Path(spec.origin).parent / "plugin.toml")
    if entry_point.name not in manifests:
        raise PluginError(
            f"plugin.toml has no plugin with the id {entry_point.name}", expected=f"one of {', '.join(manifests)}"
        )
    return manifests[entry_point.name]


def descriptors(entry_point: importlib.metadata.EntryPoint) -> dict[str, list[Any]]:
    """What its registration hooks return, from a manager of its own."""
    manager = pluggy.PluginManager(hooks.PROJECT)
    manager.add_hookspecs(hooks)
    manager.register(entry_point.load(), entry_point.name)
    manager.check_pending()
    return {
        name: [d for i in getattr(manager.hook, name).get_hookimpls() for d in i.function()]
        for name in ("dianhuan_models", "dianhuan_grid_adapters", "dianhuan_stream_models")
    }
