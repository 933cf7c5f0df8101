"""A frame: some rows of a file as columns, still in the file's own words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from dianhuan_sdk.batches import REJECT_SCHEMA

IntArray = np.ndarray[Any, np.dtype[np.int64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]
RAW_LIMIT = 4000


class Rejects:
    """Rows that cannot be brought into the contract's form, collected until a batch takes them along."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, str, str, str]] = []
        self.ignored = 0
        """Rows that the mapping does not want."""

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: int, code: str, detail: str, raw: str) -> None:
        """One row: number in the file, reason code, words, raw row as JSON text."""
        self._rows.append((row, code, detail, raw))

    def take(self) -> pa.RecordBatch | None:
        """The rows so far in `REJECT_SCHEMA`, and start anew; None if there are none."""
        if not self._rows:
            return None
        columns = [list(c) for c in zip(*sorted(self._rows), strict=True)]
        self._rows.clear()
        return pa.RecordBatch.from_arrays(
            [pa.array(c, f.type) for c, f in zip(columns, REJECT_SCHEMA, strict=True)], schema=REJECT_SCHEMA
        )


@dataclass
class Frame:
    """Rows of a file.

    Args:
        headers: header names in the file's order.
        columns: the columns that were read, by position in `headers`: binary (text in `codec`), string, or typed.
        rows: row number of each row in the file, 1 = first data row.
        codec: codec of binary columns.
    """

    headers: Sequence[str]
    columns: dict[int, pa.Array]
    rows: IntArray
    codec: str = "utf-8"
    _text: dict[int, tuple[pa.Array, Bools]] = field(default_factory=dict, repr=False)

    def text(self, index: int) -> tuple[pa.Array, Bools]:
        """A column as trimmed strings, and which rows are not text in the codec (those are null)."""
        if index not in self._text:
            self._text[index] = as_text(self.columns[index], self.codec)
        return self._text[index]

    def raw(self, i: int) -> str:
        """Row `i` as JSON text, header → text, cut at a sane length."""
        row: dict[str, str | None] = {}
        for index, column in sorted(self.columns.items()):
            value = column[i].as_py()
            if isinstance(value, bytes):
                value = value.decode(self.codec, "replace")
            row[self.headers[index]] = None if value is None else str(value)
        return json.dumps(row, ensure_ascii=False)[:RAW_LIMIT]


def as_text(column: pa.Array, codec: str) -> tuple[pa.Array, Bools]:
    """A column of any type as trimmed strings, with the rows that could not be decoded."""
    import pyarrow.compute as pc

    bad: Bools = np.zeros(len(column), dtype=bool)
    if pa.types.is_binary(column.type):
        data = column.buffers()[2]
        if codec.startswith("utf-8") or data is None or not has_high_bytes(data):
            try:
                return pc.utf8_trim_whitespace(column.cast(pa.string())), bad
            except pa.ArrowInvalid:
                pass
        distinct = column.dictionary_encode()
        words: list[str | None] = []
        wrong: list[bool] = []
        for value in distinct.dictionary.to_pylist():
            try:
                words.append(value.decode(codec).strip())
                wrong.append(False)
            except UnicodeDecodeError:
                words.append(None)
                wrong.append(True)
        texts = pa.array(words, pa.string()).take(distinct.indices)
        if any(wrong):
            bad = np.asarray(
                pc.fill_null(pa.array(wrong).take(distinct.indices), False).to_numpy(zero_copy_only=False), dtype=bool
            )
        return texts, bad
    if pa.types.is_string(column.type):
        return pc.utf8_trim_whitespace(column), bad
    if pa.types.is_dictionary(column.type):
        return as_text(column.cast(column.type.value_type), codec)
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        return pc.utf8_trim_whitespace(column.cast(pa.string())), bad
    return column.cast(pa.string()), bad


def has_high_bytes(data: pa.Buffer) -> bool:
    """Is there a byte beyond ASCII?"""
    view = np.frombuffer(data, dtype=np.uint8)
    whole = len(view) // 8 * 8
    return bool((view[:whole].view(np.uint64) & np.uint64(0x8080808080808080)).any() or (view[whole:] & 0x80).any())
