"""Grants on their way between two parties, file by file: unsigned, signed by the provider, signed by the consumer.

The file is a DSSE envelope of the grant's statement from the beginning; before anybody signed, its list of signatures
is empty. Once both have signed, the very same bytes are what the provider logs and what the consumer keeps.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dianhuan_federation.core import (
    PAYLOAD_TYPE,
    Grant,
    Head,
    Hub,
    PolicyRef,
    PublicKey,
    Retraction,
    SharePolicy,
    Signer,
    Target,
    Trust,
    build_statement,
    bundles_of,
    canonical,
    key_id,
    open_envelope,
    pae,
    parse,
    parse_checkpoint,
    read_predicate,
    read_statement,
    statement_digest,
    stream_place,
    unpack_entries,
)
from dianhuan_federation.log_store import CHECKPOINT
from dianhuan_sdk import InputError

GRANTS, RETRACTIONS = "grants", "retractions"
"""Streams in which a hub logs its grants and its retractions."""


@dataclass(frozen=True, slots=True)
class LoggedStatement:
    """A statement in a hub's own log."""

    index: int
    digest: str
    predicate: Head | None


class OwnLog:
    """The statements of a log folder: what stands in it and what comes next in each stream.

    Args:
        folder: the log's files.

    Raises:
        InputError: the folder holds no readable log.
    """

    def __init__(self, folder: Path) -> None:
        try:
            head, _ = parse_checkpoint((folder / CHECKPOINT).read_bytes())
            entries = [
                entry
                for tile in bundles_of(head.size)
                for entry in unpack_entries((folder / tile.path).read_bytes(), tile.width)
            ]
        except OSError as error:
            raise InputError(f"{folder.name} holds no readable log: {error.strerror}") from None
        self.origin = head.origin
        self.size = head.size
        self.statements: dict[int, LoggedStatement] = {}
        self._streams: dict[str, tuple[int, str]] = {}
        for index, entry in enumerate(entries):
            self._note(index, entry)

    def _note(self, index: int, entry: bytes) -> None:
        try:
            envelope = open_envelope(entry)
        except InputError:
            return
        place = stream_place(envelope.payload_type, envelope.payload, self.origin, self._streams)
        digest = statement_digest(envelope.payload)
        try:
            predicate: Head | None = read_predicate(read_statement(envelope.payload))
        except InputError:
            predicate = None
        self.statements[index] = LoggedStatement(index, digest, predicate)
        if place is not None:
            self._streams[place[0]] = (place[1], digest)

    def next(self, stream: str) -> tuple[int, str | None]:
        """Number and digest before it of the next statement of a stream."""
        last, digest = self._streams.get(stream, (0, None))
        return last + 1, digest

    def policy(self, policy_id: str) -> LoggedStatement:
        """The newest share policy of that id.

        Raises:
            InputError: the log holds none.
        """
        found = [(p.version, s) for s, p in self._policies() if p.id == policy_id]
        if not found:
            known = ", ".join(sorted({p.id for _, p in self._policies()})) or "none"
            raise InputError(f"the log holds no share policy {policy_id[:80]!r}", expected=f"one of: {known}")
        return max(found, key=lambda pair: pair[0])[1]

    def _policies(self) -> Iterator[tuple[LoggedStatement, SharePolicy]]:
        for statement in self.statements.values():
            if isinstance(statement.predicate, SharePolicy):
                yield statement, statement.predicate


@dataclass(frozen=True, slots=True)
class GrantFile:
    """A grant with the signatures so far.

    Args:
        statement: the statement's bytes, which are what is signed.
        grant: the same, read.
        signatures: key id → signature.
    """

    statement: bytes
    grant: Grant
    signatures: Mapping[str, bytes]

    def encode(self) -> bytes:
        """The envelope."""
        return canonical(
            {
                "payloadType": PAYLOAD_TYPE,
                "payload": base64.b64encode(self.statement).decode(),
                "signatures": [
                    {"keyid": k, "sig": base64.b64encode(s).decode()} for k, s in sorted(self.signatures.items())
                ],
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> GrantFile:
        """Read a grant file, signed or not.

        Raises:
            InputError: no envelope of a grant.
        """
        document = parse(data)
        if isinstance(document, dict) and document.get("signatures") == []:
            document = {**document, "signatures": [{"keyid": "", "sig": ""}]}
        envelope = open_envelope(canonical(document))
        if envelope.payload_type != PAYLOAD_TYPE:
            raise InputError(f"a file of type {envelope.payload_type[:80]!r}", expected=PAYLOAD_TYPE)
        grant = read_predicate(read_statement(envelope.payload))
        if not isinstance(grant, Grant):
            raise InputError(f"a statement of another kind: {type(grant).__name__}", expected="a grant")
        return cls(envelope.payload, grant, {k: s for k, s in envelope.signatures if k})

    def signed_by(self, signer: Signer, trust: Trust, now: int) -> GrantFile:
        """The grant with one more signature.

        Raises:
            InputError: the key is no publisher key in force of either party, the provider has not signed yet, or the
                key has signed already. A party with keys of several suites signs with each.
        """
        keyid = key_id(signer.public)
        parties = [party for party in self._parties() if keyid in _publishers(trust, party, now)]
        if not parties:
            raise InputError(
                f"the key {keyid[:16]} is no publisher key in force of {self.grant.assigner} or {self.grant.assignee}",
                expected="the publisher key of one of the two",
            )
        message = pae(PAYLOAD_TYPE, self.statement)
        if signer.public.verify(self.signatures.get(keyid, b""), message):
            raise InputError(f"{parties[0]} has signed this grant with this key already", expected="another key")
        if parties[0] == self.grant.assignee and not self.standing(trust, now)[self.grant.assigner]:
            raise InputError(f"the provider {self.grant.assigner} has not signed yet", hint="the provider signs first")
        return GrantFile(self.statement, self.grant, {**self.signatures, keyid: signer.sign(message)})

    def standing(self, trust: Trust, now: int) -> dict[str, bool]:
        """Of each party: is a valid signature of it there?"""
        message = pae(PAYLOAD_TYPE, self.statement)
        found: dict[str, bool] = {}
        for party in self._parties():
            keys = _publishers(trust, party, now)
            found[party] = any(k in keys and keys[k].verify(s, message) for k, s in self.signatures.items())
        return found

    def _parties(self) -> tuple[str, str]:
        return self.grant.assigner, self.grant.assignee


def new_grant(
    log: OwnLog, *, policy: str, assignee: str, purpose: str, start: int, end: int, now: int, grant_id: str = ""
) -> GrantFile:
    """An unsigned grant under a policy that stands in the provider's log.

    Args:
        log: the provider's log; the grant takes the next place of its stream `grants`.
        policy: id of the share policy.
        assignee: hub id of the consumer.
        purpose: must be the policy's purpose.
        start: POSIX seconds from which it holds.
        end: POSIX seconds until which it holds.
        now: POSIX seconds.
        grant_id: its id; by default made of policy, assignee and number.

    Raises:
        InputError: no such policy, another purpose than the policy's, or a period outside the policy's or empty.
    """
    logged = log.policy(policy)
    terms = logged.predicate
    assert isinstance(terms, SharePolicy)
    if purpose != terms.purpose:
        raise InputError(f"purpose {purpose[:80]!r}", expected=f"{terms.purpose!r}, as policy {policy} says")
    if not terms.valid_from.timestamp() <= start < end <= terms.valid_until.timestamp():
        raise InputError(
            f"a grant from {_time(start):%Y-%m-%d} to {_time(end):%Y-%m-%d}",
            expected=f"inside the policy's time, {terms.valid_from:%Y-%m-%d} to {terms.valid_until:%Y-%m-%d}",
        )
    assigner = log.origin.split("/")[-2]
    if assignee == assigner:
        raise InputError(f"a grant of {assigner} to itself", expected="another hub")
    number, before = log.next(GRANTS)
    grant = Grant(
        origin=log.origin,
        stream=GRANTS,
        stream_seq=number,
        prev_statement_digest=before,
        issued_at=_time(now),
        id=grant_id or f"{policy}.{assignee}.{number}",
        policy=PolicyRef(id=policy, digest=logged.digest),
        assigner=assigner,
        assignee=assignee,
        purpose=purpose,
        valid_from=_time(start),
        valid_until=_time(end),
    )
    return GrantFile(build_statement(grant), grant, {})


def retract_grant(log: OwnLog, grant_id: str, *, reason: str, legal_basis: str, now: int) -> bytes:
    """The statement that withdraws a grant; it takes the next place of the stream `retractions`.

    Raises:
        InputError: the log holds no grant of that id.
    """
    found = [s for s in log.statements.values() if isinstance(s.predicate, Grant) and s.predicate.id == grant_id]
    if not found:
        known = ", ".join(s.predicate.id for s in log.statements.values() if isinstance(s.predicate, Grant))
        raise InputError(f"the log holds no grant {grant_id[:80]!r}", expected=f"one of: {known or 'none'}")
    number, before = log.next(RETRACTIONS)
    return build_statement(
        Retraction(
            origin=log.origin,
            stream=RETRACTIONS,
            stream_seq=number,
            prev_statement_digest=before,
            issued_at=_time(now),
            targets=[Target(index=s.index, digest=s.digest, record_ids=[]) for s in found],
            reason=reason,
            legal_basis=legal_basis,
        )
    )


def _publishers(trust: Trust, hub_id: str, now: int) -> Mapping[str, PublicKey]:
    hub: Hub | None = trust.hub(hub_id)
    return {} if hub is None else {k: key.key for k, key in hub.role("publisher").items() if key.counts_at(now)}


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
