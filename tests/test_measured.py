"""The main job on measured curves: a steel plant (2018) and 63 businesses, farms and feeders (2016).

Energy totals are checked against the source; violations are injected by recipe V3 (night-shift swap) beside benign
twins of the same shape, and the list must hold the ones and not the others.
"""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from dianhuan_hub.app import open_hub
from dianhuan_hub.kernel.config import load_config
from dianhuan_sdk.features import DAY, NIGHT
from dianhuan_standards.identifiers import uscc_check_digit

START = date(2016, 4, 11)
DAYS = 35
"""11 April to 15 May 2016: no Spring Festival within reach, no change of summer time in any stretch."""


def register(folder: Path, table: str, **columns: list[Any]) -> Path:
    path = folder / f"{table}.csv"
    pa_csv.write_csv(pa.table(columns), path)
    return path


def daily_energy(hub_folder: Path, entity: str, first: date, last: date) -> dict[date, float]:
    with open_hub(load_config(hub_folder)) as hub:
        block = hub.store.city(last, (last - first).days + 1, ["kwh"])
        row = block.entities.column("entity_id").to_pylist().index(entity)
        return {d: float(v) for d, v in zip(block.days, block.feature("kwh")[row], strict=True)}


def one_plant(hub: Any, folder: Path, points: list[str]) -> None:
    size = len(points)
    entities = [f"E-{p}" for p in points]
    hub("ingest", "entity", register(folder, "entity", entity_id=entities, name=entities))
    hub("ingest", "metering_point", register(folder, "metering_point", metering_point_id=points, account_no=points))
    links = register(
        folder, "account_link", account_no=points, entity_id=entities, valid_from=[date(2015, 1, 1)] * size
    )
    hub("ingest", "account_link", links)


def test_steel_plant_energy_per_day_agrees_with_the_source(measured, new_hub, tmp_path):
    source = measured / "steel" / "steel_15min_2018.csv"
    hub = new_hub()
    one_plant(hub, tmp_path, ["STEEL-1"])
    (done,) = hub("ingest", "load_curve", source, "--mapping", "steel")
    assert (done["accepted"], done["quarantined"]) == (365, 0)
    expected: dict[date, float] = {}
    with source.open(encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            day = datetime.strptime(row["date"], "%d/%m/%Y %H:%M").date()  # noqa: DTZ007
            expected[day] = expected.get(day, 0.0) + float(row["Usage_kWh"])
    found = daily_energy(hub.folder, "E-STEEL-1", date(2018, 1, 1), date(2018, 12, 31))
    assert found.keys() == expected.keys()
    for day, energy in expected.items():
        assert found[day] == pytest.approx(energy, rel=1e-3), day


def test_simbench_energy_per_local_day_agrees_with_the_source(measured, new_hub, tmp_path):
    source = measured / "simbench" / "load_profiles_15min_2016.parquet"
    table = pq.read_table(source)
    meters = [n for n in table.column_names if n != "time"]
    hub = new_hub()
    one_plant(hub, tmp_path, meters)
    (done,) = hub("ingest", "load_curve", source, "--mapping", "simbench")
    assert (done["accepted"], done["quarantined"]) == (len(meters) * 366, 0)
    stamps = [t[:10] for t in table.column("time").to_pylist()]
    days, place = np.unique(stamps, return_inverse=True)
    assert sorted(np.bincount(place))[:1] == [92]
    assert max(np.bincount(place)) == 100
    for meter in (meters[0], meters[20], meters[-1]):
        energy = np.bincount(place, weights=table.column(meter).to_numpy().astype(float)) / 4
        found = daily_energy(hub.folder, f"E-{meter}", date(2016, 1, 1), date(2016, 12, 31))
        for label, kwh in zip(days, energy, strict=True):
            day = datetime.strptime(label, "%d.%m.%Y").date()  # noqa: DTZ007
            assert found[day] == pytest.approx(kwh, rel=1e-3, abs=1e-4), (meter, day)


def credit_code(number: int) -> str:
    body = f"91430200MA{number:07d}"
    return body + uscc_check_digit(body)


def night_swap(kw: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Recipe V3: on 60–80 % of the nights the day's load is moved to 22–05 and the day idles."""
    out = kw.copy()
    share = rng.uniform(0.6, 0.8)
    for day in range(len(kw) - 1):
        if rng.random() < share:
            idle = np.quantile(kw[day], 0.05)
            moved = kw[day, 30:70].copy()
            out[day, 24:88] = idle * rng.uniform(0.9, 1.1, 64)
            night = np.resize(moved, 28)
            out[day, 88:], out[day + 1, :20] = night[:8], night[8:28]
    return out


def test_injected_night_shifts_are_on_the_list_and_their_benign_twins_are_not(measured, new_hub, tmp_path):
    table = pq.read_table(measured / "simbench" / "load_profiles_15min_2016.parquet")
    rng = np.random.default_rng(7)
    names = [n for n in table.column_names if n.startswith(("G", "BL", "WB", "HS", "L"))]
    labels = table.column("time").to_pylist()
    points: list[str] = []
    columns: list[np.ndarray] = []
    kinds: list[str] = []

    def add(point: str, kind: str, curve: np.ndarray, peak: float) -> None:
        points.append(point)
        kinds.append(kind)
        columns.append((curve * peak).reshape(-1).round(2).astype(np.float32))

    # Every fifth week of the year starts a stretch of 35 days that stands for another customer of the same kind.
    first = labels.index(START.strftime("%d.%m.%Y") + " 00:00")
    for name in names:
        series = table.column(name).to_numpy()
        for shift in (0, 3, 6):
            stretch = series[first + shift * 7 * 96 :][: DAYS * 96]
            if len(stretch) == DAYS * 96 and shift < 7:
                add(
                    f"{name}_{shift}",
                    "twin" if name.startswith(("HS", "G5", "G3")) else "plain",
                    stretch.reshape(DAYS, 96),
                    float(rng.lognormal(4, 0.5)),
                )
                works_by_day = (
                    stretch.reshape(DAYS, 96)[:, NIGHT].mean() < 0.45 * stretch.reshape(DAYS, 96)[:, DAY].mean()
                )
                if works_by_day and shift == 3 and not name.startswith("HS"):
                    for prefix, kind in (("NIGHT", "injected"), ("LEGAL", "permitted")):
                        swapped = night_swap(stretch.reshape(DAYS, 96), rng)
                        add(f"{prefix}_{name}_{shift}", kind, swapped, float(rng.lognormal(4, 0.3)))
    window = [
        (datetime(START.year, START.month, START.day, tzinfo=UTC) + timedelta(minutes=15 * i)).strftime(
            "%d.%m.%Y %H:%M"
        )
        for i in range(DAYS * 96)
    ]
    source = tmp_path / "city.parquet"
    pq.write_table(pa.table({"time": window, **dict(zip(points, columns, strict=True))}), source)

    hub = new_hub()
    ids = [credit_code(i) for i in range(len(points))]
    size = len(points)
    industry = {"injected": "C3311", "permitted": "C3311", "plain": "C3311", "twin": "O8010"}
    hub(
        "ingest",
        "entity",
        register(
            tmp_path,
            "entity",
            entity_id=ids,
            uscc=ids,
            name=points,
            division=["430202"] * size,
            industry=[industry[k] for k in kinds],
        ),
    )
    hub(
        "ingest",
        "metering_point",
        register(
            tmp_path,
            "metering_point",
            metering_point_id=points,
            account_no=points,
            tariff_class=["commercial" if k == "twin" else "industrial" for k in kinds],
        ),
    )
    hub(
        "ingest",
        "account_link",
        register(tmp_path, "account_link", account_no=points, entity_id=ids, valid_from=[date(2015, 1, 1)] * size),
    )
    permitted = [i for i, k in zip(ids, kinds, strict=True) if k == "permitted"]
    hub(
        "ingest",
        "permit",
        register(
            tmp_path,
            "permit",
            permit_no=[f"P{i}" for i in range(len(permitted))],
            entity_id=permitted,
            permit_class=["simplified"] * len(permitted),
            valid_from=[date(2015, 1, 1)] * len(permitted),
            night_permitted=[True] * len(permitted),
        ),
    )
    (done,) = hub("ingest", "load_curve", source, "--mapping", "simbench")
    assert done["accepted"] == size * DAYS
    (run,) = hub("screen", "--model", "m05")
    assert run["failed"] == {}
    listed = hub("list", "-k", 500)
    kind_of = dict(zip(ids, kinds, strict=True))
    hit = [kind_of[line["entity"]] for line in listed]
    injected = kinds.count("injected")
    assert injected >= 5
    assert hit.count("injected") >= 0.75 * injected, hit
    assert hit.count("permitted") == 0, hit
    assert hit.count("twin") == 0, [line["warnings"] for line in listed if kind_of[line["entity"]] == "twin"]
    assert hit.count("plain") <= 0.02 * kinds.count("plain"), hit
    first_line = listed[0]
    assert kind_of[first_line["entity"]] == "injected"
    warning = first_line["warnings"][0]
    assert warning["reasons"]
    assert warning["counter"]
    assert all(g["passed"] for g in warning["gates"])
