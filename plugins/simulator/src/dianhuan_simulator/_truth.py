"""The truth table: who violates what from when to when, and who only looks like it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dianhuan_simulator._meters import PV_FULL, PV_UNREGISTERED
from dianhuan_simulator._people import NEVER

if TYPE_CHECKING:
    from dianhuan_simulator.city import City

TRUTH_SCHEMA = pa.schema(
    [
        pa.field("entity_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("from", pa.date32(), nullable=False),
        pa.field("to", pa.date32()),
        pa.field("is_violation", pa.bool_(), nullable=False),
        pa.field("note", pa.string(), nullable=False),
    ]
)
"""One row per story: `model` is the model that should tell it (m05, m06, m08, m09, m10; empty where several may stumble
over it), [from, to) its days, `to` null = beyond the run; a twin's row has `is_violation` false."""

_TWIN_MODEL = {
    "valley_night_works": "m05",
    "bakery": "m05",
    "night_food": "m05",
    "nightlife": "m05",
    "night_sorting": "m05",
    "cold_store": "m05",
    "street_lighting": "m05",
    "ev_depot": "m05",
    "telecom": "m05",
    "dewatering_pump": "m05",
    "home_ev": "m06",
    "heavy_commercial": "m06",
    "heavy_residential": "m06",
    "grain_dryer": "m06",
}


def truth(city: City) -> pa.Table:
    """The truth of a city's run, by entity, in register order. Stories that begin after its last day are left out."""
    rows: list[tuple[Any, ...]] = []
    for block in city.blocks:
        inside, folk, points = city.inside(block), block.folk, block.points
        ids = folk.uscc.astype(str)
        mine: list[tuple[int, tuple[Any, ...]]] = []

        def add(
            entity: int, kind: str, model: str, start: int, end: int, violation: bool, note: str, of: Any = None
        ) -> None:
            if entity >= inside or start >= city.config.days or end <= 0:  # noqa: B023
                return
            first = city.config.start + timedelta(days=max(int(start), -400))
            last = city.config.start + timedelta(days=int(end)) if end < city.config.days else None
            mine.append((entity, (ids[entity], kind, model, first, last, violation, note)))  # noqa: B023

        for s in block.told.acts:
            if s.kind == "relocation" and s.values["source"] >= inside:
                add(s.entity, s.kind, s.model, s.start, s.end, s.violation, s.note + " (outside this city)")
            else:
                for start, end in block.pauses.parts(s):
                    add(s.entity, s.kind, s.model, start, end, s.violation, s.note)
        for o in block.told.curtailed:
            asked = "stop" if o.percent is None else f"at most {o.percent:g} %"
            if o.kind == "curtailment_shifted":  # within the window the order is kept
                add(o.entity, o.kind, "m08", o.start - 2, o.end + 2, True, f"{o.level}, {asked}; work moved around it")
            else:
                add(o.entity, o.kind, "m08", o.start, o.end, o.kind == "curtailment_ignored", f"{o.level}, {asked}")
        violators = {s.entity for s in block.told.acts if s.violation}
        for number, profile in enumerate(city.profiles):
            if profile.twin:
                for entity in np.flatnonzero(folk.profile == number).tolist():
                    if entity not in violators:
                        add(entity, profile.twin, _TWIN_MODEL.get(profile.twin, ""), -400, NEVER, False, "")
        for row in np.flatnonzero(points.pv > 0).tolist():
            mode = int(points.pv[row])
            kind = "pv_unregistered" if mode == PV_UNREGISTERED else "pv_registered"
            note = "all fed in by its own meter" if mode == PV_FULL else ""
            add(int(points.owner[row]), kind, "m05", -400, NEVER, False, note)
        for row in np.flatnonzero(points.dead < NEVER).tolist():
            kind = "dead_meter_zero" if points.dead_zero[row] else "dead_meter_missing"
            add(int(points.owner[row]), kind, "", int(points.dead[row]), NEVER, False, "")
        for row in np.flatnonzero(block.faults.since < NEVER).tolist():
            first, last = int(block.faults.since[row]), int(block.faults.until[row])
            note = f"counted × {block.faults.factor[row]:.3g}"
            add(int(points.owner[row]), "ct_ratio_error", "", first, last, False, note)
        rows.extend(row for _, row in sorted(mine, key=lambda item: item[0]))
    columns = zip(*rows, strict=True) if rows else [[] for _ in TRUTH_SCHEMA]
    return pa.table(
        [pa.array(list(c), f.type) for c, f in zip(columns, TRUTH_SCHEMA, strict=True)], schema=TRUTH_SCHEMA
    )
