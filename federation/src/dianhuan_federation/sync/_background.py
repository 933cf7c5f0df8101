"""The subscriber under `dianhuan serve`: a pull every so many minutes, sooner where a broker hints at something new."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing

from dianhuan_federation.config import FederationConfig
from dianhuan_federation.sync._hints import hints
from dianhuan_federation.sync._subscriber import Subscriber, SyncReport
from dianhuan_sdk import ConfigError, DianhuanError, PluginContext

_Pull = Callable[[Iterable[str] | None], Awaitable[None]]

RECONNECT = 60.0
HINTED_APART = 30.0
"""Least seconds between two pulls that were hinted at: whoever can write to the broker must not drive this hub."""


async def follow(context: PluginContext, subscriber: Subscriber) -> None:
    """Pull by the clock and on hints until cancelled.

    Args:
        context: of the service.
        subscriber: of this hub.
    """
    config = subscriber.config
    turn = asyncio.Lock()

    async def one(origins: Iterable[str] | None) -> None:
        async with turn:
            try:
                report = await asyncio.to_thread(subscriber.sync, origins)
            except DianhuanError as error:
                context.log.warning("federation: %s", error)
                return
            _tell(context, report)

    tasks = []
    if config.sync_minutes:
        tasks.append(_by_clock(config.sync_minutes * 60.0, one))
    if config.mqtt:
        tasks.append(_by_hints(context, config, one))
    try:
        await asyncio.gather(*tasks)
    finally:
        subscriber.close()


async def _by_clock(seconds: float, one: _Pull) -> None:
    while True:
        await one(None)
        await asyncio.sleep(seconds)


async def _by_hints(context: PluginContext, config: FederationConfig, one: _Pull) -> None:
    while True:
        try:
            async with aclosing(hints(config.mqtt)) as named:
                async for hubs in named:
                    origins = [
                        p.origin for p in config.peers if p.origin.count("/") >= 2 and p.origin.split("/")[-2] in hubs
                    ]
                    if origins:
                        await one(origins)
                        await asyncio.sleep(HINTED_APART)
        except ConfigError:
            raise
        except Exception as error:  # the broker's library has its own errors; hints are a comfort, not a need
            context.log.warning("federation: hints from %s: %s", config.mqtt, error)
        await asyncio.sleep(RECONNECT)


def _tell(context: PluginContext, report: SyncReport) -> None:
    grown = [m for m in report.merged if m.size > m.before]
    context.metrics.count("federation_rows", sum(m.rows for m in grown))
    context.metrics.gauge("federation_troubled_logs", sum(1 for m in report.merged if m.code))
    if grown:
        context.log.info("federation: %d logs grew, %d rows", len(grown), sum(m.rows for m in grown))
    for m in report.merged:
        if m.code:
            context.log.warning("federation: %s %s %s: %s", m.origin, m.state, m.code, m.detail)
