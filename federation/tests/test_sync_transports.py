"""The same bytes over HTTP, in a folder and on a stick; nothing arrives twice."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dianhuan_federation.bundle import TarFiles
from dianhuan_federation.config import Peer
from dianhuan_federation.sync import sizes_in

World = ModuleType


@pytest.fixture
def home(sync_parts: ModuleType, world: World, tmp_path: Path) -> Any:
    """A hub that has joined."""
    return sync_parts.Home(world, tmp_path / "home")


def test_a_static_file_server_is_a_valid_peer(world: World, home: Any, sync_parts: ModuleType, tmp_path: Path) -> None:
    log = world.usual_log()
    folder = sync_parts.tree(log, tmp_path / "served")
    with sync_parts.served(folder) as url:
        subscriber = home.subscriber(Peer(origin=log.origin, url=url))
        report = subscriber.sync()
        assert report.ok
        (merged,) = report.merged
        assert (merged.size, merged.rows, merged.via) == (3, 6, "http")
        log.add_batch([world.warning_row(55)])
        log.publish(at=world.NOW - 60)
        sync_parts.tree(log, folder)
        assert [(m.before, m.size, m.rows) for m in subscriber.sync().merged] == [(3, 4, 1)]
        assert [(m.before, m.size, m.rows) for m in subscriber.sync().merged] == [(4, 4, 0)]


def test_a_folder_an_opened_stick_and_a_bundle_give_the_same_replica(
    world: World, home: Any, sync_parts: ModuleType, tmp_path: Path
) -> None:
    log = world.usual_log()
    folder = sync_parts.tree(log, tmp_path / "share")
    first = home.subscriber(Peer(origin=log.origin, folder=folder))
    assert first.sync().ok
    stick = tmp_path / "stick.tar"
    first.export_bundle(stick, receiver=world.READER)
    other = sync_parts.Home(world, tmp_path / "other")
    report = other.subscriber().import_bundle(stick)
    assert (report.ok, report.exporter) == (True, world.READER)
    assert other.tables(["received_at", "digest"]) == home.tables(["received_at", "digest"])
    opened = tmp_path / "opened"
    sync_parts.write(opened, {path: TarFiles(stick)[path] for path in TarFiles(stick)})
    third = sync_parts.Home(world, tmp_path / "third")
    with sync_parts.served(opened) as url:
        assert third.subscriber(Peer(origin=log.origin, url=url)).sync().ok
    assert third.tables(["received_at", "digest"]) == home.tables(["received_at", "digest"])


def test_a_second_export_sends_nothing_again(world: World, home: Any, sync_parts: ModuleType, tmp_path: Path) -> None:
    log = world.usual_log()
    subscriber = home.subscriber(Peer(origin=log.origin, folder=sync_parts.tree(log, tmp_path / "share")))
    subscriber.sync()
    one, two = tmp_path / "1.tar", tmp_path / "2.tar"
    subscriber.export_bundle(one)
    subscriber.export_bundle(two, sizes_in(one))
    assert not [path for path in TarFiles(two) if path.startswith(("logs/", "blobs/"))]
    log.add_batch([world.warning_row(77)])
    log.publish(at=world.NOW - 60)
    sync_parts.tree(log, tmp_path / "share")
    subscriber.sync()
    subscriber.export_bundle(two, sizes_in(one))
    assert len([path for path in TarFiles(two) if path.startswith("blobs/")]) == 1
    other = sync_parts.Home(world, tmp_path / "other")
    assert other.subscriber().import_bundle(one).ok
    (merged,) = other.subscriber().import_bundle(two).merged
    assert (merged.before, merged.size, merged.rows) == (3, 4, 1)


def test_bundles_that_lie_in_a_folder_are_taken_once(
    world: World, home: Any, sync_parts: ModuleType, tmp_path: Path
) -> None:
    log = world.usual_log()
    source = sync_parts.Home(world, tmp_path / "source")
    sender = source.subscriber(Peer(origin=log.origin, folder=sync_parts.tree(log, tmp_path / "share")))
    sender.sync()
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    sender.export_bundle(inbox / "day.tar")
    subscriber = home.subscriber(Peer(origin=log.origin, folder=inbox))
    assert [(m.via, m.size) for m in subscriber.sync().merged] == [("bundle", 3)]
    assert subscriber.sync().merged == []


def test_every_peer_is_shown_with_what_is_wrong(
    world: World, home: Any, sync_parts: ModuleType, tmp_path: Path
) -> None:
    log = world.usual_log()
    folder = sync_parts.tree(log, tmp_path / "share")
    subscriber = home.subscriber(
        Peer(origin=log.origin, folder=folder), Peer(origin="fed.example/430300/r1", folder=tmp_path / "nowhere")
    )
    subscriber.sync()
    assert [(r["origin"], r["state"], r["code"]) for r in subscriber.show()] == [
        (log.origin, "FRESH", ""),
        ("fed.example/430300/r1", "MISSING", ""),
    ]
    home.clock.time += 27 * 3600
    assert [r["state"] for r in subscriber.show()] == ["STALE", "MISSING"]
