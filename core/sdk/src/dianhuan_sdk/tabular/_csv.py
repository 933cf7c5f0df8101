"""CSV in blocks of whole lines: pyarrow parses raw bytes, only what is needed is decoded."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from dianhuan_sdk.errors import InputError
from dianhuan_sdk.tabular._frame import RAW_LIMIT, Frame, Rejects, has_high_bytes
from dianhuan_sdk.tabular._mapping import Mapping
from dianhuan_sdk.tabular._source import (
    BREAKS,
    SAFE_DELIMITERS,
    Steady,
    broken_stream,
    line_blocks,
    open_bytes,
    sniff_encoding,
)

BLOCK_BYTES = 32 << 20
"""About 50,000 to 70,000 rows of 96 values; bounds memory."""
_THREAD_BLOCK = 2 << 20


@dataclass(frozen=True)
class CsvForm:
    """What was found out about a CSV file before its first row."""

    headers: tuple[str, ...]
    codec: str
    delimiter: str
    transcode: bool


@dataclass
class CsvBlock:
    """Whole lines of a file, and the row number of the first."""

    form: CsvForm
    data: bytes
    first_row: int
    name: str

    @property
    def headers(self) -> Sequence[str]:
        """Header names in the file's order."""
        return self.form.headers

    def typed(self, types: dict[int, pa.DataType], missing: Sequence[str]) -> Frame | None:
        """Only these columns, texts as binary, numbers as floats; None if the block needs the careful way.

        Row numbers are right only where no line is bad, so the first bad line or number ends this way.
        """
        if not self.data:
            return self.careful(Rejects())
        try:
            table = self._read({str(i): t for i, t in types.items()}, [str(i) for i in types], missing, None)
        except pa.ArrowInvalid:
            return None
        if table.num_rows != self._lines:
            # Blank lines, or a quote that swallows the lines after it.
            return None
        columns = {int(name): _one(table.column(name)) for name in table.column_names}
        rows = np.arange(self.first_row, self.first_row + table.num_rows, dtype=np.int64)
        return Frame(self.form.headers, columns, rows, _text_codec(self.form))

    def careful(self, rejects: Rejects) -> Frame:
        """All columns as binary; lines with a wrong number of columns go to `rejects`."""
        bad_lines: list[int] = []
        if not self.data:
            columns = {i: pa.array([], pa.binary()) for i in range(len(self.form.headers))}
            return Frame(self.form.headers, columns, np.zeros(0, dtype=np.int64))

        def on_bad(line: pacsv.InvalidRow) -> str:
            number = self.first_row + line.number - 1
            bad_lines.append(number)
            words = f"{line.actual_columns} columns, the header has {line.expected_columns}"
            text = line.text.encode("latin-1").decode(codec, "replace") if veiled else line.text
            rejects.add(number, "wrong_columns", words, json.dumps({"line": text[:RAW_LIMIT]}, ensure_ascii=False))
            return "skip"

        names = [str(i) for i in range(len(self.form.headers))]
        codec = _text_codec(self.form)
        # Arrow hands bad lines over as UTF-8 text and fails where they are not: veil other bytes as Latin-1 letters.
        veiled = not _is_utf8(self.data)
        data = self.data.decode("latin-1").encode() if veiled else self.data
        try:
            table = self._read({n: pa.binary() for n in names}, names, (), on_bad, data)
        except pa.ArrowInvalid as error:
            raise InputError(
                f"{self.name}: the lines from row {self.first_row} on are not CSV: {error}",
                expected="lines of fields, quotes closed on the same line",
                hint="check quotes and the delimiter near that row",
            ) from error
        columns = {int(name): _one(table.column(name)) for name in names}
        if veiled:
            columns = {at: _unveiled(column) for at, column in columns.items()}
        rows = np.arange(self.first_row, self.first_row + table.num_rows + len(bad_lines), dtype=np.int64)
        rows = np.setdiff1d(rows, np.asarray(bad_lines, dtype=np.int64), assume_unique=True)
        frame = Frame(self.form.headers, columns, rows, codec)
        return frame if len(rows) + len(bad_lines) == self._lines else _without_open_quotes(frame, rejects)

    @property
    def _lines(self) -> int:
        return self.data.count(b"\n") + (not self.data.endswith(b"\n"))

    def _read(
        self,
        types: dict[str, pa.DataType],
        include: list[str],
        missing: Sequence[str],
        on_bad: object | None,
        data: bytes | None = None,
    ) -> pa.Table:
        return pacsv.read_csv(
            pa.BufferReader(self.data if data is None else data),
            read_options=pacsv.ReadOptions(
                # Row numbers of bad lines are known only when one thread reads.
                use_threads=on_bad is None,
                column_names=[str(i) for i in range(len(self.form.headers))],
                block_size=_THREAD_BLOCK if data is None else max(len(data), 1),
            ),
            parse_options=pacsv.ParseOptions(delimiter=self.form.delimiter, invalid_row_handler=on_bad),
            convert_options=pacsv.ConvertOptions(
                check_utf8=False,
                column_types=types,
                include_columns=include,
                null_values=list(missing),
                strings_can_be_null=False,
            ),
        )


def _without_open_quotes(frame: Frame, rejects: Rejects) -> Frame:
    """Refuse rows with a line end inside a quoted value: as a rule the quote was never closed."""
    breaks = np.zeros(len(frame.rows), dtype=np.int64)
    for column in frame.columns.values():
        breaks += pc.fill_null(pc.count_substring(column, b"\n"), 0).to_numpy(zero_copy_only=False)
    frame.rows = frame.rows + np.cumsum(breaks) - breaks
    for i in np.flatnonzero(breaks):
        words = f"a quoted value runs over {breaks[i]} line ends: a quote is not closed"
        rejects.add(int(frame.rows[i]), "open_quote", words, frame.raw(int(i)))
    mask = pa.array(breaks == 0)
    columns = {at: column.filter(mask) for at, column in frame.columns.items()}
    return Frame(frame.headers, columns, frame.rows[breaks == 0], frame.codec)


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _unveiled(column: pa.Array) -> pa.Array:
    data = column.buffers()[2]
    if data is None or not has_high_bytes(data):
        return column
    return pa.array([v.decode().encode("latin-1") for v in column.to_pylist()], pa.binary())


def _text_codec(form: CsvForm) -> str:
    return "utf-8" if form.transcode else form.codec


def read_form(sample: bytes, mapping: Mapping, name: str) -> tuple[CsvForm, int]:
    """The form of a CSV file from its first bytes, and how many bytes stand before the first row.

    Raises:
        InputError: wrong encoding, or no header line.
    """
    codec = sniff_encoding(sample, mapping.encoding, name)
    if codec == "utf-16":
        text = sample[: len(sample) // 2 * 2].decode(codec, "ignore")
        skip = 0
    else:
        skip = 3 if codec == "utf-8-sig" else 0
        start = skip
        for _ in range(mapping.header_row):
            end = sample.find(b"\n", start)
            start, skip = (end + 1, start) if end >= 0 else (len(sample), start)
        # From here on bytes before `start` are consumed.
        text = sample[skip:start].decode(codec.removesuffix("-sig"))
        skip = start
    lines = text.splitlines()
    line = lines[mapping.header_row - 1 if codec == "utf-16" else 0] if lines else ""
    delimiter = mapping.delimiter
    if delimiter == "auto":
        delimiter = max((*SAFE_DELIMITERS, "|"), key=line.count)
    headers = tuple(h.strip() for h in next(csv.reader(io.StringIO(line), delimiter=delimiter), []))
    if not headers or not any(headers):
        raise InputError(
            f"{name} has no header in line {mapping.header_row}",
            expected="a line with the names of the columns",
            hint="set `header_row`, or ask the sender for a header",
        )
    transcode = codec == "utf-16" or (delimiter not in SAFE_DELIMITERS and not codec.startswith("utf-8"))
    return CsvForm(headers, "utf-8" if codec == "utf-8-sig" else codec, delimiter, transcode), skip


def read_blocks(path: Path, mapping: Mapping) -> Iterator[CsvBlock]:
    """The blocks of a CSV file, plain, gz or zip; at least one, which may hold no rows.

    Raises:
        InputError: unreadable as a whole; for a cut compressed file after the blocks before the break.
    """
    with open_bytes(path, mapping) as stream:
        steady = Steady(stream)
        form, skip = read_form(steady.peek(), mapping, path.name)
        row = 1
        try:
            if form.transcode:
                blocks = _after_header(line_blocks(steady, BLOCK_BYTES, form.codec), mapping.header_row)
            else:
                steady.read(skip)
                blocks = line_blocks(steady, BLOCK_BYTES, None)
            empty = True
            for data in blocks:
                yield CsvBlock(form, data, row, path.name)
                empty = False
                row += data.count(b"\n")
            if empty:
                yield CsvBlock(form, b"", 1, path.name)
        except BREAKS as error:
            raise broken_stream(path, error) from error


def _after_header(blocks: Iterator[bytes], lines: int) -> Iterator[bytes]:
    first = next(blocks, b"").removeprefix(b"\xef\xbb\xbf")
    for _ in range(lines):
        first = first[first.find(b"\n") + 1 :] if b"\n" in first else b""
    if first:
        yield first
    yield from blocks
