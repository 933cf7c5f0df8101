"""A plant with a furnace and a fan that reports by HJ 212 over a real socket, and a hub that judges it by the minute.

Time is the test's: the device states it, the hub's clock stands where the test puts it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
import uvicorn

from dianhuan_devices.hj212 import Hj212Codec, Hj212Config, Logger, Station
from dianhuan_hub.api import create_app
from dianhuan_hub.app import Hub, open_hub
from dianhuan_hub.gateway import Decision, GatewayThread
from dianhuan_hub.kernel.config import load_config, write_template
from dianhuan_hub.store import LoadInfo, RegisterRows, Unit
from dianhuan_sdk import LOCAL_ZONE, Deviation
from dianhuan_standards import TABLES

START = datetime(2026, 6, 2, 2, 0, tzinfo=UTC)  # 10:00 in China
MN = "010000A8900016F00000000A"
LINE, FAN = f"{MN}/p001-rtd", f"{MN}/p002-rtd"
PLANTS = {"E1": "430202", "E2": "430203"}


class Moving:
    """A clock that the test moves."""

    def __init__(self, instant: datetime) -> None:
        self.instant = instant

    def now(self) -> datetime:
        return self.instant

    def today(self) -> Any:
        return self.instant.astimezone(LOCAL_ZONE).date()


@dataclass
class Site:
    """The plant, its logger and the hub."""

    hub: Hub
    clock: Moving
    api: str
    line: socket.socket
    logger: Logger
    codec: Hj212Codec
    noise: Any = field(default_factory=lambda: np.random.default_rng(7))

    def minutes(self, count: int, furnace: float | None, fan: float | None, *, tick: bool = True) -> list[str]:
        """Some minutes alike (but for the noise of a meter): frames over the socket, answered after their commit; then
        a tick for each. Answers what was said."""
        begin = self.clock.instant
        self.clock.instant = begin + timedelta(minutes=count)
        frames = []
        for n in range(count):
            at = begin + timedelta(minutes=n)
            noise = 1 + 0.03 * self.noise.standard_normal(2)
            values = {"p001": furnace, "p002": fan}
            items = [
                [(f"{code}-Rtd", round(float(v * e), 3)), (f"{code}-Flag", "N")]
                for (code, v), e in zip(values.items(), noise, strict=True)
                if v is not None
            ]
            if items:
                frames += self.logger.upload("2011", at.astimezone(LOCAL_ZONE), items)
        self.line.sendall(b"".join(frames))
        self._answered(len(frames))
        said: list[str] = []
        for n in range(count) if tick else ():
            report = self.hub.realtime.runner.tick(begin + timedelta(minutes=n + 1))
            said += [f"{f.rule} {f.change} {f.level}" for _, f in (report.findings if report else ())]
        return said

    def _answered(self, count: int) -> None:
        self.line.settimeout(20)
        while count > 0:
            frames = [f for f in self.codec.feed(self.line.recv(1 << 16)) if not isinstance(f, Deviation)]
            count -= sum(f.kind == "9014" for f in frames)

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self.hub.store.engine.cursor() as con:
            return con.execute(sql, list(values)).fetchall()

    def page(self) -> str:
        """Address of the newest notice's page."""
        notice = self.hub.realtime.notices.recent()[-1]
        return f"{self.api}/plant/{self.hub.realtime.notices.token(notice.event_id, notice.opened_at)}"


class Events:
    """A client of `/events` on a real socket."""

    def __init__(self, api: str, key: str, after: int | None = None, patience: float = 10) -> None:
        headers = {"Authorization": f"Bearer secret-{key}"}
        if after is not None:
            headers["Last-Event-ID"] = str(after)
        self._client = httpx.Client(trust_env=False, timeout=patience)
        self._stack = contextlib.ExitStack()
        self.answer = self._stack.enter_context(self._client.stream("GET", f"{api}/events", headers=headers))
        self._lines = self.answer.iter_lines() if self.answer.status_code == 200 else iter(())
        if self.answer.status_code == 200:
            assert next(self._lines) == "retry: 3000"

    def next(self) -> dict[str, Any]:
        """The next event with its id and kind."""
        found: dict[str, Any] = {}
        for line in self._lines:
            name, _, value = line.partition(": ")
            if name in ("id", "event"):
                found["_" + name] = value
            elif name == "data":
                return {**found, **json.loads(value)}
        raise AssertionError("the stream has ended")

    def silent(self) -> bool:
        """Does nothing come while it is patient?"""
        try:
            for line in self._lines:
                if line.startswith("data"):
                    return False
        except httpx.ReadTimeout:
            return True
        return True

    def close(self) -> None:
        self._stack.close()
        self._client.close()


def write_hub(folder: Path, extra: str = "") -> None:
    write_template(folder / "hub.toml", "株洲市", "430200")
    keys = ""
    for name, role, division in (
        ("city", "dispatcher", "430200"),
        ("a", "dispatcher", "430202"),
        ("b", "dispatcher", "430203"),
        ("officer", "officer", "430202"),
    ):
        digest = hashlib.sha256(f"secret-{name}".encode()).hexdigest()
        keys += f'\n[keys.{name}]\nsha256 = "{digest}"\nrole = "{role}"\ndivisions = ["{division}"]\npurpose = "执法"\n'
    gateway = "\n[gateway.listeners.loggers]\nhost = '127.0.0.1'\nport = 0\nhello = false\n"
    with (folder / "hub.toml").open("a", encoding="utf-8") as file:
        file.write(extra + gateway + keys)


def register(hub: Hub) -> None:
    """Plants and the device."""
    contract = TABLES["entity"]
    rows = [
        {"entity_id": e, "name": f"<b>{e}</b>厂", "division": d, "contact": "13800000000"} for e, d in PLANTS.items()
    ]
    table = pa.Table.from_pylist(rows, schema=contract.schema)
    info = LoadInfo("t", "1", "entity", "s", "", "", hub.clock.now())
    hub.store.commit(Unit(info, registers=[RegisterRows(contract, table, tuple(contract.schema.names))]))
    hub.devices.approve(MN, Decision(protocol="hj212", profile="private-phase", entity_id="E1"), "test")
    assert hub.devices.get(MN).state == "approved"


def link(hub: Hub, line: str = "production", fan: str = "treatment") -> str:
    """Roles and the link, once the channels are known."""
    desk = hub.realtime.links
    desk.set_role(LINE, line, "test", rated=100.0)
    if fan == "combined":
        desk.set_role(FAN, fan, "test", rated=20.0)
    else:
        desk.set_role(FAN, fan, "test", rated=20.0, facility="TA001")
    return desk.add([FAN], [LINE], "test").link_id


@contextlib.contextmanager
def served(hub: Hub) -> Iterator[str]:
    """The API of a hub on loopback, in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(create_app(hub), log_level="warning", lifespan="off", ws="websockets-sansio")
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        hub.realtime.feed.close()
        server.should_exit = True
        thread.join()
        listener.close()


@contextlib.contextmanager
def running(folder: Path, extra: str = "", at: datetime = START) -> Iterator[Site]:
    fresh = not (folder / "hub.toml").exists()
    if fresh:
        write_hub(folder, extra)
    clock = Moving(at)
    with contextlib.ExitStack() as stack:
        hub = stack.enter_context(open_hub(load_config(folder, {}), clock=clock))
        thread = GatewayThread(hub.gateway, lambda error: None)
        stack.callback(thread.stop)
        host, port = thread.start()["loggers"].rsplit(":", 1)
        api = stack.enter_context(served(hub))
        if fresh:
            register(hub)
        line = stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
        yield Site(hub, clock, api, line, Logger(Station(MN)), Hj212Codec(Hj212Config(), lambda _: None))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """`start(extra_toml)`: the hub and the plant, its circuits known but not linked."""
    with contextlib.ExitStack() as stack:

        def make(extra: str = "") -> Site:
            site = stack.enter_context(running(tmp_path, extra))
            site.minutes(2, 60.0, 12.0)
            return site

        yield make


def _copied(folder: Path, target: Path, at: datetime) -> contextlib.AbstractContextManager[Site]:
    shutil.copytree(folder, target / "hub")
    return running(target / "hub", at=at)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, datetime]]:
    """Hubs as they were left: `linked`, after two minutes; `told`, with the notice of a fan that is off."""
    base, made = tmp_path_factory.mktemp("realtime"), {}
    with running(base / "linked") as site:
        site.minutes(2, 60.0, 12.0)
        link(site.hub)
        made["linked"] = base / "linked", site.clock.instant
    with _copied(base / "linked", base / "told", made["linked"][1]) as site:
        site.minutes(10, 60.0, 12.0)
        assert "treatment_off opened notice" in site.minutes(50, 60.0, 0.4)
        made["told"] = base / "told" / "hub", site.clock.instant
    return made


@pytest.fixture
def site(folders: dict[str, tuple[Path, datetime]], tmp_path: Path) -> Iterator[Site]:
    """The plant with its link confirmed."""
    folder, at = folders["linked"]
    with _copied(folder, tmp_path, at) as made:
        yield made


@pytest.fixture
def told(folders: dict[str, tuple[Path, datetime]], tmp_path: Path) -> Iterator[Site]:
    """The same with an open notice: the fan has been off for 50 minutes."""
    folder, at = folders["told"]
    with _copied(folder, tmp_path, at) as made:
        yield made


@pytest.fixture
def off_for_an_hour(tmp_path: Path) -> Path:
    """The folder of a hub that stood still while a fan was off for the hour until now: one tick, then readings only."""
    now = datetime.fromtimestamp(int(time.time()) // 60 * 60, UTC)
    with running(tmp_path / "hub", at=now - timedelta(minutes=72)) as site:
        site.minutes(2, 60.0, 12.0)
        link(site.hub)
        assert site.minutes(10, 60.0, 12.0) == []
        site.minutes(60, 60.0, 0.4, tick=False)
    return tmp_path / "hub"


@pytest.fixture
def bind() -> Callable[..., str]:
    """Binds roles and the link: `bind(hub, fan="combined")`."""
    return link


@pytest.fixture
def listen() -> Iterator[Callable[..., Events]]:
    """`listen(site, "key", after, patience)`: a stream of events, closed at the end."""
    with contextlib.ExitStack() as stack:

        def make(site: Site, key: str, after: int | None = None, patience: float = 10) -> Events:
            events = Events(site.api, key, after, patience)
            stack.callback(events.close)
            return events

        yield make


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=10) as client:
        yield client


@dataclass
class Hook:
    """A webhook's receiver that can fail."""

    url: str
    failures: int = 0
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def until(self, count: int) -> bool:
        end = time.monotonic() + 10
        while len(self.got) < count and time.monotonic() < end:
            time.sleep(0.02)
        return len(self.got) >= count


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A receiver of notices on loopback."""
    made = Hook("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.got.append((dict(self.headers), body))
            self.send_response(503 if made.failures > 0 else 204)
            made.failures -= 1
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}/notices"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()
