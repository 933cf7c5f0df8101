"""What models and gates may know beside the load, as it stood on the day that is screened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_hub.store import Query, Store, read_stream
from dianhuan_sdk import LOCAL_ZONE, ModelContext, Window
from dianhuan_standards import TABLES
from dianhuan_standards.calendar import WorkCalendar
from dianhuan_standards.tariffs import TariffBook

READING_DAYS = 182

_KNOWN_SINCE: Mapping[str, str] = {
    "filed_report": "filed_at",
    "outage": "starts_at",
    "reading": "at",
    "weather": "at",
    "finding": "day",
    "warning": "day",
    "case": "day",
    "outcome": "at",
    "permit": "valid_from",
    "account_link": "valid_from",
}
"""The column that tells since when a row is known; rows of later days are kept from models."""


def known_on(table: pa.Table, name: str, day: date) -> pa.Table:
    """The rows of a table that were known at the end of a local civil day."""
    column = _KNOWN_SINCE.get(name)
    if column is None or table.num_rows == 0:
        return table
    since = table.column(column)
    if pa.types.is_timestamp(since.type):
        end = pa.scalar(local_day(day)[1], since.type)
        return table.filter(pc.less(since, end))
    return table.filter(pc.less_equal(since, pa.scalar(day, since.type)))


def local_day(day: date) -> tuple[datetime, datetime]:
    """The instants at which a civil day in `LOCAL_ZONE` begins and ends."""
    start = datetime(day.year, day.month, day.day, tzinfo=LOCAL_ZONE)
    return start, start + timedelta(days=1)


def read_tables(store: Store, names: Iterable[str], day: date) -> dict[str, pa.Table]:
    """Standard tables as known at the end of a day.

    Of readings, these tiers get the hourly and daily means of production and treatment circuits of the last
    `READING_DAYS`: what is finer belongs to the real-time tier, and would not fit into memory.
    """
    tables = {}
    for name in sorted(set(names)):
        if name == "channel":
            tables[name] = store.readings.register()
        elif name == "reading":
            tables[name] = known_on(_circuit_means(store, day), name, day)
        else:
            with read_stream(store.engine, Query(name)) as reader:
                tables[name] = known_on(reader.read_all(), name, day)
    return tables


def _circuit_means(store: Store, day: date) -> pa.Table:
    channels = store.readings.register()
    coarse = pc.is_in(channels.column("interval"), value_set=pa.array(["hour", "day"]))
    circuit = pc.is_in(channels.column("role"), value_set=pa.array(["production", "treatment"]))
    ids = channels.filter(pc.and_(coarse, circuit)).column("channel_id").to_pylist()
    start, end = local_day(day - timedelta(days=READING_DAYS - 1))[0], local_day(day)[1]
    return store.reading_days.series(ids, start, end).select([f.name for f in TABLES["reading"].fields])


def model_context(
    store: Store, tariffs: TariffBook, division: str, window: Window, tables: Mapping[str, pa.Table]
) -> ModelContext:
    """Calendar, tariff and tables for the days of a window."""
    with read_stream(store.engine, Query("calendar")) as reader:
        calendar = WorkCalendar(reader.read_all())
    return ModelContext(
        as_of=window.end - timedelta(days=1),
        calendar=calendar.days(window),
        tariff=tariffs.days(division, window),
        tables=tables,
    )
