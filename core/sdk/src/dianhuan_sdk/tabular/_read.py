"""From a file and its mapping to batches of a contract."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_sdk.batches import ROW_COLUMN, Batch, SourceRef
from dianhuan_sdk.contracts import CURVE_TYPE, TableContract
from dianhuan_sdk.errors import ConfigError, InputError
from dianhuan_sdk.tabular._blocks import Block, FrameBlock, blocks_of
from dianhuan_sdk.tabular._fields import ensure_required, plan_columns, position
from dianhuan_sdk.tabular._frame import Frame, Rejects
from dianhuan_sdk.tabular._long import long_batches, matrix_batches
from dianhuan_sdk.tabular._mapping import Mapping as FileMapping
from dianhuan_sdk.tabular._source import ensure_complete, ensure_unchanged
from dianhuan_sdk.tabular._table import table_batches
from dianhuan_sdk.tabular._wide import wide_batches

CURVE_TABLE = "load_curve"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_file(
    path: Path,
    mapping: FileMapping | None,
    contract: TableContract,
    source: SourceRef | None = None,
    stats: Counter[str] | None = None,
) -> Iterator[Batch]:
    """Read a file into batches of a contract, streaming.

    Args:
        path: CSV (plain, gz, zip), Parquet or Excel.
        mapping: its form; None where the header's names are the contract's names, labels or aliases (a load curve
            is then wide, in kW, with the multiplier applied).
        contract: the table that it fills.
        source: what the batches name as their source; by default the path and the file's SHA-256.
        stats: `ignored` counts the rows that the mapping's `keep` leaves out.

    Yields:
        Batches of about 64,000 rows; rows that cannot be brought into the form come as `rejects`, the others go on.

    Raises:
        InputError: the file as a whole is unreadable. Where it breaks off, the rows before are yielded first.
        IncompleteFileError: it is still being written, or changed while it was read.
        ConfigError: the mapping is for another table.
    """
    mapping = mapping or FileMapping()
    if mapping.table and mapping.table != contract.name:
        raise ConfigError(
            f"the mapping is for the table {mapping.table}, not {contract.name}",
            expected=f"table: {contract.name}",
            hint="name the other mapping or the other table",
        )
    before = ensure_complete(path, mapping.control_file)
    source = source or SourceRef(path.as_uri() if path.is_absolute() else str(path), sha256_of(path))
    rejects = Rejects()
    yield from _batches(blocks_of(path, mapping), mapping, contract, source, path.name, rejects)
    if stats is not None and rejects.ignored:
        stats["ignored"] += rejects.ignored
    ensure_unchanged(path, before)


def read_rows(
    rows: Sequence[Mapping[str, Any]], form: FileMapping | None, contract: TableContract, source: SourceRef
) -> Iterator[Batch]:
    """Bring rows that came as objects (a page of a REST source) into batches of a contract.

    A list in a row stands for numbered columns: `"p": [1, 2]` is `p1`, `p2`.

    Raises:
        InputError: a column that the mapping names or the contract requires is in no row.
    """
    flat = [_flat(row) for row in rows]
    headers = tuple(dict.fromkeys(name for row in flat for name in row))
    columns = {i: pa.array([row.get(name) for row in flat], pa.string()) for i, name in enumerate(headers)}
    frame = Frame(headers, columns, np.arange(1, len(flat) + 1, dtype=np.int64))
    return _batches(iter([FrameBlock(frame)]), form or FileMapping(), contract, source, source.uri, Rejects())


def _flat(row: Mapping[str, Any]) -> dict[str, str | None]:
    out: dict[str, str | None] = {}
    for name, value in row.items():
        if isinstance(value, list):
            out |= {f"{name}{i}": None if item is None else str(item) for i, item in enumerate(value, 1)}
        elif isinstance(value, bool):
            out[name] = "1" if value else "0"
        elif isinstance(value, dict):
            out[name] = json.dumps(value, ensure_ascii=False)
        else:
            out[name] = None if value is None else str(value)
    return out


def _batches(
    blocks: Iterator[Block],
    mapping: FileMapping,
    contract: TableContract,
    source: SourceRef,
    origin: str,
    rejects: Rejects,
) -> Iterator[Batch]:
    nothing = empty_rows(contract)
    try:
        for rows in _rows(blocks, mapping, contract, rejects, origin):
            nothing = rows.slice(0, 0)
            yield Batch(contract.name, rows, source, rejects.take(), mapping.only_new)
    except InputError:
        if len(rejects):
            yield Batch(contract.name, nothing, source, rejects.take())
        raise
    if len(rejects):
        yield Batch(contract.name, nothing, source, rejects.take())


def _rows(
    blocks: Iterator[Block], mapping: FileMapping, contract: TableContract, rejects: Rejects, origin: str
) -> Iterator[pa.RecordBatch]:
    if contract.name != CURVE_TABLE:
        return table_batches((b.careful(rejects) for b in blocks), mapping, contract, rejects, origin)
    readers = {"long": long_batches, "matrix": matrix_batches, "wide": wide_batches}
    reader = readers.get(mapping.curve.layout if mapping.curve else "", _contract_or_wide)
    return reader(blocks, mapping, contract, rejects, origin)


def _contract_or_wide(
    blocks: Iterator[Block], mapping: FileMapping, contract: TableContract, rejects: Rejects, origin: str
) -> Iterator[pa.RecordBatch]:
    first = next(blocks)
    at = position(first.headers, "kw")
    frame = first.careful(Rejects()) if at is not None else None
    lists = frame is not None and at is not None and _is_curve(frame.columns[at].type)

    def again() -> Iterator[Block]:
        yield first
        yield from blocks

    if lists:
        yield from _contract_form((b.careful(rejects) for b in again()), mapping, contract, origin)
    elif mapping.curve is not None:
        raise InputError(
            f"{origin} has no list column kw", expected="the contract's own form", hint="set another curve.layout"
        )
    else:
        yield from wide_batches(again(), mapping, contract, rejects, origin)


def _is_curve(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _contract_form(
    frames: Iterator[Frame], mapping: FileMapping, contract: TableContract, origin: str
) -> Iterator[pa.RecordBatch]:
    for frame in frames:
        plan = plan_columns(mapping, contract, frame.headers, origin)
        ensure_required(plan, contract, frame.headers, origin)
        arrays = {}
        for name, column in plan.items():
            at = position(frame.headers, column.column or "")
            assert at is not None
            try:
                arrays[name] = frame.columns[at].cast(CURVE_TYPE if name == "kw" else contract.field(name).type)
            except pa.ArrowInvalid as error:
                raise InputError(
                    f"{origin}: column {column.column} is not {contract.field(name).type}: {error}",
                    expected="the contract's own types",
                    hint="describe the file by a mapping instead",
                ) from error
        arrays[ROW_COLUMN] = pa.array(frame.rows)
        batch = pa.RecordBatch.from_pydict(arrays)
        # A null list has no place in the flattened values: rows with and without a curve come apart.
        given = pc.is_valid(batch.column("kw"))
        for part in (batch.filter(given), batch.filter(pc.invert(given))):
            if part.num_rows:
                yield part


def empty_rows(contract: TableContract) -> pa.RecordBatch:
    """No rows of a contract."""
    return pa.RecordBatch.from_pylist([], schema=pa.schema([pa.field(f.name, f.type) for f in contract.fields]))
