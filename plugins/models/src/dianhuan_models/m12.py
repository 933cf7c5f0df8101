"""M12 违规预报: the hazard of a violation verified within the next seven days, at the present rate of visits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dianhuan_models._city import City
from dianhuan_models._history import FEATURES, History, history
from dianhuan_models._stats import Array, Bools
from dianhuan_models._words import gap_words, in_order, numbers, or_nothing_found, percent
from dianhuan_models.fusion._logistic import Logistic
from dianhuan_sdk import Block, Finding, ModelContext, Text

MODEL_ID = "m12-"
FEATURE_WORDS = {
    "warnings_7d": Text("近 7 日预警", "warnings of the last 7 days"),
    "warnings_28d": Text("近 28 日预警", "warnings of the last 28 days"),
    "highest_score_28d": Text("近 28 日最高得分", "highest score of the last 28 days"),
    "models_28d": Text("近 28 日报警的模型数", "models that warned in the last 28 days"),
    "verified_recently": Text("近期查实", "verified recently"),
    "verified_share": Text("以往查实比例", "share of visits that held"),
    "order_now": Text("管控指令在身或将至", "under an order now or within a week"),
}
COLD_WEIGHTS = (0.5, 0.5, 1.0, 0.5, 1.5, 2.0, 0.5)
"""Judgements, in log-odds per unit of `FEATURES`, until enough visits are known."""
COLD_BIAS = -4.0


class ComingConfig(BaseModel):
    """Parameters of M12: 7 days ahead, weekly steps and eight forward folds are the recipe's; the rest judgement."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    horizon_days: int = Field(default=7, ge=1, description="looked ahead")
    weeks: int = Field(default=26, ge=10, description="weekly cut-offs that are learnt from")
    folds: int = Field(
        default=8, ge=2, description="last weeks, each predicted from those before: calibration and skill"
    )
    min_events: int = Field(default=30, ge=10, description="verified enterprise-weeks without which rules speak")
    ridge: float = Field(default=1.0, gt=0, description="penalty of the hazard's coefficients")
    lift: float = Field(default=2.5, gt=1, description="least hazard over the base rate")
    floor: float = Field(default=0.05, gt=0, lt=1, description="least hazard of a finding")
    most: int = Field(default=130, ge=1, description="findings a day, two days' visits")


@dataclass(frozen=True)
class Hazard:
    """A fitted hazard.

    Args:
        raw: shape (rows,), log-odds before calibration; `p`: after it.
        base: events per enterprise-week; `events`: how many.
        skill: Brier skill of the forward folds against the base rate of the weeks before; NaN in a cold start.
        weights: of `FEATURES`.
        learnt: false where rules speak.
    """

    raw: Array
    p: Array
    base: float
    events: int
    skill: float
    weights: Array
    learnt: bool


class ComingViolation:
    """The model: rule `coming_violation`."""

    def __init__(self, config: ComingConfig) -> None:
        self.config = config

    def score(self, block: Block, context: ModelContext) -> Sequence[Finding]:
        """Findings about enterprises with any history, most probable first, at most `most` of them."""
        city = City(block, context)
        past = history(city, MODEL_ID)
        if not len(past.rows):
            return []
        fitted = fit(past, context.as_of.toordinal(), self.config)
        now = past.features(past.rows, context.as_of.toordinal())
        limit = max(self.config.floor, min(self.config.lift * fitted.base, 0.9))
        seen = (now[:, :6] > 0).any(axis=1)
        found = [
            self._finding(city, int(past.rows[i]), now[i], float(fitted.p[i]), fitted)
            for i in np.flatnonzero(seen & (fitted.p >= limit))
        ]
        return in_order(found)[: self.config.most]

    def _finding(self, city: City, row: int, x: Array, p: float, h: Hazard) -> Finding:
        factor = 1.0
        gaps: tuple[str, ...] = ()
        if any(c.provisional for c in city.context.calendar):
            factor, gaps = 0.9, ("calendar_provisional",)
        if not h.learnt:
            factor, gaps = factor * 0.7, (*gaps, "cold_start")
        dark = city.dark(row)
        if dark:
            gaps = (*gaps, "no_grid_data")
        parts = h.weights * x
        top = [k for k in np.argsort(-parts, kind="stable")[:3] if parts[k] > 0]
        named = [FEATURE_WORDS[FEATURES[k]] for k in top]
        how = (
            Text(
                f"由 {h.events} 次查实学得,前推检验 Brier 技巧 {h.skill:.2f}",
                f"learnt from {h.events} verified enterprise-weeks, forward Brier skill {h.skill:.2f}",
            )
            if h.learnt
            else Text("按规则估计,未经校准", "estimated by rules, not calibrated")
        )
        return Finding(
            entity_id=city.entity_id(row),
            day=city.context.as_of,
            rule="coming_violation",
            verdict="cannot_tell" if dark else "suspect",
            score=min(p * factor, 1.0),
            reasons=(
                Text(
                    f"按目前的核查频次,未来 {self.config.horizon_days} 日内查实违规的概率 {percent(p)}"
                    + (f",为平均 {percent(h.base)} 的 {p / h.base:.0f} 倍" if h.base > 0 else "")
                    + f"({how.zh})",
                    f"at the present rate of visits a violation is verified within {self.config.horizon_days} days "
                    f"with probability {percent(p)}"
                    + (f", {p / h.base:.0f} × the average of {percent(h.base)}" if h.base > 0 else "")
                    + f" ({how.en})",
                ),
                Text(
                    "主要依据:" + "、".join(w.zh for w in named),
                    "mainly because of: " + ", ".join(w.en for w in named),
                ),
            ),
            counter=or_nothing_found(
                gap_words(gaps), Text("校准、样本量、日历", "calibration, number of visits, calendar")
            ),
            evidence=numbers(
                p=p,
                base_rate=h.base,
                events=h.events,
                brier_skill=h.skill,
                learnt=str(h.learnt).lower(),
                **{name: float(v) for name, v in zip(FEATURES, x, strict=True)},
            ),
            context=gaps,
        )


def fit(past: History, as_of: int, config: ComingConfig) -> Hazard:
    """Learn the hazard from weekly cut-offs, calibrate it on forward folds; rules where that is not possible.

    An enterprise-week counts where the enterprise had any event before it. The label is a verified visit in the days
    after the cut-off, all of them over at `as_of`.
    """
    rows = past.rows
    weeks = [as_of - config.horizon_days - 7 * k for k in range(config.weeks)][::-1]
    xs, ys = [], []
    for day in weeks:
        x = past.features(rows, day)
        at_risk = (x > 0).any(axis=1)
        xs.append(x[at_risk])
        ys.append(past.verified_after(rows[at_risk], day, config.horizon_days))
    now = past.features(rows, as_of)
    events = int(sum(y.sum() for y in ys))
    count = sum(len(y) for y in ys)
    base = events / count if count else 0.0
    cold = COLD_BIAS + now @ np.array(COLD_WEIGHTS)
    rules = Hazard(cold, _sigmoid(cold), base, events, float("nan"), np.array(COLD_WEIGHTS), False)
    if events < config.min_events or count - events < config.min_events:
        return rules
    ahead_p, ahead_y, ahead_base = [], [], []
    for k in range(len(weeks) - config.folds, len(weeks)):
        # what is known at the cut-off of week k: labels of weeks that are over by then
        known = [j for j in range(k) if weeks[j] + config.horizon_days <= weeks[k]]
        x, y = np.concatenate([xs[j] for j in known]), np.concatenate([ys[j] for j in known])
        if y.sum() < 10 or not len(xs[k]):
            continue
        ahead_p.append(_predict(x, y, xs[k], config.ridge)[0])
        ahead_y.append(ys[k])
        ahead_base.append(np.full(len(ys[k]), y.mean()))
    if not ahead_p:
        return rules
    p, y, b = np.concatenate(ahead_p), np.concatenate(ahead_y).astype(float), np.concatenate(ahead_base)
    reference = float(((b - y) ** 2).sum())
    skill = 1 - float(((p - y) ** 2).sum()) / reference if reference > 0 else 0.0
    if skill <= 0:
        return rules
    raw, weights = _predict(np.concatenate(xs), np.concatenate(ys), now, config.ridge)
    return Hazard(np.log(raw / (1 - raw)), calibrated(p, y, raw), base, events, skill, weights, True)


def _predict(x: Array, y: Bools, to: Array, ridge: float) -> tuple[Array, Array]:
    """Probabilities of `to` by a logistic hazard with coefficients that are not negative, and those coefficients."""
    learner = Logistic(ridge)
    state = learner.fit(FEATURES, x, y, np.ones(len(y)))
    weights = json.loads(state)["coefficients"]
    p = np.clip(learner.predict(state, FEATURES, to), 1e-6, 1 - 1e-6)
    return p, np.array([weights[f] for f in FEATURES])


def calibrated(p: Array, y: Array, new: Array) -> Array:
    """Isotonic calibration by pooling of adjacent violators; each block takes the mean as one prior visit.

    Args:
        p, y: forward predictions and what became of them; `new`: predictions to calibrate.
    """
    order = np.argsort(p, kind="stable")
    blocks: list[list[float]] = []
    for value, hit in zip(p[order], y[order], strict=True):
        blocks.append([float(hit), 1.0, float(value)])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] >= blocks[-1][0] / blocks[-1][1]:
            last = blocks.pop()
            blocks[-1] = [blocks[-1][0] + last[0], blocks[-1][1] + last[1], last[2]]
    prior = float(y.mean())
    value = np.maximum.accumulate([(h + prior) / (n + 1) for h, n, _ in blocks])
    ends = np.array([e for _, _, e in blocks])
    return np.asarray(value[np.minimum(np.searchsorted(ends, new), len(value) - 1)], dtype=np.float64)


def _sigmoid(z: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * z)))
