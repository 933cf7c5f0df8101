"""A watched folder: which files are new and complete, a checkpoint after each."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_sdk.batches import REJECT_SCHEMA, Batch, Checkpoint, Cursor, SourceRef, Window
from dianhuan_sdk.contracts import TableContract
from dianhuan_sdk.errors import InputError
from dianhuan_sdk.tabular._read import empty_rows, sha256_of
from dianhuan_sdk.tabular._source import UNFINISHED, IncompleteFileError, ensure_complete

FileReader = Callable[[Path, SourceRef], Iterator[Batch]]
_END = object()


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
    ) -> AsyncIterator[Batch | Checkpoint]:
        """Read new files in order of their names, with a checkpoint after each.

        A file that is not complete is left for the next run. One that is unreadable becomes a reject of `contract`
        and does not stop the others.
        """
        done: dict[str, Any] = {} if window is not None else dict((cursor or {}).get("files", {}))
        present = {p.name: p for p in sorted(self.path.glob(self.pattern)) if self._is_data(p)}
        done = {name: state for name, state in done.items() if name in present}
        for name, path in present.items():
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
            rows = rejected = 0
            try:
                async for batch in read_in_thread(reader(path, source)):
                    part = within(batch, window)
                    rows += part.rows.num_rows
                    rejected += part.rejects.num_rows if part.rejects is not None else 0
                    yield part
            except IncompleteFileError as error:
                log.info("left for the next run: %s", error)
                continue
            except InputError as error:
                log.warning("%s", error)
                rejected += 1
                yield unreadable(contract, source, error)
            done[name] = [state.st_size, state.st_mtime_ns, digest]
            yield Checkpoint({"files": dict(done)}, name, {"rows": rows, "rejects": rejected})

    def _is_data(self, path: Path) -> bool:
        if self.control_file and path.name.endswith(self.control_file):
            return False
        return path.is_file() and not path.name.startswith(".") and path.suffix.lower() not in UNFINISHED
