"""Readings: idempotent by channel and instant, within a horizon, in one transaction; and files of version 1."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from dianhuan_hub.store import (
    QUARANTINE_SCHEMA,
    RAW_SCHEMA,
    DeviceRow,
    LoadInfo,
    ReadingLoad,
    ReadingReceipt,
    ReadingUnit,
    Store,
    StoreError,
    bind_channels,
    drop_raw_frames,
    forget_waiting,
    held_frames,
    hold_frames,
    horizon,
    part_frames,
    put_device,
    raw_frames,
    read_devices,
)
from dianhuan_sdk import ConfigError
from dianhuan_standards import TABLES

NOW = datetime(2026, 3, 31, 22, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
READING, CHANNEL = TABLES["reading"].schema, TABLES["channel"].schema
Values = list[tuple[str, datetime, float]]


def unit(values: Values, frames: list[tuple[str, str, bytes]] = (), **more: Any) -> ReadingUnit:  # type: ignore[assignment]
    """A unit of one device `D1`: (code, instant, value), and frames (device, state, bytes)."""
    rows = [
        {"channel_id": f"D1/{c}-rtd", "device_at": at, "at": at, "received_at": NOW, "value": v, "resent": False}
        for c, at, v in values
    ]
    channels = [
        {
            "channel_id": f"D1/{c}-rtd",
            "device_id": "D1",
            "protocol": "hj212",
            "code": c,
            "statistic": "rtd",
            "interval": "moment",
        }
        for c in sorted({c for c, _, _ in values})
    ]
    raw = [
        {"device_id": d, "protocol": "hj212", "received_at": NOW, "kind": "2011", "state": s, "raw": b}
        for d, s, b in frames
    ]
    return ReadingUnit(
        rows=pa.RecordBatch.from_pylist(rows, schema=READING),
        channels=pa.RecordBatch.from_pylist(channels, schema=CHANNEL),
        raw=pa.Table.from_pylist(raw, schema=RAW_SCHEMA),
        refused=QUARANTINE_SCHEMA.empty_table(),
        horizon=horizon(NOW, 30, 600),
        **more,
    )


@pytest.fixture
def load(info: LoadInfo) -> ReadingLoad:
    return ReadingLoad(info)


def query(store: Store, sql: str) -> list[tuple[Any, ...]]:
    with store.engine.cursor() as con:
        return con.execute(sql).fetchall()


def test_sent_again_is_the_same_row(store: Store, load: ReadingLoad) -> None:
    values = [("a", NOW, 1.5), ("b", NOW, 2.5), ("a", NOW + MINUTE, 1.75)]
    assert store.readings.commit(unit(values), load, NOW) == ReadingReceipt(3, 0, 0)
    assert store.readings.commit(unit(values), load, NOW) == ReadingReceipt(0, 3, 0)
    assert store.readings.commit(unit([*values, *values]), load, NOW) == ReadingReceipt(0, 6, 0)
    assert store.readings.count() == 3
    assert query(store, "SELECT load_id, accepted, unchanged, quarantined FROM load") == [(load.load_id, 3, 9, 0)]


def test_another_value_for_a_stored_instant_goes_to_quarantine(store: Store, load: ReadingLoad) -> None:
    store.readings.commit(unit([("a", NOW, 1.0)]), load, NOW)
    assert store.readings.commit(unit([("a", NOW, 2.0)]), load, NOW) == ReadingReceipt(0, 0, 1)
    within = unit([("b", NOW, 1.0), ("b", NOW, 3.0), ("b", NOW, 1.0)])
    assert store.readings.commit(within, load, NOW) == ReadingReceipt(1, 1, 1)
    found = query(store, "SELECT code, (payload::JSON->>'value')::DOUBLE FROM quarantine ORDER BY quarantine_id")
    assert found == [("reading_differs", 2.0), ("reading_differs", 3.0)]
    assert [r["value"] for r in store.readings.latest("D1")] == [1.0, 1.0]


def test_hostile_times_are_refused_and_late_ones_within_the_horizon_taken(store: Store, load: ReadingLoad) -> None:
    values = [
        ("a", NOW, 1.0),
        ("a", NOW - timedelta(days=29), 2.0),
        ("a", NOW - timedelta(days=31), 3.0),
        ("a", NOW + timedelta(days=365), 4.0),
        ("a", NOW - MINUTE, 5.0),
    ]
    assert store.readings.commit(unit(values), load, NOW) == ReadingReceipt(3, 0, 2)
    codes = query(store, "SELECT code FROM quarantine ORDER BY code")
    assert codes == [("reading_in_future",), ("reading_too_late",)]
    ids = store.readings.of_device("D1")
    stored = store.reading_days.series(ids, NOW - timedelta(days=60), NOW + timedelta(days=400))
    assert stored.column("value").to_pylist() == [2.0, 5.0, 1.0]
    (latest,) = store.readings.latest("D1")
    assert (latest["value"], latest["device_at"]) == (1.0, NOW)


def test_a_failed_transaction_writes_nothing_and_can_be_tried_again(store: Store, load: ReadingLoad) -> None:
    good = unit([("a", NOW, 1.0)], [("D1", "read", b"##")])
    broken = replace(good, refused=pa.table({"table_name": ["reading"], "nonsense": [1]}))
    with pytest.raises(StoreError):
        store.readings.commit(broken, load, NOW)
    assert [query(store, f"SELECT count(*) FROM {t}") for t in ("reading", "raw_frame", "channel", "load")] == [
        [(0,)]
    ] * 4
    assert store.readings.commit(good, load, NOW) == ReadingReceipt(1, 0, 0)
    assert [r["channel_id"] for r in store.readings.latest("D1")] == ["D1/a-rtd"]


def test_devices_wait_with_their_last_frames(store: Store, load: ReadingLoad) -> None:
    row = DeviceRow("D1", "hj212", "D1", "waiting", "10.0.0.1", NOW)
    frames = [(NOW, b"%d" % n) for n in range(3)]
    store.readings.commit(unit([], waiting=[(row, frames)]), load, NOW)
    with store.engine.cursor() as con:
        assert read_devices(con) == [replace(row, frames_kept=3)]
        assert held_frames(con, "D1") == frames
    approved = replace(row, state="approved", entity_id="E1", key_refs=("env:K",), options={"st": "44"}, decided_at=NOW)
    store.write(lambda con: put_device(con, approved))
    store.write(lambda con: hold_frames(con, "D1", []))
    # frames that were on their way do not make it wait again
    store.readings.commit(unit([("a", NOW, 1.0)], waiting=[(row, frames)]), load, NOW)
    store.write(lambda con: bind_channels(con, "D1", "E1"))
    with store.engine.cursor() as con:
        assert read_devices(con) == [approved]
        assert held_frames(con, "D1") == []
    assert query(store, "SELECT DISTINCT entity_id FROM channel") == [("E1",)]


def test_devices_that_wait_too_long_are_forgotten_and_approved_ones_stay(store: Store, load: ReadingLoad) -> None:
    rows = [DeviceRow(f"D{n}", "hj212", f"D{n}", "waiting", "", NOW + n * MINUTE) for n in (1, 2)]
    store.readings.commit(unit([], waiting=[(r, [(NOW, b"1")]) for r in rows]), load, NOW)
    store.write(lambda con: put_device(con, DeviceRow("D0", "hj212", "D0", "approved", "", NOW)))
    assert store.write(lambda con: forget_waiting(con, NOW + 2 * MINUTE)) == 1
    with store.engine.cursor() as con:
        assert [(r.device_id, r.frames_kept) for r in read_devices(con)] == [("D2", 1), ("D0", 0)]


def test_raw_frames_are_found_and_dropped_by_age(store: Store, load: ReadingLoad) -> None:
    store.readings.commit(unit([], [("D1", "part", b"1"), ("D1", "read", b"2"), ("D2", "read", b"3")]), load, NOW)
    with store.engine.cursor() as con:
        assert part_frames(con, NOW) == {"D1": [b"1"]}
        assert part_frames(con, NOW + MINUTE) == {}
        assert raw_frames(con, "D1", NOW, NOW + MINUTE) == [(NOW, b"1"), (NOW, b"2")]
        assert raw_frames(con, "D1", NOW - MINUTE, NOW) == []
    assert store.write(lambda con: drop_raw_frames(con, NOW)) == 0
    assert store.write(lambda con: drop_raw_frames(con, NOW + MINUTE)) == 3
    assert query(store, "SELECT device_id FROM raw_frame") == []


def test_late_rows_are_looked_up_whatever_their_distance(store: Store, load: ReadingLoad) -> None:
    spread: Values = [("a", NOW - n * 90 * MINUTE, float(n)) for n in range(100)]
    assert store.readings.commit(unit([("a", NOW + MINUTE, 0.0)]), load, NOW).accepted == 1
    assert store.readings.commit(unit(spread), load, NOW) == ReadingReceipt(100, 0, 0)
    assert store.readings.commit(unit(spread), load, NOW) == ReadingReceipt(0, 100, 0)
    changed: Values = [(c, at, v + 1) for c, at, v in spread]
    assert store.readings.commit(unit(changed), load, NOW) == ReadingReceipt(0, 0, 100)


def test_a_sealed_day_is_read_with_the_hot_ones(
    store: Store, load: ReadingLoad, reopen: Callable[[Path], Store], info: LoadInfo
) -> None:
    values: Values = [(c, NOW - n * 30 * MINUTE, float(n)) for n in range(200) for c in "ab"]
    store.readings.commit(unit(values), load, NOW)
    ids, span = ["D1/a-rtd"], (NOW - timedelta(days=9), NOW + MINUTE)
    before = store.reading_days.series(ids, *span)
    sealed = store.reading_days.seal_before(date(2026, 3, 30))
    assert sealed == [date(2026, 3, 28), date(2026, 3, 29)]
    assert store.reading_days.seal_before(date(2026, 3, 30)) == []
    hot = query(store, "SELECT count(*), min(device_at) FROM reading")[0]
    assert hot[0] < 400
    assert hot[1] == datetime(2026, 3, 29, 16, tzinfo=UTC)  # midnight of the 30th, civil time
    assert store.reading_days.series(ids, *span) == before
    # a row that comes later for a sealed day is sealed with the others
    store.readings.commit(unit([("a", datetime(2026, 3, 28, 12, 1, tzinfo=UTC), 7.0)]), load, NOW)
    assert store.reading_days.seal_before(date(2026, 3, 30)) == [date(2026, 3, 28)]
    assert store.reading_days.series(ids, *span).num_rows == before.num_rows + 1
    store.close()
    (folder,) = (store.data / "cold").glob("readings")
    (folder / "reading_20260101_1_1.parquet").write_bytes(b"orphan")
    again = reopen(store.data)
    try:
        assert again.reading_days.series(ids, *span).num_rows == before.num_rows + 1
        # the file of the 28th that the second one has replaced lies with it: nothing is deleted
        assert sorted(p.name[:16] for p in (folder / "orphans").iterdir()) == ["reading_20260101", "reading_20260328"]
    finally:
        again.close()


def test_buckets_hold_least_mean_and_greatest(store: Store, load: ReadingLoad) -> None:
    start = NOW - timedelta(hours=2)
    values: Values = [("a", start + n * MINUTE, float(n)) for n in range(120)]
    store.readings.commit(unit(values), load, NOW)
    store.reading_days.seal(date(2026, 4, 1))
    found = store.reading_days.buckets(["D1/a-rtd"], start, NOW, timedelta(minutes=30)).to_pylist()
    assert [(b["at"], b["least"], b["mean"], b["greatest"], b["values"]) for b in found] == [
        (start + n * 30 * MINUTE, 30.0 * n, 30.0 * n + 14.5, 30.0 * n + 29, 30) for n in range(4)
    ]


def test_a_reopened_store_knows_its_channels(
    store: Store, load: ReadingLoad, info: LoadInfo, reopen: Callable[[Path], Store]
) -> None:
    store.readings.commit(unit([("a", NOW, 1.0)]), load, NOW)
    store.close()
    again = reopen(store.data)
    try:
        values = [("a", NOW, 1.0), ("b", NOW, 2.0)]
        assert again.readings.commit(unit(values), ReadingLoad(info), NOW) == ReadingReceipt(1, 1, 0)
        assert query(again, "SELECT ch, channel_id FROM channel_ordinal ORDER BY ch") == [
            (0, "D1/a-rtd"),
            (1, "D1/b-rtd"),
        ]
    finally:
        again.close()


def test_a_file_of_version_1_gets_the_new_tables(store: Store, reopen: Callable[[Path], Store], info: LoadInfo) -> None:
    store.close()
    with duckdb.connect(str(store.engine.path)) as con:
        for name in (
            *("device", "held_frame", "channel_ordinal", "reading", "reading_latest", "raw_frame", "channel"),
            *("ranking", "list_day", "listed", "reading_day", "link", "stream_state", "stream_event", "notice"),
        ):
            con.execute(f"DROP TABLE {name}")
        con.execute("DROP SEQUENCE raw_frame_ids")
        con.execute("DROP SEQUENCE stream_event_ids")
        con.execute("UPDATE meta SET value = '1' WHERE key = 'schema_version'")
        con.execute("INSERT INTO meta VALUES ('mark', 'kept')")
    again = reopen(store.data)
    try:
        assert again.readings.commit(unit([("a", NOW, 1.0)]), ReadingLoad(info), NOW).accepted == 1
        assert query(again, "SELECT value FROM meta WHERE key IN ('schema_version', 'mark') ORDER BY value") == [
            ("3",),
            ("kept",),
        ]
    finally:
        again.close()


def test_a_file_of_a_later_version_is_left_alone(store: Store, reopen: Callable[[Path], Store]) -> None:
    store.close()
    with duckdb.connect(str(store.engine.path)) as con:
        con.execute("UPDATE meta SET value = '4' WHERE key = 'schema_version'")
    with pytest.raises(ConfigError, match="schema version 4"):
        reopen(store.data)


CHILD = """
import importlib.util, sys
from pathlib import Path
from dianhuan_hub.store import LoadInfo, ReadingLoad, Store
spec = importlib.util.spec_from_file_location("readings_child", sys.argv[2])
tests = importlib.util.module_from_spec(spec); spec.loader.exec_module(tests)
store = Store(Path(sys.argv[1]), lambda kw, _: {}, lambda: tests.NOW)
load = ReadingLoad(LoadInfo("t", "1", "s", "f", "", "", tests.NOW))
for n in range(100000):
    at = tests.NOW - n * tests.MINUTE / 60
    store.readings.commit(tests.unit([("a", at, float(n))], [("D1", "read", b"%d" % n)]), load, tests.NOW)
    print(n, flush=True)
"""


def test_sigkill_loses_nothing_that_was_said_to_be_committed(
    tmp_path: Path, reopen: Callable[[Path], Store], info: LoadInfo
) -> None:
    data = tmp_path / "killed"
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(data), __file__], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    said = [int(child.stdout.readline()) for _ in range(30)]
    os.kill(child.pid, signal.SIGKILL)
    said += [int(line) for line in child.communicate()[0].splitlines()]
    store = reopen(data)
    try:
        kept = store.readings.count()
        assert kept in (len(said), len(said) + 1)
        assert query(store, "SELECT count(*), count(DISTINCT raw) FROM raw_frame") == [(kept, kept)]
        again: Values = [("a", NOW - n * MINUTE / 60, float(n)) for n in said]
        assert store.readings.commit(unit(again), ReadingLoad(info), NOW) == ReadingReceipt(0, len(said), 0)
        assert store.readings.count() == kept
    finally:
        store.close()
