"""Daily features: what models need from history, computed once per entity-day and kept.

The same function runs at intake, in the evaluation and on a cluster, so a kept feature and one computed from the
raw curve are the same number. Slot *i* of a day covers local time [15·i, 15·(i+1)) minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

FloatArray = np.ndarray[Any, np.dtype[np.float32]]
BoolArray = np.ndarray[Any, np.dtype[np.bool_]]

FEATURES_VERSION = 1
"""Raised whenever a feature's definition changes; the hub then recomputes what it keeps."""

SLOT_HOURS = 0.25


@dataclass(frozen=True, slots=True)
class Feature:
    """One daily feature: column name, unit, labels, and what it is."""

    name: str
    unit: str
    zh: str
    en: str


FEATURES: tuple[Feature, ...] = (
    Feature("kwh", "kWh", "日电量", "energy of the valid points"),
    Feature("points", "", "有效点数", "valid points of 96"),
    Feature("night_kw", "kW", "夜间均值", "mean of 22:00–06:00"),
    Feature("day_kw", "kW", "日间均值", "mean of 08:00–18:00"),
    Feature("noon_kw", "kW", "午间均值", "mean of 11:00–14:00"),
    Feature("valley_kwh", "kWh", "谷段电量", "energy in the tariff's valley periods"),
    Feature("max_kw", "kW", "最大值", "largest point"),
    Feature("min_kw", "kW", "最小值", "smallest point; below zero where PV feeds back"),
    Feature("base_kw", "kW", "基荷", "smallest hourly mean"),
    Feature("night_on", "", "夜间开机占比", "share of 22:00–06:00 above 35 % of the day's largest point"),
    Feature("day_on", "", "日间开机占比", "share of 08:00–18:00 above 35 % of the day's largest point"),
    Feature(
        "night_edge",
        "",
        "夜间跳变",
        "largest step between neighbours in 22:00–06:00 ÷ the day's largest point",
    ),
    Feature("rough", "", "波动度", "mean absolute step between neighbours ÷ mean absolute load"),
    Feature("repeat", "", "重复率", "share of neighbours that are equal and not zero"),
    *(
        Feature(
            f"h{start:02d}_kw",
            "kW",
            f"{start:02d}–{start + 3:02d}时均值",
            f"mean of {start:02d}:00–{start + 3:02d}:00",
        )
        for start in range(0, 24, 3)
    ),
)

ON_SHARE = 0.35
_SLOTS = np.arange(96)
NIGHT: BoolArray = (_SLOTS >= 88) | (_SLOTS < 24)
DAY: BoolArray = (_SLOTS >= 32) & (_SLOTS < 72)
NOON: BoolArray = (_SLOTS >= 44) & (_SLOTS < 56)
_BINS: tuple[BoolArray, ...] = tuple(b == (_SLOTS // 12) for b in range(8))


def daily_features(kw: FloatArray, valley: BoolArray) -> dict[str, FloatArray]:
    """Features of entity-days.

    Args:
        kw: shape (n, 96), float32, mean active power of each slot in kW, NaN = missing.
        valley: shape (96,), true in the tariff's valley slots of that day.

    Returns:
        Name → float32 array of shape (n,), in the order of `FEATURES`; NaN where no valid point exists.
    """
    present = ~np.isnan(kw)
    complete = bool(present.all())
    filled = kw if complete else np.where(present, kw, np.float32(0))
    count = present.astype(np.float32) if not complete else None
    masks = np.stack([np.ones(96, bool), NIGHT, DAY, NOON, valley, *_BINS]).astype(np.float32)
    sums = filled @ masks.T
    counts = count @ masks.T if count is not None else np.broadcast_to(masks.sum(axis=1), sums.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = sums / counts
        points = counts[:, 0]
        empty = points == 0
        if complete:
            top, low = kw.max(axis=1), kw.min(axis=1)
        else:
            top = np.where(present, kw, -np.inf).max(axis=1)
            low = np.where(present, kw, np.inf).min(axis=1)
        hourly = filled.reshape(-1, 24, 4).sum(axis=2)
        if count is None:
            base = hourly.min(axis=1) / 4
        else:
            hours = count.reshape(-1, 24, 4).sum(axis=2)
            base = np.where(hours > 0, hourly / hours, np.inf).min(axis=1)
        on = filled > (ON_SHARE * np.maximum(top, 0))[:, None]
        on_counts = on.astype(np.float32) @ masks[1:3].T
        step = np.abs(np.diff(filled, axis=1))
        same = (step == 0) & (filled[:, 1:] != 0)
        if count is not None:
            both = present[:, 1:] & present[:, :-1]
            step = np.where(both, step, np.float32(0))
            same &= both
            pairs = both.sum(axis=1)
        else:
            pairs = np.full(len(kw), 95)
        night_step = np.where(NIGHT[1:] & NIGHT[:-1], step, np.float32(0)).max(axis=1, initial=0.0)
        columns = [
            sums[:, 0] * SLOT_HOURS,
            points,
            means[:, 1],
            means[:, 2],
            means[:, 3],
            sums[:, 4] * SLOT_HOURS,
            top,
            low,
            base,
            on_counts[:, 0] / counts[:, 1],
            on_counts[:, 1] / counts[:, 2],
            np.where(top > 0, night_step / top, 0),
            (step.sum(axis=1) / pairs) / (np.abs(filled).sum(axis=1) / points),
            same.sum(axis=1) / pairs,
            *means[:, 5:].T,
        ]
    out: dict[str, FloatArray] = {}
    for feature, column in zip(FEATURES, columns, strict=True):
        values = np.ascontiguousarray(column, dtype=np.float32)
        values[~np.isfinite(values)] = np.nan
        if feature.name != "points":
            values[empty] = np.nan
        out[feature.name] = values
    return out
