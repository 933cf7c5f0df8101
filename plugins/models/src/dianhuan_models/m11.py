"""M11 治污比下滑: the ratio of treatment to production load drifts down; when will it cross the least one allowed?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import erfc, sqrt

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dianhuan_models._channels import Circuits, circuits
from dianhuan_models._city import City
from dianhuan_models._stats import Array, median, quantile
from dianhuan_models._words import gap_words, in_order, numbers, or_nothing_found, percent
from dianhuan_sdk import Block, Exhibit, Finding, ModelContext, Text


class DriftConfig(BaseModel):
    """Parameters of M11: 12 weeks, at least 8, P ≥ .5 within 30 days are the recipe's; the rest judgement."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    history_weeks: int = Field(
        default=26, ge=12, description="read from the readings; the first four are the own level"
    )
    min_weeks: int = Field(default=8, ge=6, description="weeks with data")
    week_days: int = Field(default=3, ge=1, description="production days that make a week")
    fit_weeks: int = Field(default=8, ge=5, description="last weeks that the trend is fitted to")
    minimum_share: float = Field(
        default=0.7, gt=0, lt=1, description="of the own first weeks, where no minimum is on file"
    )
    horizon_days: int = Field(default=30, ge=7, description="looked ahead")
    likely: float = Field(default=0.5, gt=0, lt=1, description="least probability of crossing")
    evidence: float = Field(
        default=20.0, gt=1, description="e-value against 'no change'; 20 is 5 % by Ville's inequality"
    )
    on_share: float = Field(default=0.35, gt=0, lt=1, description="of the 95 % level of production: a production day")
    step_better: float = Field(default=0.7, gt=0, lt=1, description="a step that leaves less of the error is no drift")
    min_peers: int = Field(default=10, ge=3, description="plants whose common move is taken off")


@dataclass(frozen=True)
class Trend:
    """One plant's weekly log ratio.

    Args:
        weeks: shape (weeks,), NaN = no data; the last ends on the last day of the block.
        level: fitted log ratio of the last week; `slope` per week.
        p_cross: probability of being below `floor` within the horizon; `e_value` against no change.
        step: true where a single step explains the weeks better.
    """

    weeks: Array
    level: float
    slope: float
    floor: float
    p_cross: float
    e_value: float
    step: bool


class RatioDrift:
    """The model: rule `ratio_drift`."""

    def __init__(self, config: DriftConfig) -> None:
        self.config = config

    def score(self, block: Block, context: ModelContext) -> Sequence[Finding]:
        """Findings about plants whose treatment and production circuits are metered apart."""
        city = City(block, context)
        span = 7 * self.config.history_weeks
        found = circuits(city, [context.as_of - timedelta(days=span - 1 - d) for d in range(span)])
        if found is None:
            return []
        ratio = load_adjusted(found, self.config)
        weeks = _by_week(ratio, self.config.week_days)
        common = _common(weeks, self.config.min_peers)
        answer = []
        for i in range(len(found.rows)):
            trend = self._trend(weeks[i] - common, ratio[i] - np.repeat(common, 7)[-ratio.shape[1] :])
            if trend is not None and trend.p_cross >= self.config.likely and not trend.step:
                answer.append(self._finding(city, found, i, trend, bool(common.any())))
        return in_order(answer)

    def _trend(self, weeks: Array, daily: Array) -> Trend | None:
        cfg = self.config
        known = np.flatnonzero(~np.isnan(weeks))
        late = known[known >= len(weeks) - cfg.fit_weeks]
        if len(known) < cfg.min_weeks or len(late) < 5 or len(weeks) - 1 - known[-1] > 1:
            return None
        first = weeks[known[:4]]  # the own level, before any drift that the window shows
        floor = float(np.median(first)) + np.log(cfg.minimum_share)
        x, y = late.astype(float), weeks[late]
        i, j = np.triu_indices(len(x), 1)
        slope = float(np.median((y[j] - y[i]) / (x[j] - x[i])))
        now = len(weeks) - 1.0
        level = float(np.median(y - slope * (x - now)))
        rest = y - level - slope * (x - now)
        s = max(1.4826 * float(np.median(np.abs(rest))), 0.01)
        recent = weeks[known[-4:]]
        falling = slope < 0 and recent[2:].mean() < recent[:2].mean()
        ahead = cfg.horizon_days / 7
        reach = now - x.mean() + ahead
        sd = s * sqrt(1 / len(x) + reach**2 / float(((x - x.mean()) ** 2).sum()))
        p = 0.5 * erfc(-(floor - level - slope * ahead) / sd / sqrt(2)) if falling else 0.0
        e = _e_value(daily, cfg.fit_weeks)
        return Trend(weeks, level, slope, floor, p, e, self._is_step(x, y))

    def _is_step(self, x: Array, y: Array) -> bool:
        """One step leaves much less error than one line."""
        line = y - np.polyval(np.polyfit(x, y, 1), x)
        errors = [
            ((y[:k] - y[:k].mean()) ** 2).sum() + ((y[k:] - y[k:].mean()) ** 2).sum() for k in range(2, len(y) - 1)
        ]
        return bool(min(errors) < self.config.step_better * float((line**2).sum()))

    def _finding(self, city: City, found: Circuits, i: int, t: Trend, common: bool) -> Finding:
        cfg, row = self.config, int(found.rows[i])
        factor, gaps = city.gaps(row, permit=False)
        # the plant's grid curve is not read: its gaps do not matter here
        gaps = tuple(g for g in gaps if g not in ("missing_data", "shared_meter", "tariff_provisional"))
        factor = 0.9 if "calendar_provisional" in gaps else 1.0
        factor *= 0.7 if "spring_festival" in gaps else 1.0
        gaps = (*gaps, "minimum_unknown")
        holes = float(np.isnan(found.treatment[i] + found.production[i]).mean())
        if holes > 0.1:
            factor, gaps = factor * (1 - holes / 2), (*gaps, "missing_data")
        if not common:
            factor, gaps = factor * 0.9, (*gaps, "no_controls")
        counter = gap_words(gaps)
        if found.quantity[i] == "current":
            factor *= 0.9
            counter.append(Text("由电流推算,未计电压和功率因数", "from currents: voltage and power factor unknown"))
        dark = city.dark(row)
        if dark:
            gaps = (*gaps, "no_grid_data")
            counter.insert(0, *gap_words(("no_grid_data",)))
        start, now = float(np.exp(t.floor) / cfg.minimum_share), float(np.exp(t.level))
        days = 7 * (t.floor - t.level) / t.slope if t.slope < 0 else 0.0
        day = city.context.as_of + timedelta(days=max(0, round(days)))
        proven = t.e_value >= cfg.evidence
        certain = proven and not dark
        if not proven:
            counter.insert(
                0,
                Text(
                    f"不能判定:下滑证据不足(e 值 {t.e_value:.1f},需 {cfg.evidence:g})",
                    f"cannot tell: too little evidence of a fall (e-value {t.e_value:.1f}, {cfg.evidence:g} needed)",
                ),
            )
        when = "已低于" if days <= 0 else f"预计 {day} 降至"
        when_en = "is already below" if days <= 0 else f"is due on {day} at"
        return Finding(
            entity_id=city.entity_id(row),
            day=city.context.as_of,
            rule="ratio_drift",
            verdict="suspect" if certain else "cannot_tell",
            score=(0.4 + 0.5 * t.p_cross) * factor if certain else 0.25 * factor,
            reasons=(
                Text(
                    f"治污与产污用电比(按负荷修正)由 {start:.2f} 降至 {now:.2f},每周 {100 * np.expm1(t.slope):+.1f} %",
                    f"treatment over production load (at equal load) fell from {start:.2f} to {now:.2f}, "
                    f"{100 * np.expm1(t.slope):+.1f} % a week",
                ),
                Text(
                    f"{when}下限 {np.exp(t.floor):.2f}(起始水平的 {percent(cfg.minimum_share)});"
                    f"{cfg.horizon_days} 日内跌破概率 {percent(t.p_cross)}",
                    f"it {when_en} the least, {np.exp(t.floor):.2f} ({percent(cfg.minimum_share)} of where it began); "
                    f"crossing within {cfg.horizon_days} days has probability {percent(t.p_cross)}",
                ),
            ),
            counter=or_nothing_found(
                counter,
                Text("换滤料台阶、同业共同变化、缺数", "filter steps, a common move of the plants, missing data"),
            ),
            evidence=numbers(
                ratio_start=start,
                ratio_now=now,
                slope_per_week=float(np.expm1(t.slope)),
                floor=float(np.exp(t.floor)),
                p_cross=t.p_cross,
                crossing_day=str(day),
                e_value=min(t.e_value, 1e9),
                weeks=int((~np.isnan(t.weeks)).sum()),
                quantity=found.quantity[i],
            ),
            exhibit=Exhibit(city.days[-28:], (0, 96)),
            context=gaps,
        )


def load_adjusted(found: Circuits, config: DriftConfig) -> Array:
    """Shape (plants, days): log treatment over production at the plant's usual production; NaN off production.

    A fan of constant power has a ratio that falls when production rises. How treatment follows production is learnt
    from deviations within weeks, on which a slow drift leaves no trace.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        on = found.production > config.on_share * quantile(found.production, 0.95)[:, None]
        t = np.where(on & (found.treatment > 0), np.log(found.treatment), np.nan)
        p = np.where(on, np.log(found.production), np.nan)
    days = t.shape[1]
    start = days % 7
    dt, dp = (np.full_like(t, np.nan) for _ in range(2))
    for w in range(start, days, 7):
        both = np.where(np.isnan(t[:, w : w + 7]), np.nan, p[:, w : w + 7])
        dt[:, w : w + 7] = t[:, w : w + 7] - median(t[:, w : w + 7])[:, None]
        dp[:, w : w + 7] = both - median(both)[:, None]
    ok = ~np.isnan(dt) & ~np.isnan(dp)
    x, y = np.where(ok, dp, 0), np.where(ok, np.clip(np.nan_to_num(dt), -0.5, 0.5), 0)
    follows = np.clip((x * y).sum(axis=1) / ((x * x).sum(axis=1) + 0.01), 0, 1)
    usual = median(p)
    return np.asarray(t - follows[:, None] * (p - usual[:, None]) - usual[:, None])


def _by_week(ratio: Array, least: int) -> Array:
    """Shape (plants, weeks): medians of the whole weeks that end with the last day."""
    weeks = ratio.shape[1] // 7
    days = ratio[:, ratio.shape[1] - 7 * weeks :].reshape(len(ratio), weeks, 7)
    answer: Array = median(days)
    answer[(~np.isnan(days)).sum(axis=2) < least] = np.nan
    return answer


def _common(weeks: Array, least: int) -> Array:
    """Shape (weeks,): median change of all plants since the first four weeks; 0 where they are too few."""
    change = weeks - median(weeks[:, :4])[:, None]
    count = (~np.isnan(change)).sum(axis=0)
    return np.where(count >= least, np.nan_to_num(median(change.T)), 0.0)


def _e_value(daily: Array, fit_weeks: int) -> float:
    """Conformal test martingale against 'the days are exchangeable', betting on low ranks (Vovk et al. 2005).

    Medians of three days are ranked, to take the edge off day-to-day dependence; bets begin with the fitted weeks.
    """
    parts = daily[len(daily) % 3 :].reshape(-1, 3)
    known = (~np.isnan(parts)).sum(axis=1) >= 2
    value = median(parts)
    bets = (0.2, 0.4, 0.6)
    log_e = np.zeros(len(bets))
    for k in range(len(parts) - 7 * fit_weeks // 3, len(parts)):
        before = value[:k][known[:k]]
        if known[k] and len(before):
            p = (1 + (before <= value[k]).sum()) / (len(before) + 1)
            log_e += [np.log(b) + (b - 1) * np.log(p) for b in bets]
    return float(np.exp(np.minimum(log_e, 50)).mean())
