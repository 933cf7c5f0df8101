"""Loads plugins one by one. Whatever a plugin does wrong leaves that plugin out, with a hint, and the hub up.

Steps: `discover` → `manifest` → `api` → `enabled` → `import` → `register` → `config` → `ready`. `REFUSED` means that
the hub said no (manifest, API range, duplicates, settings), `FAILED` that the plugin's own code did not work.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint

import pluggy
from pydantic import BaseModel

from dianhuan_hub.kernel._collect import REGISTRATION, collect, plugin_manager
from dianhuan_hub.kernel._discover import Candidate, candidates, manifest_of
from dianhuan_hub.kernel._explain import validated
from dianhuan_hub.kernel._registry import PluginRecord, PluginRegistry, Registered, State
from dianhuan_hub.kernel._services import check_services, claims
from dianhuan_hub.kernel._starting import Marker, StartLog, SwitchedOff
from dianhuan_hub.kernel.clock import SystemClock
from dianhuan_hub.kernel.config import HubConfig
from dianhuan_hub.kernel.guard import Guard
from dianhuan_hub.kernel.secrets import Vault
from dianhuan_sdk import API_VERSION, Clock, ConfigError, DianhuanError, Manifest, PluginError

__all__ = [
    "START_TIMEOUT",
    "PluginRecord",
    "PluginRegistry",
    "Registered",
    "State",
    "check_before_import",
    "load_plugins",
    "start_log",
]

log = logging.getLogger(__name__)

START_TIMEOUT = 60.0
"""Seconds for an import, or for the answer of the hooks; a busy machine may compile much the first time."""


def start_log(config: HubConfig, clock: Clock | None = None) -> StartLog:
    """Which plugins of a hub do not start."""
    return StartLog(config.data_dir / "plugin-state", clock or SystemClock())


def load_plugins(
    config: HubConfig | None,
    *,
    clock: Clock | None = None,
    vault: Vault | None = None,
    entry_points: Iterable[EntryPoint] | None = None,
    only: frozenset[str] | None = None,
    start_timeout: float = START_TIMEOUT,
) -> PluginRegistry:
    """Load the installed plugins.

    Args:
        config: the hub's configuration; None to look at plugins outside of a hub, with default settings.
        clock: time of the records.
        vault: takes secrets out of messages.
        entry_points: by default those of the group `dianhuan.plugins` on `sys.path`.
        only: ids to load; None for all.
        start_timeout: seconds that each plugin may take to import, and to answer its hooks.

    Raises:
        ConfigError: the data folder cannot be written. Nothing that a plugin does raises.
    """
    clock = clock or SystemClock()
    found = [c for c in candidates(entry_points) if only is None or c.id in only]
    records = [
        PluginRecord(c.id, c.distribution, c.version, Guard(c.id, clock, clean=vault.clean if vault else str))
        for c in found
    ]
    with contextlib.ExitStack() as stack:
        starts = start_log(config, clock) if config else None
        off = starts.off() if starts else {}
        loading = _Loading(config, stack.enter_context(starts.marker()) if starts else None, start_timeout)
        pairs = list(zip(found, records, strict=True))
        _refuse_same_ids(pairs)
        for candidate, record in pairs:
            if record.error is None:
                _before_import(candidate, record, config, off.get(record.id))
        # nothing that a plugin prints may get between the lines of `--json`
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        for candidate, record in pairs:
            if record.error is None:
                loading.start(candidate, record)
    _refuse_same_descriptors(records)
    for record in records:
        if record.error and record.state != "DISABLED":
            log.warning("plugin %s is left out at step %s: %s", record.id, record.step, record.error)
    return PluginRegistry(records, loading.settings, config)


def check_before_import(plugin: str, config: HubConfig | None, *, clock: Clock | None = None) -> PluginRecord:
    """Everything that the loader asks before it imports a plugin, for commands that run one plugin's code only.

    Raises:
        PluginError, ConfigError: why the plugin may not be imported.
    """
    clock = clock or SystemClock()
    pairs = [(c, PluginRecord(c.id, c.distribution, c.version, Guard(c.id, clock))) for c in candidates()]
    starts = start_log(config, clock) if config else None
    pairs = [(c, r) for c, r in pairs if c.id == plugin]
    _refuse_same_ids(pairs)
    for candidate, record in pairs:
        if record.error is None:
            _before_import(candidate, record, config, starts.off().get(plugin) if starts else None)
        if record.error is not None:
            raise record.error
        return record
    raise PluginError(f"no plugin {plugin}", hint="see `dianhuan plugin list`")


class _Loading:
    """One run of the loader."""

    def __init__(self, config: HubConfig | None, marker: Marker | None, timeout: float) -> None:
        self.settings: dict[tuple[str, str], BaseModel] = {}
        self._config = config
        self._marker = marker
        self._timeout = timeout
        self._manager: pluggy.PluginManager = plugin_manager()

    def start(self, candidate: Candidate, record: PluginRecord) -> None:
        mark = self._marker.starting if self._marker else _no_mark
        try:
            record.step = "import"
            began = time.perf_counter()
            with mark(record.id, "import"):
                plugin = record.guard.call("import", candidate.entry_point.load, timeout=self._timeout)
            record.import_seconds = round(time.perf_counter() - began, 4)
            record.step = "register"
            with mark(record.id, "register"):
                record.descriptors = record.guard.call(
                    "register", lambda: collect(self._manager, plugin, record.id), timeout=self._timeout
                )
            check_services(record)
            record.step = "config"
            record.guard.call("config", lambda: self._read_settings(record))
        except ConfigError as error:
            record.state, record.error = "REFUSED", error
        except DianhuanError as error:
            record.state, record.error = "FAILED", error
        else:
            record.state, record.step = "LOADED", "ready"
        if record.error and self._manager.has_plugin(record.id):
            self._manager.unregister(name=record.id)

    def _read_settings(self, record: PluginRecord) -> None:
        table = self._config.plugins.table(record.id) if self._config else {}
        file = str(self._config.file) if self._config else ""
        # an adapter has settings for each source; everything else has one table for the hub
        known = {
            d.id: (hook, d) for hook, ds in record.descriptors.items() if hook != "dianhuan_grid_adapters" for d in ds
        }
        unknown = sorted(table.keys() - known.keys())
        if unknown:
            raise ConfigError(
                f"{file}: unknown key plugins.{record.id}.{unknown[0]}",
                expected=f"one of {', '.join(known)}"
                if known
                else "no settings: those of an adapter stand at its source",
                hint=f"remove or rename plugins.{record.id}.{unknown[0]}",
            )
        for identity, (hook, descriptor) in known.items():
            place = ("plugins", record.id, identity)
            given = table.get(identity, {})
            if not isinstance(given, Mapping):
                raise ConfigError(f"{file}: {'.'.join(place)} = {given!r}", expected="a table of parameters")
            self.settings[hook, identity] = validated(descriptor.config_model, given, file=file, path=place)


def _before_import(
    candidate: Candidate, record: PluginRecord, config: HubConfig | None, off: SwitchedOff | None
) -> None:
    try:
        record.step = "manifest"
        record.manifest = record.guard.call("manifest", lambda: manifest_of(candidate))
        record.step = "api"
        if not record.guard.call("api", lambda: _manifest(record).allows(API_VERSION)):
            version = ".".join(map(str, API_VERSION))
            raise PluginError(
                f"plugin {record.id} {record.version} is written for API {_manifest(record).api}; "
                f"this hub has {version}",
                expected=f"a range that holds {version}",
                hint=f"install a version of {record.distribution} for this hub, or update the hub",
            )
    except DianhuanError as error:
        record.state, record.error = "REFUSED", error
        return
    record.step = "enabled"
    if config and record.id in config.plugins.disabled:
        record.state = "DISABLED"
        record.error = PluginError(
            f"plugin {record.id} stands under plugins.disabled",
            hint=f"remove it from plugins.disabled in {config.file} to use it",
        )
    elif off is not None:
        record.state = "DISABLED"
        record.error = PluginError(
            f"plugin {record.id}: {off.reason}, {off.at}",
            hint=(f"update or repair {record.distribution}, then " if off.crashed else "")
            + f"`dianhuan plugin enable {record.id}`",
        )


@contextlib.contextmanager
def _no_mark(plugin: str, step: str) -> Iterator[None]:
    yield


def _manifest(record: PluginRecord) -> Manifest:
    assert record.manifest is not None
    return record.manifest


def _refuse_same_ids(pairs: Iterable[tuple[Candidate, PluginRecord]]) -> None:
    by_id: dict[str, list[PluginRecord]] = defaultdict(list)
    for _, record in pairs:
        by_id[record.id].append(record)
    for same in by_id.values():
        if len(same) > 1:
            names = " and ".join(f"{r.distribution} {r.version}" for r in same)
            for record in same:
                record.state = "REFUSED"
                record.error = PluginError(
                    f"plugin id {record.id} is claimed by {names}",
                    expected="one distribution for an id",
                    hint=f"uninstall one of {names}; the hub does not choose",
                )


def _refuse_same_descriptors(records: Iterable[PluginRecord]) -> None:
    """Refuse all that claim one id: which of them is meant is a person's decision, never one of load order."""
    claimed: dict[tuple[str, str], list[PluginRecord]] = defaultdict(list)
    for record in records:
        for hook in REGISTRATION if record.state == "LOADED" else ():
            for identity in record.ids(hook):
                # `m05-night-only` and `m05-other` are the same m05
                short = identity.partition("-")[0] if hook == "dianhuan_models" else identity
                claimed[f"{hook}: id", short].append(record)
        for claim in claims(record) if record.state == "LOADED" else ():
            claimed[claim].append(record)
    for (what, identity), claimants in claimed.items():
        if len(claimants) > 1:
            names = " and ".join(dict.fromkeys(f"{r.id} ({r.distribution} {r.version})" for r in claimants))
            for record in claimants:
                record.state, record.step = "REFUSED", "register"
                record.error = PluginError(
                    f"{what} {identity} is claimed by {names}",
                    expected="each once in a hub",
                    hint=f"leave one out: `dianhuan plugin disable {claimants[-1].id}`; the hub does not choose",
                )
