"""From a verifier's answer about one entry to its row of `federated_statement`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from dianhuan_federation.core import (
    ACCEPTED,
    MEDIA_TYPES,
    PARQUET,
    Code,
    Correction,
    Dispute,
    EntryResult,
    Hub,
    ModelDefinition,
    Redaction,
    Report,
    ResultBatch,
    Retraction,
    State,
    Step,
    Target,
    Verdict,
    leaf_hash,
    open_envelope,
    read_predicate,
    read_statement,
    statement_digest,
)
from dianhuan_sdk import InputError

STATES: Mapping[State, str] = {
    State.ACCEPTED: "ACCEPTED",
    State.PENDING: "PENDING",
    State.SOFT_FAIL: "SOFT_FAIL",
    State.STORE_ONLY: "STORE_ONLY",
    State.QUARANTINED: "PENDING",
    State.REJECTED: "REJECTED",
}
REDACTED = "redacted: the payload was dropped, leaf and row root remain"


def text_list(values: Iterable[object]) -> str:
    """A JSON list, as columns of several values hold it."""
    return msgspec.json.encode(list(values)).decode()


def instant(seconds: int | None) -> datetime | None:
    """POSIX seconds as an instant."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def read_entry(entry: bytes) -> tuple[str, EntryResult] | None:
    """Statement digest and contents of an entry, judged by nobody; None where it cannot be read."""
    try:
        payload = open_envelope(entry).payload
        statement = read_statement(payload)
        predicate = read_predicate(statement)
    except InputError:
        return None
    result = EntryResult(
        0,
        leaf_hash(entry),
        ACCEPTED,
        entry,
        kind=statement.predicate_type,
        predicate=predicate,
        subject=statement.subject[0].digest,
    )
    return statement_digest(payload), result


def with_contents(result: EntryResult) -> EntryResult:
    """The answer with what the statement says, also where a failed signature kept the verifier from saying so."""
    if result.predicate is not None:
        return result
    found = read_entry(result.entry)
    if found is None:
        return result
    return replace(result, kind=found[1].kind, predicate=found[1].predicate, subject=found[1].subject)


READ_HERE = (*MEDIA_TYPES, PARQUET)
"""Encodings that are taken, best first; Parquet is opened in a child process only."""


def wanted_blobs(result: EntryResult) -> list[tuple[str, int]]:
    """The payloads that a statement names: (SHA-256, size) in the forms that are read here, best first; one will do."""
    said = result.predicate
    if isinstance(said, ResultBatch):
        known = [e for e in said.encodings if e.media_type in READ_HERE]
        known.sort(key=lambda e: READ_HERE.index(e.media_type))
    elif isinstance(said, ModelDefinition):
        known = said.passports
    else:
        return []
    return [(e.digest["sha256"], e.size) for e in known if "sha256" in e.digest]


Covering = Callable[[int], tuple[int, str]]
"""Log index → size and witnesses (a JSON list) of the head under which the entry counts."""


def covering(report: Report) -> Covering:
    """By an accepted report: the smallest of its heads that covers the entry."""
    names = {head.head.size: text_list(sorted(head.times)) for head in reversed(report.heads)}
    sizes = sorted(names)

    def head_of(index: int) -> tuple[int, str]:
        size = sizes[min(bisect_right(sizes, index), len(sizes) - 1)]
        return size, names[size]

    return head_of


def statement_row(
    result: EntryResult, origin: str, hub: Hub, digest: str | None, head: tuple[int, str], blobs: Iterable[str]
) -> dict[str, Any]:
    """A row of `federated_statement`.

    Args:
        result: the answer, with its contents.
        origin: the log.
        hub: whose log it is.
        digest: statement digest, where the statement took its place in a stream.
        head: size and witnesses of the head that covers it.
        blobs: names of the payloads that are kept.
    """
    said, batch = result.predicate, result.predicate if isinstance(result.predicate, ResultBatch) else None
    publishers = hub.role("publisher")
    model = said.model if isinstance(said, (ResultBatch, ModelDefinition)) else None
    targets = targets_of(result)
    return {
        "origin": origin,
        "index": result.index,
        "hub": hub.id,
        "province": hub.id[:2],
        "kind": result.kind,
        "stream": None if said is None else said.stream,
        "stream_seq": None if said is None else said.stream_seq,
        "leaf_hash": result.leaf.hex(),
        "statement_digest": digest,
        "checkpoint_size": head[0],
        "witnesses": head[1],
        "witnessed_at": instant(result.witnessed_at),
        "key_ids": text_list(sorted(result.keys)),
        "suites": text_list(sorted({publishers[k].key.suite for k in result.keys if k in publishers})),
        "issued_at": None if said is None else said.issued_at,
        "model_id": None if model is None else model.id,
        "model_version": None if model is None else model.version,
        "policy_id": None if batch is None else batch.policy.id,
        "schema_id": None if batch is None else batch.schema.id,
        "schema_version": None if batch is None else batch.schema.version,
        "period_start": None if batch is None else batch.period.start,
        "period_end": None if batch is None else batch.period.end,
        "rows": None if batch is None else batch.rows,
        "payload_sha256": result.subject.get("sha256") if batch is not None else None,
        "blobs": text_list(blobs),
        "targets": None if not targets else text_list(targets),
        "reason": getattr(said, "reason", None),
        **verdict_columns(result.verdict),
    }


def verdict_columns(verdict: Verdict) -> dict[str, str]:
    """State, code and words of a verdict."""
    return {
        "state": STATES[verdict.state],
        "code": str(verdict.code) if verdict.code else "",
        "detail": verdict.detail,
    }


def targets_of(result: EntryResult) -> list[Target]:
    """The statements that a correction, retraction, redaction or dispute is about."""
    said = result.predicate
    if isinstance(said, Correction):
        return said.supersedes
    if isinstance(said, (Retraction, Redaction)):
        return said.targets
    return [said.target] if isinstance(said, Dispute) else []


def pending_result(row: Mapping[str, Any], entry: bytes) -> EntryResult | None:
    """The verifier's earlier answer about a statement that waits, out of its row and its entry."""
    found, at = read_entry(entry), row["witnessed_at"]
    if found is None or at is None:
        return None
    keys = frozenset(msgspec.json.decode(row["key_ids"], type=list[str]))
    verdict = Verdict(State.PENDING, Step.V9, Code.MISSING, row["detail"] or "")
    return replace(found[1], index=row["index"], witnessed_at=int(at.timestamp()), keys=keys, verdict=verdict)
