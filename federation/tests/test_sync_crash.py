"""SIGKILL at every write of a syncing process: after a restart the replica is as if nothing had happened."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dianhuan_federation.bundle import log_hash
from dianhuan_federation.config import Peer
from dianhuan_federation.core import bundles_of, tiles_of
from dianhuan_federation.log_store import fsck

World = ModuleType


def killed_after(writes: int, home: Any, work: Any) -> bool:
    """Run work in a child that is killed at a write (a file placed, a commit begun or done); false if it ended."""
    child = os.fork()
    if child == 0:
        left = [writes]

        def count() -> None:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        replace, commit = Path.replace, home.store.__class__.commit

        def counted_replace(self: Path, target: Any) -> Any:
            count()
            return replace(self, target)

        def counted_commit(self: Any, batches: Any, state: Any = None) -> Any:
            count()
            answer = commit(self, batches, state)
            count()
            return answer

        try:
            Path.replace = counted_replace  # type: ignore[method-assign, assignment]
            home.store.__class__.commit = counted_commit
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def two_states(world: World) -> tuple[Any, Any]:
    """A log, and the same log after a correction, a retraction and a redaction."""
    before, after = world.usual_log(), world.usual_log()
    target = [{"index": 1, "digest": after.digests[1], "record_ids": ["w-000001"]}]
    after.add_batch(
        [world.warning_row(1, score="0.5000")],
        kind="correction",
        supersedes=target,
        reason="wrong",
    )
    fields = {
        "targets": [{"index": 2, "digest": after.digests[2], "record_ids": []}],
        "reason": "r",
        "legal_basis": "l",
    }
    after.add(after.statement("redaction", "withdrawals", fields))
    after.publish(at=world.NOW - 60)
    return before, after


@pytest.mark.parametrize(
    "earlier", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["a later sync", "the first one"]
)
def test_hostile_sigkill_at_every_write_of_a_sync(
    world: World, sync_parts: ModuleType, tmp_path: Path, earlier: bool
) -> None:
    before, after = two_states(world)
    share = tmp_path / "share"
    own = ["received_at", "digest"]

    def begin(name: str) -> Any:
        home = sync_parts.Home(world, tmp_path / name)
        if earlier:
            sync_parts.tree(before, share)
            assert home.subscriber(Peer(origin=before.origin, folder=share)).sync().ok
        home.store.close()
        sync_parts.tree(after, share)
        return home

    def run(home: Any) -> None:
        again = sync_parts.Home(world, home.folder)
        again.subscriber(Peer(origin=before.origin, folder=share)).sync()
        again.store.close()

    whole = begin("whole")
    run(whole)
    expected = sync_parts.Home(world, whole.folder)
    kills = 0
    while True:
        home = begin(f"kill-{kills}")
        if not killed_after(kills, home, lambda home=home: run(home)):
            break
        kills += 1
        run(home)
        again = sync_parts.Home(world, home.folder)
        assert again.tables(own) == expected.tables(own), kills
        folder = again.replica / log_hash(after.origin)
        size = fsck(folder).size
        there = {p.name for p in (folder / "blob/sha256").iterdir() if not p.name.startswith(".")}
        assert there == {p.name for p in (expected.replica / folder.name / "blob/sha256").iterdir()}
        assert all((folder / t.path).exists() for t in (*tiles_of(size), *bundles_of(size)))
        assert next(iter(again.merge().replay([after.origin], everything=True))).size == size
        assert again.tables(own) == expected.tables(own), kills
        again.store.close()
    expected.store.close()
    assert kills > 10
