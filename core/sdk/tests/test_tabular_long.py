"""Long and matrix files: stamps, zones, summer time, duplicates, and equality with the wide form."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LONG: dict[str, Any] = {
    "columns": {"metering_point_id": "meter"},
    "curve": {"layout": "long", "multiplier_applied": True, "time": "time", "value": "kw"},
}


def long_of(**curve: Any) -> dict[str, Any]:
    return LONG | {"curve": LONG["curve"] | curve}


def stamps(day: date, minutes: int, start: int = 0) -> list[str]:
    begin = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - civil time
    return [f"{begin + timedelta(minutes=m):%Y-%m-%d %H:%M}" for m in range(start, start + 1440, minutes)]


def long_text(times: list[str], values: list[Any], meter: str = "M1") -> str:
    lines = [f"{meter},{t},{'' if v is None else v}" for t, v in zip(times, values, strict=True)]
    return "\n".join(["meter,time,kw", *lines, ""])


def test_interval_end_belongs_to_the_day_before(read) -> None:
    times = stamps(date(2026, 1, 5), 15, 15)
    values = [float(i) for i in range(96)]
    out = read(long_text(times, values), long_of(stamp="interval_end"))
    (row,) = out.rows
    assert (str(row["day"]), row["points"]) == ("2026-01-05", 96)
    assert row["kw"] == values


def test_interval_end_same_day(read) -> None:
    times = stamps(date(2026, 1, 5), 15, 15)
    times[-1] = "2026-01-05 00:00"
    values = [float(i) for i in range(96)]
    out = read(long_text(times, values), long_of(stamp="interval_end_same_day"))
    (row,) = out.rows
    assert row["kw"] == values


def test_24_00_is_the_next_midnight(read) -> None:
    times = stamps(date(2026, 1, 5), 15, 15)
    times[-1] = "2026-01-05 24:00"
    out = read(long_text(times, [1.0] * 96), long_of(stamp="interval_end"))
    assert len(out.rows) == 1
    assert None not in out.rows[0]["kw"]


@pytest.mark.parametrize("minutes", [5, 15, 30, 60])
def test_steps_keep_energy(read, minutes: int) -> None:
    rng = np.random.default_rng(minutes)
    kwh = rng.integers(0, 100, 1440 // minutes).astype(float)
    out = read(long_text(stamps(date(2026, 1, 5), minutes), kwh.tolist()), long_of(unit="kWh"))
    (row,) = out.rows
    assert row["points"] == 1440 // max(minutes, 15)
    assert sum(row["kw"]) / 4 == pytest.approx(kwh.sum())


def test_meters_of_different_steps_in_one_file(read) -> None:
    quarter = long_text(stamps(date(2026, 1, 5), 15), [4.0] * 96, "A")
    hour = long_text(stamps(date(2026, 1, 5), 60), [8.0] * 24, "B").split("\n", 1)[1]
    out = read(quarter + hour, LONG)
    assert [(r["metering_point_id"], r["points"], set(r["kw"])) for r in out.rows] == [
        ("A", 96, {4.0}),
        ("B", 24, {8.0}),
    ]


@pytest.mark.parametrize(
    ("day", "points"), [(date(2016, 3, 27), 92), (date(2016, 10, 30), 100), (date(2016, 6, 1), 96)]
)
@pytest.mark.parametrize("stamp", ["interval_start", "interval_end"])
@pytest.mark.parametrize("written", ["wall clock", "offset", "utc"])
def test_summer_time_folds_with_energy_kept(read, day: date, points: int, stamp: str, written: str) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    start = datetime(day.year, day.month, day.day, tzinfo=berlin).astimezone(UTC)
    shift = timedelta(minutes=15 if stamp == "interval_end" else 0)
    instants = [start + timedelta(minutes=15 * i) + shift for i in range(points)]
    if written == "utc":
        times, zone = [f"{t:%Y-%m-%d %H:%M}" for t in instants], {"zone": "UTC", "civil_zone": "Europe/Berlin"}
    elif written == "offset":
        times, zone = [t.astimezone(berlin).isoformat() for t in instants], {"zone": "Europe/Berlin"}
    else:
        times, zone = [f"{t.astimezone(berlin):%Y-%m-%d %H:%M}" for t in instants], {"zone": "Europe/Berlin"}
    values = [float(i + 1) for i in range(points)]
    out = read(long_text(times, values), long_of(stamp=stamp, **zone))
    assert out.rejects == []
    (row,) = out.rows
    assert (row["day"], row["points"]) == (day, points)
    kw = np.array(row["kw"], dtype=float)
    assert np.nansum(kw) == sum(values)
    if points == 92:
        assert np.flatnonzero(np.isnan(kw)).tolist() == [8, 9, 10, 11]
    if points == 100:
        assert kw[8:12].tolist() == [(9 + i) + (13 + i) for i in range(4)]
        assert kw[7] == 8


def test_a_time_that_the_clock_skips_is_refused(read) -> None:
    times = stamps(date(2016, 3, 27), 15)
    out = read(long_text(times, [1.0] * 96), long_of(zone="Europe/Berlin"))
    assert [code for _, code in out.codes] == ["nonexistent_time"] * 4
    assert out.codes[0][0] == 9
    assert "state the zone" in out.rejects[0]["detail"]


def test_again_the_same_reading(read) -> None:
    times = stamps(date(2026, 1, 5), 15)
    text = long_text([*times, times[4], times[5]], [*[1.0] * 96, 9.0, 1.0])
    out = read(text, LONG)
    (row,) = out.rows
    assert row["kw"][4:6] == [9.0, 1.0]
    assert out.codes == [(5, "duplicate_reading")]


def test_bad_readings_are_refused_and_the_others_go_on(read) -> None:
    times = stamps(date(2026, 1, 5), 15)
    values: list[Any] = [1.0] * 96
    values[3], values[4] = "abc", None
    times[7] = "yesterday"
    text = long_text(times, values) + "\n,2026-01-05 00:00,1\nM1,2026-01-05 00:15\n"
    out = read(text, LONG)
    (row,) = out.rows
    assert [i for i, v in enumerate(row["kw"]) if v is None] == [3, 4, 7]
    assert sorted(code for _, code in out.codes) == ["bad_number", "missing_value", "unreadable_date", "wrong_columns"]


def test_day_and_point_number(read) -> None:
    lines = [f"M1,20260105,{i},{i}" for i in range(1, 97)]
    text = "\n".join(["meter,day,point,kw", *lines])
    out = read(text, long_of(time={"column": "day", "format": "%Y%m%d"}, clock="point"))
    assert out.rows[0]["kw"] == [float(i) for i in range(1, 97)]


def test_no_step_can_be_told(read) -> None:
    out = read("meter,time,kw\nM1,2026-01-05 00:00,1\n", LONG)
    assert "interval_minutes" in out.error.hint
    assert read("meter,time,kw\n", LONG).rows == []
    assert "no column 'kw'" in str(read("meter,time,x\nM1,2026-01-05 00:00,1\n", LONG).error)


def test_matrix_with_a_bad_cell(read) -> None:
    lines = [f"{t};{i},5;-9999;{'x' if i == 2 else i}" for i, t in enumerate(stamps(date(2026, 1, 5), 15))]
    text = "\n".join(["time;A;B;C", *lines])
    out = read(text, {"decimal": ",", "curve": {"layout": "matrix", "multiplier_applied": True, "time": "time"}})
    curves = out.curves()
    assert curves["A", "2026-01-05"].tolist() == [i + 0.5 for i in range(96)]
    assert np.isnan(curves["B", "2026-01-05"]).all()
    assert np.flatnonzero(np.isnan(curves["C", "2026-01-05"])).tolist() == [2]
    assert out.codes == [(3, "bad_number")]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(),
    meters=st.lists(st.text("甲乙丙MP0123456789", min_size=1, max_size=6), min_size=1, max_size=4, unique=True),
    days=st.integers(1, 3),
    encoding=st.sampled_from(["utf-8", "gb18030", "utf-8-sig"]),
    zone=st.sampled_from(["Asia/Shanghai", "UTC", "+08:00"]),
)
def test_wide_long_and_matrix_agree(read, data, meters: list[str], days: int, encoding: str, zone: str) -> None:
    """The same readings in three layouts and any encoding give the same curves."""
    cell = st.one_of(st.none(), st.integers(0, 20_000).map(lambda v: v / 4))
    grid = [[data.draw(st.lists(cell, min_size=4, max_size=4)) * 24 for _ in range(days)] for _ in meters]
    dates = [date(2026, 1, 5) + timedelta(days=d) for d in range(days)]
    shift = timedelta(hours=-8 if zone == "UTC" else 0)
    times = [datetime(2026, 1, 5) + shift + timedelta(minutes=15 * i) for i in range(96 * days)]  # noqa: DTZ001

    def show(value: float | None) -> str:
        return "" if value is None else f"{value:g}"

    wide = ["计量点编号,日期," + ",".join(f"P{i}" for i in range(1, 97))]
    wide += [
        ",".join([m, day.isoformat(), *map(show, grid[i][d])])
        for i, m in enumerate(meters)
        for d, day in enumerate(dates)
    ]
    flat = [[v for day in rows for v in day] for rows in grid]
    long = [
        "meter,time,kw",
        *(f"{m},{t},{show(v)}" for m, vs in zip(meters, flat, strict=True) for t, v in zip(times, vs, strict=True)),
    ]
    matrix = [
        ",".join(["time", *meters]),
        *(",".join([str(t), *map(show, vs)]) for t, *vs in zip(times, *flat, strict=True)),
    ]
    common = {"time": "time", "zone": zone, "interval_minutes": 15, "multiplier_applied": True}
    answers = [
        read("\n".join(wide), None, encoding=encoding),
        read("\n".join(long), LONG | {"curve": common | {"layout": "long", "value": "kw"}}, encoding=encoding),
        read("\n".join(matrix), {"curve": common | {"layout": "matrix"}}, encoding=encoding),
    ]
    curves = [a.curves() for a in answers]
    for answer, found in zip(answers, curves, strict=True):
        assert (answer.error, answer.rejects) == (None, [])
        assert set(found) == {(m, d.isoformat()) for m in meters for d in dates}
    for key, expected in curves[0].items():
        np.testing.assert_array_equal(curves[1][key], expected)
        np.testing.assert_array_equal(curves[2][key], expected)
