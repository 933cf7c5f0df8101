"""M6 隐蔽作坊: an industrial load shape, and a large one, behind a residential, agricultural or commercial tariff."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dianhuan_models._city import City
from dianhuan_models._peers import Peers, Placement
from dianhuan_models._prototypes import learn, posterior
from dianhuan_models._shapes import Shapes, shapes
from dianhuan_models._stats import mean
from dianhuan_models._words import gap_words, in_order, numbers, or_nothing_found, peers, percent
from dianhuan_sdk import Block, Exhibit, Finding, ModelContext, Text

CLASSES = {
    "residential": Text("居民", "residential"),
    "agricultural": Text("农业", "agricultural"),
    "commercial": Text("商业", "commercial"),
}


class HiddenConfig(BaseModel):
    """Parameters of M6: 64 prototypes, posterior ≥ 0.9 and level above the peers' 99 % are the recipe's."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    prototypes: int = Field(default=64, ge=2, description="centroids")
    sample: int = Field(default=4000, ge=100, description="entities per side that the prototypes are learnt from")
    min_side: int = Field(default=30, ge=1, description="entities per side without which nothing can be learnt")
    posterior: float = Field(default=0.9, gt=0, le=1, description="least industrial posterior of the shape")
    peer_rank: float = Field(default=0.99, ge=0, lt=1, description="part of the peers with less energy")
    min_valid_days: int = Field(default=10, ge=1, description="fewer valid days: nothing is said")
    min_kw: float = Field(default=5.0, ge=0, description="mean load")
    threshold: float = Field(default=0.5, ge=0, le=1, description="least score of a finding")


class HiddenWorkshop:
    """The model: one rule, `industrial_shape`."""

    def __init__(self, config: HiddenConfig) -> None:
        self.config = config

    def score(self, block: Block, context: ModelContext) -> Sequence[Finding]:
        """Findings about accounts on a tariff that is not industrial, strongest first."""
        cfg, city = self.config, City(block, context)
        if not city.size:
            return []
        enough = (city.valid & city.normal).sum(axis=1) >= cfg.min_valid_days
        level = np.where(enough, mean(city.over(city.hourly, city.normal)), np.nan)
        with np.errstate(invalid="ignore"):
            running = level >= cfg.min_kw
        industrial = city.where("tariff_class", lambda v: v == "industrial") & city.where(
            "industry", lambda v: v.startswith("C")
        )
        other = city.where("tariff_class", lambda v: v in CLASSES) & ~city.where(
            "industry", lambda v: v[:1] in "BC" and v != ""
        )
        suspects = np.flatnonzero(running & other)
        # a group must be large enough for the quantile to exist in it
        placed = Peers(city).place(np.where(other, level, np.nan), suspects, int(1 / (1 - cfg.peer_rank)))
        large = placed.rank >= cfg.peer_rank
        suspects, placed = suspects[large], placed.take(large)
        if not len(suspects):
            return []
        prototypes = learn(city, level, np.flatnonzero(running & industrial), np.flatnonzero(running & other), cfg)
        if prototypes is None:
            return []
        seen = shapes(city, suspects)
        belief = posterior(prototypes, seen.vectors)
        found = []
        for i in map(int, np.flatnonzero(belief >= cfg.posterior)):
            finding = self._finding(
                city, int(suspects[i]), i, float(level[suspects[i]]), float(belief[i]), placed, seen
            )
            if finding.score >= cfg.threshold:
                found.append(finding)
        return in_order(found)

    def _finding(
        self, city: City, row: int, i: int, level: float, belief: float, placed: Placement, seen: Shapes
    ) -> Finding:
        factor, gaps = city.gaps(row, permit=False)
        tariff = CLASSES[city.text("tariff_class", row)]
        excess = level / max(float(placed.middle[i]), 1e-9)
        counter = gap_words(gaps)
        if city.text("permit_class", row) in {"key", "simplified", "registered"}:
            factor *= 0.5
            counter.append(Text("已有排污许可或登记,并非隐蔽", "holds a permit or registration: not hidden"))
        if city.column("pv")[row].as_py():
            factor *= 0.8
            counter.append(Text("有光伏,净负荷形状失真", "has PV: the shape of net load is distorted"))
        if seen.rough[i] < 0.05:
            factor *= 0.8
            counter.append(Text("负荷平滑,像泵、冷机或照明", "smooth load, as of pumps, chillers or lamps"))
        kva = city.column("contract_kva")[row].as_py()
        reasons = [
            Text(
                f"{tariff.zh}电价户的日周曲线形状属于工业的后验概率 {percent(belief)}",
                f"on the {tariff.en} tariff, yet its weekly shape is industrial: posterior {percent(belief)}",
            ),
            Text(
                f"平均负荷 {level:.0f} kW,高于 {percent(float(placed.rank[i]))} 的同业,为其中位数的 {excess:.1f} 倍"
                f"({peers(placed, i).zh})",
                f"mean load {level:.0f} kW, above {percent(float(placed.rank[i]))} of its peers, {excess:.1f} × their "
                f"median ({peers(placed, i).en})",
            ),
        ]
        if kva and seen.peak_kw[i] > 0.9 * kva:
            reasons.append(
                Text(
                    f"最大负荷 {seen.peak_kw[i]:.0f} kW,达合同容量的 {percent(seen.peak_kw[i] / kva)}",
                    f"peak {seen.peak_kw[i]:.0f} kW, {percent(seen.peak_kw[i] / kva)} of the contract capacity",
                )
            )
        strength = np.sqrt(min(1.0, max(0.0, np.log(excess)) / np.log(10)) * min(1.0, (belief - 0.5) / 0.5))
        looked = Text("许可、光伏、平滑负荷、转供电", "permit, PV, smooth load, shared meter")
        return Finding(
            entity_id=city.entity_id(row),
            day=city.context.as_of,
            rule="industrial_shape",
            verdict="suspect",
            score=(0.4 + 0.6 * float(strength)) * factor,
            reasons=tuple(reasons),
            counter=or_nothing_found(counter, looked),
            evidence=numbers(
                posterior=belief,
                mean_kw=level,
                peak_kw=float(seen.peak_kw[i]),
                contract_kva=float(kva) if kva else None,
                peer_median_kw=float(placed.middle[i]),
                peer_rank=float(placed.rank[i]),
                peers=int(placed.count[i]),
                roughness=float(seen.rough[i]),
                rest_day_ratio=float(seen.rest_ratio[i]),
            ),
            exhibit=Exhibit(city.days[-7:], (0, 96)),
            context=gaps,
        )
