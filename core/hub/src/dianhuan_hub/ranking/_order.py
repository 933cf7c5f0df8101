"""The order of visits: expected verified value per officer-hour, packed by district."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dianhuan_sdk.fusion import DoubleArray

SEVERITY: Mapping[str | None, float] = {"key": 1.5, "simplified": 1.2}
"""Weight of an enterprise by its class of permit (重点, 简化管理), 1 for all others. An assumption, not a measure."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What a visit costs and how long its evidence lasts.

    Args:
        half_life_days: days after which evidence is worth half.
        visit_hours: hours of a team on site.
        travel_hours: to the first visit in a district.
        next_hours: to each further visit in the same district.
    """

    half_life_days: float = 14.0
    visit_hours: float = 2.0
    travel_hours: float = 1.0
    next_hours: float = 0.3


def visit_order(
    probability: DoubleArray,
    severity: DoubleArray,
    age_days: DoubleArray,
    districts: Sequence[str | None],
    costs: Costs,
    k: int,
) -> list[int]:
    """The first k visits in order.

    Each step takes the visit with the most expected value per hour; one in a district that is gone to anyway costs less
    travel. Cases of equal worth keep the order in which they came.

    Args:
        probability, severity, age_days: shape (cases,).
        districts: of each case; None is a district of its own.
        costs: see there.
        k: visits wanted.

    Returns:
        Indices of cases, at most k.
    """
    value = probability * severity * 0.5 ** (np.maximum(age_days, 0) / costs.half_life_days)
    queues: dict[object, list[int]] = {}
    for case in np.argsort(-value, kind="stable"):
        district = districts[case]
        queues.setdefault(district if district is not None else ("none", case), []).append(int(case))
    chosen: list[int] = []
    reached: set[object] = set()
    first, later = costs.visit_hours + costs.travel_hours, costs.visit_hours + costs.next_hours
    while len(chosen) < k and queues:
        best, most = None, -1.0
        for district, queue in queues.items():
            rate = float(value[queue[0]]) / (later if district in reached else first)
            if rate > most:
                best, most = district, rate
        queue = queues[best]
        chosen.append(queue.pop(0))
        reached.add(best)
        if not queue:
            del queues[best]
    return chosen
