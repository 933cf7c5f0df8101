"""T1: measured curves with injections and twins, set into a simulated city that gives them peers."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dianhuan_bench._metrics import clopper_pearson
from dianhuan_bench._run import Judge, Said, run
from dianhuan_bench._window import CityWindow
from dianhuan_bench.injection import RECIPES, Injected, inject, twin
from dianhuan_sdk import ArrayBlock, InputError, ModelContext, ModelSpec
from dianhuan_sdk.features import FloatArray
from dianhuan_simulator import City, CityConfig
from dianhuan_standards import TABLES

START = date(2026, 3, 2)
DAYS, LEAD = 28, 14
"""Days that models see, and days before them: a violation may have begun before the window."""

GRID = tuple(r for r in RECIPES if r not in ("V1", "V2", "V9", "V11"))
"""Recipes at a grid meter; the others change a treatment circuit, which the measured curves do not have."""

_KINDS: Mapping[str, tuple[str | None, str]] = {
    "G0": ("C2231", "industrial"),
    "G1": ("C2231", "industrial"),
    "G4": ("C2110", "industrial"),
    "G2": ("O8111", "commercial"),
    "G3": ("C3130", "industrial"),
    "G5": ("C1411", "commercial"),
    "G6": ("H6210", "commercial"),
    "BL": ("C2231", "industrial"),
    "WB": ("C2231", "industrial"),
    "L0": ("A0111", "agricultural"),
    "L1": ("A0313", "agricultural"),
    "L2": ("A0313", "agricultural"),
    "H0": ("F5292", "residential"),
    "HS": ("F5211", "commercial"),
    "mv": ("C3360", "industrial"),
    "st": ("C3110", "industrial"),
}
"""Industry and tariff that a series poses as; day trades pose as workshops, so that night work by them is a claim."""


@dataclass(frozen=True)
class Site:
    """A measured site: name, source, curve of shape (42, 96) in kW that begins with a Monday."""

    name: str
    source: str
    kw: FloatArray


def sites(folder: Path, seed: int) -> list[Site]:
    """The measured curves of a folder with `simbench/` and `steel/`, six weeks of each from a drawn Monday.

    Raises:
        InputError: a file is missing.
    """
    simbench = folder / "simbench" / "load_profiles_15min_2016.parquet"
    steel = folder / "steel" / "steel_15min_2018.csv"
    for path in (simbench, steel):
        if not path.is_file():
            raise InputError(f"no measured curves: {path} is missing", hint="give the folder that holds them by --data")
    rng = np.random.default_rng((seed, 1))
    table = pq.read_table(simbench)
    first = date(2016, 1, 1)
    rows: dict[date, list[int]] = {}
    for i, text in enumerate(table["time"].to_pylist()):
        rows.setdefault(date(int(text[6:10]), int(text[3:5]), int(text[:2])), []).append(i)
    whole = np.full((366, 96), -1)
    for day, mine in rows.items():
        if len(mine) == 96:  # not the two days of the clock change
            whole[(day - first).days] = mine
    out = []
    for name in table.column_names:
        if name != "time":
            series = np.append(table[name].to_numpy().astype(np.float32), np.float32(np.nan))
            peak = np.float32(np.exp(rng.normal(4.0, 0.7)))
            out.append(Site(name, "simbench", peak * _six_weeks(series[whole], first, rng)))
    out.append(Site("steel", "steel", _six_weeks(_steel(steel), date(2018, 1, 1), rng)))
    return out


def _six_weeks(kw: FloatArray, first: date, rng: np.random.Generator) -> FloatArray:
    monday = (-first.weekday()) % 7
    weeks = (len(kw) - monday) // 7 - 7
    start = monday + 7 * int(rng.integers(1, weeks))
    return kw[start : start + LEAD + DAYS]


def _steel(path: Path) -> FloatArray:
    """Stamps are interval ends; the row stamped 00:00 closes its own date."""
    kw = np.full((365, 96), np.nan, np.float32)
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            day, clock = row["date"].split(" ")
            d, m, y = (int(part) for part in day.split("/"))
            hour, minute = (int(part) for part in clock.split(":"))
            kw[(date(y, m, d) - date(2018, 1, 1)).days, (hour * 4 + minute // 15 - 1) % 96] = 4 * float(
                row["Usage_kWh"]
            )
    return kw


def measured(
    specs: Sequence[ModelSpec],
    folder: Path,
    seed: int,
    *,
    entities: int = 3000,
    judge: Judge | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Mapping[str, Any]:
    """Detection and false-alarm rates of each model by recipe, with exact intervals.

    Each site stands in the city three times: as measured, with the violation, with a benign twin (V3 only at sites that
    work by day). Nothing is fitted to any site. No figure here has a base rate.

    Raises:
        InputError: the measured curves are missing.
    """
    places = sites(folder, seed)
    host = City(CityConfig(entities=entities, days=30, start=START, base_rate=0.0), seed)
    window = CityWindow(host, START + timedelta(days=DAYS - 1), DAYS)
    rows = []
    for number, recipe in enumerate(GRID):
        say(f"T1 {recipe}")
        rng = np.random.default_rng((seed, 2, number))
        fit = [s for s in places if recipe != "V3" or works_by_day(s.kw)]
        groups: dict[str, Group] = {
            "clean": [(s, None) for s in fit],
            "violation": [(s, inject(recipe, s.kw, rng)) for s in fit],
            "twin": [(s, twin(recipe, s.kw, rng)) for s in fit],
        }
        said, index = _try(specs, window, groups, judge)
        for spec in specs:
            if spec.id in said.scores:
                rows.append(_row(spec.id, recipe, said, index, groups))
        rows.append(_row("any model", recipe, said, index, groups))
    window.close()
    return {
        "tier": "T1",
        "seed": seed,
        "sites": len(places),
        "days": DAYS,
        "host_entities": entities,
        "rows": rows,
        "left_out": {r: "changes a treatment circuit; the measured curves have none" for r in RECIPES if r not in GRID},
    }


def works_by_day(kw: FloatArray) -> bool:
    """The mean of 08–18 is above that of the other hours by a half: there is day work that V3 can move."""
    by_day, rest = np.nanmean(kw[:, 32:72]), np.nanmean(np.delete(kw, np.s_[32:72], axis=1))
    return bool(by_day > 1.5 * rest)


Group = list[tuple[Site, Injected | None]]


def _row(
    model: str, recipe: str, said: Said, index: Mapping[str, list[int]], groups: Mapping[str, Group]
) -> dict[str, Any]:
    score = said.fused if model == "any model" else said.scores[model]
    out: dict[str, Any] = {"model": model, "recipe": recipe}
    for group, mine in index.items():
        warned = score[mine] > 0
        low, high = clopper_pearson(int(warned.sum()), len(mine))
        out[group] = {
            "warned": int(warned.sum()),
            "sites": len(mine),
            "low": round(low, 3),
            "high": round(high, 3),
        }
        by: dict[str, list[int]] = {}
        for (site, _), hit in zip(groups[group], warned.tolist(), strict=True):
            by.setdefault(site.name.split("-")[0] if site.source == "simbench" else site.name, []).append(int(hit))
        out[group]["by_site"] = {k: f"{sum(v)}/{len(v)}" for k, v in sorted(by.items()) if sum(v)}
    return out


def _try(
    specs: Sequence[ModelSpec], host: CityWindow, groups: Mapping[str, Group], judge: Judge | None
) -> tuple[Said, dict[str, list[int]]]:
    """All groups at once beside the host city's enterprises."""
    at = host.entities.num_rows
    curves: list[FloatArray] = []
    rows: list[dict[str, Any]] = []
    orders: list[dict[str, Any]] = []
    index: dict[str, list[int]] = {}
    for group, members in groups.items():
        index[group] = list(range(at + len(rows), at + len(rows) + len(members)))
        for site, made in members:
            name = f"T1-{group}-{site.name}"
            industry, tariff = _KINDS.get(site.name[:2], ("C2231", "industrial"))
            kw = site.kw if made is None else made.kw
            if made is not None and "neighbour" in made.beside:
                kw = np.asarray(made.beside["neighbour"], np.float32)  # the account that is judged
            top = float(np.nanmax(site.kw))
            closed = None
            if made is not None and "closed" in made.beside:
                closed = _day(host, made.parameters["first_day"])
                moved = "neighbour" in made.beside or "new_owner_day" in made.parameters
                owner = f"{name}-closed" if moved else name  # another enterprise is judged than was closed
                orders.append(_order(f"{name}-O", owner, "closure", closed, None))
                if owner != name:
                    closed = None
            if made is not None and "ordered" in made.beside:
                window = np.flatnonzero(made.beside["ordered"].any(axis=1))
                orders.append(_order(f"{name}-O", name, "limit", _day(host, window[0]), _day(host, window[-1])))
            seen = kw[LEAD:].copy()
            rows.append(_entity(name, industry, tariff, top, closed))
            if made is not None and "new_owner_day" in made.parameters:
                begin = _day(host, made.parameters["new_owner_day"])
                seen[: max(int(made.parameters["new_owner_day"]) - LEAD, 0)] = np.nan
                rows[-1] |= {"opened_on": begin, "permit_class": "registered"}
            curves.append(seen)
    kw = np.concatenate([host.curves(np.arange(at)), np.stack(curves)])
    table = pa.concat_tables([host.entities, pa.Table.from_pylist(rows, schema=host.entities.schema)])
    block = ArrayBlock(table, host.days, kw, host.valley)
    tables = dict(host.tables)
    schema = TABLES["order"].schema
    tables["order"] = pa.concat_tables([tables["order"], pa.Table.from_pylist(orders, schema=schema)])
    context: ModelContext = replace(host.context, tables=tables)
    return run(specs, block, context, judge), index


def _day(host: CityWindow, number: int) -> date:
    return host.days[0] + timedelta(days=int(number) - LEAD)


def _entity(name: str, industry: str | None, tariff: str, top: float, closed: date | None) -> dict[str, Any]:
    return {
        "entity_id": name,
        "name": name,
        "division": "430211",
        "industry": industry,
        "opened_on": date(2015, 5, 1),
        "permit_class": "none",
        "night_permitted": None,
        "tariff_class": tariff,
        "contract_kva": max(20.0, 1.3 * top),
        "pv": False,
        "accounts": 1,
        "shared_meter": False,
        "closed_on": closed,
        "lon": None,
        "lat": None,
    }


def _order(order: str, entity: str, kind: str, first: date, last: date | None) -> dict[str, Any]:
    def midnight(day: date) -> datetime:
        return datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=8)

    return {
        "order_id": order,
        "entity_id": entity,
        "kind": kind,
        "starts_at": midnight(first),
        "ends_at": None if last is None else midnight(last + timedelta(days=1)),
        "limit_percent": 70.0 if kind == "limit" else None,
        "basis": "T1",
    }
