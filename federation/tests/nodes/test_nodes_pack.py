"""Packs: whole or refused, only what the asker may have, many logs at once, and enough for the verifier."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from typing import Any

import httpx
import pytest

from dianhuan_federation.core import (
    ACCEPTED,
    ContainerCaps,
    Member,
    Refused,
    State,
    Submission,
    Verifier,
    canonical,
    padding,
    write_header,
)
from dianhuan_federation.guard import CheckpointGuard
from dianhuan_federation.log_store import TileLog
from dianhuan_federation.nodes import END, Limits, PackEnd, PackReader, _plan, origin_hash, read_pack, write_pack

H = "a" * 64
FILES = [
    (f"logs/{H}/origin", b"fed.example/430200/r1\n"),
    (f"logs/{H}/checkpoint", b"x" * 511),
    (f"logs/{H}/tile/0/000.p/7", b"y" * 512),
    (f"blobs/sha256/{H}", b""),
    (f"blobs/sha256/{'b' * 64}", bytes(range(256)) * 9),
]
PACK = b"".join(write_pack(FILES, ["fed.example/430300/r1"], ["fed.example/430400/r1"]))


def read(data: bytes, piece: int = 4096, caps: ContainerCaps | None = None) -> tuple[list[tuple[str, bytes]], PackEnd]:
    reader = PackReader(caps)
    files = [file for start in range(0, len(data), piece) for file in reader.feed(data[start : start + piece])]
    return files, reader.finish()


@pytest.mark.parametrize("piece", [1, 7, 512, 513, 10**6])
def test_a_pack_reads_the_same_in_any_pieces(piece: int) -> None:
    files, end = read(PACK, piece)
    assert files == FILES
    assert end == PackEnd(5, sum(len(d) for _, d in FILES), ("fed.example/430300/r1",), ("fed.example/430400/r1",))


def test_a_pack_is_a_plain_tar() -> None:
    with tarfile.open(fileobj=io.BytesIO(PACK)) as archive:
        assert [m.name for m in archive.getmembers()] == [*(path for path, _ in FILES), END]
        member = archive.extractfile(FILES[4][0])
        assert member is not None
        assert member.read() == FILES[4][1]


def test_an_empty_pack_has_an_end() -> None:
    assert read(b"".join(write_pack([]))) == ([], PackEnd(0, 0))


def boundaries() -> list[int]:
    cuts, place = {0}, 0
    for piece in write_pack(FILES):
        place += len(piece)
        cuts |= {place - 1, place, place + 1}
    return sorted(cut for cut in {*cuts, *range(0, len(PACK), 256)} if cut < len(PACK))


@pytest.mark.parametrize("cut", boundaries())
def test_hostile_pack_cut_off_anywhere_is_refused(cut: int) -> None:
    with pytest.raises(Refused, match=r"cut off|end"):
        read(PACK[:cut])


@pytest.mark.parametrize("place", range(0, len(PACK), 97))
def test_hostile_flipped_bit_anywhere_is_refused(place: int) -> None:
    damaged = bytearray(PACK)
    damaged[place] ^= 4
    with pytest.raises(Refused) as refused:
        read(bytes(damaged))
    assert refused.value.code == "E-CAP"


def end_of(**changes: Any) -> bytes:
    """The same pack with another statement at its end."""
    *pieces, _ = write_pack(FILES)
    before = b"".join(pieces)
    stated = {
        "kind": "urn:dianhuan:federation:pack:v1",
        "files": 5,
        "bytes": sum(len(d) for _, d in FILES),
        "sha256": sha256(before).hexdigest(),
        "more": [],
        "absent": [],
        **changes,
    }
    data = canonical(stated)
    return before + write_header(Member(END, len(data))) + data + bytes(padding(len(data)) + 1024)


@pytest.mark.parametrize(
    "changes",
    [{"files": 4}, {"bytes": 1}, {"sha256": H}, {"kind": "other"}, {"more": 1}, {"absent": [1]}, {"extra": 1}],
)
def test_hostile_end_that_states_something_else_is_refused(changes: dict[str, Any]) -> None:
    assert read(end_of())[1].files == 5
    with pytest.raises(Refused):
        read(end_of(**changes))


def test_hostile_containers_are_refused() -> None:
    whole = len(PACK)
    for data in (
        PACK + b"\0",
        PACK + PACK,
        PACK[: whole - 1] + b"x",
        b"<html>" + bytes(2000),
        PACK[:512] + PACK,
        b"".join([*write_pack(FILES)][:3]) * 2,
    ):
        with pytest.raises(Refused):
            read(data)


def test_hostile_pack_beyond_the_caps_is_refused_at_its_header() -> None:
    for caps in (ContainerCaps(members=4), ContainerCaps(member=2000), ContainerCaps(total=3000)):
        with pytest.raises(Refused):
            read(PACK, caps=caps)
    reader = PackReader(ContainerCaps(member=100))
    with pytest.raises(Refused, match="at most 100"):
        list(reader.feed(PACK[: 512 * 3]))


def test_the_writer_refuses_what_packs_do_not_hold() -> None:
    for path in ("../x", END, "logs/x", f"blobs/sha256/{'A' * 64}"):
        with pytest.raises(Refused):
            list(write_pack([(path, b"")]))


async def test_the_end_comes_last_from_a_stream() -> None:
    async def chunks(data: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(data), 100):
            yield data[start : start + 100]

    found = [item async for item in read_pack(chunks(PACK))]
    assert found[:-1] == FILES
    assert isinstance(found[-1], PackEnd)
    with pytest.raises(Refused):
        [item async for item in read_pack(chunks(PACK[:-1024]))]


CityLog = Callable[..., tuple[Any, Any]]


def node_of(nodes: Any, log: Any, made: Any, name: str = "node", **changes: Any) -> Any:
    """A city hub that serves its own log, without other roles."""
    node = nodes.start(name, own=log, witness=None, mirror=None, **changes)
    blobs = node.config.folder / "blob" / "sha256"
    blobs.mkdir(parents=True)
    for digest, data in made.blobs.items():
        (blobs / digest).write_bytes(data)
    return node


def digests(files: list[tuple[str, bytes]]) -> set[str]:
    return {path.rsplit("/", 1)[1] for path, _ in files if path.startswith("blobs/")}


async def test_a_pack_holds_what_the_asker_may_have(
    federation: Any, nodes: Any, city_log: CityLog, client: httpx.AsyncClient
) -> None:
    log, made = city_log()
    node = node_of(nodes, log, made)
    shared, limited = made.blobs
    cases = [
        (None, {shared}),
        (federation.auth(), {shared}),
        (federation.auth(grant="grant-1"), {shared, limited}),
        (federation.auth(grant="grant-2"), {shared}),
        (federation.auth("430100", grant="grant-1"), {shared}),
        (federation.auth("430200"), {shared, limited}),
    ]
    for auth, expected in cases:
        answer = await client.get(f"{node.base}/pack", params={"from": 0}, auth=auth)
        assert answer.status_code == 200
        assert digests(read(answer.content)[0]) == expected


async def test_payloads_one_by_one_are_under_the_same_rule(
    federation: Any, nodes: Any, city_log: CityLog, client: httpx.AsyncClient
) -> None:
    log, made = city_log()
    node = node_of(nodes, log, made)
    shared, limited = made.blobs
    for digest, auth, status in [
        (shared, None, 200),
        (limited, None, 401),
        (limited, federation.auth(), 403),
        (limited, federation.auth(grant="grant-1"), 200),
        (limited, federation.auth("430100", grant="grant-1"), 403),
        ("0" * 64, federation.auth(grant="grant-1"), 403),
        ("x", federation.auth(), 403),
    ]:
        answer = await client.get(f"{node.base}/blob/sha256/{digest}", auth=auth)
        assert answer.status_code == status
        if status == 200:
            assert answer.content == made.blobs[digest]


async def test_hostile_grant_counts_only_in_its_time_and_until_withdrawn(
    federation: Any, nodes: Any, city_log: CityLog, client: httpx.AsyncClient
) -> None:
    log, made = city_log()
    node = node_of(nodes, log, made)
    limited = [*made.blobs][1]
    url = f"{node.base}/blob/sha256/{limited}"
    auth = federation.auth(grant="grant-1")
    assert (await client.get(url, auth=auth)).status_code == 200
    federation.clock.now += 151 * federation.world.DAY
    assert (await client.get(url, auth=auth)).status_code == 403
    federation.clock.now = federation.world.NOW
    fields = {
        "targets": [{"index": 2, "digest": made.digests[2], "record_ids": []}],
        "reason": "ended",
        "legal_basis": "Order 809",
    }
    made.add(made.statement("retraction", "grants", fields))
    log.append(made.entries[-1:])
    assert (await client.get(url, auth=auth)).status_code == 403


async def test_hostile_statements_of_strangers_open_nothing(
    federation: Any, nodes: Any, city_log: CityLog, client: httpx.AsyncClient
) -> None:
    log, made = city_log()
    node = node_of(nodes, log, made)
    limited = [*made.blobs][1]
    made.add_grant(1, signers=["publisher-430200"], id="alone")
    made.add_grant(1, signers=["publisher-440100"], id="self-made")
    made.add_grant(1, signers=["log-430200", "publisher-440100"], id="log-key")
    log.append(made.entries[-3:])
    for grant in ("alone", "self-made", "log-key"):
        answer = await client.get(f"{node.base}/blob/sha256/{limited}", auth=federation.auth(grant=grant))
        assert answer.status_code == 403


async def test_a_redacted_payload_is_handed_to_nobody(
    federation: Any, nodes: Any, city_log: CityLog, client: httpx.AsyncClient
) -> None:
    log, made = city_log()
    node = node_of(nodes, log, made)
    target = {"index": 3, "digest": made.digests[3], "record_ids": []}
    fields = {"targets": [target], "reason": "wrong person", "legal_basis": "PIPL 47"}
    made.add(made.statement("redaction", "warnings", fields))
    log.append(made.entries[-1:])
    shared = next(iter(made.blobs))
    for auth in (None, federation.auth(), federation.auth("430200")):
        answer = await client.get(f"{node.base}/pack", auth=auth)
        assert shared not in digests(read(answer.content)[0])
        assert (await client.get(f"{node.base}/blob/sha256/{shared}", auth=auth)).status_code in (401, 403)


def submission(files: list[tuple[str, bytes]], origin: str) -> Submission:
    prefix = f"logs/{origin_hash(origin)}/"
    log = {path.removeprefix(prefix): data for path, data in files if path.startswith(prefix)}
    return Submission(
        origin=origin,
        checkpoint=log["checkpoint"],
        earlier=[data for path, data in log.items() if path.startswith("checkpoints/")],
        tiles={path: data for path, data in log.items() if path.startswith("tile/")},
        blobs={path.rsplit("/", 1)[1]: data for path, data in files if path.startswith("blobs/")},
    )


async def test_packs_are_all_that_the_verifier_needs(
    federation: Any, nodes: Any, city_log: CityLog, world: Any, client: httpx.AsyncClient
) -> None:
    log, made = city_log()
    node = node_of(nodes, log, made)
    policy = world.parse_policy(world.policy_text("quorum none"))
    verifier = Verifier(federation.trust, policy, world.NOW, "440100")
    state = None
    for _ in range(3):
        start = state.size if state else 0
        auth = federation.auth(grant="grant-1")
        answer = await client.get(f"{node.base}/pack", params={"from": start}, auth=auth)
        report = verifier.verify(submission(read(answer.content)[0], log.origin), state)
        assert report.verdict == ACCEPTED
        assert [entry.verdict.state for entry in report.entries] == [State.ACCEPTED] * (log.size - start)
        state = report.state
        made.add_batch([world.warning_row(100 * start + 1)])
        for digest, data in made.blobs.items():
            (node.config.folder / "blob" / "sha256" / digest).write_bytes(data)
        log.append(made.entries[log.size :])


async def test_many_logs_come_in_one_answer(
    federation: Any, nodes: Any, city_log: CityLog, world: Any, client: httpx.AsyncClient
) -> None:
    log, made = city_log()
    node = node_of(nodes, log, made)
    wants = [
        {"origin": log.origin, "from": 2, "grant": "grant-1"},
        {"origin": "fed.example/430100/r1", "from": 0},
    ]
    answer = await client.post(f"{node.base}/pack", json={"logs": wants}, auth=federation.auth())
    files, end = read(answer.content)
    assert end.absent == ("fed.example/430100/r1",)
    assert digests(files) == set(made.blobs)
    assert (await client.post(f"{node.base}/pack", json={"logs": wants})).status_code == 401


async def test_thirty_days_of_many_logs_come_in_few_requests(
    federation: Any, nodes: Any, world: Any, client: httpx.AsyncClient
) -> None:
    """Five logs, a head with a payload a day, caught up from nothing: the answer is whole, verified and one request."""
    days, origins = 30, [f"fed.example/43{number:04d}/r1" for number in range(1, 6)]
    builder = world.TrustBuilder(hubs={o.split("/")[1]: world.hub_file(o.split("/")[1]) for o in origins})
    builder.hubs["440100"] = world.hub_file("440100")
    federation.trust = world.load_trust(builder.bootstrap(), builder.build(), world.NOW)
    mirror = federation.folder / "node" / "mirror" / "logs"
    blobs = federation.folder / "node" / "blob" / "sha256"
    blobs.mkdir(parents=True)
    node = nodes.start()
    node.stop()
    nodes.running.clear()
    for origin in origins:
        made = world.Log(origin.split("/")[1])
        made.add_policy()
        name = f"mirror/logs/{origin_hash(origin)}"
        log = TileLog.create(
            node.config.folder / name,
            origin,
            federation.signer(f"log-{made.hub}"),
            CheckpointGuard(federation.folder / f"{made.hub}.guard"),
        )
        for day in range(days):
            made.add_batch([world.warning_row(day + 1)])
            log.append(made.entries[log.size :])
        for digest, data in made.blobs.items():
            (blobs / digest).write_bytes(data)
    assert len(list(mirror.iterdir())) == 5
    again = nodes.start(create=False, access=node.config.access)
    wants = [{"origin": origin, "from": 0} for origin in origins]
    answer = await client.post(f"{again.base}/pack", json={"logs": wants}, auth=federation.auth())
    files, end = read(answer.content)
    assert (end.more, end.absent) == ((), ())
    verifier = Verifier(federation.trust, world.parse_policy(world.policy_text("quorum none")), world.NOW, "440100")
    for origin in origins:
        report = verifier.verify(submission(files, origin))
        assert report.verdict == ACCEPTED
        assert [entry.verdict.state for entry in report.entries] == [State.ACCEPTED] * (days + 1)


async def test_a_large_answer_ends_at_a_head_and_says_so(
    federation: Any, nodes: Any, city_log: CityLog, world: Any, client: httpx.AsyncClient
) -> None:
    log, made = city_log()
    for number in range(5):
        made.add_batch([world.warning_row(1000 + number)])
        log.append(made.entries[-1:])
    largest = max(len(data) for data in made.blobs.values())
    node = node_of(nodes, log, made, limits=Limits(pack=2 * largest))
    start, requests, found = 0, 0, set()
    while True:
        answer = await client.get(f"{node.base}/pack", params={"from": start}, auth=federation.auth(grant="grant-1"))
        files, end = read(answer.content)
        requests += 1
        found |= digests(files)
        start = int(dict(files)[f"logs/{origin_hash(log.origin)}/checkpoint"].split(b"\n")[1])
        if not end.more:
            break
    assert start == log.size
    assert found == set(made.blobs)
    assert 2 < requests < 6


async def test_a_pack_up_to_an_earlier_head(
    federation: Any, nodes: Any, city_log: CityLog, world: Any, client: httpx.AsyncClient
) -> None:
    log, made = city_log()
    early = log.size
    for _ in range(300):
        made.add(made.statement("heartbeat", "life", {"streams": 2}))
    log.append(made.entries[early:])
    node = node_of(nodes, log, made)
    answer = await client.get(f"{node.base}/pack", params={"to": early + 10}, auth=federation.auth())
    files, end = read(answer.content)
    assert end.more == (log.origin,)
    verifier = Verifier(federation.trust, world.parse_policy(world.policy_text("quorum none")), world.NOW, "")
    report = verifier.verify(submission(files, log.origin))
    assert report.verdict == ACCEPTED
    assert len(report.entries) == early


@pytest.mark.parametrize(
    ("method", "query", "content", "status"),
    [
        ("GET", "from=-1", b"", 400),
        ("GET", "from=5&to=4", b"", 400),
        ("GET", "from=01", b"", 400),
        ("GET", "from=9223372036854775808", b"", 400),
        ("GET", "origin=fed.example/430300/r1", b"", 404),
        ("POST", "", b"[]", 400),
        ("POST", "", b'{"logs":[]}', 413),
        ("POST", "", b'{"logs":[{"origin":"a","from":0.5}]}', 400),
        ("POST", "", b'{"logs":[{"origin":"a","from":true}]}', 400),
        ("POST", "", b'{"logs":[{"origin":"a","from":0},{"origin":"a","from":0}]}', 400),
        ("POST", "", b'{"logs":[{"origin":"a","from":0,"x":0}]}', 400),
        ("POST", "", b'{"logs":[7]}', 400),
        ("POST", "", b'{"logs":7}', 400),
        ("POST", "", json.dumps({"logs": [{"origin": str(n), "from": 0} for n in range(401)]}).encode(), 413),
        ("POST", "", b"x" * (256 * 1024 + 1), 413),
    ],
)
async def test_hostile_pack_requests_are_refused(
    federation: Any,
    nodes: Any,
    city_log: CityLog,
    client: httpx.AsyncClient,
    method: str,
    query: str,
    content: bytes,
    status: int,
) -> None:
    log, made = city_log()
    node = node_of(nodes, log, made)
    answer = await client.request(
        method, f"{node.base}/pack{query and '?'}{query}", content=content, auth=federation.auth()
    )
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "message", "expected", "hint"}


async def test_hostile_tiles_beyond_the_log_are_not_served(
    nodes: Any, city_log: CityLog, client: httpx.AsyncClient
) -> None:
    log, made = city_log()
    node = node_of(nodes, log, made)
    assert (await client.get(f"{node.base}/log/checkpoint")).content == log.checkpoint()
    assert (await client.get(f"{node.base}/log/tile/entries/000.p/5")).status_code == 200
    (log.folder / "secret").write_bytes(b"x")
    for path in (
        "tile/entries/000",
        "tile/0/000.p/6",
        "tile/1/000.p/1",
        "tile/00/000.p/5",
        "secret",
        "..%2fcity.guard",
        "checkpoints/4",
        "checkpoints/05",
        "checkpoints/%D9%A5",
    ):
        assert (await client.get(f"{node.base}/log/{path}")).status_code == 404, path


async def test_hostile_payload_that_goes_while_it_is_sent_cuts_the_pack_off(
    federation: Any, nodes: Any, city_log: CityLog, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, made = city_log()
    node = node_of(nodes, log, made)
    original = _plan.PackPlan.files

    def losing(self: Any) -> Any:
        for digest in self.blobs:
            self.shelf.blob_path(digest).unlink()
        yield from original(self)

    monkeypatch.setattr(_plan.PackPlan, "files", losing)
    try:
        answer = await client.get(f"{node.base}/pack", auth=federation.auth())
    except httpx.TransportError:
        return
    with pytest.raises(Refused):
        read(answer.content)
