"""From notice to dispatch: what else speaks for an event beside the load that raised it.

Points are judgements; they decide together, so that one weak sign never sends an officer. Signs: the same station's
pollutants rise as untreated gas or water would; no acceptable answer of the plant in the time allowed; much longer
persistence; another circuit of the plant that says the same; unexplained notices before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dianhuan_sdk import StateField, StreamContext, StreamState, StreamWindow, Text
from dianhuan_sdk.features import BoolArray

Columns = dict[str, np.ndarray[Any, Any]]
SMOOTH_MINUTES = 15.0
SPREAD_FLOOR = 0.1
LEARN_MINUTES = 720.0

FACTOR_FIELDS: tuple[StateField, ...] = (
    StateField("usual", "f4", np.nan),
    StateField("spread", "f4", SPREAD_FLOOR),
    StateField("seen", "f4", 0.0),
    StateField("rise", "f4", 0.0),
    StateField("heard", "f4", 0.0),
)
"""Columns of the state table `factor`: usual log concentration while treated, its spread, smoothed excess."""


class DispatchConfig(BaseModel):
    """What raises a notice to a dispatch; points are judgements, tuned on emulator seeds that are not reported."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    soon_minutes: float = Field(default=90.0, ge=0, description="most plants that mean well have answered by then")
    answer_minutes: float = Field(default=1440.0, ge=0, description="time that a plant has to answer a notice")
    long_minutes: float = Field(default=120.0, ge=0, description="persistence that counts as long")
    factor_rise: float = Field(default=0.3, gt=0, description="excess of log concentration that counts, e.g. .3 = 35 %")
    factor_sd: float = Field(default=3.0, gt=0, description="the same in own spreads")
    points_factor: float = 1.0
    points_factor_calm: float = -1.5
    points_soon: float = 1.0
    points_unanswered: float = 1.0
    points_refused: float = 2.0
    points_long: float = 0.5
    points_second: float = 0.5
    points_repeat: float = 0.5
    points_accepted: float = -2.5
    threshold: float = Field(default=2.0, description="points that send an officer")

    @property
    def wait_minutes(self) -> float:
        """How long after a notice it may still be raised, its event over or not."""
        return self.answer_minutes + 60


RISEN, CALM = 1, 2
LINK_FIELDS: tuple[StateField, ...] = (StateField("told", "i1", 0), StateField("told_percent", "f4", 0.0))
"""Columns of the state table `link`: what the pollutants said during the present event."""


@dataclass(frozen=True)
class Case:
    """One event that may be raised.

    Args:
        event_id: its id, under which answers come.
        minutes: since it began.
        opened_at: when the plant was told, seconds.
        second_circuit: another circuit of the plant says the same.
        repeats: tellings of the last weeks, this one included.
        told: 0, `RISEN` or `CALM`.
        told_percent: rise of the pollutant.
        base: points that the rule itself brings, e.g. an order in force.
    """

    event_id: str
    minutes: float
    opened_at: int
    second_circuit: bool
    repeats: float
    told: int = 0
    told_percent: float = 0.0
    base: float = 0.0


@dataclass(frozen=True)
class Support:
    """What speaks for and against an event."""

    points: float
    reasons: tuple[Text, ...]
    counter: tuple[Text, ...]
    evidence: dict[str, Any]


def follow_factors(
    config: DispatchConfig,
    state: StreamState,
    window: StreamWindow,
    column: int,
    treated: BoolArray,
    untreated: BoolArray,
    waiting: BoolArray,
    minutes: float,
) -> None:
    """Learn each pollutant's usual level while its gas or water is treated, and what it says while it is not.

    Args:
        config: what counts as a rise.
        state: with the tables `factor` and `link`.
        window, column: the sample.
        treated: shape (links,): production and treatment both run and nothing is suspected.
        untreated: shape (links,): an off or under-load is going on.
        waiting: shape (links,): an event is over but not answered: what was said is kept.
        minutes: length of the sample.
    """
    f, t, link = state["factor"], state["link"], window.topology.factor_link
    t["told"][~untreated & ~waiting] = 0
    if not len(link):
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.log(window.factors[:, column])
    here = np.isfinite(level)
    first = here & treated[link] & np.isnan(f["usual"])
    f["usual"][first] = level[first]
    learn = here & treated[link]
    rate = np.maximum(minutes / (f["seen"] + 60), minutes / (5 * 1440)).astype(np.float32)
    off_by = np.where(here, level - f["usual"], 0).astype(np.float32)
    off_by[np.isnan(off_by)] = 0
    f["usual"][learn] += (rate * np.clip(off_by, -3 * f["spread"], 3 * f["spread"]))[learn]
    f["spread"][learn] += (rate * (np.minimum(1.25 * np.abs(off_by), 4 * f["spread"]) - f["spread"]))[learn]
    np.maximum(f["spread"], SPREAD_FLOOR, out=f["spread"])
    f["seen"][learn] += minutes
    f["rise"][~untreated[link]] = 0.0
    f["heard"][~untreated[link]] = 0.0
    now = here & untreated[link] & (f["seen"] >= LEARN_MINUTES)
    f["rise"][now] += (min(minutes / SMOOTH_MINUTES, 1.0) * (off_by - f["rise"]))[now]
    f["heard"][now] += minutes
    risen = (f["heard"] >= SMOOTH_MINUTES) & (
        f["rise"] > np.maximum(config.factor_rise, config.factor_sd * f["spread"])
    )
    calm = (f["heard"] >= 2 * SMOOTH_MINUTES) & (f["rise"] < config.factor_rise / 2)
    quiet = link[calm]
    t["told"][quiet[t["told"][quiet] == 0]] = CALM
    t["told_percent"][link[risen]] = (np.expm1(f["rise"]) * 100)[risen]
    t["told"][link[risen]] = RISEN


def support(config: DispatchConfig, context: StreamContext, case: Case, second: int) -> Support:
    """Points for an event with the words behind them."""
    points = case.base
    reasons: list[Text] = []
    counter: list[Text] = []
    evidence: dict[str, Any] = {}
    answer = context.answers.get(case.event_id)
    if case.told == RISEN:
        points += config.points_factor
        evidence["factor_rise_percent"] = round(case.told_percent, 1)
        percent = f"{case.told_percent:.0f} %"
        reasons.append(
            Text(
                f"同站污染因子比有治理时高 {percent}",
                f"a pollutant of the same station is {percent} above its level with treatment",
            )
        )
    elif case.told == CALM:
        points += config.points_factor_calm
        counter.append(Text("同站污染因子没有变化", "the pollutants of the same station have not moved"))
    waited = (second - case.opened_at) / 60
    if answer is not None and answer.accepted:
        if answer.kind == "fault" and case.told == RISEN:
            points += config.points_soon
            reasons.append(
                Text("企业称仪表故障,但污染因子同时升高", "the plant says meter fault, but the pollutant rose with it")
            )
        else:
            points += config.points_accepted
            counter.append(Text("企业的说明已被认可", "the plant's answer was accepted"))
    elif answer is not None and answer.accepted is False:
        points += config.points_refused
        reasons.append(Text("企业的说明未被认可", "the plant's answer was not accepted"))
    elif waited >= config.soon_minutes:
        points += config.points_soon + config.points_unanswered * (waited >= config.answer_minutes)
        minutes = f"{waited:.0f}"
        reasons.append(
            Text(f"通知后 {minutes} 分钟没有可接受的说明", f"no acceptable answer {minutes} minutes after the notice")
        )
    if case.minutes >= config.long_minutes:
        points += config.points_long
        lasting = f"{case.minutes:.0f}"
        reasons.append(Text(f"已持续 {lasting} 分钟", f"it has gone on for {lasting} minutes"))
    if case.second_circuit:
        points += config.points_second
        reasons.append(Text("同一企业另一回路同时异常", "another circuit of the plant says the same"))
    before = min(round(case.repeats - 1), 3)
    if before >= 1:
        points += config.points_repeat * before
        reasons.append(Text(f"近 30 天内已有 {before} 次同类通知", f"{before} such notices within 30 days before"))
    evidence["points"] = round(points, 2)
    return Support(points, tuple(reasons), tuple(counter), evidence)
