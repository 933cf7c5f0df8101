"""A watched folder: which files are new and complete, a checkpoint after each."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_sdk.batches import REJECT_SCHEMA, Batch, Checkpoint, Cursor, Discard, SourceRef, Window
from dianhuan_sdk.contracts import TableContract
from dianhuan_sdk.errors import InputError
from dianhuan_sdk.tabular._read import empty_rows, sha256_of
from dianhuan_sdk.tabular._source import UNFINISHED, IncompleteFileError, ensure_complete

FileReader = Callable[[Path, SourceRef | None, Counter[str]], Iterator[Batch]]
"""Reads one file; counts what it leaves out."""

_END = object()


def is_data_file(name: str, control_file: str = "") -> bool:
    """Is that the name of a data file: not a path, not hidden, not a control file, not one still being written?"""
    if name != Path(name).name or "\\" in name:
        return False
    if name.startswith(".") or (control_file and name.endswith(control_file)):
        return False
    return Path(name).suffix.lower() not in UNFINISHED


def within(batch: Batch, window: Window | None) -> Batch:
    """The rows of a batch on the days of the window; tables without a `day` come whole, rejects always stay."""
    if window is None or "day" not in batch.rows.schema.names:
        return batch
    day = batch.rows.column("day")
    wanted = pc.and_(pc.greater_equal(day, pa.scalar(window.start)), pc.less(day, pa.scalar(window.end)))
    return replace(batch, rows=batch.rows.filter(wanted))


def unreadable(contract: TableContract, source: SourceRef, error: InputError) -> Batch:
    """A file that is unreadable as a whole, or from some row on, as one reject: row 0, code `unreadable_file`."""
    columns = [[0], ["unreadable_file"], [str(error)], [json.dumps({"uri": source.uri}, ensure_ascii=False)]]
    arrays = [pa.array(c, f.type) for c, f in zip(columns, REJECT_SCHEMA, strict=True)]
    return Batch(contract.name, empty_rows(contract), source, pa.RecordBatch.from_arrays(arrays, schema=REJECT_SCHEMA))


async def read_in_thread(batches: Iterator[Batch]) -> AsyncIterator[Batch]:
    """The items of a synchronous reader, worked on beside the event loop."""
    while (item := await asyncio.to_thread(next, batches, _END)) is not _END:
        assert isinstance(item, Batch)
        yield item


async def read_one(
    path: Path,
    source: SourceRef,
    state: list[Any],
    done: dict[str, Any],
    contract: TableContract,
    reader: FileReader,
    window: Window | None,
    log: logging.Logger,
) -> AsyncIterator[Batch | Checkpoint | Discard]:
    """One file of a delivery, then its checkpoint.

    Args:
        path: the file.
        source: what its batches name as their source.
        state: what tells this version of the file from others: goes into the cursor.
        done: files done so far, name → state; this one is added.
        contract: table of the reject that stands for an unreadable file.
        reader: reads it.
        window: days wanted.
        log: says what is left for the next run.
    """
    stats: Counter[str] = Counter()
    try:
        async for batch in read_in_thread(reader(path, source, stats)):
            part = within(batch, window)
            stats["rows"] += part.rows.num_rows
            stats["rejects"] += part.rejects.num_rows if part.rejects is not None else 0
            if part.rows.num_rows or part.rejects is not None:
                yield part
    except IncompleteFileError as error:
        log.info("left for the next run: %s", error)
        yield Discard(f"left for the next run: {error}")
        return
    except InputError as error:
        log.warning("%s", error)
        stats["rejects"] += 1
        yield unreadable(contract, source, error)
    done[path.name] = state
    yield Checkpoint({"files": dict(done)}, path.name, dict(stats))


@dataclass(frozen=True)
class Folder:
    """A folder into which a grid company puts files.

    The cursor is `{"files": {name: [size, mtime_ns, sha256]}}` of the files done. A file is read again where its
    bytes changed; entries of files that are gone are dropped.

    Args:
        path: the folder.
        pattern: glob of the data files.
        control_file: suffix of the control file that says a file is complete, or empty.
        settle_seconds: without control files, a file counts as complete this long after its last change.
    """

    path: Path
    pattern: str = "*"
    control_file: str = ""
    settle_seconds: float = 5.0

    async def read(
        self,
        contract: TableContract,
        reader: FileReader,
        now: datetime,
        log: logging.Logger,
        window: Window | None = None,
        cursor: Cursor | None = None,
        day_of: Callable[[str], date | None] = lambda name: None,
    ) -> AsyncIterator[Batch | Checkpoint | Discard]:
        """Read new files in order of their names, with a checkpoint after each.

        A file that is not complete is left for the next run. One that is unreadable becomes a reject of `contract`
        and does not stop the others. Where `day_of` tells the one day of a file's rows by its name, a window opens
        only the files of its days.
        """
        done: dict[str, Any] = {} if window is not None else dict((cursor or {}).get("files", {}))
        present = {
            p.name: p
            for p in sorted(self.path.glob(self.pattern))
            if p.is_file() and is_data_file(p.name, self.control_file)
        }
        done = {name: state for name, state in done.items() if name in present}
        for name, path in present.items():
            day = day_of(name)
            if window is not None and day is not None and day not in window:
                continue
            try:
                state = ensure_complete(path, self.control_file)
            except IncompleteFileError as error:
                log.info("left for the next run: %s", error)
                continue
            if not self.control_file and now.timestamp() - state.st_mtime < self.settle_seconds:
                log.info("left for the next run: %s changed less than %g s ago", name, self.settle_seconds)
                continue
            before = done.get(name)
            if before and before[:2] == [state.st_size, state.st_mtime_ns]:
                continue
            digest = await asyncio.to_thread(sha256_of, path)
            if before and before[2] == digest:
                continue
            source = SourceRef(path.resolve().as_uri(), digest)
            version = [state.st_size, state.st_mtime_ns, digest]
            async for item in read_one(path, source, version, done, contract, reader, window, log):
                yield item
