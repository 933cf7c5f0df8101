"""The emulated plants as tables: circuits, links, context, truth."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dianhuan_sdk import InputError
from dianhuan_simulator.emulator._plants import COMBINED, PLANT_BLOCK, PRODUCTION, ROLES, TREATMENT, Site
from dianhuan_simulator.emulator._shifts import DAY

if TYPE_CHECKING:
    from dianhuan_simulator.emulator.world import Emulation

_INSTANT = pa.timestamp("us", tz="UTC")

TRUTH_SCHEMA = pa.schema(
    [
        pa.field("plant", pa.int32(), nullable=False),
        pa.field("entity_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("strategy", pa.string(), nullable=False),
        pa.field("is_violation", pa.bool_(), nullable=False),
        pa.field("start", pa.int32(), nullable=False),
        pa.field("end", pa.int32(), nullable=False),
        pa.field("starts_at", _INSTANT, nullable=False),
        pa.field("ends_at", _INSTANT, nullable=False),
        pa.field("link", pa.int32(), nullable=False),
        pa.field("circuits", pa.list_(pa.int32()), nullable=False),
        pa.field("note", pa.string(), nullable=False),
    ]
)
"""One row a story, by plant and start. [start, end) are minutes of the run. `link` is -1 where it concerns none;
`circuits` are the rows of the samples in which it can be seen first. Habits of a plant span the whole run."""

CIRCUIT_SCHEMA = pa.schema(
    [
        pa.field("circuit", pa.int32(), nullable=False),
        pa.field("plant", pa.int32(), nullable=False),
        pa.field("entity_id", pa.string(), nullable=False),
        pa.field("industry", pa.string(), nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("facility", pa.string(), nullable=False),
        pa.field("link", pa.int32(), nullable=False),
        pa.field("number", pa.int32(), nullable=False),
        pa.field("rated_kw", pa.float64(), nullable=False),
        pa.field("quantum_kw", pa.float64(), nullable=False),
        pa.field("backup", pa.bool_(), nullable=False),
    ]
)
"""`role` as in the table `channel`; `facility` in the manner of HJ 608 (MF0001, TA001); `link` is -1 for total and
indirect circuits; `number` counts the circuits of one role within a plant from 1; `backup`: second of a pair."""

LINK_SCHEMA = pa.schema(
    [
        pa.field("link", pa.int32(), nullable=False),
        pa.field("plant", pa.int32(), nullable=False),
        pa.field("production", pa.list_(pa.int32()), nullable=False),
        pa.field("treatment", pa.list_(pa.int32()), nullable=False),
        pa.field("combined", pa.list_(pa.int32()), nullable=False),
    ]
)
"""One row a group of treatment: rows of its production, treatment and combined circuits."""


def _table(schema: pa.Schema, rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [[] for _ in schema]
    return pa.table([pa.array(list(c), f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)


def group_of(at: Site) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Group of each circuit of a site, -1 for total and indirect ones."""
    found = np.full(len(at.circuit_role), -1, dtype=np.int64)
    lines = (at.circuit_role == PRODUCTION) | (at.circuit_role == COMBINED)
    units = at.circuit_role == TREATMENT
    found[lines] = at.line_group[at.circuit_place[lines]]
    found[units] = at.unit_group[at.circuit_place[units]]
    return found


def _first_groups(world: Emulation) -> list[int]:
    """Number of the first link of each block: groups of plants within the run are numbered through."""
    counts = [int((p.site.group_plant < p.inside).sum()) for p in world.plots]
    return [0, *np.cumsum(counts).tolist()]


def _first_rows(world: Emulation) -> list[int]:
    return [0, *np.cumsum([len(p.rows) for p in world.plots]).tolist()]


def circuits(world: Emulation) -> pa.Table:
    """One row a circuit, `CIRCUIT_SCHEMA`."""
    kinds = list(world.knobs.industries)
    rows: list[tuple[Any, ...]] = []
    for plot, first_group in zip(world.plots, _first_groups(world), strict=False):
        at, groups = plot.site, group_of(plot.site)
        seen: dict[tuple[int, int], int] = {}
        for r in plot.rows.tolist():
            plant, role, place = int(at.circuit_plant[r]), int(at.circuit_role[r]), int(at.circuit_place[r])
            # Production and combined circuits share one numbering: both are production facilities.
            counted = PRODUCTION if role == COMBINED else role
            number = seen[plant, counted] = seen.get((plant, counted), 0) + 1
            code = {PRODUCTION: f"MF{number:04d}", TREATMENT: f"TA{number:03d}"}.get(counted, "")
            link = first_group + int(groups[r]) if groups[r] >= 0 else -1
            backup = role == TREATMENT and bool(at.unit_backup[place])
            rows.append(
                (len(rows), at.number * PLANT_BLOCK + plant, str(at.plant_id[plant]), kinds[at.industry[plant]],
                 ROLES[role], code, link, number, round(float(at.circuit_kw[r]), 2),
                 round(float(at.circuit_quantum[r]), 3), backup)
            )  # fmt: skip
    return _table(CIRCUIT_SCHEMA, rows)


def links(world: Emulation) -> pa.Table:
    """One row a group of treatment, `LINK_SCHEMA`."""
    rows: list[tuple[Any, ...]] = []
    for plot, first_row in zip(world.plots, _first_rows(world), strict=False):
        at = plot.site
        groups = group_of(at)
        place = {int(r): first_row + i for i, r in enumerate(plot.rows)}
        for group in np.flatnonzero(at.group_plant < plot.inside).tolist():
            mine = np.flatnonzero(groups == group)
            sides = [
                [place[int(r)] for r in mine if at.circuit_role[r] == s] for s in (PRODUCTION, TREATMENT, COMBINED)
            ]
            rows.append((len(rows), at.number * PLANT_BLOCK + int(at.group_plant[group]), *sides))
    return _table(LINK_SCHEMA, rows)


FACTOR_SCHEMA = pa.schema(
    [
        pa.field("factor", pa.int32(), nullable=False),
        pa.field("plant", pa.int32(), nullable=False),
        pa.field("link", pa.int32(), nullable=False),
        pa.field("code", pa.string(), nullable=False),
    ]
)
"""One row a concentration; `code` of HJ 212-2017, Annex B."""


def factors(world: Emulation) -> pa.Table:
    """One row a concentration, `FACTOR_SCHEMA`."""
    kinds = list(world.knobs.industries.values())
    rows: list[tuple[Any, ...]] = []
    for plot, first_group in zip(world.plots, _first_groups(world), strict=False):
        at = plot.site
        for group in np.flatnonzero(at.group_factor & (at.group_plant < plot.inside)).tolist():
            plant = int(at.group_plant[group])
            code = kinds[at.industry[plant]].factor
            rows.append((len(rows), at.number * PLANT_BLOCK + plant, first_group + group, code))
    return _table(FACTOR_SCHEMA, rows)


def truth(world: Emulation) -> pa.Table:
    """One row a story, `TRUTH_SCHEMA`."""
    rows: list[tuple[Any, ...]] = []
    for plot, first_group, first_row in zip(world.plots, _first_groups(world), _first_rows(world), strict=False):
        at = plot.site
        groups = group_of(at)
        place = {int(r): first_row + i for i, r in enumerate(plot.rows)}
        for s in plot.stories:
            measured = {
                e.target for e in s.effects if e.kind in ("frozen", "replay", "forged", "scale", "zero", "missing")
            }
            if measured:
                shown = measured
            elif s.kind == "start_under_order":
                shown = {at.row_of(PRODUCTION, s.line)}
            elif s.group >= 0:
                role = PRODUCTION if s.kind in ("low_load", "warm_up") else TREATMENT
                shown = set(np.flatnonzero((groups == s.group) & (at.circuit_role == role)).tolist())
            else:
                shown = set(at.circuits_of(s.plant).tolist())
            end = min(s.end, world.days * DAY)
            rows.append(
                (at.number * PLANT_BLOCK + s.plant, str(at.plant_id[s.plant]), s.kind, s.strategy, s.offence, s.start,
                 end, world.instant(s.start).astimezone(UTC), world.instant(end).astimezone(UTC),
                 first_group + s.group if s.group >= 0 else -1, sorted(place[int(r)] for r in shown), s.note)
            )  # fmt: skip
    return _table(TRUTH_SCHEMA, rows)


_SPAN = [("start", pa.int32()), ("end", pa.int32()), ("starts_at", _INSTANT), ("ends_at", _INSTANT)]
_CONTEXT: dict[str, pa.Schema] = {
    "filed_report": pa.schema(
        [("plant", pa.int32()), ("entity_id", pa.string()), ("kind", pa.string()), *_SPAN, ("filed", pa.int32()),
         ("filed_at", _INSTANT), ("note", pa.string())]
    ),
    "order": pa.schema(
        [("plant", pa.int32()), ("entity_id", pa.string()), ("kind", pa.string()), *_SPAN,
         ("limit_percent", pa.float64())]
    ),
    "outage": pa.schema([("plant", pa.int32()), ("entity_id", pa.string()), *_SPAN]),
}  # fmt: skip
_CONTEXT["work_order"] = _CONTEXT["filed_report"]


def context(world: Emulation, name: str) -> pa.Table:
    """What a hub would know of the plants: minutes of the run and instants.

    Raises:
        InputError: no such table.
    """
    if name not in _CONTEXT:
        raise InputError(f"context table {name!r}", expected=", ".join(_CONTEXT))

    def entity(plant: int) -> str:
        return str(world.plots[plant // PLANT_BLOCK].site.plant_id[plant % PLANT_BLOCK])

    def span(start: int, end: int) -> tuple[Any, ...]:
        return start, end, world.instant(start).astimezone(UTC), world.instant(end).astimezone(UTC)

    rows: list[tuple[Any, ...]] = []
    if name == "order":
        rows = [(p, entity(p), o.kind, *span(o.start, o.end), o.limit_percent) for p, o in world.orders()]
    elif name == "outage":
        rows = [(p, entity(p), *span(s.start, s.end)) for p, s in world.stories() if s.kind == "outage"]
    else:
        for plant, report in world.filed():
            if (report.kind == "meter") == (name == "work_order"):
                filed = world.instant(report.filed).astimezone(UTC)
                rows.append(
                    (
                        plant,
                        entity(plant),
                        report.kind,
                        *span(report.start, report.end),
                        report.filed,
                        filed,
                        report.note,
                    )
                )
    return _table(_CONTEXT[name], rows)
