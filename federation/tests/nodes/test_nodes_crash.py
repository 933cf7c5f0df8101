"""A witness process that is killed between persisting and answering never cosigns a fork afterwards."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from dianhuan_federation.core import consistency_proof, leaf_hash, nodes_of, parse_checkpoint
from dianhuan_federation.guard import CheckpointGuard
from dianhuan_federation.log_store import TileLog
from dianhuan_federation.nodes import OtherSize, _store, add_checkpoint, witnessed
from dianhuan_sdk import TerminalError, TransientError

ORIGIN = "fed.example/430200/r1"

PROCESS = """
    import importlib.util, os, signal, sys
    from pathlib import Path
    import uvicorn
    from dianhuan_federation.nodes import Cosigner, NodeConfig, create_node, node_app
    from dianhuan_federation.nodes import _heads
    from dianhuan_federation.guard import CheckpointGuard
    from dianhuan_federation.log_store import TileLog

    folder, descriptor, place, first, source = Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:6]
    spec = importlib.util.spec_from_file_location("conformance_world", source)
    world = importlib.util.module_from_spec(spec)
    sys.modules["conformance_world"] = world
    spec.loader.exec_module(world)
    builder = world.TrustBuilder()
    trust = world.load_trust(builder.bootstrap(), builder.build(), world.NOW)
    guard = CheckpointGuard(folder / "access.guard")
    open_log = TileLog.create if first == "first" else TileLog
    access = open_log(folder / "access", "fed.example/430000/access", world.signer("access"), guard)
    config = NodeConfig(
        folder=folder / "node", bases=["http://x"], access=access,
        witness=Cosigner("prov.example/w43", world.signer("w43")),
    )
    if first == "first":
        create_node(config)
    app = node_app(config, lambda: trust, lambda: float(world.NOW))

    def die(*args):
        os.kill(os.getpid(), signal.SIGKILL)

    if place == "publish":
        _heads.HeadStore._publish = die
    elif place == "file":
        Path.replace = die
    elif place == "sign":
        _heads._united = die
    elif place == "answer":
        import dianhuan_federation.nodes._witness as witness
        witness.format_signatures = die
    uvicorn.run(app, fd=descriptor, log_level="error", lifespan="off")
"""


class Process:
    """A witness in a process of its own."""

    def __init__(self, folder: Path, place: str, first: str, vectors: Path) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}/witness"
        arguments = [str(folder), str(listening.fileno()), place, first, str(vectors / "conformance_world.py")]
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(PROCESS), *arguments], pass_fds=[listening.fileno()]
        )
        listening.close()

    def kill(self) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


async def answered(client: httpx.AsyncClient, url: str) -> None:
    """Wait until the process answers."""
    for _ in range(400):
        try:
            await witnessed(client, url, ORIGIN)
        except TransientError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the witness did not start")


@pytest.mark.parametrize("place", ["sign", "publish", "file", "answer"])
async def test_hostile_sigkill_before_the_answer_never_leads_to_a_fork(
    tmp_path: Path, vectors: Path, signer: Any, client: httpx.AsyncClient, place: str
) -> None:
    def log(name: str, last: bytes) -> TileLog:
        made = TileLog.create(
            tmp_path / name, ORIGIN, signer("log-430200"), CheckpointGuard(tmp_path / f"{name}.guard")
        )
        made.append([b"a", b"b", last])
        return made

    right, fork = log("right", b"c"), log("fork", b"x")
    (tmp_path / "state").mkdir()
    dying = Process(tmp_path / "state", place, "first", vectors)
    try:
        await answered(client, dying.url)
        with pytest.raises(TransientError):
            await add_checkpoint(client, dying.url, right.checkpoint(), 0, [])
        assert dying.process.wait(10) == -signal.SIGKILL
    finally:
        dying.kill()
    again = Process(tmp_path / "state", "", "again", vectors)
    try:
        await answered(client, again.url)
        persisted = place != "sign"
        if persisted:
            with pytest.raises(OtherSize) as found:
                await add_checkpoint(client, again.url, fork.checkpoint(), 0, [])
            assert found.value.size == 3
            with pytest.raises(TerminalError, match="422"):
                await add_checkpoint(client, again.url, fork.checkpoint(), 3, [])
        known = 3 if persisted else 0
        assert await add_checkpoint(client, again.url, right.checkpoint(), known, [])
        right.append([b"d"])
        leaves = [leaf_hash(entry) for entry in (b"a", b"b", b"c", b"d")]
        proof = consistency_proof(nodes_of(leaves), 3, 4)
        assert await add_checkpoint(client, again.url, right.checkpoint(), 3, proof)
        served = await witnessed(client, again.url, ORIGIN)
        assert served is not None
        assert parse_checkpoint(served)[0] == parse_checkpoint(right.checkpoint())[0]
    finally:
        again.kill()


def test_a_node_writes_through_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    database = _store.Database(tmp_path / "x.sqlite", "CREATE TABLE IF NOT EXISTS t (a INTEGER)", create=True)
    assert database.rows("PRAGMA synchronous") == [(3,)]
    assert database.rows("PRAGMA journal_mode") == [("truncate",)]

    def fail() -> None:
        with database.transaction() as connection:
            connection.execute("INSERT INTO t VALUES (1)")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert database.rows("SELECT * FROM t") == []
    database.close()
    with pytest.raises(TransientError):
        database.rows("SELECT * FROM t")
