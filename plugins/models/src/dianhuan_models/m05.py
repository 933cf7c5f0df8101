"""M5 夜间偷产: production at night only, without a permit for it; and load before acceptance (未验先投)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dianhuan_models import _acceptance
from dianhuan_models._acceptance import AcceptanceConfig
from dianhuan_models._city import City
from dianhuan_models._night import night_industry
from dianhuan_models._night_shape import NightShape, look_at_curves
from dianhuan_models._peers import Peers, Placement
from dianhuan_models._stats import Array, Bools, Rows, logit, median, share, sigma, sigmoid
from dianhuan_models._words import gap_words, in_order, numbers, or_nothing_found, peers, percent
from dianhuan_sdk import Block, Exhibit, Finding, ModelContext, Text

NIGHT_SLOTS = (88, 24)
SMOOTH = 0.05
"""Mean step over mean load within the night: lamps, heaters and cold stores stay below it, machines do not."""


class NightConfig(BaseModel):
    """Parameters of M5.

    The window, the ten valid days and the weights ratio 1, irregularity 2, change 1.5, day-on share −2 are the
    published recipe's; every other number is a judgement, to be replaced by one calibrated on inspections.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    min_valid_days: int = Field(default=10, ge=1, description="fewer valid days: cannot tell")
    min_look_days: int = Field(default=5, ge=1, description="fewer valid days: nothing is said at all")
    night_ratio: float = Field(default=1.5, gt=0, description="night-only day: night over day mean (Zhuzhou's rule)")
    min_night_kw: float = Field(default=5.0, ge=0, description="below this, lamps and guards explain the load")
    max_day_on: float = Field(default=0.25, ge=0, le=1, description="most of 08–18 that may be on in a night-only day")
    min_nights: int = Field(default=5, ge=1, description="night-only days in the window")
    recent_days: int = Field(default=3, ge=1, description="one night-only day among the last valid ones")
    threshold: float = Field(default=0.6, ge=0, le=1, description="least score of a finding")
    max_curves: int = Field(default=3000, ge=1, description="candidates whose raw curves are read")
    bias: float = 2.0
    weight_ratio: float = 1.0
    weight_irregular: float = 2.0
    weight_change: float = 1.5
    weight_day_on: float = 2.0
    weight_dear: float = 1.0
    weight_valley: float = 4.0
    weight_flat: float = 3.0
    weight_office: float = 2.0
    weight_sun: float = 4.0
    weight_industry: float = 4.0
    weight_permit_silent: float = 1.0
    weight_forbidden: float = 0.5
    acceptance: AcceptanceConfig = AcceptanceConfig()


@dataclass(frozen=True)
class _Candidates:
    """What the daily features say about some rows; arrays of shape (rows,) unless stated."""

    rows: Rows
    nights: Bools  # (rows, days)
    valid_days: Rows
    fresh: Bools
    level: Array
    day_level: Array
    night_share: Array
    placed: Placement
    active: Array
    dispersion: Array
    change: Array
    day_on: Array
    dear: Array
    valley_share: Array
    flat: Array
    office: Array
    negative: Bools

    @property
    def ratio(self) -> Array:
        """How far the night share lies above the peers' median, in log-odds, 0 … 3."""
        reference = np.where(np.isnan(self.placed.middle), 0.5, self.placed.middle)
        answer: Array = np.clip(logit(self.night_share) - logit(reference), 0, 3)
        return answer

    def take(self, keep: Rows) -> _Candidates:
        """The same for a choice of the candidates."""
        rest = {f: getattr(self, f)[keep] for f in self.__dataclass_fields__ if f != "placed"}
        return _Candidates(placed=self.placed.take(keep), **rest)


class NightOnly:
    """The model: two rules, `night_only` and `load_before_acceptance`."""

    def __init__(self, config: NightConfig) -> None:
        self.config = config

    def score(self, block: Block, context: ModelContext) -> Sequence[Finding]:
        """Findings of both rules about the block's last day, strongest first."""
        city = City(block, context)
        return in_order([*self._night_only(city), *_acceptance.findings(city, self.config.acceptance)])

    def _night_only(self, city: City) -> list[Finding]:
        c = self._candidates(city)
        if not len(c.rows):
            return []
        code, index = city.codes("industry")
        ordinary = [night_industry(v) for v in code]
        legal = np.array([o is not None for o in ordinary])[index[c.rows]]
        sunny = city.flag("pv")[c.rows] | c.negative
        silent = city.where("permit_class", lambda v: v in {"key", "simplified", "registered"})[c.rows]
        known = city.known("night_permitted")[c.rows]
        first = self._points(c, NightShape.unseen(len(c.rows)), legal, sunny, silent & ~known, known)
        # raw curves can still add what irregular starts are worth, so only hopeless candidates are left out
        hopeful = np.flatnonzero(first + self.config.weight_irregular / 2 > logit(np.array(self.config.threshold)))
        best = hopeful[np.lexsort((c.level[hopeful], -first[hopeful]))][: self.config.max_curves]
        if not len(best):
            return []
        c = c.take(best)
        legal, sunny, silent, known = legal[best], sunny[best], silent[best], known[best]
        shape = look_at_curves(city, c.rows, c.level)
        points = self._points(c, shape, legal, sunny | shape.sun, silent & ~known, known)
        scores = sigmoid(points)
        found = []
        for i in range(len(c.rows)):
            factor, gaps = city.gaps(int(c.rows[i]), permit=True)
            if silent[i] and not known[i]:
                gaps = (*gaps, "night_permission_unknown")
            score = float(scores[i]) * factor
            if score >= self.config.threshold:
                reason = ordinary[int(index[c.rows[i]])]
                found.append(self._finding(city, c, shape, i, score, gaps, reason, bool(sunny[i] | shape.sun[i])))
        return found

    def _candidates(self, city: City) -> _Candidates:
        cfg = self.config
        night, day, on = (city.block.feature(f) for f in ("night_kw", "day_kw", "day_on"))
        usable = city.valid & city.normal
        with np.errstate(invalid="ignore"):
            nights = (night >= cfg.min_night_kw) & (night >= np.float32(cfg.night_ratio) * day)
            nights &= (on <= cfg.max_day_on) & usable
        valid_days = usable.sum(axis=1)
        eligible = ~city.flag("night_permitted") & ~city.where("tariff_class", lambda v: v == "ev")
        eligible &= (nights.sum(axis=1) >= cfg.min_nights) & (valid_days >= cfg.min_look_days)
        rows = np.flatnonzero(eligible)
        # the last days that have data: a lost connection must not clear anybody
        age = np.cumsum(usable[rows][:, ::-1], axis=1)[:, ::-1]
        rows = rows[(nights[rows] & (age <= cfg.recent_days)).any(axis=1)]
        n, v = nights[rows], usable[rows]
        only = np.where(n, night[rows], np.float32(np.nan))
        level = median(only)
        half = len(city.days) // 2
        early, late = share(n[:, :half], v[:, :half]), share(n[:, half:], v[:, half:])
        notable = v[:, :half].sum(axis=1) >= cfg.min_look_days
        dear_part = np.array([1 - t.valley[88:].mean() for t in city.context.tariff])
        late_kw = city.daily("late_kw", rows)
        with np.errstate(divide="ignore", invalid="ignore"):
            dear = median(np.where(n, np.clip(late_kw / only, 0, 1) * dear_part, np.nan))
            valley = median(np.where(n, city.daily("valley_kwh", rows) / city.daily("kwh", rows), np.nan))
            morning = city.daily("h09_kw", rows)
            office = median(np.where(n, (city.daily("h15_kw", rows) - morning) / (only - morning), np.nan))
            logs = np.log(only)
        work = v & city.work
        return _Candidates(
            rows=rows,
            nights=n,
            valid_days=valid_days[rows],
            fresh=np.asarray(city.valid[rows, -cfg.recent_days :].any(axis=1)),
            level=level,
            day_level=median(np.where(n, day[rows], np.float32(np.nan))),
            night_share=city.night_share[rows],
            placed=Peers(city).place(city.night_share, rows),
            active=np.where(work.any(axis=1), share(n, work), share(n, v)),
            dispersion=sigma(logs, median(logs)),
            change=np.where(notable, np.clip(late - early, 0, 1), 0.0),
            day_on=np.nan_to_num(median(np.where(work, on[rows], np.float32(np.nan)))),
            dear=np.nan_to_num(dear),
            valley_share=np.nan_to_num(valley),
            flat=np.clip(1 - median(np.where(n, city.daily("night_rough", rows), np.float32(np.nan))) / SMOOTH, 0, 1),
            office=np.nan_to_num(np.clip(office, 0, 1)),
            negative=(np.nan_to_num(city.daily("min_kw", rows)) < -0.02 * level[:, None]).any(axis=1),
        )

    def _points(
        self, c: _Candidates, shape: NightShape, legal: Bools, sunny: Bools, silent: Bools, known: Bools
    ) -> Array:
        """Log-odds of a finding."""
        cfg = self.config
        answer: Array = (
            -cfg.bias
            + cfg.weight_ratio * c.ratio
            + cfg.weight_irregular * irregularity(c.active, c.dispersion, shape.jitter_h)
            + cfg.weight_change * c.change
            - cfg.weight_day_on * c.day_on
            + cfg.weight_dear * c.dear
            - cfg.weight_valley * valley_explains(c.valley_share, c.active, c.change, shape.jitter_h)
            - cfg.weight_flat * c.flat
            - cfg.weight_office * c.office
            - cfg.weight_sun * sunny
            - cfg.weight_industry * legal
            - cfg.weight_permit_silent * silent
            + cfg.weight_forbidden * known
        )
        return answer

    def _finding(
        self,
        city: City,
        c: _Candidates,
        shape: NightShape,
        i: int,
        score: float,
        gaps: tuple[str, ...],
        ordinary: Text | None,
        sun: bool,
    ) -> Finding:
        row, group, one = int(c.rows[i]), peers(c.placed, i), slice(i, i + 1)
        irregular = float(irregularity(c.active[one], c.dispersion[one], shape.jitter_h[one])[0])
        explained = float(valley_explains(c.valley_share[one], c.active[one], c.change[one], shape.jitter_h[one])[0])
        count, valid = int(c.nights[i].sum()), int(c.valid_days[i])
        part, middle = percent(c.night_share[i]), percent(c.placed.middle[i]) if c.placed.level[i] >= 0 else "—"
        reasons = [
            Text(
                f"夜间 22–6 点用电占 {part},同业中位数 {middle}({group.zh})",
                f"22:00–06:00 takes {part} of the energy, peers' median {middle} ({group.en})",
            ),
            Text(
                f"{valid} 个有效日中 {count} 日只在夜间开机:夜间均值 {c.level[i]:.0f} kW,白天 {c.day_level[i]:.1f} kW",
                f"on {count} of {valid} valid days it ran at night only: {c.level[i]:.0f} kW by night, "
                f"{c.day_level[i]:.1f} kW by day",
            ),
        ]
        if c.dear[i] >= 0.5:
            reasons.append(
                Text(
                    f"22–24 点非谷段仍有夜间负荷的 {percent(c.dear[i])},电价不能解释",
                    f"22:00–24:00, outside the valley, carries {percent(c.dear[i])} of the night's load: "
                    "price does not explain it",
                )
            )
        if irregular >= 0.4:
            reasons.append(
                Text(
                    f"夜班不规律:工作日 {percent(c.active[i])} 开机,开机时刻平均偏差 {shape.jitter_h[i]:.1f} 小时",
                    f"irregular nights: on in {percent(c.active[i])} of the workdays, starts differ by "
                    f"{shape.jitter_h[i]:.1f} h on average",
                )
            )
        if c.change[i] >= 0.3:
            reasons.append(
                Text(
                    f"后半窗口夜间开机日占比上升 {percent(c.change[i])}",
                    f"the share of night-only days rose by {percent(c.change[i])} in the window's second half",
                )
            )
        if city.column("night_permitted")[row].is_valid:
            reasons.append(Text("许可未含夜间生产", "the permit does not allow night work"))
        elif city.text("permit_class", row) == "none":
            reasons.append(Text("无排污许可或登记", "neither permit nor registration"))
        counter = gap_words(gaps)
        if c.valley_share[i] >= 0.7:
            counter.append(
                Text(
                    f"{percent(c.valley_share[i])} 的电量落在谷段,谷电生产可能合理",
                    f"{percent(c.valley_share[i])} of the energy falls into valley hours: price may be the reason",
                )
            )
        if c.flat[i] > 0.3:
            counter.append(Text("夜间负荷平滑,像照明或恒定设备", "smooth night load, as of lamps"))
        if c.office[i] > 0.25:
            counter.append(
                Text(
                    f"15–18 点已升至夜间负荷的 {percent(c.office[i])},不回避上班时间",
                    f"by 15:00–18:00 it has risen to {percent(c.office[i])} of the night's load: "
                    "office hours are not avoided",
                )
            )
        if sun:
            counter.append(Text("白天负荷可能被光伏抵消", "PV may hide the load of the day"))
        if ordinary is not None:
            counter.append(Text(f"行业夜间用电常见:{ordinary.zh}", f"night load is ordinary for {ordinary.en}"))
        doubts = []
        if valid < self.config.min_valid_days:
            doubts.append(
                Text(
                    f"有效日仅 {valid} 天,少于 {self.config.min_valid_days} 天,不能判定",
                    f"only {valid} valid days, fewer than {self.config.min_valid_days}: cannot tell",
                )
            )
        if not c.fresh[i]:
            doubts.append(
                Text(
                    f"最近 {self.config.recent_days} 日无有效数据,不知是否仍在生产",
                    f"no valid data in the last {self.config.recent_days} days: whether it still works is not known",
                )
            )
        looked = Text("光伏、谷电、平滑负荷、行业、许可", "PV, valley tariff, smooth load, industry, permit")
        return Finding(
            entity_id=city.entity_id(row),
            day=city.context.as_of,
            rule="night_only",
            verdict="cannot_tell" if doubts else "suspect",
            score=score,
            reasons=tuple(reasons),
            counter=or_nothing_found([*doubts, *counter], looked),
            evidence=numbers(
                night_share=float(c.night_share[i]),
                peer_median=float(c.placed.middle[i]),
                peer_rank=float(c.placed.rank[i]),
                peers=int(c.placed.count[i]),
                night_kw=float(c.level[i]),
                day_kw=float(c.day_level[i]),
                night_only_days=count,
                valid_days=valid,
                active_workdays=float(c.active[i]),
                start_jitter_h=float(shape.jitter_h[i]),
                start=shape.clock(i),
                irregularity=irregular,
                change=float(c.change[i]),
                dear_hours_load=float(c.dear[i]),
                valley_share=float(c.valley_share[i]),
                valley_explains=explained,
                flat=float(c.flat[i]),
                office_hours_load=float(c.office[i]),
            ),
            exhibit=Exhibit(city.picked(c.nights[i])[-5:], NIGHT_SLOTS),
            context=gaps,
        )


def irregularity(active: Array, dispersion: Array, jitter_h: Array) -> Array:
    """0 … 1: some nights and not others, changing starts, changing levels; none of it in a valley-tariff furnace.

    Levels count only beside one of the others: level alone changes with the weather, as in heating.
    """
    some_nights = 4 * active * (1 - active)
    starts = np.clip(jitter_h, 0, 1)
    levels = np.clip(np.nan_to_num(dispersion) / 0.4, 0, 1) * np.maximum(some_nights, starts)
    answer: Array = np.clip((some_nights + levels + starts) / 2, 0, 1)
    return answer


def valley_explains(valley_share: Array, active: Array, change: Array, jitter_h: Array) -> Array:
    """0 … 1: night load that keeps to the valley hours, and more so if it is the same every night of the window."""
    inside = np.clip((valley_share - 0.7) / 0.2, 0, 1)
    steady = np.clip((active - 0.7) / 0.2, 0, 1) * (1 - change) * np.clip(1.25 - jitter_h, 0, 1)
    answer: Array = inside * (0.6 + 0.4 * steady)
    return answer
