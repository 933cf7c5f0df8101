"""Finds plugins and reads their manifests without importing a line of them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dianhuan_sdk import Manifest, PluginError
from dianhuan_sdk.manifest import ENTRY_POINT_GROUP, read_manifests

_ID = re.compile(r"[a-z][a-z0-9_]{1,40}")


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry point of the group `dianhuan.plugins`, and the distribution that it comes from."""

    id: str
    entry_point: importlib.metadata.EntryPoint
    distribution: str
    version: str


def candidates(entry_points: Iterable[importlib.metadata.EntryPoint] | None = None) -> list[Candidate]:
    """All candidates by id and distribution; by default those installed on `sys.path`."""
    found = importlib.metadata.entry_points(group=ENTRY_POINT_GROUP) if entry_points is None else entry_points
    made = [Candidate(e.name, e, *_origin(e)) for e in found]
    return sorted(made, key=lambda c: (c.id, c.distribution))


def _origin(entry_point: importlib.metadata.EntryPoint) -> tuple[str, str]:
    try:
        if entry_point.dist is not None:
            return entry_point.dist.name or "?", entry_point.dist.version or "?"
    except Exception:  # metadata of a broken installation; the plugin itself may still be whole
        pass
    return "?", "?"


def manifest_of(candidate: Candidate) -> Manifest:
    """The candidate's manifest, from `plugin.toml` in its top package.

    Raises:
        PluginError: there is none, or it is wrong.
    """
    if not _ID.fullmatch(candidate.id):
        raise PluginError(
            f"entry point {candidate.id!r} of {candidate.distribution}",
            expected="a name of lower-case letters, digits and _",
            hint="rename the entry point and the id in plugin.toml",
        )
    file = _folder(candidate) / "plugin.toml"
    manifests = read_manifests(file)
    if candidate.id not in manifests:
        raise PluginError(
            f"plugin.toml of {file.parent.name} has no plugin with the id {candidate.id}",
            expected=f"the entry point's name among {', '.join(manifests) or 'its ids (there are none)'}",
            hint="give the entry point and the manifest the same id",
        )
    return manifests[candidate.id]


def _folder(candidate: Candidate) -> Path:
    top = candidate.entry_point.module.partition(".")[0]
    spec = importlib.util.find_spec(top)  # of a top-level name: looks, does not import
    if spec is None:
        raise PluginError(
            f"the package {top} of {candidate.distribution} is not there",
            expected=f"an installed package {top}",
            hint=f"install {candidate.distribution} again",
        )
    places = [Path(p) for p in spec.submodule_search_locations or ()] or [Path(spec.origin or ".").parent]
    return next((p for p in places if (p / "plugin.toml").exists()), places[0])
