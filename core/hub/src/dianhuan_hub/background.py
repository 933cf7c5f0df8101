"""Background work of plugins' services while the hub serves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dianhuan_hub.app import Hub
from dianhuan_sdk import PluginContext, ServiceSpec

log = logging.getLogger(__name__)

PAUSE = 60.0
"""Seconds until a service that ended in an error is started again."""


@asynccontextmanager
async def services_running(hub: Hub) -> AsyncIterator[None]:
    """Run the background work of every service; cancel it at the end and wait for it."""
    tasks = [
        asyncio.create_task(_keep_running(hub, plugin, spec, context), name=f"service {plugin}")
        for plugin, (spec, context) in hub.services.items()
        if spec.run is not None
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep_running(hub: Hub, plugin: str, spec: ServiceSpec, context: PluginContext) -> None:
    guard, run = hub.plugins.record(plugin).guard, spec.run
    assert run is not None
    while True:
        try:
            await guard.acall("run", lambda: run(context))
        except Exception as error:
            log.error("service of plugin %s: %s; it starts again in %d s", plugin, error, PAUSE)
        else:
            return
        await asyncio.sleep(PAUSE)
