"""M13 难以达标预警: an order of tomorrow, or a month's limit, about to be missed. Told to the plant first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import erfc, sqrt

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dianhuan_models._city import City
from dianhuan_models._dayahead import DayAhead, day_ahead
from dianhuan_models._expected import day_groups, log_energy
from dianhuan_models._orders import Order, cutting_orders, ordered_days
from dianhuan_models._stats import Array, Bools, Rows
from dianhuan_models._words import gap_words, in_order, numbers, or_nothing_found, percent
from dianhuan_sdk import Block, Exhibit, Finding, ModelContext, Text


class AtRiskConfig(BaseModel):
    """Parameters of M13; the 14 days of history and the quantiles are the recipe's, the rest judgement."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    min_misses: int = Field(default=10, ge=5, description="backtested days that make a distribution")
    min_responses: int = Field(default=10, ge=3, description="orders of the city that stand in for an own response")
    stop_share: float = Field(
        default=0.1, gt=0, lt=1, description="of normal load that a stop leaves for lamps and guards"
    )
    likely: float = Field(default=0.5, gt=0, lt=1, description="least probability of a finding about tomorrow")
    quota_likely: float = Field(default=0.8, gt=0, lt=1, description="least probability of a finding about the month")
    quota_days: int = Field(default=5, ge=2, description="ordered days of the month that must be known")


@dataclass(frozen=True)
class _Response:
    """How an enterprise answered an order: log load against what was due, as part of the ordered log change."""

    row: int
    order_id: str
    part: float
    change: float
    days: int


class AtRisk:
    """The model: rules `order_at_risk` and `month_limit_at_risk`, about orders to stop or to limit."""

    def __init__(self, config: AtRiskConfig) -> None:
        self.config = config

    def score(self, block: Block, context: ModelContext) -> Sequence[Finding]:
        """Findings about tomorrow and this month, most probable first."""
        city = City(block, context)
        orders = cutting_orders(city)
        tomorrow = context.as_of + timedelta(days=1)
        due = [o for o in orders if o.holds(tomorrow)]
        if not due:
            return []
        rows = np.unique([o.row for o in orders])
        place = {int(r): i for i, r in enumerate(rows)}
        logs = log_energy(city, rows)
        groups = day_groups(city)
        ordered = ordered_days(orders, city)[rows]
        ahead = day_ahead(logs, city.valid[rows] & ~ordered, groups, _group(tomorrow))
        responses = self._responses(city, orders, place, logs, groups, ahead, ordered)
        found = []
        for order in due:
            i = place[order.row]
            mine = [r for r in responses if r.row == order.row]
            finding = self._tomorrow(city, order, ahead, i, mine, responses)
            month = self._month(city, order, ahead, i, logs[i], mine)
            found += [f for f in (finding, month) if f is not None]
        return in_order(found)

    def _allowed(self, order: Order) -> float:
        return max(order.allowed, self.config.stop_share)

    def _responses(
        self,
        city: City,
        orders: list[Order],
        place: dict[int, int],
        logs: Array,
        groups: Rows,
        ahead: DayAhead,
        ordered: Bools,
    ) -> list[_Response]:
        found = []
        weekdays = np.where(~ordered & city.valid[list(place)], logs, np.nan)
        for order in orders:
            i = place[order.row]
            days = order.days(city.days) & (groups >= 0) & ~np.isnan(logs[i])
            changes = []
            for group in np.unique(groups[days]):
                free = weekdays[i, groups == group]
                if (~np.isnan(free)).sum() >= 3:
                    changes += (logs[i, days & (groups == group)] - np.nanmedian(free)).tolist()
            if changes and self._allowed(order) < 1:
                change = float(np.median(changes))
                found.append(
                    _Response(order.row, order.order_id, change / np.log(self._allowed(order)), change, len(changes))
                )
        return found

    def _tomorrow(
        self, city: City, order: Order, ahead: DayAhead, i: int, mine: list[_Response], every: list[_Response]
    ) -> Finding | None:
        cfg = self.config
        misses = ahead.misses[i][~np.isnan(ahead.misses[i])]
        target = np.log(self._allowed(order))
        current = [r for r in mine if r.order_id == order.order_id]
        if current:
            changes, basis = np.array([current[0].change]), "current"
        elif mine:
            changes, basis = np.array([r.part for r in mine]) * target, "own"
        else:
            changes, basis = np.array([r.part for r in every]) * target, "city"
        factor, gaps = _gaps(city, order.row)
        if basis == "city":
            factor, gaps = factor * 0.7, (*gaps, "response_unknown")
        blind = len(misses) < cfg.min_misses or np.isnan(ahead.point[i])
        if blind or (basis == "city" and len(changes) < cfg.min_responses):
            why = Text(
                f"不能判定:可回测日 {len(misses)} 天(至少 {cfg.min_misses}),可参照的响应 {len(changes)} 次",
                f"cannot tell: {len(misses)} backtested days ({cfg.min_misses} needed), {len(changes)} responses to "
                "orders to go by",
            )
            return self._finding(city, order, "order_at_risk", "cannot_tell", 0.2, (_due(order),), (why,), gaps, {})
        # the drift is already in the change where the order runs
        centre = ahead.normal[i] if basis == "current" else ahead.point[i]
        loads = centre + changes[:, None] + misses[None, :] - ahead.normal[i]
        p = float((1 + (loads > target).sum()) / (loads.size + 2))
        if p < cfg.likely:
            return None
        middle = float(np.exp(np.median(loads)))
        low, high = (float(np.exp(v)) for v in np.quantile(loads, (0.05, 0.95)))
        words = {
            "current": Text("按本指令执行以来的水平", "at the level since this order began"),
            "own": Text(f"按自身 {len(mine)} 次以往指令的响应", f"by its own response to {len(mine)} orders before"),
            "city": Text(f"按全市 {len(changes)} 次指令的响应", f"by the city's response to {len(changes)} orders"),
        }[basis]
        reasons = (
            _due(order),
            Text(
                f"预计明日用电为正常水平的 {percent(middle)}(90 % 区间 {percent(low)}–{percent(high)}),"
                f"允许 {percent(self._allowed(order))},超出概率 {percent(p)};{words.zh}",
                f"tomorrow's load is expected at {percent(middle)} of normal (90 %: {percent(low)}–{percent(high)}), "
                f"allowed {percent(self._allowed(order))}, exceeded with probability {percent(p)}; {words.en}",
            ),
        )
        evidence = numbers(
            p_exceed=p,
            expected_share=middle,
            q05_share=low,
            q95_share=high,
            allowed_share=self._allowed(order),
            basis=basis,
            responses=len(changes),
            backtested_days=len(misses),
            order_id=order.order_id,
        )
        counter = or_nothing_found(
            gap_words(gaps), Text("以往响应、缺数、日历", "earlier responses, missing data, calendar")
        )
        return self._finding(city, order, "order_at_risk", "suspect", p * factor, reasons, counter, gaps, evidence)

    def _month(
        self, city: City, order: Order, ahead: DayAhead, i: int, logs: Array, mine: list[_Response]
    ) -> Finding | None:
        cfg, as_of = self.config, city.context.as_of
        end = (as_of.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
        rest = [as_of + timedelta(days=d) for d in range(1, (end - as_of).days + 1)]
        rest = [d for d in rest if order.holds(d)]
        in_month = np.array([d.year == as_of.year and d.month == as_of.month for d in city.days])
        past = in_month & order.days(city.days)
        done = past & ~np.isnan(logs) & (day_groups(city) >= 0)
        current = [r for r in mine if r.order_id == order.order_id]
        if order.kind != "limit" or not rest or done.sum() < cfg.quota_days or not current:
            return None
        misses = ahead.misses[i][~np.isnan(ahead.misses[i])]
        if len(misses) < cfg.min_misses or np.isnan(ahead.normal[i]):
            return None
        normal = float(np.exp(ahead.normal[i]))
        used = np.exp(logs[done]) / normal
        allowed = order.allowed * (int(done.sum()) + len(rest))
        spread = float(np.std(used, ddof=1))
        needed = used.sum() + used.mean() * len(rest)
        sd = spread * sqrt(len(rest) + len(rest) ** 2 / len(used))
        p = 0.5 * erfc((allowed - needed) / max(sd, 0.01) / sqrt(2))
        if p < cfg.quota_likely:
            return None
        factor, gaps = _gaps(city, order.row)
        if done.sum() < past.sum():
            gaps = tuple(dict.fromkeys((*gaps, "missing_data")))
        left = max(allowed - float(used.sum()), 0.0) / len(rest)
        reasons = (
            Text(
                f"本月指令内 {len(used)} 日平均为正常水平的 {percent(used.mean())},月末前允许 {percent(order.allowed)}",
                f"{len(used)} ordered days of this month averaged {percent(used.mean())} of normal; "
                f"{percent(order.allowed)} is allowed until its end",
            ),
            Text(
                f"照此月末超限概率 {percent(p)};余下 {len(rest)} 日须降至 {percent(left)} 方可达标",
                f"at this pace the month exceeds it with probability {percent(p)}; the remaining {len(rest)} days "
                f"would have to stay at {percent(left)}",
            ),
        )
        evidence = numbers(
            p_exceed=p,
            share_so_far=float(used.mean()),
            allowed_share=order.allowed,
            known_days=len(used),
            remaining_days=len(rest),
            share_left=left,
            order_id=order.order_id,
        )
        counter = or_nothing_found(gap_words(gaps), Text("缺数、日历、转供电", "missing data, calendar, shared meter"))
        return self._finding(
            city, order, "month_limit_at_risk", "suspect", p * factor, reasons, counter, gaps, evidence
        )

    def _finding(
        self,
        city: City,
        order: Order,
        rule: str,
        verdict: str,
        score: float,
        reasons: tuple[Text, ...],
        counter: tuple[Text, ...],
        gaps: tuple[str, ...],
        evidence: dict[str, object],
    ) -> Finding:
        return Finding(
            entity_id=city.entity_id(order.row),
            day=city.context.as_of,
            rule=rule,
            verdict="cannot_tell" if verdict == "cannot_tell" else "suspect",
            score=min(score, 1.0),
            reasons=reasons,
            counter=counter,
            evidence=evidence or numbers(order_id=order.order_id),
            exhibit=Exhibit(city.days[-14:], (0, 96)),
            context=gaps,
        )


def _gaps(city: City, row: int) -> tuple[float, tuple[str, ...]]:
    factor, gaps = city.gaps(row, permit=False)
    return (0.9 * factor, (*gaps, "tariff_changed")) if city.tariff_changed else (factor, gaps)


def _group(day: date) -> int:
    """Type of a day beyond the block: by weekday, as its calendar entry is not known here."""
    return {5: 1, 6: 2}.get(day.weekday(), 0)


def _due(order: Order) -> Text:
    return Text(
        f"指令 {order.order_id}({order.kind})明日生效,允许正常水平的 {percent(order.allowed)}",
        f"order {order.order_id} ({order.kind}) holds tomorrow: {percent(order.allowed)} of normal allowed",
    )
