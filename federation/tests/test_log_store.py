"""The log on disk: golden sizes, crash at every write, old copies, two processes."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from dianhuan_federation import log_store
from dianhuan_federation.core import (
    EMPTY_ROOT,
    Ed25519Signer,
    is_consistent,
    is_included,
    leaf_hash,
    note_key,
    parse_checkpoint,
    tree_root,
)
from dianhuan_federation.guard import CheckpointGuard
from dianhuan_federation.log_store import TileLog
from dianhuan_sdk import ConfigError, InputError, TransientError

Signers = Callable[[str], Ed25519Signer]
ORIGIN = "fed.example/430200/r1"


def entries(count: int, start: int = 0) -> list[bytes]:
    return [f"entry {i}".encode() for i in range(start, start + count)]


@pytest.fixture
def guard(tmp_path: Path) -> CheckpointGuard:
    return CheckpointGuard(tmp_path / "guard.sqlite")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of small files: what fsync does is the system's business, not these tests'."""
    monkeypatch.setattr(log_store.os, "fsync", lambda descriptor: None)


@pytest.mark.parametrize("size", [*range(17), 255, 256, 257, 65_535, 65_536, 65_537])
def test_a_log_of_each_size_is_whole_and_proves_its_entries(
    tmp_path: Path, guard: CheckpointGuard, signer: Signers, size: int
) -> None:
    log = TileLog.create(tmp_path / "log", ORIGIN, signer("log"), guard)
    first = size // 3
    log.append(entries(first))
    assert log.append(entries(size - first, first)) == range(first, size)
    head, note = parse_checkpoint(log.checkpoint())
    leaves = [leaf_hash(entry) for entry in entries(size)]
    assert (head.origin, head.size, head.root) == (ORIGIN, size, tree_root(leaves))
    assert note.signed_by(note_key(ORIGIN, 1, signer("log").public))
    assert log.fsck() == size
    if size:
        proof = log.prove(size - 1)
        assert is_included(leaves[-1], size - 1, size, proof.path, head.root)
    if first:
        assert is_consistent(first, tree_root(leaves[:first]), size, head.root, log.consistency(first))
    names = {path.name for path in (tmp_path / "log").rglob("*") if path.is_file()}
    assert not any(name.endswith(".new") for name in names)


def test_a_log_grown_in_any_steps_has_the_same_files(tmp_path: Path, signer: Signers) -> None:
    contents = []
    for name, steps in (("a", [600]), ("b", [1] * 5 + [250, 1, 1, 255, 88]), ("c", [255, 2, 343])):
        log = TileLog.create(tmp_path / name, ORIGIN, signer("log"), CheckpointGuard(tmp_path / f"{name}.sqlite"))
        for step in steps:
            log.append(entries(step, log.size))
        assert log.size == 600
        files = {p.relative_to(log.folder): p.read_bytes() for p in log.folder.rglob("*") if p.is_file()}
        contents.append(
            {
                path: data
                for path, data in files.items()
                if (".p" not in str(path) or path.name == "88") and "checkpoints" not in str(path)
            }
        )
    assert contents[0] == contents[1] == contents[2]


def test_partial_tiles_go_once_the_full_one_is_there(tmp_path: Path, guard: CheckpointGuard, signer: Signers) -> None:
    log = TileLog.create(tmp_path / "log", ORIGIN, signer("log"), guard)
    log.append(entries(200))
    assert (tmp_path / "log/tile/entries/000.p/200").exists()
    log.append(entries(100, 200))
    assert not (tmp_path / "log/tile/entries/000.p").exists()
    assert (tmp_path / "log/tile/0/000").stat().st_size == 8192


class Killed(BaseException):
    """Stands for the process's end: no handler catches it."""


@pytest.mark.parametrize("steps", [(3, 4), (250, 10), (256, 1)])
def test_hostile_crash_at_every_write_leaves_one_history(
    tmp_path: Path, signer: Signers, monkeypatch: pytest.MonkeyPatch, steps: tuple[int, int]
) -> None:
    original = log_store.write_durably
    writes = 0
    for point in range(40):
        folder = tmp_path / str(point)
        guard = CheckpointGuard(tmp_path / f"{point}.sqlite")
        log = TileLog.create(folder, ORIGIN, signer("log"), guard)
        log.append(entries(steps[0]))
        done = 0

        def dying(path: Path, data: bytes, point: int = point) -> None:
            nonlocal done
            if done == point:
                raise Killed
            done += 1
            original(path, data)

        monkeypatch.setattr(log_store, "write_durably", dying)
        try:
            log.append(entries(steps[1], steps[0]))
            finished = True
        except Killed:
            finished = False
        monkeypatch.setattr(log_store, "write_durably", original)
        again = TileLog(folder, ORIGIN, signer("log"), guard)
        published, _ = parse_checkpoint(again.checkpoint())
        assert again.size == published.size == guard.head(ORIGIN)[0]
        assert again.size in (steps[0], sum(steps))
        again.append([b"another"])
        expected = [*entries(again.size - 1), b"another"]
        assert again.fsck() == len(expected)
        assert parse_checkpoint(again.checkpoint())[0].root == tree_root([leaf_hash(e) for e in expected])
        if finished:
            writes = point
            break
    assert writes >= 3


def test_hostile_old_copy_of_the_log_refuses_to_sign(tmp_path: Path, guard: CheckpointGuard, signer: Signers) -> None:
    log = TileLog.create(tmp_path / "log", ORIGIN, signer("log"), guard)
    log.append(entries(5))
    shutil.copytree(tmp_path / "log", tmp_path / "backup")
    log.append(entries(5, 5))
    with pytest.raises(ConfigError, match="guard"):
        TileLog(tmp_path / "backup", ORIGIN, signer("log"), guard)


def test_hostile_old_copy_of_the_guard_refuses_to_sign(tmp_path: Path, guard: CheckpointGuard, signer: Signers) -> None:
    log = TileLog.create(tmp_path / "log", ORIGIN, signer("log"), guard)
    log.append(entries(5))
    shutil.copy(tmp_path / "guard.sqlite", tmp_path / "old.sqlite")
    log.append(entries(5, 5))
    with pytest.raises(ConfigError, match="size 10 is published"):
        TileLog(tmp_path / "log", ORIGIN, signer("log"), CheckpointGuard(tmp_path / "old.sqlite"))


def test_hostile_lost_guard_or_lost_folder_never_starts_again(
    tmp_path: Path, guard: CheckpointGuard, signer: Signers
) -> None:
    TileLog.create(tmp_path / "log", ORIGIN, signer("log"), guard).append(entries(3))
    with pytest.raises(ConfigError, match="does not know"):
        TileLog(tmp_path / "log", ORIGIN, signer("log"), CheckpointGuard(tmp_path / "new.sqlite"))
    with pytest.raises(ConfigError, match="exists already"):
        TileLog.create(tmp_path / "empty", ORIGIN, signer("log"), guard)
    with pytest.raises(ConfigError):
        TileLog(tmp_path / "empty", ORIGIN, signer("log"), guard)
    with pytest.raises(ConfigError, match="holds a log"):
        TileLog.create(tmp_path / "log", ORIGIN, signer("log"), CheckpointGuard(tmp_path / "new2.sqlite"))


def test_hostile_second_process_on_one_log_is_stopped(tmp_path: Path, guard: CheckpointGuard, signer: Signers) -> None:
    first = TileLog.create(tmp_path / "log", ORIGIN, signer("log"), guard)
    second = TileLog(tmp_path / "log", ORIGIN, signer("log"), CheckpointGuard(tmp_path / "guard.sqlite"))
    first.append([b"one"])
    with pytest.raises(InputError, match="does not stand"):
        second.append([b"two"])
    assert parse_checkpoint(first.checkpoint())[0].root == leaf_hash(b"one")


@pytest.mark.parametrize("path", ["tile/entries/000.p/9", "tile/0/000.p/9"])
def test_hostile_flipped_bit_on_the_disk_is_found(
    tmp_path: Path, guard: CheckpointGuard, signer: Signers, path: str
) -> None:
    log = TileLog.create(tmp_path / "log", ORIGIN, signer("log"), guard)
    log.append(entries(9))
    file = tmp_path / "log" / path
    data = bytearray(file.read_bytes())
    data[8] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(InputError):
        log.fsck()


def test_hostile_entry_of_64_kib_is_refused_before_anything_is_written(
    tmp_path: Path, guard: CheckpointGuard, signer: Signers
) -> None:
    log = TileLog.create(tmp_path / "log", ORIGIN, signer("log"), guard)
    log.append([b"x" * 65_535])
    with pytest.raises(InputError):
        log.append([b"x" * 65_536])
    assert log.size == 1
    assert log.fsck() == 1


def test_the_guard_moves_forward_only(guard: CheckpointGuard) -> None:
    guard.create(ORIGIN)
    root = leaf_hash(b"a")
    guard.advance(ORIGIN, (0, EMPTY_ROOT), (1, root))
    for old, new in [
        ((0, EMPTY_ROOT), (2, root)),
        ((1, EMPTY_ROOT), (2, root)),
        ((1, root), (1, EMPTY_ROOT)),
        ((1, root), (0, root)),
    ]:
        with pytest.raises(InputError):
            guard.advance(ORIGIN, old, new)
    assert guard.head(ORIGIN) == (1, root)


def test_a_locked_guard_is_not_passed_by(
    tmp_path: Path, guard: CheckpointGuard, signer: Signers, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = TileLog.create(tmp_path / "log", ORIGIN, signer("log"), guard)
    connect = sqlite3.connect
    holder = connect(tmp_path / "guard.sqlite", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr(sqlite3, "connect", lambda path, **kw: connect(path, **{**kw, "timeout": 0}))
    with pytest.raises(TransientError):
        log.append([b"x"])
    holder.close()
    assert parse_checkpoint(log.checkpoint())[0].size == 0
