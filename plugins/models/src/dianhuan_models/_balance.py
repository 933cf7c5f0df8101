"""Energy balance of a plant: its total meter against the sum of its circuits, hour by hour."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from dianhuan_models._samples import Sample
from dianhuan_sdk import CIRCUIT_ROLES, StateField, Topology
from dianhuan_sdk.features import BoolArray

Columns = dict[str, np.ndarray[Any, Any]]
TOTAL = CIRCUIT_ROLES.index("plant_total")
LEAST_OF_PEAK = 0.3
"""Hours with less than this part of the plant's usual top say little: offices and losses weigh too much in them."""

SPREAD_FLOOR = 0.03
CLIP = 4.0
READY_HOURS = 48.0

BALANCE_FIELDS: tuple[StateField, ...] = (
    StateField("total_kwh", "f4", 0.0),
    StateField("parts_kwh", "f4", 0.0),
    StateField("balanced", "f4", 0.0),
    StateField("peak", "f4", 0.0),
    StateField("usual", "f4", np.nan),
    StateField("spread", "f4", 0.1),
    StateField("hours", "f4", 0.0),
    StateField("gap", "f4", 0.0),
    StateField("cusum", "f4", 0.0),
    StateField("began", "i8", 0),
    StateField("cusum_up", "f4", 0.0),
    StateField("began_up", "i8", 0),
    StateField("changed", "?", False),
)
"""Columns of the state table `entity`."""


def follow(e: Columns, top: Topology, s: Sample, dead: BoolArray, excluded: BoolArray, k: float, h: float) -> None:
    """Take a sample; at the end of each hour move the CUSUMs of log(total ÷ sum of circuits).

    Args:
        e: the state table `entity`.
        top: the circuits; those in ampere are left out.
        s: the sample.
        dead: shape (circuits,): exact zero of a channel that is hardly ever zero; its plant is left out.
        excluded: shape (entities,): an outage or a filed report covers the plant.
        k, h: slack and threshold of the CUSUM, per hour.
    """
    plants = len(top.entity_ids)
    total, parts = _sides(top)
    x = np.where(dead, np.float32(np.nan), s.x)
    whole, sum_ = (
        np.bincount(top.circuit_entity[m], weights=x[m], minlength=plants).astype(np.float32) for m in (total, parts)
    )
    has = np.bincount(top.circuit_entity[total], minlength=plants) > 0
    has &= np.bincount(top.circuit_entity[parts], minlength=plants) > 0
    e["changed"] |= np.bincount(top.circuit_entity[s.changed], minlength=plants) > 0
    good = has & ~excluded & np.isfinite(whole) & np.isfinite(sum_)
    e["total_kwh"][good] += whole[good] * s.minutes / 60
    e["parts_kwh"][good] += sum_[good] * s.minutes / 60
    e["balanced"][good] += s.minutes
    if s.second % 3600 == 0:
        _close(e, s, k, h)


@lru_cache(maxsize=4)
def _sides(top: Topology) -> tuple[BoolArray, BoolArray]:
    """Shape (circuits,) each: the plants' meters, and the circuits behind them."""
    is_kw = np.array([c.unit == "kW" for c in top.circuits], bool)
    is_total = top.circuit_role == TOTAL
    return is_kw & is_total, is_kw & ~is_total


def _close(e: Columns, s: Sample, k: float, h: float) -> None:
    for name in ("hours", "cusum", "cusum_up"):
        e[name][e["changed"]] = 0
    mean = e["parts_kwh"] * 60 / np.maximum(e["balanced"], 1)
    e["peak"] = np.maximum(e["peak"] * np.float32(0.9995), mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(e["total_kwh"] / e["parts_kwh"])
    use = (e["balanced"] >= 45) & (mean > LEAST_OF_PEAK * e["peak"]) & np.isfinite(ratio) & ~e["changed"]
    first = use & (np.isnan(e["usual"]) | (e["hours"] == 0))
    e["usual"][first] = ratio[first]
    off_by = np.where(use, ratio - e["usual"], 0)
    ready = use & (e["hours"] >= READY_HOURS)
    z = np.clip(off_by / np.maximum(e["spread"], SPREAD_FLOOR), -CLIP, CLIP)
    for cusum, began, sign in (("cusum", "began", -1), ("cusum_up", "began_up", 1)):
        before = e[cusum].copy()
        e[cusum][ready] = np.clip(before + sign * z - k, 0, 1.5 * h)[ready]
        e[began][(before == 0) & (e[cusum] > 0)] = s.second - 3600
    e["gap"][use] += (0.1 * (off_by - e["gap"]))[use]
    learn = use & (e["cusum"] < h / 4) & (e["cusum_up"] < h / 4)
    rate = np.maximum(1 / (e["hours"] + 6), 1 / 240)
    bounded = np.where(ready, np.clip(off_by, -e["spread"], e["spread"]), off_by)
    e["usual"][learn] += (rate * bounded)[learn]
    e["spread"][learn] += (
        rate * (np.minimum(1.25 * np.abs(off_by), 3 * np.maximum(e["spread"], SPREAD_FLOOR / 2)) - e["spread"])
    )[learn]
    e["hours"][learn] += 1
    for name in ("total_kwh", "parts_kwh", "balanced"):
        e[name][:] = 0
    e["changed"][:] = False
