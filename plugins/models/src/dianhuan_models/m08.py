"""M8 限产核查: did an enterprise under order cut what it was told to? Complied, not complied, or cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dianhuan_models._city import City
from dianhuan_models._expected import expected, log_energy, sample
from dianhuan_models._orders import Order, cutting_orders, ordered_days
from dianhuan_models._stats import Array, Bools, Rows, mean, median
from dianhuan_models._weather import Weather
from dianhuan_models._words import gap_words, in_order, numbers, or_nothing_found, percent
from dianhuan_sdk import Block, Exhibit, Finding, ModelContext, Text


class CurtailmentConfig(BaseModel):
    """Parameters of M8: 30–60 controls by correlation, 12 %, α .05, CV .3 and FSU 50 % at 80 % are the recipe's."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    min_baseline: int = Field(default=20, ge=10, description="usable days before the order")
    controls: int = Field(default=40, ge=1, description="peers by correlation")
    min_controls: int = Field(default=10, ge=1, description="with fewer, the own history stands alone")
    pool: int = Field(default=600, ge=10, description="peers among whom the controls are sought")
    no_cut: float = Field(default=0.12, ge=0, lt=1, description="a cut of this part or less is none")
    stop_share: float = Field(
        default=0.1, gt=0, lt=1, description="of normal load that lamps and guards need in a stop"
    )
    alpha: float = Field(default=0.05, gt=0, lt=0.5, description="of each of the two tests")
    max_cv: float = Field(default=0.3, gt=0, description="daily CV of the baseline above which nothing is judged")
    max_fsu: float = Field(default=0.5, gt=0, description="half width of the ordered cut at 80 %, as part of it")
    last_days: int = Field(default=10, ge=1, description="ordered days that are judged, the latest ones")
    threshold: float = Field(default=0.4, ge=0, le=1, description="least score of a suspect")


@dataclass(frozen=True)
class Judgement:
    """Statistics of one order.

    Args:
        effect: mean log change on the ordered days, net of day type, temperature and peers.
        p_met: p of "it cut as ordered"; p_none: p of "it cut no more than `no_cut`".
        half_width: of the change at 90 %, in parts of normal load.
        cv, fsu: as in ASHRAE Guideline 14.
        controls, baseline, days: how many of each.
    """

    effect: float
    p_met: float
    p_none: float
    half_width: float
    cv: float
    fsu: float
    controls: int
    baseline: int
    days: int


class Curtailment:
    """The model: rule `curtailment`, about orders in force on the last day."""

    def __init__(self, config: CurtailmentConfig) -> None:
        self.config = config

    def score(self, block: Block, context: ModelContext) -> Sequence[Finding]:
        """Suspects and `cannot_tell`; who complied is not mentioned."""
        city = City(block, context)
        orders = cutting_orders(city)
        now = [o for o in orders if o.holds(context.as_of)]
        if not now:
            return []
        weather = Weather(city)
        ordered = ordered_days(orders, city)
        rows = np.unique([o.row for o in now])
        peers = _Pools(city, rows, ordered, weather, self.config)
        logs = log_energy(city, rows)
        first = np.array([min(o.first for o in now if o.row == r) for r in rows], dtype="datetime64[D]")
        before = np.array(city.days, dtype="datetime64[D]")[None, :] < first[:, None]
        train = before & ~ordered[rows] & city.valid[rows] & city.normal
        rest = logs - expected(city, rows, logs, train, weather)
        place = {int(r): i for i, r in enumerate(rows)}
        return in_order(
            f
            for o in now
            if (f := self._judge(city, o, rest[place[o.row]], train[place[o.row]], peers, weather.known)) is not None
        )

    def _judge(
        self, city: City, order: Order, rest: Array, train: Bools, peers: _Pools, has_weather: bool
    ) -> Finding | None:
        cfg = self.config
        judged = np.flatnonzero(order.days(city.days))[-cfg.last_days :]
        judged = judged[~np.isnan(rest[judged])]
        base = np.flatnonzero(train & ~np.isnan(rest))
        if not len(judged) or len(base) < cfg.min_baseline:
            return self._cannot_tell(city, order, None, len(base), len(judged), has_weather)
        common, count = peers.common(order.row, rest, base)
        net = rest - common
        allowed = max(order.allowed, cfg.stop_share if order.kind == "stop" else 0.0)
        stat = self._statistics(net, base, judged, allowed, count)
        doubtful = stat.cv > cfg.max_cv or stat.fsu > cfg.max_fsu
        missed, some = stat.p_met <= cfg.alpha, stat.p_none <= cfg.alpha
        if not missed and some:
            return None
        if doubtful or not missed:
            return self._cannot_tell(city, order, stat, len(base), len(judged), has_weather)
        return self._suspect(city, order, stat, judged, allowed, some, has_weather)

    def _statistics(self, net: Array, base: Rows, judged: Rows, allowed: float, count: int) -> Judgement:
        n = len(judged)
        effect = float(np.mean(net[judged]))
        centred = net[base] - np.median(net[base])
        sums = np.concatenate([[0.0], np.cumsum(centred)])
        # the baseline was fitted to the placebo days and not to the judged ones: widen by what that hides
        placebo = (sums[n:] - sums[:-n]) / n * np.sqrt(1 + n / len(base)) if n < len(base) else centred
        target, none = np.log(allowed), np.log(1 - self.config.no_cut)
        p_met = (1 + (placebo >= effect - target).sum()) / (len(placebo) + 1)
        p_none = (1 + (placebo <= effect - none).sum()) / (len(placebo) + 1)
        cv = float(1.4826 * np.median(np.abs(centred)))
        half = 1.645 * cv * np.sqrt((1 + 2 / len(base)) / n)
        fsu = 1.282 * 1.26 * cv * np.sqrt((1 + 2 / len(base)) / n) / max(1 - allowed, 1e-6)
        return Judgement(effect, float(p_met), float(p_none), float(half), cv, float(fsu), count, len(base), n)

    def _gaps(self, city: City, row: int, has_weather: bool, controls: int | None) -> tuple[float, tuple[str, ...]]:
        factor, gaps = city.gaps(row, permit=False)
        if not has_weather:
            factor, gaps = factor * 0.9, (*gaps, "weather_missing")
        if city.tariff_changed:
            factor, gaps = factor * 0.9, (*gaps, "tariff_changed")
        if controls == 0:
            factor, gaps = factor * 0.8, (*gaps, "no_controls")
        return factor, gaps

    def _suspect(
        self, city: City, o: Order, s: Judgement, judged: Rows, allowed: float, some: bool, has_weather: bool
    ) -> Finding | None:
        factor, gaps = self._gaps(city, o.row, has_weather, s.controls)
        change, asked = float(np.exp(s.effect)) - 1, 1 - allowed
        strength = float(np.clip((s.effect - np.log(allowed)) / -np.log(allowed), 0, 1)) if allowed < 1 else 0.0
        counter = gap_words(gaps)
        if some:
            factor *= 0.8
            counter.append(
                Text("有所削减,但未达要求", "some cut is evident, though less than ordered: partly complied")
            )
        score = (0.45 + 0.5 * strength) * factor
        if score < self.config.threshold:
            return None
        peers_zh = f"已扣除 {s.controls} 家未管控同业的共同变化" if s.controls else "无足够未管控同业可比"
        peers_en = f"net of {s.controls} uncurtailed peers" if s.controls else "no uncurtailed peers to compare with"
        return Finding(
            entity_id=city.entity_id(o.row),
            day=city.context.as_of,
            rule="curtailment",
            verdict="suspect",
            score=score,
            reasons=(
                Text(
                    f"指令 {o.order_id} 自 {o.first} 起要求减少 {percent(asked)},{s.days} 日用电相对应有水平变化 "
                    f"{100 * change:+.0f} %(±{percent(s.half_width)}),{peers_zh}",
                    f"order {o.order_id} asks for {percent(asked)} less since {o.first}; over {s.days} days the load "
                    f"changed by {100 * change:+.0f} % (±{percent(s.half_width)}) against what was due, {peers_en}",
                ),
                Text(
                    f"与 {s.baseline} 个指令前日的等长窗口相比:达标 p = {s.p_met:.3f},未削减 p = {s.p_none:.3f}",
                    f"against placebo windows in {s.baseline} days before: p of having cut as ordered {s.p_met:.3f}, "
                    f"p of no cut {s.p_none:.3f}",
                ),
            ),
            counter=or_nothing_found(counter, Text("天气、同业、缺数、日历", "weather, peers, missing data, calendar")),
            evidence=self._evidence(o, s),
            exhibit=Exhibit(tuple(city.days[d] for d in judged), (0, 96)),
            context=gaps,
        )

    def _cannot_tell(
        self, city: City, o: Order, s: Judgement | None, base: int, days: int, has_weather: bool
    ) -> Finding:
        factor, gaps = self._gaps(city, o.row, has_weather, s.controls if s else None)
        if s is None:
            why = Text(
                f"不能判定:指令内有效日 {days} 天,指令前有效日 {base} 天(至少 {self.config.min_baseline})",
                f"cannot tell: {days} valid ordered days, {base} valid days before ({self.config.min_baseline} needed)",
            )
        else:
            why = Text(
                f"不能判定:{s.days} 日变化 {100 * (np.exp(s.effect) - 1):+.0f} %,历史半宽 ±{percent(s.half_width)}"
                f"(日变异 {percent(s.cv)},FSU {percent(s.fsu)})",
                f"cannot tell: {100 * (np.exp(s.effect) - 1):+.0f} % over {s.days} days, while the own history allows "
                f"±{percent(s.half_width)} (daily CV {percent(s.cv)}, FSU {percent(s.fsu)})",
            )
        return Finding(
            entity_id=city.entity_id(o.row),
            day=city.context.as_of,
            rule="curtailment",
            verdict="cannot_tell",
            score=0.3 * factor,
            reasons=(Text(f"在指令 {o.order_id} 期内({o.first} 起)", f"under order {o.order_id} since {o.first}"),),
            counter=(why, *gap_words(gaps)),
            evidence=self._evidence(o, s),
            context=gaps,
        )

    def _evidence(self, o: Order, s: Judgement | None) -> dict[str, object]:
        common = numbers(order_id=o.order_id, allowed_share=o.allowed, since=str(o.first))
        if s is None:
            return common
        return common | numbers(
            change=float(np.exp(s.effect)) - 1,
            p_cut_as_ordered=s.p_met,
            p_no_cut=s.p_none,
            half_width_90=s.half_width,
            cv_daily=s.cv,
            fsu_80=s.fsu,
            controls=s.controls,
            baseline_days=s.baseline,
            ordered_days=s.days,
        )


class _Pools:
    """Uncurtailed peers by industry section and tariff, and their residuals."""

    def __init__(self, city: City, treated: Rows, ordered: Bools, weather: Weather, config: CurtailmentConfig) -> None:
        self._config = config
        sections, section = city.codes("industry")
        letters = np.array([s[:1] for s in sections] or [""])[section]
        tariffs, tariff = city.codes("tariff_class")
        keys = np.char.add(letters, np.array(tariffs or [""])[tariff])
        self._keys = keys
        self._rest: dict[str, Array] = {}
        usable = (city.valid & city.normal).sum(axis=1) >= config.min_baseline
        free = usable & ~ordered.any(axis=1) & ~city.flag("shared_meter")
        for key in np.unique(keys[treated]):
            rows = sample(city, np.flatnonzero(free & (keys == key)), config.pool)
            logs = log_energy(city, rows)
            train = city.valid[rows] & city.normal
            self._rest[str(key)] = logs - expected(city, rows, logs, train, weather)

    def common(self, row: int, rest: Array, base: Rows) -> tuple[Array, int]:
        """What the controls did on each day (to be taken off the treated residual), and how many they are."""
        cfg, pool = self._config, self._rest[str(self._keys[row])]
        if len(pool) < cfg.min_controls:
            return np.zeros(len(rest)), 0
        there = np.where(np.isnan(pool[:, base]), 0, pool[:, base])
        mine = rest[base] - rest[base].mean()
        there = there - there.mean(axis=1, keepdims=True)
        size = np.sqrt((there**2).sum(axis=1) * (mine**2).sum())
        alike = (there @ mine) / np.maximum(size, 1e-9)
        chosen = np.argsort(-np.round(alike, 6), kind="stable")[: cfg.controls]
        together = np.nan_to_num(median(pool[chosen].T))
        x = together[base] - mean(together[base])
        # chosen by likeness, so part of the fit is luck: shrink it by one day's worth of variance per control
        beta = float(np.clip((x @ mine) / max(float(x @ x) + 1e-4 * len(base), 1e-9), 0, 1.5))
        return beta * (together - together[base].mean()), len(chosen)
