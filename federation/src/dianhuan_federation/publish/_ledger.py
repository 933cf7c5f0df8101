"""What a publisher remembers of its own log; all of it but the cells of statistics follows from log and payloads."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from hashlib import sha256

import msgspec

from dianhuan_federation.core import (
    Grant,
    ModelDefinition,
    Redaction,
    ResultBatch,
    Retraction,
    ShardClose,
    SharePolicy,
    Target,
    lines_of,
    parse,
    read_predicate,
    read_statement,
    statement_digest,
)
from dianhuan_federation.policy import SOURCES, Sent
from dianhuan_sdk import LOCAL_ZONE, ConfigError, InputError

WITHDRAWN = "来源已撤回或不再属于共享范围 · withdrawn at its source, or no longer within the policy"
"""The reason of retractions that the publisher makes by itself: such rows may come back."""

_DAYS = ("day", "closed_at", "period_start")


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a record stands now: log index, digest of its line, the day it is about."""

    index: int
    line: str
    day: str


class Entry(msgspec.Struct, frozen=True):
    """One statement of the log: its kind, its digest, the day it was made, and of a batch rows, blobs and period."""

    kind: str
    stream: str
    digest: str
    day: str
    rows: int = 0
    blobs: tuple[str, ...] = ()
    start: str = ""
    end: str = ""
    policy: str = ""


class LoggedPolicy(msgspec.Struct, frozen=True):
    """The newest statement of a policy; `terms` is the digest of the file it was made from, where that is known."""

    version: int
    digest: str
    statement: SharePolicy
    terms: str = ""


class Ledger(msgspec.Struct):
    """The publisher's memory; it grows by `add` only.

    Args:
        origin: the log.
        entries: by index.
        streams: stream → last number and digest.
        policies, grants: by id; grants by digest of their statement.
        classes: digest of each policy statement → class and purpose.
        records: stream → record id → where it stands now; a retracted record does not stand.
        withdrawn: digests of statements that were retracted.
        barred: stream → record id → the line that was retracted by hand, which does not leave again unchanged.
        redacted: indices of batches whose payload is gone.
        sent: day, recipients and rows of each batch, for the budget.
        models: `id version` → digest of the definition.
        cells: source → cells released, contributor and amount of each record: the city's secret.
        basis: `stream start` → digest of the rows that a statistic was made of.
        blind: source → day before which released cells are not known any more, so that no statistic may follow.
        lost: indices of batches whose payload could not be had when the log was read again.
        follows: the log before this one, whose releases are remembered here.
        successor: the origin under which the log goes on; empty while it is open.
    """

    origin: str
    entries: list[Entry] = []
    streams: dict[str, tuple[int, str]] = {}
    policies: dict[str, LoggedPolicy] = {}
    grants: dict[str, Grant] = {}
    classes: dict[str, tuple[str, str]] = {}
    records: dict[str, dict[str, Place]] = {}
    withdrawn: set[str] = set()
    barred: dict[str, dict[str, str]] = {}
    redacted: set[int] = set()
    sent: list[tuple[str, tuple[str, ...], int]] = []
    models: dict[str, str] = {}
    cells: dict[str, list[dict[str, tuple[str, int]]]] = {}
    basis: dict[str, str] = {}
    blind: dict[str, str] = {}
    lost: set[int] = set()
    follows: str = ""
    successor: str = ""

    @property
    def size(self) -> int:
        """Number of entries."""
        return len(self.entries)

    def encode(self) -> bytes:
        """As it is kept in the plugin's state."""
        return zlib.compress(msgspec.json.encode(self), 1)

    @classmethod
    def decode(cls, data: bytes) -> Ledger:
        """What `encode` gave; `ConfigError` for anything else."""
        try:
            return msgspec.json.decode(zlib.decompress(data), type=cls)
        except (zlib.error, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"the publisher's state cannot be read: {error}", hint="dianhuan federation recover rebuilds it"
            ) from None

    def copy(self) -> Ledger:
        """One of its own."""
        return Ledger.decode(self.encode())

    def next_epoch(self, origin: str) -> Ledger:
        """A ledger for the log that goes on after this one.

        What was released stays known: its cells, its budget, and its rows, which are not sent again unchanged.
        """
        lines = {stream: {id: place.line for id, place in rows.items()} for stream, rows in self.records.items()}
        barred = {s: {**self.barred.get(s, {}), **lines.get(s, {})} for s in self.barred.keys() | lines.keys()}
        return Ledger(
            origin,
            sent=list(self.sent),
            cells={source: list(cells) for source, cells in self.cells.items()},
            basis=dict(self.basis),
            blind=dict(self.blind),
            barred=barred,
            follows=self.origin,
        )

    def forget_before(self, source: str, day: str) -> None:
        """Cells of a source over days before that one may be known outside and are not known here."""
        self.blind[source] = max(day, self.blind.get(source, day))

    def forget_all_before(self, day: str) -> None:
        """The same for every source: what was released under an earlier origin is not known here."""
        for source in SOURCES:
            self.forget_before(source, day)

    def add(self, statement: bytes, payload: bytes | None = None, terms: str = "") -> int:
        """Note the next entry.

        Args:
            statement: its statement.
            payload: uncompressed rows of a batch; None where they are not at hand.
            terms: of a policy, the digest of its file.

        Returns:
            Its index.
        """
        predicate = read_predicate(read_statement(statement))
        index, digest = self.size, statement_digest(statement)
        day = predicate.issued_at.astimezone(LOCAL_ZONE).date().isoformat()
        kind = read_statement(statement).predicate_type.split(":")[-2]
        entry = Entry(kind, predicate.stream, digest, day)
        if isinstance(predicate, ResultBatch):
            blobs = tuple(encoding.digest["sha256"] for encoding in predicate.encodings)
            start, end = (
                moment.astimezone(LOCAL_ZONE).date().isoformat()
                for moment in (predicate.period.start, predicate.period.end)
            )
            policy = predicate.policy.digest
            entry = msgspec.structs.replace(
                entry, rows=predicate.rows, blobs=blobs, start=start, end=end, policy=policy
            )
            self.sent.append((day, self.holders(policy, predicate.issued_at), predicate.rows))
            self._batch(index, predicate, payload)
        elif isinstance(predicate, SharePolicy):
            self.policies[predicate.id] = LoggedPolicy(predicate.version, digest, predicate, terms)
            self.classes[digest] = (predicate.klass, predicate.purpose)
        elif isinstance(predicate, Grant):
            self.grants[digest] = predicate
        elif isinstance(predicate, Retraction):
            for target in predicate.targets:
                self._retract(target, predicate.reason != WITHDRAWN)
        elif isinstance(predicate, Redaction):
            self.redacted.update(target.index for target in predicate.targets)
        elif isinstance(predicate, ModelDefinition):
            files = tuple(file.digest["sha256"] for file in predicate.files)
            entry = msgspec.structs.replace(entry, blobs=files)
            self.models[f"{predicate.model.id} {predicate.model.version}"] = predicate.model.digest
        elif isinstance(predicate, ShardClose):
            self.successor = predicate.successor
        self.entries.append(entry)
        self.streams[predicate.stream] = (predicate.stream_seq, digest)
        return index

    def target(self, index: int, record_ids: list[str]) -> Target:
        """How a later statement names an entry; `InputError` if there is none."""
        if not 0 <= index < self.size:
            raise InputError(f"entry {index}", expected=f"an index below {self.size}")
        return Target(index=index, digest=self.entries[index].digest, record_ids=record_ids)

    def releases(self) -> list[Sent]:
        """Earlier releases, for the budget of the gate."""
        return [Sent(date.fromisoformat(day), recipients, rows) for day, recipients, rows in self.sent]

    def unknown_days(self, stream: str) -> list[tuple[str, str]]:
        """Periods [start, end) of the stream in which something was released that is not known any more."""
        mine = (self.entries[index] for index in sorted(self.lost))
        return [(entry.start, entry.end) for entry in mine if entry.stream == stream]

    def holders(self, policy: str, at: datetime) -> tuple[str, ...]:
        """Hub ids that hold a grant in force under the policy statement of that digest."""
        return tuple(
            sorted(
                {
                    grant.assignee
                    for digest, grant in self.grants.items()
                    if grant.policy.digest == policy
                    and grant.purpose == self.classes[policy][1]
                    and digest not in self.withdrawn
                    and grant.valid_from <= at < grant.valid_until
                }
            )
        )

    def blobs_for(self, hub: str, at: datetime) -> list[str]:
        """Payloads that a hub may hold: open ones, and those it has a grant for; an unknown hub gets the open ones."""
        return [
            digest
            for index, entry in enumerate(self.entries)
            if index not in self.redacted
            and (not entry.policy or self._is_open(entry.policy) or hub in self.holders(entry.policy, at))
            for digest in entry.blobs
        ]

    def _is_open(self, policy: str) -> bool:
        return self.classes[policy][0] == "unconditional"

    def _batch(self, index: int, batch: ResultBatch, payload: bytes | None) -> None:
        if payload is None:
            self.lost.add(index)
            return
        standing = self.records.setdefault(batch.stream, {})
        for line in lines_of(payload):
            row = parse(line)
            standing[row["record_id"]] = Place(index, line_digest(line), day_of(row))

    def _retract(self, target: Target, by_hand: bool) -> None:
        self.withdrawn.add(target.digest)
        if target.index < self.size:
            stream = self.entries[target.index].stream
            standing = self.records.get(stream, {})
            named = target.record_ids or [id for id, place in standing.items() if place.index == target.index]
            for id in named:
                if id in standing and standing[id].index == target.index:
                    if by_hand:
                        self.barred.setdefault(stream, {})[id] = standing[id].line
                    del standing[id]


def line_digest(line: bytes) -> str:
    """By which a change of a row is noticed."""
    return sha256(line).hexdigest()[:32]


def day_of(row: Mapping[str, object]) -> str:
    """The day a row is about."""
    return next(str(row[name])[:10] for name in _DAYS if name in row)


def instant(day: date) -> datetime:
    """The instant at which a civil day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=LOCAL_ZONE).astimezone(UTC)
