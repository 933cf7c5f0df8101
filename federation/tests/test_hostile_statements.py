"""Hostile statements, policies and grants: each with the step, code and state it must end in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from types import ModuleType
from typing import Any

import pytest

from dianhuan_federation.core import (
    LogState,
    Verdict,
    canonical,
)
from dianhuan_sdk import InputError

World = ModuleType
Case = tuple[str, Callable[[World], Verdict]]


def _statement(w: World, kind: str = "heartbeat", fields: dict[str, Any] | None = None, **head: Any) -> Verdict:
    log = w.Log()
    log.add(log.statement(kind, "alive", {"streams": 1} if fields is None else fields, **head))
    log.publish()
    return w.entry(log, 0)


def _second(w: World, **head: Any) -> Verdict:
    log = w.Log()
    log.add(log.statement("heartbeat", "alive", {"streams": 1}))
    log.add(log.statement("heartbeat", "alive", {"streams": 1}, **head))
    log.publish()
    return w.entry(log, 1)


def _repeated(w: World) -> Verdict:
    log = w.Log()
    log.add(log.statement("heartbeat", "alive", {"streams": 1}))
    log.add_raw(log.entries[0])
    log.publish()
    return w.entry(log, 1)


def _from_another_log(w: World) -> Verdict:
    other = w.Log(origin="fed.example/430200/r2")
    statement = other.statement("heartbeat", "alive", {"streams": 1})
    log = w.Log()
    log.add(statement)
    log.publish()
    return w.entry(log, 0)


def _layer(
    w: World, change: Callable[[dict[str, Any]], dict[str, Any]], payload_type: str = "application/vnd.in-toto+json"
) -> Verdict:
    log = w.Log()
    document = json.loads(log.statement("heartbeat", "alive", {"streams": 1}))
    log.add(canonical(change(document)), payload_type=payload_type)
    log.publish()
    return w.entry(log, 0)


def _batch(
    w: World,
    index: int = 1,
    before: Callable[[Any], None] | None = None,
    policy: dict[str, Any] | None = None,
    **fields: Any,
) -> Verdict:
    log = w.Log()
    log.add_policy(**(policy or {}))
    if before:
        before(log)
    log.add_batch([w.warning_row(1)], **fields)
    log.publish()
    return w.entry(log, len(log.entries) - 1)


STATEMENTS: dict[str, Case] = {
    "first of a stream numbered two": ("V7 E-SEQ rejected", lambda w: _statement(w, stream_seq=2)),
    "first of a stream with a predecessor": (
        "V7 E-SEQ rejected",
        lambda w: _statement(w, prev_statement_digest="0" * 64),
    ),
    "a gap in a stream": ("V7 E-SEQ rejected", lambda w: _second(w, stream_seq=3)),
    "a number twice": ("V7 E-SEQ rejected", lambda w: _second(w, stream_seq=1)),
    "another predecessor": ("V7 E-SEQ rejected", lambda w: _second(w, prev_statement_digest="0" * 64)),
    "no predecessor": ("V7 E-SEQ rejected", lambda w: _second(w, prev_statement_digest=None)),
    "an entry replayed in its own log": ("V7 E-SEQ rejected", _repeated),
    "a statement replayed from another log": ("V7 E-SEQ rejected", _from_another_log),
    "a kind nobody knows": ("V7 E-UNKNOWN store-only", lambda w: _statement(w, "full-moon")),
    "a version nobody knows": ("V7 E-UNKNOWN store-only", lambda w: _statement(w, "heartbeat:v2")),
    "an unknown field": ("V7 E-UNKNOWN store-only", lambda w: _statement(w, fields={"streams": 1, "load_kw": 3})),
    "a missing field": ("V7 E-UNKNOWN store-only", lambda w: _statement(w, fields={})),
    "a text for a number": ("V7 E-UNKNOWN store-only", lambda w: _statement(w, fields={"streams": "1"})),
    "a negative count": ("V7 E-UNKNOWN store-only", lambda w: _statement(w, fields={"streams": -1})),
    "local time": ("V7 E-UNKNOWN store-only", lambda w: _statement(w, issued_at="2026-11-24T06:30:00")),
    "another statement type": (
        "V7 E-UNKNOWN store-only",
        lambda w: _layer(w, lambda d: {**d, "_type": "https://in-toto.io/Statement/v0.1"}),
    ),
    "no subject": ("V7 E-UNKNOWN store-only", lambda w: _layer(w, lambda d: {**d, "subject": []})),
    "a payload type signed but unknown": (
        "V7 E-UNKNOWN store-only",
        lambda w: _layer(w, lambda d: d, "application/vnd.dianhuan.bundle+json"),
    ),
    "a statement of 9 KiB": (
        "V7 E-UNKNOWN store-only",
        lambda w: _layer(w, lambda d: {**d, "padding": "x" * 9000}),
    ),
    "a row schema nobody knows": (
        "V7 E-UNKNOWN store-only",
        lambda w: _batch(w, schema={**w.schema_ref(), "id": "load-curve"}),
    ),
    "a row schema of another digest": (
        "V7 E-UNKNOWN store-only",
        lambda w: _batch(w, schema={**w.schema_ref(), "digest": "0" * 64}),
    ),
    "a batch without any encoding": ("V7 E-UNKNOWN store-only", lambda w: _batch(w, encodings=[])),
}


def _policy_after(w: World) -> Verdict:
    log = w.Log()
    statement = log.statement("share-policy", "policies", log.policy_fields())
    digest = sha256(statement).hexdigest()
    batch = {"policy": {"id": "warnings-to-all", "digest": digest}}
    from dianhuan_federation.core import WARNING_ROWS, encode_rows

    rows = encode_rows(WARNING_ROWS, [w.warning_row(1)])
    fields = {**log.batch_fields(rows.payload, 1, rows.root, policy=99), **batch}
    log.add(log.statement("result-batch", "warnings", fields, rows.payload))
    log.add(statement)
    log.publish()
    return w.entry(log, 0)


def _withdraw(log: Any, index: int) -> None:
    target = {"index": index, "digest": log.digests[index], "record_ids": []}
    fields = {"targets": [target], "reason": "withdrawn", "legal_basis": "Order 809 art. 26"}
    log.add(log.statement("retraction", "retractions", fields))


def _withdrawn_later(w: World) -> Verdict:
    log = w.Log()
    log.add_policy()
    log.add_batch([w.warning_row(1)])
    _withdraw(log, 0)
    log.publish()
    return w.entry(log, 1)


def _granted(
    w: World, signers: tuple[str, ...] | None = None, withdraw: bool = False, reader: str | None = None, **grant: Any
) -> Verdict:
    log = w.Log()
    log.add_policy(**{"class": "conditional"})
    log.add_grant(0, signers, **grant)
    log.add_batch([w.warning_row(1)])
    if withdraw:
        _withdraw(log, 1)
    log.publish()
    verifier = w.verifier() if reader is None else replace(w.verifier(), reader=reader)
    return w.entry(log, 2, verifier)


def _grant_itself(w: World, signers: tuple[str, ...]) -> Verdict:
    log = w.Log()
    log.add_policy(**{"class": "conditional"})
    log.add_grant(0, signers)
    log.publish()
    return w.entry(log, 1)


def _target(w: World, kind: str, **change: Any) -> Verdict:
    log = w.Log()
    log.add_policy()
    log.add_batch([w.warning_row(1)])
    target = {"index": 1, "digest": log.digests[1], "record_ids": ["w-000001"], **change}
    if kind == "correction":
        log.add_batch([w.warning_row(1)], kind=kind, supersedes=[target], reason="typing error")
    else:
        log.add(log.statement(kind, "r", {"targets": [target], "reason": "r", "legal_basis": "l"}))
    log.publish()
    return w.entry(log, 2)


POLICY: dict[str, Case] = {
    "a batch under no policy": ("V8 E-POLICY soft-fail", lambda w: _batch(w, policy={"target": "other"})),
    "a policy that comes after the batch": ("V8 E-POLICY soft-fail", _policy_after),
    "a policy id that is not the digest's": (
        "V8 E-POLICY soft-fail",
        lambda w: _batch(w, policy={"id": "something-else"}),
    ),
    "a policy that had ended": (
        "V8 E-POLICY soft-fail",
        lambda w: _batch(w, policy={"valid_until": w.iso(w.NOW - w.DAY)}),
    ),
    "a policy that had not begun": ("V8 E-POLICY soft-fail", lambda w: _batch(w, policy={"valid_from": w.iso(w.NOW)})),
    "a policy that withholds": ("V8 E-POLICY soft-fail", lambda w: _batch(w, policy={"class": "withheld"})),
    "a field outside the policy": (
        "V8 E-POLICY soft-fail",
        lambda w: _batch(w, policy={"fields": [c.name for c in _columns() if c.name != "enterprise_name"]}),
    ),
    "a policy for another row schema": (
        "V8 E-POLICY soft-fail",
        lambda w: _batch(w, policy={"schema": {**w.schema_ref(), "digest": "1" * 64}}),
    ),
    "the older version of a replaced policy": (
        "V8 E-POLICY soft-fail",
        lambda w: _batch(w, before=lambda log: log.add_policy(version=2)),
    ),
    "a policy withdrawn before the batch": (
        "V8 E-POLICY soft-fail",
        lambda w: _batch(w, before=lambda log: _withdraw(log, 0)),
    ),
    "a policy withdrawn after the batch": ("V8 E-POLICY soft-fail", _withdrawn_later),
    "a policy downgraded": (
        "V8 E-POLICY soft-fail",
        lambda w: _downgrade(w),
    ),
    "no grant under a conditional policy": (
        "V8 E-POLICY soft-fail",
        lambda w: _batch(w, policy={"class": "conditional"}),
    ),
    "a grant to somebody else": ("V8 E-POLICY soft-fail", lambda w: _granted(w, reader="110000")),
    "a grant for another purpose": ("V8 E-POLICY soft-fail", lambda w: _granted(w, purpose="marketing")),
    "a grant that had ended": ("V8 E-POLICY soft-fail", lambda w: _granted(w, valid_until=w.iso(w.NOW - w.DAY))),
    "a grant that had not begun": ("V8 E-POLICY soft-fail", lambda w: _granted(w, valid_from=w.iso(w.NOW))),
    "a grant withdrawn": ("V8 E-POLICY soft-fail", lambda w: _granted(w, withdraw=True)),
    "a grant that the assignee did not sign": (
        "V8 E-POLICY soft-fail",
        lambda w: _grant_itself(w, (f"publisher-{w.HUB}",)),
    ),
    "a batch under a grant that the assignee did not sign": (
        "V8 E-POLICY soft-fail",
        lambda w: _granted(w, (f"publisher-{w.HUB}",)),
    ),
    "a grant countersigned with the wrong role": (
        "V8 E-POLICY soft-fail",
        lambda w: _grant_itself(w, (f"publisher-{w.HUB}", f"transport-{w.READER}")),
    ),
    "a correction of an entry that comes later": ("V9 E-MISSING pending", lambda w: _target(w, "correction", index=7)),
    "a correction of another statement": (
        "V9 E-MISSING pending",
        lambda w: _target(w, "correction", digest="0" * 64),
    ),
    "a retraction of an entry that comes later": ("V9 E-MISSING pending", lambda w: _target(w, "retraction", index=2)),
    "a redaction of another statement": ("V9 E-MISSING pending", lambda w: _target(w, "redaction", index=0)),
}


def _columns() -> tuple[Any, ...]:
    from dianhuan_federation.core import WARNING_ROWS

    return WARNING_ROWS.columns


def _downgrade(w: World) -> Verdict:
    log = w.Log()
    log.add_policy(version=2)
    log.add_policy(version=1)
    log.publish()
    return w.entry(log, 1)


CASES = {**STATEMENTS, **POLICY}


@pytest.mark.parametrize("name", CASES)
def test_hostile_statement_ends_as_the_matrix_says(world: World, name: str) -> None:
    expected, build = CASES[name]
    verdict = build(world)
    assert f"{verdict.step or '-'} {verdict.code or '-'} {verdict.state}" == expected, verdict.detail


def test_an_unknown_kind_keeps_its_place_in_the_stream(world: World) -> None:
    log = world.Log()
    log.add(log.statement("heartbeat", "alive", {"streams": 1}))
    log.add(log.statement("heartbeat:v9", "alive", {"wishes": []}))
    log.add(log.statement("heartbeat", "alive", {"streams": 1}))
    log.publish()
    report = world.verifier().verify(log.submission())
    assert [e.verdict.code for e in report.entries] == [None, "E-UNKNOWN", None]


def test_a_conditional_policy_opens_to_its_grantee_and_to_an_auditor(world: World) -> None:
    assert _granted(world).code is None
    assert _granted(world, reader="").code is None


def test_a_stored_state_goes_on_where_it_stopped(world: World) -> None:
    log = world.Log()
    log.add_policy(**{"class": "conditional"})
    log.add_grant(0)
    log.add_batch([world.warning_row(1)])
    _withdraw(log, 2)
    log.publish()
    state = world.verifier().verify(log.submission()).state
    stored = state.encode()
    assert LogState.decode(stored) == state
    log.add_batch([world.warning_row(2)])
    log.publish(world.NOW - 60)
    report = world.verifier().verify(log.submission(), LogState.decode(stored))
    assert [e.verdict.code for e in report.entries] == [None]


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b"\xff", b'{"origin":"x","frontier":{"size":3,"hashes":[]}}'])
def test_hostile_damage_to_a_stored_state_is_no_empty_state(damage: bytes) -> None:
    with pytest.raises(InputError):
        LogState.decode(damage)
