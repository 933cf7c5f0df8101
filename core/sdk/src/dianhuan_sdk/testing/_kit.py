"""Runs the checks of one plugin."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel

from dianhuan_sdk import API_VERSION, ArrayBlock, GridAdapterSpec, ModelSpec, StreamModelSpec, TableContract
from dianhuan_sdk.testing._city import city
from dianhuan_sdk.testing._context import kit_context
from dianhuan_sdk.testing._grid import GridScenario, GridTrial
from dianhuan_sdk.testing._load import Subject, descriptors, entry_point_of, manifest_of
from dianhuan_sdk.testing._model import ModelTrial
from dianhuan_sdk.testing._plants import Plants, plants
from dianhuan_sdk.testing._report import Level, NotMet, NotTried, Report, Result
from dianhuan_sdk.testing._stream import StreamTrial

IMPORT_SECONDS = 0.3
LEVELS: Mapping[str, Level] = {
    "plugin.manifest": "bronze",
    "plugin.import": "bronze",
    "plugin.registers": "bronze",
    "plugin.config": "bronze",
    "plugin.again": "silver",
    "plugin.import_time": "silver",
    "model.findings": "bronze",
    "model.deterministic": "bronze",
    "model.pure": "silver",
    "model.future_poison": "silver",
    "model.row_order": "silver",
    "model.missing": "silver",
    "model.speaks": "gold",
    "stream.findings": "bronze",
    "stream.events": "bronze",
    "stream.missing": "bronze",
    "stream.pure": "silver",
    "stream.restart": "silver",
    "stream.future_poison": "silver",
    "stream.link_order": "silver",
    "stream.links_change": "silver",
    "stream.speaks": "gold",
    "grid.check": "bronze",
    "grid.contract": "bronze",
    "grid.idempotent": "silver",
    "grid.cursor": "silver",
    "grid.windows": "silver",
}
"""Every check, and the level that asks for it."""


@dataclass(frozen=True)
class Scenario:
    """What the kit needs to know of a plugin.

    Args:
        exempt: check id → reason why this plugin need not meet it.
        contracts: the table contracts, e.g. `dianhuan_standards.TABLES`.
        tables: rows of context tables for models; a table that is not given is empty.
        parameters: model id → parameters other than the defaults.
        blocks: model id → `(days, seed) -> ArrayBlock`, where the kit's own small city gives a model nothing to say.
        plants: real-time model id → `seed -> Plants`, where the kit's own plants give a model nothing to say.
        grid: adapter id → a source with data.
    """

    exempt: Mapping[str, str] = field(default_factory=dict)
    contracts: Mapping[str, TableContract] = field(default_factory=dict)
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    blocks: Mapping[str, Callable[[int, int], ArrayBlock]] = field(default_factory=dict)
    plants: Mapping[str, Callable[[int], Plants]] = field(default_factory=dict)
    grid: Mapping[str, GridScenario] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.exempt) - set(LEVELS))
        if unknown:
            raise ValueError(f"there is no check {unknown[0]}; the checks are {', '.join(LEVELS)}")


def check_plugin(plugin: str, scenario: Scenario | None = None) -> Report:
    """Run all checks that apply to a plugin. What the plugin raises is a result, never an exception of this call.

    Args:
        plugin: name of its entry point.
        scenario: what to try it on.
    """
    given = scenario or Scenario()
    results: list[Result] = []
    loaded: list[Subject] = []
    seconds: list[float] = []
    steps: Mapping[str, Callable[[], None]] = {
        "plugin.manifest": lambda: _manifest(plugin),
        "plugin.import": lambda: seconds.append(_import(plugin)),
        "plugin.registers": lambda: loaded.append(_registers(plugin)),
    }
    for check, function in steps.items():
        results.append(_outcome(check, plugin, function, given.exempt))
        if results[-1].status == "failed":
            return Report(plugin, results)  # each needs the one before: without a manifest nothing is imported
    subject = loaded[0] if loaded else _registers(plugin)
    for check, function in {
        "plugin.import_time": lambda: _import_time(plugin, seconds),
        "plugin.config": lambda: _config(subject),
        "plugin.again": lambda: _again(subject),
    }.items():
        results.append(_outcome(check, plugin, function, given.exempt))
    for model in subject.models:
        results += check_model(model, given, plugin=plugin)
    for stream_model in subject.stream_models:
        results += check_stream_model(stream_model, given, plugin=plugin)
    for adapter in subject.adapters:
        results += check_adapter(adapter, given, plugin=plugin)
    return Report(plugin, results)


def check_model(spec: ModelSpec, scenario: Scenario, *, plugin: str = "kit") -> list[Result]:
    """Run the checks of one model, packaged or not."""
    with tempfile.TemporaryDirectory() as folder:
        trial = ModelTrial(
            lambda config: kit_context(plugin, config, Path(folder)),
            spec,
            scenario.parameters.get(spec.id, {}),
            scenario.tables,
            scenario.contracts,
            scenario.blocks.get(spec.id, _city),
        )
        return [_outcome(check, spec.id, function, scenario.exempt) for check, function in trial.checks().items()]


def check_stream_model(spec: StreamModelSpec, scenario: Scenario, *, plugin: str = "kit") -> list[Result]:
    """Run the checks of one real-time model, packaged or not."""
    with tempfile.TemporaryDirectory() as folder:
        trial = StreamTrial(
            lambda config: kit_context(plugin, config, Path(folder)),
            spec,
            scenario.parameters.get(spec.id, {}),
            scenario.plants.get(spec.id, _plants),
        )
        return [_outcome(check, spec.id, function, scenario.exempt) for check, function in trial.checks().items()]


def check_adapter(spec: GridAdapterSpec, scenario: Scenario, *, plugin: str = "kit") -> list[Result]:
    """Run the checks of one grid adapter, packaged or not."""
    with tempfile.TemporaryDirectory() as folder:
        trial = GridTrial(plugin, spec, scenario.grid.get(spec.id), Path(folder))
        return [_outcome(check, spec.id, function, scenario.exempt) for check, function in trial.checks().items()]


def _city(days: int, seed: int) -> ArrayBlock:
    return city(days, seed=seed)


def _plants(seed: int) -> Plants:
    return plants(days=3, seed=seed)


def _outcome(check: str, subject: str, function: Callable[[], None], exempt: Mapping[str, str]) -> Result:
    if check in exempt:
        return Result(check, subject, LEVELS[check], "exempt", exempt[check])
    try:
        function()
    except NotMet as answer:
        return Result(check, subject, LEVELS[check], "failed", str(answer))
    except NotTried as answer:
        return Result(check, subject, LEVELS[check], "todo", str(answer))
    except Exception as error:
        return Result(check, subject, LEVELS[check], "failed", f"{type(error).__name__}: {error}")
    return Result(check, subject, LEVELS[check], "done")


def _manifest(plugin: str) -> None:
    manifest = manifest_of(entry_point_of(plugin))
    if not manifest.allows(API_VERSION):
        raise NotMet(f"api = {manifest.api!r} does not hold {'.'.join(map(str, API_VERSION))}")
    if manifest.kind == "model" and manifest.alarm_budget is None:
        raise NotMet("a plugin of models states its alarm_budget")


def _probe(plugin: str) -> Mapping[str, Any]:
    module = entry_point_of(plugin).module
    path = [p for p in sys.path if p]
    code = f"import sys; sys.path[:0] = {path!r}; from dianhuan_sdk.testing._import_probe import main; main({module!r})"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    if child.returncode != 0:
        last = child.stderr.strip().splitlines()[-1:] or [""]
        raise NotMet(f"importing {module} ends its process with code {child.returncode}: {last[0]}")
    answer: Mapping[str, Any] = json.loads(child.stdout)
    return answer


def _import(plugin: str) -> float:
    """Importing the plugin, in a process of its own, starts and touches nothing; the seconds that it took."""
    seen = _probe(plugin)
    for what, words in (
        ("threads", "threads are left"),
        ("network", "the network is used"),
        ("written", "files are opened for writing"),
        ("forbidden", "packages are imported that a plugin must not know"),
    ):
        if seen[what]:
            raise NotMet(f"at import {words}: {seen[what]}")
    return float(seen["seconds"])


def _import_time(plugin: str, measured: list[float]) -> None:
    tries = [*measured]
    while len(tries) < 3 and min(tries, default=IMPORT_SECONDS + 1) > IMPORT_SECONDS:
        tries.append(float(_probe(plugin)["seconds"]))  # another process may have been in the way
    best = min(tries)
    if best > IMPORT_SECONDS:
        raise NotMet(f"{best:.2f} s to import beside the SDK, asked is {IMPORT_SECONDS} s: import heavy packages late")


def _registers(plugin: str) -> Subject:
    entry_point = entry_point_of(plugin)
    manifest, found = manifest_of(entry_point), descriptors(entry_point)
    models, adapters = found["dianhuan_models"], found["dianhuan_grid_adapters"]
    stream_models: list[StreamModelSpec] = found["dianhuan_stream_models"]
    warning_models = [*models, *stream_models]
    if manifest.kind == "model" and not warning_models:
        raise NotMet("kind is model, but no model is registered")
    if manifest.kind == "grid" and not adapters:
        raise NotMet("kind is grid, but no adapter is registered")
    undeclared = {t for m in warning_models for t in m.reads} - set(manifest.capabilities.reads)
    if undeclared:
        raise NotMet(f"models read {', '.join(sorted(undeclared))}, which capabilities.reads does not name")
    for model in warning_models:
        if not re.fullmatch(r"[a-z]+\d*-[a-z0-9-]+", model.id):
            raise NotMet(f"model id {model.id!r}: asked is a number, a dash and a speaking suffix")
    return Subject(entry_point, manifest, models, adapters, stream_models)


def _config(subject: Subject) -> None:
    """Config models refuse what they do not know, have a JSON schema, and models run without any setting."""
    for descriptor in subject.descriptors:
        model: type[BaseModel] = descriptor.config_model
        if model.model_config.get("extra") != "forbid":
            raise NotMet(f"{descriptor.id}: {model.__name__} accepts unknown keys: a typo would go unnoticed")
        model.model_json_schema()
    for spec in subject.models:
        spec.config_model()
    for stream_spec in subject.stream_models:
        stream_spec.config_model()


def _again(subject: Subject) -> None:
    """Registering again gives the same ids and leaves no thread."""
    before = threading.active_count()
    for _ in range(3):
        ids = [d.id for found in descriptors(subject.entry_point).values() for d in found]
        if ids != [d.id for d in subject.descriptors]:
            raise NotMet(f"another registration gives {ids}")
    if threading.active_count() > before:
        raise NotMet(f"{threading.active_count() - before} threads are left by three registrations")
