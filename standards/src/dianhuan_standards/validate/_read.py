"""Files and rows in memory as columns under their own headers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from dianhuan_sdk import InputError


@dataclass(frozen=True, slots=True)
class Raw:
    """What a source holds, before any contract is applied.

    Args:
        headers: names as the source has them.
        columns: one array per header; text where the source is text.
        rows: shape (n,): number of each row in the source, 1 = first data row.
        torn: numbers of rows with more or fewer cells than the header; they are not among `rows`.
    """

    headers: tuple[str, ...]
    columns: tuple[pa.Array, ...]
    rows: np.ndarray[Any, np.dtype[np.int64]]
    torn: tuple[int, ...] = ()


def read_file(path: Path) -> Raw:
    """The columns of a CSV file (UTF-8 or GB18030) or a Parquet file.

    Raises:
        InputError: the file cannot be read, or has no header.
    """
    try:
        return _read_parquet(path) if path.suffix.lower() in (".parquet", ".pq") else _read_csv(path)
    except (OSError, csv.Error, pa.ArrowException) as error:
        raise InputError(
            f"{path.name} cannot be read: {error}",
            expected="a CSV file with a header (UTF-8 or GB18030), or a Parquet file",
            hint="check that the file is there, whole, and of the kind its name says",
        ) from error


def from_rows(rows: Sequence[Mapping[str, Any]]) -> Raw:
    """Rows as JSON objects; a key that a row lacks is null."""
    headers = tuple(dict.fromkeys(key for row in rows for key in row))
    columns = tuple(pa.array([_text(row.get(header)) for row in rows], pa.string()) for header in headers)
    return Raw(headers, columns, np.arange(1, len(rows) + 1))


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _read_parquet(path: Path) -> Raw:
    table = pyarrow.parquet.read_table(path)
    columns = tuple(column.combine_chunks() for column in table.columns)
    return Raw(tuple(table.column_names), columns, np.arange(1, table.num_rows + 1))


def _read_csv(path: Path) -> Raw:
    text = _decode(path.read_bytes(), path.name)
    headers = next(csv.reader(io.StringIO(text)), [])
    if not any(header.strip() for header in headers):
        raise InputError(
            f"{path.name} has no header line",
            expected="a first line with the names of the columns",
            hint="add the header line",
        )
    torn: list[int] = []

    def note(row: pyarrow.csv.InvalidRow) -> str:
        torn.append(row.number - 1)
        return "skip"

    names = [f"c{i}" for i in range(len(headers))]
    table = pyarrow.csv.read_csv(
        io.BytesIO(text.encode()),
        read_options=pyarrow.csv.ReadOptions(column_names=names, skip_rows=1, use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(invalid_row_handler=note, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )
    rows = np.setdiff1d(np.arange(1, table.num_rows + len(torn) + 1), np.array(torn, dtype=np.int64))
    columns = tuple(column.combine_chunks() for column in table.columns)
    return Raw(tuple(header.strip() for header in headers), columns, rows, tuple(torn))


def _decode(data: bytes, name: str) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputError(
        f"{name} is neither UTF-8 nor GB18030",
        expected="text in UTF-8 or GB18030",
        hint="save the file again in UTF-8; a compressed file is unpacked first",
    )
