"""The DuckDB file: one owning process, one writer thread, a cursor of its own for every reader."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from dianhuan_hub.store._schema import migrate
from dianhuan_sdk import DianhuanError

T = TypeVar("T")
Connection = duckdb.DuckDBPyConnection


class StoreError(DianhuanError):
    """The store cannot do what was asked; nothing was written."""


class DiskFullError(StoreError):
    """There is no room; nothing was written, and the same work can be tried again."""


class Engine:
    """Owns the database file.

    Args:
        path: the DuckDB file; made if it is not there.
        memory_limit: DuckDB's buffer limit, e.g. `1GB`.
        threads: DuckDB's threads.

    Raises:
        StoreError: another process holds the file, or it cannot be opened.
    """

    def __init__(self, path: Path, *, memory_limit: str = "1GB", threads: int = 2) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        try:
            self._root = duckdb.connect(
                str(path),
                config={
                    "memory_limit": memory_limit,
                    "threads": threads,
                    "autoinstall_known_extensions": False,
                    "autoload_known_extensions": False,
                    "preserve_insertion_order": True,
                    "checkpoint_threshold": "256MB",
                },
            )
        except duckdb.IOException as error:
            if "lock" in str(error).lower():
                raise StoreError(
                    f"{path} is in use by another process",
                    expected="one hub process per city",
                    hint="stop the running hub, or ask it over its API",
                ) from error
            raise StoreError(f"{path} cannot be opened: {_first_line(error)}", hint="dianhuan doctor") from error
        self._root.execute("SET GLOBAL TimeZone = 'UTC'")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self.write(migrate)

    def submit(self, work: Callable[[Connection], T]) -> Future[T]:
        """Queue `work` for the writer thread; it runs in one transaction of its own."""
        return self._writer.submit(self._in_transaction, work)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in the writer thread in one transaction and wait for it."""
        return self.submit(work).result()

    def _in_transaction(self, work: Callable[[Connection], T]) -> T:
        con = self._root
        con.execute("BEGIN")
        try:
            answer = work(con)
            con.execute("COMMIT")
        except BaseException as error:
            _rollback(con)
            if isinstance(error, duckdb.Error):
                raise _translated(error) from error
            raise
        return answer

    @contextmanager
    def cursor(self) -> Iterator[Connection]:
        """A reader's own cursor; it sees the last committed state."""
        con = self._root.cursor()
        try:
            yield con
        except duckdb.Error as error:
            raise _translated(error) from error
        finally:
            con.close()

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file."""
        self._writer.submit(lambda: self._root.execute("CHECKPOINT")).result()

    def outside_transaction(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in the writer thread without a transaction, while nothing is being written."""
        return self._writer.submit(work, self._root).result()

    def close(self) -> None:
        """Finish queued work and close the file."""
        self._writer.shutdown(wait=True)
        self._root.close()


def _rollback(con: Connection) -> None:
    try:
        con.execute("ROLLBACK")
    except duckdb.Error:
        # A failed COMMIT has already ended the transaction.
        return


def _translated(error: duckdb.Error) -> StoreError:
    text = str(error)
    if "No space left" in text or "out of disk space" in text.lower() or "Could not write" in text:
        return DiskFullError(
            "the disk is full: nothing of this load was committed",
            expected="free space for about 150 MB per city-day",
            hint="free space or move data_dir, then run the same command again",
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return StoreError(
            f"the memory limit was reached: {_first_line(error)}", hint="raise store.memory_limit in hub.toml"
        )
    return StoreError(f"the store refused: {_first_line(error)}", hint="this is a defect: please report it")


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def arrow(con: Connection, query: str, values: Sequence[object] | Mapping[str, object] = ()) -> pa.Table:
    """The answer of a query as an Arrow table in one chunk a column."""
    return con.sql(query, params=values).to_arrow_table().combine_chunks()


def one(con: Connection, query: str, values: Sequence[object] = ()) -> tuple[Any, ...] | None:
    """The first row of a query, or None; the result is read to its end, so the connection is free again."""
    rows = con.execute(query, values).fetchall()
    return rows[0] if rows else None
