"""What the hub knows of its plugins: records, descriptors, and the accessors that everything else uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel

from dianhuan_hub.kernel._explain import validated
from dianhuan_hub.kernel.config import HubConfig
from dianhuan_hub.kernel.guard import Guard
from dianhuan_sdk import (
    ConfigError,
    DeviceProtocolSpec,
    DianhuanError,
    FusionSpec,
    GridAdapterSpec,
    Manifest,
    ModelSpec,
    PluginError,
    ServiceSpec,
    StreamModelSpec,
)

State = Literal["LOADED", "REFUSED", "FAILED", "DISABLED"]
D = TypeVar("D")


@dataclass
class PluginRecord:
    """What the hub knows of one plugin.

    Args:
        id: name of its entry point.
        distribution, version: of the distribution that it comes from.
        guard: calls into this plugin go through it.
        state, step: how far it came.
        error: why it is not loaded.
        manifest: None where it could not be read.
        import_seconds: None where it was not imported.
    """

    id: str
    distribution: str
    version: str
    guard: Guard
    state: State = "REFUSED"
    step: str = "discover"
    error: DianhuanError | None = None
    manifest: Manifest | None = None
    import_seconds: float | None = None
    descriptors: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The manifest's kind, empty where there is no manifest."""
        return self.manifest.kind if self.manifest else ""

    @property
    def last_progress(self) -> datetime | None:
        """When a call into it last ended well."""
        return self.guard.last_progress

    def ids(self, hook: str) -> list[str]:
        """Ids of what it registered by a hook."""
        return [d.id for d in self.descriptors.get(hook, ())]

    def as_dict(self) -> dict[str, Any]:
        """The record for machines."""
        error = self.error or self.guard.last_error
        return {
            "id": self.id,
            "kind": self.kind,
            "state": self.state,
            "version": self.version,
            "distribution": self.distribution,
            "step": self.step,
            "models": self.ids("dianhuan_models"),
            "adapters": self.ids("dianhuan_grid_adapters"),
            "registers": {hook: self.ids(hook) for hook in self.descriptors if self.ids(hook)},
            "commands": [c.name for c in self.manifest.commands] if self.manifest else [],
            "import_seconds": self.import_seconds,
            "last_progress": self.last_progress.isoformat(timespec="seconds") if self.last_progress else None,
            "paused": self.guard.is_open,
            "error": error.message if error else "",
            "expected": error.expected if error else "",
            "hint": error.hint if error else "",
        }


@dataclass(frozen=True)
class Registered(Generic[D]):
    """A descriptor, the plugin that it comes from, and its settings.

    Args:
        config: its validated settings of `[plugins.PLUGIN.ID]`; None for an adapter, which has settings per source.
    """

    spec: D
    plugin: PluginRecord
    config: BaseModel | None = None


class PluginRegistry:
    """The plugins of one hub. Made by `load_plugins`."""

    def __init__(
        self, records: Iterable[PluginRecord], settings: Mapping[tuple[str, str], BaseModel], config: HubConfig | None
    ) -> None:
        self.records = tuple(records)
        self._settings = settings
        self._config = config

    def record(self, plugin: str) -> PluginRecord:
        """The record of a plugin.

        Raises:
            PluginError: there is no such plugin.
        """
        for record in self.records:
            if record.id == plugin:
                return record
        raise PluginError(
            f"no plugin {plugin}",
            expected=f"one of {', '.join(r.id for r in self.records) or '(none is installed)'}",
            hint="see `dianhuan plugin list`",
        )

    def registered(self, hook: str) -> dict[str, Registered[Any]]:
        """What loaded plugins registered by a hook of the SDK, in the order of the ids."""
        found = {
            spec.id: Registered(spec, record, self._settings.get((hook, spec.id)))
            for record, spec in self._loaded(hook)
        }
        return dict(sorted(found.items()))

    def grid_adapters(self) -> dict[str, Registered[GridAdapterSpec]]:
        """The adapters of loaded plugins by id."""
        return self.registered("dianhuan_grid_adapters")

    def models(self) -> dict[str, Registered[ModelSpec]]:
        """The models of loaded plugins by id, each with its parameters."""
        return self.registered("dianhuan_models")

    def stream_models(self) -> dict[str, Registered[StreamModelSpec]]:
        """The real-time models of loaded plugins by id, each with its parameters."""
        return self.registered("dianhuan_stream_models")

    def fusions(self) -> dict[str, Registered[FusionSpec]]:
        """Ways of fusing findings by id, each with its parameters."""
        return self.registered("dianhuan_fusions")

    def services(self) -> dict[str, Registered[ServiceSpec]]:
        """The services of loaded plugins by plugin; a plugin has one at most."""
        return {r.plugin.id: r for r in self.registered("dianhuan_services").values()}

    def device_protocols(self) -> dict[str, Registered[DeviceProtocolSpec]]:
        """The device protocols of loaded plugins by id, each with its settings."""
        return self.registered("dianhuan_device_protocols")

    def source_config(self, name: str) -> BaseModel:
        """The settings of the source `[sources.NAME]`, checked by its adapter's own model.

        Raises:
            ConfigError: there is no such source or adapter, or a setting is wrong.
        """
        if self._config is None or name not in self._config.sources:
            known = ", ".join(self._config.sources) if self._config else ""
            raise ConfigError(
                f"no source {name}",
                expected=f"one of {known}" if known else "",
                hint=f"add [sources.{name}] to hub.toml",
            )
        source, adapters = self._config.sources[name], self.grid_adapters()
        if source.adapter not in adapters:
            raise ConfigError(
                f"{self._config.file}: sources.{name}.adapter = {source.adapter!r}",
                expected=f"one of {', '.join(adapters) or '(no adapter is loaded)'}",
                hint="see `dianhuan plugin list` for why an adapter is not loaded",
            )
        return validated(
            adapters[source.adapter].spec.config_model,
            source.config,
            file=str(self._config.file),
            path=("sources", name, "config"),
        )

    def problems(self) -> list[DianhuanError]:
        """What a person should look at: plugins that are out against their will, and settings nobody reads."""
        found = [r.error for r in self.records if r.error and r.state != "DISABLED"]
        if self._config is None:
            return found
        known = {r.id for r in self.records}
        tables = (self._config.plugins.__pydantic_extra__ or {}).keys()
        for place, names in (("plugins.disabled", self._config.plugins.disabled), ("plugins", tables)):
            found.extend(
                ConfigError(
                    f"{self._config.file}: {place}: {name} is not installed",
                    expected=f"one of {', '.join(sorted(known))}",
                    hint=f"install it or remove it from {self._config.file.name}",
                )
                for name in names
                if name not in known
            )
        for name in self._config.sources:
            try:
                self.source_config(name)
            except ConfigError as error:
                found.append(error)
        return found

    def _loaded(self, hook: str) -> Iterable[tuple[PluginRecord, Any]]:
        return ((r, d) for r in self.records if r.state == "LOADED" for d in r.descriptors.get(hook, ()))
