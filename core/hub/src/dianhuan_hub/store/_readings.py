"""Readings of devices: a narrow table that only grows, one row for each channel and instant of the device's clock.

The first value stands. The same value again is the same row; another value for the same channel and instant goes to
quarantine, as do readings that are too late or from the future.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_hub.store import _loads
from dianhuan_hub.store._devices import DeviceRow, put_waiting
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
_NEVER = np.iinfo(np.int64).min
_SPANS = 32
_HOUR = 3_600_000_000
Mask = np.ndarray[Any, np.dtype[np.bool_]]
Ordinals = np.ndarray[Any, np.dtype[np.int32]]
Instants = np.ndarray[Any, np.dtype[np.int64]]


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
        corrects: a value that differs from the stored one takes its place; the old one goes into `register_history`.
        waiting: devices that wait to be let in, each with its last frames and the instants of their reception, in
            place of those kept so far; one that somebody has decided about meanwhile is left alone.
    """

    rows: pa.RecordBatch
    channels: pa.RecordBatch
    raw: pa.Table
    refused: pa.Table
    horizon: Horizon
    corrects: bool = False
    waiting: Sequence[tuple[DeviceRow, Sequence[tuple[datetime, bytes]]]] = ()


@dataclass
class ReadingReceipt:
    """What became of readings: new rows, rows that were there already, rows and frames in quarantine, corrections."""

    accepted: int = 0
    unchanged: int = 0
    quarantined: int = 0
    corrected: int = 0


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
        self._lock = threading.Lock()
        with engine.cursor() as con:
            self._ordinals: dict[str, int] = dict(con.execute("SELECT channel_id, ch FROM channel_ordinal").fetchall())
            newest = arrow(con, "SELECT ch, epoch_us(device_at) AS at FROM reading_latest")
        # The newest instant of each channel by ordinal: a later row cannot be stored yet, so nothing is looked up.
        self._newest = np.full(_room(len(self._ordinals)), _NEVER, np.int64)
        self._newest[newest.column("ch").to_numpy()] = newest.column("at").to_numpy()
        self._start = self._newest.copy()

    def channels(self) -> list[str]:
        """The ids of all channels."""
        return list(self._ordinals)

    def register(self) -> pa.Table:
        """All channels, as the contract `channel` has them."""
        columns = ", ".join(f'"{f.name}"' for f in TABLES["channel"].fields)
        with self._engine.cursor() as con:
            return arrow(con, f"SELECT {columns} FROM channel")

    def newest_at_start(self, channel_id: str) -> int | None:
        """The newest instant of a channel when the store was opened, in microseconds since 1970 UTC, or None."""
        ch = self._ordinals.get(channel_id, len(self._start))
        at = int(self._start[ch]) if ch < len(self._start) else _NEVER
        return None if at == _NEVER else at

    def unknown(self, channel_ids: pa.Array) -> list[str]:
        """Those of the ids that have no channel yet."""
        return [c for c in channel_ids.unique().to_pylist() if c not in self._ordinals]

    def commit(self, unit: ReadingUnit, load: ReadingLoad, at: datetime) -> ReadingReceipt:
        """Write readings, raw frames and quarantine in one transaction, all or nothing.

        Raises:
            StoreError: nothing was written (disk full, for example); it can be tried again.
        """
        with self._lock:
            names = unit.rows.column("channel_id").dictionary_encode()
            new = {c: len(self._ordinals) + n for n, c in enumerate(self.unknown(names.dictionary))}
            ordinals = [new[c] if c in new else self._ordinals[c] for c in names.dictionary.to_pylist()]
            ch = np.array(ordinals, np.int32)[np.asarray(names.indices.to_numpy())]
            if len(self._ordinals) + len(new) > len(self._newest):
                grown = np.full(_room(len(self._ordinals) + len(new)), _NEVER, np.int64)
                grown[: len(self._newest)] = self._newest
                self._newest = grown
            receipt, load_id, stored = self._engine.write(lambda con: self._write(con, unit, load, at, new, ch))
            self._ordinals |= new
            np.maximum.at(self._newest, *stored)
        load.load_id = load_id
        load.total.accepted += receipt.accepted
        load.total.unchanged += receipt.unchanged
        load.total.quarantined += receipt.quarantined
        load.total.corrected += receipt.corrected
        return receipt

    def _write(
        self,
        con: duckdb.DuckDBPyConnection,
        unit: ReadingUnit,
        load: ReadingLoad,
        at: datetime,
        new: dict[str, int],
        ch: Ordinals,
    ) -> tuple[ReadingReceipt, int, tuple[Ordinals, Instants]]:
        load_id = load.load_id or _loads.next_load(con)
        for row, frames in unit.waiting:
            put_waiting(con, row, frames)
        if unit.raw.num_rows:
            con.register("raw_rows", unit.raw)
            con.execute(f"INSERT INTO raw_frame BY NAME SELECT *, {load_id} AS load_id FROM raw_rows")
            con.unregister("raw_rows")
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
        stored = (np.zeros(0, np.int32), np.zeros(0, np.int64))
        if unit.rows.num_rows:
            stored = self._put(con, unit, load_id, ch, receipt)
        total = load.total
        counts = [
            total.accepted + receipt.accepted,
            total.quarantined + receipt.quarantined,
            total.unchanged + receipt.unchanged,
            total.corrected + receipt.corrected,
        ]
        if load.load_id:
            con.execute(
                "UPDATE load SET committed_at = ?, accepted = ?, quarantined = ?, unchanged = ?, corrected = ? "
                "WHERE load_id = ?",
                [at, *counts, load_id],
            )
        else:
            _loads.close_load(
                con,
                load_id,
                load.info,
                at,
                accepted=counts[0],
                quarantined=counts[1],
                unchanged=counts[2],
                corrected=counts[3],
            )
        return receipt, load_id, stored

    def _put(
        self, con: duckdb.DuckDBPyConnection, unit: ReadingUnit, load_id: int, ch: Ordinals, receipt: ReadingReceipt
    ) -> tuple[Ordinals, Instants]:
        rows = unit.rows
        when = np.asarray(rows.column("device_at").cast(pa.int64()).to_numpy())
        corrected = np.asarray(rows.column("at").cast(pa.int64()).to_numpy())
        late = corrected < _micros(unit.horizon.earliest)
        early = corrected > _micros(unit.horizon.latest)
        first, differs = _first_of_each(rows, ch, when)
        fresh = first & ~late & ~early
        stored_same, stored_other = _stored(con, rows, ch, when, fresh & (when <= self._newest[ch]))
        if unit.corrects:
            receipt.corrected = _correct(con, rows.filter(pa.array(stored_other)), ch[stored_other], load_id)
        differs = (differs | (stored_other & (not unit.corrects))) & ~late & ~early
        fresh &= ~stored_same & ~stored_other
        for bad, code, words in (
            (late, "reading_too_late", f"at: not before {unit.horizon.earliest:%Y-%m-%d %H:%M} UTC"),
            (early, "reading_in_future", f"at: not after {unit.horizon.latest:%Y-%m-%d %H:%M:%S} UTC"),
            (differs, "reading_differs", "value: another value is stored for this channel and instant"),
        ):
            if bad.any():
                refused = refused_readings(con, rows.filter(pa.array(bad)), code, words)
                receipt.quarantined += _loads.put_quarantine(con, refused, load_id)
        if fresh.any():
            table = pa.table({"ch": ch, **{n: rows.column(n) for n in rows.schema.names[1:]}})
            con.register("fresh_readings", table if fresh.all() else table.filter(pa.array(fresh)))
            con.execute(f"INSERT INTO reading BY NAME SELECT *, {load_id} AS load_id FROM fresh_readings")
            con.unregister("fresh_readings")
            last = np.flatnonzero(fresh & (when > self._newest[ch]))
            order = last[np.lexsort((when[last], ch[last]))]
            newest = order[np.append(ch[order][1:] != ch[order][:-1], True)] if len(order) else order
            con.register("newest_readings", table.take(pa.array(newest)))
            con.execute("""INSERT INTO reading_latest BY NAME
                SELECT ch, device_at, "at", value, text, quality FROM newest_readings
                ON CONFLICT (ch) DO UPDATE SET device_at = excluded.device_at, "at" = excluded."at",
                    value = excluded.value, text = excluded.text, quality = excluded.quality""")
            con.unregister("newest_readings")
        receipt.accepted += int(fresh.sum())
        receipt.unchanged += rows.num_rows - receipt.corrected - int((fresh | late | early | differs).sum())
        return ch[fresh], when[fresh]

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

    def of_entity(self, entity_id: str) -> list[dict[str, Any]]:
        """Channels of an enterprise, each with its latest value: columns of `channel`, and `latest_at`, `latest_value`,
        `latest_text`, `latest_quality`."""
        with self._engine.cursor() as con:
            found: list[dict[str, Any]] = arrow(
                con,
                """SELECT c.* EXCLUDE (load_id), l."at" AS latest_at, l.value AS latest_value, l.text AS latest_text,
                    l.quality AS latest_quality
                FROM channel c LEFT JOIN channel_ordinal o USING (channel_id) LEFT JOIN reading_latest l USING (ch)
                WHERE c.entity_id = ? ORDER BY c.channel_id""",
                [entity_id],
            ).to_pylist()
        return found

    def of_device(self, device_id: str) -> list[str]:
        """The ids of a device's channels, in order."""
        with self._engine.cursor() as con:
            rows = con.execute("SELECT channel_id FROM channel WHERE device_id = ? ORDER BY 1", [device_id]).fetchall()
        return [row[0] for row in rows]

    def count(self) -> int:
        """Number of readings."""
        with self._engine.cursor() as con:
            found = one(con, "SELECT count(*) FROM reading")
        return int(found[0]) if found else 0


def _first_of_each(rows: pa.RecordBatch, ch: Ordinals, when: Instants) -> tuple[Mask, Mask]:
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
    con: duckdb.DuckDBPyConnection, rows: pa.RecordBatch, ch: Ordinals, when: Instants, asked: Mask
) -> tuple[Mask, Mask]:
    """Rows whose key is stored: with the same value, with another one. Asked span by span of time, so that a late row
    does not make the whole table be read."""
    same, other = np.zeros(len(ch), bool), np.zeros(len(ch), bool)
    for mine in _spans(when, np.flatnonzero(asked)):
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


def _correct(con: duckdb.DuckDBPyConnection, rows: pa.RecordBatch, ch: Ordinals, load_id: int) -> int:
    """Put other values in the place of stored ones, which are kept in `register_history`."""
    if not rows.num_rows:
        return 0
    con.register("corrected", pa.table({"ch": ch, **{n: rows.column(n) for n in rows.schema.names[1:]}}))
    con.execute(f"""INSERT INTO register_history
        SELECT 'reading', to_json(r), r.load_id, {load_id} FROM reading r SEMI JOIN corrected USING (ch, device_at)""")
    con.execute(f"""UPDATE reading r SET value = c.value, text = c.text, quality = c.quality, "at" = c."at",
        load_id = {load_id} FROM corrected c WHERE r.ch = c.ch AND r.device_at = c.device_at""")
    con.execute("""UPDATE reading_latest l SET value = c.value, text = c.text, quality = c.quality, "at" = c."at"
        FROM corrected c WHERE l.ch = c.ch AND l.device_at = c.device_at""")
    con.unregister("corrected")
    return int(rows.num_rows)


def _spans(when: Instants, asked: Instants) -> list[Instants]:
    """Places of rows in groups that lie close together in time, a bounded number of them."""
    if not len(asked):
        return []
    order = asked[np.argsort(when[asked], kind="stable")]
    gaps = np.diff(when[order])
    cuts = np.flatnonzero(gaps > _HOUR)
    if len(cuts) >= _SPANS:
        cuts = np.sort(cuts[np.argsort(gaps[cuts])[-_SPANS + 1 :]])
    return list(np.split(order, cuts + 1))


def _room(channels: int) -> int:
    return max(1024, 2 * channels)


def _same(left: pa.RecordBatch, right: pa.RecordBatch | pa.Table) -> Mask:
    equal = np.ones(left.num_rows, bool)
    for name in ("value", "text"):
        a, b = left.column(name), right.column(name)
        both_null = pc.and_(pc.is_null(a), pc.is_null(b))
        alike = pc.or_(both_null, pc.fill_null(pc.equal(a, b), False))
        equal &= np.asarray(alike.to_numpy(zero_copy_only=False) if isinstance(alike, pa.Array) else alike.to_numpy())
    return equal


def refused_readings(con: duckdb.DuckDBPyConnection, rows: pa.RecordBatch, code: str, words: str) -> pa.Table:
    """Rows of `reading` for quarantine; a replay of quarantine leaves them, a replay of raw frames reads them again."""
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
