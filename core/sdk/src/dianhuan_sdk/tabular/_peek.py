"""A first look at an unknown file: its form, header and first rows as texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dianhuan_sdk.errors import InputError
from dianhuan_sdk.tabular._blocks import blocks_of
from dianhuan_sdk.tabular._csv import CsvBlock
from dianhuan_sdk.tabular._frame import Rejects
from dianhuan_sdk.tabular._mapping import Mapping
from dianhuan_sdk.tabular._source import Steady, ensure_complete, kind_of, open_bytes, sniff_encoding

_TITLE_LINES = 12
_SAMPLE_BYTES = 1 << 16


@dataclass(frozen=True)
class Peek:
    """What the first rows of a file look like.

    Args:
        kind: `csv`, `parquet`, `excel`.
        compression: `none`, `gz`, `zip`.
        encoding, delimiter: of a CSV, else empty.
        header_row: line of the header, from 1.
        headers: names of the columns.
        columns: texts of the first rows, column by column; None = empty.
        whole: are these all rows of the file?
    """

    kind: str
    compression: str
    encoding: str
    delimiter: str
    header_row: int
    headers: tuple[str, ...]
    columns: tuple[list[str | None], ...]
    whole: bool


def peek_file(path: Path, rows: int = 50_000) -> Peek:
    """Look at the first rows of a file.

    Raises:
        InputError: it is unreadable as a whole.
    """
    ensure_complete(path)
    kind = kind_of(path, Mapping())
    header_row = _header_line(path) if kind == "csv" else 1
    blocks = blocks_of(path, Mapping(header_row=header_row))
    block = next(blocks)
    frame = block.careful(Rejects())
    found = len(frame.rows)
    columns = []
    for at in range(len(frame.headers)):
        frame.columns[at] = frame.columns[at].slice(0, rows)
        columns.append([text or None for text in frame.text(at)[0].to_pylist()])
    form = block.form if isinstance(block, CsvBlock) else None
    whole = found <= rows and next(blocks, None) is None
    with path.open("rb") as file:
        head = file.read(2)
    compression = {b"\x1f\x8b": "gz", b"PK": "zip"}.get(head, "none") if kind == "csv" else "none"
    return Peek(
        kind,
        compression,
        form.codec if form else "",
        form.delimiter if form else "",
        header_row,
        tuple(frame.headers),
        tuple(columns),
        whole,
    )


def _header_line(path: Path) -> int:
    """The first line that has as many fields as most lines: titles stand above it."""
    with open_bytes(path, Mapping()) as stream:
        sample = Steady(stream).peek(_SAMPLE_BYTES)
    lines = sample.decode(sniff_encoding(sample, "auto", path.name), "replace").splitlines()[:60]
    lines = lines[:-1] if len(sample) == _SAMPLE_BYTES and len(lines) > 1 else lines
    if not lines:
        raise InputError(f"{path.name} has no lines", expected="a header and rows", hint="ask the sender again")
    widths = [max(line.count(mark) for mark in ",;\t|") for line in lines]
    usual = max(set(widths), key=lambda width: (widths.count(width), width))
    return next((i for i, width in enumerate(widths[:_TITLE_LINES], 1) if width == usual), 1)
