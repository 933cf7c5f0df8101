"""The order of writing, so that no crash loses or doubles a batch or forks the log.

1. `intent` in the hub's state: the signed entries, their payloads, and the ledger as it will be;
2. files of commitments, then payloads, each whole or not at all;
3. the log: entries, tiles, guard, signature, checkpoint;
4. `ledger` in the hub's state, and the intent is gone, in one transaction;
5. payloads of redacted batches are removed.

The log is the truth. A process that opens it finishes what an intent says if the log stands where the intent begins
or already holds its entries, and drops the intent otherwise. Up to 3 nothing has left the city in signed form.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from dianhuan_federation.core import PAYLOAD_TYPE, bundles_of, open_envelope, seal
from dianhuan_federation.log_store import TileLog, write_durably
from dianhuan_federation.publish._desk import Desk, Draft
from dianhuan_federation.publish._ledger import Ledger
from dianhuan_federation.publish._settings import Settings
from dianhuan_sdk import ConfigError, StoragePort, TransientError

LEDGER, INTENT = "publish.ledger", "publish.intent"


class Intent(msgspec.Struct, frozen=True):
    """What is about to be published: base size, entries, payloads, private files, and the ledger afterwards."""

    base: int
    entries: list[bytes]
    blobs: dict[str, bytes]
    files: dict[str, bytes]
    ledger: bytes


class Journal:
    """The publisher's state and files.

    Args:
        settings: of the publisher.
        storage: the hub's storage.
    """

    def __init__(self, settings: Settings, storage: StoragePort) -> None:
        self._settings = settings
        self._storage = storage

    def ledger(self) -> Ledger:
        """As it was committed last; a new one where there is none."""
        data = self._storage.state(LEDGER)
        return Ledger.decode(data) if data else Ledger(self._settings.origin)

    def settle(self, log: TileLog) -> Ledger | None:
        """Finish or drop what a crash left behind.

        Returns:
            The ledger; None where the log has entries that the ledger does not know, so that it must be read again.

        Raises:
            ConfigError: the ledger knows more than the log: the log's folder and guard are old.
        """
        data = self._storage.state(INTENT)
        if data:
            intent = msgspec.json.decode(data, type=Intent)
            end = intent.base + len(intent.entries)
            if log.size == intent.base or (log.size >= end and entries_of(log, intent.base, end) == intent.entries):
                self._finish(log, intent)
            else:
                self._storage.commit([], {INTENT: b""})
        ledger = self.ledger()
        if ledger.origin != self._settings.origin:
            return None
        if ledger.size > log.size:
            raise ConfigError(
                f"the hub published {ledger.size} entries, the log here holds {log.size} · 日志副本过旧，拒绝签名",
                expected="the log's newest copy",
                hint="dianhuan federation recover --from MIRROR",
            )
        if ledger.size < log.size:
            return None
        self.drop_redacted(ledger)
        return ledger

    def publish(self, log: TileLog, desk: Desk) -> None:
        """Sign the drafts and bring them into the log, in the order above."""
        drafts = desk.drafts
        if not drafts:
            return
        intent = Intent(
            log.size,
            [self._entry(draft) for draft in drafts],
            {digest: blob for draft in drafts for digest, blob in draft.blobs.items()},
            {name: data for draft in drafts for name, data in draft.files.items()},
            desk.ledger.encode(),
        )
        self._storage.commit([], {INTENT: msgspec.json.encode(intent)})
        self._finish(log, intent)
        self.drop_redacted(desk.ledger)

    def rewrite(self, ledger: Ledger) -> None:
        """Replace the ledger by one that was read from the log."""
        self._storage.commit([], {LEDGER: ledger.encode(), INTENT: b""})

    def drop_redacted(self, ledger: Ledger) -> None:
        """Remove payloads of redacted batches that no other batch uses."""
        kept = {
            digest
            for index, entry in enumerate(ledger.entries)
            if index not in ledger.redacted
            for digest in entry.blobs
        }
        for index in ledger.redacted:
            for digest in ledger.entries[index].blobs:
                if digest not in kept:
                    self._settings.blob(digest).unlink(missing_ok=True)

    def kept(self, index: int) -> bytes | None:
        """What the city keeps of the commitment of a batch."""
        path = self._settings.private / "commitments" / f"{index}.json"
        return path.read_bytes() if path.exists() else None

    def _entry(self, draft: Draft) -> bytes:
        if draft.envelope is not None:
            return draft.envelope
        return seal(PAYLOAD_TYPE, draft.statement, self._settings.publisher_keys)

    def _finish(self, log: TileLog, intent: Intent) -> None:
        write_private(self._settings.private, intent.files)
        for digest, blob in intent.blobs.items():
            write_durably(self._settings.blob(digest), blob)
        if log.size == intent.base:
            log.append(intent.entries)
        self._storage.commit([], {LEDGER: intent.ledger, INTENT: b""})


def write_private(folder: Path, files: Mapping[str, bytes]) -> None:
    """Files that only this user reads."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name, data in files.items():
        write_durably(folder / name, data)
        (folder / name).chmod(0o600)


def entries_of(log: TileLog, start: int, end: int) -> list[bytes]:
    """The entries [start, end) of a log."""
    found: list[bytes] = []
    for bundle in bundles_of(log.size, start):
        if bundle.index * 256 >= end:
            break
        found.extend(log.entries(bundle))
    first = start // 256 * 256
    return found[start - first : end - first]


def statements_of(entries: Sequence[bytes]) -> list[bytes]:
    """The statements in some entries."""
    return [open_envelope(entry).payload for entry in entries]


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the publisher's lock; it ends with the process, however that ends.

    Raises:
        TransientError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TransientError(
                "another process publishes into this log now · 另一进程正在发布",
                expected="one process per log",
                hint="try again when it is done; nothing was written",
            ) from None
        yield
    finally:
        os.close(handle)
