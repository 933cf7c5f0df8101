"""Who acquired what; grants that hold for a number of reads; receipts; and findings that flow back to the city."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from dianhuan_federation.core import (
    ACCEPTED,
    Dispute,
    State,
    Submission,
    Verifier,
    leaf_hash,
    open_envelope,
    read_predicate,
    read_statement,
    seal,
    tree_root,
)
from dianhuan_federation.log_store import fsck
from dianhuan_federation.nodes import ACCESS_KIND, RECEIPT_KIND, LogCopy, PackReader, create_node, origin_hash
from dianhuan_sdk import ConfigError

CityLog = Callable[..., tuple[Any, Any]]


def read(data: bytes) -> list[tuple[str, bytes]]:
    reader = PackReader()
    files = list(reader.feed(data))
    reader.finish()
    return files


def serving(nodes: Any, log: Any, made: Any, name: str = "node", **changes: Any) -> Any:
    node = nodes.start(name, own=log, witness=None, mirror=None, **changes)
    blobs = node.config.folder / "blob" / "sha256"
    blobs.mkdir(parents=True)
    for digest, data in made.blobs.items():
        (blobs / digest).write_bytes(data)
    return node


def recorded(node: Any) -> list[dict[str, Any]]:
    log = node.config.access
    head = fsck(log.folder)
    return [json.loads(entry) for entry in LogCopy(log.origin, log.folder).entries(0, head.size)]


async def test_every_payload_handed_out_stands_in_the_access_log(
    federation: Any, nodes: Any, city_log: CityLog, client: httpx.AsyncClient
) -> None:
    log, made = city_log()
    node = serving(nodes, log, made)
    shared, limited = made.blobs
    auth = federation.auth(grant="grant-1")
    await client.get(f"{node.base}/blob/sha256/{shared}")
    await client.get(f"{node.base}/blob/sha256/{shared}", auth=federation.auth("430100"))
    await client.get(f"{node.base}/blob/sha256/{limited}", auth=auth)
    await client.get(f"{node.base}/pack", auth=auth)
    await client.get(f"{node.base}/pack", params={"from": log.size}, auth=auth)
    await client.get(f"{node.base}/blob/sha256/{limited}", auth=federation.auth("430100", grant="grant-1"))
    now = int(federation.clock())
    rows = [(e["hub"], e["grants"], e["digests"]) for e in recorded(node)]
    assert rows == [
        ("430100", [], [shared]),
        ("440100", ["grant-1"], [limited]),
        ("440100", ["grant-1"], [shared, limited]),
    ]
    assert {e["kind"] for e in recorded(node)} == {ACCESS_KIND}
    assert {e["at"] for e in recorded(node)} == {now}
    assert (await client.get(f"{node.base}/access/checkpoint")).status_code == 401
    served = await client.get(f"{node.base}/access/checkpoint", auth=federation.auth())
    assert served.content == node.config.access.checkpoint()
    tile = await client.get(f"{node.base}/access/tile/entries/000.p/3", auth=federation.auth())
    assert tile.content == (node.config.access.folder / "tile/entries/000.p/3").read_bytes()


async def test_many_readers_at_once_are_all_recorded(
    federation: Any, nodes: Any, city_log: CityLog, client: httpx.AsyncClient
) -> None:
    log, made = city_log()
    node = serving(nodes, log, made)
    shared = next(iter(made.blobs))
    answers = await asyncio.gather(
        *(client.get(f"{node.base}/blob/sha256/{shared}", auth=federation.auth()) for _ in range(40))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len(recorded(node)) == 40


async def test_hostile_payload_is_not_sent_where_access_cannot_be_recorded(
    federation: Any, nodes: Any, city_log: CityLog, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, made = city_log()
    node = serving(nodes, log, made)

    def full(entries: Any) -> Any:
        raise ConfigError("the disk is full")

    monkeypatch.setattr(node.config.access, "append", full)
    for path in (f"blob/sha256/{next(iter(made.blobs))}", "pack"):
        answer = await client.get(f"{node.base}/{path}", auth=federation.auth())
        assert (answer.status_code, answer.json()["error"]) == (500, "node")


@pytest.mark.parametrize("path", ["blob", "pack"])
async def test_hostile_count_limited_grant_holds_under_50_parallel_reads(
    federation: Any, nodes: Any, city_log: CityLog, client: httpx.AsyncClient, path: str
) -> None:
    log, made = city_log()
    node = serving(nodes, log, made, reads={(log.origin, "grant-1"): 2})
    limited = [*made.blobs][1]
    url = f"{node.base}/blob/sha256/{limited}" if path == "blob" else f"{node.base}/pack"
    limits = httpx.Limits(max_connections=50)
    async with httpx.AsyncClient(limits=limits, timeout=30, trust_env=False) as session:
        answers = await asyncio.gather(*(session.get(url, auth=federation.auth(grant="grant-1")) for _ in range(50)))
    handed = [answer for answer in answers if answer.status_code == 200 and made.blobs[limited] in answer.content]
    assert len(handed) == 2
    granted = [e for e in recorded(node) if e["grants"] == ["grant-1"]]
    assert len(granted) == 2
    node.stop()
    nodes.running.clear()
    with pytest.raises(ConfigError, match="exists already"):
        create_node(node.config)
    again = nodes.start(
        create=False, own=log, access=node.config.access, witness=None, mirror=None, reads={(log.origin, "grant-1"): 2}
    )
    answer = await client.get(f"{again.base}/blob/sha256/{limited}", auth=federation.auth(grant="grant-1"))
    assert (answer.status_code, answer.json()["error"]) == (403, "grant-spent")


async def test_receipts_are_kept_and_logged(federation: Any, nodes: Any, client: httpx.AsyncClient) -> None:
    node = nodes.start()
    body = seal("application/json", b'{"acquired":["a"]}', [federation.signer("publisher-440100")])
    for _ in range(2):
        answer = await client.post(f"{node.base}/receipts", content=body, auth=federation.auth())
        assert answer.status_code == 201
    (kept,) = (node.config.folder / "receipts" / "440100").iterdir()
    assert kept.read_bytes() == body
    assert [(e["kind"], e["hub"], e["digest"]) for e in recorded(node)] == [(RECEIPT_KIND, "440100", kept.stem)]


@pytest.mark.parametrize(
    ("key", "content", "status"),
    [
        ("publisher-430100", b"{}", 403),
        ("log-440100", b"{}", 403),
        ("publisher-440100", b"x" * 17_000, 413),
        (None, b"no envelope", 400),
        (None, b"", 400),
    ],
)
async def test_hostile_receipts_are_refused(
    federation: Any, nodes: Any, client: httpx.AsyncClient, key: str | None, content: bytes, status: int
) -> None:
    node = nodes.start()
    body = content if key is None else seal("application/json", content, [federation.signer(key)])
    answer = await client.post(f"{node.base}/receipts", content=body, auth=federation.auth())
    assert answer.status_code == status
    assert not (node.config.folder / "receipts").exists()


async def test_a_provinces_finding_flows_back_to_the_city(
    federation: Any, nodes: Any, city_log: CityLog, world: Any, client: httpx.AsyncClient
) -> None:
    """The province disputes a batch of the city in its own log; the city pulls and verifies it by the same path."""
    log, made = city_log()
    province = world.Log("440100")
    policy = province.add_policy()
    target = {"index": 3, "digest": made.digests[3], "record_ids": ["w-000001"]}
    fields = {"disputed": log.origin, "target": target, "reason": "meter changed the day before"}
    province.add(province.statement("dispute", "findings", fields))
    province.add_batch([world.warning_row(77)], policy=policy)
    own = federation.log("province", "440100")
    own.append(province.entries)
    node = serving(nodes, own, province)
    answer = await client.get(f"{node.base}/pack", auth=federation.auth("430200"))
    files = read(answer.content)
    prefix = f"logs/{origin_hash(own.origin)}/"
    held = {path.removeprefix(prefix): data for path, data in files if path.startswith(prefix)}
    submission = Submission(
        origin=own.origin,
        checkpoint=held["checkpoint"],
        earlier=[],
        tiles={path: data for path, data in held.items() if path.startswith("tile/")},
        blobs={path.rsplit("/", 1)[1]: data for path, data in files if path.startswith("blobs/")},
    )
    verifier = Verifier(federation.trust, world.parse_policy(world.policy_text("quorum none")), world.NOW, "430200")
    report = verifier.verify(submission)
    assert report.verdict == ACCEPTED
    assert [entry.verdict.state for entry in report.entries] == [State.ACCEPTED] * 3
    finding = read_predicate(read_statement(open_envelope(province.entries[1]).payload))
    assert isinstance(finding, Dispute)
    assert (finding.disputed, finding.target.digest) == (log.origin, made.digests[3])
    assert tree_root([leaf_hash(e) for e in made.entries]) == fsck(log.folder).root
