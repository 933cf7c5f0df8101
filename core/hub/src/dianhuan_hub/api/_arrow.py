"""`GET /arrow/{table}`: whole tables as an Arrow IPC stream, batch by batch."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator, Generator
from datetime import date
from typing import TYPE_CHECKING, Any

from anyio import to_thread

from dianhuan_hub.api._access import Right
from dianhuan_hub.api._filters import Conditions
from dianhuan_hub.api._reader import Reader
from dianhuan_hub.store import Query, read_page, read_stream
from dianhuan_sdk import InputError

if TYPE_CHECKING:
    import pyarrow as pa

MEDIA_TYPE = "application/vnd.apache.arrow.stream"
TABLES = (
    "entity",
    "metering_point",
    "account_link",
    "load_curve",
    "feature_day",
    "permit",
    "acceptance",
    "filed_report",
    "order",
    "outage",
    "weather",
    "calendar",
    "finding",
    "warning",
    "case",
    "outcome",
    "model_card",
)
_DIVISION = re.compile(r"[0-9]{1,12}")


async def arrow_stream(
    reader: Reader, table: str, start: date | None, end: date | None, division: list[str] | None
) -> AsyncIterator[bytes]:
    """The rows of a table as Arrow IPC, in pieces of one record batch.

    Args:
        reader: of the request.
        table: one of `TABLES`.
        start, end: days [start, end).
        division: beginnings of GB/T 2260 codes, any of them.

    Raises:
        AccessError: the role has no right to bulk reads, or the table belongs to no district.
        InputError: no such table, or a filter is wrong.
    """
    reader.grant.need(Right.BULK)
    if table not in TABLES:
        raise InputError(f"no table {table[:80]!r}", expected=f"one of {', '.join(TABLES)}")
    for code in division or ():
        if not _DIVISION.fullmatch(code):
            raise InputError(f"division: {code[:40]!r}", expected="digits of GB/T 2260, e.g. 430202 or 4302")
    query = reader.query(table, Conditions(start=start, end=end, division=division))
    if table == "load_curve":
        await _hot_only(reader, start, end)
    await reader.audit(f"stream {table}", f"{start or ''} … {end or ''}", ", ".join(division or ()))
    batches = await reader.run(read_stream, reader.hub.store.engine, query)
    return _in_threads(_ipc(batches))


async def _hot_only(reader: Reader, start: date | None, end: date | None) -> None:
    # A stream that silently left out the days of the cold tier would look like missing data.
    sealed = await reader.run(
        read_page, reader.hub.store.engine, Query("cold_day", start=start, end=end), order=[("day", True)], limit=1
    )
    if sealed.rows:
        raise InputError(
            f"{sealed.rows[0]['day']} is sealed in a column file, which this stream does not read",
            expected=f"start after {sealed.rows[0]['day']}",
            hint="read the Parquet files of the cold tier for older days",
        )


async def _in_threads(pieces: Generator[bytes, None, None]) -> AsyncIterator[bytes]:
    # Reading and encoding block; a client that goes away ends the read and frees its cursor.
    try:
        while (piece := await to_thread.run_sync(next, pieces, None)) is not None:
            yield piece
    finally:
        pieces.close()


def _ipc(batches: pa.RecordBatchReader) -> Generator[bytes, None, None]:
    from pyarrow import ipc

    pieces = _Pieces()
    try:
        with ipc.new_stream(pieces, batches.schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
                yield pieces.take()
        yield pieces.take()
    finally:
        batches.close()


class _Pieces(io.RawIOBase):
    """A sink that hands out what was written since the last time."""

    def __init__(self) -> None:
        self._held: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held.append(bytes(data))
        return len(self._held[-1])

    def take(self) -> bytes:
        held, self._held = self._held, []
        return b"".join(held)
