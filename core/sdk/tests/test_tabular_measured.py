"""Both measured sets: the energy of every local day, checked against the source without this engine."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from datetime import datetime, timedelta

import numpy as np
import pyarrow.parquet as pq
import pytest

STEEL = {
    "columns": {"metering_point_id": {"constant": "STEEL-1"}},
    "curve": {
        "layout": "long",
        "unit": "kWh",
        "multiplier_applied": True,
        "time": {"column": "date", "format": "%d/%m/%Y %H:%M"},
        "value": "Usage_kWh",
        "stamp": "interval_end_same_day",
        "zone": "Asia/Seoul",
    },
}
SIMBENCH = {
    "curve": {
        "layout": "matrix",
        "multiplier_applied": True,
        "time": {"column": "time", "format": "%d.%m.%Y %H:%M"},
        "zone": "Europe/Berlin",
    }
}


def test_steel_energy_of_every_day(read, measured) -> None:
    path = measured("steel/steel_15min_2018.csv")
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 35_040
    expected: dict[str, float] = defaultdict(float)
    for i, row in enumerate(rows):
        # By position alone: 96 rows a day in the meter's own order.
        day = datetime(2018, 1, 1) + timedelta(days=i // 96)  # noqa: DTZ001 - civil time
        expected[f"{day:%Y-%m-%d}"] += float(row["Usage_kWh"])
    out = read(path, STEEL)
    assert (out.error, out.rejects) == (None, [])
    curves = out.curves()
    assert {day for _, day in curves} == set(expected)
    for (_, day), kw in curves.items():
        assert kw.sum() / 4 == pytest.approx(expected[day], rel=1e-3)
    first = [float(row["Usage_kWh"]) * 4 for row in rows[:96]]
    np.testing.assert_allclose(curves["STEEL-1", "2018-01-01"], first, rtol=1e-6)
    assert {row["points"] for row in out.rows} == {96}


def test_simbench_energy_of_every_local_day(read, measured) -> None:
    path = measured("simbench/load_profiles_15min_2016.parquet")
    table = pq.read_table(path)
    days = [text[:10] for text in table.column("time").to_pylist()]
    meters = [name for name in table.column_names if name != "time"]
    order = {day: i for i, day in enumerate(dict.fromkeys(days))}
    at = np.array([order[day] for day in days])
    out = read(path, SIMBENCH)
    assert (out.error, out.rejects) == (None, [])
    found = out.curves()
    assert len(found) == len(meters) * 366
    for meter in meters:
        energy = np.bincount(at, weights=table.column(meter).to_numpy().astype(float)) / 4
        for day, i in order.items():
            key = (meter, f"{day[6:]}-{day[3:5]}-{day[:2]}")
            assert np.nansum(found[key]) / 4 == pytest.approx(energy[i], rel=1e-3, abs=1e-9)
    assert Counter(row["points"] for row in out.rows) == {96: 63 * 364, 92: 63, 100: 63}
    assert {str(r["day"]) for r in out.rows if r["points"] == 92} == {"2016-03-27"}
    assert {str(r["day"]) for r in out.rows if r["points"] == 100} == {"2016-10-30"}
