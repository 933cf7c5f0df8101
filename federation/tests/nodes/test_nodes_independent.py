"""Another author's witness, feeder and log reader (PyPI `aics-witness`, `aics-tlog`) against ours, both ways."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dianhuan_federation.core import (
    COSIGNATURE,
    ED25519,
    consistency_proof,
    cosigned_at,
    is_consistent,
    leaf_hash,
    nodes_of,
    note_key,
    parse_checkpoint,
    parse_vkey,
    tree_root,
)
from dianhuan_federation.nodes import OtherSize, add_checkpoint, ask_witness, origin_hash, push, witnessed
from dianhuan_sdk import TerminalError, TransientError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("aics_witness") is None,
        reason="pip install --ignore-requires-python aics-witness aics-tlog (they ask for Python 3.12)",
    ),
]

ORIGIN = "fed.example/430200/r1"


@pytest.fixture
def theirs(tmp_path: Path, federation: Any) -> Iterator[tuple[str, Any]]:
    """Their witness in a process of its own: URL and key."""
    config = str(tmp_path / "witness.json")
    key = note_key(ORIGIN, ED25519, federation.signer("log-430200").public)

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "aics_witness", *arguments, "--config", config], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    run("init", "--name", "witness.example/w1")
    run("add-log", "--origin", ORIGIN, "--vkey", key.vkey)
    status = json.loads(run("status", "--json"))
    serving = subprocess.Popen(
        [sys.executable, "-m", "aics_witness", "serve", "--listen", address, "--config", config],
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://{address}", parse_vkey(_vkey(status))
    finally:
        serving.terminate()
        serving.wait(10)


def _vkey(status: Any) -> str:
    found = [text for text in json.dumps(status).split('"') if text.startswith("witness.example/w1+")]
    return found[0]


async def test_our_log_is_cosigned_by_their_witness(
    federation: Any, theirs: tuple[str, Any], client: httpx.AsyncClient
) -> None:
    url, key = theirs
    for _ in range(100):
        try:
            await witnessed(client, url, ORIGIN)
        except TransientError:
            await asyncio.sleep(0.1)  # it is starting
            continue
        break
    log, fork = federation.log(), federation.log("fork")
    for count in (1, 4, 300):
        log.append([b"entry %d" % i for i in range(count)])
        lines = await ask_witness(client, url, log)
        published = log.add_signatures(parse_checkpoint(log.checkpoint())[1].text, lines)
        assert cosigned_at(parse_checkpoint(published)[1], key)
    assert log.size == 305
    fork.append([b"other %d" % i for i in range(305)])
    with pytest.raises(OtherSize) as behind:
        await add_checkpoint(client, url, fork.checkpoint(), 0, [])
    assert behind.value.size == 305
    with pytest.raises(TerminalError, match="422"):
        await ask_witness(client, url, fork)


async def test_their_feeder_is_served_by_our_witness(federation: Any, nodes: Any) -> None:
    from aics_witness.feeder import WitnessAhead, WitnessClient, WitnessRejected

    node = nodes.start()
    vkey = note_key("prov.example/w43", COSIGNATURE, federation.signer("w43").public).vkey
    log, fork = federation.log(), federation.log("fork")
    entries: list[bytes] = []
    with WitnessClient(f"{node.base}/witness", vkey, clock=federation.clock, max_attempts=1) as feeder:
        for count in (1, 6, 250, 1):
            new = [b"entry %d" % i for i in range(len(entries), len(entries) + count)]
            entries += new
            log.append(new)
            leaves = nodes_of([leaf_hash(entry) for entry in entries])
            line = feeder.submit(log.checkpoint(), lambda old, size, of=leaves: consistency_proof(of, old, size))
            assert line.startswith("— prov.example/w43 ")
        fork.append([b"x"])
        with pytest.raises(WitnessAhead):
            feeder.submit(fork.checkpoint(), lambda old, size: [])
        fork.append([b"x"] * 257)
        with pytest.raises(WitnessRejected) as refused:
            feeder.submit(fork.checkpoint(), lambda old, size: [])
        assert refused.value.status == 422


async def test_their_reader_audits_our_mirror(federation: Any, nodes: Any, client: httpx.AsyncClient) -> None:
    from aics_tlog.remote import HttpTileReader
    from aics_tlog.tree import MerkleTree
    from aics_tlog.verified import audit_tiles

    node = nodes.start()
    log = federation.log()
    entries = [b"entry %d" % i for i in range(70_000)]
    for first in range(0, len(entries), 20_000):
        log.append(entries[first : first + 20_000])
        await push(client, f"{node.base}/mirror", log)
    root = tree_root([leaf_hash(entry) for entry in entries])
    reader = HttpTileReader(f"{node.base}/mirror/{origin_hash(ORIGIN)}")
    report = await asyncio.to_thread(audit_tiles, reader, len(entries), root)
    assert (report.size, report.bundles) == (70_000, 274)
    tree = MerkleTree(entries[:1000])
    for old in (1, 2, 255, 256, 700, 999):
        proof = tree.consistency_proof(old, 1000)
        assert proof == consistency_proof(nodes_of([leaf_hash(e) for e in entries[:1000]]), old, 1000)
        assert is_consistent(old, tree_root([leaf_hash(e) for e in entries[:old]]), 1000, tree.root(), proof)
