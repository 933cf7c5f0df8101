"""Orders of the register as days of the block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np

from dianhuan_models._city import City
from dianhuan_models._stats import Bools
from dianhuan_sdk import LOCAL_ZONE

CUTTING = ("limit", "stop")
FIRST_HOUR, LAST_HOUR = 8, 18
"""A day counts as ordered if the order holds during the whole of 08–18, when most plants work."""


@dataclass(frozen=True)
class Order:
    """One order of an enterprise of the block.

    Args:
        order_id, kind, level: of the register.
        row: row of the enterprise.
        allowed: allowed share of normal production, 0 … 1.
        first, last: local days that are wholly ordered; `last` None = until lifted.
    """

    order_id: str
    kind: str
    level: str
    row: int
    allowed: float
    first: date
    last: date | None

    def holds(self, day: date) -> bool:
        """True where the day is ordered."""
        return self.first <= day and (self.last is None or day <= self.last)

    def days(self, window: Sequence[date]) -> Bools:
        """Shape (days,): ordered days of a window."""
        return np.array([self.holds(d) for d in window], dtype=bool)


def cutting_orders(city: City) -> list[Order]:
    """Orders to stop or to limit with a stated share; in order of enterprise and order id."""
    table = city.context.tables.get("order")
    if table is None or not table.num_rows:
        return []
    rows = city.rows_of(table.column("entity_id"))
    found = []
    for row, entry in zip(rows.tolist(), table.to_pylist(), strict=True):
        kind, limit = entry["kind"], entry.get("limit_percent")
        if row < 0 or kind not in CUTTING or (kind == "limit" and limit is None):
            continue
        first, last = _first_day(entry["starts_at"]), entry.get("ends_at") and _last_day(entry["ends_at"])
        if last is not None and last < first:
            continue
        share = 0.0 if kind == "stop" else limit / 100
        found.append(Order(entry["order_id"], kind, entry.get("level") or "", row, share, first, last))
    return sorted(found, key=lambda o: (city.entity_id(o.row), o.order_id))


def _first_day(start: datetime) -> date:
    local = start.astimezone(LOCAL_ZONE)
    return local.date() if local.hour < FIRST_HOUR else local.date() + timedelta(days=1)


def _last_day(end: datetime) -> date:
    local = end.astimezone(LOCAL_ZONE)
    return local.date() if local.hour >= LAST_HOUR else local.date() - timedelta(days=1)


def ordered_days(orders: Sequence[Order], city: City) -> Bools:
    """Shape (entities, days): days on which any of the orders holds."""
    answer = np.zeros((city.size, len(city.days)), dtype=bool)
    for order in orders:
        answer[order.row] |= order.days(city.days)
    return answer
