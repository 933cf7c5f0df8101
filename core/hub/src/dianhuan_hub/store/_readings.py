"""Readings of devices: a narrow table that only grows, one row for each channel and instant of the device's clock.

The first value stands. The same value again is the same row; another value for the same channel and instant goes to
quarantine, as do readings that are too late or from the future.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_hub.store import _loads
from dianhuan_hub.store._devices import DeviceRow, put_device, settle_held, trim_held
from dianhuan_hub.store._engine import Engine, arrow, one
from dianhuan_hub.store._loads import QUARANTINE_SCHEMA, LoadInfo
from dianhuan_hub.store._registers import RegisterRows, put_register
from dianhuan_standards import TABLES

RAW_SCHEMA = pa.schema(
    [
        pa.field("device_id", pa.string(), nullable=False),
        pa.field("protocol", pa.string(), nullable=False),
        pa.field("received_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        pa.field("raw", pa.binary(), nullable=False),
    ]
)
_DAY = 86_400_000_000
Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True)
class Horizon:
    """Between which instants of the device's clock readings are taken."""

    earliest: datetime
    latest: datetime


@dataclass(frozen=True)
class ReadingUnit:
    """What one transaction of a gateway writes.

    Args:
        rows: rows of `reading` that passed its contract.
        channels: rows of `channel`; those that are known stay as they are.
        raw: frames (`RAW_SCHEMA`).
        refused: rows for quarantine.
        horizon: which instants are taken.
        pending: devices seen for the first time.
        held: devices of whose held frames the last `held_most` are kept.
        settled: a device whose held frames these readings are, or empty.
    """

    rows: pa.RecordBatch
    channels: pa.RecordBatch
    raw: pa.Table
    refused: pa.Table
    horizon: Horizon
    pending: Sequence[DeviceRow] = ()
    held: Sequence[str] = ()
    held_most: int = 0
    settled: str = ""


@dataclass
class ReadingReceipt:
    """What became of readings: new rows, rows that were there already, rows and frames in quarantine."""

    accepted: int = 0
    unchanged: int = 0
    quarantined: int = 0


@dataclass
class ReadingLoad:
    """Lineage of a run of transactions: one row of `load`, written with the first and counted on with each."""

    info: LoadInfo
    load_id: int = 0
    total: ReadingReceipt = field(default_factory=ReadingReceipt)


class Readings:
    """Readings in the database file.

    Args:
        engine: of the store.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        with engine.cursor() as con:
            rows = con.execute("SELECT channel_id, ch FROM channel_ordinal").fetchall()
        self._ordinals: dict[str, int] = dict(rows)

    def unknown(self, channel_ids: pa.Array) -> list[str]:
        """Those of the ids that have no channel yet."""
        return [c for c in channel_ids.unique().to_pylist() if c not in self._ordinals]

    def commit(self, unit: ReadingUnit, load: ReadingLoad, at: datetime) -> ReadingReceipt:
        """Write readings, raw frames and quarantine in one transaction, all or nothing.

        Raises:
            StoreError: nothing was written (disk full, for example); it can be tried again.
        """
        new = {c: len(self._ordinals) + n for n, c in enumerate(self.unknown(unit.rows.column("channel_id")))}
        receipt, load_id = self._engine.write(lambda con: self._write(con, unit, load, at, new))
        self._ordinals |= new
        load.load_id = load_id
        load.total.accepted += receipt.accepted
        load.total.unchanged += receipt.unchanged
        load.total.quarantined += receipt.quarantined
        return receipt

    def _write(
        self, con: duckdb.DuckDBPyConnection, unit: ReadingUnit, load: ReadingLoad, at: datetime, new: dict[str, int]
    ) -> tuple[ReadingReceipt, int]:
        load_id = load.load_id or _loads.next_load(con)
        for row in unit.pending:
            put_device(con, row)
        if unit.raw.num_rows:
            con.register("raw_rows", unit.raw)
            con.execute(f"INSERT INTO raw_frame BY NAME SELECT *, {load_id} AS load_id FROM raw_rows")
            con.unregister("raw_rows")
        for device in unit.held:
            trim_held(con, device, unit.held_most)
        if unit.settled:
            settle_held(con, unit.settled)
        receipt = ReadingReceipt()
        receipt.quarantined = _loads.put_quarantine(con, unit.refused, load_id)
        if unit.channels.num_rows:
            rows = RegisterRows(
                TABLES["channel"], pa.Table.from_batches([unit.channels]), tuple(unit.channels.schema.names), True
            )
            put_register(con, rows, load_id)
        if new:
            con.register("new_channels", pa.table({"ch": list(new.values()), "channel_id": list(new)}))
            con.execute("INSERT INTO channel_ordinal BY NAME SELECT * FROM new_channels")
            con.unregister("new_channels")
        if unit.rows.num_rows:
            self._put(con, unit, load_id, new, receipt)
        total = load.total
        counts = [
            total.accepted + receipt.accepted,
            total.quarantined + receipt.quarantined,
            total.unchanged + receipt.unchanged,
        ]
        if load.load_id:
            con.execute(
                "UPDATE load SET committed_at = ?, accepted = ?, quarantined = ?, unchanged = ? WHERE load_id = ?",
                [at, *counts, load_id],
            )
        else:
            _loads.close_load(
                con, load_id, load.info, at, accepted=counts[0], quarantined=counts[1], unchanged=counts[2], corrected=0
            )
        return receipt, load_id

    def _put(
        self,
        con: duckdb.DuckDBPyConnection,
        unit: ReadingUnit,
        load_id: int,
        new: dict[str, int],
        receipt: ReadingReceipt,
    ) -> None:
        rows = unit.rows
        names = rows.column("channel_id").dictionary_encode()
        ordinals = np.array([new.get(c, self._ordinals.get(c, -1)) for c in names.dictionary.to_pylist()], np.int32)
        ch = ordinals[np.asarray(names.indices.to_numpy())]
        when = np.asarray(rows.column("device_at").cast(pa.int64()).to_numpy())
        late = when < _micros(unit.horizon.earliest)
        early = when > _micros(unit.horizon.latest)
        first, differs = _first_of_each(rows, ch, when)
        fresh = first & ~late & ~early
        stored_same, stored_other = _stored(con, rows, ch, when, fresh)
        differs = (differs | stored_other) & ~late & ~early
        fresh &= ~stored_same & ~stored_other
        for bad, code, words in (
            (late, "reading_too_late", f"device_at: not before {unit.horizon.earliest:%Y-%m-%d %H:%M} UTC"),
            (early, "reading_in_future", f"device_at: not after {unit.horizon.latest:%Y-%m-%d %H:%M:%S} UTC"),
            (differs, "reading_differs", "value: another value is stored for this channel and instant"),
        ):
            if bad.any():
                refused = _refused(con, rows.filter(pa.array(bad)), code, words)
                receipt.quarantined += _loads.put_quarantine(con, refused, load_id)
        if fresh.any():
            keep = pa.array(fresh)
            table = pa.table({"ch": ch, **{n: rows.column(n) for n in rows.schema.names[1:]}}).filter(keep)
            con.register("fresh_readings", table)
            con.execute(f"INSERT INTO reading BY NAME SELECT *, {load_id} AS load_id FROM fresh_readings")
            con.execute("""INSERT INTO reading_latest
                SELECT ch, max(device_at), arg_max("at", device_at), arg_max(struct_pack(v := value), device_at).v,
                    arg_max(struct_pack(v := text), device_at).v, arg_max(struct_pack(v := quality), device_at).v
                FROM fresh_readings GROUP BY ch
                ON CONFLICT (ch) DO UPDATE SET device_at = excluded.device_at, "at" = excluded."at",
                    value = excluded.value, text = excluded.text, quality = excluded.quality
                WHERE excluded.device_at > reading_latest.device_at""")
            con.unregister("fresh_readings")
        receipt.accepted += int(fresh.sum())
        receipt.unchanged += rows.num_rows - int((fresh | late | early | differs).sum())

    def latest(self, device_id: str) -> list[dict[str, object]]:
        """The latest value of every channel of a device: rows with the columns of `reading` and `channel_id`."""
        with self._engine.cursor() as con:
            found = arrow(
                con,
                """SELECT o.channel_id, l.* EXCLUDE (ch) FROM channel c JOIN channel_ordinal o USING (channel_id)
                JOIN reading_latest l USING (ch) WHERE c.device_id = ? ORDER BY o.channel_id""",
                [device_id],
            )
        return [dict(row) for row in found.to_pylist()]

    def rows(self, device_id: str, start: datetime, end: datetime) -> pa.Table:
        """Readings of a device with `device_at` in [start, end), in order of channel and time."""
        with self._engine.cursor() as con:
            return arrow(
                con,
                """SELECT o.channel_id, r.* EXCLUDE (ch) FROM channel c JOIN channel_ordinal o USING (channel_id)
                JOIN reading r USING (ch) WHERE c.device_id = ? AND r.device_at >= ? AND r.device_at < ?
                ORDER BY o.channel_id, r.device_at""",
                [device_id, start, end],
            )

    def count(self) -> int:
        """Number of readings."""
        with self._engine.cursor() as con:
            found = one(con, "SELECT count(*) FROM reading")
        return int(found[0]) if found else 0


def _first_of_each(rows: pa.RecordBatch, ch: np.ndarray, when: np.ndarray) -> tuple[Mask, Mask]:
    """The first row of each key, and the later rows of a key that say something else than its first."""
    order = np.lexsort((when, ch))
    start = np.ones(len(order), bool)
    start[1:] = (ch[order][1:] != ch[order][:-1]) | (when[order][1:] != when[order][:-1])
    first = np.zeros(len(order), bool)
    first[order[start]] = True
    differs = np.zeros(len(order), bool)
    if not start.all():
        lead = order[start][np.cumsum(start) - 1]  # for each row in order: the first row of its key
        differs[order] = ~_same(rows.take(pa.array(order)), rows.take(pa.array(lead)))
    return first, differs


def _stored(
    con: duckdb.DuckDBPyConnection, rows: pa.RecordBatch, ch: np.ndarray, when: np.ndarray, asked: Mask
) -> tuple[Mask, Mask]:
    """Rows whose key is stored: with the same value, with another one. Asked day by day, so that a late row does not
    make the whole table be read."""
    same, other = np.zeros(len(ch), bool), np.zeros(len(ch), bool)
    for day in np.unique(when[asked] // _DAY):
        mine = np.flatnonzero(asked & (when // _DAY == day))
        asking = pa.table({"ch": ch[mine], "device_at": rows.column("device_at").take(pa.array(mine)), "place": mine})
        con.register("asked_readings", asking)
        found = arrow(
            con,
            """SELECT a.place, r.value, r.text FROM reading r JOIN asked_readings a USING (ch, device_at)
            WHERE r.device_at BETWEEN (SELECT min(device_at) FROM asked_readings)
                AND (SELECT max(device_at) FROM asked_readings)""",
        )
        con.unregister("asked_readings")
        if found.num_rows:
            place = np.asarray(found.column("place").to_numpy())
            equal = _same(rows.take(pa.array(place)), found)
            same[place[equal]] = True
            other[place[~equal]] = True
    return same, other


def _same(left: pa.RecordBatch, right: pa.RecordBatch | pa.Table) -> Mask:
    equal = np.ones(left.num_rows, bool)
    for name in ("value", "text"):
        a, b = left.column(name), right.column(name)
        both_null = pc.and_(pc.is_null(a), pc.is_null(b))
        alike = pc.or_(both_null, pc.fill_null(pc.equal(a, b), False))
        equal &= np.asarray(alike.to_numpy(zero_copy_only=False) if isinstance(alike, pa.Array) else alike.to_numpy())
    return equal


def _refused(con: duckdb.DuckDBPyConnection, rows: pa.RecordBatch, code: str, words: str) -> pa.Table:
    size = rows.num_rows
    return pa.table(
        [
            pa.array(["reading"] * size),
            pa.nulls(size, pa.int64()),
            pa.array([code] * size),
            pa.array([words] * size),
            _loads.payload_json(con, pa.Table.from_batches([rows])),
            pa.array([False] * size),
        ],
        schema=QUARANTINE_SCHEMA,
    )


def _micros(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)


def horizon(now: datetime, late_days: int, future_s: float) -> Horizon:
    """The horizon of the present instant."""
    return Horizon(now - timedelta(days=late_days), now + timedelta(seconds=future_s))
