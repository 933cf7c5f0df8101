"""One hub: every service, built in one place with its dependencies named; doors take it from here.

Nothing is kept at module level, so two cities can live in one process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import BaseModel

from dianhuan_hub.cases import CaseDesk
from dianhuan_hub.gateway import DeviceDesk, Gateway
from dianhuan_hub.intake import HubStorage, Intake, Source, Summary
from dianhuan_hub.kernel.clock import SystemClock
from dianhuan_hub.kernel.config import HubConfig
from dianhuan_hub.kernel.context import make_context
from dianhuan_hub.kernel.loader import PluginRecord, PluginRegistry, Registered, load_plugins
from dianhuan_hub.kernel.metrics import HubMetrics
from dianhuan_hub.kernel.secrets import Vault
from dianhuan_hub.ranking import Costs, Lists, Way
from dianhuan_hub.realtime import Realtime, build_realtime
from dianhuan_hub.screening import Screening
from dianhuan_hub.store import Query, Store, read_page
from dianhuan_sdk import (
    Clock,
    ConfigError,
    FusionSpec,
    GridAdapterSpec,
    InputError,
    Manifest,
    PluginContext,
    PluginError,
    ServiceSpec,
    TableContract,
    daily_features,
)
from dianhuan_sdk.features import FloatArray
from dianhuan_standards.tariffs import TariffBook


@dataclass(frozen=True)
class Hub:
    """The services of one city."""

    config: HubConfig
    clock: Clock
    metrics: HubMetrics
    vault: Vault
    plugins: PluginRegistry
    tariffs: TariffBook
    store: Store
    intake: Intake
    screening: Screening
    cases: CaseDesk
    lists: Lists
    devices: DeviceDesk
    gateway: Gateway
    realtime: Realtime
    services: Mapping[str, tuple[ServiceSpec, PluginContext]]

    def service(self, plugin: str) -> tuple[ServiceSpec, PluginContext]:
        """The service of a plugin.

        Raises:
            PluginError: the plugin is not loaded, or has none.
        """
        if plugin not in self.services:
            record = self.plugins.record(plugin)
            raise record.error or PluginError(f"plugin {plugin} has no service", hint="see `dianhuan plugin list`")
        return self.services[plugin]

    async def sources(self, name: str) -> list[Source]:
        """The streams of the source `[sources.NAME]` in the order in which its adapter offers them.

        Raises:
            ConfigError: there is no such source, its adapter is not loaded, or a setting is wrong.
        """
        if name not in self.config.sources:
            known = ", ".join(self.config.sources) or "(none)"
            raise ConfigError(
                f"no source {name!r} in {self.config.file}", expected=known, hint=f"add [sources.{name}] to it"
            )
        section = self.config.sources[name]
        registered = self._adapter(section.adapter)
        settings = self.plugins.source_config(name)
        whole = self._source(registered, name, "", settings)
        adapter, guard = whole.adapter, registered.plugin.guard
        assert adapter is not None
        offered = [s.id for s in await guard.acall("discover", adapter.discover)]
        unknown = [] if section.streams == "all" else [s for s in section.streams if s not in offered]
        if unknown:
            raise ConfigError(f"sources.{name}.streams names {unknown[0]!r}", expected=f"some of {', '.join(offered)}")
        return [replace(whole, stream=s) for s in offered if section.streams == "all" or s in section.streams]

    def file_source(self, adapter: str, stream: str, file: Path, mapping: Path | None) -> Source:
        """A single file as a source.

        Raises:
            InputError: the adapter reads no single files.
        """
        registered = self._adapter(adapter)
        make = registered.spec.file_config
        if make is None:
            raise InputError(f"adapter {adapter} reads no single files", hint="configure it under [sources.NAME]")
        settings = registered.plugin.guard.call("file_config", lambda: make(stream, file, mapping))
        return self._source(registered, f"file:{file}", stream, settings)

    async def replay_load(self, load_id: int, mapping: Path | None = None) -> Summary:
        """Read the kept raw file of a load again with the adapter or mapping as it is now.

        Rows that are the same stay; rows that differ are corrections; what was refused may go in.

        Raises:
            InputError: no such load, or its raw file was not kept (it came from no file, or is older than raw_days).
        """
        page = read_page(
            self.store.engine, Query("load", equals={"load_id": load_id}), order=[("load_id", False)], limit=1
        )
        if not page.rows:
            raise InputError(f"no load {load_id}", hint="dianhuan quarantine list shows loads")
        load = page.rows[0]
        raw = self.store.data / "raw" / load["raw_ref"]
        if not load["raw_ref"] or not raw.is_file():
            raise InputError(
                f"the raw file of load {load_id} ({load['source']}) is not kept",
                hint=f"raw files are kept for {self.config.store.raw_days} days (store.raw_days)",
            )
        source = self.file_source(load["plugin"], load["stream"], raw, mapping)
        return await self.intake.run(source, origin=load_id)

    def _adapter(self, adapter: str) -> Registered[GridAdapterSpec]:
        adapters = self.plugins.grid_adapters()
        if adapter not in adapters:
            raise ConfigError(
                f"no grid adapter {adapter!r} is loaded",
                expected=f"one of {', '.join(adapters) or '(none)'}",
                hint="dianhuan plugin doctor says what is installed and why something is left out",
            )
        return adapters[adapter]

    def _source(self, registered: Registered[GridAdapterSpec], name: str, stream: str, settings: BaseModel) -> Source:
        record = registered.plugin
        context = self._context(record, settings)
        adapter = record.guard.call("factory", lambda: registered.spec.factory(context))
        return Source(name, registered.spec.id, record.version, stream, adapter, record.guard)

    def _context(self, record: PluginRecord, settings: BaseModel) -> PluginContext:
        return _plugin_context(
            self.config, self.clock, self.metrics, self.vault, self.store, self.intake, record, settings
        )

    def close(self) -> None:
        """Finish queued writes and close the store."""
        self.store.close()

    def __enter__(self) -> Hub:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_hub(config: HubConfig, *, clock: Clock | None = None) -> Hub:
    """Build a hub from its configuration.

    Raises:
        ConfigError: a tariff file or folder of the configuration is wrong.
        StoreError: another process holds the data folder.
    """
    clock = clock or SystemClock()
    metrics = HubMetrics()
    vault = Vault(config.file.parent)
    extra = config.file.parent / "tariffs"
    tariffs = TariffBook.load(extra if extra.is_dir() else None)
    store = Store(
        config.data_dir,
        partial(_features, tariffs, config.city.division),
        clock.now,
        memory_limit=config.store.memory_limit,
        threads=config.store.threads,
    )
    try:
        plugins = load_plugins(config, clock=clock, vault=vault)
        owned = _owned_tables(store, plugins)
        intake = Intake(store, clock, config.store.raw_days, owned)

        def context(registered: Registered[Any]) -> PluginContext:
            settings = registered.config if registered.config is not None else registered.spec.config_model()
            return _plugin_context(config, clock, metrics, vault, store, intake, registered.plugin, settings)

        section = config.gateway
        devices = DeviceDesk(
            store,
            clock,
            vault,
            {name: r.spec.profiles for name, r in plugins.device_protocols().items()},
            waiting_most=section.waiting_devices,
            frames_most=section.waiting_frames,
        )
        gateway = Gateway(section, store, clock, metrics, plugins, context, devices, config.file.parent)
        return Hub(
            config=config,
            clock=clock,
            metrics=metrics,
            vault=vault,
            plugins=plugins,
            tariffs=tariffs,
            store=store,
            intake=intake,
            screening=Screening(store, clock, plugins.models(), context, tariffs, config.city.division),
            cases=CaseDesk(store, clock),
            lists=Lists(
                store,
                clock,
                [_way(r, context(r)) for r in plugins.fusions().values()],
                Costs(
                    config.screening.half_life_days,
                    config.screening.visit_hours,
                    config.screening.travel_hours,
                    config.screening.next_hours,
                ),
                config.screening.capacity,
                config.screening.random_share,
            ),
            services={plugin: (r.spec, context(r)) for plugin, r in plugins.services().items()},
            devices=devices,
            gateway=gateway,
            realtime=build_realtime(config, store, clock, metrics, vault, plugins.stream_models(), context, gateway),
        )
    except BaseException:
        store.close()
        raise


def _way(registered: Registered[FusionSpec], context: PluginContext) -> Way:
    spec = registered.spec
    fuser = registered.plugin.guard.call(f"make {spec.id}", lambda: spec.factory(context))
    return Way(spec.id, spec.version, spec.least, spec.least_wasted, fuser)


def _owned_tables(store: Store, plugins: PluginRegistry) -> Mapping[str, TableContract]:
    """Tables of plugins by name; a plugin whose stored table does not fit its contract is left out."""
    owned: dict[str, TableContract] = {}
    for registered in plugins.services().values():
        try:
            store.own(registered.spec.tables)
        except PluginError as error:
            registered.plugin.state, registered.plugin.step, registered.plugin.error = "REFUSED", "tables", error
        else:
            owned.update((contract.name, contract) for contract in registered.spec.tables)
    return owned


def _features(tariffs: TariffBook, division: str, kw: FloatArray, day: date) -> dict[str, FloatArray]:
    return daily_features(kw, tariffs.day(division, day).valley)


def _plugin_context(
    config: HubConfig,
    clock: Clock,
    metrics: HubMetrics,
    vault: Vault,
    store: Store,
    intake: Intake,
    record: PluginRecord,
    settings: BaseModel,
) -> PluginContext:
    manifest = _manifest(record)
    owned = {t.name: t for spec in record.descriptors.get("dianhuan_services", ()) for t in spec.tables}
    storage = HubStorage(store, intake, manifest, record.version, owned)
    return make_context(record, settings, storage, clock=clock, metrics=metrics, vault=vault, data_dir=config.data_dir)


def _manifest(record: PluginRecord) -> Manifest:
    if record.manifest is None:
        raise PluginError(f"plugin {record.id} has no manifest", hint=f"dianhuan plugin inspect {record.id}")
    return record.manifest
