"""V11: the merge into the replica, idempotent, the same whatever the order, and replayed from files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dianhuan_federation.bundle import FolderFiles, log_hash
from dianhuan_federation.core import load_trust, parse_policy, prove_record, verify_record
from dianhuan_federation.log_store import fsck
from dianhuan_federation.replica import Delivery

World = ModuleType


@pytest.fixture
def home(sync_parts: ModuleType, world: World, tmp_path: Path) -> Any:
    """An empty subscriber."""
    return sync_parts.Subscriber(world, tmp_path / "home")


def test_a_log_is_merged_with_provenance(world: World, home: Any) -> None:
    log = world.usual_log()
    (merged,) = home.take(log.submission())
    assert (merged.state, merged.code, merged.before, merged.size, merged.rows) == ("FRESH", "", 0, 3, 6)
    assert merged.statements == {"ACCEPTED": 3}
    rows = home.rows("federated_warning")
    assert [(r["index"], r["record_id"]) for r in rows] == [
        (i, f"w-{n:06d}") for i, n in ((1, 1), (1, 2), (1, 3), (2, 11), (2, 12), (2, 13))
    ]
    assert rows[0]["score"] == 0.0001
    assert rows[0]["enterprise"] == "91430100MA4L16JK8X"
    assert "enterprise_name" not in rows[0]
    statement = home.rows("federated_statement")[1]
    assert statement["witnesses"] == '["w43","w44","w45"]'
    assert (statement["rows"], statement["suites"], statement["state"]) == (3, '["ed25519"]', "ACCEPTED")
    (known,) = home.rows("federated_log")
    assert (known["hub"], known["province"], known["size"], known["code"]) == ("430200", "43", 3, "")


def test_the_same_delivery_twice_changes_nothing(world: World, home: Any) -> None:
    log = world.usual_log()
    home.take(log.submission())
    before = home.tables()
    (again,) = home.take(log.submission())
    assert (again.before, again.size, again.rows, again.statements) == (3, 3, 0, {})
    assert home.tables() == before


def test_growth_across_tile_borders_is_kept_as_files_that_prove_every_record(world: World, home: Any) -> None:
    log = world.Log()
    log.add_policy()
    builder = world.TrustBuilder()
    trust = load_trust(builder.bootstrap(), builder.build(), world.NOW)
    for round_, count in enumerate((3, 252, 1, 2, 300)):
        for n in range(count):
            fields = {"streams": n}
            log.add(log.statement("heartbeat", "beats", fields))
        log.add_batch([world.warning_row(round_ * 10 + i) for i in (1, 2)])
        log.publish(at=world.NOW - 3600 + round_)
        home.take(log.submission())
        folder = home.replica / log_hash(log.origin)
        assert fsck(folder).size == len(log.entries)
        index = len(log.entries) - 1
        row = home.rows("federated_warning")[-1]
        payload = b"".join(log_payload(log, index, folder))
        proof = prove_record(FolderFiles(folder), index, payload, row["record_id"])
        shown = verify_record(proof, trust, parse_policy(world.policy_text()), world.NOW)
        assert (shown.index, shown.row is not None) == (index, True)
    assert {p for p in FolderFiles(folder) if p.startswith("tile/")} == set(log.tiles())


def log_payload(log: Any, index: int, folder: Path) -> list[bytes]:
    """The rows of a batch out of the replica's blobs."""
    import gzip
    import json

    from dianhuan_federation.core import open_envelope

    statement = json.loads(open_envelope(log.entries[index]).payload)
    name = statement["predicate"]["encodings"][0]["digest"]["sha256"]
    return [gzip.decompress((folder / "blob/sha256" / name).read_bytes())]


def correct(log: Any, world: World, target: int, rows: list[dict[str, Any]], records: list[str], **more: Any) -> int:
    """Log a correction of records of an earlier batch."""
    supersedes = [{"index": target, "digest": log.digests[target], "record_ids": records}]
    index: int = log.add_batch(rows, kind="correction", supersedes=supersedes, reason="wrong score", **more)
    return index


def withdraw(log: Any, kind: str, target: int, records: list[str] = []) -> int:  # noqa: B006
    """Log a retraction or redaction."""
    targets = [{"index": target, "digest": log.digests[target], "record_ids": records}]
    fields = {"targets": targets, "reason": "by mistake", "legal_basis": "Order 809 art. 26"}
    index: int = log.add(log.statement(kind, "withdrawals", fields))
    return index


def every_fate(world: World) -> Any:
    """A log in which every fate of a record occurs."""
    log = world.Log()
    log.add_policy()
    log.add_batch([world.warning_row(n) for n in (1, 2, 3, 4, 5)])  # 1
    log.publish(at=world.NOW - 7000)
    correct(log, world, 1, [world.warning_row(1, score="0.9000")], ["w-000001"])  # 2
    log.publish(at=world.NOW - 6000)
    withdraw(log, "retraction", 1, ["w-000002"])  # 3
    log.publish(at=world.NOW - 5000)
    log.add_batch([world.warning_row(3, score="0.8000")])  # 4: the same record again
    log.publish(at=world.NOW - 4000)
    withdraw(log, "redaction", 1, ["w-000004"])  # 5
    log.publish(at=world.NOW - 3000)
    correct(log, world, 1, [world.warning_row(5, score="0.7000")], ["w-000005"])  # 6
    log.publish(at=world.NOW - 2000)
    withdraw(log, "retraction", 6)  # 7: the correction is taken back
    log.publish(at=world.NOW - 1000)
    return log


FATES = {
    (1, "w-000001"): ("superseded", 2),
    (1, "w-000002"): ("retracted", None),
    (1, "w-000003"): ("superseded", 4),
    (1, "w-000004"): ("redacted", None),
    (1, "w-000005"): ("current", None),
    (2, "w-000001"): ("current", None),
    (4, "w-000003"): ("current", None),
    (6, "w-000005"): ("retracted", None),
}


def at(log: Any, size: int, world: World) -> Any:
    """What the log would have sent when it had that size."""
    part = world.Log()
    part.entries = log.entries[:size]
    part.blobs = log.blobs
    part.heads = [h for h in log.heads if int(h.split(b"\n")[1]) <= size]
    return part.submission()


def test_every_fate_of_a_record(world: World, home: Any) -> None:
    home.take(every_fate(world).submission())
    assert home.states() == FATES
    redacted = next(r for r in home.rows("federated_warning") if r["state"] == "redacted")
    assert redacted["enterprise"] is None
    assert redacted["score"] is None


@pytest.mark.parametrize("steps", [(2, 3, 4, 5, 6, 7, 8), (3, 6, 8), (2, 8), (7, 8)])
def test_fates_do_not_depend_on_how_a_log_arrives(
    world: World, home: Any, sync_parts: ModuleType, tmp_path: Path, steps: tuple[int, ...]
) -> None:
    log = every_fate(world)
    home.take(log.submission())
    other = sync_parts.Subscriber(world, tmp_path / "other")
    for size in steps:
        other.take(at(log, size, world))
    assert other.tables() == home.tables()


def test_a_redacted_payload_is_dropped_and_does_not_come_back(world: World, home: Any) -> None:
    log = every_fate(world)
    home.take(at(log, 5, world))
    blobs = home.replica / log_hash(log.origin) / "blob/sha256"
    before = {p.name for p in blobs.iterdir()}
    home.take(log.submission())
    after = {p.name for p in blobs.iterdir()}
    assert len(before - after) == 1
    home.take(log.submission())
    assert {p.name for p in blobs.iterdir()} == after
    assert home.states() == FATES


def test_a_replay_from_files_gives_the_same_tables(
    world: World, home: Any, sync_parts: ModuleType, tmp_path: Path
) -> None:
    log = every_fate(world)
    for size in (2, 4, 8):
        home.take(at(log, size, world))
    before = home.tables()
    (merged,) = home.merge().replay([log.origin], everything=True)
    assert merged.size == 8
    assert home.tables() == before


def test_a_payload_that_comes_later_resumes_its_batch(world: World, home: Any) -> None:
    log = world.usual_log()
    home.take(log.submission(blobs={}))
    assert home.rows("federated_warning") == []
    assert [r["state"] for r in home.rows("federated_statement")] == ["ACCEPTED", "PENDING", "PENDING"]
    home.take(log.submission())
    assert len(home.rows("federated_warning")) == 6
    assert [r["state"] for r in home.rows("federated_statement")] == ["ACCEPTED"] * 3


def test_hostile_courier_who_damages_a_payload_cannot_suppress_its_batch(world: World, home: Any) -> None:
    log = world.usual_log()
    whole = log.submission()
    damaged = {name: bytes([data[0] ^ 1]) + data[1:] for name, data in whole.blobs.items()}
    (first,) = home.take(replace(whole, blobs=damaged))
    assert (first.code, first.rows) == ("E-DIGEST", 0)
    assert [r["state"] for r in home.rows("federated_statement")] == ["ACCEPTED", "PENDING", "PENDING"]
    assert home.rows("federated_log")[0]["code"] == "E-DIGEST"
    home.take(whole)
    assert len(home.rows("federated_warning")) == 6
    assert [r["state"] for r in home.rows("federated_statement")] == ["ACCEPTED"] * 3
    assert home.rows("federated_log")[0]["code"] == ""


def test_what_waits_for_payloads_is_looked_up_once_for_all_logs_of_a_commit(
    world: World, home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hubs = ("430200", "430300", "430400", "430500")
    builder = world.TrustBuilder(hubs={h: world.hub_file(h) for h in hubs})
    submissions = []
    for hub in hubs:
        log = world.Log(hub)
        log.add_policy()
        log.add_batch([world.warning_row(1, division=hub)])
        log.publish()
        submissions.append(log.submission())
    asked: list[object] = []
    read = home.store.read

    def counting(table: str, **conditions: Any) -> Any:
        if table == "federated_statement" and "E-MISSING" in str(conditions):
            asked.append(conditions)
        return read(table, **conditions)

    monkeypatch.setattr(home.store, "read", counting)
    bare = [replace(s, blobs={}) for s in submissions]
    merged = list(home.merge(builder).take(Delivery(s.origin, s, "folder") for s in (*bare, *submissions)))
    assert [m.statements for m in merged[:4]] == [{"ACCEPTED": 1, "PENDING": 1}] * 4
    assert [m.statements for m in merged[4:]] == [{"ACCEPTED": 1}] * 4
    assert [row["state"] for row in home.rows("federated_statement")] == ["ACCEPTED"] * 8
    assert len(home.rows("federated_warning")) == 4
    assert len(asked) == 2


def test_a_grant_counts_once_the_trust_data_know_its_assignees_key(
    world: ModuleType, sync_parts: ModuleType, tmp_path: Path
) -> None:
    log = world.Log()
    policy = log.add_policy(**{"class": "conditional"})
    log.add_grant(policy)
    log.add_batch([world.warning_row(1)])
    log.publish()
    home = sync_parts.Subscriber(world, tmp_path)
    early, late = (
        world.TrustBuilder(hubs={h: world.hub_file(h) for h in hubs})
        for hubs in ([world.HUB], [world.HUB, world.READER])
    )
    home.take(log.submission(), trust=early)
    assert [r["state"] for r in home.rows("federated_statement")] == ["ACCEPTED", "SOFT_FAIL", "SOFT_FAIL"]
    assert home.merge(early).outdated() == []
    merge = home.merge(late)
    assert merge.outdated() == [log.origin]
    list(merge.replay([log.origin]))
    assert [r["state"] for r in home.rows("federated_statement")] == ["ACCEPTED"] * 3
    assert [r["state"] for r in home.rows("federated_warning")] == ["current"]
    assert home.merge(late).outdated() == []
