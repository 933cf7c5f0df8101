"""M9, second rule: a closed plant's load appears at a neighbour's meter. Works where coordinates are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dianhuan_models._city import City
from dianhuan_models._stats import Array, mean
from dianhuan_models._words import gap_words, numbers, or_nothing_found, percent
from dianhuan_sdk import Exhibit, Finding, Text

if TYPE_CHECKING:
    from dianhuan_models.m09 import Closed

_METRES_PER_DEGREE = 111_320.0


class RelocationConfig(BaseModel):
    """Parameters of the rule `relocated`: 300 m and cosine 0.9 are the recipe's, the rest judgement."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    near_m: float = Field(default=300.0, gt=0, description="distance")
    cosine: float = Field(default=0.9, ge=0, le=1, description="of the mean-centred hourly shapes")
    low: float = Field(default=0.3, gt=0, description="least gain over the closed plant's level")
    high: float = Field(default=1.5, gt=0, description="most of it")
    min_days: int = Field(default=5, ge=2, description="valid workdays on both sides of the closure")


def findings(city: City, closed: Closed, config: RelocationConfig) -> list[Finding]:
    """Neighbours that gained, after the closure, a load of the closed plant's size and shape.

    Compared is what the neighbour *gained* since the closure, so shops of one chain, which look alike all the time,
    are no finding. A closure older than the window gives no shape and no finding.
    """
    lon, lat = city.number("lon"), city.number("lat")
    days = np.array(city.days, dtype="datetime64[D]")
    shut = np.zeros(city.size, dtype=bool)
    shut[closed.rows] = True
    found: list[Finding] = []
    for i in np.flatnonzero(~np.isnan(closed.before_kw) & ~np.isnan(lon[closed.rows]) & ~np.isnan(lat[closed.rows])):
        row, since = int(closed.rows[i]), closed.since[i]
        old_id = city.entity_id(row)
        before, after = (days < since) & city.work, (days > since) & city.work
        north = (lat - lat[row]) * _METRES_PER_DEGREE
        east = (lon - lon[row]) * _METRES_PER_DEGREE * np.cos(np.radians(lat[row]))
        with np.errstate(invalid="ignore"):
            near = np.flatnonzero((np.hypot(north, east) <= config.near_m) & ~shut)
        enough = (city.valid[near][:, before].sum(axis=1) >= config.min_days) & (
            city.valid[near][:, after].sum(axis=1) >= config.min_days
        )
        near = near[enough]
        if not len(near):
            continue
        old = _hourly(city.block.curves(np.array([row]))[:, before])[0]
        kw = city.block.curves(near)
        gain = _hourly(kw[:, after]) - _hourly(kw[:, before])
        size = gain.mean(axis=1) / max(float(old.mean()), 1e-9)
        alike = _cosine(gain, old)
        for j in np.flatnonzero((alike >= config.cosine) & (size >= config.low) & (size <= config.high)):
            neighbour = int(near[j])
            factor, gaps = city.gaps(neighbour, permit=False)
            metres = float(np.hypot(north[neighbour], east[neighbour]))
            found.append(
                Finding(
                    entity_id=city.entity_id(neighbour),
                    day=city.context.as_of,
                    rule="relocated",
                    verdict="suspect",
                    score=(0.5 + 0.3 * (float(alike[j]) - config.cosine) / (1 - config.cosine)) * factor,
                    reasons=(
                        Text(
                            f"距已关闭企业 {old_id} 仅 {metres:.0f} m,"
                            f"关闭({since})后新增负荷为其原负荷的 {percent(size[j])}",
                            f"{metres:.0f} m from the closed {old_id}; gained {percent(size[j])} of its load "
                            f"since {since}",
                        ),
                        Text(
                            f"新增负荷与其原日曲线形状相似度 {alike[j]:.2f}",
                            f"the gained load has its daily shape: cosine {alike[j]:.2f}",
                        ),
                    ),
                    counter=or_nothing_found(
                        gap_words(gaps), Text("关闭前已有同形负荷", "the same load before the closure")
                    ),
                    evidence=numbers(
                        closed_entity=old_id,
                        closed_on=str(since),
                        distance_m=metres,
                        gain_share=float(size[j]),
                        cosine=float(alike[j]),
                    ),
                    exhibit=Exhibit(city.picked(after)[-5:], (0, 96)),
                    context=gaps,
                )
            )
    return found


def _hourly(kw: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Array:
    """Mean kW of each hour over days: (rows, days, 96) → (rows, 24)."""
    answer: Array = np.nan_to_num(mean(np.moveaxis(kw, 1, 2))).reshape(len(kw), 24, 4).mean(axis=2)
    return answer


def _cosine(rows: Array, one: Array) -> Array:
    a, b = rows - rows.mean(axis=1, keepdims=True), one - one.mean()
    size = np.linalg.norm(a, axis=1) * np.linalg.norm(b)
    answer: Array = (a @ b) / np.maximum(size, 1e-9)
    return answer
