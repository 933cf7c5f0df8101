"""A file as blocks, whatever its format: each gives a quick typed frame, or a careful one with every column."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from dianhuan_sdk.errors import InputError
from dianhuan_sdk.tabular._csv import read_blocks
from dianhuan_sdk.tabular._frame import Frame, Rejects
from dianhuan_sdk.tabular._mapping import Mapping
from dianhuan_sdk.tabular._source import kind_of

PARQUET_ROWS = 65_536


class Block(Protocol):
    """Some rows of a file."""

    @property
    def headers(self) -> Sequence[str]:
        """Header names in the file's order."""
        ...

    def typed(self, types: dict[int, pa.DataType], missing: Sequence[str]) -> Frame | None:
        """The columns at these positions, in these types where the format allows; None: be careful instead."""
        ...

    def careful(self, rejects: Rejects) -> Frame:
        """All columns; lines that are no rows go to `rejects`."""
        ...


@dataclass(frozen=True)
class FrameBlock:
    """A block of a format that is typed already."""

    frame: Frame

    @property
    def headers(self) -> Sequence[str]:
        """Header names in the file's order."""
        return self.frame.headers

    def typed(self, types: dict[int, pa.DataType], missing: Sequence[str]) -> Frame | None:
        """The frame as it is."""
        return self.frame

    def careful(self, rejects: Rejects) -> Frame:
        """The frame as it is."""
        return self.frame


def blocks_of(path: Path, mapping: Mapping) -> Iterator[Block]:
    """The blocks of a CSV, Parquet or Excel file, at least one.

    Raises:
        InputError: unreadable as a whole, or broken at some place (after the blocks before it).
    """
    kind = kind_of(path, mapping)
    if kind == "parquet":
        return _parquet(path)
    return _excel(path, mapping) if kind == "excel" else iter(read_blocks(path, mapping))


def _parquet(path: Path) -> Iterator[Block]:
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path.name} is not a whole Parquet file: {error}", hint="fetch it again") from error
    headers = tuple(file.schema_arrow.names)
    row = 1
    with file:
        try:
            for batch in file.iter_batches(batch_size=PARQUET_ROWS):
                rows = np.arange(row, row + batch.num_rows, dtype=np.int64)
                yield FrameBlock(Frame(headers, dict(enumerate(batch.columns)), rows))
                row += batch.num_rows
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{path.name} is damaged at row {row}: {error}", hint="fetch it again") from error
    if row == 1:
        columns = {i: pa.array([], field.type) for i, field in enumerate(file.schema_arrow)}
        yield FrameBlock(Frame(headers, columns, np.zeros(0, dtype=np.int64)))


def _excel(path: Path, mapping: Mapping) -> Iterator[Block]:
    try:
        import python_calamine
    except ImportError:
        raise InputError(
            f"{path.name} is an Excel file", expected="the extra `excel`", hint="pip install 'dianhuan-sdk[excel]'"
        ) from None
    try:
        book = python_calamine.CalamineWorkbook.from_path(str(path))
    except Exception as error:  # the library's errors have no common base
        raise InputError(f"{path.name} is not a whole Excel file: {error}", hint="open and save it again") from error
    with book:
        if mapping.sheet and mapping.sheet not in book.sheet_names:
            raise InputError(
                f"{path.name} has no sheet {mapping.sheet!r}",
                expected=f"one of {', '.join(book.sheet_names)}",
                hint="correct `sheet` in the mapping",
            )
        rows = book.get_sheet_by_name(mapping.sheet or book.sheet_names[0]).to_python(skip_empty_area=False)
    if len(rows) < mapping.header_row or not any(cell != "" for cell in rows[mapping.header_row - 1]):
        raise InputError(
            f"{path.name} has no header in line {mapping.header_row}",
            expected="a line with the names of the columns",
            hint="set `header_row` or `sheet`",
        )
    headers = tuple(_cell(cell) or "" for cell in rows[mapping.header_row - 1])
    body = rows[mapping.header_row :]
    columns = {i: pa.array([_cell(r[i]) for r in body], pa.string()) for i in range(len(headers))}
    yield FrameBlock(Frame(headers, columns, np.arange(1, len(body) + 1, dtype=np.int64)))


def _cell(value: object) -> str | None:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float):
        return str(int(value)) if math.isfinite(value) and value == int(value) and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime | date):
        return value.isoformat(sep=" ") if isinstance(value, datetime) else value.isoformat()
    return str(value) if value != "" else None
