"""A mirror over HTTP: it holds what the log signed, whole, and payloads that a verified leaf names."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import Any

import httpx
import pytest

from dianhuan_federation import log_store
from dianhuan_federation.core import (
    COSIGNATURE,
    Tile,
    consistency_proof,
    cosign,
    cosigned_at,
    is_consistent,
    leaf_hash,
    nodes_of,
    note_key,
    pack_entries,
    parse_checkpoint,
    range_root,
    tree_root,
)
from dianhuan_federation.log_store import TileLog, fsck
from dianhuan_federation.nodes import (
    Limits,
    PackReader,
    _client,
    _mirror,
    add_checkpoint,
    content_digest,
    is_subtree,
    origin_hash,
    push,
    put_blob,
    sign_request,
    subtree_proof,
    witnessed,
)
from dianhuan_federation.nodes._wire import EntriesHead, packages
from dianhuan_sdk import ConfigError, TerminalError, TransientError

CityLog = Callable[..., tuple[TileLog, Any]]


def test_subtree_proofs_of_every_small_tree() -> None:
    for size in range(1, 34):
        leaves = [leaf_hash(bytes([i])) for i in range(size)]
        nodes, root = nodes_of(leaves), tree_root(leaves)
        for width in (1, 2, 4, 8, 16, 32):
            for start in range(0, size, width):
                for end in range(start + width // 2 + 1, min(size, start + width) + 1):
                    proof = subtree_proof(nodes, start, end, size)
                    part = range_root(nodes, start, end)
                    assert part == tree_root(leaves[start:end])
                    assert is_subtree(start, end, part, size, root, proof)
                    assert not is_subtree(start, end, leaf_hash(b"other"), size, root, proof)
                    assert not is_subtree(start, end, part, size, leaf_hash(b"other"), proof)
                    assert not is_subtree(start, end, part, size, root, [*proof, root])
                    if proof:
                        assert not is_subtree(start, end, part, size, root, proof[1:])
                        assert not is_subtree(start, end, part, size, root, [root, *proof[1:]])
                    if start == 0:
                        assert proof == consistency_proof(nodes, end, size)
                        assert is_consistent(end, part, size, root, proof)


@pytest.mark.parametrize(("start", "end", "size"), [(1, 3, 4), (2, 7, 8), (0, 0, 4), (3, 2, 4), (0, 5, 4), (-1, 1, 4)])
def test_hostile_ranges_are_no_subtrees(start: int, end: int, size: int) -> None:
    assert not is_subtree(start, end, bytes(32), size, bytes(32), [])


def test_packages_are_aligned_like_bundles() -> None:
    assert packages(0, 600) == [(0, 0, 256), (256, 256, 512), (512, 512, 600)]
    assert packages(300, 520) == [(256, 300, 512), (512, 512, 520)]
    assert packages(300, 301) == [(256, 300, 301)]
    assert packages(300, 300) == packages(0, 0) == []


def copy_of(node: Any, origin: str) -> Any:
    return node.config.folder / "mirror" / "logs" / origin_hash(origin)


def size_of(node: Any, origin: str) -> int:
    path = copy_of(node, origin) / "checkpoint"
    return parse_checkpoint(path.read_bytes())[0].size if path.exists() else 0


async def test_a_pushed_log_is_held_whole_and_cosigned(
    federation: Any, nodes: Any, city_log: CityLog, client: httpx.AsyncClient, world: Any
) -> None:
    node = nodes.start(cosigners=[note_key("prov.example/w44", COSIGNATURE, federation.signer("w44").public)])
    log, made = city_log()
    url = f"{node.base}/mirror"
    text = parse_checkpoint(log.checkpoint())[1].text
    log.add_signatures(text, [cosign(text, "prov.example/w44", federation.signer("w44"), world.NOW - 5)])
    lines = await push(client, url, log, made.blobs, auth=federation.auth("430200"))
    mirror = note_key("prov.example/m43", COSIGNATURE, federation.signer("m43").public)
    log.add_signatures(text, lines)
    assert cosigned_at(parse_checkpoint(log.checkpoint())[1], mirror) == world.NOW
    served = await witnessed(client, url, log.origin)
    assert served == log.checkpoint()
    assert fsck(copy_of(node, log.origin)).size == log.size
    for path in ("tile/0/000.p/5", "tile/entries/000.p/5"):
        answer = await client.get(f"{url}/{origin_hash(log.origin)}/{path}")
        assert answer.content == (log.folder / path).read_bytes()
    pack = await client.get(f"{node.base}/pack", params={"origin": log.origin}, auth=federation.auth(grant="grant-1"))
    reader = PackReader()
    names = {path for path, _ in reader.feed(pack.content)}
    reader.finish()
    assert {f"blobs/sha256/{digest}" for digest in made.blobs} <= names


@pytest.mark.parametrize("steps", [[600], [1, 254, 1, 1, 343], [256, 256, 88], [3, 4, 5]])
async def test_a_log_pushed_in_any_steps_is_the_same(
    federation: Any, nodes: Any, client: httpx.AsyncClient, steps: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_client, "PACKAGES_PER_REQUEST", 1)
    node = nodes.start()
    log = federation.log()
    for step in steps:
        log.append([b"entry %d" % i for i in range(log.size, log.size + step)])
        await push(client, f"{node.base}/mirror", log)
        assert fsck(copy_of(node, log.origin)).size == log.size
    copied = copy_of(node, log.origin)
    assert fsck(copied) == fsck(log.folder)
    for path in log.folder.rglob("tile/**/*"):
        if path.is_file():
            assert (copied / path.relative_to(log.folder)).read_bytes() == path.read_bytes()


async def test_a_push_in_parallel_and_again_changes_nothing(
    federation: Any, nodes: Any, client: httpx.AsyncClient
) -> None:
    node = nodes.start()
    log = federation.log()
    log.append([b"%d" % i for i in range(700)])
    results = await asyncio.gather(
        *(push(client, f"{node.base}/mirror", log) for _ in range(6)), return_exceptions=True
    )
    assert all(isinstance(r, (list, TransientError)) for r in results)
    await push(client, f"{node.base}/mirror", log)
    assert fsck(copy_of(node, log.origin)).size == 700


async def test_a_mirror_that_restarts_in_the_middle_goes_on(
    federation: Any, nodes: Any, client: httpx.AsyncClient
) -> None:
    node = nodes.start()
    log = federation.log()
    log.append([b"%d" % i for i in range(600)])
    url = f"{node.base}/mirror"
    await add_checkpoint(client, url, log.checkpoint(), 0, [])
    answer = await client.post(f"{url}/add-entries", content=entries_body(log, 0, 600, most=2))
    assert (answer.status_code, answer.content) == (202, b"600\n512\n\n")
    node.stop()
    nodes.running.clear()
    again = nodes.start(create=False, access=node.config.access)
    assert size_of(again, log.origin) == 0
    await push(client, f"{again.base}/mirror", log)
    assert fsck(copy_of(again, log.origin)).size == 600


@pytest.mark.parametrize("steps", [(3, 4), (250, 10)])
async def test_hostile_crash_at_every_write_leaves_a_copy_that_goes_on(
    federation: Any, nodes: Any, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, steps: tuple[int, int]
) -> None:
    node = nodes.start()
    url = f"{node.base}/mirror"
    log = federation.log()
    log.append([b"first %d" % i for i in range(steps[0])])
    await push(client, url, log)
    log.append([b"then %d" % i for i in range(steps[1])])
    original, point, done = log_store.write_durably, 0, 0

    def dying(path: Any, data: bytes) -> None:
        nonlocal done
        if done == point:
            raise ConfigError("killed here")
        done += 1
        original(path, data)

    monkeypatch.setattr(log_store, "write_durably", dying)
    monkeypatch.setattr(_mirror, "write_durably", dying)
    while size_of(node, log.origin) < log.size:
        with suppress(TransientError):
            await push(client, url, log)
        assert fsck(copy_of(node, log.origin)).size in (steps[0], log.size)
        point, done = point + 1, 0
    assert point >= 4
    assert fsck(copy_of(node, log.origin)) == fsck(log.folder)


def entries_body(log: TileLog, start: int, end: int, most: int = 99, wrong: int = -1) -> bytes:
    """An add-entries body; entry `wrong` is another one than the log's."""
    body = [EntriesHead(log.origin, start, end).encode()]
    entries = [e for tile in range(-(-log.size // 256)) for e in log.entries(_bundle(log, tile))]
    if wrong >= 0:
        entries[wrong] = b"another"
    for low, first, high in packages(start, end)[:most]:
        proof = subtree_proof(log.nodes(), low, high, end)
        body += [pack_entries(entries[first:high]), bytes([len(proof)]), *proof]
    return b"".join(body)


def _bundle(log: TileLog, index: int) -> Any:
    return Tile(None, index, min(256, log.size - 256 * index))


@pytest.fixture
async def pending(federation: Any, nodes: Any, client: httpx.AsyncClient) -> tuple[Any, TileLog]:
    """A mirror that waits for the 300 entries of a log."""
    node = nodes.start(limits=Limits(entries=256 * 1024, blob=4096, idle=0.3, seconds=1.0))
    log = federation.log()
    log.append([b"entry %d" % i for i in range(300)])
    await add_checkpoint(client, f"{node.base}/mirror", log.checkpoint(), 0, [])
    return node, log


async def test_hostile_entries_that_are_not_the_logs_are_refused(
    pending: tuple[Any, TileLog], client: httpx.AsyncClient
) -> None:
    node, log = pending
    url = f"{node.base}/mirror/add-entries"
    good = entries_body(log, 0, 300)
    head = len(EntriesHead(log.origin, 0, 300).encode())
    for name, status, content in [
        ("wrong first entry", 422, entries_body(log, 0, 300, wrong=0)),
        ("wrong last entry", 422, entries_body(log, 0, 300, wrong=299)),
        ("cut in the head", 400, good[: head - 1]),
        ("head only", 400, good[:head]),
        ("cut in the first package", 400, good[: head + 100]),
        ("64 proof hashes", 400, good[:head] + b"\0\0" * 256 + b"\x40" + bytes(32 * 64)),
        ("unknown origin", 404, EntriesHead("fed.example/430300/r1", 0, 300).encode()),
        ("no checkpoint", 422, EntriesHead("fed.example/430100/r1", 0, 300).encode()),
        ("another end", 409, EntriesHead(log.origin, 0, 299).encode()),
        ("start beyond", 409, EntriesHead(log.origin, 300, 300).encode()),
        ("start above end", 400, EntriesHead(log.origin, 301, 300).encode()),
        ("endless origin", 400, b"\xff\xff" + b"a" * 70_000),
        ("ticket of 64 KiB", 400, EntriesHead(log.origin, 0, 300, b"t" * 65_535).encode()),
    ]:
        answer = await client.post(url, content=content)
        assert (name, answer.status_code) == (name, status)
        assert size_of(node, log.origin) == 0
    assert (await client.post(url, content=good + b"\0")).status_code == 400
    assert size_of(node, log.origin) == 0
    assert (await client.post(url, content=entries_body(log, 300, 300))).status_code == 200
    assert fsck(copy_of(node, log.origin)).size == 300


@pytest.mark.parametrize("cut", [1, 33, 200, 500])
async def test_hostile_truncated_upload_moves_nothing_and_can_go_on(
    pending: tuple[Any, TileLog], client: httpx.AsyncClient, cut: int
) -> None:
    node, log = pending
    url = f"{node.base}/mirror/add-entries"
    answer = await client.post(url, content=entries_body(log, 0, 300)[:-cut])
    assert (answer.status_code, answer.content) == (202, b"300\n256\n\n")
    assert answer.headers["content-type"] == "text/x.tlog.mirror-info"
    assert size_of(node, log.origin) == 0
    assert (await client.post(url, content=entries_body(log, 256, 300))).status_code == 200
    assert fsck(copy_of(node, log.origin)).size == 300


async def test_hostile_upload_without_end_and_bombs_are_cut(
    pending: tuple[Any, TileLog], client: httpx.AsyncClient
) -> None:
    node, log = pending
    url = f"{node.base}/mirror/add-entries"
    bomb = gzip.compress(EntriesHead(log.origin, 0, 300).encode() + (b"\xff\xff" + bytes(65_535)) * 100)
    answer = await client.post(url, content=bomb, headers={"content-encoding": "gzip"})
    assert answer.status_code == 413
    answer = await client.post(url, content=bomb, headers={"content-encoding": "br"})
    assert answer.status_code == 415
    answer = await client.post(url, content=b"\x1f\x8b" + bytes(99), headers={"content-encoding": "gzip"})
    assert answer.status_code == 400
    good = gzip.compress(entries_body(log, 0, 300))
    answer = await client.post(url, content=good, headers={"content-encoding": "gzip"})
    assert answer.status_code == 200


async def test_hostile_stalled_upload_does_not_hold_up_others(
    pending: tuple[Any, TileLog], client: httpx.AsyncClient
) -> None:
    node, log = pending
    reader, writer = await asyncio.open_connection("127.0.0.1", int(node.base.rsplit(":", 1)[1]))
    body = entries_body(log, 0, 300)
    head = b"POST /mirror/add-entries HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    writer.write(head + body[:200])
    await writer.drain()
    await push(client, f"{node.base}/mirror", log)
    assert (await reader.read(100)).startswith(b"HTTP/1.1 4")
    writer.close()
    assert fsck(copy_of(node, log.origin)).size == 300


async def test_hostile_fork_is_not_mirrored(federation: Any, nodes: Any, client: httpx.AsyncClient) -> None:
    node = nodes.start()
    log, fork = federation.log(), federation.log("fork")
    for each, name in ((log, b"a"), (fork, b"b")):
        each.append([name, b"same", name])
    await push(client, f"{node.base}/mirror", log)
    with pytest.raises(TerminalError, match="422"):
        await push(client, f"{node.base}/mirror", fork)
    fork.append([b"more"])
    with pytest.raises(TerminalError, match="422"):
        await push(client, f"{node.base}/mirror", fork)
    assert size_of(node, log.origin) == 3
    assert list((node.config.folder / "mirror" / "evidence").rglob("*.json"))


async def test_hostile_garbage_cosignatures_are_not_published(
    federation: Any, nodes: Any, client: httpx.AsyncClient
) -> None:
    witness = note_key("prov.example/w44", COSIGNATURE, federation.signer("w44").public)
    node = nodes.start(cosigners=[witness])
    log = federation.log()
    log.append([b"a"])
    text = parse_checkpoint(log.checkpoint())[1].text
    forged = cosign(text, "prov.example/w44", federation.signer("w44"), 5)
    stranger = cosign(text, "prov.example/w99", federation.signer("w99"), 5)
    spoiled = type(forged)(forged.name, forged.key_id, bytes(72))
    log.add_signatures(text, [spoiled, stranger])
    await push(client, f"{node.base}/mirror", log)
    served = await witnessed(client, f"{node.base}/mirror", log.origin)
    assert served is not None
    assert {line.name for line in parse_checkpoint(served)[1].signatures} == {log.origin, "prov.example/m43"}
    log.add_signatures(text, [forged])
    await push(client, f"{node.base}/mirror", log)
    served = await witnessed(client, f"{node.base}/mirror", log.origin)
    assert served is not None
    assert cosigned_at(parse_checkpoint(served)[1], witness) == 5


async def test_hostile_payloads_are_taken_only_where_a_leaf_names_them(
    federation: Any, nodes: Any, city_log: CityLog, client: httpx.AsyncClient
) -> None:
    node = nodes.start(limits=Limits(blob=4096, idle=0.3, seconds=1.0))
    log, made = city_log()
    url, auth = f"{node.base}/mirror", federation.auth("430200")
    digest, blob = next(iter(made.blobs.items()))
    folder = node.config.folder / "blob" / "sha256"
    with pytest.raises(TerminalError, match="unnamed"):
        await put_blob(client, url, digest, blob, auth=auth)
    await push(client, url, log)
    stranger = b"nobody named me"
    with pytest.raises(TerminalError, match="unnamed"):
        await put_blob(client, url, sha256(stranger).hexdigest(), stranger, auth=auth)
    with pytest.raises(TerminalError, match="body-digest"):
        await put_blob(client, url, digest, blob[:-1] + b"x", auth=auth)
    with pytest.raises(TerminalError, match="body-digest"):
        await put_blob(client, url, digest, blob[:-1], auth=auth)
    with pytest.raises(TerminalError, match="too-large"):
        await put_blob(client, url, digest, blob + b"x", auth=auth)
    assert (await client.put(f"{url}/blob/{digest}", content=blob)).status_code == 401
    lying = httpx.Request("PUT", f"{url}/blob/{digest}", content=blob)
    lying.headers["content-digest"] = content_digest(sha256(b"other").digest())
    sign_request(lying, federation.signer("transport-430200"), now=int(federation.clock()))
    assert (await client.send(lying)).status_code == 400
    assert not folder.is_dir() or list(folder.iterdir()) == []
    await put_blob(client, url, digest, blob, auth=auth)
    await put_blob(client, url, digest, blob, auth=auth)
    assert [path.name for path in folder.iterdir()] == [digest]
    assert (folder / digest).read_bytes() == blob


async def test_hostile_payload_upload_that_stalls_leaves_nothing(
    federation: Any, nodes: Any, city_log: CityLog, client: httpx.AsyncClient
) -> None:
    node = nodes.start(limits=Limits(idle=0.2, seconds=0.5))
    log, made = city_log()
    url = f"{node.base}/mirror"
    await push(client, url, log)
    digest, blob = next(iter(made.blobs.items()))
    request = httpx.Request("PUT", f"{url}/blob/{digest}", content=blob)
    sign_request(request, federation.signer("transport-430200"), now=int(federation.clock()))
    lines = [b"PUT /mirror/blob/%b HTTP/1.1" % digest.encode(), *(k + b": " + v for k, v in request.headers.raw)]
    reader, writer = await asyncio.open_connection("127.0.0.1", int(node.base.rsplit(":", 1)[1]))
    writer.write(b"\r\n".join([*lines, b"", b""]) + blob[:50])
    assert (await reader.read(100)).startswith(b"HTTP/1.1 408")
    writer.close()
    assert list((node.config.folder / "blob" / "sha256").iterdir()) == []


async def test_a_mirror_and_a_witness_never_share_a_name(nodes: Any) -> None:
    witness = nodes.start("first").config.witness
    with pytest.raises(Exception, match="share a name"):
        nodes.start("second", mirror=witness)


async def test_hostile_answers_of_a_node_are_bounded(client: httpx.AsyncClient) -> None:
    async def large(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(100):
            await send({"type": "http.response.body", "body": b"x" * 4096, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    transport = httpx.ASGITransport(app=large)
    async with httpx.AsyncClient(transport=transport) as session:
        with pytest.raises(TerminalError, match="more than"):
            await add_checkpoint(session, "http://x", b"", 0, [])
