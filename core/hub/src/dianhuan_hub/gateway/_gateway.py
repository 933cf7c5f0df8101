"""The gateway of a city: every port, poller and broker of `[gateway]`, one queue, one committing thread."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from dianhuan_hub.gateway._desk import Decision, DeviceDesk
from dianhuan_hub.gateway._door import Door
from dianhuan_hub.gateway._facts import Facts
from dianhuan_hub.gateway._line import Line
from dianhuan_hub.gateway._listener import Listener
from dianhuan_hub.gateway._parts import Parts
from dianhuan_hub.gateway._pipe import Pipe
from dianhuan_hub.gateway._poller import Poller
from dianhuan_hub.gateway._replay import replay
from dianhuan_hub.gateway._session import REFUSED_MOST, Session
from dianhuan_hub.gateway._streams import Clocks, Gap, Gaps
from dianhuan_hub.gateway._tasks import Tasks
from dianhuan_hub.gateway._writer import Outcome, Writer
from dianhuan_hub.kernel.config import Gateway as Settings
from dianhuan_hub.kernel.loader import PluginRegistry, Registered
from dianhuan_hub.kernel.metrics import HubMetrics
from dianhuan_hub.store import DeviceRow, ReadingReceipt, Store, drop_raw_frames, part_frames, raw_frames
from dianhuan_sdk import Clock, ConfigError, DeviceProtocolSpec, Due, InputError, PluginContext

DRAIN_S = 10.0
"""Seconds that a stopping gateway waits for the store to take what was received."""

PART_REACH = timedelta(hours=1)
_TIME_EVERY_S = 3600.0
_TIME_BEYOND_S = 30.0
_GAPS_MOST = 8
_WAITING = timedelta(days=30)

MakeContext = Callable[[Registered[DeviceProtocolSpec]], PluginContext]


class Gateway:
    """Receives from devices and answers them.

    Args:
        settings: `[gateway]`.
        store, clock, metrics, plugins: of the hub.
        make_context: what a protocol gets of the hub.
        desk: the register of devices.
        folder: the folder of hub.toml, for certificates.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        metrics: HubMetrics,
        plugins: PluginRegistry,
        make_context: MakeContext,
        desk: DeviceDesk,
        folder: Path,
    ) -> None:
        self.settings = settings
        self.desk = desk
        self._store = store
        self._clock = clock
        self._plugins = plugins
        self._make_context = make_context
        self._folder = folder
        self.facts = Facts(metrics, clock)
        self.clocks = Clocks()
        self.addresses: dict[str, str] = {}
        self.commands: dict[str, Callable[[Mapping[str, Any]], Any]] = {}
        self._gaps: dict[str, list[Gap]] = {}
        self._time_set: dict[str, float] = {}
        self._listeners: list[Listener] = []
        self._pipe: Pipe | None = None
        self._tasks: Tasks | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, stop: asyncio.Event, started: Callable[[Mapping[str, str]], None] = lambda _: None) -> None:
        """Serve until `stop` is set; then commit and answer what was received, and close.

        Args:
            started: told the addresses of all ports, by name, when devices can connect.

        Raises:
            ConfigError: a protocol is not loaded, a port cannot be had, a certificate cannot be used.
        """
        self._loop = asyncio.get_running_loop()
        self._tasks = tasks = Tasks(self._clock, self.facts, self._unanswered)
        with self._store.engine.cursor() as con:
            parts = Parts(part_frames(con, self._clock.now() - PART_REACH))
        writer = self._writer(parts, tasks.live.get)
        self._pipe = pipe = Pipe(writer.commit, self.settings, self._clock, self.facts)
        for name, section in self.settings.listeners.items():
            line = self.line(name, section.protocol, "tcp")
            self._listeners.append(Listener(line, section, pipe, tasks, self.facts, self._folder))
        pollers, brokers = self._pollers(pipe), self._brokers(pipe)
        door = Door(self._store.data / "gateway.sock", self)
        runner = asyncio.create_task(pipe.run())
        others: list[asyncio.Task[Any]] = []
        try:
            for listener in self._listeners:
                host, port = await listener.start()
                self.addresses[listener.name] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                others.append(asyncio.create_task(listener.sweep()))
            others += [asyncio.create_task(source.run()) for source in (*pollers, *brokers)]
            await door.open()
            started(self.addresses)
            waiting = asyncio.create_task(stop.wait())
            others.append(waiting)
            await asyncio.wait({waiting, runner}, return_when=asyncio.FIRST_COMPLETED)
            if runner.done():
                runner.result()  # a defect: it ends by itself only after `drain`
        finally:
            await door.close()
            for listener in self._listeners:
                listener.stop()
            for broker in brokers:
                await broker.settled()
            for task in others:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*others, return_exceptions=True)
            if not runner.done() and not await pipe.drain(runner, DRAIN_S):
                self.facts.say(
                    "store", "gateway", "停止时仍有未入库数据，未应答 · stopped with frames not stored: unanswered"
                )
            for listener in self._listeners:
                listener.end()
            await asyncio.sleep(0)  # connections are closed in the next turn of the loop

    def _pollers(self, pipe: Pipe) -> list[Poller]:
        found = []
        for name, section in self.settings.polls.items():
            line = self.line(name, section.protocol, "tcp_poll")
            devices = functools.partial(self.desk.on_line, name)
            found.append(Poller(line, section, devices, self._clock, pipe, self.facts))
        return found

    def _brokers(self, pipe: Pipe) -> list[Any]:
        if not self.settings.brokers:
            return []
        from dianhuan_hub.gateway._mqtt import BrokerSource  # the client is loaded where there is a broker only

        found = []
        for name, section in self.settings.brokers.items():
            line = self.line(name, section.protocol, "mqtt")
            secret = self.desk.secret(section.password) if section.password else None
            tls = None
            if section.tls_ca is not None:
                tls = ssl.create_default_context(cafile=str(self._folder / section.tls_ca))
            password = secret.reveal() if secret is not None else None
            found.append(BrokerSource(line, section, password, tls, pipe, self.facts))
        return found

    def _writer(self, parts: Parts, speaker: Callable[[str], object | None]) -> Writer:
        return Writer(
            self._store,
            self.desk,
            self._clock,
            self.settings,
            self.facts,
            clocks=self.clocks,
            gaps=Gaps(timedelta(days=self.settings.late_days)),
            parts=parts,
            after=self._committed,
            speaker=speaker,
        )

    def replay(self, device_id: str, start: datetime, end: datetime) -> ReadingReceipt:
        """Read the raw frames of a device that were received in [start, end) again; see `replay`.

        Raises:
            InputError: the device is not approved, or no frames of that time are kept.
        """
        with self._store.engine.cursor() as con:
            frames = raw_frames(con, device_id, start, end)
        if not frames:
            raise InputError(
                f"no raw frames of {device_id!r} in that time",
                expected=f"a time in the last {self.settings.raw_days} days (gateway.raw_days)",
            )
        return self._read_again(device_id, frames)

    def tidy(self) -> None:
        """The night's work: seal old days of readings, drop raw frames and devices that nobody decided about."""
        settings, today = self.settings, self._clock.today()
        self._store.reading_days.seal_before(today - timedelta(days=max(settings.hot_days, settings.late_days) + 1))
        now = self._clock.now()
        self._store.write(lambda con: drop_raw_frames(con, now - timedelta(days=settings.raw_days)))
        self.desk.forget(now - _WAITING)

    def approve(self, device_id: str, decision: Decision, actor: str) -> DeviceRow:
        """Let a device in (see `DeviceDesk.approve`), and read the frames with which it has waited."""
        held = self.desk.frames(device_id)
        row = self.desk.approve(device_id, decision, actor)
        if held:
            self._read_again(device_id, held)
        return row

    def _read_again(self, device_id: str, frames: Sequence[tuple[datetime, bytes]]) -> ReadingReceipt:
        row = self.desk.get(device_id)
        if row.state != "approved":
            raise InputError(f"device {device_id!r} is {row.state}", expected="an approved device")
        spec = self._plugins.device_protocols()[row.protocol].spec
        line = self.line(f"replay {device_id}", row.protocol, spec.transport)
        writer = self._writer(Parts({}), lambda _: None)
        return replay(self._store, writer, line, self._clock, device_id, frames)

    def line(self, name: str, protocol: str, transport: str) -> Line:
        """A way in with its protocol.

        Raises:
            ConfigError: the protocol is not loaded, or not for this kind of line.
        """
        protocols = self._plugins.device_protocols()
        fitting = [p for p, r in protocols.items() if r.spec.transport == transport]
        if protocol not in fitting:
            raise ConfigError(
                f"gateway: {name}: protocol {protocol!r} cannot be used here",
                expected=f"one of {', '.join(fitting) or '(none is loaded)'}",
                hint="dianhuan plugin list says what is loaded",
            )
        registered = protocols[protocol]
        context, directory = self._make_context(registered), self.desk.directory(protocol)
        return Line(
            name,
            protocol,
            transport,
            registered.plugin.version,
            registered.plugin.guard,
            lambda: registered.spec.factory(context, directory),
            self.desk.approved(protocol),
            self._clock,
        )

    def status(self) -> dict[str, Any]:
        """What goes on, for people and machines."""
        tasks, pipe = self._tasks, self._pipe
        return {
            "running": pipe is not None,
            "addresses": self.addresses,
            "connections": {listener.name: len(listener.sessions) for listener in self._listeners},
            "devices_connected": len(tasks.live) if tasks is not None else 0,
            "queue_bytes": pipe.bytes if pipe is not None else 0,
            "waiting_devices": self.desk.waiting_count(),
            "problems": self.desk.problems,
            "gaps": {device: len(gaps) for device, gaps in self._gaps.items()},
            "events": [
                {"at": at.isoformat(timespec="seconds"), "kind": kind, "text": text}
                for at, kind, text in list(self.facts.events)
            ],
        }

    def device_status(self, device_id: str) -> dict[str, Any]:
        """How a device is connected and how its clock runs."""
        session = self._tasks.live.get(device_id) if self._tasks is not None else None
        return {
            "connected_from": session.peer if session is not None else None,
            "clock_behind_s": self.clocks.drift(device_id),
            "gaps": [[g.stream, g.start.isoformat(), g.end.isoformat()] for g in self._gaps.get(device_id, ())],
        }

    # in the event loop, after a commit

    def _committed(self, outcome: Outcome) -> None:
        for source, answers in outcome.answers.items():
            if isinstance(source, Session):
                source.send(b"".join(answers))
        for source in outcome.accepted:
            if isinstance(source, Session):
                source.refused = 0
        for source, count in outcome.refused.items():
            if isinstance(source, Session):
                source.refused += count
                if source.refused > REFUSED_MOST:
                    words = f"连续 {source.refused} 帧不被接受 · {source.refused} refused frames in a row"
                    source.listener.close(source, "refused_frames", words)
        for (source, device_id), proven in outcome.speakers.items():
            if isinstance(source, Session):
                self._bind(source, device_id, proven)
        for source, device_id in outcome.rivals:
            self._rival(source, device_id)
        for gap in outcome.gaps:
            self._gaps.setdefault(gap.device_id, []).append(gap)
            del self._gaps[gap.device_id][:-_GAPS_MOST]
        for device_id in {g.device_id for g in outcome.gaps}:
            self._fill(device_id)
        for device_id in outcome.clocks:
            self._check_clock(device_id)

    def _bind(self, session: Session, device_id: str, proven: bool) -> None:
        """A device speaks by another connection than before: the newest wins if it has the device's credentials."""
        assert self._tasks is not None
        live = self._tasks.live
        before = live.get(device_id)
        if session.transport is None or before is session:
            return
        if before is not None and before.transport is not None:
            if not proven:
                self._rival(session, device_id)
                return
            self.facts.rivals.labels(result="replaced").inc()
            words = f"同一 MN 两个连接，以新连接为准 · two connections: {before.peer} gives way to {session.peer}"
            self.facts.say("rival", device_id, words)
            if before.devices is not None:
                before.devices.discard(device_id)
            if not before.devices:
                before.listener.close(
                    before, "replaced", f"设备改由新连接上报 · {device_id} speaks by a new connection"
                )
        live[device_id] = session
        if session.devices is None:
            session.devices = set()
        session.devices.add(device_id)
        if session.listener.config.hello:
            self._plan(device_id, Due("hello", self._clock.now()))
        self._fill(device_id)

    def _rival(self, source: object, device_id: str) -> None:
        assert self._tasks is not None
        live = self._tasks.live.get(device_id)
        if live is None or live is source:
            return
        self.facts.rivals.labels(result="refused").inc()
        peer = getattr(source, "peer", "?")
        words = f"冒用 MN 的连接，凭证不符 · {peer} without credentials, {live.peer} keeps the device"
        self.facts.say("rival", device_id, words)

    def _fill(self, device_id: str) -> None:
        gaps = self._gaps.get(device_id)
        while gaps:
            gap = gaps[0]
            if not self._plan(device_id, Due("history", self._clock.now(), gap.start, gap.end, gap.stream)):
                return
            gaps.pop(0)
        self._gaps.pop(device_id, None)

    def _unanswered(self, device_id: str, due: Due) -> None:
        """A task got no answer: history is asked for again when the device connects anew or has another gap."""
        if due.task == "history" and due.start is not None and due.end is not None:
            self._gaps.setdefault(device_id, []).append(Gap(device_id, due.stream, due.start, due.end))
            del self._gaps[device_id][:-_GAPS_MOST]

    def _check_clock(self, device_id: str) -> None:
        drift = self.clocks.drift(device_id)
        if drift is None or abs(drift) < _TIME_BEYOND_S:
            return
        assert self._loop is not None
        now = self._loop.time()
        if now - self._time_set.get(device_id, -_TIME_EVERY_S) < _TIME_EVERY_S:
            return
        words = f"设备时钟偏差 · the device's clock is {'behind' if drift > 0 else 'ahead'} by {abs(drift):.0f} s"
        self.facts.say("clock", device_id, words)
        if self._plan(device_id, Due("time", self._clock.now())):
            self._time_set[device_id] = now

    def _plan(self, device_id: str, due: Due) -> bool:
        assert self._tasks is not None
        row = self.desk.row(device_id)
        device = self.desk.approved(row.protocol).get(device_id) if row is not None else None
        return device is not None and self._tasks.plan(device, due)
