"""The real-time tier of one hub: links, runner, notices, feed; and its commands."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from dianhuan_hub.gateway import Gateway
from dianhuan_hub.kernel.config import HubConfig
from dianhuan_hub.kernel.loader import Registered
from dianhuan_hub.kernel.metrics import HubMetrics
from dianhuan_hub.kernel.secrets import Vault
from dianhuan_hub.realtime._courier import Courier
from dianhuan_hub.realtime._feed import Feed
from dianhuan_hub.realtime._links import LinkDesk
from dianhuan_hub.realtime._notices import NoticeDesk
from dianhuan_hub.realtime._runner import Runner, due
from dianhuan_hub.store import NoticeRow, Store, newest_stream_event
from dianhuan_sdk import Clock, InputError, PluginContext, StreamModelSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Realtime:
    """What the hub has of the real-time tier."""

    links: LinkDesk
    runner: Runner
    notices: NoticeDesk
    courier: Courier
    feed: Feed
    clock: Clock
    metrics: HubMetrics
    lag_s: float

    def status(self) -> dict[str, Any]:
        """What goes on, for people and machines."""
        links = self.links.links()
        notices = self.notices.recent(10_000)
        return {
            **self.runner.status(),
            "links_by_state": {s: sum(r.state == s for r in links) for s in ("confirmed", "proposed", "refused")},
            "events": self.feed.newest,
            "notices": len(notices),
            "notices_answered": sum(n.answered_at is not None for n in notices),
            "notices_undelivered": sum(n.due_at is not None for n in notices),
        }

    def command(self, asked: Mapping[str, Any]) -> Any:
        """One command, whether it came by the gateway's door or the hub was opened for it; the answer is JSON.

        Raises:
            DianhuanError: it cannot be done.
        """
        given = {k: v for k, v in asked.items() if k not in ("do", "what")}
        do = _COMMANDS.get(str(asked.get("what", "")))
        if do is None:
            raise InputError(f"no command {asked.get('what')!r}", expected=", ".join(_COMMANDS))
        return _plain(do(self, given))


def build_realtime(
    config: HubConfig,
    store: Store,
    clock: Clock,
    metrics: HubMetrics,
    vault: Vault,
    models: Mapping[str, Registered[StreamModelSpec]],
    make_context: Callable[[Registered[StreamModelSpec]], PluginContext],
    gateway: Gateway,
) -> Realtime:
    """The real-time tier over the services of a hub."""
    with store.engine.cursor() as con:
        feed = Feed(newest_stream_event(con))
    notices = NoticeDesk(store, clock, config.notices, feed)
    runner = Runner(store, clock, models, make_context, notices, feed)
    courier = Courier(store, clock, vault, config.notices, notices, feed)
    made = Realtime(LinkDesk(store, clock), runner, notices, courier, feed, clock, metrics, config.realtime.lag_s)
    gateway.commands["realtime"] = made.command
    return made


_COMMANDS: Mapping[str, Callable[[Realtime, dict[str, Any]], Any]] = {
    "status": lambda r, _: r.status(),
    "links": lambda r, g: r.links.links(**g),
    "role": lambda r, g: r.links.set_role(**g),
    "propose": lambda r, g: r.links.propose(**g),
    "add": lambda r, g: r.links.add(**g),
    "confirm": lambda r, g: r.links.confirm(**g),
    "refuse": lambda r, g: r.links.refuse(**g),
    "mute": lambda r, g: r.links.mute(**g),
    "rearm": lambda r, g: r.links.rearm(**g),
    "notices": lambda r, _: r.notices.recent(),
    "review": lambda r, g: r.notices.review(**g),
}


def _plain(value: Any) -> Any:
    if isinstance(value, NoticeRow):
        return {k: v for k, v in _plain(asdict(value)).items() if k not in ("token_sha256", "body")}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        return _plain(asdict(value))
    if hasattr(value, "isoformat"):
        return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value.isoformat()
    return value


class RealtimeThread:
    """Ticks once a minute in a thread of its own, so that neither an answer of the API nor a frame waits for it.

    Args:
        realtime: to run.
    """

    def __init__(self, realtime: Realtime) -> None:
        self._realtime = realtime
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="realtime")
        self._seconds = realtime.metrics.histogram("realtime_tick_seconds", "seconds of a tick of all real-time models")
        self._failed = realtime.metrics.counter("realtime_tick_failures_total", "ticks that have to be made up for")

    def start(self) -> None:
        """Start; the first tick makes up for the time since the last one."""
        self._thread.start()

    def stop(self) -> None:
        """Let a tick that runs end, and wait for the end."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        lag = self._realtime.lag_s
        while not self._stop.is_set():
            try:
                with self._seconds.time():
                    self._realtime.runner.tick()
            except Exception:
                self._failed.inc()
                log.exception("real-time tick failed; the next one makes up for it")
            self._stop.wait(due(self._realtime.clock.now(), lag))


@contextlib.asynccontextmanager
async def courier_running(realtime: Realtime) -> AsyncIterator[None]:
    """Deliver notices while the block runs."""
    task = asyncio.create_task(realtime.courier.run(), name="courier")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
