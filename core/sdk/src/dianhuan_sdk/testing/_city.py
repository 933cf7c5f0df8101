"""A small seeded city for the checks of models: ordinary plants, night plants, flat loads, PV, gaps, nothing at all."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

import numpy as np
import pyarrow as pa

from dianhuan_sdk import ArrayBlock, CalendarDay, ModelContext, TariffDay
from dianhuan_sdk.features import FloatArray

_SLOTS = np.arange(96)
_DAY = (_SLOTS >= 32) & (_SLOTS < 72)
# valley after midnight and at noon, peak in the evening: production of the late evening pays the dearest hours
_PERIODS = tuple("valley" if s < 24 or 48 <= s < 56 else "peak" if s >= 64 else "flat" for s in range(96))
_KINDS = ("day", "day", "day", "day", "day", "day", "flat", "pv", "night", "turned", "missing", "idle")
_INDUSTRIES = ("C2231", "C2110", "C3360", "C1789")


def city(days: int, *, entities: int = 60, seed: int = 1, last: date = date(2026, 3, 1)) -> ArrayBlock:
    """A block of `entities` × `days` that end with `last`; the same seed gives the same numbers.

    Every twelfth plant works at night only, every twelfth turns from days to nights in the middle of the window.
    """
    rng = np.random.default_rng(seed)
    window = tuple(last - timedelta(days=days - 1 - i) for i in range(days))
    kinds = [_KINDS[i % len(_KINDS)] for i in range(entities)]
    size = rng.uniform(40, 800, entities)
    kw = np.stack([s * _shape(k, window, rng) for s, k in zip(size, kinds, strict=True)])
    kw = (kw * rng.normal(1.0, 0.05, kw.shape)).astype(np.float32)
    kw[rng.random(kw.shape) < 0.01] = np.nan
    valley = np.tile(np.array([p == "valley" for p in _PERIODS]), (days, 1))
    return ArrayBlock(_entities(entities, np.array([k == "pv" for k in kinds])), window, kw, valley)


def _shape(
    kind: str, window: tuple[date, ...], rng: np.random.Generator
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Shape (days, 96): load as a share of the plant's size."""
    days = len(window)
    working = np.array([d.weekday() < 5 for d in window])[:, None]
    by_day = 0.03 + np.where(_DAY & working, 0.8, 0.0)
    # no night begins or ends at the same minute
    starts, ends = rng.integers(84, 96, days)[:, None], rng.integers(12, 24, days)[:, None]
    by_night = 0.03 + np.where((starts <= _SLOTS) | (ends > _SLOTS), 0.9, 0.0)
    if kind == "turned":
        return np.where(np.arange(days)[:, None] < days // 2, by_day, by_night)
    shapes = {
        "day": by_day,
        "flat": np.full((days, 96), 0.6),
        "pv": by_day - 0.9 * np.clip(np.sin((_SLOTS - 24) / 48 * np.pi), 0, None) * (_SLOTS < 72),
        "night": by_night,
        "missing": np.full((days, 96), np.nan),
        "idle": np.full((days, 96), 0.01),
    }
    return shapes[kind]


def _entities(n: int, pv: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> pa.Table:
    return pa.table(
        {
            "entity_id": [f"E{i:04d}" for i in range(n)],
            "name": [f"企业{i}" for i in range(n)],
            "division": ["430211" if i % 2 else "430204" for i in range(n)],
            "industry": [_INDUSTRIES[i % 4] for i in range(n)],
            "opened_on": pa.array([date(2015, 1, 1)] * n, pa.date32()),
            "permit_class": ["registered"] * n,
            "night_permitted": pa.array([False] * n, pa.bool_()),
            "tariff_class": ["industrial"] * n,
            "contract_kva": pa.array([1000.0] * n, pa.float64()),
            "pv": pa.array(pv.tolist(), pa.bool_()),
            "accounts": pa.array([1] * n, pa.int32()),
            "shared_meter": pa.array([False] * n, pa.bool_()),
            "closed_on": pa.nulls(n, pa.date32()),
            "lon": pa.array(np.linspace(113.0, 113.3, n)),
            "lat": pa.array(np.linspace(27.7, 27.9, n)),
        }
    )


def context_of(block: ArrayBlock, tables: Mapping[str, pa.Table]) -> ModelContext:
    """The context of a block: working days and weekends, one tariff, the given tables."""
    calendar = [CalendarDay(d, "weekend" if d.weekday() >= 5 else "workday") for d in block.window]
    tariff = [TariffDay(_PERIODS, "conformance kit")] * len(block.window)
    return ModelContext(block.window[-1], calendar, tariff, tables)


def first_days(block: ArrayBlock, days: int) -> ArrayBlock:
    """The same entities with the first days only."""
    return ArrayBlock(block.table, block.window[:days], block.kw[:, :days].copy(), block.valley[:days])


def with_curves(block: ArrayBlock, kw: FloatArray) -> ArrayBlock:
    """The same entities and days with other curves."""
    return ArrayBlock(block.table, block.window, kw, block.valley)


def reordered(block: ArrayBlock, order: np.ndarray[tuple[int], np.dtype[np.int64]]) -> ArrayBlock:
    """The same entities in another order."""
    return ArrayBlock(block.table.take(pa.array(order)), block.window, block.kw[order], block.valley)
