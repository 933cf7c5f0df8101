"""Pulls from a real node over HTTP: range packs of many logs, grants, trust metadata, receipts; and hints over MQTT."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dianhuan_federation.config import Peer
from dianhuan_federation.core import open_envelope, parse
from dianhuan_federation.sync import follow, hint, hints

World = ModuleType
HUBS = ("430200", "430300", "430400")


@pytest.fixture
def federation(world: World) -> Any:
    """Trust in three cities and the reader."""
    return world.TrustBuilder(hubs={h: world.hub_file(h) for h in (*HUBS, world.READER)})


def city(world: World, hub: str, batches: int = 3) -> Any:
    """A city's log, a head after each batch."""
    log = world.Log(hub)
    log.add_policy()
    for n in range(batches):
        log.add_batch([world.warning_row(10 * n + i, division=hub) for i in (1, 2)])
        log.publish(at=world.NOW - 7000 + 100 * n)
    return log


def test_packs_bring_many_logs_with_all_their_heads(
    world: World, sync_parts: ModuleType, federation: Any, tmp_path: Path
) -> None:
    logs = [city(world, hub) for hub in HUBS]
    home = sync_parts.Home(world, tmp_path / "home", federation)
    with sync_parts.node(world, tmp_path / "node", logs, federation) as url:
        subscriber = home.subscriber(*(Peer(origin=log.origin, url=url) for log in logs))
        assert len(subscriber._plan(subscriber.config.peers, subscriber.trust_store().load(), 100)) == 1
        report = subscriber.sync()
    assert report.ok
    assert sorted((m.origin, m.size, m.rows) for m in report.merged) == [(log.origin, 4, 6) for log in logs]
    seen = {r["witnessed_at"].timestamp() for r in home.rows("federated_warning") if r["index"] == 1}
    assert seen == {world.NOW - 7000}
    receipts = home.rows("federated_receipt")
    assert [(r["size"], r["rows"], r["statements"], r["state"]) for r in receipts] == [(4, 6, 4, "sent")] * 3
    said = parse(open_envelope((home.folder / "receipts" / f"{receipts[0]['digest']}.json").read_bytes()).payload)
    assert [(log["origin"], log["root"]) for log in said["logs"]] == [(r["origin"], r["root"]) for r in receipts]
    (kept,) = {p.parent.name for p in (tmp_path / "node/receipts").rglob("*.json")}
    assert kept == world.READER


def test_a_payload_under_a_grant_comes_with_the_grant(
    world: World, sync_parts: ModuleType, federation: Any, tmp_path: Path
) -> None:
    log = world.Log()
    policy = log.add_policy(**{"class": "conditional"})
    log.add_grant(policy)
    log.add_batch([world.warning_row(1)])
    log.publish()
    home = sync_parts.Home(world, tmp_path / "home", federation)
    with sync_parts.node(world, tmp_path / "node", [log], federation) as url:
        home.subscriber(Peer(origin=log.origin, url=url)).sync()
        assert [r["code"] for r in home.rows("federated_statement")] == ["", "", "E-MISSING"]
        home.subscriber(Peer(origin=log.origin, url=url, grant="grant-1")).sync()
    assert [r["code"] for r in home.rows("federated_statement")] == ["", "", ""]
    assert len(home.rows("federated_warning")) == 1
    stick = tmp_path / "stick.tar"
    subscriber = home.subscriber()
    for receiver, blobs in ((world.READER, 1), ("430300", 0), ("", 0)):
        sizes = subscriber.export_bundle(stick, receiver=receiver)
        assert sum(path.startswith("blobs/") for path in sizes) == blobs


def test_newer_trust_metadata_is_adopted_and_older_never(
    world: World, sync_parts: ModuleType, federation: Any, tmp_path: Path
) -> None:
    newer = world.TrustBuilder(hubs={h: world.hub_file(h) for h in (*HUBS, "430500", world.READER)}, version=3, roots=2)
    log = city(world, "430500")
    home = sync_parts.Home(world, tmp_path / "home", federation)
    with sync_parts.node(world, tmp_path / "node", [log], newer) as url:
        report = home.subscriber(Peer(origin=log.origin, url=url)).sync()
    assert report.trust
    assert report.merged[0].size == 4
    assert home.subscriber().trust_store().seen["timestamp"] == 3
    with sync_parts.node(world, tmp_path / "old", [log], federation) as url:
        report = home.subscriber(Peer(origin=log.origin, url=url)).sync()
    assert not report.trust
    assert "which was seen before" in report.notes[0]
    assert home.subscriber().trust_store().load().versions["timestamp"] == 3


def test_an_address_stands_in_the_trust_data(
    world: World, sync_parts: ModuleType, tmp_path: Path, federation: Any
) -> None:
    log = city(world, HUBS[0])
    with sync_parts.node(world, tmp_path / "node", [log], federation) as url:
        named = world.hub_file(HUBS[0], endpoints=["no address", "http://127.0.0.1:9", f"{url}/"])
        trust = world.TrustBuilder(hubs={HUBS[0]: named, world.READER: world.hub_file(world.READER)})
        home = sync_parts.Home(world, tmp_path / "home", trust)
        assert home.subscriber(Peer(origin=log.origin)).sync().merged[0].size == 4


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[str]:
    """A real Mosquitto on loopback."""
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/bin")
    if program is None:
        pytest.skip("Mosquitto is not installed")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    process = subprocess.Popen([program, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def test_hints_name_hubs_and_nothing_else(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import aiomqtt

    monkeypatch.setattr("dianhuan_federation.sync._hints.GATHER", 0.3)

    async def main() -> frozenset[str]:
        named = hints(broker)
        first = asyncio.ensure_future(anext(named))
        host, port = broker.split(":")
        async with aiomqtt.Client(host, int(port)) as client:
            while not first.done():
                await client.publish("fed/../../etc/checkpoint", b"http://169.254.169.254/")
                await client.publish("fed/not-a-hub/checkpoint", b"x" * 100_000)
                await hint(broker, "430200")
                await asyncio.wait([first], timeout=0.2)
        answer = await first
        await named.aclose()
        return answer

    assert asyncio.run(main()) == {"430200"}


def test_hostile_hint_with_an_address_only_brings_a_pull_from_the_known_place(
    broker: str, world: World, sync_parts: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import aiomqtt

    monkeypatch.setattr("dianhuan_federation.sync._hints.GATHER", 0.1)
    hits: list[bytes] = []

    async def inside(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hits.append(await reader.read(1000))

    log = world.usual_log()
    home = sync_parts.Home(world, tmp_path / "home")
    share = sync_parts.tree(log, tmp_path / "share")
    subscriber = home.subscriber(Peer(origin=log.origin, folder=share), mqtt=broker)

    async def main(url: str) -> None:
        running = asyncio.ensure_future(follow(subscriber.context, subscriber))
        host, port = broker.split(":")
        async with aiomqtt.Client(host, int(port)) as client:
            for _ in range(100):
                await client.publish(f"fed/{log.hub}/checkpoint", f'{{"url": "{url}"}}')
                await asyncio.sleep(0.1)
                if home.store.state("trust/seen") and (tmp_path / "home/receipts").exists():
                    break
        await asyncio.sleep(0.2)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    with sync_parts.answering(inside) as target:
        asyncio.run(main(f"http://{target}/"))
    assert hits == []
    assert [(r["origin"], r["size"], r["via"]) for r in home.rows("federated_log")] == [(log.origin, 3, "folder")]


@pytest.mark.slow
def test_a_day_of_340_hubs_over_a_mirror(world: World, sync_parts: ModuleType, tmp_path: Path) -> None:
    """Pulled, verified and merged; the seconds are printed, not judged."""
    hubs = [f"{p:02d}{c:02d}00" for p in range(11, 42) for c in range(1, 12)][:340]
    hub_files = {h: world.hub_file(h) for h in (*hubs, world.READER)}
    provinces = tuple(f"prov-{p}" for p in sorted({h[:2] for h in hub_files}))
    trust = world.TrustBuilder(hubs=hub_files, provinces=provinces)
    logs = []
    for hub in hubs:
        log = world.Log(hub)
        log.add_policy()
        log.add_batch([world.warning_row(n, division=hub) for n in range(1, 401)])
        log.publish()
        logs.append(log)
    home = sync_parts.Home(world, tmp_path / "home", trust)
    with sync_parts.node(world, tmp_path / "node", logs, trust) as url:
        subscriber = home.subscriber(*(Peer(origin=log.origin, url=url) for log in logs))
        begun = time.perf_counter()
        report = subscriber.sync()
        seconds = time.perf_counter() - begun
    rows = sum(m.rows for m in report.merged)
    print(f"{len(report.merged)} hubs, {rows} rows: {seconds:.2f} s", file=sys.stderr)
    assert report.ok
    assert (len(report.merged), rows) == (340, 136_000)
