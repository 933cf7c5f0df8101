"""Equal choices give equal bytes; a smaller choice gives a part of the larger city."""

from __future__ import annotations

import numpy as np
import pytest

from dianhuan_sdk import InputError
from dianhuan_simulator import write_generic, write_hunan


def _bytes(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_same_seed_same_bytes(make_city, tmp_path):
    for name in ("a", "b"):
        write_hunan(make_city(entities=600, days=3), tmp_path / name)
    first, second = _bytes(tmp_path / "a"), _bytes(tmp_path / "b")
    assert first == second
    assert len(first) >= 3 * 2 + 8
    write_hunan(make_city(entities=600, days=3, seed=8), tmp_path / "c")
    other = _bytes(tmp_path / "c")
    assert other["grid/curve_20260303.csv"] != first["grid/curve_20260303.csv"]


@pytest.mark.parametrize("number", [0, 3, 7])
def test_a_day_alone_equals_that_day_in_a_run(make_city, hunan, tmp_path, number):
    run_city, run = hunan
    city = make_city(entities=4700, days=8)
    day = run_city.days[number]
    write_hunan(city, tmp_path, days=[day])
    alone = _bytes(tmp_path)
    assert [n for n in alone if n.startswith("grid/")]
    assert all((run / name).read_bytes() == text for name, text in alone.items())
    in_run = {p.name for p in (run / "grid").glob(f"*_{day:%Y%m%d}.csv")}
    assert {p.name for p in (tmp_path / "grid").iterdir()} == in_run


def test_first_entities_do_not_depend_on_entities_or_days(make_city):
    small, large = make_city(entities=700, days=3), make_city(entities=5000, days=9)
    few, many = small.registers(), large.registers()
    columns = ["entity_id", "name", "division", "industry", "opened_on", "address"]
    assert few["entity"].select(columns).equals(many["entity"].slice(0, 700).select(columns))
    points = len(small.point_ids)
    assert np.array_equal(small.point_ids, large.point_ids[:points])
    day = small.days[2]
    assert np.array_equal(small.day(day), large.day(day)[:points], equal_nan=True)
    truth = {(e, k) for e, k in zip(*(small.truth()[c].to_pylist() for c in ("entity_id", "kind")), strict=True)}
    whole = {(e, k) for e, k in zip(*(large.truth()[c].to_pylist() for c in ("entity_id", "kind")), strict=True)}
    assert truth <= whole


def test_generic_days_equal_city_days(make_city, tmp_path):
    import pyarrow.csv
    import pyarrow.parquet

    city = make_city(entities=400, days=2)
    write_generic(city, tmp_path / "csv")
    write_generic(city, tmp_path / "parquet", parquet=True)
    for day in city.days:
        kw = city.day(day)
        kept = ~np.isnan(kw).all(axis=1)
        for table in (
            pyarrow.csv.read_csv(tmp_path / "csv" / "curves" / f"load_{day:%Y%m%d}.csv"),
            pyarrow.parquet.read_table(tmp_path / "parquet" / "curves" / f"load_{day:%Y%m%d}.parquet"),
        ):
            assert table.column_names[:3] == ["metering_point_id", "day", "T0015"]
            assert table.column_names[-1] == "T2400"
            assert set(table["day"].to_pylist()) == {day}
            assert [int(i) for i in table["metering_point_id"].to_pylist()] == city.point_ids[kept].tolist()
            values = np.stack([table[c].to_numpy() for c in table.column_names[2:]], axis=1)
            assert np.allclose(values, kw[kept], atol=1e-4, rtol=1e-6, equal_nan=True)


def test_a_day_outside_the_run_is_refused(make_city):
    city = make_city(days=2)
    with pytest.raises(InputError, match="is not a day of this city"):
        city.day(city.config.start.replace(year=2030))
