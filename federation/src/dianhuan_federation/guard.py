"""The checkpoint guard: one row per log, moved by compare-and-swap before anything is signed.

It lies outside the log's folder and outside its backups: a log restored from an old copy then meets a guard that is
ahead of it and refuses to sign a second history. Two processes on one log cannot both move it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dianhuan_federation.core import EMPTY_ROOT
from dianhuan_sdk import ConfigError, InputError, TransientError


class CheckpointGuard:
    """The last tree head that may be signed, per origin.

    Args:
        path: the SQLite file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._database() as database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS head (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL)"
            )

    def create(self, origin: str) -> None:
        """Begin a log that never was.

        Raises:
            ConfigError: the guard knows the origin: a log is never begun twice.
        """
        try:
            with self._database() as database:
                database.execute("INSERT INTO head VALUES (?, 0, ?)", (origin, EMPTY_ROOT))
        except sqlite3.IntegrityError:
            raise ConfigError(
                f"the log {origin} exists already",
                expected="a new origin",
                hint="fetch the log from a mirror, or close it and begin the next epoch",
            ) from None

    def head(self, origin: str) -> tuple[int, bytes]:
        """Size and root last allowed.

        Raises:
            ConfigError: the guard does not know the origin.
        """
        with self._database() as database:
            row = database.execute("SELECT size, root FROM head WHERE origin = ?", (origin,)).fetchone()
        if row is None:
            raise ConfigError(
                f"the guard does not know the log {origin}",
                expected="the guard file that was there when the log was begun",
                hint="a lost guard cannot be replaced: ask the witnesses for the last size and begin a new epoch",
            )
        return int(row[0]), bytes(row[1])

    def advance(self, origin: str, old: tuple[int, bytes], new: tuple[int, bytes]) -> None:
        """Move from one head to the next, durably, or not at all.

        Raises:
            InputError: the guard stands elsewhere: another process or an old copy of the log.
        """
        with self._database() as database:
            moved = database.execute(
                "UPDATE head SET size = ?, root = ? WHERE origin = ? AND size = ? AND root = ? AND ? > size",
                (*new, origin, *old, new[0]),
            ).rowcount
        if moved != 1:
            raise InputError(
                f"the guard of {origin} does not stand at size {old[0]}",
                expected="one process per log, and the log's newest copy",
                hint="stop the other process, or fetch the log from a mirror",
            )

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self._path, timeout=10, isolation_level=None)
        try:
            database.execute("PRAGMA synchronous = FULL")
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise TransientError(
                f"the guard file {self._path.name} cannot be used now: {error}",
                expected="one process at a time, and a disk with room",
                hint="try again; nothing was signed",
            ) from error
        finally:
            database.close()
