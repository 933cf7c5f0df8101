"""Hostile networks: where connections go, and answers that are slow, endless, false or cut off."""

from __future__ import annotations

import asyncio
import gzip
import os
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dianhuan_federation.config import Peer
from dianhuan_federation.sync import AddressGuard, HttpSource
from dianhuan_sdk import ConfigError, InputError, TransientError

World = ModuleType

FORBIDDEN = (
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.100.100.200",
    "224.0.0.1",
    "255.255.255.255",
    "198.18.0.1",
    "240.0.0.1",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:0001::1",
    "2002:a9fe:a9fe::1",
)


def names(*answers: list[str]) -> Callable[[str, int], Any]:
    """A resolver that gives one answer after the other, the last one for ever."""
    left = list(answers)

    async def resolve(host: str, port: int) -> list[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


@pytest.mark.parametrize("address", FORBIDDEN)
def test_hostile_addresses_are_refused_as_literals_and_behind_names(address: str) -> None:
    guard = AddressGuard(resolver=names([address]))
    for host in (address, f"[{address}]", "peer.example"):
        with pytest.raises(InputError):
            asyncio.run(guard.addresses(host, 443, False))


def test_one_hostile_address_among_good_ones_spoils_the_name() -> None:
    guard = AddressGuard(resolver=names(["8.8.8.8", "127.0.0.1"]))
    with pytest.raises(InputError):
        asyncio.run(guard.addresses("peer.example", 443, False))


def test_allowed_networks_are_allowed_and_nothing_beside_them() -> None:
    guard = AddressGuard(["10.12.0.0/16"])
    assert asyncio.run(guard.addresses("10.12.3.4", 443, True)) == ["10.12.3.4"]
    assert asyncio.run(guard.addresses("8.8.8.8", 443, False)) == ["8.8.8.8"]
    assert asyncio.run(guard.addresses("::ffff:10.12.3.4", 443, False)) == ["::ffff:a0c:304"]
    for host, private_only in (("10.13.0.1", False), ("8.8.8.8", True), ("::ffff:10.13.0.1", False)):
        with pytest.raises(InputError):
            asyncio.run(guard.addresses(host, 80, private_only))
    with pytest.raises(ConfigError):
        AddressGuard(["10.12.0.1/16"])


@pytest.fixture
def home(sync_parts: ModuleType, world: World, tmp_path: Path) -> Any:
    """A hub that has joined."""
    return sync_parts.Home(world, tmp_path / "home")


def unreachable(home: Any, world: World, url: str, **changes: Any) -> str:
    """Sync with one peer that must fail and change nothing; what is said of it."""
    subscriber = home.subscriber(Peer(origin=world.ORIGIN, url=url), **{"seconds": 5.0, **changes})
    (merged,) = subscriber.sync().merged
    assert (merged.state, merged.code, merged.size) == ("MISSING", "E-NET", 0)
    assert home.rows("federated_statement") == []
    assert home.rows("federated_warning") == []
    said: str = merged.detail
    return said


def test_hostile_plain_http_to_a_public_address_is_refused(world: World, home: Any) -> None:
    said = unreachable(home, world, "http://peer.example/federation", resolver=names(["8.8.8.8"]))
    assert "expected: https" in said


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "gopher://127.0.0.1/",
        "http://a:b@127.0.0.1/",
        "http://",
        "no address",
        "/etc",
    ],
)
def test_hostile_addresses_of_other_kinds_are_refused(world: World, home: Any, url: str) -> None:
    assert "expected: https" in unreachable(home, world, url)


def test_hostile_folder_in_place_of_an_address_in_the_trust_data_is_not_read(
    world: World, sync_parts: ModuleType, tmp_path: Path
) -> None:
    folder = sync_parts.tree(world.usual_log(), tmp_path / "inside")
    named = world.hub_file(world.HUB, endpoints=[str(folder), f"file://{folder}"])
    trust = world.TrustBuilder(hubs={world.HUB: named, world.READER: world.hub_file(world.READER)})
    home = sync_parts.Home(world, tmp_path / "home", trust)
    (merged,) = home.subscriber(Peer(origin=world.ORIGIN)).sync().merged
    assert (merged.code, merged.size) == ("E-NET", 0)


def test_hostile_rebinding_is_checked_at_every_connect(
    world: World, home: Any, sync_parts: ModuleType, tmp_path: Path
) -> None:
    folder = sync_parts.tree(world.usual_log(), tmp_path / "served")
    with sync_parts.served(folder) as url:
        port = url.rpartition(":")[2]
        peer = Peer(origin=world.ORIGIN, url=f"http://peer.example:{port}")
        # A server without keep-alive is resolved for each file: the second answer leads inside.
        subscriber = home.subscriber(peer, resolver=names(["127.0.0.1"], ["169.254.169.254"]))
        (merged,) = subscriber.sync().merged
        assert merged.code == "E-NET"
        assert "169.254.169.254" in merged.detail
        subscriber = home.subscriber(peer, resolver=names(["127.0.0.1"]))
        assert subscriber.sync().merged[0].size == 3


def test_hostile_redirects_are_not_followed(world: World, home: Any, sync_parts: ModuleType) -> None:
    hits: list[bytes] = []

    async def inside(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hits.append(await reader.read(1000))

    for status in (b"301 Moved", b"302 Found", b"307 Temporary", b"308 Permanent"):
        with sync_parts.answering(inside) as target:

            async def redirect(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: str = target, said: bytes = status
            ) -> None:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 %s\r\nLocation: http://%s/\r\nContent-Length: 0\r\n\r\n" % (said, to.encode()))
                await writer.drain()

            with sync_parts.answering(redirect) as place:
                said = unreachable(home, world, f"http://{place}/")
                assert "not followed" in said
    assert hits == []


def reply(head: bytes, *pieces: bytes, pause: float = 0.0, forever: bytes = b"") -> Any:
    """A server that reads a request and sends just these bytes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in (head, *pieces):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        while forever:
            writer.write(forever)
            await writer.drain()
            await asyncio.sleep(pause)

    return handle


OK = b"HTTP/1.1 200 OK\r\n"
ANSWERS: dict[str, tuple[Any, str]] = {
    "headers that trickle": (reply(b"HTTP/1.1 200 OK\r\n", pause=0.05, forever=b"X-A: b\r\n"), "too slow"),
    "a body that trickles": (reply(OK + b"Content-Length: 60000\r\n\r\n", pause=0.05, forever=b"x"), "too slow"),
    "silence": (reply(b"", pause=60), ""),
    "an endless body": (reply(OK + b"\r\n", forever=b"x" * 65536), ""),
    "an endless chunked body": (
        reply(OK + b"Transfer-Encoding: chunked\r\n\r\n", forever=b"10000\r\n" + b"x" * 65536 + b"\r\n"),
        "",
    ),
    "endless headers": (reply(OK, forever=b"X-A: " + b"b" * 60000 + b"\r\n"), ""),
    "an error page with 200": (
        reply(OK + b"Content-Type: text/html\r\nContent-Length: 13\r\n\r\n<html>Oh dear"),
        "",
    ),
    "a body cut off": (reply(OK + b"Content-Length: 500\r\n\r\nfed.example"), ""),
    "a gzip bomb": (
        reply(OK + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n", gzip.compress(bytes(50_000_000))),
        "gzip",
    ),
    "another protocol": (reply(b"SSH-2.0-OpenSSH_9.9\r\n"), ""),
    "a wrong length": (reply(OK + b"Content-Length: -5\r\n\r\n"), ""),
    "two lengths": (reply(OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef"), ""),
    "500": (reply(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"), "500"),
    "404 for everything": (reply(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"), "does not have"),
    "a pack that is none": (reply(OK + b"Content-Length: 1024\r\n\r\n" + bytes(1024)), ""),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_hostile_answers_are_bounded_and_change_nothing(
    world: World, home: Any, sync_parts: ModuleType, name: str
) -> None:
    handle, words = ANSWERS[name]
    with sync_parts.answering(handle) as place:
        said = unreachable(home, world, f"http://{place}/", seconds=0.5 if "slow" in words or name == "silence" else 5)
        assert said
        assert words in said


@pytest.mark.parametrize("name", ["an endless body", "an endless chunked body", "an error page with 200"])
def test_hostile_files_from_a_server_are_bounded(home: Any, sync_parts: ModuleType, name: str) -> None:
    async def get(place: str) -> bytes | None:
        async with home.subscriber().client() as client:
            return await HttpSource(client, f"http://{place}/").get("log/checkpoint", 10)

    with sync_parts.answering(ANSWERS[name][0]) as place, pytest.raises(TransientError, match="more than 10 bytes"):
        asyncio.run(get(place))


def test_hostile_error_page_in_place_of_a_checkpoint(world: World, home: Any, sync_parts: ModuleType) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        page = b"<html>please log in</html>"
        missing = b"/pack" in asked.split(b"\r\n")[0]
        writer.write(
            b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
            % (b"404 No" if missing else b"200 OK", len(page), page)
        )
        await writer.drain()

    with sync_parts.answering(handle) as place:
        assert "something else than a checkpoint" in unreachable(home, world, f"http://{place}/")


def certificate(name: str, tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Server and client settings of a private authority whose certificate names a host."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    file = tmp_path / f"{name}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cadata=pem.decode())


def test_hostile_certificate_of_another_name_is_refused(
    world: World, home: Any, sync_parts: ModuleType, tmp_path: Path
) -> None:
    note = world.usual_log().heads[-1]
    handle = reply(OK + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(note), note)
    server, client = certificate("other.example", tmp_path)
    with sync_parts.answering(handle, ssl=server) as place:
        url = f"https://peer.example:{place.rpartition(':')[2]}"
        said = unreachable(home, world, url, resolver=names(["127.0.0.1"]), tls=client)
        assert "certificate verify failed" in said.lower() or "hostname mismatch" in said.lower()
    server, client = certificate("peer.example", tmp_path)
    with sync_parts.answering(handle, ssl=server) as place:
        url = f"https://peer.example:{place.rpartition(':')[2]}"
        said = unreachable(home, world, url, resolver=names(["127.0.0.1"]), tls=client)
        assert "certificate" not in said.lower()


def test_hostile_slow_peer_delays_nobody(world: World, home: Any, sync_parts: ModuleType, tmp_path: Path) -> None:
    folder = sync_parts.tree(world.usual_log(), tmp_path / "served")
    order: list[str] = []
    with sync_parts.answering(reply(b"", pause=60)) as slow, sync_parts.served(folder) as url:
        subscriber = home.subscriber(
            Peer(origin="fed.example/440100/r2", url=f"http://{slow}"),
            Peer(origin=world.ORIGIN, url=url),
            seconds=0.5,
        )
        order = [m.origin for m in subscriber.sync().merged]
    assert order == [world.ORIGIN, "fed.example/440100/r2"]


@pytest.mark.parametrize("leaves", [5000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_hostile_flood_of_leaves_is_merged_after_everyone_else(
    world: World, home: Any, sync_parts: ModuleType, tmp_path: Path, leaves: int
) -> None:
    flood, good = world.Log(world.READER), world.usual_log()
    flood.entries = [b"x"] * leaves
    flood.publish()
    sync_parts.tree(flood, tmp_path / "flood")
    sync_parts.tree(good, tmp_path / "good")
    subscriber = home.subscriber(
        Peer(origin=flood.origin, folder=tmp_path / "flood"),
        Peer(origin=good.origin, folder=tmp_path / "good"),
        origin="fed.example/440300/r1",
    )
    merged = subscriber.sync().merged
    assert [(m.origin, m.size) for m in merged] == [(good.origin, 3), (flood.origin, leaves)]
    assert merged[1].statements == {"REJECTED": leaves}


def test_hostile_flood_in_one_head_waits_for_a_person(
    world: World, home: Any, sync_parts: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dianhuan_federation.sync._subscriber.MAX_NEW", 2)
    log = world.usual_log()
    subscriber = home.subscriber(Peer(origin=log.origin, folder=sync_parts.tree(log, tmp_path / "share")))
    (merged,) = subscriber.sync().merged
    assert "3 new entries" in merged.detail
    assert subscriber.sync(everything=True).merged[0].size == 3


def test_hostile_files_on_a_stick_are_not_opened(
    world: World, home: Any, sync_parts: ModuleType, tmp_path: Path
) -> None:
    share = tmp_path / "share"
    (share / "log").mkdir(parents=True)
    secret = tmp_path / "secret"
    secret.write_bytes(world.usual_log().heads[-1])
    for make in (
        lambda path: path.symlink_to(secret),
        lambda path: os.mkfifo(path),
        lambda path: path.mkdir(),
    ):
        path = share / "log" / "checkpoint"
        make(path)
        subscriber = home.subscriber(Peer(origin=world.ORIGIN, folder=share))
        assert subscriber.sync().merged[0].code == "E-NET"
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
