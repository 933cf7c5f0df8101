"""A witness over HTTP: one history of each log, whatever is sent, in whatever order, and whoever is killed."""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from dianhuan_federation.core import (
    COSIGNATURE,
    ED25519,
    Checkpoint,
    consistency_proof,
    cosigned_at,
    format_note,
    leaf_hash,
    nodes_of,
    note_key,
    parse_checkpoint,
    sign_note,
    tree_root,
    verify_fork,
)
from dianhuan_federation.nodes import Limits, OtherSize, add_checkpoint, ask_witness, witnessed
from dianhuan_sdk import ConfigError, TerminalError, TransientError

ORIGIN = "fed.example/430200/r1"
Tree = list[bytes]


def leaves(count: int, branch: str = "", common: int = 0) -> Tree:
    """Leaf hashes; those from `common` on differ by branch."""
    return [leaf_hash(f"{branch if i >= common else ''}{i}".encode()) for i in range(count)]


@pytest.fixture
def note(federation: Any) -> Callable[..., bytes]:
    """A signed checkpoint over a tree."""

    def make(tree: Tree, key: str = "log-430200", origin: str = ORIGIN) -> bytes:
        text = Checkpoint(origin, len(tree), tree_root(tree)).text
        return format_note(text, [sign_note(text, origin, federation.signer(key))])

    return make


@pytest.fixture
def keys(federation: Any) -> Any:
    return [note_key(ORIGIN, ED25519, federation.signer("log-430200").public)]


def body(old: int, proof: list[bytes], checkpoint: bytes) -> bytes:
    lines = [f"old {old}", *(base64.b64encode(node).decode() for node in proof), "", ""]
    return "\n".join(lines).encode() + checkpoint


def evidence(node: Any) -> list[bytes]:
    return [path.read_bytes() for path in (node.config.folder / "witness" / "evidence").rglob("*.json")]


async def post(client: httpx.AsyncClient, node: Any, content: Any) -> httpx.Response:
    return await client.post(f"{node.base}/witness/add-checkpoint", content=content)


async def test_a_growing_log_is_cosigned_and_served(federation: Any, nodes: Any, client: httpx.AsyncClient) -> None:
    node = nodes.start()
    url = f"{node.base}/witness"
    log = federation.log()
    key = note_key("prov.example/w43", COSIGNATURE, federation.signer("w43").public)
    times = []
    for step, moved in ((1, 0), (255, 100), (1, -50), (7, 7)):
        federation.clock.now += moved
        log.append([b"entry"] * step)
        lines = await ask_witness(client, url, log)
        published = log.add_signatures(parse_checkpoint(log.checkpoint())[1].text, lines)
        time = cosigned_at(parse_checkpoint(published)[1], key)
        assert time is not None
        times.append(time)
        assert await witnessed(client, url, ORIGIN) == published
    now = federation.world.NOW
    assert times == [now, now + 100, now + 100, now + 100]
    assert await witnessed(client, url, "fed.example/430100/r1") is None


async def test_hostile_clock_set_far_back_is_not_signed_over(
    federation: Any, nodes: Any, client: httpx.AsyncClient
) -> None:
    node = nodes.start()
    log = federation.log()
    log.append([b"a"])
    await ask_witness(client, f"{node.base}/witness", log)
    log.append([b"b"])
    federation.clock.now -= 50_000
    with pytest.raises(TransientError, match="clock"):
        await ask_witness(client, f"{node.base}/witness", log)
    federation.clock.now += 50_000
    await ask_witness(client, f"{node.base}/witness", log)


async def test_the_same_size_is_cosigned_again(nodes: Any, note: Any, client: httpx.AsyncClient) -> None:
    node = nodes.start()
    for old in (0, 5):
        answer = await post(client, node, body(old, [], note(leaves(5))))
        assert answer.status_code == 200
        assert answer.text.startswith("— prov.example/w43 ")


async def test_size_zero_is_cosigned(nodes: Any, note: Any, client: httpx.AsyncClient) -> None:
    assert (await post(client, nodes.start(), body(0, [], note([])))).status_code == 200


def refused_requests(note: Any) -> dict[str, tuple[int, bytes]]:
    """Name → status and body, for a witness that knows the log at size 5."""
    tree, other = leaves(9), leaves(9, "x")
    right = consistency_proof(nodes_of(tree), 5, 9)
    empty = f"{ORIGIN}\n0\n{base64.b64encode(bytes(32)).decode()}\n".encode()
    signed = note(tree)
    tampered = signed.replace(b"\n9\n", b"\n8\n")
    return {
        "replay of an old checkpoint": (409, body(0, [], note(tree[:3]))),
        "replay with its own old size": (409, body(3, [], note(tree[:3]))),
        "unknown origin": (404, body(0, [], note(tree, origin="fed.example/430300/r1"))),
        "another hub's key": (403, body(5, right, note(tree, "log-440100"))),
        "publisher key": (403, body(5, right, note(tree, "publisher-430200"))),
        "tampered text": (403, body(5, right, tampered)),
        "no signature at all": (400, body(5, right, signed.split(b"\n\n")[0] + b"\n\n")),
        "old above new": (400, body(9, [], note(tree[:7]))),
        "wrong proof": (422, body(5, right[::-1], signed)),
        "no proof": (422, body(5, [], signed)),
        "proof one line short": (422, body(5, right[:-1], signed)),
        "proof one line long": (422, body(5, [*right, right[0]], signed)),
        "proof of 63 lines": (422, body(5, [bytes(32)] * 63, signed)),
        "proof of 64 lines": (400, body(5, [bytes(32)] * 64, signed)),
        "proof for another branch": (422, body(5, consistency_proof(nodes_of(other), 5, 9), note(other))),
        "same size, other root": (422, body(5, [], note(other[:5]))),
        "size 0, wrong root": (422, body(0, [], format_note(empty, parse_checkpoint(signed)[1].signatures))),
        "leading zero": (400, body(5, right, signed).replace(b"old 5", b"old 05")),
        "negative size": (400, body(5, right, signed).replace(b"old 5", b"old -5")),
        "size of 2^63": (400, body(5, right, signed).replace(b"old 5", b"old 9223372036854775808")),
        "carriage returns": (400, body(5, right, signed).replace(b"\n", b"\r\n")),
        "no empty line": (400, body(5, right, b"")),
        "hash of 31 bytes": (400, body(5, [bytes(31)], signed)),
        "empty body": (400, b""),
        "binary": (400, bytes(range(256))),
        "extension line": (400, body(5, right, signed.replace(b"=\n\n", b"=\nextension\n\n"))),
    }


async def test_hostile_checkpoints_get_the_status_that_the_specification_names(
    nodes: Any, note: Any, client: httpx.AsyncClient
) -> None:
    node = nodes.start()
    assert (await post(client, node, body(0, [], note(leaves(5))))).status_code == 200
    before = await witnessed(client, f"{node.base}/witness", ORIGIN)
    for name, (status, content) in refused_requests(note).items():
        answer = await post(client, node, content)
        assert (name, answer.status_code) == (name, status)
        if status == 409:
            assert answer.headers["content-type"] == "text/x.tlog.size"
            assert answer.content == b"5\n"
        else:
            assert set(answer.json()) == {"error", "message", "expected", "hint"}
    assert await witnessed(client, f"{node.base}/witness", ORIGIN) == before


async def test_hostile_fork_leaves_evidence_that_the_log_key_alone_checks(
    nodes: Any, note: Any, keys: Any, client: httpx.AsyncClient
) -> None:
    node = nodes.start()
    tree = leaves(11)
    assert (await post(client, node, body(0, [], note(tree[:3])))).status_code == 200
    proof = consistency_proof(nodes_of(tree), 3, 7)
    assert (await post(client, node, body(3, proof, note(tree[:7])))).status_code == 200
    other = leaves(11, "x")
    assert (await post(client, node, body(7, [], note(other[:7])))).status_code == 422
    assert len(evidence(node)) == 1
    assert (await post(client, node, body(0, [], note(other[:3])))).status_code == 409
    assert len(evidence(node)) == 2
    larger = body(7, consistency_proof(nodes_of(other), 7, 11), note(other))
    assert (await post(client, node, larger)).status_code == 422
    assert len(evidence(node)) == 3
    assert [verify_fork(data, keys) for data in evidence(node)] == [ORIGIN] * 3


async def test_hostile_noise_leaves_no_evidence(nodes: Any, note: Any, client: httpx.AsyncClient) -> None:
    node = nodes.start()
    tree = leaves(9)
    await post(client, node, body(0, [], note(tree[:5])))
    await post(client, node, body(5, [bytes(32)] * 4, note(tree)))
    await post(client, node, body(5, [], note(leaves(5, "x"), "log-440100")))
    assert evidence(node) == []


async def test_hostile_evidence_of_one_log_is_bounded(nodes: Any, note: Any, client: httpx.AsyncClient) -> None:
    node = nodes.start()
    await post(client, node, body(0, [], note(leaves(2))))
    for branch in range(20):
        answer = await post(client, node, body(2, [], note(leaves(2, f"b{branch}-"))))
        assert answer.status_code == 422
    assert len(evidence(node)) == 16


async def test_hostile_race_of_updates_leaves_one_history(nodes: Any, note: Any, client: httpx.AsyncClient) -> None:
    node = nodes.start()
    base = leaves(6)
    assert (await post(client, node, body(0, [], note(base)))).status_code == 200
    branches = [leaves(6 + n % 4 + 1, f"b{n}-", common=6) for n in range(24)]
    answers = await asyncio.gather(
        *(post(client, node, body(6, consistency_proof(nodes_of(t), 6, len(t)), note(t))) for t in branches)
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 409}
    winner = branches[[answer.status_code for answer in answers].index(200)]
    served = await witnessed(client, f"{node.base}/witness", ORIGIN)
    assert served is not None
    assert parse_checkpoint(served)[0] == Checkpoint(ORIGIN, len(winner), tree_root(winner))


async def test_hostile_lost_or_old_database_never_begins_again(
    federation: Any, nodes: Any, note: Any, client: httpx.AsyncClient
) -> None:
    node = nodes.start()
    tree = leaves(9)
    await post(client, node, body(0, [], note(tree[:5])))
    database = node.config.folder / "witness" / "heads.sqlite"
    backup = federation.folder / "backup.sqlite"
    shutil.copy(database, backup)
    await post(client, node, body(5, consistency_proof(nodes_of(tree), 5, 9), note(tree)))
    node.stop()
    nodes.running.clear()
    shutil.copy(backup, database)
    with pytest.raises(ConfigError, match="less than size 9"):
        nodes.start(create=False, access=node.config.access)
    database.unlink()
    with pytest.raises(ConfigError, match="is gone"):
        nodes.start(create=False, access=node.config.access)
    with pytest.raises(ConfigError, match="holds published checkpoints"):
        nodes.start(create=True, access=node.config.access)


async def test_a_restarted_witness_goes_on(nodes: Any, note: Any, client: httpx.AsyncClient) -> None:
    node = nodes.start()
    await post(client, node, body(0, [], note(leaves(5))))
    node.stop()
    nodes.running.clear()
    again = nodes.start(create=False, access=node.config.access)
    with pytest.raises(OtherSize) as found:
        await add_checkpoint(client, f"{again.base}/witness", note(leaves(6)), 0, [])
    assert found.value.size == 5


async def test_hostile_key_out_of_its_time_is_not_cosigned(
    federation: Any, nodes: Any, note: Any, client: httpx.AsyncClient
) -> None:
    node = nodes.start()
    federation.clock.now += 301 * federation.world.DAY
    assert (await post(client, node, body(0, [], note(leaves(5))))).status_code == 403


async def test_hostile_log_that_is_behind_its_witness_must_not_sign_on(
    federation: Any, nodes: Any, note: Any, client: httpx.AsyncClient
) -> None:
    node = nodes.start()
    log = federation.log()
    log.append([b"a"])
    await post(client, node, body(0, [], note(leaves(9))))
    with pytest.raises(TerminalError, match="at size 9"):
        await ask_witness(client, f"{node.base}/witness", log)


async def test_hostile_body_without_end_is_cut(nodes: Any, client: httpx.AsyncClient) -> None:
    node = nodes.start(limits=Limits(checkpoint=4096))
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while True:
            sent += 1024
            yield b"x" * 1024

    try:
        answer = await post(client, node, endless())
        assert answer.status_code == 413
    except httpx.TransportError:
        pass
    assert sent < 64 * 1024 * 1024
    stated = await client.post(
        f"{node.base}/witness/add-checkpoint", content=b"x" * 5000, headers={"content-length": "5000"}
    )
    assert stated.status_code == 413


@pytest.mark.parametrize("drip", [b"", b"o"])
async def test_hostile_slow_body_is_given_up(nodes: Any, note: Any, client: httpx.AsyncClient, drip: bytes) -> None:
    node = nodes.start(limits=Limits(idle=0.2, seconds=0.5))
    reader, writer = await asyncio.open_connection("127.0.0.1", int(node.base.rsplit(":", 1)[1]))
    writer.write(b"POST /witness/add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\nold")
    answer = asyncio.create_task(reader.read(4096))
    while not answer.done():
        writer.write(drip)
        await asyncio.sleep(0.05)
    assert (await answer).startswith(b"HTTP/1.1 408")
    writer.close()
    assert (await post(client, node, body(0, [], note(leaves(5))))).status_code == 200


@pytest.mark.parametrize("path", ["../heads.sqlite", "..%2fheads.sqlite", "0" * 64, "A" * 64, "%00"])
async def test_hostile_paths_lead_nowhere(nodes: Any, client: httpx.AsyncClient, path: str) -> None:
    node = nodes.start()
    answer = await client.get(f"{node.base}/witness/{path}/checkpoint")
    assert answer.status_code == 404
