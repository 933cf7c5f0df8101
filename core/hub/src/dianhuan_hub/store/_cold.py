"""Cold tier: one Parquet file per day, lossless, at the meters' own quanta.

Each row keeps `kw` as 96 integers; the value is `element × factor ÷ 10^exp10` kW. `exp10 = 255` marks a row whose
readings sit on no decimal grid: its elements are then the bits of float32. A file is written aside, fsynced and
renamed; only a manifest row makes it visible, so a crash leaves an orphan and never half a day.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dianhuan_hub.store._curves import CurveRows, insert_curves, read_curves
from dianhuan_hub.store._engine import Connection, Engine, arrow, one
from dianhuan_hub.store._missing import MASK_BYTES, FloatArray, store_to_nan
from dianhuan_hub.store._topology import EPOCH, IntArray
from dianhuan_sdk import POINTS_PER_DAY

FLOAT_BITS = 255
ROW_GROUP = 20_000
_MAX_EXPONENT = 6

COLD_SCHEMA = pa.schema(
    [
        pa.field("mp", pa.int32(), nullable=False),
        pa.field("exp10", pa.uint8(), nullable=False),
        pa.field("factor", pa.int32(), nullable=False),
        pa.field("kw", pa.list_(pa.field("element", pa.int32(), nullable=False), POINTS_PER_DAY), nullable=False),
        pa.field("missing", pa.binary(MASK_BYTES)),
        pa.field("points", pa.uint8(), nullable=False),
        pa.field("kwh", pa.float64()),
        pa.field("load_id", pa.int32(), nullable=False),
    ]
)

IntMatrix = np.ndarray[Any, np.dtype[np.int32]]


@dataclass(frozen=True)
class Quantized:
    """Rows as integers: `kw = elements × factor ÷ 10^exp10`, or float32 bits where `exp10` is 255."""

    elements: IntMatrix
    factor: np.ndarray[Any, np.dtype[np.int32]]
    exp10: np.ndarray[Any, np.dtype[np.uint8]]


def quantize(kw: FloatArray) -> Quantized:
    """Find each row's decimal grid; shape (n, 96) without NaN. Lossless: `dequantize` gives the same float32."""
    rows = len(kw)
    elements = np.zeros((rows, POINTS_PER_DAY), np.int32)
    factor = np.ones(rows, np.int32)
    exp10 = np.full(rows, FLOAT_BITS, np.uint8)
    todo = np.arange(rows)
    for exponent in range(_MAX_EXPONENT + 1):
        if len(todo) == 0:
            break
        scale = 10.0**exponent
        values = kw[todo].astype(np.float64)
        grid = np.rint(values * scale)
        fits = ((grid / scale).astype(np.float32) == kw[todo]).all(axis=1) & (np.abs(grid) < 2**31).all(axis=1)
        done = todo[fits]
        whole = grid[fits].astype(np.int64)
        step = np.gcd.reduce(whole, axis=1)
        step[step == 0] = 1
        elements[done] = whole // step[:, None]
        factor[done] = step
        exp10[done] = exponent
        todo = todo[~fits]
    elements[todo] = kw[todo].view(np.int32)
    return Quantized(elements, factor, exp10)


def dequantize(q: Quantized) -> FloatArray:
    """The float32 kW that were quantized, shape (n, 96)."""
    bits = q.exp10 == FLOAT_BITS
    scale = 10.0 ** np.where(bits, 0, q.exp10).astype(np.float64)
    kw = (q.elements.astype(np.float64) * q.factor[:, None] / scale[:, None]).astype(np.float32)
    kw[bits] = q.elements[bits].view(np.float32)
    return kw


def write_cold(path: Path, table: pa.Table) -> str:
    """Write a table in `COLD_SCHEMA`; see `write_aside`."""
    return write_aside(
        path,
        table,
        compression="zstd",
        compression_level=6,
        use_dictionary=False,
        use_byte_stream_split=["kw.list.element"],
        row_group_size=ROW_GROUP,
        write_statistics=["mp"],
    )


def write_aside(path: Path, table: pa.Table, **options: Any) -> str:
    """Write a Parquet file aside, fsync, rename; answers its SHA-256."""
    aside = path.with_suffix(".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, aside, **options)
    with aside.open("rb+") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    aside.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return digest


def cold_table(table: pa.Table) -> pa.Table:
    """Rows of the store's `curve` (one day, metering point order) in `COLD_SCHEMA`."""
    kw = table.column("kw").combine_chunks()
    q = quantize(np.asarray(kw.flatten().to_numpy(zero_copy_only=False), np.float32).reshape(len(kw), POINTS_PER_DAY))
    elements = pa.array(q.elements.reshape(-1))
    return pa.table(
        [
            table.column("mp").cast(pa.int32()),
            pa.array(q.exp10),
            pa.array(q.factor),
            pa.FixedSizeListArray.from_arrays(elements, type=COLD_SCHEMA.field("kw").type),
            table.column("missing").cast(pa.binary(MASK_BYTES)),
            table.column("points").cast(pa.uint8()),
            table.column("kwh"),
            table.column("load_id").cast(pa.int32()),
        ],
        schema=COLD_SCHEMA,
    )


def read_cold(path: Path, points: np.ndarray[Any, np.dtype[np.int32]] | None = None) -> tuple[pa.Table, FloatArray]:
    """A day's rows and their kW of shape (n, 96) with NaN, all or those of some metering points."""
    filters = None if points is None else [("mp", "in", [int(p) for p in points])]
    table = pq.read_table(path, filters=filters).combine_chunks()
    elements = table.column("kw").combine_chunks().flatten().to_numpy().reshape(-1, POINTS_PER_DAY)
    stored = dequantize(
        Quantized(
            np.ascontiguousarray(elements, np.int32),
            np.asarray(table.column("factor").to_numpy(), np.int32),
            np.asarray(table.column("exp10").to_numpy(), np.uint8),
        )
    )
    flat = pa.FixedSizeListArray.from_arrays(pa.array(stored.reshape(-1)), POINTS_PER_DAY)
    return table, store_to_nan(flat, table.column("missing").combine_chunks().cast(pa.binary()))


class ColdTier:
    """Moves days out of the DuckDB file and back.

    Args:
        engine: the store's engine.
        folder: where the files lie.
        now: the hub's clock.
    """

    def __init__(self, engine: Engine, folder: Path, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._folder = folder
        self._now = now
        self._collect_orphans()

    def _collect_orphans(self) -> None:
        with self._engine.cursor() as con:
            known = {row[0] for row in con.execute("SELECT file FROM cold_day").fetchall()}
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                if path.suffix == ".part":
                    path.unlink()
                elif path.suffix == ".parquet" and path.name not in known:
                    # Not deleted: with another database file beside it, this may be the only copy of a day.
                    (self._folder / "orphans").mkdir(exist_ok=True)
                    path.rename(self._folder / "orphans" / path.name)

    def seal(self, day: date) -> Path:
        """Move one day of curves into a file of its own; the writer is busy for about two seconds a city-day."""

        def work(con: Connection) -> Path:
            hot = arrow(con, "SELECT * FROM curve WHERE day = ? ORDER BY mp", [day])
            newest = int(np.max(hot.column("load_id").to_numpy(), initial=0))
            path = self._folder / f"curve_{day:%Y%m%d}_{newest}.parquet"
            digest = write_cold(path, cold_table(hot))
            con.execute(
                "INSERT INTO cold_day VALUES (?, ?, ?, ?, ?, ?)",
                [day, path.name, hot.num_rows, path.stat().st_size, digest, self._now()],
            )
            con.execute("DELETE FROM curve WHERE day = ?", [day])
            return path

        return self._engine.write(work)

    def path(self, con: Connection, day: date) -> Path | None:
        """The file of a sealed day, or None where the day is hot."""
        row = one(con, "SELECT file FROM cold_day WHERE day = ?", [day])
        return self._folder / row[0] if row else None

    def day(self, con: Connection, day: int, points: IntArray | None) -> tuple[IntArray, FloatArray]:
        """Curves of a day (days since 1970-01-01), hot or sealed: metering points, kW of shape (n, 96) with NaN."""
        path = self.path(con, EPOCH + timedelta(days=day))
        if path is None:
            _, mp, kw = read_curves(con, day, day, points)
            return mp, kw
        table, kw = read_cold(path, points)
        return np.asarray(table.column("mp").to_numpy(), np.int32), kw

    def days(self, con: Connection) -> list[date]:
        """The sealed days in order."""
        return [row[0] for row in con.execute("SELECT day FROM cold_day ORDER BY day").fetchall()]

    def unseal(self, con: Connection, day: date) -> None:
        """Bring a sealed day back into the caller's transaction, because a correction for it has come."""
        path = self.path(con, day)
        if path is None:
            return
        table, kw = read_cold(path)
        mp = np.asarray(table.column("mp").to_numpy(), np.int32)
        loads = np.asarray(table.column("load_id").to_numpy(), np.int32)
        number = (day - date(1970, 1, 1)).days
        for load_id in np.unique(loads):
            mine = np.flatnonzero(loads == load_id)
            rows = CurveRows(
                mp[mine],
                np.full(len(mine), number, np.int32),
                kw[mine],
                np.asarray(table.column("points").to_numpy(), np.uint8)[mine],
                np.asarray(table.column("kwh").to_numpy(zero_copy_only=False), float)[mine],
                mine,
            )
            insert_curves(con, rows, int(load_id))
        con.execute("DELETE FROM cold_day WHERE day = ?", [day])
