"""Commands of plugins: shown from their manifests without an import, imported when called."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import importlib.util
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_GROUP = "dianhuan.plugins"  # as dianhuan_sdk.manifest: importing the SDK costs what help may not cost


@dataclass(frozen=True, slots=True)
class Claim:
    """A command that the manifest of a plugin names."""

    plugin: str
    distribution: str
    help: str
    target: str


@functools.cache
def found() -> dict[str, list[Claim]]:
    """Command name → who claims it. Broken manifests show nothing here; `dianhuan plugin list` tells of them."""
    claims: dict[str, list[Claim]] = {}
    for entry_point in importlib.metadata.entry_points(group=_GROUP):
        with contextlib.suppress(Exception):
            for table in _tables(entry_point.module.partition(".")[0]):
                if table["id"] == entry_point.name:
                    distribution = entry_point.dist.name if entry_point.dist else "?"
                    for c in table.get("commands", ()):
                        claim = Claim(entry_point.name, distribution, str(c["help"]), str(c["target"]))
                        claims.setdefault(str(c["name"]), []).append(claim)
    return claims


@functools.cache
def _tables(package: str) -> list[dict[str, Any]]:
    spec = importlib.util.find_spec(package)
    if spec is None:
        return []
    places = spec.submodule_search_locations or [str(Path(spec.origin or ".").parent)]
    file = next(p for p in (Path(place) / "plugin.toml" for place in places) if p.exists())
    return list(tomllib.loads(file.read_text("utf-8"))["plugin"])


def resolve(name: str) -> object:
    """What the command's target names, imported behind the guard.

    Raises:
        PluginError: two plugins claim the command, or the plugin is refused, switched off or fails.
    """
    from dianhuan_hub.cli._state import hub_config_or_none
    from dianhuan_hub.kernel.loader import check_before_import
    from dianhuan_sdk import PluginError

    claims = found()[name]
    if len(claims) > 1:
        names = " and ".join(f"{c.plugin} ({c.distribution})" for c in claims)
        raise PluginError(
            f"command {name} is claimed by {names}",
            expected="one plugin for a command",
            hint=f"uninstall one of {names}; the hub does not choose",
        )
    claim = claims[0]
    record = check_before_import(claim.plugin, hub_config_or_none())
    module, _, attribute = claim.target.partition(":")
    return record.guard.call(f"command {name}", lambda: getattr(importlib.import_module(module), attribute))
