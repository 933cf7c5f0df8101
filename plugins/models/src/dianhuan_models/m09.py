"""M9 死灰复燃: load that comes back after a closure order, at the same meter or next door."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from dianhuan_models import _relocation
from dianhuan_models._city import City
from dianhuan_models._relocation import RelocationConfig
from dianhuan_models._stats import Array, Bools, Rows, median, quantile
from dianhuan_models._words import gap_words, in_order, numbers, or_nothing_found, percent
from dianhuan_sdk import LOCAL_ZONE, Block, Exhibit, Finding, ModelContext, Text

Days = np.ndarray[tuple[int], np.dtype[np.datetime64]]


class ReboundConfig(BaseModel):
    """Parameters of M9: 3 of 5 days above max(5 × idle, 10 % of the level before) is the recipe; the rest judgement."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    idle_factor: float = Field(default=5.0, gt=1, description="times the idle level")
    before_share: float = Field(default=0.1, gt=0, le=1, description="of the level before closure")
    hits: int = Field(default=3, ge=1, description="days above the level …")
    last_days: int = Field(default=5, ge=1, description="… among the last ones")
    grace_days: int = Field(default=1, ge=0, description="days after the order that are still winding down")
    idle_quantile: float = Field(default=0.2, ge=0, le=1, description="of the days since closure: the idle level")
    idle_cap_before: float = Field(default=0.05, ge=0, description="idle is at most this part of the level before")
    idle_cap_kva: float = Field(default=0.02, ge=0, description="or of the capacity, where the level before is unknown")
    min_before_days: int = Field(default=5, ge=1, description="valid days before closure that make a level")
    min_kw: float = Field(default=2.0, ge=0, description="caretakers and lamps stay below")
    threshold: float = Field(default=0.45, ge=0, le=1, description="least score of a finding")
    relocation: RelocationConfig = RelocationConfig()


@dataclass(frozen=True)
class Closed:
    """Closed enterprises of the block; arrays of shape (rows,)."""

    rows: Rows
    since: Days
    before_kw: Array


class Rebound:
    """The model: rules `rebound` and `relocated`."""

    def __init__(self, config: ReboundConfig) -> None:
        self.config = config

    def score(self, block: Block, context: ModelContext) -> Sequence[Finding]:
        """Findings about closed enterprises (and neighbours that took their load over), strongest first."""
        city = City(block, context)
        since = closed_since(city)
        rows = np.flatnonzero(~np.isnat(since))
        if not len(rows):
            return []
        days = np.array(city.days, dtype="datetime64[D]")
        before = (days[None, :] < since[rows][:, None]) & city.valid[rows] & city.work
        level = median(np.where(before, city.hourly_of(rows), np.float32(np.nan)))
        level[before.sum(axis=1) < self.config.min_before_days] = np.nan
        closed = Closed(rows, since[rows], level)
        return in_order(
            [*self._rebounds(city, closed, days), *_relocation.findings(city, closed, self.config.relocation)]
        )

    def _rebounds(self, city: City, closed: Closed, days: Days) -> list[Finding]:
        cfg, rows = self.config, closed.rows
        after: Bools = days[None, :] > (closed.since + np.timedelta64(cfg.grace_days, "D"))[:, None]
        usable = after & city.valid[rows]
        load = np.where(usable, city.hourly_of(rows), np.float32(np.nan))
        night = np.where(usable, city.daily("night_kw", rows), np.float32(np.nan))
        kva = city.number("contract_kva")[rows]
        cap = np.where(
            np.isnan(closed.before_kw), cfg.idle_cap_kva * kva, np.maximum(cfg.idle_cap_before * closed.before_kw, 0)
        )
        seen_idle = quantile(load, cfg.idle_quantile)
        idle = np.fmin(np.maximum(seen_idle, 0), cap)
        floor = np.fmax(np.fmax(cfg.idle_factor * idle, cfg.before_share * closed.before_kw), cfg.min_kw)
        high = np.fmax(load, night)
        with np.errstate(invalid="ignore"):
            hit = high > floor[:, None]
        last = slice(-cfg.last_days, None)
        hits, known, possible = hit[:, last].sum(axis=1), usable[:, last].sum(axis=1), after[:, last].sum(axis=1)
        found = []
        for i in range(len(rows)):
            blind = possible[i] >= cfg.hits and known[i] < cfg.hits
            vague = bool(np.isnan(cap[i])) and hits[i] == 0 and bool(np.nan_to_num(seen_idle[i]) > cfg.min_kw)
            if hits[i] >= cfg.hits:
                finding = self._suspect(city, closed, i, load[i], night[i], hit[i], usable[i], float(floor[i]), idle[i])
                if finding is not None:
                    found.append(finding)
            elif blind or vague:
                found.append(self._cannot_tell(city, closed, i, int(known[i]), blind, float(seen_idle[i])))
        return found

    def _suspect(
        self,
        city: City,
        closed: Closed,
        i: int,
        load: Array,
        night: Array,
        hit: Bools,
        usable: Bools,
        floor: float,
        idle: float,
    ) -> Finding | None:
        cfg, row = self.config, int(closed.rows[i])
        recent = hit[-cfg.last_days :]
        mean_kw = float(np.nanmedian(np.fmax(load, night)[-cfg.last_days :][recent]))
        before = float(closed.before_kw[i])
        factor, gaps = city.gaps(row, permit=False)
        counter = gap_words(gaps)
        first = int(np.argmax(hit))
        night_part = float(np.clip(np.nansum(night[hit]) / max(3 * np.nansum(load[hit]), 1e-9), 0, 1))
        if night_part < 0.1 and hit.sum() <= 10 and not (before > 0 and mean_kw > 0.5 * before):
            factor *= 0.6
            counter.append(
                Text(
                    f"只在白天、仅 {int(hit.sum())} 天用电,可能是拆除或看护施工",
                    f"by day only and for {int(hit.sum())} days: may be dismantling works",
                )
            )
        if _permitted_since(city, row, closed.since[i]):
            factor *= 0.5
            counter.append(Text("关闭后新取得许可,可能已合法复产", "a permit issued since: may be legal again"))
        if city.dates("opened_on")[row] > closed.since[i]:
            factor *= 0.6
            counter.append(Text("企业成立于关闭令之后,可能是新租户", "registered since: may be a new tenant"))
        if np.isnan(before):
            factor *= 0.9
            counter.append(
                Text(
                    "关闭前负荷不在窗口内,只与关闭后的最低负荷比较",
                    "the level before closure lies outside of the window; compared with the idle level only",
                )
            )
        excess = mean_kw / floor
        lasting = float(hit[usable].mean())
        score = (0.5 + 0.3 * min(1.0, (excess - 1) / 2) + 0.2 * min(1.0, recent.sum() / cfg.last_days)) * factor
        if score < cfg.threshold:
            return None
        against = f",为关闭前的 {percent(mean_kw / before)}" if before > 0 else ""
        against_en = f", {percent(mean_kw / before)} of the level before" if before > 0 else ""
        reasons = (
            Text(
                f"{closed.since[i]} 起关闭,最近 {cfg.last_days} 日中 {int(recent.sum())} 日"
                f"用电 {mean_kw:.0f} kW{against}",
                f"closed since {closed.since[i]}, yet {mean_kw:.0f} kW on {int(recent.sum())} of the last "
                f"{cfg.last_days} days{against_en}",
            ),
            Text(
                f"判据 {floor:.1f} kW:空载 {idle:.1f} kW 的 {cfg.idle_factor:g} 倍与关闭前的 "
                f"{percent(cfg.before_share)} 取大;首日 {city.days[first]},夜间占 {percent(night_part)}",
                f"limit {floor:.1f} kW: the larger of {cfg.idle_factor:g} × idle {idle:.1f} kW and "
                f"{percent(cfg.before_share)} of before; first on {city.days[first]}, {percent(night_part)} at night",
            ),
        )
        return Finding(
            entity_id=city.entity_id(row),
            day=city.context.as_of,
            rule="rebound",
            verdict="suspect",
            score=score,
            reasons=reasons,
            counter=or_nothing_found(counter, Text("拆除施工、新许可、新租户", "dismantling, new permit, new tenant")),
            evidence=numbers(
                closed_on=str(closed.since[i]),
                load_kw=mean_kw,
                limit_kw=floor,
                idle_kw=float(idle),
                before_kw=before,
                hits=int(recent.sum()),
                share_of_days_since=lasting,
                first_day=str(city.days[first]),
                night_share=night_part,
            ),
            exhibit=Exhibit(city.picked(hit)[-5:], (88, 24) if night_part > 0.5 else (0, 96)),
            context=gaps,
        )

    def _cannot_tell(self, city: City, closed: Closed, i: int, known: int, blind: bool, idle: float) -> Finding:
        row = int(closed.rows[i])
        _, gaps = city.gaps(row, permit=False)
        why = (
            Text(
                f"最近 {self.config.last_days} 日仅 {known} 日有数,缺数不等于停产",
                f"only {known} of the last {self.config.last_days} days have data; missing is not idle",
            )
            if blind
            else Text(
                f"关闭后最低负荷仍为 {idle:.1f} kW,但关闭前负荷和容量均不明,无从比较",
                f"the lowest load since is still {idle:.1f} kW, but neither the level before nor the capacity is known",
            )
        )
        return Finding(
            entity_id=city.entity_id(row),
            day=city.context.as_of,
            rule="rebound",
            verdict="cannot_tell",
            score=0.0 if blind else 0.3,
            reasons=(Text(f"{closed.since[i]} 起关闭", f"closed since {closed.since[i]}"),),
            counter=(why, *gap_words(gaps)),
            evidence=numbers(closed_on=str(closed.since[i]), valid_last_days=known, idle_kw=idle),
            context=gaps,
        )


def closed_since(city: City) -> Days:
    """Shape (entities,): local day of the closure in force on `as_of`, NaT where there is none.

    From `closed_on` of the entities and from `order` rows of kind closure that have begun and have not been lifted.
    """
    as_of = np.datetime64(city.context.as_of)
    since = np.array(city.dates("closed_on"))
    since[~(since <= as_of)] = np.datetime64("NaT")
    orders = city.context.tables.get("order")
    if orders is None or not orders.num_rows or not city.size:
        return since
    orders = orders.filter(pc.equal(orders.column("kind"), "closure"))
    owner = city.rows_of(orders.column("entity_id"))
    starts, ends = (
        np.array([t and t.astimezone(LOCAL_ZONE).date() for t in orders.column(c).to_pylist()], "datetime64[D]")
        for c in ("starts_at", "ends_at")
    )
    for row, start, end in zip(owner, starts, ends, strict=True):
        if row >= 0 and start <= as_of and not end <= as_of and not since[row] > start:
            since[row] = start
    return since


def _permitted_since(city: City, row: int, day: np.datetime64) -> bool:
    permits = city.context.tables.get("permit")
    if permits is None:
        return False
    mine = permits.filter(pc.equal(permits.column("entity_id"), city.entity_id(row)))
    as_of = city.context.as_of
    return any(
        start is not None and np.datetime64(start) > day and start <= as_of
        for start in mine.column("valid_from").to_pylist()
    )
