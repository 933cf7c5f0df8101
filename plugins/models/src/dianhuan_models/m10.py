"""M10 同业离群: far from the peers *and* far from the own past, in the same quantity and direction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dianhuan_models._city import City
from dianhuan_models._peers import Peers, Placement
from dianhuan_models._stats import Array, logit, median, sigma
from dianhuan_models._words import gap_words, in_order, numbers, or_nothing_found, peers, percent
from dianhuan_sdk import Block, Exhibit, Finding, ModelContext, Text


class PeerConfig(BaseModel):
    """Parameters of M10.

    Own |z| > 4 and peer rank > 99.5 %, both at once, are the recipe's (after the double three-sigma rule of patent
    CN114049033B); the rest are judgements.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    recent_days: int = Field(default=7, ge=2, description="the days judged …")
    min_recent: int = Field(default=3, ge=1, description="… of them valid workdays")
    min_past: int = Field(default=8, ge=3, description="valid workdays before them")
    own_z: float = Field(default=4.0, gt=0, description="robust standard deviations from the own past")
    peer_rank: float = Field(default=0.995, gt=0.5, lt=1, description="part of the peers that lie below")
    min_change: float = Field(default=0.3, gt=0, description="log change against the own past, net of the peers'")
    sd_floor: float = Field(default=0.05, gt=0, description="own standard deviation is at least this (log scale)")
    min_kw: float = Field(default=20.0, ge=0, description="recent mean load")
    kw_per_kva_floor: float = Field(default=1e-3, gt=0, description="keeps the logarithm finite")
    threshold: float = Field(default=0.5, ge=0, le=1, description="least score of a finding")


@dataclass(frozen=True)
class _Quantity:
    """One intensity of the city, compared on a log or log-odds scale.

    Args:
        rule: id of the rule.
        name: in words.
        recent, past: shape (entities,), medians of the recent and of the past workdays on that scale.
        history: shape (entities, past workdays), not yet on that scale.
        scale: the scale, as a function.
        is_share: log-odds (true) or log.
    """

    rule: str
    name: Text
    recent: Array
    past: Array
    history: np.ndarray[Any, Any]
    scale: Callable[[np.ndarray[Any, Any]], Array]
    is_share: bool

    def show(self, value: float) -> str:
        """A value of this quantity for people."""
        return percent(1 / (1 + np.exp(-value))) if self.is_share else f"{np.exp(value):.2f}"


class PeerOutlier:
    """The model: rules `load_per_capacity` and `night_share_jump`, high side only."""

    def __init__(self, config: PeerConfig) -> None:
        self.config = config

    def score(self, block: Block, context: ModelContext) -> Sequence[Finding]:
        """Findings about the last days of the window, strongest first."""
        city = City(block, context)
        if not city.size or len(city.days) <= self.config.recent_days:
            return []
        groups = Peers(city)
        found: dict[int, Finding] = {}
        for quantity in self._quantities(city):
            for row, finding in self._outliers(city, groups, quantity):
                if row not in found or finding.score > found[row].score:
                    found[row] = finding
        return in_order(found.values())

    def _quantities(self, city: City) -> list[_Quantity]:
        """Load per contract kVA (log) and night share (log-odds). NaN for who is too small or has too few days."""
        cfg = self.config
        lately = np.arange(len(city.days)) >= len(city.days) - cfg.recent_days
        recent, past = lately & city.work, ~lately & city.work
        hourly = np.maximum(city.hourly, 0)
        now_kw = median(hourly[:, recent])
        with np.errstate(invalid="ignore"):
            able = now_kw >= cfg.min_kw
        able &= city.valid[:, recent].sum(axis=1) >= cfg.min_recent
        able &= city.valid[:, past].sum(axis=1) >= cfg.min_past
        kva = city.number("contract_kva")
        with np.errstate(divide="ignore", invalid="ignore"):
            per_kva = np.where(kva > 0, 1 / kva, np.nan).astype(np.float32)
            night = np.maximum(city.daily("night_kw"), 0) / (3 * hourly)

        def quantity(
            rule: str, name: Text, values: np.ndarray[Any, Any], scale: Callable[[np.ndarray[Any, Any]], Array]
        ) -> _Quantity:
            history = values[:, past]
            # both scales are monotone: the median may be taken before them
            now, then = scale(median(values[:, recent])), scale(median(history))
            now[~able] = np.nan
            return _Quantity(rule, name, now, then, history, scale, scale is logit)

        floor = cfg.kw_per_kva_floor
        return [
            quantity(
                "load_per_capacity",
                Text("单位容量负荷(kW/kVA)", "load per contract capacity (kW/kVA)"),
                hourly * per_kva[:, None],
                lambda v: np.asarray(np.log(v + floor), dtype=np.float64),
            ),
            quantity("night_share_jump", Text("夜间 22–6 点用电占比", "share of energy in 22:00–06:00"), night, logit),
        ]

    def _outliers(self, city: City, groups: Peers, q: _Quantity) -> list[tuple[int, Finding]]:
        cfg = self.config
        change = q.recent - q.past
        with np.errstate(invalid="ignore"):
            rows = np.flatnonzero(change > cfg.min_change)
        if not len(rows):
            return []
        needed = round(1 / (1 - cfg.peer_rank))  # a group must be large enough for the quantile to exist in it
        now, common = groups.place(q.recent, rows, needed), groups.place(change, rows)
        net = change[rows] - np.nan_to_num(common.middle)
        z = net / np.maximum(sigma(q.scale(q.history[rows]), q.past[rows]), cfg.sd_floor)
        with np.errstate(invalid="ignore"):
            keep = map(int, np.flatnonzero((net > cfg.min_change) & (z > cfg.own_z) & (now.rank >= cfg.peer_rank)))
        answer = []
        for i in keep:
            factor, gaps = city.gaps(int(rows[i]), permit=False)
            # own surprise and distance beyond the peers' 99th percentile, each 0 … 1, must both be there
            own = min(1.0, (float(z[i]) - cfg.own_z) / 8)
            beyond = min(1.0, max(0.0, float(q.recent[rows[i]] - now.high[i])) / 1.0)
            score = (0.5 + 0.5 * float(np.sqrt(own * beyond))) * factor
            if score >= cfg.threshold:
                answer.append(
                    (int(rows[i]), self._finding(city, q, int(rows[i]), now, i, float(z[i]), score, gaps, common))
                )
        return answer

    def _finding(
        self,
        city: City,
        q: _Quantity,
        row: int,
        now: Placement,
        i: int,
        z: float,
        score: float,
        gaps: tuple[str, ...],
        common: Placement,
    ) -> Finding:
        group = peers(now, i)
        recent, past, middle = (q.show(float(v)) for v in (q.recent[row], q.past[row], now.middle[i]))
        counter = gap_words(gaps)
        if city.column("pv")[row].as_py():
            counter.append(Text("有光伏,净负荷占比会随天气变化", "has PV: shares of net load move with the weather"))
        if abs(float(common.middle[i])) > 0.05:
            counter.append(
                Text("同业整体也在变化,已扣除", "the whole peer group moved too; its median change is taken off")
            )
        return Finding(
            entity_id=city.entity_id(row),
            day=city.context.as_of,
            rule=q.rule,
            verdict="suspect",
            score=score,
            reasons=(
                Text(
                    f"{q.name.zh}近期 {recent},自身此前 {past}(偏离 {z:.1f} 个稳健标准差)",
                    f"{q.name.en}: {recent} lately against {past} before ({z:.1f} robust standard deviations)",
                ),
                Text(
                    f"高于 {percent(float(now.rank[i]))} 的同业,同业中位数 {middle}({group.zh})",
                    f"above {percent(float(now.rank[i]))} of its peers, median {middle} ({group.en})",
                ),
            ),
            counter=or_nothing_found(
                counter, Text("同业普遍变化、光伏、缺数", "a common move of the peers, PV, missing data")
            ),
            evidence=numbers(
                recent=float(q.recent[row]),
                own_past=float(q.past[row]),
                own_z=z,
                peer_median=float(now.middle[i]),
                peer_p99=float(now.high[i]),
                peer_rank=float(now.rank[i]),
                peers=int(now.count[i]),
                peer_change=float(common.middle[i]),
                scale="log-odds" if q.is_share else "log kW/kVA",
            ),
            exhibit=Exhibit(
                tuple(d for d, w in zip(city.days, city.work, strict=True) if w)[-5:],
                (88, 24) if q.is_share else (0, 96),
            ),
            context=gaps,
        )
