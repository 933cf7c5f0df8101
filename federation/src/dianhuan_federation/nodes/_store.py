"""The small SQLite files of a node: durable when a transaction returns, one writer at a time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dianhuan_sdk import ConfigError, TransientError

SYNCHRONOUS = "EXTRA"
"""On a truncated rollback journal: a committed transaction is not undone by a loss of power, which `FULL` on a deleted
journal does not promise (the deletion itself may be lost)."""


class Database:
    """One SQLite file with a fixed schema.

    Args:
        path: the file.
        schema: statements that make its tables.
        create: begin it; otherwise it must be there.

    Raises:
        ConfigError: it is not there, or is there where it must not be.
    """

    def __init__(self, path: Path, schema: str, *, create: bool) -> None:
        if create and path.exists():
            raise ConfigError(f"{path.name} exists already", expected="a new node", hint="open it instead")
        if not create and not path.exists():
            raise ConfigError(
                f"{path.name} is gone",
                expected="the file that the node has kept",
                hint="never begin it again under the same key: restore it, or give the node a new key and name",
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = TRUNCATE")
        self._connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
        self._connection.executescript(schema)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: on the disk when the block ends, or undone where it raises.

        Raises:
            TransientError: the file cannot be used now; nothing was written.
        """
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                except BaseException:
                    self._connection.execute("ROLLBACK")
                    raise
                self._connection.execute("COMMIT")
            except (sqlite3.OperationalError, sqlite3.ProgrammingError) as error:
                if isinstance(error, sqlite3.OperationalError) and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise TransientError(
                    f"{self._path.name} cannot be used now: {error}",
                    expected="a disk with room, and one process at a time",
                    hint="try again; nothing was written",
                ) from error

    def rows(self, statement: str, *parameters: object) -> list[tuple[object, ...]]:
        """What a query finds.

        Raises:
            TransientError: the file cannot be used now.
        """
        with self._lock:
            try:
                return self._connection.execute(statement, parameters).fetchall()
            except (sqlite3.OperationalError, sqlite3.ProgrammingError) as error:
                raise TransientError(f"{self._path.name} cannot be used now: {error}") from error

    def close(self) -> None:
        """Close the file; nothing can be asked of it after."""
        with self._lock:
            self._connection.close()
