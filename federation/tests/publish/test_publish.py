"""Whole publications, judged by the verifier as a stranger would."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dianhuan_federation.bundle import FolderFiles, export_bundle, log_files
from dianhuan_federation.core import (
    PAYLOAD_TYPE,
    State,
    bundles_of,
    lines_of,
    load_trust,
    open_envelope,
    parse,
    read_statement,
    seal,
    statement_digest,
)
from dianhuan_federation.evaluation import Counts, passport_bytes
from dianhuan_federation.policy import EgressGate, GateRules
from dianhuan_federation.publish import check_commitment
from dianhuan_sdk import ConfigError, InputError

City = Any
ROWS = "warnings-to-grantees"
OUTCOMES = "outcomes-to-grantees"
ALL = (ROWS, OUTCOMES, "warning-counts", "outcome-counts", "verified-counts")


def kinds(report: Any) -> list[str]:
    """Kinds of the statements of a publication."""
    return [draft.kind for draft in report.drafts]


def states(city: City, **changes: Any) -> list[str]:
    """What the verifier says of each entry."""
    report = city.verified(**changes)
    assert report.verdict.state is State.ACCEPTED, report.verdict
    return [str(entry.verdict.state) for entry in report.entries]


def current(city: City, stream: str) -> dict[str, Any]:
    """The rows of a stream as a subscriber has them: of each record that of the highest index, without retracted."""
    rows: dict[str, tuple[int, Any]] = {}
    for entry in city.verified().entries:
        kind = entry.kind.split(":")[-2]
        if entry.predicate.stream != stream:
            continue
        for line in lines_of(entry.payload):
            rows[parse(line)["record_id"]] = (entry.index, parse(line))
        if kind == "retraction":
            for target in entry.predicate.targets:
                for id in target.record_ids or [i for i, (at, _) in rows.items() if at == target.index]:
                    rows.pop(id, None)
    return {id: row for id, (_, row) in rows.items()}


def test_everything_that_is_due_is_accepted(city: City, today: date) -> None:
    city.start(*ALL)
    report = city.publisher.publish(today)
    assert report.refused == []
    assert report.witnessed.quorum
    assert report.witnessed.names == ("w43", "w44", "w45")
    assert set(states(city)) == {"accepted"}
    made = [entry.kind.split(":")[-2] for entry in city.verified().entries]
    assert {kind: made.count(kind) for kind in set(made)} == {
        "share-policy": 5,
        "grant": 2,
        "result-batch": 2,
        "statistic-batch": 9,
    }
    assert len(current(city, ROWS)) == 14 * 6


def test_another_process_accepts_what_was_published(city: City, world: ModuleType, today: date, tmp_path: Path) -> None:
    city.start(*ALL)
    city.publisher.publish(today)
    trust = world.TrustBuilder()
    (tmp_path / "root.json").write_bytes(trust.bootstrap())
    (tmp_path / "witnesses").write_bytes(world.policy_text())
    blobs = FolderFiles(city.settings.public / "blob" / "sha256")
    contents = [
        *((f"trust/{path}", data) for path, data in trust.build().items()),
        *log_files(city.settings.origin, FolderFiles(city.settings.log)),
        *((f"blobs/sha256/{digest}", blobs[digest]) for digest in blobs),
    ]
    bundle = tmp_path / "city.tar"
    export_bundle(bundle, contents, exporter=world.HUB, signer=world.signer("transport-430200"), created_at=world.NOW)
    command = [sys.executable, "-c", "from dianhuan_federation.cli import app; app()", "verify"]
    options = ["--bundle", bundle, "--trust", tmp_path / "root.json", "--policy", tmp_path / "witnesses"]
    more = ["--now", world.iso(world.NOW), "--reader", world.READER]
    done = subprocess.run([*command, *map(str, options), *more], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    log = json.loads(done.stdout)["logs"][city.settings.origin]
    assert log["counts"] == {"accepted": 18}
    assert log["rows"] == 136


def test_publishing_again_says_nothing_twice(city: City, today: date) -> None:
    city.start(*ALL)
    first = city.publisher.publish(today)
    second = city.publisher.publish(today)
    assert (second.size, kinds(second)) == (first.size, [])
    city.clock.at += timedelta(hours=12)
    third = city.publisher.publish(today + timedelta(1))
    assert kinds(third) == ["heartbeat"]
    assert kinds(city.publisher.heartbeat(today + timedelta(1))) == []


def test_the_first_cosignature_of_a_head_stays(city: City, today: date) -> None:
    city.start(ROWS)
    city.publisher.publish(today)
    head = city.log().checkpoint()
    for witness in city.witnesses:
        witness.at += 900
    assert kinds(city.publisher.publish(today)) == []
    assert city.log().checkpoint() == head


def test_rows_of_a_new_day_follow(city: City, today: date) -> None:
    city.start(ROWS)
    city.publisher.publish(today)
    warnings, findings = city.storage.rows("warning"), city.storage.rows("finding")
    extra = [(w, f) for w, f in zip(warnings, findings, strict=True) if w["day"] == today - timedelta(1)]
    for w, f in extra:
        late = {"warning_id": w["warning_id"] + "x", "finding_id": f["finding_id"] + "x", "day": today}
        warnings.append({**w, **late})
        findings.append({**f, "finding_id": late["finding_id"], "day": today})
    city.storage.put("warning", warnings)
    city.storage.put("finding", findings)
    assert kinds(city.publisher.publish(today)) == []
    city.clock.at += timedelta(minutes=30)
    report = city.publisher.publish(today + timedelta(1))
    assert [(d.kind, len(lines_of(d.payload))) for d in report.drafts] == [("result-batch", len(extra))]
    assert set(states(city)) == {"accepted"}


def test_only_changed_rows_are_corrected(city: City, today: date) -> None:
    city.start(ROWS)
    first = city.publisher.publish(today)
    assert city.change("warning", lambda row: row["entity_id"] == "e3", score=0.75) == 10
    report = city.publisher.publish(today)
    (draft,) = report.drafts
    assert draft.kind == "correction"
    assert len(lines_of(draft.payload)) == 10
    (target,) = parse(draft.statement)["predicate"]["supersedes"]
    assert target["index"] == first.drafts[0].index
    assert len(target["record_ids"]) == 10
    assert set(states(city)) == {"accepted"}
    scores = [row["score"] for row in current(city, ROWS).values()]
    assert sorted(set(scores)) == ["0.5000", "0.7500"]
    assert scores.count("0.7500") == 10
    assert kinds(city.publisher.publish(today)) == []


def test_many_changed_rows_are_corrected_in_statements_that_fit(city: City, today: date) -> None:
    city.start(ROWS)
    city.publisher.publish(today)
    city.change("warning", lambda row: True, score=0.25)
    report = city.publisher.publish(today)
    assert kinds(report) == ["correction", "correction"]
    assert set(states(city)) == {"accepted"}
    assert {row["score"] for row in current(city, ROWS).values()} == {"0.2500"}


def test_a_warning_withdrawn_in_the_hub_is_retracted_and_may_come_back(city: City, today: date) -> None:
    city.start(ROWS)
    city.publisher.publish(today)
    before = city.storage.rows("warning")
    city.remove("warning", lambda row: row["entity_id"] == "e0" and row["day"] > today - timedelta(9))
    report = city.publisher.publish(today)
    gone = len(before) - len(city.storage.rows("warning"))
    assert kinds(report) == ["retraction"]
    assert len(current(city, ROWS)) == len(before) - gone
    assert set(states(city)) == {"accepted"}
    city.storage.put("warning", before)
    assert kinds(city.publisher.publish(today)) == ["result-batch"]
    assert len(current(city, ROWS)) == len(before)


def replicated(sync_parts: ModuleType, world: ModuleType, city: City, folder: Path) -> dict[str, str]:
    """Record id → its score in the replica of a grantee."""
    home = sync_parts.Subscriber(world, folder)
    (merged,) = home.take(city.submission())
    assert merged.code == "", merged
    return {r["record_id"]: f"{r['score']:.2f}" for r in home.rows("federated_warning") if r["state"] == "current"}


def test_a_corrected_warning_that_is_withdrawn_does_not_come_back_as_it_was(
    city: City, world: ModuleType, sync_parts: ModuleType, today: date, tmp_path: Path
) -> None:
    city.start(ROWS)
    city.publisher.publish(today)

    def of_one(row: dict[str, Any]) -> bool:
        return row["entity_id"] == "e0" and row["day"] > today - timedelta(9)

    for score in (0.75, 0.25):
        assert city.change("warning", of_one, score=score)
        assert kinds(city.publisher.publish(today)) == ["correction"]
    before = city.storage.rows("warning")
    gone = city.remove("warning", of_one)
    assert kinds(city.publisher.publish(today)) == ["retraction"]
    assert len(replicated(sync_parts, world, city, tmp_path / "a")) == 84 - gone
    assert kinds(city.publisher.publish(today)) == []
    city.storage.put("warning", before)
    assert kinds(city.publisher.publish(today)) == ["result-batch"]
    assert len(replicated(sync_parts, world, city, tmp_path / "b")) == 84


def test_a_correction_retracted_by_hand_gives_the_row_before_which_is_still_ours(
    city: City, world: ModuleType, sync_parts: ModuleType, today: date, tmp_path: Path
) -> None:
    city.start(ROWS)
    city.publisher.publish(today)
    city.change("warning", lambda row: row["entity_id"] == "e3", score=0.75)
    correction = city.publisher.publish(today).drafts[0]
    city.publisher.retract(today, correction.index, [], "更正有误 · the correction was wrong", "Order 809")
    assert set(replicated(sync_parts, world, city, tmp_path / "a").values()) == {"0.50"}
    assert kinds(city.publisher.publish(today)) == []
    city.remove("warning", lambda row: row["entity_id"] == "e3" and row["day"] > today - timedelta(9))
    assert kinds(city.publisher.publish(today)) == ["retraction"]
    left = len(city.storage.rows("warning"))
    assert len(replicated(sync_parts, world, city, tmp_path / "b")) == left
    city.change("warning", lambda row: row["entity_id"] == "e3", score=0.25)
    assert kinds(city.publisher.publish(today)) == ["correction"]
    assert "0.25" in replicated(sync_parts, world, city, tmp_path / "c").values()


def test_the_rest_of_a_batch_can_be_retracted_after_some_of_its_rows(city: City, today: date) -> None:
    city.start(ROWS)
    batch = city.publisher.publish(today).drafts[0]
    ids = [parse(line)["record_id"] for line in lines_of(batch.payload)][:3]
    city.publisher.retract(today, batch.index, ids, "核实有误 · found wrong", "Order 809")
    city.publisher.retract(today, batch.index, [], "全部有误 · all of it", "Order 809")
    assert current(city, ROWS) == {}
    with pytest.raises(InputError, match="retracted before"):
        city.publisher.retract(today, batch.index, [], "again", "Order 809")


def test_a_hub_that_lost_its_warnings_does_not_withdraw_them(city: City, today: date) -> None:
    city.start(ROWS)
    city.publisher.publish(today)
    city.storage.put("warning", [])
    report = city.publisher.publish(today)
    assert kinds(report) == []
    assert "84 of 84 shared rows are gone" in report.refused[0].reason


def test_what_was_retracted_by_hand_stays_away_until_it_changes(city: City, today: date) -> None:
    city.start(ROWS)
    batch = city.publisher.publish(today).drafts[0]
    ids = [parse(line)["record_id"] for line in lines_of(batch.payload)][:3]
    city.publisher.retract(today, batch.index, ids, "核实有误 · found wrong", "Order 809")
    assert ids[0] not in current(city, ROWS)
    assert kinds(city.publisher.publish(today)) == []
    with pytest.raises(InputError, match="does not stand"):
        city.publisher.retract(today, batch.index, ids[:1], "again", "Order 809")
    city.change("warning", lambda row: True, score=0.75)
    assert "result-batch" in kinds(city.publisher.publish(today))
    assert len(current(city, ROWS)) == 84
    assert set(states(city)) == {"accepted"}


def test_a_redacted_payload_is_gone_and_the_history_still_verifies(city: City, today: date) -> None:
    city.start(ROWS, OUTCOMES)
    report = city.publisher.publish(today)
    index = next(d.index for d in report.drafts if d.stream == ROWS)
    digest = next(iter(report.drafts[0].blobs))
    assert city.settings.blob(digest).exists()
    city.publisher.redact(today, index, "个人信息 · personal data", "个人信息保护法 47")
    assert not city.settings.blob(digest).exists()
    verdict = city.verified()
    assert verdict.verdict.state is State.ACCEPTED
    found = {entry.index: (str(entry.verdict.state), entry.verdict.code) for entry in verdict.entries}
    assert found.pop(index) == ("pending", "E-MISSING")
    assert set(found.values()) == {("accepted", None)}
    city.change("warning", lambda row: True, score=0.75)
    assert kinds(city.publisher.publish(today)) == [], "what was redacted is not sent again as a correction"
    with pytest.raises(InputError, match="no payload"):
        city.publisher.redact(today, index, "again", "again")
    assert city.publisher.self_check()["payloads"] == ""


def test_a_dispute_stands_in_our_log_about_another(city: City, today: date) -> None:
    city.start(ROWS)
    report = city.publisher.dispute(
        today, "fed.example/440100/r1", 7, "ab" * 32, ["r-1"], "企业在我市 · it is in our city"
    )
    assert kinds(report) == ["dispute"]
    assert set(states(city)) == {"accepted"}
    with pytest.raises(InputError, match="own log"):
        city.publisher.dispute(today, city.settings.origin, 0, "ab" * 32, [], "us")


def test_a_published_model_is_named_by_the_batches_of_its_warnings(city: City, today: date) -> None:
    city.start(ROWS)
    counts = [Counts("43", 7, 5, 1)]
    period = ("2026-10-01", "2027-01-01")
    passport = passport_bytes("m05-night-only", "1.2", 0.4, period, ("夜间偷产", "works at night only"), counts)
    model = city.publisher.publish_model(today, passport, "Apache-2.0").drafts[0]
    batch = city.publisher.publish(today).drafts[0]
    named = parse(batch.statement)["predicate"]["model"]
    assert named == parse(model.statement)["predicate"]["model"]
    assert city.settings.blob(named["digest"]).read_bytes() == passport
    assert set(states(city)) == {"accepted"}
    with pytest.raises(InputError, match="published already"):
        city.publisher.publish_model(today, passport, "Apache-2.0")


def test_conditional_rows_wait_for_a_grant(city: City, today: date) -> None:
    city.use(ROWS)
    city.publisher.begin()
    report = city.publisher.publish(today)
    assert kinds(report) == ["share-policy"]
    assert "nobody holds a grant" in report.refused[0].reason
    city.publisher.log_grant(today, city.grant(ROWS))
    assert kinds(city.publisher.publish(today)) == ["result-batch"]
    assert set(states(city)) == {"accepted"}
    assert set(states(city, reader="430200")) == {"accepted", "soft-fail"}, "a stranger to the grant"


def test_a_grant_stands_in_the_logs_of_both(city: City, world: ModuleType, today: date, tmp_path: Path) -> None:
    city.use(ROWS)
    city.publisher.begin()
    city.publisher.publish(today)
    envelope = city.grant(ROWS)
    consumer = type(city)(world, tmp_path / "consumer")
    reader = world.READER
    consumer.settings = replace(
        consumer.settings,
        origin=f"fed.example/{reader}/r1",
        log_key=world.signer(f"log-{reader}"),
        publisher_keys=[world.signer(f"publisher-{reader}")],
    )
    consumer.publisher.begin()
    (accepted,) = consumer.publisher.log_grant(today, envelope).drafts
    said = parse(accepted.statement)["predicate"]
    assert (said["grant"], said["assigner"]) == (f"grant-{ROWS}", world.HUB)
    assert said["envelope"] == sha256(envelope).hexdigest()
    assert set(states(consumer)) == {"accepted"}
    stranger = type(city)(world, tmp_path / "stranger")
    stranger.settings = replace(stranger.settings, origin="fed.example/430100/r1")
    stranger.publisher.begin()
    with pytest.raises(InputError, match="of or for this hub"):
        stranger.publisher.log_grant(today, envelope)


def test_hostile_second_signature_of_a_stranger_is_no_grant(city: City, world: ModuleType, today: date) -> None:
    city.use(ROWS)
    city.publisher.begin()
    city.publisher.publish(today)
    hubs = {hub: world.hub_file(hub) for hub in (world.HUB, world.READER, "430100")}
    builder = world.TrustBuilder(hubs=hubs)
    city.settings = replace(city.settings, trust=load_trust(builder.bootstrap(), builder.build(), world.NOW))
    good = city.grant(ROWS)
    stranger = [world.signer(f"publisher-{hub}") for hub in (world.HUB, "430100")]
    bad = seal(PAYLOAD_TYPE, open_envelope(good).payload, stranger)
    with pytest.raises(InputError, match=f"is not signed by hub {world.READER}"):
        city.publisher.log_grant(today, bad)
    assert kinds(city.publisher.log_grant(today, good)) == ["grant"]


def test_a_policy_never_says_two_things_under_one_version(city: City, today: date) -> None:
    city.start("outcome-counts")
    city.use("outcome-counts", purpose="other")
    assert "without a new version" in city.publisher.publish(today).refused[0].reason
    city.use("outcome-counts", disclosure={"rule": "p-percent", "k": 5, "p": 20})
    assert "without a new version" in city.publisher.publish(today).refused[0].reason
    city.use("outcome-counts", purpose="other", version=2)
    assert kinds(city.publisher.publish(today)) == ["share-policy"]
    city.use("outcome-counts")
    assert "version 1 after 2" in city.publisher.publish(today).refused[0].reason
    assert set(states(city)) == {"accepted"}


def test_one_refused_policy_does_not_stop_the_others(city: City, today: date) -> None:
    city.use("warning-counts", "outcome-counts")
    city.publisher.begin()
    city.settings = replace(city.settings, policies=(("broken", b"{}"), *city.settings.policies))
    report = city.publisher.publish(today)
    assert kinds(report).count("statistic-batch") == 6
    assert [refusal.policy for refusal in report.refused] == ["broken"]


def test_a_dry_run_shows_every_row_and_writes_nothing(city: City, today: date) -> None:
    city.start(*ALL)

    def disk() -> dict[Path, bytes]:
        return {p: p.read_bytes() for p in city.folder.rglob("*") if p.is_file()}

    before = disk()
    shown = city.publisher.publish(today, dry_run=True)
    assert disk() == before
    assert shown.witnessed is None
    told = shown.as_dict(rows=True)["statements"]
    sent = city.publisher.publish(today).as_dict(rows=True)["statements"]
    assert told == sent
    assert sum(len(one["content"]) for one in told) == 126


def test_two_suites_of_keys_sign_each_statement(city: City, world: ModuleType, today: date) -> None:
    city.settings = replace(city.settings, publisher_keys=[world.signer("publisher-430200"), world.signer("second")])
    city.start("outcome-counts")
    assert set(states(city)) == {"accepted"}
    entry = city.log().entries(next(iter_bundles(city)))[0]
    assert len(open_envelope(entry).signatures) == 2


def iter_bundles(city: City) -> Iterator[Any]:
    """Names of the log's entry bundles."""
    return bundles_of(city.log().size)


def test_a_closed_shard_takes_nothing_more(city: City, today: date) -> None:
    city.start(ROWS)
    city.publisher.close_shard(today, "fed.example/430200/r2", "密钥轮换 · new epoch")
    assert set(states(city)) == {"accepted"}
    with pytest.raises(ConfigError, match="is closed"):
        city.publisher.publish(today)


def test_a_batch_states_its_coverage(city: City, today: date) -> None:
    city.start(ROWS)
    (draft,) = city.publisher.publish(today).drafts
    inputs = parse(draft.statement)["predicate"]["inputs"]
    assert inputs["expected"] == 84
    assert inputs["present"] == 83, "one reading never came"
    assert inputs["late"] == 0


def test_readings_that_came_late_are_counted_in_the_correction(city: City, today: date) -> None:
    city.start(ROWS)
    city.publisher.publish(today)
    day = today - timedelta(2)
    curves = city.storage.rows("load_curve")
    city.storage.put("load_curve", [*curves, {**curves[0], "metering_point_id": "m1", "day": day}])
    assert city.change("warning", lambda row: row["entity_id"] == "e1" and row["day"] == day, score=0.9) == 1
    (draft,) = city.publisher.publish(today).drafts
    assert draft.kind == "correction"
    assert parse(draft.statement)["predicate"]["inputs"] | {"commitment": ""} == {
        "commitment": "",
        "expected": 1,
        "present": 1,
        "late": 1,
    }


def test_an_inspector_sees_the_readings_behind_one_warning(city: City, today: date) -> None:
    city.start(ROWS)
    (draft,) = city.publisher.publish(today).drafts
    row = next(r for r in map(parse, lines_of(draft.payload)) if r["enterprise"] == "91430100MA4L16J05X")
    opening = city.publisher.open_commitment(row["record_id"])
    record_id, records = check_commitment(opening)
    assert record_id == row["record_id"]
    assert [(r["metering_point_id"], r["day"]) for r in records] == [("m5", row["day"])]
    stored = next(
        r
        for r in city.storage.rows("load_curve")
        if r["metering_point_id"] == "m5" and r["day"].isoformat() == row["day"]
    )
    assert [None if v is None else float(v) for v in records[0]["kw"]] == stored["kw"]


def test_a_lost_commitment_is_made_again_from_the_same_readings(city: City, today: date) -> None:
    city.start(ROWS)
    (draft,) = city.publisher.publish(today).drafts
    record = parse(lines_of(draft.payload)[7])["record_id"]
    kept = city.publisher.open_commitment(record)
    file = city.settings.private / "commitments" / f"{draft.index}.json"
    assert file.stat().st_mode & 0o077 == 0
    file.unlink()
    assert city.publisher.open_commitment(record) == kept
    city.change("load_curve", lambda row: row["metering_point_id"] == "m2", kwh=1.0)
    with pytest.raises(InputError, match="do not give it again"):
        city.publisher.open_commitment(record)


def test_hostile_openings_are_refused(city: City, today: date) -> None:
    city.start(ROWS)
    (draft,) = city.publisher.publish(today).drafts
    ids = [parse(line)["record_id"] for line in lines_of(draft.payload)]
    good = json.loads(city.publisher.open_commitment(ids[5]))
    other = json.loads(city.publisher.open_commitment(ids[6]))
    record = json.loads(base64.b64decode(good["opened"][0]["record"]))
    record["kw"][40] = "1"
    forged = base64.b64encode(json.dumps(record).encode()).decode()
    changes: dict[str, Callable[[Any], None]] = {
        "another reading": lambda d: d["opened"][0].update(record=forged),
        "another salt": lambda d: d["opened"][0].update(salt="00" * 32),
        "another place": lambda d: d["opened"][0].update(index=d["opened"][0]["index"] ^ 1),
        "another record": lambda d: d.update(record_id=ids[6]),
        "another row": lambda d: d["proof"].update(row=other["proof"]["row"]),
        "nothing opened": lambda d: d.update(opened=[]),
        "no opening": lambda d: d.update(kind="x"),
        "no proof": lambda d: d.pop("proof"),
    }
    for name, change in changes.items():
        document = json.loads(json.dumps(good))
        change(document)
        assert document != good, name
        with pytest.raises(InputError):
            check_commitment(json.dumps(document).encode())
    city.change("load_curve", lambda r: True, kw=[5.0] * 96)
    with pytest.raises(InputError, match="not those that were committed"):
        city.publisher.open_commitment(ids[5])


def test_hostile_opening_of_another_enterprises_readings(city: City, today: date) -> None:
    """Readings of one enterprise do not pass for those behind another's warning, though both are committed to."""
    city.start(ROWS)
    (draft,) = city.publisher.publish(today).drafts
    rows = [parse(line) for line in lines_of(draft.payload)]
    mine = next(r for r in rows if r["enterprise"].endswith("05X"))
    theirs = next(r for r in rows if r["enterprise"].endswith("04X"))
    opening, other = (json.loads(city.publisher.open_commitment(r["record_id"])) for r in (mine, theirs))
    opening["opened"] = other["opened"]
    with pytest.raises(InputError, match="not behind"):
        check_commitment(json.dumps(opening).encode())


def test_the_budget_of_a_recipient_ends(city: City, today: date) -> None:
    city.start(ROWS, OUTCOMES)
    city.settings = replace(city.settings, gate=EgressGate(GateRules(budget_rows=100)))
    report = city.publisher.publish(today)
    assert [d.stream for d in report.drafts] == [ROWS]
    assert "release budget of 440100 is used up" in report.refused[0].reason
    assert report.refused[0].stream == OUTCOMES


def test_a_mirror_gets_what_is_open_and_what_its_hub_was_granted(city: City, world: ModuleType, today: date) -> None:
    city.witnesses[0].hub = world.READER
    city.start(ROWS, "outcome-counts")
    city.publisher.publish(today)
    ledger = city.publisher.ledger()
    rows = {d for e in ledger.entries if e.stream == ROWS for d in e.blobs}
    counts = {d for e in ledger.entries if e.stream == "outcome-counts" for d in e.blobs}
    assert set(city.witnesses[0].blobs) == rows | counts
    assert set(city.witnesses[1].blobs) == counts


STEPS = ("publish", "correct", "withdraw", "retract", "dispute", "day", "policy")


@settings(max_examples=8, deadline=None)
@given(steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=6))
def test_every_stream_is_numbered_without_a_gap(
    tmp_path_factory: pytest.TempPathFactory, fresh: Callable[[Path], City], today: date, steps: list[str]
) -> None:
    city = fresh(tmp_path_factory.mktemp("city"))
    city.start(ROWS)
    day = today
    for number, step in enumerate(steps):
        city.clock.at += timedelta(seconds=60)
        if step == "correct":
            city.change("warning", lambda row, n=number: row["entity_id"] == f"e{n}", score=0.1 + number / 100)
        elif step == "withdraw":
            city.storage.put("warning", city.storage.rows("warning")[1:])
        elif step == "retract":
            for id, place in list(city.publisher.ledger().records.get(ROWS, {}).items())[:1]:
                city.publisher.retract(day, place.index, [id], "wrong", "law")
            continue
        elif step == "dispute":
            city.publisher.dispute(day, "fed.example/440100/r1", number, "cd" * 32, [], "ours")
            continue
        elif step == "day":
            day += timedelta(1)
        elif step == "policy":
            city.use(ROWS, "outcome-counts")
        city.publisher.publish(day)
    last: dict[str, tuple[int, Any]] = {}
    for entry in [entry for bundle in iter_bundles(city) for entry in city.log().entries(bundle)]:
        payload = open_envelope(entry).payload
        head = read_statement(payload).predicate
        count, digest = last.get(head["stream"], (0, None))
        assert (head["stream_seq"], head["prev_statement_digest"]) == (count + 1, digest)
        last[head["stream"]] = (count + 1, statement_digest(payload))
    assert set(states(city)) == {"accepted"}
