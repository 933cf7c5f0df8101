"""Parquet of peers: opened by a child only, which may die while this process goes on."""

from __future__ import annotations

import random
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dianhuan_federation.core import PARQUET, WARNING_ROWS, Caps, Refused, encode_rows
from dianhuan_federation.sync import ParquetSandbox, encode_parquet

World = ModuleType


@pytest.fixture(scope="module")
def sandbox() -> Iterator[ParquetSandbox]:
    """One sandbox for all: after each attack it must still serve."""
    with ParquetSandbox(Caps(payload=8 * 1024 * 1024), stall=20.0, seconds=5) as opened:
        yield opened


@pytest.fixture
def rows(world: World) -> bytes:
    """Canonical rows."""
    return encode_rows(WARNING_ROWS, [world.warning_row(n) for n in range(1, 50)]).payload


def wanted() -> pa.Schema:
    """The Arrow schema of warning rows."""
    from dianhuan_federation.sync._parquet_worker import arrow_schema

    return arrow_schema([(c.name, c.kind) for c in WARNING_ROWS.all_columns])


def written(table: pa.Table, **options: Any) -> bytes:
    """A Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, store_schema=False, **options)
    return bytes(sink.getvalue())


def bomb() -> bytes:
    """A small file whose dictionary pages expand to many gigabytes of text."""
    count = 400_000
    column = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array(["x" * 200_000]))
    schema = wanted()
    columns = [column if f.name == "enterprise_name" else pa.nulls(count, f.type) for f in schema]
    return written(pa.Table.from_arrays(columns, names=schema.names), compression="zstd", use_dictionary=True)


def forged(data: bytes, old: int, new: int) -> bytes:
    """The file with a number of its footer and pages (zigzag varint) replaced by another of the same length."""

    def varint(number: int) -> bytes:
        number, out = number << 1, b""
        while number > 127:
            out += bytes([number & 127 | 128])
            number >>= 7
        return out + bytes([number])

    assert len(varint(old)) == len(varint(new))
    assert varint(old) in data
    return data.replace(varint(old), varint(new))


def refused(sandbox: ParquetSandbox, data: bytes) -> str:
    """The code by which a file is refused."""
    with pytest.raises(Refused) as caught:
        sandbox.decode(data, WARNING_ROWS)
    return str(caught.value.code)


def outcome(sandbox: ParquetSandbox, data: bytes) -> str:
    """What becomes of a file that may pass."""
    try:
        given = sandbox.decode(data, WARNING_ROWS)
    except Refused as error:
        return str(error.code)
    return "at most 8191 rows" if given.count(b"\n") <= 8191 else f"{len(given)} bytes"


def still_serves(sandbox: ParquetSandbox, rows: bytes) -> bool:
    """The next good file is read."""
    return sandbox.decode(encode_parquet(WARNING_ROWS, rows), WARNING_ROWS) == rows


def test_parquet_gives_the_same_canonical_rows(sandbox: ParquetSandbox, rows: bytes) -> None:
    assert still_serves(sandbox, rows)
    assert still_serves(sandbox, rows)


def test_hostile_bomb_kills_no_one_here(sandbox: ParquetSandbox, rows: bytes) -> None:
    data = bomb()
    assert len(data) < 8 * 1024 * 1024
    assert refused(sandbox, data) == "E-BOMB"
    assert still_serves(sandbox, rows)


def test_hostile_many_small_rows_stop_at_the_cap(sandbox: ParquetSandbox, rows: bytes) -> None:
    schema = wanted()
    columns = [pa.array(["x"] * 200_000) if f.name == "record_id" else pa.nulls(200_000, f.type) for f in schema]
    assert refused(sandbox, written(pa.Table.from_arrays(columns, schema=schema))) == "E-BOMB"
    assert still_serves(sandbox, rows)


def test_hostile_forged_counts(sandbox: ParquetSandbox, rows: bytes) -> None:
    # 8191 values that call themselves 16000: both take two bytes on the wire.
    schema = wanted()
    columns = [pa.array(["x"] * 8000) if f.name == "record_id" else pa.nulls(8000, f.type) for f in schema]
    data = written(pa.Table.from_arrays(columns, schema=schema), use_dictionary=False, compression="none")
    for new in (8100, 100, 8191):
        assert outcome(sandbox, forged(data, 8000, new)) in ("E-BOMB", "E-ROWS", "at most 8191 rows")
        assert still_serves(sandbox, rows)


def test_hostile_zero_row_groups_give_no_rows(sandbox: ParquetSandbox) -> None:
    sink = pa.BufferOutputStream()
    pq.ParquetWriter(sink, wanted(), store_schema=False).close()
    assert sandbox.decode(bytes(sink.getvalue()), WARNING_ROWS) == b""


@pytest.mark.parametrize("change", ["missing", "more", "renamed", "other type", "nested", "reordered"])
def test_hostile_schemas_are_refused(sandbox: ParquetSandbox, rows: bytes, change: str) -> None:
    fields = list(wanted())
    table = pa.Table.from_arrays([pa.nulls(3, f.type) for f in fields], schema=pa.schema(fields))
    if change == "missing":
        table = table.drop_columns(["score"])
    elif change == "more":
        table = table.append_column("load_kw", pa.array([1.0, 2.0, 3.0]))
    elif change == "renamed":
        table = table.rename_columns([n.upper() for n in table.column_names])
    elif change == "other type":
        table = table.set_column(0, "day", pa.array(["2026-11-23"] * 3))
    elif change == "nested":
        table = table.set_column(0, "day", pa.array([[1], [2], [3]]))
    else:
        table = table.select(table.column_names[::-1])
    assert refused(sandbox, written(table)) == "E-ROWS"
    assert still_serves(sandbox, rows)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PAR1",
        b"PAR1PAR1",
        b"PARE" + bytes(60) + b"PARE",
        b"PAR1" + b"\xff" * 60 + b"\xff\xff\xff\x7fPAR1",
        b"x" * 9,
    ],
    ids=["empty", "magic", "magic twice", "encrypted footer", "footer larger than the file", "no magic"],
)
def test_hostile_files_that_are_none(sandbox: ParquetSandbox, rows: bytes, data: bytes) -> None:
    assert refused(sandbox, data) in ("E-ROWS", "E-BOMB")
    assert still_serves(sandbox, rows)


def test_hostile_fuzz_never_harms_this_process(sandbox: ParquetSandbox, rows: bytes) -> None:
    good = encode_parquet(WARNING_ROWS, rows)
    random_ = random.Random(3)
    for _ in range(60):
        data = bytearray(good)
        for _ in range(random_.choice((1, 1, 4, 30))):
            data[random_.randrange(len(data))] = random_.randrange(256)
        if random_.random() < 0.2:
            del data[random_.randrange(len(data)) :]
        assert outcome(sandbox, bytes(data)) in ("E-BOMB", "E-ROWS", "at most 8191 rows")
    assert still_serves(sandbox, rows)


def test_hostile_stall_is_ended(rows: bytes) -> None:
    with ParquetSandbox(stall=0.0) as sandbox, pytest.raises(Refused) as caught:
        sandbox.decode(encode_parquet(WARNING_ROWS, rows), WARNING_ROWS)
    assert caught.value.code == "E-BOMB"


def parquet_log(world: World, rows: bytes, shown: bytes) -> Any:
    """A log whose batch has Parquet as its only encoding."""
    log = world.Log()
    log.add_policy()
    batch = encode_rows(WARNING_ROWS, [world.warning_row(n) for n in range(1, 50)])
    assert batch.payload == rows
    fields = log.batch_fields(
        batch.payload,
        batch.count,
        batch.root,
        media_type=PARQUET,
        compress=lambda _: encode_parquet(WARNING_ROWS, shown),
    )
    log.add(log.statement("result-batch", "warnings", fields, batch.payload))
    log.publish()
    return log


def test_parquet_is_a_second_encoding_of_the_rows(
    world: World, sandbox: ParquetSandbox, sync_parts: ModuleType, tmp_path: Path, rows: bytes
) -> None:
    log = parquet_log(world, rows, rows)
    home = sync_parts.Subscriber(world, tmp_path / "home")
    home.take(log.submission(), decoders={PARQUET: sandbox.decode})
    assert len(home.rows("federated_warning")) == 49
    assert [p.name for p in home.replica.glob("*/blob/sha256/*")] == [
        sha256(encode_parquet(WARNING_ROWS, rows)).hexdigest()
    ]
    other = sync_parts.Subscriber(world, tmp_path / "other")
    other.take(log.submission())
    assert [r["code"] for r in other.rows("federated_statement")] == ["", "E-MISSING"]


def test_hostile_parquet_with_other_rows_is_refused(
    world: World, sandbox: ParquetSandbox, sync_parts: ModuleType, tmp_path: Path, rows: bytes
) -> None:
    log = parquet_log(world, rows, rows.replace(b'"0.0001"', b'"0.9999"'))
    home = sync_parts.Subscriber(world, tmp_path / "home")
    home.take(log.submission(), decoders={PARQUET: sandbox.decode})
    assert [r["code"] for r in home.rows("federated_statement")] == ["", "E-DIGEST"]
    assert home.rows("federated_warning") == []
