"""A hub with a gateway on loopback, and loggers that speak HJ 212 to it over real sockets."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dianhuan_devices.hj212 import Hj212Codec, Hj212Config, Hj212Frame, Logger, Sm4, Station
from dianhuan_hub.app import Hub, open_hub
from dianhuan_hub.gateway import Decision, GatewayThread
from dianhuan_hub.kernel.config import load_config, write_template
from dianhuan_sdk import Deviation


def mn(number: int) -> str:
    """The MN of a device."""
    return f"010000A8900016F0{number:08X}"


@dataclass
class Line:
    """A logger with its connection."""

    number: int
    address: tuple[str, int]
    logger: Logger
    socket: socket.socket
    codec: Hj212Codec = field(default_factory=lambda: Hj212Codec(Hj212Config(), lambda _: None))
    frames: list[Hj212Frame] = field(default_factory=list)

    def upload(
        self, at: datetime | None = None, cn: str = "2011", values: dict[str, float] | None = None, **more: Any
    ) -> list[bytes]:
        """Frames of one upload, not sent yet."""
        at = at or datetime.now(UTC)
        items = [[(f"{code}-Rtd", v), (f"{code}-Flag", "N")] for code, v in (values or {"i33200": 1.5}).items()]
        return self.logger.upload(cn, at, items, **more)

    def send(self, *frames: bytes) -> None:
        """Send frames in one go."""
        self.socket.sendall(b"".join(frames))

    def answers(self, count: int = 1, kind: str = "9014", wait: float = 10.0) -> list[str]:
        """QNs of the next answers of a kind, at least `count` of them; fewer only when the time is over."""
        found = [f.header.qn for f in self.frames if f.kind == kind]
        end = time.monotonic() + wait
        while len(found) < count and time.monotonic() < end:
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            try:
                data = self.socket.recv(1 << 16)
            except TimeoutError:
                break
            except ConnectionError:
                data = b""
            if not data:
                break
            self.frames += [f for f in self.codec.feed(data) if not isinstance(f, Deviation)]
            found = [f.header.qn for f in self.frames if f.kind == kind]
        self.frames = [f for f in self.frames if f.kind != kind]
        return found

    def closed(self, wait: float = 10.0) -> bool:
        """Does the gateway close the connection in time?"""
        end = time.monotonic() + wait
        while time.monotonic() < end:
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            try:
                if not self.socket.recv(1 << 16):
                    return True
            except TimeoutError:
                return False
            except OSError:
                return True
        return False

    def close(self) -> None:
        self.socket.close()


def dial(address: tuple[str, int], number: int = 0, key: str = "", **station: Any) -> Line:
    """Connect a logger."""
    cipher = Sm4(bytes.fromhex(key)) if key else None
    logger = Logger(Station(mn(number), key=cipher, **station))
    return Line(number, address, logger, socket.create_connection(address, timeout=10))


@dataclass
class City:
    """A running hub."""

    hub: Hub
    address: tuple[str, int]
    thread: GatewayThread
    lines: list[Line] = field(default_factory=list)

    def dial(self, number: int = 0, **more: Any) -> Line:
        line = dial(self.address, number, **more)
        self.lines.append(line)
        return line

    def approve(self, *numbers: int, **decision: Any) -> None:
        for number in numbers:
            self.hub.devices.approve(mn(number), Decision(protocol="hj212", **decision), "test")

    def metric(self, name: str, **labels: str) -> float:
        """Value of a metric, 0 where it was never touched."""
        value = self.hub.metrics.registry.get_sample_value(f"dianhuan_gateway_{name}", {"line": "loggers", **labels})
        if value is None:
            value = self.hub.metrics.registry.get_sample_value(f"dianhuan_gateway_{name}", labels)
        return value or 0.0

    def said(self, kind: str) -> list[str]:
        """Messages of a kind."""
        return [e["text"] for e in self.hub.gateway.status()["events"] if e["kind"] == kind]

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self.hub.store.engine.cursor() as con:
            return con.execute(sql).fetchall()

    def until(self, true: Callable[[], object], wait: float = 10.0) -> bool:
        """Wait until something holds."""
        end = time.monotonic() + wait
        while not true():
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True


@contextlib.contextmanager
def running(folder: Path, **settings: Any) -> Iterator[City]:
    """A hub of a folder with its gateway."""
    if not (folder / "hub.toml").exists():
        write_hub(folder, **settings)
    with open_hub(load_config(folder, {})) as hub:
        thread = GatewayThread(hub.gateway, lambda error: None)
        city = None
        try:
            host, port = thread.start()["loggers"].rsplit(":", 1)
            city = City(hub, (host, int(port)), thread)
            yield city
        finally:
            for line in city.lines if city is not None else ():
                line.close()
            thread.stop()


def write_hub(folder: Path, **settings: Any) -> None:
    """A hub.toml with one port; settings named as in [gateway] or in its listener."""
    write_template(folder / "hub.toml", "株洲市", "430200")
    whole = ("queue_bytes", "flush_ms", "late_days", "future_s", "raw_days", "waiting_devices", "waiting_frames")
    general = {k: v for k, v in settings.items() if k in whole}
    listener = {"protocol": "hj212", "host": "127.0.0.1", "port": 0, "hello": False}
    listener |= {k: v for k, v in settings.items() if k not in whole}
    with (folder / "hub.toml").open("a", encoding="utf-8") as file:
        for table, values in (("gateway", general), ("gateway.listeners.loggers", listener)):
            file.write(f"\n[{table}]\n" + "".join(f"{k} = {_toml(v)}\n" for k, v in values.items()))


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., City]]:
    """Start a hub: `start(idle_s=1.0)`; the same folder again after `stop`."""
    with contextlib.ExitStack() as stack:
        yield lambda **settings: stack.enter_context(running(tmp_path, **settings))


@pytest.fixture
def city(start: Callable[..., City]) -> City:
    """A hub with the devices 0 … 3 approved."""
    made = start()
    made.approve(0, 1, 2, 3)
    return made


@pytest.fixture
def helpers() -> SimpleNamespace:
    """What tests with hubs of their own need."""
    return SimpleNamespace(dial=dial, mn=mn, running=running, write_hub=write_hub)
