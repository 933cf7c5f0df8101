"""in-toto Statement v1 with our predicates: what a hub says about digests, never the data itself."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any

import msgspec

from dianhuan_federation.core._json import MAX_INTEGER, canonical, parse
from dianhuan_sdk import InputError

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_PREFIX = "urn:dianhuan:federation:"
MAX_STATEMENT = 8192

Hex32 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
Text = Annotated[str, msgspec.Meta(max_length=512)]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Ref(_Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A named, versioned thing and the digest of its definition."""

    id: Name
    version: Name
    digest: Hex32


class PolicyRef(_Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The share policy under which a batch left the hub: id and digest of the policy statement."""

    id: Name
    digest: Hex32


class Period(_Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The time the rows are about: [start, end)."""

    start: Instant
    end: Instant


class Encoding(_Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One transport form of the payload: digests and size of the encoded bytes, and the size before encoding."""

    media_type: Name
    digest: dict[str, str]
    size: Count
    uncompressed_size: Count


class Disclosure(_Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Disclosure control applied: rule, its parameters, rows suppressed, and how exact counts are."""

    rule: Name
    k: Count
    p: Count
    suppressed: Count
    precision: Name


class Inputs(_Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Salted Merkle root over digests of the raw records used, records expected and present, and late ones."""

    commitment: Hex32 | None
    expected: Count
    present: Count
    late: Count


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What every predicate carries: its log and its place in a stream. Further fields are another kind's business."""

    origin: Name
    stream: Name
    stream_seq: Count
    prev_statement_digest: Hex32 | None
    issued_at: Instant


class _Predicate(Head, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class ResultBatch(_Predicate, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Warnings or outcomes of cases."""

    schema: Ref
    period: Period
    rows: Count
    row_root: Hex32
    encodings: Annotated[list[Encoding], msgspec.Meta(min_length=1, max_length=8)]
    model: Ref | None
    standard: Ref | None
    policy: PolicyRef
    disclosure: Disclosure
    inputs: Inputs
    software: Ref


class StatisticBatch(ResultBatch, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Aggregates."""


class Target(_Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An earlier statement of the same log, and those of its rows that are meant; none = all."""

    index: Count
    digest: Hex32
    record_ids: list[Name]


class Correction(ResultBatch, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A batch that replaces earlier rows."""

    supersedes: Annotated[list[Target], msgspec.Meta(min_length=1, max_length=64)]
    reason: Text


class Retraction(_Predicate, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Earlier statements (batches, policies, grants) no longer hold; they stay in the log."""

    targets: Annotated[list[Target], msgspec.Meta(min_length=1, max_length=64)]
    reason: Text
    legal_basis: Text


class Redaction(_Predicate, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The payloads of earlier batches are to be dropped everywhere; leaf, digests and row root stay."""

    targets: Annotated[list[Target], msgspec.Meta(min_length=1, max_length=64)]
    reason: Text
    legal_basis: Text


class SharePolicy(_Predicate, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What may leave in one stream, in the classes of State Council Order 809: 无条件, 有条件, 不予共享."""

    id: Name
    version: Count
    target: Name
    klass: Annotated[str, msgspec.Meta(pattern=r"\A(?:unconditional|conditional|withheld)\Z")] = msgspec.field(
        name="class"
    )
    purpose: Name
    onward: bool
    schema: Ref
    fields: list[Name]
    valid_from: Instant
    valid_until: Instant


class Grant(_Predicate, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An agreement under a policy; it counts only with the assignee's signature beside the assigner's."""

    id: Name
    policy: PolicyRef
    assigner: Name
    assignee: Name
    purpose: Name
    valid_from: Instant
    valid_until: Instant


class GrantAcceptance(_Predicate, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The consumer's half of a grant, in the consumer's own log: that it signed this envelope. It grants nothing."""

    grant: Name
    assigner: Name
    policy: PolicyRef
    purpose: Name
    envelope: Hex32
    valid_from: Instant
    valid_until: Instant


class Dispute(_Predicate, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A party contests another origin's statement; it stands in the disputer's log and changes nothing there."""

    disputed: Name
    target: Target
    reason: Text


class ModelDefinition(_Predicate, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A model with the digests of its files."""

    model: Ref
    files: Annotated[list[Encoding], msgspec.Meta(min_length=1, max_length=32)]
    license: Name


class Heartbeat(_Predicate, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The hub is alive and had nothing to say, so that silence differs from nothing new."""

    streams: Count


class ShardClose(_Predicate, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The log ends here and goes on under another origin."""

    successor: Name
    reason: Text


_MODELS: dict[str, type[Head]] = {
    "result-batch": ResultBatch,
    "statistic-batch": StatisticBatch,
    "correction": Correction,
    "retraction": Retraction,
    "redaction": Redaction,
    "share-policy": SharePolicy,
    "grant": Grant,
    "grant-acceptance": GrantAcceptance,
    "dispute": Dispute,
    "model-definition": ModelDefinition,
    "heartbeat": Heartbeat,
    "shard-close": ShardClose,
}

KINDS: dict[str, type[Head]] = {f"{PREDICATE_PREFIX}{kind}:v1": model for kind, model in _MODELS.items()}
"""Predicate model by predicate type."""

_TYPES = {model: uri for uri, model in KINDS.items()}


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A resource descriptor of in-toto; only digests count."""

    digest: Annotated[dict[str, str], msgspec.Meta(min_length=1)]
    name: str = ""


class Statement(msgspec.Struct, frozen=True, kw_only=True, rename={"kind": "_type", "predicate_type": "predicateType"}):
    """An in-toto Statement v1 whose predicate is not interpreted yet."""

    kind: str
    subject: Annotated[list[Subject], msgspec.Meta(min_length=1, max_length=8)]
    predicate_type: str
    predicate: dict[str, Any]


def build_statement(predicate: Head, payload: bytes | None = None) -> bytes:
    """Canonical statement bytes.

    The subject is the uncompressed payload; a statement without one names its own canonical predicate.

    Args:
        predicate: one of the predicate models.
        payload: the uncompressed rows of a batch.

    Raises:
        InputError: longer than 8 KiB.
    """
    body = msgspec.to_builtins(predicate)
    subject = payload if payload is not None else canonical(body)
    data = canonical(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": "payload" if payload is not None else "_", "digest": digests(subject)}],
            "predicateType": _TYPES[type(predicate)],
            "predicate": body,
        }
    )
    if len(data) > MAX_STATEMENT:
        raise InputError(f"a statement of {len(data)} bytes", expected=f"at most {MAX_STATEMENT}")
    return data


def digests(data: bytes) -> dict[str, str]:
    """Digest set of some bytes."""
    return {"sha256": sha256(data).hexdigest()}


def read_statement(data: bytes) -> Statement:
    """Parse the statement layer.

    Raises:
        InputError: not a Statement v1, or longer than 8 KiB.
    """
    if len(data) > MAX_STATEMENT:
        raise InputError(f"a statement of {len(data)} bytes", expected=f"at most {MAX_STATEMENT}")
    try:
        statement = msgspec.convert(parse(data), Statement, strict=True)
    except msgspec.ValidationError as error:
        raise InputError(f"not an in-toto statement: {error}") from None
    if statement.kind != STATEMENT_TYPE:
        raise InputError(f"statement type {statement.kind[:80]!r}", expected=STATEMENT_TYPE)
    return statement


def read_head(statement: Statement) -> Head:
    """The stream fields of any kind, known or not; `InputError` where they are missing."""
    return _convert(statement.predicate, Head)


def read_predicate(statement: Statement) -> Head:
    """The predicate, typed.

    Raises:
        InputError: kind or version not known here, or fields that do not fit it.
    """
    model = KINDS.get(statement.predicate_type)
    if model is None:
        raise InputError(f"predicate type {statement.predicate_type[:80]!r} is not known here")
    return _convert(statement.predicate, model)


def _convert(value: object, model: type[Head]) -> Head:
    try:
        return msgspec.convert(value, model, strict=True)
    except msgspec.ValidationError as error:
        raise InputError(f"a predicate that does not fit its kind: {error}") from None


def statement_digest(data: bytes) -> str:
    """By which the next statement of a stream names this one: SHA-256 in hex over the statement bytes."""
    return sha256(data).hexdigest()
