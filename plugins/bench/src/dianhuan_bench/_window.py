"""A simulated city as the `Block` that models read: features in memory, curves in a file that is mapped."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_sdk import LOCAL_ZONE, Block, ModelContext, Window
from dianhuan_sdk.features import FEATURES, BoolArray, FloatArray, daily_features
from dianhuan_simulator import City
from dianhuan_standards.calendar import WorkCalendar
from dianhuan_standards.tariffs import TariffBook

Ints = np.ndarray[Any, np.dtype[np.int64]]
_FAR = np.datetime64("9999-01-01")
_CLASSES = ("key", "simplified", "registered")


class CityWindow:
    """The last days of a city up to a day, as a `dianhuan_sdk.Block`.

    An enterprise's load is the sum over the accounts that are linked to it on that day; where one of them did not
    report, the whole day is missing, as in the hub. Curves lie in a temporary file that is mapped, so memory grows
    with the features asked for only.

    Args:
        city: the city.
        last: last day of the window.
        days: its length; it must lie within the city's run.
        features: daily features to keep; all by default.
        tables: registers; those of the city by default.
    """

    def __init__(
        self,
        city: City,
        last: date,
        days: int,
        features: Iterable[str] | None = None,
        tables: Mapping[str, pa.Table] | None = None,
    ) -> None:
        self.tables = dict(city.registers() if tables is None else tables)
        self._city, self._tariffs, self._calendar = city, TariffBook.load(), WorkCalendar()
        self._look(last, days)
        self._links = _Links(self.tables, city.point_ids)
        names = sorted({f.name for f in FEATURES} if features is None else {"points", *features})
        size = self.tables["entity"].num_rows
        self._kept = {name: np.full((days, size), np.nan, np.float32) for name in names}
        self._file = tempfile.TemporaryFile(prefix="dianhuan-bench-")  # noqa: SIM115  lives as long as the window
        self._curves = np.memmap(self._file, np.float32, "w+", shape=(days, size, 96))
        self._slots = list(range(days))
        for number in range(days):
            self._fill(number)

    def _look(self, last: date, days: int) -> None:
        """Which days are seen, and all that depends on them beside the load."""
        self._days = tuple(last - timedelta(days=days - 1 - i) for i in range(days))
        window = Window(self._days[0], last + timedelta(days=1))
        tariff = self._tariffs.days(self._city.divisions[0][:4], window)
        self.valley: BoolArray = np.array([t.valley for t in tariff])
        known = {name: known_on(table, name, last) for name, table in self.tables.items()}
        self.context = ModelContext(last, self._calendar.days(window), tariff, known)
        self._entities = _entities(self.tables, last)

    def _fill(self, number: int) -> None:
        day = self._days[number]
        load = self._links.sum(day, self._city.day(day), self._curves.shape[1])
        self._curves[self._slots[number]] = load
        made = daily_features(load, self.valley[number])
        silent = np.isnan(load).all(axis=1)
        for name, kept in self._kept.items():
            kept[number] = np.where(silent, np.nan, made[name])

    def advance(self) -> None:
        """Move the window on by a day of the city's run; features of the days that stay are kept."""
        self._look(self._days[-1] + timedelta(days=1), len(self._days))
        self._slots = [*self._slots[1:], self._slots[0]]
        for kept in self._kept.values():
            kept[:-1] = kept[1:]
        self._fill(len(self._days) - 1)

    @property
    def entities(self) -> pa.Table:
        """See `dianhuan_sdk.Block.entities`."""
        return self._entities

    @property
    def days(self) -> Sequence[date]:
        """See `dianhuan_sdk.Block.days`."""
        return self._days

    def feature(self, name: str) -> FloatArray:
        """See `dianhuan_sdk.Block.feature`."""
        return self._kept[name].T

    def curves(self, rows: Ints) -> FloatArray:
        """See `dianhuan_sdk.Block.curves`."""
        wanted = np.asarray(rows, np.int64)
        out = np.empty((len(wanted), len(self._days), 96), np.float32)
        for number, slot in enumerate(self._slots):
            out[:, number] = self._curves[slot, wanted]
        return out

    def close(self) -> None:
        """Drop the curves."""
        self._file.close()


_KNOWN_SINCE = {"filed_report": "filed_at", "outage": "starts_at", "permit": "valid_from", "account_link": "valid_from"}


def known_on(table: pa.Table, name: str, day: date) -> pa.Table:
    """The rows of a register that were known at the end of a local civil day."""
    if name not in _KNOWN_SINCE:
        return table
    since = table[_KNOWN_SINCE[name]]
    if pa.types.is_timestamp(since.type):
        return table.filter(pc.less(since, pa.scalar(_midnight(day + timedelta(days=1)), since.type)))
    return table.filter(pc.less_equal(since, pa.scalar(day, since.type)))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(0), LOCAL_ZONE)


class LastDays:
    """The last days of a longer block."""

    def __init__(self, block: Block, days: int) -> None:
        self._block, self._length = block, days

    @property
    def entities(self) -> pa.Table:
        """See `dianhuan_sdk.Block.entities`."""
        return self._block.entities

    @property
    def days(self) -> Sequence[date]:
        """See `dianhuan_sdk.Block.days`."""
        return self._block.days[-self._length :]

    def feature(self, name: str) -> FloatArray:
        """See `dianhuan_sdk.Block.feature`."""
        return self._block.feature(name)[:, -self._length :]

    def curves(self, rows: Ints) -> FloatArray:
        """See `dianhuan_sdk.Block.curves`."""
        return self._block.curves(rows)[:, -self._length :]


class _Links:
    """Which metering point feeds which enterprise from when to when."""

    def __init__(self, tables: Mapping[str, pa.Table], point_ids: Ints) -> None:
        points, links = tables["metering_point"], tables["account_link"]
        accounts = points["account_no"].to_numpy(zero_copy_only=False).astype(np.int64)
        rows = np.searchsorted(point_ids, points["metering_point_id"].to_numpy(zero_copy_only=False).astype(np.int64))
        order = np.argsort(accounts, kind="stable")
        accounts, rows = accounts[order], rows[order]
        linked = links["account_no"].to_numpy(zero_copy_only=False).astype(np.int64)
        first, last = np.searchsorted(accounts, linked), np.searchsorted(accounts, linked, side="right")
        count = last - first
        within = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
        self._row = rows[np.repeat(first, count) + within]
        ids = tables["entity"]["entity_id"].combine_chunks()
        found = pc.index_in(links["entity_id"], value_set=ids).to_numpy(zero_copy_only=False)
        self._ent = np.repeat(found.astype(np.int64), count)
        since, until = (_days_of(links[c]) for c in ("valid_from", "valid_to"))
        self._since = np.repeat(since, count)
        self._until = np.repeat(np.where(np.isnat(until), _FAR, until), count)
        share = links["share"].to_numpy(zero_copy_only=False).astype(np.float64)
        self._share = np.repeat(np.where(np.isnan(share), 1, share), count).astype(np.float32)

    def sum(self, day: date, kw: FloatArray, size: int) -> FloatArray:
        """Load of enterprises, shape (size, 96); NaN where an account of an enterprise is silent."""
        now = np.datetime64(day)
        live = np.flatnonzero((self._since <= now) & (self._until > now))
        row, ent, share = self._row[live], self._ent[live], self._share[live]
        out = np.full((size, 96), np.nan, np.float32)
        ones, firsts = np.unique(ent, return_index=True)
        out[ones] = kw[row[firsts]] * share[firsts, None]
        more = np.setdiff1d(np.arange(len(ent)), firsts, assume_unique=True)
        np.add.at(out, ent[more], kw[row[more]] * share[more, None])
        silent = np.asarray(np.isnan(kw).all(axis=1))[row]
        out[ent[silent]] = np.nan
        return out


def _days_of(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    return np.asarray(column.to_numpy(zero_copy_only=False), "datetime64[D]")


def _entities(tables: Mapping[str, pa.Table], last: date) -> pa.Table:
    """`Block.entities` as known on a day."""
    entity = tables["entity"]
    size = entity.num_rows
    place = {e: i for i, e in enumerate(entity["entity_id"].to_pylist())}
    points = {p["account_no"]: p for p in _by_size(tables["metering_point"])}
    tariff: list[str | None] = [None] * size
    largest, kva = np.full(size, -1.0), np.zeros(size)
    pv, shared, accounts = np.zeros(size, bool), np.zeros(size, bool), np.zeros(size, np.int32)
    links = tables["account_link"].select(["account_no", "entity_id", "valid_from", "valid_to"]).to_pylist()
    live = [k for k in links if k["valid_from"] <= last and (k["valid_to"] is None or k["valid_to"] > last)]
    feeds: dict[str, int] = {}
    for link in live:
        feeds[link["account_no"]] = feeds.get(link["account_no"], 0) + 1
    for link in live:
        row, point = place[link["entity_id"]], points.get(link["account_no"])
        if point is None:
            continue
        accounts[row] += 1
        kva[row] += point["contract_kva"]
        pv[row] |= point["net_metering"]
        shared[row] |= feeds[link["account_no"]] > 1
        if point["contract_kva"] > largest[row]:
            largest[row], tariff[row] = point["contract_kva"], point["tariff_class"]
    permit = ["none"] * size
    night: list[bool | None] = [None] * size
    for p in tables["permit"].to_pylist():
        if p["valid_from"] <= last and (p["valid_to"] is None or p["valid_to"] >= last):
            row = place[p["entity_id"]]
            permit[row], night[row] = p["permit_class"], p["night_permitted"]
    closed: list[date | None] = [None] * size
    end = _midnight(last + timedelta(days=1))
    for o in tables["order"].to_pylist():
        if o["kind"] == "closure" and o["starts_at"] < end and (o["ends_at"] is None or o["ends_at"] >= end):
            closed[place[o["entity_id"]]] = o["starts_at"].astimezone(LOCAL_ZONE).date()
    own = ("entity_id", "name", "division", "industry", "opened_on")
    return pa.table(
        {name: entity[name].combine_chunks() for name in own}
        | {
            "permit_class": pa.array(permit),
            "night_permitted": pa.array(night, pa.bool_()),
            "tariff_class": pa.array(tariff, pa.string()),
            "contract_kva": pa.array(kva, mask=accounts == 0),
            "pv": pa.array(pv),
            "accounts": pa.array(accounts),
            "shared_meter": pa.array(shared),
            "closed_on": pa.array(closed, pa.date32()),
            "lon": entity["lon"].combine_chunks(),
            "lat": entity["lat"].combine_chunks(),
        }
    )


def _by_size(points: pa.Table) -> list[dict[str, Any]]:
    """Accounts with their summed capacity; feed-in at any point counts."""
    columns = points.select(["account_no", "contract_kva", "tariff_class", "net_metering"]).to_pylist()
    out: dict[str, dict[str, Any]] = {}
    for p in columns:
        kept = out.setdefault(p["account_no"], p | {"contract_kva": 0.0})
        kept["contract_kva"] += p["contract_kva"] or 0.0
        kept["net_metering"] = bool(kept["net_metering"] or p["net_metering"])
    return list(out.values())
