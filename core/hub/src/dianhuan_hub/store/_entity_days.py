"""Entity-days: an enterprise's load is the sum over its account links dated for that day.

Features are computed once per entity-day and kept with the number of links (`linked`) and of links whose curve was
there (`present`). An entity-day whose links are not all present is kept but is missing to every model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import duckdb
import numpy as np
import pyarrow as pa

from dianhuan_hub.store._curves import CurveRows
from dianhuan_hub.store._missing import FloatArray
from dianhuan_hub.store._topology import EPOCH, ActiveLinks, IntArray, Topology

FeatureMaker = Callable[[FloatArray, date], Mapping[str, FloatArray]]
"""`(kW of shape (n, 96), day) → feature name → shape (n,)`."""


@dataclass(frozen=True)
class EntityDay:
    """Sums of one day: enterprises in ascending order, their links, links present, and load with NaN = missing."""

    day: int
    ent: IntArray
    linked: IntArray
    present: IntArray
    kw: FloatArray

    @property
    def complete(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Shape (n,): every link of the enterprise is present."""
        return np.asarray(self.linked == self.present)


def sum_day(links: ActiveLinks, day: int, mp: IntArray, kw: FloatArray, points: int) -> EntityDay:
    """Sum curves of one day into enterprises; only enterprises with at least one curve appear.

    Args:
        links: the links in force on the day.
        day: days since 1970-01-01.
        mp: shape (n,), unique metering points.
        kw: shape (n, 96), NaN = missing.
        points: number of metering point ordinals.
    """
    where = np.full(points + 1, -1, np.int64)
    where[mp] = np.arange(len(mp))
    row = where[links.mp]  # −1 (ambiguous) reads the last element, which is −1 too
    size = int(links.ent[-1]) + 1 if len(links.ent) else 0
    linked = np.bincount(links.ent, minlength=size)
    have = row >= 0
    ent, row, share = links.ent[have], row[have], links.share[have]
    present = np.bincount(ent, minlength=size)
    touched = np.flatnonzero(present)
    whole = bool((share == 1).all())
    # Most enterprises have one account: take its curve, then add the further accounts of the others.
    leads = np.r_[True, ent[1:] != ent[:-1]] if len(ent) else np.empty(0, bool)
    sums = kw[row[leads]]
    if not whole:
        sums *= share[leads, None]
    if len(touched) < len(ent):
        place = np.cumsum(leads)[~leads] - 1
        np.add.at(sums, place, kw[row[~leads]] * share[~leads, None])
    return EntityDay(
        day, touched.astype(np.int32), linked[touched].astype(np.int32), present[touched].astype(np.int32), sums
    )


def rows_by_day(rows: CurveRows) -> list[tuple[int, slice]]:
    """Days of rows in (day, metering point) order, each with its slice."""
    days, starts = np.unique(rows.day, return_index=True)
    ends = [*starts[1:], len(rows)]
    return [(int(d), slice(int(a), int(b))) for d, a, b in zip(days, starts, ends, strict=True)]


def write_features(
    con: duckdb.DuckDBPyConnection, sums: EntityDay, features: Mapping[str, FloatArray], *, fresh: bool
) -> None:
    """Put the features of entity-days in place of those that are there; `fresh` says that there are none."""
    if not fresh:
        _forget(con, sums.day, sums.ent)
    if len(sums.ent) == 0:
        return
    columns = {
        "day": pa.array(np.full(len(sums.ent), sums.day, np.int32)).cast(pa.date32()),
        "ent": sums.ent,
        "linked": sums.linked.astype(np.uint16),
        "present": sums.present.astype(np.uint16),
        **{name: pa.array(values) for name, values in features.items()},
    }
    con.register("incoming_features", pa.table(columns))
    con.execute("INSERT INTO feature_day BY NAME SELECT * FROM incoming_features")
    con.unregister("incoming_features")


DayReader = Callable[[duckdb.DuckDBPyConnection, int, IntArray | None], tuple[IntArray, FloatArray]]
"""`(connection, day, metering points or None)` → metering points and kW of shape (n, 96), hot or sealed."""


def refresh(
    con: duckdb.DuckDBPyConnection,
    topology: Topology,
    make: FeatureMaker,
    read: DayReader,
    day: int,
    ents: IntArray,
) -> None:
    """Recompute the features of some enterprises on one day from the stored curves."""
    links = topology.active(day)
    mine = np.isin(links.ent, ents)
    links = ActiveLinks(links.mp[mine], links.ent[mine], links.share[mine])
    mp, kw = read(con, day, links.mp[links.mp >= 0])
    sums = sum_day(links, day, mp, kw, len(topology.points))
    # Enterprises that lost their last link or curve of the day must lose their features too.
    _forget(con, day, np.unique(ents))
    if len(sums.ent):
        write_features(con, sums, make(sums.kw, EPOCH + timedelta(days=day)), fresh=True)


def _forget(con: duckdb.DuckDBPyConnection, day: int, ents: IntArray) -> None:
    con.register("touched_ents", pa.table({"ent": ents}))
    con.execute(
        f"DELETE FROM feature_day f USING touched_ents t WHERE f.ent = t.ent AND f.day = DATE '1970-01-01' + {day}"
    )
    con.unregister("touched_ents")
