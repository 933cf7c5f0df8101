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

from dianhuan_sdk import StateField, StreamContext, StreamWindow, Text, Topology
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
    """What raises a notice to a dispatch; points are judgements, checked on the simulator."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    answer_minutes: float = Field(default=60.0, ge=0, description="time that a plant has to answer a notice")
    long_minutes: float = Field(default=120.0, ge=0, description="persistence that counts as long")
    factor_rise: float = Field(default=0.3, gt=0, description="excess of log concentration that counts, e.g. .3 = 35 %")
    factor_sd: float = Field(default=3.0, gt=0, description="the same in own spreads")
    points_factor: float = 2.0
    points_factor_calm: float = -1.5
    points_unanswered: float = 1.0
    points_long: float = 0.5
    points_second: float = 0.5
    points_repeat: float = 0.5
    points_accepted: float = -3.0
    threshold: float = Field(default=2.0, description="points that send an officer")


@dataclass(frozen=True)
class Case:
    """One event that may be raised.

    Args:
        event_id: its id, under which answers come.
        link: row of its link, −1 where it is about something else.
        off_minutes: since it began.
        opened_at: when the plant was told, seconds.
        second_circuit: another circuit of the plant says the same.
        repeats: tellings of the last weeks, this one included.
        base: points that the rule itself brings, e.g. an order in force.
    """

    event_id: str
    link: int
    off_minutes: float
    opened_at: int
    second_circuit: bool
    repeats: float
    base: float = 0.0


@dataclass(frozen=True)
class Support:
    """What speaks for and against an event."""

    points: float
    reasons: tuple[Text, ...]
    counter: tuple[Text, ...]
    evidence: dict[str, Any]


def follow_factors(
    f: Columns, window: StreamWindow, column: int, treated: BoolArray, untreated: BoolArray, minutes: float
) -> None:
    """Learn each pollutant's usual level while its gas or water is treated, and its excess while it is not.

    Args:
        f: the state table `factor`.
        window, column: the sample.
        treated: shape (links,): production and treatment both run and nothing is suspected.
        untreated: shape (links,): an off or under-load is going on.
        minutes: length of the sample.
    """
    if not len(f["usual"]):
        return
    link = window.topology.factor_link
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.log(window.factors[:, column])
    here = np.isfinite(level)
    first = here & treated[link] & np.isnan(f["usual"])
    f["usual"][first] = level[first]
    learn = here & treated[link]
    rate = np.maximum(minutes / np.maximum(f["seen"] + minutes, minutes), minutes / (5 * 1440)).astype(np.float32)
    off_by = np.where(here, level - f["usual"], 0).astype(np.float32)
    off_by[np.isnan(off_by)] = 0
    f["usual"][learn] += (rate * np.clip(off_by, -3 * f["spread"], 3 * f["spread"]))[learn]
    f["spread"][learn] += (rate * (np.minimum(1.25 * np.abs(off_by), 4 * f["spread"]) - f["spread"]))[learn]
    np.maximum(f["spread"], SPREAD_FLOOR, out=f["spread"])
    f["seen"][learn] += minutes
    now = here & untreated[link] & ~np.isnan(f["usual"])
    f["rise"][now] += (min(minutes / SMOOTH_MINUTES, 1.0) * (off_by - f["rise"]))[now]
    f["heard"][now] += minutes
    f["rise"][~untreated[link]] = 0.0
    f["heard"][~untreated[link]] = 0.0


def support(
    config: DispatchConfig, f: Columns | None, topology: Topology, context: StreamContext, case: Case, second: int
) -> Support:
    """Points for an event with the words behind them."""
    points = case.base
    reasons: list[Text] = []
    counter: list[Text] = []
    evidence: dict[str, Any] = {}
    if f is not None:
        points += _factors(config, f, topology, case.link, reasons, counter, evidence)
    answer = context.answers.get(case.event_id)
    waited = (second - case.opened_at) / 60
    if answer is not None and answer.accepted:
        points += config.points_accepted
        counter.append(Text("企业的说明已被认可", "the plant's answer was accepted"))
    elif waited >= config.answer_minutes:
        points += config.points_unanswered
        reasons.append(
            Text(
                f"通知后 {waited:.0f} 分钟没有可接受的说明",
                f"no acceptable answer {waited:.0f} minutes after the notice",
            )
        )
    if case.off_minutes >= config.long_minutes:
        points += config.points_long
        lasting = f"{case.off_minutes:.0f}"
        reasons.append(Text(f"已持续 {lasting} 分钟", f"it has gone on for {lasting} minutes"))
    if case.second_circuit:
        points += config.points_second
        reasons.append(Text("同一企业另一回路同时异常", "another circuit of the plant says the same"))
    if case.repeats >= 1.5:
        points += config.points_repeat
        reasons.append(
            Text(
                f"近 30 天内已有 {case.repeats - 1:.0f} 次同类通知",
                f"{case.repeats - 1:.0f} such notices within 30 days before",
            )
        )
    evidence["points"] = round(points, 2)
    return Support(points, tuple(reasons), tuple(counter), evidence)


def _factors(
    config: DispatchConfig,
    f: Columns,
    topology: Topology,
    link: int,
    reasons: list[Text],
    counter: list[Text],
    evidence: dict[str, Any],
) -> float:
    """Points of the link's pollutants."""
    mine = topology.factor_link == link
    ready = mine & (f["seen"] >= LEARN_MINUTES) & (f["heard"] >= SMOOTH_MINUTES)
    if not ready.any():
        return 0.0
    risen = ready & (f["rise"] > config.factor_rise) & (f["rise"] > config.factor_sd * f["spread"])
    if risen.any():
        best = int(np.flatnonzero(risen)[np.argmax(f["rise"][risen])])
        percent = float(np.expm1(f["rise"][best]) * 100)
        code = topology.factors[best].code
        evidence["factor"], evidence["factor_rise_percent"] = code, round(percent, 1)
        reasons.append(
            Text(
                f"同站污染因子 {code} 比有治理时高 {percent:.0f} %",
                f"factor {code} of the same station is {percent:.0f} % above its level with treatment",
            )
        )
        return config.points_factor
    if f["heard"][ready].max() >= 2 * SMOOTH_MINUTES and f["rise"][ready].max() < config.factor_rise / 2:
        counter.append(Text("同站污染因子没有变化", "the factors of the same station have not moved"))
        return config.points_factor_calm
    return 0.0
