"""正面清单: a transparent score per plant that lowers the frequency of visits, and explains itself.

The score is a sum over the last twelve months of points that are never negative, and a month that was not observed
earns none: losing data can lower the score and never raise it. Verified violations come from visits, not from data, and
cap it whatever else is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dianhuan_sdk import InputError, Text

MONTHS = 12
CLEAN, HONEST, HEALTHY = 60.0, 25.0, 15.0
"""Points of a year without a warning that was upheld, with honest reports, with healthy devices: judgements."""
MIN_COVERAGE = 0.8
CAPS = (100.0, 55.0, 30.0)
"""Most of the score with no, one, and more verified violations within the year."""
BANDS: tuple[tuple[float, float, Text], ...] = (
    (85.0, 0.25, Text("免打扰:只留随机抽查", "left alone, but for the random share of visits")),
    (70.0, 0.5, Text("减半检查", "half as many visits")),
    (0.0, 1.0, Text("常规检查", "the ordinary number of visits")),
)
"""Least score, factor on the frequency of visits, and words. The factor is never 0: a random share stays for all."""


@dataclass(frozen=True, slots=True)
class Month:
    """One month of a plant.

    Args:
        coverage: part of the month's points that arrived, 0 … 1; a month of which nothing is known is None in the list.
        upheld: a warning that was not explained away.
        contradicted: a filed report that load or a visit contradicted.
        unfiled: a stop or maintenance that should have been filed and was not.
        device_online: part of the month in which its devices answered; None where it must have none.
        device_fault_open: a device fault left unrepaired at the month's end.
    """

    coverage: float
    upheld: bool = False
    contradicted: bool = False
    unfiled: bool = False
    device_online: float | None = None
    device_fault_open: bool = False


@dataclass(frozen=True, slots=True)
class Positive:
    """The score with its reasons.

    Args:
        score: 0 … 100.
        visit_factor: what the ordinary frequency of visits is multiplied with, 0.25 … 1.
        reasons: how the points came about, and what cost some.
        observed: months that were observed.
    """

    score: float
    visit_factor: float
    reasons: tuple[Text, ...]
    observed: int


def positive_score(
    months: Sequence[Month | None],
    verified: int,
    permit_class: Literal["key", "simplified", "registered", "none"] | None = None,
) -> Positive:
    """The positive score of one plant.

    Args:
        months: the last twelve months, oldest first; None = not observed. Fewer are filled up as not observed.
        verified: violations that visits verified within these months.
        permit_class: class of its permit; enterprises that hold a key permit never go below half the frequency.

    Raises:
        InputError: more than twelve months, a share outside of 0 … 1, or a negative count.
    """
    if len(months) > MONTHS or verified < 0:
        raise InputError(
            f"{len(months)} months, {verified} verified violations",
            expected=f"at most {MONTHS} months and a count that is not negative",
        )
    clean = honest = healthy = 0.0
    observed = 0
    for month in months:
        if month is None:
            continue
        for share in (month.coverage, month.device_online if month.device_online is not None else 0.0):
            if not 0 <= share <= 1:
                raise InputError(f"a share of {share}", expected="a share of 0 … 1, NaN is not one")
        if month.coverage < MIN_COVERAGE:
            continue
        observed += 1
        clean += month.coverage * (not month.upheld)
        honest += month.coverage * (not (month.contradicted or month.unfiled))
        online = month.coverage if month.device_online is None else month.device_online
        healthy += month.coverage * online * (not month.device_fault_open)
    cap = CAPS[min(verified, len(CAPS) - 1)]
    parts = (CLEAN * clean / MONTHS, HONEST * honest / MONTHS, HEALTHY * healthy / MONTHS)
    score = min(sum(parts), cap)
    factor, words = next((f, w) for least, f, w in BANDS if score >= least)
    reasons = [
        Text(
            f"无属实预警月份 {parts[0]:.0f}/{CLEAN:.0f} 分,如实报备 {parts[1]:.0f}/{HONEST:.0f} 分,"
            f"设备健康 {parts[2]:.0f}/{HEALTHY:.0f} 分",
            f"clean months {parts[0]:.0f} of {CLEAN:.0f}, honest reports {parts[1]:.0f} of {HONEST:.0f}, "
            f"device health {parts[2]:.0f} of {HEALTHY:.0f}",
        )
    ]
    if observed < MONTHS:
        reasons.append(
            Text(
                f"{MONTHS - observed} 个月数据不足,不计分",
                f"{MONTHS - observed} months were not observed well enough and earn nothing",
            )
        )
    if verified:
        reasons.append(
            Text(
                f"一年内查实 {verified} 次违规,得分不超过 {cap:.0f}",
                f"{verified} verified violations within the year: at most {cap:.0f}",
            )
        )
    if permit_class == "key" and factor < 0.5:
        factor = 0.5
        reasons.append(Text("重点管理单位,检查频次不低于一半", "a key permit: never below half the visits"))
    reasons.append(Text(f"{words.zh}(频次系数 {factor:g})", f"{words.en} (factor {factor:g})"))
    return Positive(score, factor, tuple(reasons), observed)
