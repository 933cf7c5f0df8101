"""What a plugin gets of the hub, made in one place."""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import BaseModel

from dianhuan_hub.kernel.http import client_factory
from dianhuan_hub.kernel.loader import PluginRecord
from dianhuan_hub.kernel.metrics import HubMetrics, PluginMetrics
from dianhuan_hub.kernel.secrets import CleaningFilter, UndeclaredSecrets, Vault
from dianhuan_sdk import Clock, PluginContext, PluginError, StoragePort


def make_context(
    record: PluginRecord,
    config: BaseModel,
    storage: StoragePort,
    *,
    clock: Clock,
    metrics: HubMetrics,
    vault: Vault,
    data_dir: Path,
) -> PluginContext:
    """The context of one adapter or model.

    Args:
        record: the plugin; its manifest decides what the context hands out.
        config: settings, checked by the descriptor's own model.
        storage: the storage port, already narrowed to the plugin.
        clock, metrics, vault: of the hub.
        data_dir: the hub's data folder; the plugin's own folder is made below it.

    Raises:
        PluginError: the plugin has no manifest, so it was never loaded.
    """
    if record.manifest is None:
        raise PluginError(f"plugin {record.id} has no manifest", hint=f"see `dianhuan plugin inspect {record.id}`")
    folder = data_dir / "plugins" / record.id
    folder.mkdir(parents=True, exist_ok=True)
    capabilities = record.manifest.capabilities
    secrets = vault if capabilities.secrets else UndeclaredSecrets(record.id)
    return PluginContext(
        plugin_id=record.id,
        config=config,
        secret=secrets.resolve,
        clock=clock,
        log=plugin_logger(record.id, vault),
        metrics=PluginMetrics(metrics, record.id),
        http=client_factory(record.id, capabilities.hosts),
        storage=storage,
        folder=folder,
    )


def plugin_logger(plugin: str, vault: Vault) -> logging.Logger:
    """A logger whose records lose every secret of this hub.

    It hangs below `dianhuan.plugin` without being registered: two hubs in one process do not share it.
    """
    parent = logging.getLogger("dianhuan.plugin")
    logger = logging.Logger(f"{parent.name}.{plugin}")
    logger.parent = parent
    logger.addFilter(CleaningFilter(vault))
    return logger
