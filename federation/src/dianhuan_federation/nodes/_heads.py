"""The tree heads that a witness or mirror has accepted: compare and persist in one transaction, evidence of forks."""

from __future__ import annotations

import base64
import re
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path

from dianhuan_federation.core import (
    EMPTY_ROOT,
    Checkpoint,
    Code,
    ForkEvidence,
    Hub,
    Note,
    NoteKey,
    NoteSignature,
    Refused,
    Trust,
    cosigned_at,
    format_note,
    is_consistent,
    node_hash,
    parse_checkpoint,
    trusted_hub,
    verify_fork,
)
from dianhuan_federation.log_store import write_durably
from dianhuan_federation.nodes._errors import NodeError
from dianhuan_federation.nodes._store import Database
from dianhuan_federation.nodes._wire import origin_hash
from dianhuan_sdk import ConfigError, InputError

MAX_EVIDENCE = 16
"""Evidence files kept of one log: one proves it all."""

MAX_STEP = 60
"""Seconds by which a clock that is set back may be evened out."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS head
    (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL, time INTEGER NOT NULL,
     cosigned INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS past
    (origin TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL,
     PRIMARY KEY (origin, size)) WITHOUT ROWID;
"""

Sign = Callable[[bytes, int], NoteSignature]
"""Cosigns a checkpoint text at a POSIX time."""


class HeadStore:
    """The accepted heads of all logs, in one SQLite file, and published beside it as notes.

    Args:
        folder: `heads.sqlite`, `<SHA-256 of origin>/checkpoint` and `evidence/` lie in it.
        create: begin a new one; a store that was lost must never begin again under the same key.

    Raises:
        ConfigError: the file is gone, or older than what was published from it.
    """

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        self.folder = folder
        if create and any(folder.glob("*/checkpoint")):
            raise ConfigError(f"{folder.name} holds published checkpoints", expected="an empty folder for a new node")
        self._database = Database(folder / "heads.sqlite", _SCHEMA, create=create)
        self._publishing = threading.Lock()
        for path in folder.glob("*/checkpoint"):
            self._check_published(path.read_bytes())
        for (origin,) in self._database.rows("SELECT origin FROM head WHERE cosigned"):
            self._publish(str(origin))

    def _check_published(self, data: bytes) -> None:
        try:
            head, _ = parse_checkpoint(data)
        except InputError:
            return
        if self.head(head.origin)[0] < head.size:
            raise ConfigError(
                f"heads.sqlite knows {head.origin} at less than size {head.size}, which was published",
                expected="the newest copy of the file",
                hint="an old backup would cosign a second history: restore the newest, or take a new key",
            )

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def head(self, origin: str) -> tuple[int, bytes]:
        """Size and root last accepted; 0 and the empty root for a log never seen."""
        rows = self._database.rows("SELECT size, root FROM head WHERE origin = ?", origin)
        return (int(str(rows[0][0])), _bytes(rows[0][1])) if rows else (0, EMPTY_ROOT)

    def past(self, origin: str, size: int) -> bytes | None:
        """The accepted note of that size, if there was one."""
        rows = self._database.rows("SELECT note FROM past WHERE origin = ? AND size = ?", origin, size)
        return _bytes(rows[0][0]) if rows else None

    def accept(
        self,
        old: int,
        proof: Sequence[bytes],
        head: Checkpoint,
        note: bytes,
        keys: Sequence[NoteKey],
        *,
        now: int = 0,
        sign: Sign | None = None,
    ) -> NoteSignature | None:
        """Move to a head in one transaction that is on the disk when this returns.

        Args:
            old: size that the caller thinks is known here.
            proof: consistency proof from there.
            head: the parsed checkpoint.
            note: its text and those signature lines that were verified; kept.
            keys: the log's keys, by which evidence is checked before it is kept.
            now: POSIX seconds.
            sign: makes the cosignature; its time is never before the last one of this log.

        Returns:
            The cosignature, where `sign` is given.

        Raises:
            NodeError: 400, 409 (with the known size as body, see `Conflict`), 422.
        """
        if old > head.size:
            raise NodeError(400, "old-size", f"old size {old} above {head.size}", expected="old <= checkpoint size")
        try:
            with self._database.transaction() as database:
                line = self._move(database, old, proof, head, note, now, sign)
        except _Contradiction as found:
            self._keep(head.origin, found.evidence, keys)
            raise found.error from None
        if sign is not None:
            self._publish(head.origin)
        return line

    def _move(
        self,
        database: sqlite3.Connection,
        old: int,
        proof: Sequence[bytes],
        head: Checkpoint,
        note: bytes,
        now: int,
        sign: Sign | None,
    ) -> NoteSignature | None:
        row = database.execute("SELECT size, root, time, note FROM head WHERE origin = ?", (head.origin,)).fetchone()
        size, root, last, known = row or (0, EMPTY_ROOT, 0, b"")
        if old != size:
            raise _against(Conflict(size), self._same_size(database, head, note))
        if head.size == size and head.root != root:
            error = NodeError(422, "fork", f"another root at size {size}", expected="one append-only history")
            raise _against(error, ForkEvidence(known, note) if known else None)
        if not is_consistent(size, root, head.size, head.root, proof):
            error = NodeError(422, "proof", f"no consistency of {size} and {head.size}", expected="an RFC 6962 proof")
            raise _against(error, _other_past(size, root, known, head, note, proof))
        time = honest_time(now, last)
        lines = parse_checkpoint(note)[1].signatures
        if head.size == size and known:
            lines = _united(parse_checkpoint(known)[1].signatures, lines)
        line = None if sign is None else sign(head.text, time)
        if line is not None:
            lines = _united(lines, (line,))
        data = format_note(head.text, lines)
        database.execute(
            "INSERT INTO head VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (origin) DO UPDATE SET "
            "size = excluded.size, root = excluded.root, note = excluded.note, time = excluded.time",
            (head.origin, head.size, head.root, data, time, line is not None),
        )
        database.execute("INSERT OR REPLACE INTO past VALUES (?, ?, ?, ?)", (head.origin, head.size, head.root, data))
        return line

    def _same_size(self, database: sqlite3.Connection, head: Checkpoint, note: bytes) -> ForkEvidence | None:
        row = database.execute(
            "SELECT root, note FROM past WHERE origin = ? AND size = ?", (head.origin, head.size)
        ).fetchone()
        return None if row is None or row[0] == head.root else ForkEvidence(row[1], note)

    def _publish(self, origin: str) -> None:
        """Write the note for readers; the newest one wins, whoever comes last.

        It is not flushed to the disk: the database is the truth, and what is lost here is written again at the start.
        """
        with self._publishing:
            ((note,),) = self._database.rows("SELECT note FROM head WHERE origin = ?", origin)
            path = self.folder / origin_hash(origin) / "checkpoint"
            path.parent.mkdir(exist_ok=True)
            aside = path.with_name(".checkpoint.new")
            aside.write_bytes(_bytes(note))
            aside.replace(path)

    def _keep(self, origin: str, evidence: ForkEvidence | None, keys: Sequence[NoteKey]) -> None:
        if evidence is None:
            return
        data = evidence.encode()
        folder = self.folder / "evidence" / origin_hash(origin)
        try:
            verify_fork(data, keys)
        except InputError:
            return
        if len(list(folder.glob("*.json"))) < MAX_EVIDENCE:
            write_durably(folder / f"{sha256(data).hexdigest()}.json", data)


def honest_time(now: int, last: int) -> int:
    """The time of a cosignature: never before the last one, and never one that the clock does not show.

    Raises:
        NodeError: 503: the clock stands too far behind what was signed.
    """
    if last - now > MAX_STEP:
        raise NodeError(503, "clock", f"the clock is {last - now} s behind the last cosignature", hint="set the clock")
    return max(now, last)


class Conflict(NodeError):
    """The node knows the log at another size."""

    def __init__(self, size: int) -> None:
        super().__init__(409, "old-size", f"the log is known at size {size}", expected="a proof from there")
        self.size = size


class _Contradiction(Exception):
    def __init__(self, error: NodeError, evidence: ForkEvidence | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.evidence = evidence


def _against(error: NodeError, evidence: ForkEvidence | None) -> _Contradiction:
    return _Contradiction(error, evidence)


def _other_past(
    size: int, root: bytes, known: bytes, head: Checkpoint, note: bytes, proof: Sequence[bytes]
) -> ForkEvidence | None:
    """Evidence where the proof is right about another tree of the known size.

    A proof from a size that is a power of two does not carry the old root, so it cannot testify.
    """
    if not known or not proof or not 0 < size < head.size:
        return None
    node, last = size - 1, head.size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    if node == 0:
        return None
    other = proof[0]
    for sibling in proof[1:]:
        if node & 1 or node == last:
            other = node_hash(sibling, other)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        node, last = node >> 1, last >> 1
    if other == root or not is_consistent(size, other, head.size, head.root, proof):
        return None
    return ForkEvidence(known, note, other, tuple(proof))


def _united(first: Iterable[NoteSignature], second: Iterable[NoteSignature]) -> tuple[NoteSignature, ...]:
    """Signature lines of both, the later one of each key."""
    return tuple({(s.name, s.key_id): s for s in (*first, *second)}.values())


def _bytes(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value


def known_log(trust: Trust, origin: str) -> tuple[Hub, list[NoteKey]]:
    """The hub of a log and the log keys that are not revoked.

    Raises:
        NodeError: 404: no trusted hub has that origin.
    """
    try:
        hub = trusted_hub(trust, origin)
    except Refused as refused:
        if refused.code is Code.STALE:
            raise NodeError(503, "stale-trust", refused.message, hint="bring newer trust metadata") from None
        raise NodeError(404, "unknown-origin", refused.message, expected="a log of the trust data") from None
    return hub, [key for key, _ in hub.log_keys(origin)]


def checked_note(
    data: bytes, trust: Trust, now: int, cosigners: Iterable[NoteKey] = ()
) -> tuple[Checkpoint, bytes, list[NoteKey]]:
    """A checkpoint with a log signature that counts now.

    Args:
        data: the note as received.
        trust: says whose logs are known.
        now: POSIX seconds.
        cosigners: witnesses whose lines are kept too, where they verify.

    Returns:
        The head; its note with the verified lines only; all the log's keys.

    Raises:
        InputError: no checkpoint.
        NodeError: 404: unknown origin; 403: no log signature, or a wrong one.
    """
    _refuse_wrong_empty(data)
    head, note = parse_checkpoint(data)
    hub, keys = known_log(trust, head.origin)
    kept: list[NoteSignature] = []
    for key, dated in hub.log_keys(head.origin):
        if dated.counts_at(now) and _signed(note, key):
            kept += key.of(note)
    if not kept:
        raise NodeError(403, "log-signature", "no signature of a log key that counts now", expected=head.origin)
    for key in cosigners:
        try:
            if cosigned_at(note, key) is not None:
                kept += key.of(note)
        except InputError:
            continue
    return head, format_note(note.text, _united(kept, ())), keys


def _signed(note: Note, key: NoteKey) -> bool:
    try:
        return note.signed_by(key)
    except InputError as error:
        raise NodeError(403, "log-signature", error.message, expected="the log's own signature") from None


def _refuse_wrong_empty(data: bytes) -> None:
    """An empty tree with another root than the empty one has a status of its own in the specification."""
    match = re.match(rb"[^\n]+\n0\n([A-Za-z0-9+/]{43}=)\n\n", data)
    if match and base64.b64decode(match[1]) != EMPTY_ROOT:
        raise NodeError(422, "empty-root", "size 0 with another root than the empty one", expected="SHA-256 of nothing")
