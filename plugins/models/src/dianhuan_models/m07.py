"""M7 雨天偷排机会: load that rises in rain, or under bad dispersion, against the own matched dry days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dianhuan_models._city import City
from dianhuan_models._crossover import Effects, Episodes, benjamini_hochberg, effects, episodes, upper_tail
from dianhuan_models._expected import day_groups, log_energy, sample
from dianhuan_models._stats import Array, Bools, Rows, median, sigma
from dianhuan_models._weather import Weather
from dianhuan_models._words import gap_words, in_order, numbers, or_nothing_found, percent
from dianhuan_sdk import Block, Exhibit, Finding, ModelContext, Text


class RainConfig(BaseModel):
    """Parameters of M7: six episodes, ratio 1.5, q .1 and a lag of up to 6 h are the recipe's; the rest judgement."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    rain_mm: float = Field(default=0.5, gt=0, description="in an hour that counts as rain")
    lag_hours: int = Field(default=0, ge=0, le=6, description="hours after rain that count too; they dilute the ratio")
    calm_ms: float = Field(default=1.5, ge=0, description="an inversion with less wind is bad dispersion")
    min_hours: int = Field(default=3, ge=1, le=24, description="bad hours that make a day an episode")
    min_episodes: int = Field(default=6, ge=2, description="usable episodes")
    near_days: int = Field(default=28, ge=7, description="matched dry days lie within")
    min_controls: int = Field(default=3, ge=2, description="matched dry days of an episode")
    ratio: float = Field(default=1.5, gt=1, description="least rate ratio, net of the city's")
    q: float = Field(default=0.1, gt=0, lt=1, description="false discovery rate over all that were looked at")
    recent_days: int = Field(default=3, ge=1, description="an episode among the last days")
    min_kw: float = Field(default=10.0, ge=0, description="mean load")
    first_z: float = Field(default=1.5, description="of daily energy on wet days, to have the curves read")
    max_curves: int = Field(default=1500, ge=1, description="candidates whose curves are read")
    reference: int = Field(default=200, ge=30, description="others that show what rain does to everybody")
    threshold: float = Field(default=0.45, ge=0, le=1, description="least score of a finding")


TRIGGERS = {
    "raised_in_rain": Text("降雨", "rain"),
    "raised_in_bad_dispersion": Text("静稳逆温", "bad dispersion"),
}


@dataclass(frozen=True)
class _Null:
    """What the city's reference sample does in the same hours."""

    middle: float
    spread: float
    count: int


class RainOpportunism:
    """The model: rules `raised_in_rain` and `raised_in_bad_dispersion`."""

    def __init__(self, config: RainConfig) -> None:
        self.config = config

    def score(self, block: Block, context: ModelContext) -> Sequence[Finding]:
        """Findings of both rules, strongest first; silent without weather."""
        city = City(block, context)
        weather = Weather(city)
        if not weather.known or not city.size:
            return []
        cfg = self.config
        level = np.nan_to_num(median(np.where(city.valid, city.hourly, np.nan)))
        producer = city.where("industry", lambda v: v[:1] in "BC" and v != "") | city.where(
            "tariff_class", lambda v: v == "industrial"
        )
        eligible = np.flatnonzero(producer & (level >= cfg.min_kw) & (city.valid.sum(axis=1) >= 30))
        if not len(eligible):
            return []
        rain = weather.hourly("rain_mm")
        wet = rain >= cfg.rain_mm
        for lag in range(1, cfg.lag_hours + 1):
            wet[:, lag:] |= rain[:, :-lag] >= cfg.rain_mm
        calm = (weather.hourly("inversion") > 0.5) & (weather.hourly("wind_ms") < cfg.calm_ms)
        found = []
        for rule, bad, source in (("raised_in_rain", wet, rain), ("raised_in_bad_dispersion", calm, None)):
            found += self._rule(city, weather, rule, bad, source, eligible)
        return in_order(found)

    def _rule(
        self, city: City, weather: Weather, rule: str, bad: Bools, rain: Array | None, eligible: Rows
    ) -> list[Finding]:
        cfg, days = self.config, len(city.days)
        groups = day_groups(city)
        schemes = {t.periods: i for i, t in enumerate(dict.fromkeys(city.context.tariff))}
        scheme = np.array([schemes[t.periods] for t in city.context.tariff])
        results: list[tuple[Rows, Bools, Effects, Episodes, int]] = []
        for district in np.unique(weather.district(eligible)):
            mine = eligible[weather.district(eligible) == district]
            dose = np.nansum(rain[district].reshape(days, 24), axis=1) if rain is not None else np.zeros(days)
            seen = episodes(
                bad[district].reshape(days, 24), groups, scheme, dose, cfg.near_days, cfg.min_hours, cfg.min_controls
            )
            if len(seen.days) < cfg.min_episodes or seen.days[-1] < days - cfg.recent_days:
                continue
            rows, reference = self._candidates(city, mine, seen)
            hourly = city.block.curves(rows).reshape(len(rows), days, 24, 4)
            count = (~np.isnan(hourly)).sum(axis=3)
            with np.errstate(invalid="ignore"):
                mean = np.where(count >= 2, np.nansum(hourly, axis=3) / count, np.nan)
            results.append((rows, reference, effects(mean, seen, cfg.min_controls), seen, len(mine)))
        if not results:
            return []
        tested = sum(r[4] for r in results)
        enough = [r[2].usable.sum(axis=1) >= cfg.min_episodes for r in results]
        null = _null(
            np.concatenate([r[2].effect[r[1] & e] for r, e in zip(results, enough, strict=True)]),
            np.concatenate([r[2].spread[r[1] & e] for r, e in zip(results, enough, strict=True)]),
        )
        net = np.concatenate([r[2].effect for r in results]) - null.middle
        z = net / np.sqrt(np.concatenate([r[2].spread for r in results]) ** 2 + null.spread**2 + 1e-6)
        p = np.concatenate([r[2].p for r in results])
        # beyond the last permutation the normal tail goes on
        p = np.where(p > 1.5 / 500, np.maximum(p, upper_tail(z)), upper_tail(z))
        p[~np.concatenate(enough)] = 1.0
        chosen = benjamini_hochberg(p, tested, cfg.q) & (net >= np.log(cfg.ratio))
        found, start = [], 0
        for rows, _, effect, seen, _ in results:
            gap = bool(~weather.complete(weather.hourly("rain_mm"))[weather.district(rows[:1])][0])
            for i in np.flatnonzero(chosen[start : start + len(rows)]):
                j = start + int(i)
                finding = self._finding(
                    city, rule, int(rows[i]), effect, int(i), seen, null, (float(net[j]), float(z[j]), float(p[j])), gap
                )
                if finding is not None:
                    found.append(finding)
            start += len(rows)
        return found

    def _candidates(self, city: City, rows: Rows, seen: Episodes) -> tuple[Rows, Bools]:
        """Rows whose daily energy rises on wet days, and a reference sample of the others; curves are read of these."""
        cfg = self.config
        logs = log_energy(city, rows)
        known, filled = ~np.isnan(logs), np.nan_to_num(logs)
        weight = seen.controls.astype(float)
        with np.errstate(invalid="ignore", divide="ignore"):
            control = (filled @ weight.T) / (known @ weight.T)
            rise = np.where(known[:, seen.days], logs[:, seen.days] - control, np.nan)
            count = (~np.isnan(rise)).sum(axis=1)
            effect = np.nansum(np.clip(rise, -2, 2), axis=1) / count
            z = effect / np.maximum(sigma(rise, median(rise)), 0.03) * np.sqrt(count)
        z = np.nan_to_num(np.where(count >= cfg.min_episodes, z, -np.inf), neginf=-1e9)
        hopeful = np.flatnonzero((z > cfg.first_z) & (effect > 0.02))
        hopeful = hopeful[np.argsort(-np.round(z[hopeful], 6), kind="stable")[: cfg.max_curves]]
        reference = np.isin(rows, sample(city, rows, cfg.reference))
        picked = np.union1d(hopeful, np.flatnonzero(reference))
        return rows[picked], reference[picked]

    def _finding(
        self,
        city: City,
        rule: str,
        row: int,
        effect: Effects,
        i: int,
        seen: Episodes,
        null: _Null,
        numbers_of: tuple[float, float, float],
        gap: bool,
    ) -> Finding | None:
        cfg, trigger = self.config, TRIGGERS[rule]
        net, z, p = numbers_of
        each = effect.each[i]
        recent = (seen.days >= len(city.days) - cfg.recent_days) & ~np.isnan(each)
        if not recent.any() or each[recent].max() - null.middle < np.log(1.2):
            return None
        factor, gaps = city.gaps(row, permit=False)
        for code, holds, cost in (
            ("weather_gap", gap, 0.8),
            ("no_controls", null.count < 30, 0.8),
            ("tariff_changed", city.tariff_changed, 0.9),
        ):
            if holds:
                factor, gaps = factor * cost, (*gaps, code)
        counter = gap_words(gaps)
        ok = effect.usable[i]
        likeness = _correlation(np.log1p(seen.dose[ok]), each[ok]) if ok.sum() >= 8 else 0.0
        if likeness >= 0.6:
            factor *= 0.5
            counter.append(
                Text(
                    f"升幅随雨量增大(相关 {likeness:.2f}),像排水泵",
                    f"the rise follows the amount of rain (correlation {likeness:.2f}), as of drainage pumps",
                )
            )
        raised = int((each[ok] - null.middle > np.log(1.2)).sum())
        if raised < 0.5 * ok.sum():
            factor *= 0.7
            counter.append(
                Text(f"{int(ok.sum())} 次中仅 {raised} 次升高", f"raised in only {raised} of {int(ok.sum())} episodes")
            )
        score = (0.45 + 0.3 * min(1.0, net / np.log(3)) + 0.2 * min(1.0, z / 6)) * factor
        if score < cfg.threshold:
            return None
        shown = seen.days[ok & (each - null.middle > np.log(1.2))][-5:]
        hours = np.flatnonzero(seen.hours[np.flatnonzero(recent)[-1]])
        return Finding(
            entity_id=city.entity_id(row),
            day=city.context.as_of,
            rule=rule,
            verdict="suspect",
            score=float(score),
            reasons=(
                Text(
                    f"{trigger.zh}时段负荷为自身同类型无{trigger.zh}日同一时段的 {np.exp(effect.effect[i]):.2f} 倍"
                    f"({int(ok.sum())} 次中 {raised} 次升高,置换检验 p = {effect.p[i]:.3f})",
                    f"in {trigger.en} its load is {np.exp(effect.effect[i]):.2f} × that of the same hours of its own "
                    f"matched days without ({raised} of {int(ok.sum())} episodes raised, permutation "
                    f"p {effect.p[i]:.3f})",
                ),
                Text(
                    f"同时段全市参照 {null.count} 家为 {np.exp(null.middle):.2f} 倍,扣除后 {np.exp(net):.2f} 倍,"
                    f"合并 p = {p:.1e}",
                    f"{null.count} reference plants: {np.exp(null.middle):.2f} × in the same hours; net of that "
                    f"{np.exp(net):.2f} ×, pooled p {p:.1e}",
                ),
            ),
            counter=or_nothing_found(
                counter,
                Text("随雨量变化、全市共同变化、电价、缺数", "dose, a common move of the city, tariff, missing data"),
            ),
            evidence=numbers(
                rate_ratio=float(np.exp(effect.effect[i])),
                rate_ratio_net=float(np.exp(net)),
                z=z,
                p_permutation=float(effect.p[i]),
                p_pooled=p,
                episodes=int(ok.sum()),
                raised_episodes=raised,
                dose_correlation=likeness,
                reference_plants=null.count,
                raised_share=percent(raised / max(int(ok.sum()), 1)),
            ),
            exhibit=Exhibit(tuple(city.days[d] for d in shown), (int(4 * hours[0]), int(4 * hours[-1] + 4))),
            context=gaps,
        )


def _null(effect: Array, spread: Array) -> _Null:
    if len(effect) < 30:
        return _Null(0.0, 0.1, len(effect))
    middle = median(effect[None, :])
    wide = float(sigma(effect[None, :], middle)[0])
    return _Null(float(middle[0]), float(np.sqrt(max(wide**2 - float(np.median(spread**2)), 1e-4))), len(effect))


def _correlation(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 1e-9 else 0.0
