"""What flows from an adapter to the hub: batches, rejects, checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pyarrow as pa

REJECT_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("code", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("raw", pa.string(), nullable=False),
    ]
)
"""Rows an adapter could not turn into the contract's form: row number in the source (1 = first data row),
reason code, words, and the raw row as JSON text."""

ROW_COLUMN = "_row"
"""Optional int64 column of a batch: the row's number in its source, for messages and lineage."""

Cursor = Mapping[str, Any]
"""Where a stream stands: a small JSON object whose meaning is the adapter's own."""


@dataclass(frozen=True, slots=True)
class Window:
    """Civil days [start, end): `start` is in, `end` is out."""

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError(f"a window ends on or after its start, got {self.start} … {self.end}")

    def __contains__(self, day: date) -> bool:
        return self.start <= day < self.end

    @property
    def days(self) -> tuple[date, ...]:
        """The days of the window in order."""
        return tuple(self.start + timedelta(days=i) for i in range((self.end - self.start).days))


@dataclass(frozen=True, slots=True)
class SourceRef:
    """Where rows come from: a URI (file path, URL), the SHA-256 of its bytes in hex where known, and words."""

    uri: str
    sha256: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one standard table.

    Args:
        table: contract name.
        rows: columns of the contract, in any order, optionally with `_row`. A column that is not there is null in a
            new row, and keeps its value in a row that is replaced.
        source: where they come from.
        rejects: rows in `REJECT_SCHEMA` that did not reach the contract's form; they go to quarantine.
        only_new: rows whose key is known already are left as they are. For a source that knows less of a register
            than the register itself does, as a grid company's archive of an enterprise.
    """

    table: str
    rows: pa.RecordBatch
    source: SourceRef
    rejects: pa.RecordBatch | None = None
    only_new: bool = False


@dataclass(frozen=True, slots=True)
class Discard:
    """Nothing yielded since the last checkpoint counts, for example because the file changed while it was read.

    Args:
        reason: in words, for progress and log.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything yielded before this is complete; only a checkpoint moves a cursor.

    Args:
        cursor: the new position of the stream.
        note: words for progress, e.g. the file that is done.
    """

    cursor: Cursor
    note: str = ""
    stats: Mapping[str, int] = field(default_factory=dict)
