"""经营活跃度: enterprises that stopped, or shrank sharply, while the register calls them active."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dianhuan_activity._index import MIN_PAST, MIN_RECENT, RECENT_DAYS, Activity, activity
from dianhuan_sdk import (
    Block,
    ConfigError,
    Exhibit,
    Finding,
    ModelCard,
    ModelContext,
    ModelSpec,
    PluginContext,
    Text,
)


class ActivityConfig(BaseModel):
    """Parameters of the model; all of them judgements."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    min_kw: float = Field(default=3.0, ge=0, description="past mean load of those that are looked at")
    ceased: float = Field(default=10.0, ge=0, le=100, description="index below which activity has ceased")
    declined: float = Field(default=40.0, ge=0, le=100, description="index below which it has sharply declined")


GAPS = {
    "calendar_provisional": (0.9, Text("工作日历为暂定", "the work calendar is provisional")),
    "spring_festival": (0.7, Text("窗口含春节前后", "the window touches the Spring Festival weeks")),
    "shared_meter": (0.6, Text("电表为多户共用,负荷可能属于他人", "the meter also feeds others")),
    "pv": (0.6, Text("有光伏,净电量低不等于停业", "has PV: little net energy is not a standstill")),
    "several_accounts": (0.9, Text("有多个户号,可能移至他户用电", "has several accounts: load may have moved")),
    "no_peers": (
        0.9,
        Text("同业不足,未扣除行业共同变化", "too few peers: the industry's move is not taken off"),
    ),
}


class BusinessActivity:
    """The model: rules `ceased` and `sharp_decline`."""

    def __init__(self, config: ActivityConfig) -> None:
        self.config = config

    def score(self, block: Block, context: ModelContext) -> Sequence[Finding]:
        """Findings about the last 28 days, strongest first. Without data nothing is claimed of anybody."""
        if not block.entities.num_rows:
            return []
        seen, table = activity(block, context), block.entities.to_pydict()
        closed = np.array(
            [isinstance(d, date) and d <= context.as_of for d in _column(table, "closed_on", len(seen.index))]
        )
        with np.errstate(invalid="ignore"):
            sizeable = ~closed & (seen.past_kw >= self.config.min_kw)
            low = sizeable & (seen.index < self.config.declined)
        # it went dark: used power before, and now there is too little data to say anything
        dark = sizeable & (seen.known_past >= MIN_PAST) & (seen.known_recent > 0) & (seen.known_recent < MIN_RECENT)
        found = [self._low(block, context, seen, table, int(i)) for i in np.flatnonzero(low)]
        found += [self._dark(context, seen, table, int(i)) for i in np.flatnonzero(dark & ~low)]
        return sorted(found, key=lambda f: (-f.score, f.entity_id))

    def _gaps(self, context: ModelContext, seen: Activity, table: dict[str, list[object]], i: int) -> tuple[str, ...]:
        n = len(seen.index)
        accounts = _column(table, "accounts", n)[i]
        holds = {
            "calendar_provisional": any(c.provisional for c in context.calendar),
            "spring_festival": any(c.spring_offset is not None for c in context.calendar),
            "shared_meter": bool(_column(table, "shared_meter", n)[i]),
            "pv": bool(_column(table, "pv", n)[i]),
            "several_accounts": isinstance(accounts, int) and accounts > 1,
            "no_peers": bool(seen.peers[i] == 1.0),
        }
        return tuple(code for code, true in holds.items() if true)

    def _low(
        self, block: Block, context: ModelContext, seen: Activity, table: dict[str, list[object]], i: int
    ) -> Finding:
        cfg, index = self.config, float(seen.index[i])
        ceased = index < cfg.ceased
        gaps = self._gaps(context, seen, table, i)
        factor = float(np.prod([GAPS[g][0] for g in gaps]))
        doubtful = "pv" in gaps or "shared_meter" in gaps
        counter = [GAPS[g][1] for g in gaps]
        if doubtful:
            counter.insert(0, Text("不能判定:净电量不代表该企业用电", "cannot tell: net load is not its use"))
        if not counter:
            counter.append(
                Text(
                    "未见反证(已查:光伏、共用电表、多户号、行业共同变化、春节)",
                    "no counter-evidence found; looked for PV, shared meter, other accounts, the industry, holidays",
                )
            )
        what = Text("已基本停止用电", "hardly uses power") if ceased else Text("用电大幅下降", "uses far less power")
        return Finding(
            entity_id=str(table["entity_id"][i]),
            day=context.as_of,
            rule="ceased" if ceased else "sharp_decline",
            verdict="cannot_tell" if doubtful else "suspect",
            score=float(np.clip(0.5 + 0.45 * (1 - index / cfg.declined), 0, 1)) * factor,
            reasons=(
                Text(
                    f"登记为在营,近 {RECENT_DAYS} 日{what.zh}:{seen.now_kw[i]:.1f} kW,此前 {seen.past_kw[i]:.1f} kW,"
                    f"活跃度指数 {index:.0f}/100",
                    f"registered as active, yet it {what.en}: {seen.now_kw[i]:.1f} kW over {RECENT_DAYS} days, "
                    f"{seen.past_kw[i]:.1f} kW before; activity index {index:.0f} of 100",
                ),
                Text(
                    f"近期工作日中 {100 * seen.active_days[i]:.0f} % 有经营用电;同业水平为此前的 "
                    f"{100 * seen.peers[i]:.0f} %",
                    f"{100 * seen.active_days[i]:.0f} % of its recent workdays were active; its industry stands at "
                    f"{100 * seen.peers[i]:.0f} % of before",
                ),
            ),
            counter=tuple(counter),
            evidence={
                "index": round(index, 1),
                "level": round(float(seen.level[i]), 4),
                "peer_level": round(float(seen.peers[i]), 4),
                "active_days": round(float(seen.active_days[i]), 4),
                "now_kw": round(float(seen.now_kw[i]), 2),
                "past_kw": round(float(seen.past_kw[i]), 2),
                "valid_recent_days": int(seen.known_recent[i]),
                "valid_past_days": int(seen.known_past[i]),
            },
            exhibit=Exhibit(tuple(block.days[-RECENT_DAYS:]), (0, 96)),
            context=gaps,
        )

    def _dark(self, context: ModelContext, seen: Activity, table: dict[str, list[object]], i: int) -> Finding:
        known = int(seen.known_recent[i])
        return Finding(
            entity_id=str(table["entity_id"][i]),
            day=context.as_of,
            rule="ceased",
            verdict="cannot_tell",
            score=0.2,
            reasons=(
                Text(
                    f"此前平均 {seen.past_kw[i]:.1f} kW,近 {RECENT_DAYS} 日多无数据",
                    f"{seen.past_kw[i]:.1f} kW before, hardly any data in the last {RECENT_DAYS} days",
                ),
            ),
            counter=(
                Text(
                    f"不能判定:近期有效日仅 {known} 天(至少 {MIN_RECENT}),缺数不等于停业",
                    f"cannot tell: {known} valid days lately ({MIN_RECENT} needed); missing data is no standstill",
                ),
            ),
            evidence={"valid_recent_days": known, "past_kw": round(float(seen.past_kw[i]), 2)},
            context=(*self._gaps(context, seen, table, i), "missing_data"),
        )


def _column(table: dict[str, list[object]], name: str, size: int) -> list[object]:
    return table.get(name) or [None] * size


def _make(context: PluginContext) -> BusinessActivity:
    if not isinstance(context.config, ActivityConfig):
        raise ConfigError(
            f"configuration of type {type(context.config).__name__}",
            expected="an instance of ActivityConfig",
            hint="the host builds one context per model from ModelSpec.config_model",
        )
    return BusinessActivity(context.config)


SPEC = ModelSpec(
    id="b01-business-activity",
    version="0.1.0",
    zh="经营活跃度",
    en="Business activity",
    tier="daily",
    window_days=84,
    features=("points", "kwh"),
    reads=(),
    gates=("G1", "G2", "G3", "G5"),
    alarm_budget=0.001,
    config_model=ActivityConfig,
    factory=_make,
    card=ModelCard(
        purpose=Text(
            "以用电衡量经营活跃度:登记在营而已停业或大幅收缩的企业,供信贷、税务、信用核对",
            "measures business activity by electricity: enterprises registered as active that stopped or shrank, "
            "for credit, tax and registration work",
        ),
        inputs=Text("84 天日电量、行业、日历", "daily energy of 84 days, industry, calendar"),
        algorithm=Text(
            "近 28 日与此前同类日的中位负荷之比,扣除同业共同变化,乘以活跃工作日占比的平方根,得 0–100 指数",
            "recent over past median load of like days, net of the industry's move, times the root of the share of "
            "active workdays: an index of 0 to 100",
        ),
        source="the project's own; electricity activity indices are published by grid companies without their formula",
        false_positives=(
            Text("季节性行业的淡季", "the slack season of seasonal trades"),
            Text("搬迁至未关联户号", "a move to an account that is not linked"),
            Text("新投运未登记光伏", "new PV that is not registered"),
        ),
        limits=(
            Text("只与自身此前 56 天比,无去年同期", "compares with the 56 days before; not with last year's season"),
            Text("用电少的行业(咨询、贸易)不反映", "says little about trades that use hardly any power"),
            Text("有光伏或共用电表的只给“不能判定”", "with PV or a shared meter it cannot tell"),
            Text("本指数不得作为唯一授信依据", "must not be the sole ground of a decision on credit"),
        ),
    ),
)
