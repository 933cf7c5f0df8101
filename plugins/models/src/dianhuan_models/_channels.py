"""Sub-metered circuits as daily means: treatment and production load of each plant that has both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_models._city import City
from dianhuan_models._stats import Array, Rows
from dianhuan_sdk import LOCAL_ZONE

COARSE_FIRST = ("day", "hour", "five_minutes", "minute", "moment")
QUANTITIES = ("active_power", "current")
"""In order of preference; a current stands for the power at constant voltage and power factor."""
MIN_COVERAGE = 0.5
"""Of a channel's usual readings per day: with fewer the day is missing."""


@dataclass(frozen=True)
class Circuits:
    """Plants with both kinds of circuit.

    Args:
        rows: shape (plants,), rows of the block.
        treatment, production: shape (plants, days), daily means in the unit of `quantity`; NaN = missing.
        quantity: shape (plants,), what was measured.
    """

    rows: Rows
    treatment: Array
    production: Array
    quantity: tuple[str, ...]


def circuits(city: City, days: Sequence[date]) -> Circuits | None:
    """Daily means of treatment and production circuits from the tables `channel` and `reading`; None if there are none.

    Only channels that a role is bound to count; a `combined` circuit says nothing. Where one code is reported at
    several intervals the coarsest is taken. Readings flagged other than normal are missing, never 0. A day on which
    any circuit of a role is missing is missing for the role. `days` may begin before the block.
    """
    tables = city.context.tables
    channel, reading = tables.get("channel"), tables.get("reading")
    if channel is None or reading is None or not channel.num_rows or not reading.num_rows:
        return None
    chosen = _choose(city, channel, days[0])
    if not chosen:
        return None
    daily = _daily(days, reading, chosen)
    plants = sorted({(c["row"]) for c in chosen})
    rows, treatment, production, quantity = [], [], [], []
    for row in plants:
        mine = [c for c in chosen if c["row"] == row]
        for q in QUANTITIES:
            sums = []
            for role in ("treatment", "production"):
                parts = [daily[c["id"]] * c["factor"] for c in mine if c["role"] == role and c["quantity"] == q]
                sums.append(np.sum(parts, axis=0) if parts else np.full(len(days), np.nan))
            if all(np.isfinite(s).any() for s in sums):
                rows.append(row)
                treatment.append(sums[0])
                production.append(sums[1])
                quantity.append(q)
                break
    if not rows:
        return None
    return Circuits(np.array(rows), np.array(treatment), np.array(production), tuple(quantity))


def _choose(city: City, channel: pa.Table, first: date) -> list[dict[str, Any]]:
    rows = city.rows_of(channel.column("entity_id"))
    best: dict[tuple[object, ...], tuple[int, dict[str, Any]]] = {}
    for row, c in zip(rows.tolist(), channel.to_pylist(), strict=True):
        if row < 0 or c["role"] not in ("treatment", "production") or c["quantity"] not in QUANTITIES:
            continue
        if c["interval"] not in COARSE_FIRST:
            continue
        if c.get("valid_to") is not None and c["valid_to"] < first:
            continue
        key = (c["device_id"], c["code"], c.get("phase") or "")
        rank = COARSE_FIRST.index(c["interval"])
        multiplier = c.get("multiplier")
        entry = {
            "id": c["channel_id"],
            "row": row,
            "role": c["role"],
            "quantity": c["quantity"],
            "factor": 1.0 if multiplier is None else float(multiplier),
        }
        if key not in best or (rank, c["channel_id"]) < (best[key][0], str(best[key][1]["id"])):
            best[key] = (rank, entry)
    return [entry for _, entry in best.values()]


def _daily(days: Sequence[date], reading: pa.Table, chosen: list[dict[str, Any]]) -> dict[object, Array]:
    ids = pa.array([c["id"] for c in chosen], pa.string())
    good = pc.and_(
        pc.is_in(reading.column("channel_id"), value_set=ids),
        pc.and_(
            pc.is_valid(reading.column("value")),
            pc.fill_null(pc.equal(reading.column("quality"), "N"), True),
        ),
    )
    kept = reading.filter(good)
    local = pc.local_timestamp(pc.cast(kept.column("at"), pa.timestamp("us", str(LOCAL_ZONE))))
    table = pa.table(
        {"channel": kept.column("channel_id"), "day": pc.cast(local, pa.date32()), "value": kept.column("value")}
    )
    means = table.group_by(["channel", "day"]).aggregate([("value", "mean"), ("value", "count")])
    out: dict[object, Array] = {c["id"]: np.full(len(days), np.nan) for c in chosen}
    count = {c["id"]: np.zeros(len(days)) for c in chosen}
    for name, day, value, n in zip(*(means.column(i).to_pylist() for i in range(4)), strict=True):
        place = (day - days[0]) // timedelta(days=1)
        if 0 <= place < len(days):
            out[name][place], count[name][place] = value, n
    for name, values in out.items():
        seen = count[name][count[name] > 0]
        if len(seen):
            values[count[name] < MIN_COVERAGE * np.median(seen)] = np.nan
    return out
