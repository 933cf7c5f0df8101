"""A small federation over real HTTP on loopback: city 430200, readers, and nodes under uvicorn in threads."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import uvicorn

from dianhuan_federation import log_store
from dianhuan_federation.core import WARNING_ROWS, Ed25519Signer, Trust, encode_rows, load_trust
from dianhuan_federation.guard import CheckpointGuard
from dianhuan_federation.log_store import TileLog
from dianhuan_federation.nodes import Cosigner, LogCopy, NodeConfig, RequestAuth, _store, create_node, node_app
from dianhuan_sdk import ConfigError

CITY = "430200"
READER = "440100"
OTHER = "430100"
ORIGIN = f"fed.example/{CITY}/r1"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of small files: what fsync does is the system's business, not these tests'."""
    monkeypatch.setattr(log_store.os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(_store, "SYNCHRONOUS", "OFF")


@dataclass
class Clock:
    """A clock that stands until it is moved."""

    now: float

    def __call__(self) -> float:
        return self.now


@dataclass
class Federation:
    """Keys, trust data and a clock that all nodes of a test share."""

    world: ModuleType
    folder: Path
    clock: Clock
    trust: Trust

    def signer(self, name: str) -> Ed25519Signer:
        signer: Ed25519Signer = self.world.signer(name)
        return signer

    def log(self, name: str = "log", hub: str = CITY, key: str = "") -> TileLog:
        """A fresh log of a hub."""
        guard = CheckpointGuard(self.folder / f"{name}.guard")
        return TileLog.create(self.folder / name, f"fed.example/{hub}/r1", self.signer(key or f"log-{hub}"), guard)

    def access_log(self, name: str) -> TileLog:
        guard = CheckpointGuard(self.folder / f"{name}.guard")
        return TileLog.create(self.folder / name, f"fed.example/430000/{name}", self.signer("access"), guard)

    def auth(self, hub: str = READER, grant: str = "") -> RequestAuth:
        return RequestAuth(self.signer(f"transport-{hub}"), grant=grant, clock=self.clock)


@dataclass
class Node:
    """A node that is running."""

    config: NodeConfig
    base: str
    server: uvicorn.Server
    thread: threading.Thread

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        assert not self.thread.is_alive()


@dataclass
class Nodes:
    """Starts nodes."""

    federation: Federation
    running: list[Node] = field(default_factory=list)

    def start(self, name: str = "node", *, create: bool = True, own: TileLog | None = None, **changes: Any) -> Node:
        listening = socket.create_server(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{listening.getsockname()[1]}"
        federation, folder = self.federation, self.federation.folder / name
        config = NodeConfig(
            folder=folder,
            bases=[base],
            access=changes.pop("access", None) or federation.access_log(f"access-{name}"),
            own=None if own is None else LogCopy(own.origin, own.folder),
            witness=Cosigner("prov.example/w43", federation.signer("w43")),
            mirror=Cosigner("prov.example/m43", federation.signer("m43")),
        )
        config = replace(config, **changes)
        try:
            if create:
                create_node(config)
            return self.serve(config, base, listening)
        except ConfigError:
            listening.close()
            raise

    def serve(self, config: NodeConfig, base: str, listening: socket.socket) -> Node:
        app = node_app(config, lambda: self.federation.trust, self.federation.clock)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=2))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        node = Node(config, base, server, thread)
        self.running.append(node)
        return node


@pytest.fixture
def federation(world: ModuleType, tmp_path: Path) -> Federation:
    """Hubs 430200, 430100 and 440100."""
    builder = world.TrustBuilder(hubs={hub: world.hub_file(hub) for hub in (CITY, OTHER, READER)})
    trust = load_trust(builder.bootstrap(), builder.build(), world.NOW)
    return Federation(world, tmp_path, Clock(world.NOW), trust)


@pytest.fixture
def nodes(federation: Federation) -> Iterator[Nodes]:
    """Starts nodes that end with the test."""
    starter = Nodes(federation)
    yield starter
    for node in starter.running:
        node.stop()


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=20, trust_env=False) as session:
        yield session


@pytest.fixture
def city_log(federation: Federation, world: ModuleType) -> Callable[..., tuple[TileLog, Any]]:
    """A log on the disk with an open policy, a conditional one with a grant, and a batch under each.

    Returns the log and its builder, whose `blobs` are the payloads in the order of the batches.
    """

    def build(name: str = "city", hub: str = CITY) -> tuple[TileLog, Any]:
        made = world.Log(hub)
        open_policy = made.add_policy()
        limited = made.add_policy(**{"id": "cases", "class": "conditional", "target": "cases"})
        made.add_grant(limited)
        made.add_batch([world.warning_row(i) for i in range(1, 4)], policy=open_policy)
        rows = encode_rows(WARNING_ROWS, [world.warning_row(i) for i in range(4, 9)])
        fields = made.batch_fields(rows.payload, rows.count, rows.root)
        fields["policy"] = {"id": "cases", "digest": made.digests[limited]}
        made.add(made.statement("result-batch", "cases", fields, rows.payload))
        log = federation.log(name, hub)
        log.append(made.entries)
        return log, made

    return build
