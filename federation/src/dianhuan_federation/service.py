"""The federation's part of a hub, as the hub registers it."""

from __future__ import annotations

import asyncio
from datetime import datetime, time, timedelta

from dianhuan_federation.config import FederationConfig
from dianhuan_federation.graph import FEDERATED
from dianhuan_federation.replica import FEDERATED_TABLES
from dianhuan_sdk import LOCAL_ZONE, ASGIApp, ConfigError, DianhuanError, PluginContext, ServiceSpec


async def _run(context: PluginContext) -> None:
    """Publish every day and follow the peers, as the settings say; ends at once where there is nothing to do."""
    from dianhuan_federation.sync import Subscriber, follow

    config = _settings(context)
    work = []
    if config.origin and "publisher" in config.roles and config.publish_at:
        work.append(_publish_daily(context, config))
    if config.origin and "subscriber" in config.roles and (config.sync_minutes or config.mqtt):
        work.append(follow(context, Subscriber.of(context, config)))
    await asyncio.gather(*work)


async def _publish_daily(context: PluginContext, config: FederationConfig) -> None:
    from dianhuan_federation.publish import publisher_of

    at = time.fromisoformat(config.publish_at)
    while True:
        await asyncio.sleep(_seconds_until(context.clock.now(), at))
        try:
            report = await asyncio.to_thread(publisher_of(context, config).publish, context.clock.today())
        except DianhuanError as error:
            context.log.error("federation: nothing was published: %s", error)
            continue
        context.log.info("federation: log %s has %d entries", report.origin, report.size)


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
