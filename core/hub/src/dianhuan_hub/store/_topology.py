"""Which metering point feeds which enterprise on which day, as arrays over ordinals.

Ordinals are small integers that the store gives to metering points (`mp`) and enterprises (`ent`) on first sight;
they never change, so curves and features can be kept and joined by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import repeat
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_hub.store._engine import arrow

IntArray = np.ndarray[Any, np.dtype[np.int32]]
BoolArray = np.ndarray[Any, np.dtype[np.bool_]]
ShareArray = np.ndarray[Any, np.dtype[np.float32]]

EPOCH = date(1970, 1, 1)
_FAR = 2_000_000


def day_number(day: date) -> int:
    """Days since 1970-01-01, as Arrow's date32."""
    return (day - EPOCH).days


@dataclass(frozen=True)
class ActiveLinks:
    """The links that hold on one day, sorted by enterprise.

    Args:
        mp: shape (links,), metering point; −1 where the account feeds several enterprises and no share is known.
        ent: shape (links,), enterprise.
        share: shape (links,), part of the metering point's load that is the enterprise's.
    """

    mp: IntArray
    ent: IntArray
    share: ShareArray


@dataclass(frozen=True)
class Topology:
    """Ordinals and dated links, read once and kept until a register changes."""

    points: pa.StringArray
    entities: pa.StringArray
    net: BoolArray
    link_mp: IntArray
    link_ent: IntArray
    link_from: IntArray
    link_to: IntArray
    link_share: ShareArray

    def point_ordinals(self, ids: pa.Array) -> IntArray:
        """Ordinals of metering point ids, −1 where unknown."""
        # Asked for every batch of a file: a dictionary made once is three times as fast as hashing the city each time.
        return np.fromiter(map(self._point_of.get, ids.to_pylist(), repeat(-1)), np.int32, len(ids))

    @cached_property
    def _point_of(self) -> dict[str | None, int]:
        return {point: i for i, point in enumerate(self.points.to_pylist())}

    def entity_ordinals(self, ids: pa.Array) -> IntArray:
        """Ordinals of enterprise ids, −1 where unknown."""
        found = pc.fill_null(pc.index_in(ids, value_set=self.entities), -1)
        return np.asarray(found.to_numpy(zero_copy_only=False), np.int32)

    def active(self, day: int) -> ActiveLinks:
        """Links in force on a day (days since 1970-01-01)."""
        holds = (self.link_from <= day) & (day < self.link_to)
        mp, ent, share = self.link_mp[holds], self.link_ent[holds], self.link_share[holds]
        unshared = np.isnan(share)
        # A pair may stand twice, where the start of a link was corrected: it is still one enterprise.
        first = np.zeros(len(mp), bool)
        first[np.unique(ent.astype(np.int64) << 32 | mp, return_index=True)[1]] = True
        mp, ent, share, unshared = mp[first], ent[first], share[first], unshared[first]
        uses = np.bincount(mp, minlength=len(self.points))
        ambiguous = unshared & (uses[mp] > 1)
        mp = np.where(ambiguous, np.int32(-1), mp)
        return ActiveLinks(mp, ent, np.where(unshared, np.float32(1), share))


def read_topology(con: duckdb.DuckDBPyConnection) -> Topology:
    """The topology as the connection sees it."""
    points = arrow(con, "SELECT metering_point_id FROM point_ordinal ORDER BY mp")
    entities = arrow(con, "SELECT entity_id FROM entity_ordinal ORDER BY ent")
    net = arrow(
        con,
        """
        SELECT coalesce(m.net_metering, false) AS net FROM point_ordinal o
        LEFT JOIN metering_point m USING (metering_point_id) ORDER BY o.mp""",
    )
    links = arrow(
        con,
        f"""
        SELECT p.mp, e.ent,
               greatest(l.valid_from, coalesce(m.opened_on, l.valid_from)) AS f,
               least(coalesce(l.valid_to, DATE '1970-01-01' + {_FAR}),
                     coalesce(m.closed_on, DATE '1970-01-01' + {_FAR})) AS t,
               l.share::FLOAT AS share
        FROM account_link l
        JOIN metering_point m USING (account_no)
        JOIN point_ordinal p USING (metering_point_id)
        JOIN entity_ordinal e USING (entity_id)
        ORDER BY e.ent, p.mp, f""",
    )

    def ints(name: str, kind: pa.DataType | None = None) -> IntArray:
        column = links.column(name)
        return np.asarray((column.cast(kind) if kind else column).to_numpy(), np.int32)

    return Topology(
        points=points.column(0).combine_chunks(),
        entities=entities.column(0).combine_chunks(),
        net=np.asarray(net.column(0).to_numpy(), bool),
        link_mp=ints("mp"),
        link_ent=ints("ent"),
        link_from=ints("f", pa.int32()),
        link_to=ints("t", pa.int32()),
        link_share=np.asarray(links.column("share").to_numpy(), np.float32),
    )


def assign_ordinals(con: duckdb.DuckDBPyConnection, kind: str, ids: pa.ChunkedArray) -> None:
    """Give ordinals to ids that have none yet, in their order; `kind` is `entity` or `point`.

    Files list metering points in the order of the register, so curves then arrive sorted by ordinal already.
    """
    table, ordinal, key = {
        "entity": ("entity_ordinal", "ent", "entity_id"),
        "point": ("point_ordinal", "mp", "metering_point_id"),
    }[kind]
    con.register("incoming_ids", pa.table({"id": ids, "pos": np.arange(len(ids))}))
    con.execute(f"""
        INSERT INTO {table}
        SELECT (SELECT coalesce(max({ordinal}) + 1, 0) FROM {table}) + row_number() OVER (ORDER BY first) - 1, id
        FROM (SELECT id, min(pos) AS first FROM incoming_ids GROUP BY id)
        WHERE id NOT IN (SELECT {key} FROM {table})""")
    con.unregister("incoming_ids")
