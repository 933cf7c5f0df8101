"""The entries of one submission, judged in order, and the batches once more for what was withdrawn after them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from dianhuan_federation.core import _batch_steps, _entry_steps
from dianhuan_federation.core._batch_steps import Caps, Decoders
from dianhuan_federation.core._hubs import Hub
from dianhuan_federation.core._log_steps import Witnessed
from dianhuan_federation.core._merkle import leaf_hash
from dianhuan_federation.core._schema import Schemas
from dianhuan_federation.core._state import LogState, PolicyBook
from dianhuan_federation.core._statements import Head, ResultBatch, statement_digest
from dianhuan_federation.core._trust import Trust
from dianhuan_federation.core._verdicts import ACCEPTED, Refused, State, Verdict


@dataclass(frozen=True, slots=True)
class EntryResult:
    """The answer about one entry.

    Args:
        index: its place in the log.
        leaf: its leaf hash.
        verdict: what becomes of it.
        entry: its bytes.
        kind: predicate type, empty where it cannot be read.
        predicate: the typed predicate, where it is known.
        witnessed_at: POSIX time at which its signatures count.
        keys: ids of the keys whose signatures count.
        subject: digests of its subject.
        payload: the uncompressed rows of an accepted batch.
        rows: the decoded rows of an accepted batch.
    """

    index: int
    leaf: bytes
    verdict: Verdict
    entry: bytes
    kind: str = ""
    predicate: Head | None = None
    witnessed_at: int | None = None
    keys: frozenset[str] = frozenset()
    subject: Mapping[str, str] = field(default_factory=dict)
    payload: bytes = b""
    rows: Sequence[msgspec.Struct] = ()


@dataclass(slots=True)
class EntryJudge:
    """Judges the entries under one verified head.

    Args:
        hub: the hub whose log it is.
        trust: all hubs, for grants that others sign too.
        schemas: known row schemas.
        caps: limits on payloads.
        reader: hub id of the one who verifies; empty for an auditor.
        heads: the witnessed heads at hand.
        blobs: SHA-256 in hex → payload bytes.
        decoders: of payloads in further encodings.
    """

    hub: Hub
    trust: Trust
    schemas: Schemas
    caps: Caps
    reader: str
    heads: Sequence[Witnessed]
    blobs: Mapping[str, bytes]
    decoders: Decoders = field(default_factory=dict)

    def judge(self, entries: Sequence[bytes], start: int, state: LogState) -> tuple[list[EntryResult], LogState]:
        """Verdicts on the entries from index `start` on, and the state after them."""
        streams, digests, book = dict(state.streams), dict(state.digests), state.book
        waiting: list[tuple[EntryResult, PolicyBook]] = []
        for index, entry in enumerate(entries, start):
            result = EntryResult(index, leaf_hash(entry), ACCEPTED, entry)
            then = book
            try:
                result, book = self._in_order(result, state.origin, streams, digests, book)
            except Refused as refused:
                result = replace(result, verdict=Verdict.of(refused))
            about = result.predicate if isinstance(result.predicate, ResultBatch) else None
            waiting.append((result, PolicyBook() if about is None else then.about(about, self.reader)))
        after = replace(state, streams=streams, digests=digests, book=book)
        return [self._finish(result, then, book) for result, then in waiting], after

    def _in_order(
        self,
        result: EntryResult,
        origin: str,
        streams: dict[str, tuple[int, str]],
        digests: dict[int, str],
        book: PolicyBook,
    ) -> tuple[EntryResult, PolicyBook]:
        """V6 and V7 of one entry, and what its statement changes for later ones."""
        index = result.index
        envelope = _entry_steps.v6_envelope(result.entry)
        late: Refused | None = None
        signed: _entry_steps.SignedEntry | None = None
        try:
            signed = _entry_steps.v6_signature(envelope, index, self.hub, self.heads)
        except Refused as refused:
            if refused.state is not State.SOFT_FAIL:
                raise
            late = refused
        kind, payload = envelope.payload_type, envelope.payload
        place = _entry_steps.stream_place(kind, payload, origin, streams)
        try:
            statement, predicate = _entry_steps.v7_statement(kind, payload, origin, streams, self.schemas)
            if late is not None:
                raise late
            assert signed is not None
            result = replace(
                result,
                kind=statement.predicate_type,
                subject=statement.subject[0].digest,
                predicate=predicate,
                witnessed_at=signed.time,
                keys=signed.keys,
            )
            _batch_steps.v9_targets(index, predicate, digests)
            book = _entry_steps.note_policy(book, payload, predicate, signed, self.trust)
        except Refused as refused:
            result = replace(result, verdict=Verdict.of(late or refused))
        if place is not None:
            digests[index] = statement_digest(payload)
            streams[place[0]] = (place[1], digests[index])
        return result, book

    def _finish(self, result: EntryResult, then: PolicyBook, now: PolicyBook) -> EntryResult:
        """V8 to V10 of an entry that carries rows."""
        batch, time = result.predicate, result.witnessed_at
        if result.verdict.state is not State.ACCEPTED or not isinstance(batch, ResultBatch) or time is None:
            return result
        try:
            _entry_steps.v8_policy(batch, time, then, now, self.schemas, self.reader)
            payload = _batch_steps.v9_blob(batch, result.subject, self.blobs, self.caps, self.schemas, self.decoders)
            rows = _batch_steps.v10_rows(batch, payload, self.schemas)
        except Refused as refused:
            return replace(result, verdict=Verdict.of(refused))
        return replace(result, payload=payload, rows=rows)

    def resume(self, pending: EntryResult, state: LogState) -> EntryResult:
        """V8 to V10 again, against what is withdrawn now; that the policy was the newest then was proven before.

        A statement that refers to what is not there stays pending, with or without its payload.
        """
        batch, book = pending.predicate, state.book
        if batch is not None:
            try:
                _batch_steps.v9_targets(pending.index, batch, state.digests)
            except Refused as refused:
                return replace(pending, verdict=Verdict.of(refused))
        policy = book.policies.get(batch.policy.digest) if isinstance(batch, ResultBatch) else None
        if policy is None:
            return pending
        digest = next(d for d, known in book.policies.items() if known is policy)
        then = replace(book, latest={**book.latest, policy.id: (policy.version, digest)})
        return self._finish(replace(pending, verdict=ACCEPTED), then, book)
