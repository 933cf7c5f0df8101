"""Channels and readings over GraphQL: latest values at once, buckets for plots, in the districts of the key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from dianhuan_hub.app import Hub
from dianhuan_hub.store import QUARANTINE_SCHEMA, RAW_SCHEMA, LoadInfo, ReadingLoad, ReadingUnit, bind_channels, horizon
from dianhuan_standards import TABLES

Ask = Callable[..., Awaitable[dict[str, Any]]]
NOW = datetime(2026, 3, 3, 6, 0, tzinfo=UTC)
QUERY = """query ($id: ID!, $start: DateTime!, $end: DateTime!, $minutes: Int!) { entity(id: $id) { ... on Entity {
  channels { ... on Channels { nodes { channelId code latestAt latestValue
    readings(start: $start, end: $end, minutes: $minutes) {
      ... on Readings { buckets { at least mean greatest values } } ... on Problem { code message } } } }
  ... on Problem { code } } } ... on Problem { code } } }"""
WHOLE = {"start": "2026-03-03T05:00:00+00:00", "end": "2026-03-03T06:00:00+00:00", "minutes": 30}


@pytest.fixture
def measured(hub: Hub) -> None:
    ids = [f"D1/d20405-{s}" for s in ("rtd", "avg")]
    at = [NOW - timedelta(minutes=m) for m in range(60, 0, -1)]
    rows = [
        {"channel_id": ids[0], "device_at": t, "at": t, "received_at": t, "value": float(i), "resent": False}
        for i, t in enumerate(at)
    ]
    channels = [
        {"channel_id": i, "device_id": "D1", "protocol": "hj212", "code": "d20405", "statistic": i[-3:],
         "interval": "moment"} for i in ids
    ]  # fmt: skip
    unit = ReadingUnit(
        rows=pa.RecordBatch.from_pylist(rows, schema=TABLES["reading"].schema),
        channels=pa.RecordBatch.from_pylist(channels, schema=TABLES["channel"].schema),
        raw=RAW_SCHEMA.empty_table(),
        refused=QUARANTINE_SCHEMA.empty_table(),
        horizon=horizon(NOW, 30, 600),
    )
    hub.store.readings.commit(unit, ReadingLoad(LoadInfo("hj212", "1", "reading", "line", "", "", NOW)), NOW)
    hub.store.write(lambda con: bind_channels(con, "D1", "E-A1"))


async def test_latest_value_and_buckets(ask: Ask, measured: None) -> None:
    answer = await ask("analyst-a", QUERY, id="E-A1", **WHOLE)
    quiet, live = answer["data"]["entity"]["channels"]["nodes"]
    assert (quiet["channelId"], quiet["latestValue"], quiet["readings"]) == ("D1/d20405-avg", None, {"buckets": []})
    assert (live["latestAt"], live["latestValue"]) == ("2026-03-03T05:59:00+00:00", 59.0)
    assert live["readings"]["buckets"] == [
        {"at": "2026-03-03T05:00:00+00:00", "least": 0.0, "mean": 14.5, "greatest": 29.0, "values": 30},
        {"at": "2026-03-03T05:30:00+00:00", "least": 30.0, "mean": 44.5, "greatest": 59.0, "values": 30},
    ]


@pytest.mark.parametrize(
    "changed",
    [{"minutes": 0}, {"end": WHOLE["start"]}, {"end": "2027-03-03T05:00:00+00:00"}, {"end": "2026-03-03T06:00:00"}],
    ids=["no step", "nothing", "too many", "no zone"],
)
async def test_hostile_spans_are_told(ask: Ask, measured: None, changed: dict[str, Any]) -> None:
    answer = await ask("analyst-a", QUERY, id="E-A1", **{**WHOLE, **changed})
    nodes = answer["data"]["entity"]["channels"]["nodes"]
    assert {n["readings"]["code"] for n in nodes} == {"BAD_USER_INPUT"}


async def test_hostile_channels_of_another_district_do_not_exist(ask: Ask, measured: None) -> None:
    assert (await ask("analyst-b", QUERY, id="E-A1", **WHOLE))["data"]["entity"] == {"code": "NOT_FOUND"}


async def test_hostile_roles_without_curves_see_no_channels(ask: Ask, measured: None) -> None:
    answer = await ask("agency-a", QUERY, id="E-A1", **WHOLE)
    assert answer["data"]["entity"] == {"channels": {"code": "FORBIDDEN"}}
