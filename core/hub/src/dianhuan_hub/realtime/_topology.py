"""Circuits, links and factors of the registers as the arrays that models work on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dianhuan_hub.store import LinkRow, Store, channel_ordinals, read_circuits, read_links, topology_mark
from dianhuan_sdk import InputError, Topology
from dianhuan_sdk.features import FloatArray
from dianhuan_sdk.stream import Circuit, Factor, Link, Ordinals

_SCALE: Mapping[str, float] = {"W": 0.001, "kW": 1.0, "MW": 1000.0, "A": 1.0, "mA": 0.001}


@dataclass(frozen=True, eq=False)
class Known:
    """A topology and where its readings are.

    Args:
        topology: of the registers.
        ch: shape (circuits + factors,): ordinal of each channel, −1 before its first reading.
        scale: shape (circuits + factors,): reading × scale = value in the circuit's unit.
        links: rows of the confirmed links in it.
        problems: link id → why it is left out.
    """

    topology: Topology
    ch: Ordinals
    scale: FloatArray
    links: tuple[LinkRow, ...]
    problems: Mapping[str, str]


class Topologies:
    """The topology of the registers; the same object as long as nothing changed.

    Args:
        store: the city's store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._mark: Any = None
        self._known: Known | None = None

    def now(self) -> Known:
        """As the registers stand."""
        with self._store.engine.cursor() as con:
            mark = topology_mark(con)
            if self._known is None or mark != self._mark:
                rows = read_circuits(con).to_pylist()
                links = read_links(con, "confirmed")
                factors = channel_ordinals(con, [f for link in links for f in link.factors])
                self._known, self._mark = _make(rows, links, factors), mark
        return self._known


def circuit_of(row: Mapping[str, Any]) -> Circuit:
    """A circuit from a row of `read_circuits`."""
    current = row["quantity"] == "current"
    rated = row["rated"]
    return Circuit(
        circuit_id=row["channel_id"],
        entity_id=row["entity_id"],
        role=row["role"],
        unit="A" if current else "kW",
        rated=None if rated is None else rated * _scale(row),
        station=row["device_id"],
        facility=row["facility"] or "",
    )


def _scale(row: Mapping[str, Any]) -> float:
    return _SCALE.get(row["unit"] or "", 1.0)


def _make(rows: list[dict[str, Any]], links: list[LinkRow], factors: Mapping[str, int]) -> Known:
    circuits = [circuit_of(row) for row in rows]
    at = {c.circuit_id: c for c in circuits}
    fitting: list[LinkRow] = []
    problems: dict[str, str] = {}
    for row in links:
        try:
            # each by itself: one that does not fit any more must not keep the others from being judged
            mine = [at[c] for c in dict.fromkeys((*row.treatment, *row.production)) if c in at]
            Topology.of(mine, [Link(row.link_id, row.treatment, row.production)])
            fitting.append(row)
        except InputError as error:
            problems[row.link_id] = str(error)
    heard = [Factor(f, row.link_id, f.partition("/")[2]) for row in fitting for f in row.factors if f in factors]
    topology = Topology.of(circuits, [Link(r.link_id, r.treatment, r.production) for r in fitting], heard)
    ch = [-1 if row["ch"] is None else row["ch"] for row in rows] + [factors[f.factor_id] for f in heard]
    scale = [_scale(row) * (row["multiplier"] or 1.0) for row in rows] + [1.0] * len(heard)
    return Known(topology, np.array(ch, np.int32), np.array(scale, np.float32), tuple(fitting), problems)
