"""Load curves: append, tell repeats from corrections, keep the replaced row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from dianhuan_hub.store._engine import arrow, one
from dianhuan_hub.store._missing import FloatArray, nan_to_store, store_to_nan
from dianhuan_hub.store._topology import IntArray

IndexArray = np.ndarray[Any, np.dtype[np.int64]]
BoolArray = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class CurveRows:
    """Checked curve rows as arrays of one length.

    Args:
        mp: metering point ordinal.
        day: days since 1970-01-01.
        kw: shape (n, 96), NaN = missing.
        points: points delivered.
        kwh: the source's daily energy, NaN where it states none.
        row_no: row number in the source.
    """

    mp: IntArray
    day: IntArray
    kw: FloatArray
    points: np.ndarray[Any, np.dtype[np.uint8]]
    kwh: np.ndarray[Any, np.dtype[np.float64]]
    row_no: IndexArray

    def __len__(self) -> int:
        return len(self.mp)

    def take(self, rows: IndexArray) -> CurveRows:
        """The rows of these positions."""
        return CurveRows(
            self.mp[rows], self.day[rows], self.kw[rows], self.points[rows], self.kwh[rows], self.row_no[rows]
        )

    @property
    def key(self) -> IndexArray:
        """One integer that orders by (day, metering point)."""
        return self.day.astype(np.int64) * (1 << 32) + self.mp


def gather(parts: Sequence[CurveRows], rows: IndexArray) -> CurveRows:
    """The rows of these positions in the parts laid end to end; curves are copied once.

    Args:
        parts: at least one.
        rows: positions, in the order wanted.
    """
    if len(parts) == 1:
        one_part = parts[0]
        whole = len(rows) == len(one_part) and bool((rows == np.arange(len(rows))).all())
        return one_part if whole else one_part.take(rows)
    ends = np.cumsum([len(p) for p in parts])
    kw = np.empty((len(rows), 96), np.float32)
    for part, end in zip(parts, ends, strict=True):
        place = np.flatnonzero((rows >= end - len(part)) & (rows < end))
        kw[place] = part.kw[rows[place] - (end - len(part))]
    return CurveRows(
        np.concatenate([p.mp for p in parts])[rows],
        np.concatenate([p.day for p in parts])[rows],
        kw,
        np.concatenate([p.points for p in parts])[rows],
        np.concatenate([p.kwh for p in parts])[rows],
        np.concatenate([p.row_no for p in parts])[rows],
    )


@dataclass(frozen=True)
class PutResult:
    """What became of rows: positions that were new, that replaced a row, that were there already."""

    new: IndexArray
    corrected: IndexArray
    unchanged: IndexArray


def are_parts(some: FloatArray, other: FloatArray) -> BoolArray:
    """Shape (n,): rows for one day that agree wherever both have a point are parts of it."""
    both = ~np.isnan(some) & ~np.isnan(other)
    return np.asarray(((some == other) | ~both).all(axis=-1))


def put_curves(con: duckdb.DuckDBPyConnection, rows: CurveRows, load_id: int, origin: int | None = None) -> PutResult:
    """Write rows of unique (day, metering point) in that order, inside the caller's transaction.

    A row that is there with the same content is left alone. One that it contradicts is moved to `curve_history` with
    the load that replaced it, and the new one takes its place. Where the two do not contradict each other, they are
    parts of one day (a file cut at another hour than local midnight, a page) and are joined.

    Args:
        origin: for rows that are tried again: the load that first brought them. What a later load has brought since
            stays as it is.
    """
    every = np.arange(len(rows))
    if len(rows) == 0:
        return PutResult(every, every, every)
    low, high = int(rows.day.min()), int(rows.day.max())
    held = one(
        con, "SELECT count(*) FROM curve WHERE day BETWEEN DATE '1970-01-01' + ? AND DATE '1970-01-01' + ?", [low, high]
    )
    nothing = np.empty(0, np.int64)
    if held is None or held[0] == 0:
        insert_curves(con, rows, load_id)
        return PutResult(every, nothing, nothing)
    con.register("incoming_keys", pa.table({"day": pa.array(rows.day).cast(pa.date32()), "mp": rows.mp, "pos": every}))
    present = arrow(
        con,
        f"""
        SELECT k.pos, c.kw, c.missing, c.points, c.kwh, coalesce(l.origin, c.load_id) AS brought_by
        FROM curve c JOIN incoming_keys k USING (day, mp) LEFT JOIN load l USING (load_id)
        WHERE c.day BETWEEN DATE '1970-01-01' + {low} AND DATE '1970-01-01' + {high}""",
    )
    pos = np.asarray(present.column("pos").to_numpy(), np.int64)
    if len(pos) == 0:
        con.unregister("incoming_keys")
        insert_curves(con, rows, load_id)
        return PutResult(every, nothing, nothing)
    old = store_to_nan(_one(present.column("kw")), _one(present.column("missing")))
    old_points = np.asarray(present.column("points").to_numpy(), np.uint8)
    old_kwh = np.asarray(present.column("kwh").to_numpy(zero_copy_only=False), float)
    rows = _joined(rows, pos, old, old_points, old_kwh)
    same = _equal(old, rows.kw[pos]).all(axis=1)
    same &= (old_points == rows.points[pos]) & _equal(old_kwh, rows.kwh[pos])
    if origin is not None:
        same |= np.asarray(present.column("brought_by").to_numpy(), np.int64) > origin
    corrected, unchanged = np.sort(pos[~same]), np.sort(pos[same])
    if len(corrected):
        con.register("replaced_pos", pa.table({"pos": corrected}))
        keys = "SELECT day, mp FROM incoming_keys SEMI JOIN replaced_pos USING (pos)"
        con.execute(f"""INSERT INTO curve_history
            SELECT c.day, c.mp, c.kw, c.missing, c.points, c.kwh, c.load_id, {load_id}
            FROM curve c JOIN ({keys}) USING (day, mp)""")
        con.execute(f"DELETE FROM curve c USING ({keys}) k WHERE c.day = k.day AND c.mp = k.mp")
        con.unregister("replaced_pos")
    con.unregister("incoming_keys")
    fresh = np.setdiff1d(every, pos, assume_unique=False)
    insert_curves(con, rows.take(np.sort(np.concatenate([fresh, corrected]))), load_id)
    return PutResult(fresh, corrected, unchanged)


def _joined(
    rows: CurveRows,
    pos: IndexArray,
    old: FloatArray,
    old_points: np.ndarray[Any, np.dtype[np.uint8]],
    old_kwh: np.ndarray[Any, np.dtype[np.float64]],
) -> CurveRows:
    parts = np.flatnonzero(are_parts(old, rows.kw[pos]) & (np.isnan(rows.kw[pos]) & ~np.isnan(old)).any(axis=1))
    if len(parts) == 0:
        return rows
    kw, points, kwh = rows.kw.copy(), rows.points.copy(), rows.kwh.copy()
    at = pos[parts]
    kw[at] = np.where(np.isnan(kw[at]), old[parts], kw[at])
    points[at] = np.maximum(points[at], old_points[parts])
    kwh[at] = np.where(np.isnan(kwh[at]), old_kwh[parts], kwh[at])
    return replace(rows, kw=kw, points=points, kwh=kwh)


def insert_curves(con: duckdb.DuckDBPyConnection, rows: CurveRows, load_id: int) -> None:
    if len(rows) == 0:
        return
    kw, missing = nan_to_store(rows.kw)
    table = pa.table(
        {
            "day": pa.array(rows.day).cast(pa.date32()),
            "mp": rows.mp,
            "kw": kw,
            "missing": missing,
            "points": rows.points,
            "kwh": pa.array(rows.kwh, from_pandas=True),
        }
    )
    con.register("incoming_curves", table)
    con.execute(f"INSERT INTO curve SELECT day, mp, kw, missing, points, kwh, {load_id} FROM incoming_curves")
    con.unregister("incoming_curves")


def read_curves(
    con: duckdb.DuckDBPyConnection, first: int, last: int, points: IntArray | None
) -> tuple[IntArray, IntArray, FloatArray]:
    """Rows of the days first … last (both in): day, metering point, kW with NaN; all points if `points` is None."""
    where = f"WHERE day BETWEEN DATE '1970-01-01' + {first} AND DATE '1970-01-01' + {last}"
    if points is None:
        source = f"SELECT day, mp, kw, missing FROM curve {where} ORDER BY day, mp"
    else:
        con.register("wanted_points", pa.table({"mp": np.unique(points)}))
        source = f"SELECT day, mp, kw, missing FROM curve SEMI JOIN wanted_points USING (mp) {where} ORDER BY day, mp"
    table = arrow(con, source)
    if points is not None:
        con.unregister("wanted_points")
    day = np.asarray(table.column("day").cast(pa.int32()).to_numpy(), np.int32)
    mp = np.asarray(table.column("mp").to_numpy(), np.int32)
    return day, mp, store_to_nan(_one(table.column("kw")), _one(table.column("missing")))


def curve_days(con: duckdb.DuckDBPyConnection, first: date | None = None, last: date | None = None) -> list[date]:
    """The days that hold curves, in order, optionally between two days (both in)."""
    rows = con.execute(
        "SELECT DISTINCT day FROM curve WHERE day >= coalesce(?, day) AND day <= coalesce(?, day) ORDER BY day",
        [first, last],
    ).fetchall()
    return [row[0] for row in rows]


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _equal(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.asarray((a == b) | (np.isnan(a) & np.isnan(b)))
