"""Replay and order: whatever comes twice, late, in pieces, from the wrong hub or with two faces."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dianhuan_federation.bundle import FolderFiles, log_hash
from dianhuan_federation.config import Peer
from dianhuan_federation.core import Submission, prove_record, verify_fork
from dianhuan_federation.log_store import fsck

World = ModuleType
OTHERS = ("430300", "430400")


@pytest.fixture
def home(sync_parts: ModuleType, world: World, tmp_path: Path) -> Any:
    """A hub that has joined."""
    return sync_parts.Home(world, tmp_path / "home")


def grown(world: World, hub: str, batches: int = 4) -> Any:
    """A log with a head after each batch."""
    log = world.Log(hub)
    log.add_policy()
    for n in range(batches):
        log.add_batch([world.warning_row(10 * n + i, division=hub) for i in (1, 2)])
        log.publish(at=world.NOW - 7000 + 100 * n)
    return log


def at(world: World, log: Any, heads: int, **changes: Any) -> Submission:
    """What the log would have sent when it had that many heads."""
    part = world.Log(log.hub)
    size = int(log.heads[heads - 1].split(b"\n")[1])
    part.entries, part.blobs, part.heads = log.entries[:size], log.blobs, log.heads[:heads]
    submission: Submission = part.submission(**changes)
    return submission


def test_hostile_older_delivery_after_newer_changes_nothing(world: World, home: Any) -> None:
    log = grown(world, world.HUB)
    home.take(at(world, log, 4))
    before = home.tables()
    (merged,) = home.take(at(world, log, 2))
    assert (merged.code, merged.size) == ("", 5)
    assert home.tables() == before


def test_hostile_gap_is_refused_and_heals(world: World, home: Any) -> None:
    log = grown(world, world.HUB)
    home.take(at(world, log, 1))
    whole = at(world, log, 4)
    gap = {path: data for path, data in whole.tiles.items() if not path.startswith("tile/entries")}
    (merged,) = home.take(at(world, log, 4, tiles=gap))
    assert (merged.code, merged.size) == ("E-TREE", 2)
    (merged,) = home.take(whole)
    assert (merged.code, merged.before, merged.size) == ("", 2, 5)


def test_hostile_orders_of_deliveries_all_end_alike(
    world: World, home: Any, sync_parts: ModuleType, tmp_path: Path
) -> None:
    trust = world.TrustBuilder(hubs={h: world.hub_file(h) for h in (world.HUB, world.READER, *OTHERS)})
    logs = [grown(world, hub) for hub in (world.HUB, *OTHERS)]
    for log in logs:
        for heads in (1, 2, 3, 4):
            home.take(at(world, log, heads), trust=trust)
    random_ = random.Random(7)
    for round_ in range(6):
        steps = [(log, heads) for log in logs for heads in (1, 2, 3, 4, 4)]
        random_.shuffle(steps)
        other = sync_parts.Subscriber(world, tmp_path / str(round_))
        for log, heads in steps:
            other.take(at(world, log, heads), trust=trust)
        assert other.tables() == home.tables()


def test_hostile_correction_before_its_target_waits(world: World, home: Any) -> None:
    log = world.Log()
    log.add_policy()
    later = {"index": 2, "digest": "0" * 64, "record_ids": []}
    log.add_batch([world.warning_row(1, score="0.9000")], kind="correction", supersedes=[later], reason="early")
    log.publish(at=world.NOW - 7000)
    home.take(log.submission())
    log.add_batch([world.warning_row(1)])
    log.publish(at=world.NOW - 6000)
    home.take(log.submission())
    home.take(log.submission())
    assert home.states() == {(2, "w-000001"): ("current", None)}
    assert [(r["state"], r["code"]) for r in home.rows("federated_statement")][1] == ("PENDING", "E-MISSING")


def test_hostile_correction_of_another_hub_touches_nothing(world: World, home: Any) -> None:
    trust = world.TrustBuilder(hubs={h: world.hub_file(h) for h in (world.HUB, world.READER, *OTHERS)})
    victim, log = world.usual_log(), world.Log(OTHERS[0])
    log.add_policy()
    target = {"index": 1, "digest": victim.digests[1], "record_ids": []}
    log.add_batch([world.warning_row(1, score="0.0000")], kind="correction", supersedes=[target], reason="mine")
    fields = {"targets": [target], "reason": "mine", "legal_basis": "none"}
    log.add(log.statement("retraction", "withdrawals", fields))
    log.add(log.statement("redaction", "withdrawals", fields))
    log.publish()
    home.take(victim.submission(), log.submission(), trust=trust)
    states = {r["state"] for r in home.rows("federated_warning") if r["origin"] == victim.origin}
    assert states == {"current"}
    assert {r["code"] for r in home.rows("federated_statement") if r["origin"] == log.origin} == {"", "E-MISSING"}


def test_hostile_retraction_twice_is_one(world: World, home: Any) -> None:
    log = world.usual_log()
    for n in range(2):
        fields = {
            "targets": [{"index": 1, "digest": log.digests[1], "record_ids": []}],
            "reason": "again",
            "legal_basis": "Order 809",
        }
        log.add(log.statement("retraction", "withdrawals", fields))
        log.publish(at=world.NOW - 1000 + n)
        home.take(log.submission())
    assert {k: v[0] for k, v in home.states().items() if k[0] == 1} == {
        (1, f"w-00000{n}"): "retracted" for n in (1, 2, 3)
    }


@pytest.mark.parametrize("order", ["together", "later"])
def test_hostile_batch_under_a_withdrawn_policy_is_hidden_whenever_that_is_learnt(
    world: World, home: Any, order: str
) -> None:
    log = world.usual_log()
    if order == "later":
        home.take(log.submission())
    fields = {
        "targets": [{"index": 0, "digest": log.digests[0], "record_ids": []}],
        "reason": "no longer shared",
        "legal_basis": "Order 809 art. 25",
    }
    log.add(log.statement("retraction", "withdrawals", fields))
    log.publish(at=world.NOW - 1000)
    home.take(log.submission())
    assert {r["state"] for r in home.rows("federated_warning")} == {"hidden"}
    states = [(r["state"], r["code"]) for r in home.rows("federated_statement")]
    assert states[1:3] == [("SOFT_FAIL", "E-POLICY")] * 2


def test_hostile_revoked_key_hides_what_it_signed_later_and_nothing_else(world: World, home: Any) -> None:
    log = grown(world, world.HUB)
    home.take(log.submission())
    assert {r["state"] for r in home.rows("federated_warning")} == {"current"}
    hub = world.hub_file(world.HUB)
    stolen = world.iso(world.NOW - 6850)
    hub["keys"][1] = {**hub["keys"][1], "revoked_at": stolen, "reason": "stolen"}
    trust = world.TrustBuilder(hubs={world.HUB: hub, world.READER: world.hub_file(world.READER)})
    merge = home.merge(trust)
    assert merge.outdated() == [log.origin]
    list(merge.replay(merge.outdated()))
    states = {r["index"]: r["state"] for r in home.rows("federated_warning")}
    assert states == {1: "current", 2: "current", 3: "hidden", 4: "hidden"}
    assert home.merge(trust).outdated() == []
    list(home.merge().replay(home.merge().outdated()))
    assert {r["state"] for r in home.rows("federated_warning")} == {"current"}


def test_hostile_silence_of_witnesses_waits_and_a_later_note_alone_completes_it(world: World, home: Any) -> None:
    log = world.Log()
    log.add_policy()
    log.add_batch([world.warning_row(1)])
    lonely = log.publish(at=world.NOW - 7000, witnesses=("w43",))
    (merged,) = home.take(log.submission())
    assert (merged.state, merged.code, merged.size) == ("PENDING", "E-QUORUM", 0)
    assert home.rows("federated_warning") == []
    log.heads.clear()
    seen = log.publish(at=world.NOW - 6000)
    assert seen != lonely
    (merged,) = home.take(Submission(log.origin, seen))
    assert (merged.state, merged.code, merged.size) == ("FRESH", "", 2)
    assert len(home.rows("federated_warning")) == 1
    assert not (home.replica / log_hash(log.origin) / "waiting").exists()


def test_hostile_courier_cannot_spoil_later_proofs(world: World, home: Any) -> None:
    log = grown(world, world.HUB)
    home.take(at(world, log, 1))
    whole = at(world, log, 4)
    bent = {p: d[::-1] if p.startswith("tile/0") else d for p, d in whole.tiles.items()}
    entries = next(p for p in bent if p.startswith("tile/entries"))
    first = int.from_bytes(bent[entries][:2], "big")
    bent[entries] = bent[entries][:2] + b"x" * first + bent[entries][2 + first :]
    (merged,) = home.take(at(world, log, 4, tiles=bent))
    assert (merged.code, merged.size) == ("", 5)
    folder = home.replica / log_hash(log.origin)
    assert fsck(folder).size == 5
    assert all(prove_record(FolderFiles(folder), index) for index in range(5))


def test_hostile_strangers_do_not_fill_the_register_of_logs(world: World, home: Any) -> None:
    log = world.Log("990000")
    log.add_policy()
    log.publish()
    (merged,) = home.take(log.submission())
    assert merged.code == "E-TRUST"
    assert home.rows("federated_log") == []
    assert not (home.replica / log_hash(log.origin)).exists()


@pytest.mark.parametrize(("ours", "theirs"), [(2, 2), (2, 4), (4, 2)], ids=["equal", "they are ahead", "we are ahead"])
def test_hostile_split_view_is_found_on_both_sides_by_one_bundle(
    world: World, home: Any, sync_parts: ModuleType, tmp_path: Path, ours: int, theirs: int
) -> None:
    one, two = grown(world, world.HUB, ours - 1), world.Log()
    two.add_policy()
    two.add_batch([world.warning_row(900)])
    two.publish(at=world.NOW - 7000)
    while len(two.entries) < theirs:
        two.add_batch([world.warning_row(900 + len(two.entries))])
        two.publish(at=world.NOW - 6900 + len(two.entries))
    other = sync_parts.Home(world, tmp_path / "other")
    sides = []
    for side, log, name in ((home, one, "1"), (other, two, "2")):
        share = sync_parts.tree(log, tmp_path / name)
        subscriber = side.subscriber(Peer(origin=log.origin, folder=share))
        assert subscriber.sync().ok
        sides.append((side, subscriber))
    for (_, sender), (side, receiver), name in ((sides[0], sides[1], "a"), (sides[1], sides[0], "b")):
        stick = tmp_path / f"{name}.tar"
        sender.export_bundle(stick)
        (merged,) = receiver.import_bundle(stick).merged
        assert (merged.state, merged.code) == ("QUARANTINE", "E-FORK")
        (row,) = side.rows("federated_log")
        evidence = (side.replica / row["evidence"]).read_bytes()
        keys = [k for k, _ in world.verifier().trust.hub(world.HUB).log_keys(world.ORIGIN)]
        assert verify_fork(evidence, keys) == world.ORIGIN
        assert set(json.loads(evidence)) >= {"older", "newer"}
        rows = side.rows("federated_warning")
        one.add_batch([world.warning_row(500)])
        assert receiver.sync().merged[0].state == "QUARANTINE"
        assert side.rows("federated_warning") == rows
        receiver.release(world.ORIGIN)
        assert receiver.show()[0]["state"] == "FRESH"
