"""What a province should do with a model, from what is known of its precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dianhuan_federation.evaluation._estimate import Estimate

Action = Literal["trial", "use", "withdraw"]

ENOUGH = 20
"""Judged visits of one's own from which they decide, and no longer what others found."""


@dataclass(frozen=True, slots=True)
class Advice:
    """An action and why, in words."""

    action: Action
    zh: str
    en: str


def advise(known: Estimate, province: str, floor: float, own_judged: int) -> Advice:
    """Advise a province.

    A newcomer uses a model only where the one-sided 95 % lower bound of what to expect there holds the promised
    precision; else it tries it beside its own list. With `ENOUGH` visits of its own, a lower bound below the promise
    withdraws it.

    Args:
        known: the estimate.
        province: first two digits of GB/T 2260.
        floor: the promised precision, 0 … 1.
        own_judged: judged visits in that province.
    """
    here = known.of(province)
    zh = f"下限 {here.low:.0%}（均值 {here.mean:.0%}），承诺 {floor:.0%}，本省已核查 {own_judged} 次"
    en = f"lower bound {here.low:.0%} (mean {here.mean:.0%}), promised {floor:.0%}, {own_judged} visits judged here"
    if here.low >= floor:
        return Advice("use", f"可用：{zh}", f"use: {en}")
    if own_judged >= ENOUGH:
        return Advice("withdraw", f"撤回：{zh}", f"withdraw: {en}")
    return Advice("trial", f"试用：{zh}", f"trial: {en}")
