"""The store of one city: everything below it knows DuckDB, nothing above it does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from dianhuan_hub.store import _loads
from dianhuan_hub.store._block import CityBlock
from dianhuan_hub.store._cold import ColdTier
from dianhuan_hub.store._curves import CurveRows, curve_days, put_curves, read_curves
from dianhuan_hub.store._engine import Connection, Engine, one
from dianhuan_hub.store._entity_days import (
    EntityDay,
    FeatureMaker,
    refresh,
    rows_by_day,
    sum_day,
    write_features,
)
from dianhuan_hub.store._loads import LoadInfo
from dianhuan_hub.store._missing import FloatArray
from dianhuan_hub.store._reading_days import ReadingDays
from dianhuan_hub.store._readings import Readings
from dianhuan_hub.store._registers import RegisterRows, put_register
from dianhuan_hub.store._schema import features_are_current, own_table, renew_features
from dianhuan_hub.store._topology import EPOCH, IntArray, Topology, day_number, read_topology
from dianhuan_sdk import TableContract

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DaySums:
    """Entity-day sums and features of one day, made before the transaction."""

    sums: EntityDay
    features: Mapping[str, FloatArray]


@dataclass(frozen=True)
class Prepared:
    """Sums of a unit's days, and the topology that they were made by."""

    topology: Topology
    days: Sequence[DaySums]


@dataclass(frozen=True)
class Unit:
    """What one transaction writes: everything between two checkpoints.

    Args:
        info: lineage.
        curves: checked curve rows of unique key in (day, metering point) order, or None.
        registers: rows of unique key.
        refused: rows for quarantine (`QUARANTINE_SCHEMA`).
        cursor: (source, stream, position) of the checkpoint, or None.
        replayed: quarantine ids that this unit settles.
        state: plugin state, by plugin.
        origin: the load that first brought these curves, where they are tried again.
    """

    info: LoadInfo
    curves: CurveRows | None = None
    registers: Sequence[RegisterRows] = ()
    refused: pa.Table | None = None
    cursor: tuple[str, str, Mapping[str, object]] | None = None
    replayed: pa.Array | None = None
    state: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    origin: int | None = None


@dataclass(frozen=True)
class UnitReceipt:
    """What became of a unit."""

    load_id: int
    accepted: int
    quarantined: int
    unchanged: int
    corrected: int
    days: tuple[date, ...]


class Store:
    """One city's data.

    Args:
        data: the data folder; the database file, the cold tier and kept raw files lie in it.
        make_features: kW of shape (n, 96) and the day → daily features.
        now: the hub's clock.
        memory_limit, threads: see `Engine`.
    """

    def __init__(
        self,
        data: Path,
        make_features: FeatureMaker,
        now: Callable[[], datetime],
        *,
        memory_limit: str = "1GB",
        threads: int = 2,
    ) -> None:
        self.data = data
        self.engine = Engine(data / "hub.duckdb", memory_limit=memory_limit, threads=threads)
        self.readings = Readings(self.engine)
        self.reading_days = ReadingDays(self.engine, data / "cold" / "readings", now)
        self.cold = ColdTier(self.engine, data / "cold", now)
        self._make = make_features
        self._now = now
        self._topology: Topology | None = None
        self._features = ThreadPoolExecutor(1, thread_name_prefix="store-features")
        with self.engine.cursor() as con:
            current = features_are_current(con)
        if not current:
            self.engine.write(self._recompute_features)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Finish queued writes and close the file."""
        self._features.shutdown()
        self.engine.close()

    def own(self, contracts: Iterable[TableContract]) -> None:
        """Make or bring up to date the tables that plugins own.

        Raises:
            PluginError: a stored table does not fit its contract any more.
        """
        for contract in contracts:
            self.engine.write(partial(own_table, contract=contract))

    def topology(self) -> Topology:
        """Ordinals and links as last committed."""
        with self._lock:
            if self._topology is None:
                with self.engine.cursor() as con:
                    self._topology = read_topology(con)
            return self._topology

    def _prepare(self, curves: CurveRows, topology: Topology) -> Prepared:
        """Sum curve rows into entity-days and compute their features."""
        prepared = []
        for day, part in rows_by_day(curves):
            sums = sum_day(topology.active(day), day, curves.mp[part], curves.kw[part], len(topology.points))
            prepared.append(DaySums(sums, self._make(sums.kw, EPOCH + timedelta(days=day))))
        return Prepared(topology, prepared)

    def commit(self, unit: Unit) -> UnitReceipt:
        """Write a unit in one transaction: rows, features, quarantine, lineage and cursor, all or nothing.

        Features are computed while the curves are being written.
        """
        prepared = None if unit.curves is None else self._features.submit(self._prepare, unit.curves, self.topology())
        receipt, changed = self.engine.write(lambda con: self._write(con, unit, prepared))
        if changed:
            with self._lock:
                self._topology = None
        return receipt

    def _write(self, con: Connection, unit: Unit, prepared: Future[Prepared] | None) -> tuple[UnitReceipt, bool]:
        load_id = _loads.next_load(con)
        accepted = unchanged = corrected = 0
        topology_changed = False
        days: set[date] = set()
        for incoming in unit.registers:
            put = put_register(con, incoming, load_id)
            accepted += put.new + put.replaced
            corrected += put.replaced
            unchanged += put.unchanged
            if incoming.contract.name in ("entity", "metering_point", "account_link") and put.new + put.replaced:
                topology_changed = True
                if len(put.touched_entities):
                    days |= self._relink(con, put.touched_entities)
        if unit.curves is not None and prepared is not None and len(unit.curves):
            topology = read_topology(con) if topology_changed else self.topology()
            counts, touched = self._write_curves(con, unit, prepared, topology, load_id)
            accepted += counts[0] + counts[1]
            corrected += counts[1]
            unchanged += counts[2]
            days |= touched
        quarantined = _loads.put_quarantine(con, unit.refused, load_id) if unit.refused is not None else 0
        if unit.replayed is not None:
            _loads.close_quarantine(con, unit.replayed, load_id)
        for plugin, state in unit.state.items():
            _loads.put_state(con, plugin, state)
        at = self._now()
        if unit.cursor is not None:
            source, stream, position = unit.cursor
            _loads.move_cursor(con, source, stream, position, load_id, at)
        _loads.close_load(
            con,
            load_id,
            unit.info,
            at,
            accepted=accepted,
            quarantined=quarantined,
            unchanged=unchanged,
            corrected=corrected,
            origin=unit.origin,
        )
        receipt = UnitReceipt(load_id, accepted, quarantined, unchanged, corrected, tuple(sorted(days)))
        return receipt, topology_changed

    def _write_curves(
        self, con: Connection, unit: Unit, prepared: Future[Prepared], topology: Topology, load_id: int
    ) -> tuple[tuple[int, int, int], set[date]]:
        curves = unit.curves
        assert curves is not None
        for day, _ in rows_by_day(curves):
            self.cold.unseal(con, EPOCH + timedelta(days=day))
        put = put_curves(con, curves, load_id, unit.origin)
        written = np.zeros(len(curves), bool)
        written[put.new] = written[put.corrected] = True
        made = prepared.result()
        by_day = {p.sums.day: p for p in made.days} if made.topology is topology else {}
        days: set[date] = set()
        for day, part in rows_by_day(curves):
            if not written[part].any():
                continue
            days.add(EPOCH + timedelta(days=day))
            held = one(con, "SELECT count(*) FROM feature_day WHERE day = ?", [EPOCH + timedelta(days=day)])
            fresh = held is None or held[0] == 0
            if fresh and day in by_day:
                write_features(con, by_day[day].sums, by_day[day].features, fresh=True)
                continue
            links = topology.active(day)
            mine = np.isin(links.mp, curves.mp[part][written[part]])
            refresh(con, topology, self._make, self.cold.day, day, np.unique(links.ent[mine]))
        return (len(put.new), len(put.corrected), len(put.unchanged)), days

    def _all_days(self, con: Connection) -> list[date]:
        return sorted({*curve_days(con), *self.cold.days(con)})

    def _relink(self, con: Connection, touched: pa.Array) -> set[date]:
        days = self._all_days(con)
        if not days:
            return set()
        topology = read_topology(con)
        ents = topology.entity_ordinals(touched)
        for day in days:
            refresh(con, topology, self._make, self.cold.day, day_number(day), ents[ents >= 0])
        return set(days)

    def _recompute_features(self, con: Connection) -> None:
        """After an update that changed their definition: every kept feature anew from the stored curves."""
        days = self._all_days(con)
        log.warning("daily features have a new definition: recomputing %d days", len(days))
        renew_features(con)
        topology = read_topology(con)
        everyone = np.arange(len(topology.entities), dtype=np.int32)
        for day in days:
            refresh(con, topology, self._make, self.cold.day, day_number(day), everyone)

    def city(self, last: date, days: int, features: Iterable[str]) -> CityBlock:
        """The whole city over the days up to `last`, for models."""
        return CityBlock(self.engine, self.topology(), self.cold, last, days, features)

    def entity_curves(self, entity_id: str, first: date, last: date) -> tuple[list[date], FloatArray]:
        """One enterprise's days first … last (both in): the days and kW of shape (days, 96), NaN = missing."""
        topology = self.topology()
        span = (last - first).days + 1
        out = np.full((span, 96), np.nan, np.float32)
        days = [first + timedelta(days=i) for i in range(span)]
        ent = topology.entity_ordinals(pa.array([entity_id]))[0]
        if ent < 0:
            return days, out
        mine: IntArray = np.unique(topology.link_mp[topology.link_ent == ent])
        with self.engine.cursor() as con:
            day, mp, kw = read_curves(con, day_number(first), day_number(last), mine)
            parts = [(int(n), mp[day == n], kw[day == n]) for n in np.unique(day)]
            for d in self.cold.days(con):
                if first <= d <= last:
                    parts.append((day_number(d), *self.cold.day(con, day_number(d), mine)))
        for number, points, values in parts:
            sums = sum_day(topology.active(number), number, points, values, len(topology.points))
            where = np.flatnonzero((sums.ent == ent) & sums.complete)
            if len(where):
                out[number - day_number(first)] = sums.kw[where[0]]
        return days, out

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction of the writer."""
        return self.engine.write(work)
