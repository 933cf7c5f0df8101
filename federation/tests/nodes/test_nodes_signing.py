"""Signed requests: each of them once, by a trusted key, for this node, in time, with the body that was signed."""

from __future__ import annotations

import asyncio
import base64
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import httpx
import pytest

from dianhuan_federation.core import key_id, seal
from dianhuan_federation.nodes import (
    NodeError,
    content_digest,
    new_nonce,
    sign_request,
    transport_keys,
    verify_request,
)

URL = "https://province.example/pack?origin=a&from=0"
NOW = 1_800_000_000
Make = Callable[..., httpx.Request]


@pytest.fixture
def make(signer: Any) -> Make:
    """A signed request; keyword arguments change how it is signed."""

    def build(
        key: str = "transport-440100", method: str = "POST", body: bytes = b"{}", **changes: Any
    ) -> httpx.Request:
        request = httpx.Request(method, changes.pop("url", URL), content=body)
        return sign_request(request, signer(key), **{"now": NOW, **changes})

    return build


def judged(federation: Any, request: httpx.Request, now: int = NOW, url: str = URL) -> Any:
    headers = [(k.decode(), v.decode()) for k, v in request.headers.raw]
    return verify_request(request.method, url, headers, transport_keys(federation.trust), now)


def test_a_signed_request_names_its_hub_and_grant(federation: Any, make: Make, signer: Any) -> None:
    nonce = new_nonce()
    asker = judged(federation, make(grant="grant-1", nonce=nonce, body=b"body"))
    assert (asker.hub, asker.key) == ("440100", key_id(signer("transport-440100").public))
    assert (asker.grant, asker.nonce, asker.expires) == ("grant-1", nonce, NOW + 300)
    asker.check_body(sha256(b"body").digest())
    with pytest.raises(NodeError, match="not the one"):
        asker.check_body(sha256(b"other").digest())


def test_the_clocks_may_differ_a_little(federation: Any, make: Make) -> None:
    for now in (NOW - 30, NOW, NOW + 299):
        assert judged(federation, make(), now).hub == "440100"


def test_a_grantless_request_cannot_be_given_a_grant_on_the_way(federation: Any, make: Make) -> None:
    request = make()
    request.headers["grant-id"] = "grant-1"
    with pytest.raises(NodeError) as refused:
        judged(federation, request)
    assert refused.value.status == 401


def edited(old: str, new: str) -> Callable[[httpx.Request], None]:
    def edit(request: httpx.Request) -> None:
        value = request.headers["signature-input"]
        assert old in value
        request.headers["signature-input"] = value.replace(old, new)

    return edit


def without(name: str) -> Callable[[httpx.Request], None]:
    def edit(request: httpx.Request) -> None:
        del request.headers[name]

    return edit


def with_field(name: str, value: str) -> Callable[[httpx.Request], None]:
    def edit(request: httpx.Request) -> None:
        request.headers[name] = value

    return edit


EDITS: dict[str, Callable[[httpx.Request], None]] = {
    "no signature": without("signature"),
    "no signature input": without("signature-input"),
    "no digest": without("content-digest"),
    "digest of another body": with_field("content-digest", content_digest(sha256(b"other").digest())),
    "later expiry": edited(f"expires={NOW + 300}", f"expires={NOW + 301}"),
    "another tag": edited("dianhuan-fed-1", "dianhuan-fed-2"),
    "method not covered": edited('"@method" ', ""),
    "target not covered": edited('"@target-uri" ', ""),
    "digest not covered": edited(' "content-digest"', ""),
    "another nonce": edited('nonce="', 'nonce="A'),
    "signature of zeros": with_field("signature", f"fed=:{base64.b64encode(bytes(64)).decode()}:"),
    "short signature": with_field("signature", "fed=:AAAA:"),
    "not structured": with_field("signature", "fed=???"),
    "two labels": with_field("signature", "fed=:AAAA:, other=:AAAA:"),
}


@pytest.mark.parametrize("name", EDITS)
def test_hostile_change_of_a_signed_request_is_seen(federation: Any, make: Make, name: str) -> None:
    request = make()
    EDITS[name](request)
    with pytest.raises(NodeError) as refused:
        judged(federation, request)
    assert refused.value.status == 401


@pytest.mark.parametrize(
    ("changes", "now"),
    [
        ({}, NOW + 300),
        ({}, NOW - 31),
        ({}, NOW + 10**6),
        ({"life": 301}, NOW),
        ({"life": 0}, NOW),
        ({"life": -1}, NOW),
        ({"nonce": "short"}, NOW),
        ({"nonce": "A" * 21}, NOW),
        ({"nonce": "A" * 129}, NOW),
        ({"nonce": "not base64url, but long enough"}, NOW),
        ({"key": "publisher-440100"}, NOW),
        ({"key": "log-440100"}, NOW),
        ({"key": "nobody"}, NOW),
        ({"url": URL.replace("province", "another")}, NOW),
        ({"url": URL.replace("https", "http")}, NOW),
        ({"url": URL.replace("from=0", "from=1")}, NOW),
        ({"method": "PUT"}, NOW),
    ],
)
def test_hostile_request_outside_the_profile_is_refused(
    federation: Any, make: Make, changes: dict[str, Any], now: int
) -> None:
    request = make(**changes)
    request.method = "POST"
    with pytest.raises(NodeError) as refused:
        judged(federation, request, now)
    assert refused.value.status == 401


def test_hostile_key_that_is_revoked_or_denied_opens_nothing(federation: Any, make: Make, world: Any) -> None:
    hub = world.hub_file("440100")
    for key in hub["keys"]:
        key["revoked_at"] = world.iso(NOW - 60)
    builder = world.TrustBuilder(hubs={"440100": hub})
    revoked = world.load_trust(builder.bootstrap(), builder.build(), NOW)
    for trust in (revoked, replace(federation.trust, denied=frozenset({"440100"}))):
        headers = list(make().headers.items())
        with pytest.raises(NodeError, match="no transport key"):
            verify_request("POST", URL, headers, transport_keys(trust), NOW)


def receipt(federation: Any, node: Any, text: bytes = b"{}", **changes: Any) -> httpx.Request:
    body = seal("application/json", text, [federation.signer("publisher-440100")])
    request = httpx.Request("POST", f"{node.base}/receipts", content=body)
    return sign_request(request, federation.signer("transport-440100"), **{"now": NOW, **changes})


async def test_hostile_replay_is_refused(federation: Any, nodes: Any, client: httpx.AsyncClient) -> None:
    node = nodes.start()
    request = receipt(federation, node)
    assert (await client.send(request)).status_code == 201
    again = await client.send(request)
    assert (again.status_code, again.json()["error"]) == (409, "nonce")
    reused = receipt(federation, node, b"[]", nonce="A" * 32)
    assert (await client.send(reused)).status_code == 201
    other = receipt(federation, node, b"[1]", nonce="A" * 32)
    assert (await client.send(other)).status_code == 409


async def test_hostile_replay_in_parallel_passes_once(federation: Any, nodes: Any, client: httpx.AsyncClient) -> None:
    node = nodes.start()
    request = receipt(federation, node)
    answers = await asyncio.gather(*(client.send(request) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19


async def test_hostile_replay_after_a_restart_is_refused(
    federation: Any, nodes: Any, client: httpx.AsyncClient
) -> None:
    node = nodes.start()
    request = receipt(federation, node)
    assert (await client.send(request)).status_code == 201
    node.stop()
    nodes.running.clear()
    again = nodes.start(create=False, access=node.config.access, bases=[node.base])
    headers = {**request.headers, "host": node.base.removeprefix("http://")}
    replayed = httpx.Request("POST", f"{again.base}/receipts", content=request.content, headers=headers)
    assert (await client.send(replayed)).status_code == 409


async def test_hostile_request_for_another_node_is_refused(
    federation: Any, nodes: Any, client: httpx.AsyncClient
) -> None:
    first, second = nodes.start("first"), nodes.start("second")
    request = receipt(federation, first)
    moved = httpx.Request("POST", f"{second.base}/receipts", content=request.content)
    moved.headers.update({k: v for k, v in request.headers.items() if k != "host"})
    assert (await client.send(moved)).status_code == 401
    moved.headers["host"] = request.headers["host"]
    assert (await client.send(moved)).status_code == 421


async def test_hostile_body_swapped_under_a_signed_digest(
    federation: Any, nodes: Any, client: httpx.AsyncClient
) -> None:
    node = nodes.start()
    request = receipt(federation, node)
    other = receipt(federation, node, b"[]").content
    assert len(other) == len(request.content)
    swapped = httpx.Request("POST", request.url, content=other, headers=request.headers)
    answer = await client.send(swapped)
    assert (answer.status_code, answer.json()["error"]) == (400, "body-digest")
    assert list((node.config.folder / "receipts").rglob("*.json")) == []


async def test_hostile_nonces_that_cannot_be_kept_close_the_door(
    federation: Any, nodes: Any, client: httpx.AsyncClient
) -> None:
    node = nodes.start()
    database = sqlite3.connect(node.config.folder / "nonces.sqlite", isolation_level=None)
    database.execute("DROP TABLE nonce")
    answer = await client.send(receipt(federation, node))
    assert (answer.status_code, answer.json()["error"]) == (503, "busy")
    database.close()


async def test_hostile_flood_of_one_key_fills_only_its_own_window(
    federation: Any, nodes: Any, client: httpx.AsyncClient
) -> None:
    node = nodes.start()
    key = key_id(federation.signer("transport-440100").public)
    database = sqlite3.connect(node.config.folder / "nonces.sqlite")
    rows = [(key, f"{n:032d}", NOW + 300) for n in range(4096)]
    database.executemany("INSERT INTO nonce VALUES (?, ?, ?)", rows)
    database.commit()
    assert (await client.send(receipt(federation, node))).status_code == 429
    other = httpx.Request("GET", f"{node.base}/access/checkpoint")
    sign_request(other, federation.signer("transport-430200"), now=NOW)
    assert (await client.send(other)).status_code == 200
    federation.clock.now += 400
    assert (await client.send(receipt(federation, node, now=NOW + 400))).status_code == 201
    assert database.execute("SELECT count(*) FROM nonce WHERE key = ?", (key,)).fetchone() == (1,)
    database.close()
