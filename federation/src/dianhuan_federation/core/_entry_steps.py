"""V6 to V8: who signed an entry, what it says, and whether it was allowed to be shared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dianhuan_federation.core._dsse import Envelope, open_envelope
from dianhuan_federation.core._hubs import Hub
from dianhuan_federation.core._log_steps import Witnessed
from dianhuan_federation.core._schema import RECORD_ID, Schemas
from dianhuan_federation.core._state import PolicyBook
from dianhuan_federation.core._statements import (
    PAYLOAD_TYPE,
    Grant,
    Head,
    ResultBatch,
    Retraction,
    SharePolicy,
    Statement,
    read_head,
    read_predicate,
    read_statement,
    statement_digest,
)
from dianhuan_federation.core._trust import Trust
from dianhuan_federation.core._verdicts import Code, Refused, State, Step
from dianhuan_sdk import InputError


@dataclass(frozen=True, slots=True)
class SignedEntry:
    """An entry with the publisher keys whose signatures count, and the witness time at which they do."""

    envelope: Envelope
    keys: frozenset[str]
    time: int


def v6_envelope(entry: bytes) -> Envelope:
    """V6, first half: the leaf is a DSSE envelope.

    Raises:
        Refused: `E-SIG`.
    """
    try:
        return open_envelope(entry)
    except InputError as error:
        raise Refused(Step.V6, Code.SIG, str(error)) from None


def v6_signature(envelope: Envelope, index: int, hub: Hub, heads: Sequence[Witnessed]) -> SignedEntry:
    """V6: every required suite has a signature of a publisher key that was valid when the entry was witnessed.

    A signature counts if at any quorum-cosigned head covering the entry the key was valid and not yet revoked. The
    signer's own clock, `issued_at`, is never asked: a stolen key can write any date there.

    Args:
        envelope: the leaf.
        index: its place in the log.
        hub: the hub that owns the log.
        heads: the witnessed heads at hand.

    Raises:
        Refused: `E-SIG`; `E-REVOKED` as a soft failure where the signatures are right but out of time.
    """
    publishers = hub.role("publisher")
    signed = envelope.signed_by({keyid: key.key for keyid, key in publishers.items()})
    if _missing(hub, (publishers[k].key.suite for k in signed)):
        raise Refused(
            Step.V6,
            Code.SIG,
            f"entry {index} is signed by {len(signed)} publisher keys of hub {hub.id}",
            expected=f"signatures of the suites {', '.join(sorted(hub.required_suites))}",
        )
    times = sorted(head.time for head in heads if head.head.size > index)
    for time in times:
        valid = frozenset(k for k in signed if publishers[k].counts_at(time))
        if not _missing(hub, (publishers[k].key.suite for k in valid)):
            return SignedEntry(envelope, valid, time)
    raise Refused(
        Step.V6,
        Code.REVOKED,
        f"entry {index} was witnessed when its key was not valid",
        state=State.SOFT_FAIL,
        expected="a witness time inside the key's validity and before its revocation",
    )


def _missing(hub: Hub, suites: Iterable[str]) -> frozenset[str]:
    return hub.required_suites - set(suites)


Streams = Mapping[str, tuple[int, str]]
"""Stream → (last sequence number, digest of that statement)."""


def v7_statement(
    payload_type: str, payload: bytes, origin: str, streams: Streams, schemas: Schemas
) -> tuple[Statement, Head]:
    """V7: a statement of a known kind about this log, next in its stream.

    Raises:
        Refused: `E-SEQ`: of another log, or not the next of its stream; `E-UNKNOWN`, stored only: another payload
            type, statement layer, kind, version, field or row schema.
    """
    statement, head = _known_head(payload_type, payload)
    if head.origin != origin:
        raise Refused(Step.V7, Code.SEQ, f"a statement about {head.origin}", expected=origin)
    last, digest = streams.get(head.stream, (0, None))
    if (head.stream_seq, head.prev_statement_digest) != (last + 1, digest):
        raise Refused(
            Step.V7,
            Code.SEQ,
            f"number {head.stream_seq} of stream {head.stream}",
            expected=f"number {last + 1}, naming the digest of the one before",
        )
    try:
        predicate = read_predicate(statement)
        if isinstance(predicate, ResultBatch):
            schema = schemas.get((predicate.schema.id, predicate.schema.version))
            if schema is None or schema.digest != predicate.schema.digest:
                raise InputError(f"row schema {predicate.schema.id} {predicate.schema.version} is not known here")
    except InputError as error:
        raise _unknown(error) from None
    return statement, predicate


def _known_head(payload_type: str, payload: bytes) -> tuple[Statement, Head]:
    try:
        if payload_type != PAYLOAD_TYPE:
            raise InputError(f"payload type {payload_type[:80]!r}", expected=PAYLOAD_TYPE)
        statement = read_statement(payload)
        return statement, read_head(statement)
    except InputError as error:
        raise _unknown(error) from None


def _unknown(error: InputError) -> Refused:
    return Refused(Step.V7, Code.UNKNOWN, str(error), state=State.STORE_ONLY)


def stream_place(payload_type: str, payload: bytes, origin: str, streams: Streams) -> tuple[str, int] | None:
    """Stream and number that a statement takes, where it is the next of its stream, whatever else becomes of it.

    An unknown kind, or one whose key was revoked later, keeps its place: so all verifiers count alike, however long
    ago they saw it.
    """
    try:
        _, head = _known_head(payload_type, payload)
    except Refused:
        return None
    last, digest = streams.get(head.stream, (0, None))
    right = head.origin == origin and (head.stream_seq, head.prev_statement_digest) == (last + 1, digest)
    return (head.stream, head.stream_seq) if right else None


def note_policy(book: PolicyBook, payload: bytes, predicate: Head, entry: SignedEntry, trust: Trust) -> PolicyBook:
    """The policy book after a statement: policies, grants and retractions change it.

    Raises:
        Refused: `E-POLICY`: a policy version that is not above the last, or a grant that its assignee did not sign.
    """
    digest = statement_digest(payload)
    if isinstance(predicate, SharePolicy):
        try:
            return book.with_policy(digest, predicate)
        except InputError as error:
            raise _against_policy(str(error)) from None
    if isinstance(predicate, Grant):
        assignee = trust.hub(predicate.assignee)
        keys = {} if assignee is None else assignee.role("publisher")
        signed = entry.envelope.signed_by({k: key.key for k, key in keys.items() if key.counts_at(entry.time)})
        if not signed:
            raise _against_policy(unsigned_grant(predicate))
        if predicate.policy.digest not in book.policies:
            raise _against_policy(f"grant {predicate.id} names a policy that the log does not have")
        return book.with_grant(digest, predicate)
    if isinstance(predicate, Retraction):
        return book.with_retraction(predicate)
    return book


def unsigned_grant(grant: Grant) -> str:
    """The words about a grant without its assignee's signature, by which it is found when trust data knows the key."""
    return f"grant {grant.id} is not signed by {grant.assignee}"


def v8_policy(batch: ResultBatch, time: int, then: PolicyBook, now: PolicyBook, schemas: Schemas, reader: str) -> None:
    """V8: the batch left under a policy, and where needed a grant, in force when it was witnessed and not withdrawn.

    Args:
        batch: the statement.
        time: its witness time.
        then: the book as it stood before the batch.
        now: the book after everything known of the log.
        schemas: known row schemas.
        reader: hub id of the one who verifies; empty for an auditor, who is no party to any grant.

    Raises:
        Refused: `E-POLICY`, a soft failure: stored, not shown.
    """
    policy = then.policies.get(batch.policy.digest)
    if policy is None or policy.id != batch.policy.id:
        raise _against_policy(f"the log has no earlier policy {batch.policy.id} of that digest")
    if then.latest[policy.id][1] != batch.policy.digest:
        raise _against_policy(f"policy {policy.id} version {policy.version} was replaced before the batch")
    if policy.klass == "withheld" or policy.target != batch.stream:
        raise _against_policy(f"policy {policy.id} does not share stream {batch.stream}")
    if not policy.valid_from.timestamp() <= time < policy.valid_until.timestamp():
        raise _against_policy(f"policy {policy.id} was not in force when the batch was witnessed")
    if policy.schema != batch.schema:
        raise _against_policy(f"policy {policy.id} is about another row schema")
    schema = schemas[batch.schema.id, batch.schema.version]
    extra = {column.name for column in schema.all_columns} - {RECORD_ID, "salt", *policy.fields}
    if extra:
        raise _against_policy(f"policy {policy.id} does not allow the field {min(extra)}")
    if batch.policy.digest in now.retracted:
        raise _against_policy(f"policy {policy.id} was withdrawn")
    if policy.klass == "conditional" and not any(
        grant.policy.digest == batch.policy.digest
        and grant.purpose == policy.purpose
        and reader in ("", grant.assignee)
        and grant.valid_from.timestamp() <= time < grant.valid_until.timestamp()
        and digest not in now.retracted
        for digest, grant in then.grants.items()
    ):
        raise _against_policy(f"no grant in force under policy {policy.id} names {reader or 'anyone'}")


def _against_policy(message: str) -> Refused:
    return Refused(Step.V8, Code.POLICY, message, state=State.SOFT_FAIL)
