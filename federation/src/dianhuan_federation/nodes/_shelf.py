"""Payloads, the leaves that name them, and who may have them: read from the logs themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dianhuan_federation.core import (
    PAYLOAD_TYPE,
    Grant,
    Hub,
    ModelDefinition,
    Redaction,
    Refused,
    ResultBatch,
    Retraction,
    SharePolicy,
    Trust,
    open_envelope,
    read_predicate,
    read_statement,
    statement_digest,
    trusted_hub,
)
from dianhuan_federation.nodes._copies import Copies, LogCopy
from dianhuan_sdk import InputError


@dataclass(frozen=True, slots=True)
class Named:
    """A leaf that names a payload.

    Args:
        origin: its log.
        index: its place there.
        statement: digest of the statement.
        policy: digest of the share policy; empty for the files of a model, which every trusted hub may have.
        size: bytes of the payload.
    """

    origin: str
    index: int
    statement: str
    policy: str
    size: int


@dataclass(frozen=True, slots=True)
class Allowed:
    """That an asker may have a payload, and under which grant; empty where none is needed."""

    origin: str
    grant: str = ""


@dataclass(slots=True)
class _Book:
    size: int = 0
    stamp: tuple[int, int] = (0, 0)
    policies: dict[str, SharePolicy] = field(default_factory=dict)
    grants: dict[str, Grant] = field(default_factory=dict)
    withdrawn: set[str] = field(default_factory=set)
    redacted: set[str] = field(default_factory=set)
    payloads: dict[int, list[str]] = field(default_factory=dict)


class Shelf:
    """What the logs here name.

    Only statements signed by a publisher key of the log's own hub count, grants only with their assignee's signature.

    Args:
        blobs: folder of payloads by SHA-256 in hex.
        logs: the copies that are here now.
        trust: the trust data of now.
    """

    def __init__(self, blobs: Path, logs: Copies, trust: Callable[[], Trust]) -> None:
        self._blobs = blobs
        self._logs = logs
        self._trust = trust
        self._lock = threading.Lock()
        self._books: dict[str, _Book] = {}
        self._named: dict[str, list[Named]] = {}

    def blob_path(self, digest: str) -> Path:
        """Where a payload lies, if it does."""
        return self._blobs / digest

    def log(self, origin: str) -> LogCopy | None:
        """The copy of a log, its book brought up to date; None where it is not here."""
        copy = self._logs.get(origin)
        if copy is not None:
            self._refresh(copy)
        return copy

    def named(self, digest: str) -> int | None:
        """Bytes of a payload that a verified leaf names; None where none does, or where it was redacted."""
        if digest not in self._named:
            for copy in self._logs:
                self._refresh(copy)
        with self._lock:
            sizes = [n.size for n in self._named.get(digest, ()) if not self._is_redacted(n)]
        return max(sizes, default=None)

    def payloads(self, origin: str, start: int, end: int) -> list[str]:
        """Digests of the payloads that entries [start, end) of a log name, in order."""
        with self._lock:
            book = self._books[origin]
            return [d for index in range(start, end) for d in book.payloads.get(index, ())]

    def may_have(self, digest: str, hub: str, grant: str, now: int, origin: str = "") -> Allowed | None:
        """Whether a hub may have a payload.

        Args:
            digest: SHA-256 in hex.
            hub: who asks; empty for a stranger.
            grant: id of the grant that the asker names.
            now: POSIX seconds.
            origin: ask this log only.

        Returns:
            None where nothing allows it, or nothing here names it.
        """
        origins = {named.origin for named in self._named.get(digest, ())}
        for copy in filter(None, map(self._logs.get, origins)) if origins else self._logs:
            self._refresh(copy)
        with self._lock:
            for named in self._named.get(digest, ()):
                if origin in ("", named.origin):
                    allowed = self._allowed(named, hub, grant, now)
                    if allowed is not None:
                        return allowed
        return None

    def _allowed(self, named: Named, hub: str, grant: str, now: int) -> Allowed | None:
        book = self._books[named.origin]
        if self._is_redacted(named):
            return None
        if hub and (hub == named.origin.split("/")[-2] or not named.policy):
            return Allowed(named.origin)
        policy = book.policies.get(named.policy)
        if policy is None or policy.klass == "withheld" or named.policy in book.withdrawn:
            return None
        if policy.klass == "unconditional":
            return Allowed(named.origin)
        for digest, given in book.grants.items():
            if (
                hub == given.assignee
                and grant == given.id
                and given.policy.digest == named.policy
                and given.purpose == policy.purpose
                and given.valid_from.timestamp() <= now < given.valid_until.timestamp()
                and digest not in book.withdrawn
            ):
                return Allowed(named.origin, given.id)
        return None

    def _is_redacted(self, named: Named) -> bool:
        return named.statement in self._books[named.origin].redacted

    def _refresh(self, copy: LogCopy) -> None:
        with self._lock:
            book = self._books.setdefault(copy.origin, _Book())
            stamp = copy.stamp()
            if stamp == book.stamp:
                return
            head = copy.head()
            if head is None:
                return
            try:
                hub = trusted_hub(self._trust(), copy.origin)
            except Refused:
                return
            for index, entry in enumerate(copy.entries(book.size, head[0].size), book.size):
                self._note(book, hub, copy.origin, index, entry)
            book.size, book.stamp = max(book.size, head[0].size), stamp

    def _note(self, book: _Book, hub: Hub, origin: str, index: int, entry: bytes) -> None:
        try:
            envelope = open_envelope(entry)
            if envelope.payload_type != PAYLOAD_TYPE:
                return
            predicate = read_predicate(read_statement(envelope.payload))
        except InputError:
            return
        if predicate.origin != origin or not envelope.signed_by({k: v.key for k, v in hub.role("publisher").items()}):
            return
        digest = statement_digest(envelope.payload)
        if isinstance(predicate, SharePolicy):
            book.policies[digest] = predicate
        elif isinstance(predicate, Grant):
            assignee = self._trust().hub(predicate.assignee)
            keys = {} if assignee is None else {k: v.key for k, v in assignee.role("publisher").items()}
            if envelope.signed_by(keys):
                book.grants[digest] = predicate
        elif isinstance(predicate, Retraction):
            book.withdrawn |= {target.digest for target in predicate.targets}
        elif isinstance(predicate, Redaction):
            book.redacted |= {target.digest for target in predicate.targets}
        elif isinstance(predicate, (ResultBatch, ModelDefinition)):
            batch = isinstance(predicate, ResultBatch)
            policy = predicate.policy.digest if isinstance(predicate, ResultBatch) else ""
            encodings = predicate.encodings if isinstance(predicate, ResultBatch) else predicate.files
            for encoding in encodings:
                blob = encoding.digest.get("sha256", "")
                self._named.setdefault(blob, []).append(Named(origin, index, digest, policy, encoding.size))
                if batch:
                    book.payloads.setdefault(index, []).append(blob)
