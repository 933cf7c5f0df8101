"""What the tests of replica and sync share; every part is real: SQLite, files, sockets on loopback."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import uvicorn

from dianhuan_federation.bundle import log_hash
from dianhuan_federation.config import FederationConfig, Peer
from dianhuan_federation.core import Submission, load_trust
from dianhuan_federation.guard import CheckpointGuard
from dianhuan_federation.log_store import TileLog
from dianhuan_federation.nodes import Cosigner, NodeConfig, create_node, node_app
from dianhuan_federation.replica import FEDERATED_TABLES, Delivery, Merge, Merged
from dianhuan_federation.sync import Subscriber as Joined
from dianhuan_sdk import PluginContext, Secret

SqliteStore = sys.modules["sync_store"].SqliteStore
TABLES = [table.name for table in FEDERATED_TABLES]


@dataclass
class Subscriber:
    """A replica in a folder."""

    world: ModuleType
    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.store = SqliteStore(self.folder / "hub.sqlite", FEDERATED_TABLES)
        self.replica = self.folder / "replica"

    def merge(self, trust: Any = None, **changes: Any) -> Merge:
        """A merge as province 44 would do it now."""
        return Merge(self.store, self.replica, self.world.verifier(trust, **changes))

    def take(self, *submissions: Submission, **changes: Any) -> list[Merged]:
        """Merge some deliveries."""
        return list(self.merge(**changes).take(Delivery(s.origin, s, "folder") for s in submissions))

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of a table by key."""
        found: list[dict[str, Any]] = self.store.rows(table)
        return found

    def tables(self, leave: Sequence[str] = ()) -> dict[str, list[dict[str, Any]]]:
        """Every table but what depends on when and how a delivery came."""
        own = {"last_pull_at", "last_ok_at", "via", *leave}
        return {t: [{k: v for k, v in row.items() if k not in own} for row in self.rows(t)] for t in TABLES}

    def states(self, table: str = "federated_warning") -> dict[tuple[int, str], tuple[str, int | None]]:
        """(index, record) → (state, successor)."""
        return {(r["index"], r["record_id"]): (r["state"], r["superseded_by"]) for r in self.rows(table)}


class FixedClock:
    """A clock that stands still."""

    def __init__(self, now: int) -> None:
        self.time = now

    def now(self) -> datetime:
        """The instant."""
        return datetime.fromtimestamp(self.time, UTC)

    def today(self) -> date:
        """The day."""
        return self.now().date()


@dataclass
class Home(Subscriber):
    """A hub in a folder that has joined the small federation of the vectors."""

    builder: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.builder = self.builder or self.world.TrustBuilder()
        self.clock = FixedClock(self.world.NOW)
        (self.folder / "root.json").write_bytes(self.builder.bootstrap())
        (self.folder / "policy.txt").write_bytes(self.world.policy_text())
        (self.folder / "trust").mkdir(exist_ok=True)
        write(self.folder / "trust", self.builder.build())

    def subscriber(self, *peers: Peer, signs: bool = True, **changes: Any) -> Any:
        """The hub's subscriber."""
        known = {"resolver", "tls", "seconds"}
        settings = {
            "origin": f"fed.example/{self.world.READER}/r1",
            "roles": ("subscriber",),
            "guard": self.folder / "guard",
            "trust": self.folder / "trust",
            "root": self.folder / "root.json",
            "witness_policy": self.folder / "policy.txt",
            "folder": self.folder,
            "peers": peers,
            "allow_private": ("127.0.0.0/8",),
            **{k: v for k, v in changes.items() if k not in known},
        }
        context = PluginContext(
            plugin_id="federation",
            config=FederationConfig(**settings),
            secret=lambda ref: Secret(ref.ref),
            clock=self.clock,
            log=logging.getLogger("federation-test"),
            metrics=None,  # type: ignore[arg-type]
            http=httpx.AsyncClient,
            storage=self.store,
            folder=self.folder,
        )
        signer = self.world.signer(f"transport-{self.world.READER}") if signs else None
        return Joined(context, context.config, signer=signer, **{k: v for k, v in changes.items() if k in known})


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below a folder."""
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return folder


def tree(log: Any, folder: Path) -> Path:
    """A log as a hub serves it: `log/…`, `blob/sha256/…`."""
    write(folder / "log", {"checkpoint": log.heads[-1], **log.tiles()})
    write(folder / "log/checkpoints", {h.split(b"\n")[1].decode(): h for h in log.heads})
    return write(folder, {f"blob/sha256/{name}": blob for name, blob in log.blobs.items()})


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """`python -m http.server` over a folder, on loopback; its address."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        yield f"http://127.0.0.1:{line.split('port ')[1].split()[0]}"
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def answering(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], **tls: Any
) -> Iterator[str]:
    """A raw TCP server on loopback; its authority, host and port."""
    started, loop = threading.Event(), asyncio.new_event_loop()
    place: list[str] = []
    stop = asyncio.Event()

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(guarded, "127.0.0.1", 0, **tls)
        place.append(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        started.set()
        await stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    started.wait(10)
    try:
        yield place[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


@contextmanager
def node(world: ModuleType, folder: Path, logs: Sequence[Any], trust: Any = None) -> Iterator[str]:
    """A mirror of some logs under uvicorn on loopback; its address."""
    builder = trust or world.TrustBuilder()
    loaded = load_trust(builder.bootstrap(), builder.build(), world.NOW)
    for log in logs:
        place = folder / "mirror" / "logs" / log_hash(log.origin)
        write(place, {"checkpoint": log.heads[-1], **log.tiles()})
        write(place / "checkpoints", {h.split(b"\n")[1].decode(): h for h in log.heads})
        write(folder / "blob" / "sha256", log.blobs)
    write(folder / "trust", builder.build())
    access_guard = CheckpointGuard(folder / "access.guard")
    access = TileLog.create(folder / "access", "fed.example/430000/access", world.signer("access"), access_guard)
    listening = socket.create_server(("127.0.0.1", 0))
    base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    mirror = Cosigner("prov.example/m43", world.signer("m43"))
    config = NodeConfig(folder=folder, bases=[base], access=access, mirror=mirror, trust_folder=folder / "trust")
    create_node(config)
    app = node_app(config, lambda: loaded, lambda: world.NOW)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    try:
        yield base
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
