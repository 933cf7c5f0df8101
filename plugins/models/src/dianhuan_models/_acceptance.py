"""未验先投: production load of a project that was approved but has not passed environmental acceptance.

Law: 建设项目环境保护管理条例 (State Council order 682), article 19; commissioning may last 3, at most 12 months by
国环规环评〔2017〕4 号, article 12, so a declared commissioning period (调试期) silences the rule.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dianhuan_models._city import City
from dianhuan_models._peers import Peers
from dianhuan_models._stats import median
from dianhuan_models._words import gap_words, numbers, or_nothing_found, percent
from dianhuan_sdk import Exhibit, Finding, Text


class AcceptanceConfig(BaseModel):
    """Parameters of the rule `load_before_acceptance`; all of them judgements."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    load_share: float = Field(default=0.15, gt=0, le=1, description="production: mean kW over contract kVA")
    peer_share: float = Field(default=0.5, gt=0, description="over the peers' median kW, where capacity is unknown")
    min_kw: float = Field(default=5.0, ge=0, description="and at least this mean load")
    min_days: int = Field(default=10, ge=1, description="days of production load in the window")
    recent: int = Field(default=3, ge=1, description="of them among the last five days")
    min_share: float = Field(default=0.6, ge=0, le=1, description="of them among the valid workdays since approval")
    threshold: float = Field(default=0.5, ge=0, le=1, description="least score of a finding")


def findings(city: City, config: AcceptanceConfig) -> list[Finding]:
    """Findings of the rule; none where the acceptance register is not loaded.

    An enterprise that has any accepted project is left out: the load of an extension cannot be told from that of
    the old plant at the grid meter.
    """
    table = city.context.tables.get("acceptance")
    if table is None or not table.num_rows or not city.size:
        return []
    as_of = np.datetime64(city.context.as_of)
    approved, accepted, trial = (
        np.asarray(table.column(c).combine_chunks().to_numpy(zero_copy_only=False), "datetime64[D]")
        for c in ("approved_on", "accepted_on", "trial_until")
    )
    owner = city.rows_of(table.column("entity_id"))
    done = np.unique(owner[(owner >= 0) & (accepted <= as_of)])
    trying = np.unique(owner[(owner >= 0) & (trial >= as_of)])
    open_ = (owner >= 0) & (approved <= as_of) & ~(accepted <= as_of)
    open_ &= ~np.isin(owner, done) & ~np.isin(owner, trying)
    rows = np.unique(owner[open_])
    if not len(rows):
        return []
    since = np.full(city.size, np.datetime64("1900-01-01"), dtype="datetime64[D]")
    latest = np.fmax(approved, trial)[open_]
    np.maximum.at(since, owner[open_], latest)
    no_trial = np.isin(rows, owner[open_ & ~np.isnat(trial)], invert=True)

    after = np.array(city.days, dtype="datetime64[D]")[None, :] > since[rows][:, None]
    usable = city.valid[rows] & after
    load = np.where(usable, city.hourly[rows], np.float32(np.nan))
    kva = city.number("contract_kva")[rows]
    whole = median(np.where(city.valid[:, -14:], city.hourly[:, -14:], np.float32(np.nan)))
    peers = Peers(city).place(whole, rows)
    floor = np.where(kva > 0, config.load_share * kva, config.peer_share * peers.middle)
    with np.errstate(invalid="ignore"):
        producing = load >= np.fmax(floor, config.min_kw)[:, None]
    producing[np.isnan(floor)] = False
    work = usable & city.work
    of_workdays = (producing & work).sum(axis=1) / np.maximum(work.sum(axis=1), 1)
    count, recent = producing.sum(axis=1), producing[:, -5:].sum(axis=1)
    blind = usable[:, -5:].sum(axis=1) < config.recent
    keep = (count >= config.min_days) & ((recent >= config.recent) | blind) & (of_workdays >= config.min_share)

    found = []
    for i in np.flatnonzero(keep):
        row = int(rows[i])
        factor, gaps = city.gaps(row, permit=False)
        size = float(np.nanmedian(load[i][producing[i]]))
        share = size / kva[i] if kva[i] > 0 else float("nan")
        excess = float(size / max(floor[i], config.min_kw))
        score = (0.4 + 0.3 * min(1.0, count[i] / 20) + 0.3 * min(1.0, (excess - 1) / 2)) * factor
        if no_trial[i]:
            gaps = (*gaps, "trial_unknown")
            score *= 0.85
        if score < config.threshold:
            continue
        counter = gap_words(gaps)
        if blind[i]:
            counter.insert(
                0, Text("最近五日多无有效数据,不知是否仍在生产", "hardly any data in the last five days: cannot tell")
            )
        if city.text("permit_class", row) in {"key", "simplified", "registered"}:
            counter.append(
                Text(
                    "已有排污许可或登记,可能处在 3–12 个月的验收期限内",
                    "holds a permit or registration: may be within the 3–12 months allowed for acceptance",
                )
            )
        against = (
            Text(f",为合同容量的 {percent(share)}", f", {percent(share)} of its contract capacity")
            if kva[i] > 0
            else Text(
                f",为同业中位数的 {percent(size / peers.middle[i])}",
                f", {percent(size / peers.middle[i])} of its peers' median",
            )
        )
        found.append(
            Finding(
                entity_id=city.entity_id(row),
                day=city.context.as_of,
                rule="load_before_acceptance",
                verdict="cannot_tell" if blind[i] else "suspect",
                score=score,
                reasons=(
                    Text(
                        f"环评批复后未见验收,{count[i]} 日出现生产负荷:均值 {size:.0f} kW{against.zh}",
                        f"approved, not accepted, yet production load on {count[i]} days: "
                        f"mean {size:.0f} kW{against.en}",
                    ),
                    Text(
                        f"最近五日中 {recent[i]} 日生产,占自 {since[row]} 起有效工作日的 {percent(of_workdays[i])}",
                        f"{recent[i]} of the last five days; {percent(of_workdays[i])} of the valid workdays "
                        f"since {since[row]}",
                    ),
                ),
                counter=or_nothing_found(
                    counter, Text("调试期、已验收项目、许可", "commissioning period, accepted projects, permit")
                ),
                evidence=numbers(
                    mean_kw=size,
                    contract_kva=float(kva[i]),
                    peer_median_kw=float(peers.middle[i]),
                    production_days=int(count[i]),
                    valid_days=int(usable[i].sum()),
                    workday_share=float(of_workdays[i]),
                    approved_or_trial_end=str(since[row]),
                ),
                exhibit=Exhibit(city.picked(producing[i])[-5:], (0, 96)),
                context=gaps,
            )
        )
    return found
