"""Small cities of hand-built shapes and of measured curves, with injections and their benign twins."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dianhuan_sdk import ENTITY_COLUMNS, ArrayBlock, CalendarDay, ModelContext, TariffDay

AS_OF = date(2026, 3, 29)
DAYS = 28
SHARED = Path(os.environ.get("DIANHUAN_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
HOURS = np.arange(96) / 4

TYPES = {
    "opened_on": pa.date32(),
    "closed_on": pa.date32(),
    "night_permitted": pa.bool_(),
    "pv": pa.bool_(),
    "shared_meter": pa.bool_(),
    "contract_kva": pa.float64(),
    "lon": pa.float64(),
    "lat": pa.float64(),
    "accounts": pa.int32(),
}
NEW_TARIFF = tuple(
    "valley" if h < 6 or 12 <= h < 14 else "peak" if h >= 16 else "flat" for h in HOURS
)  # Hunan since 2025
OLD_TARIFF = tuple("valley" if h < 7 or h >= 23 else "peak" if 8 <= h < 11 or 15 <= h < 22 else "flat" for h in HOURS)


def between(start: float, end: float) -> np.ndarray:
    """1 in the hours [start, end), which may wrap midnight."""
    inside = (start <= HOURS) & (end > HOURS) if start <= end else (start <= HOURS) | (end > HOURS)
    return inside.astype(float)


@dataclass
class Town:
    """A city under construction: add entities by kind, then build the block."""

    seed: int = 3
    as_of: date = AS_OF
    days: int = DAYS
    tariff: tuple[str, ...] = NEW_TARIFF
    rows: list[dict[str, Any]] = field(default_factory=list)
    kw: list[np.ndarray] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.window = [self.as_of - timedelta(days=self.days - 1 - d) for d in range(self.days)]
        self.workday = np.array([d.weekday() < 5 for d in self.window])

    def add(self, kind: str, kw: np.ndarray, **columns: Any) -> None:
        """One entity with a (days, 96) curve; columns not named get those of an ordinary small plant."""
        number = len(self.rows)
        base: dict[str, Any] = {
            "entity_id": f"e{(number * 7919) % 100003:06d}",
            "name": f"测试{number}",
            "division": "430211",
            "industry": "C2231",
            "opened_on": date(2015, 5, 1),
            "permit_class": "none",
            "tariff_class": "industrial",
            "contract_kva": max(20.0, 1.3 * float(np.fmax.reduce(kw, axis=None))),
            "pv": False,
            "accounts": 1,
            "shared_meter": False,
        }
        self.rows.append(base | columns)
        self.kinds.append(kind)
        self.kw.append(kw)

    def noise(self, size: float = 0.08) -> np.ndarray:
        """Multiplicative noise, with machines that come and go in half hours."""
        slow = np.repeat(self.rng.normal(0, size, (self.days, 48)), 2, axis=1)
        return np.clip(1 + slow + self.rng.normal(0, size / 2, (self.days, 96)), 0.05, None)

    def day_plant(self, peak: float, rest: float = 0.25) -> np.ndarray:
        """08–18 work with a lunch dip; `rest` of it on weekends."""
        start, end = self.rng.normal(8, 0.4), self.rng.normal(18, 0.5)
        shape = between(start, end) - 0.3 * between(12, 13) + 0.08
        level = np.where(self.workday, 1.0, rest)[:, None]
        return peak * shape * level * self.noise()

    def two_shift(self, peak: float) -> np.ndarray:
        """07–23 on every day."""
        return peak * (between(7, 23) + 0.1) * self.noise()

    def round_the_clock(self, peak: float) -> np.ndarray:
        """Continuous."""
        return peak * (0.9 + 0.1 * between(8, 20)) * self.noise(0.04)

    def night_furnace(self, peak: float) -> np.ndarray:
        """Valley tariff work: starts with the valley, every workday, same level."""
        valley = np.array([p == "valley" for p in self.tariff]) & ((HOURS < 8) | (HOURS >= 22))
        return peak * (valley + 0.05) * self.noise(0.06)

    def irregular_furnace(self, peak: float) -> np.ndarray:
        """Valley tariff work on four nights of five, never before the valley starts."""
        valley = np.array([p == "valley" for p in self.tariff]) & ((HOURS < 8) | (HOURS >= 22))
        some = (self.rng.random(self.days) < 0.8) * self.rng.uniform(0.8, 1.1, self.days)
        return peak * (valley * some[:, None] + 0.05) * self.noise()

    def night_workshop(self, peak: float, chance: float = 0.7, since: int = 0) -> np.ndarray:
        """V3: the day's energy moved to about 22–05 on most nights, idle by day; irregular starts."""
        kw = peak * 0.06 * self.noise()
        for d in range(since, self.days - 1):
            if self.rng.random() < chance or d == self.days - 2:
                first, last = int(88 + self.rng.integers(-4, 5)), int(20 + self.rng.integers(-4, 5))
                level = peak * self.rng.uniform(0.75, 1.1)
                kw[d, first:] += level * self.noise()[0, first:]
                kw[d + 1, :last] += level * self.noise()[0, :last]
        return kw

    def sunny_shop(self, peak: float, pv: float, net: bool) -> np.ndarray:
        """06–20 work behind PV; without net metering the meter stops at zero."""
        bell = np.clip(np.sin(np.pi * (HOURS - 6) / 13), 0, None) ** 1.3
        clear = self.rng.uniform(0.5, 1.0, (self.days, 1))
        cloud = np.clip(1 + np.repeat(self.rng.normal(0, 0.06, (self.days, 24)), 4, axis=1), 0.3, 1.2)
        load = peak * (0.45 * between(20, 6) + 0.8 * between(6, 20)) * self.noise(0.03)
        kw = load - pv * bell * clear * cloud
        return kw if net else np.maximum(kw, 0)

    def street_lights(self, peak: float) -> np.ndarray:
        """Dusk to dawn, constant."""
        return np.tile(peak * (between(18.5, 6.25) + 0.01), (self.days, 1)) * (1 + self.rng.normal(0, 0.002))

    def cold_store(self, peak: float) -> np.ndarray:
        """Compressors by night, smooth, half as much by day."""
        return peak * (0.45 + 0.55 * between(0, 6)) * self.noise(0.03)

    def open_two_shift(self, peak: float) -> np.ndarray:
        """16–08: mostly by night, but running while offices are open."""
        return peak * (between(16, 8) + 0.07) * self.noise()

    def night_heating(self, peak: float) -> np.ndarray:
        """20–07 every night, smooth, its level follows the weather."""
        weather = np.clip(self.rng.normal(0.6, 0.2, (self.days, 1)), 0.1, 1)
        return peak * (0.05 + 0.9 * between(20, 7) * weather) * self.noise(0.02)

    def bus_depot(self, peak: float) -> np.ndarray:
        """Buses charge from 22–23 on, tapering."""
        taper = np.exp(-np.clip((HOURS - 22.5) % 24, 0, 24) / 4.0)
        return peak * (taper * between(22.5, 6) + 0.02) * self.noise(0.1)

    def background(self, count: int, **columns: Any) -> None:
        """Ordinary neighbours of one industry: mostly day work, some two-shift, some continuous."""
        for _ in range(count):
            peak = float(np.exp(self.rng.normal(3.6, 0.8)))
            pick = self.rng.random()
            make = self.day_plant if pick < 0.75 else self.two_shift if pick < 0.93 else self.round_the_clock
            self.add("ordinary", make(peak), **columns)

    def block(self) -> ArrayBlock:
        """The block."""
        columns = {}
        for name in ENTITY_COLUMNS:
            columns[name] = pa.array([row.get(name) for row in self.rows], TYPES.get(name, pa.string()))
        valley = np.array([p == "valley" for p in self.tariff])
        kw = np.stack(self.kw).astype(np.float32)
        return ArrayBlock(pa.table(columns), self.window, kw, np.tile(valley, (self.days, 1)))

    def context(self, **tables: pa.Table) -> ModelContext:
        """A context without holidays."""
        calendar = [CalendarDay(d, "workday" if d.weekday() < 5 else "weekend") for d in self.window]
        tariff = [TariffDay(self.tariff, "test")] * self.days
        return ModelContext(self.as_of, calendar, tariff, tables)

    def ids(self, kind: str) -> set[str]:
        """Entity ids of one kind."""
        return {r["entity_id"] for r, k in zip(self.rows, self.kinds, strict=True) if k == kind}

    def kind_of(self) -> Mapping[str, str]:
        """Kind by entity id."""
        return {r["entity_id"]: k for r, k in zip(self.rows, self.kinds, strict=True)}


@pytest.fixture
def new_town() -> Callable[..., Town]:
    """Makes an empty town."""
    return Town


@pytest.fixture(scope="session")
def old_tariff() -> tuple[str, ...]:
    """Hunan before 2025: valley 23–07."""
    return OLD_TARIFF


@pytest.fixture(scope="session")
def simbench() -> tuple[list[date], Mapping[str, np.ndarray]]:
    """Days and measured series of 2016 by name, shape (days, 96); the two days of the clock change are left out."""
    path = SHARED / "simbench" / "load_profiles_15min_2016.parquet"
    if not path.exists():
        pytest.skip("measured curves are not on this machine (set DIANHUAN_SHARED_DATA)")
    table = pq.read_table(path)
    days: dict[str, list[int]] = {}
    for i, text in enumerate(table.column("time").to_pylist()):
        days.setdefault(text[:10], []).append(i)
    whole = {text: rows for text, rows in days.items() if len(rows) == 96}
    keep = np.array(list(whole.values()))
    dates = [date(int(t[6:]), int(t[3:5]), int(t[:2])) for t in whole]
    return dates, {n: table.column(n).to_numpy().astype(np.float32)[keep] for n in table.column_names if n != "time"}


@pytest.fixture(scope="session")
def steel() -> np.ndarray:
    """A measured steel plant, kW, shape (365, 96); stamps are interval ends and 00:00 closes its own date."""
    path = SHARED / "steel" / "steel_15min_2018.csv"
    if not path.exists():
        pytest.skip("measured curves are not on this machine (set DIANHUAN_SHARED_DATA)")
    kw = np.full((365, 96), np.nan, dtype=np.float32)
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            day, clock = row["date"].split(" ")
            number = (datetime.strptime(day, "%d/%m/%Y") - datetime(2018, 1, 1)).days  # noqa: DTZ001, DTZ007
            hour, minute = clock.split(":")
            kw[number, (int(hour) * 4 + int(minute) // 15 - 1) % 96] = 4 * float(row["Usage_kWh"])
    return kw


@pytest.fixture(scope="session")
def order_table() -> Callable[..., pa.Table]:
    """Makes the table `order` from (entity, kind, first day, last day or None, limit or None): whole local days."""

    def make(rows: list[tuple[str, str, date, date | None, float | None]]) -> pa.Table:
        shift = timedelta(hours=8)
        instant = pa.timestamp("us", "UTC")
        starts = [datetime(f.year, f.month, f.day, tzinfo=UTC) - shift for _, _, f, _, _ in rows]
        ends = [
            None if e is None else datetime(e.year, e.month, e.day, tzinfo=UTC) + timedelta(hours=24) - shift
            for _, _, _, e, _ in rows
        ]
        return pa.table(
            {
                "order_id": [f"o{i:04d}" for i in range(len(rows))],
                "entity_id": [r[0] for r in rows],
                "kind": [r[1] for r in rows],
                "level": pa.array(["orange"] * len(rows), pa.string()),
                "limit_percent": pa.array([r[4] for r in rows], pa.float64()),
                "starts_at": pa.array(starts, instant),
                "ends_at": pa.array(ends, instant),
            }
        )

    return make


@pytest.fixture(scope="session")
def weather_table() -> Callable[..., pa.Table]:
    """Makes the table `weather` of one district from arrays of shape (days, 24)."""

    def make(window: list[date], division: str = "430211", **values: np.ndarray) -> pa.Table:
        start = datetime(window[0].year, window[0].month, window[0].day, tzinfo=UTC) - timedelta(hours=8)
        at = [start + timedelta(hours=h) for h in range(24 * len(window))]
        columns = {n: pa.array(np.asarray(v, float).ravel(), pa.float64()) for n, v in values.items()}
        return pa.table({"division": [division] * len(at), "at": pa.array(at, pa.timestamp("us", "UTC")), **columns})

    return make
