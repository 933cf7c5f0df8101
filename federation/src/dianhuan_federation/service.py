"""The federation's part of a hub, as the hub registers it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import datetime, time, timedelta
from typing import Any

from dianhuan_federation.config import FederationConfig
from dianhuan_federation.graph import FEDERATED
from dianhuan_federation.replica import FEDERATED_TABLES
from dianhuan_sdk import LOCAL_ZONE, ASGIApp, ConfigError, DianhuanError, PluginContext, ServiceSpec

RETRY = 3600.0
"""Seconds after which a publication that failed is tried again."""


async def _run(context: PluginContext) -> None:
    """Publish every day and follow the peers, as the settings say; ends at once where there is nothing to do.

    A hub without a log of its own, an agency or an auditor, follows its peers too.
    """
    from dianhuan_federation.sync import Subscriber, follow

    config = _settings(context)
    work: list[Coroutine[Any, Any, None]] = []
    if config.origin and "publisher" in config.roles and config.publish_at:
        work.append(_publish_daily(context, config))
    if "subscriber" in config.roles and (config.sync_minutes or config.mqtt):
        work.append(follow(context, Subscriber.of(context, config)))
    async with (
        asyncio.TaskGroup() as group
    ):  # where one ends in an error, the other must not go on beside its successor
        for task in work:
            group.create_task(task)


async def _publish_daily(context: PluginContext, config: FederationConfig) -> None:
    """Publish at the set time; at once where that has passed today (publishing twice a day says nothing twice)."""
    from dianhuan_federation.publish import publisher_of

    at = time.fromisoformat(config.publish_at)
    wait = 0.0 if context.clock.now().astimezone(LOCAL_ZONE).time() >= at else None
    while True:
        await asyncio.sleep(_seconds_until(context.clock.now(), at) if wait is None else wait)
        try:
            report = await asyncio.to_thread(publisher_of(context, config).publish, context.clock.today())
        except (DianhuanError, OSError) as error:  # a full disk now is no reason not to publish in an hour
            context.log.error("federation: nothing was published, it is tried again in an hour: %s", error)
            wait = RETRY
            continue
        wait = None
        context.log.info("federation: log %s has %d entries", report.origin, report.size)
        if report.witnessed is not None and not report.witnessed.quorum:
            context.log.warning("federation: too few witnesses saw %s: %s", report.origin, report.witnessed.pending)


def _seconds_until(now: datetime, at: time) -> float:
    local = now.astimezone(LOCAL_ZONE)
    due = datetime.combine(local.date(), at, LOCAL_ZONE)
    return ((due if due > local else due + timedelta(days=1)) - local).total_seconds()


def _routes(context: PluginContext) -> ASGIApp:
    from dianhuan_federation.nodes import hub_routes

    return hub_routes(context)


def _settings(context: PluginContext) -> FederationConfig:
    if not isinstance(context.config, FederationConfig):
        raise ConfigError(f"settings of type {type(context.config).__name__}", expected="[plugins.federation.hub]")
    return context.config


SERVICE = ServiceSpec(
    "hub",
    "跨省联邦",
    "federation",
    FederationConfig,
    tables=FEDERATED_TABLES,
    run=_run,
    routes=_routes,
    graphql=FEDERATED,
)
