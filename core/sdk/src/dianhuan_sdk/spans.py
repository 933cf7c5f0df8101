"""Stretches of time that cover circuits: filed reports, orders, outages."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from dianhuan_sdk.features import BoolArray
    from dianhuan_sdk.stream import Topology

Seconds = np.ndarray[Any, np.dtype[np.int64]]
OPEN_END = np.iinfo(np.int64).max
"""End of a stretch that has none yet."""


@dataclass(frozen=True, eq=False)
class Spans:
    """Stretches [start, end), by circuit of one topology.

    Attributes:
        circuit: shape (n,): ordinal of a covered circuit; a stretch over a whole plant has a row for each circuit.
        start, end, known: shape (n,), seconds since 1970 UTC; `known` is when it was filed or announced. A stretch
            covers nothing before it is known, so one object may serve a whole evaluation.
        kind: shape (n,), the kind's name.
    """

    circuit: np.ndarray[Any, np.dtype[np.int32]]
    start: Seconds
    end: Seconds
    known: Seconds
    kind: np.ndarray[Any, np.dtype[np.str_]]

    @staticmethod
    def none() -> Spans:
        """No stretch at all."""
        return Spans.of([], None)

    @staticmethod
    def of(rows: Sequence[Mapping[str, Any]], topology: Topology | None, known: str = "") -> Spans:
        """Stretches from rows of `filed_report`, `order`, or `outage` joined with `entity_id`.

        Args:
            rows: with `entity_id`, `kind`, `starts_at`, `ends_at` (None = open), and `facility` where it covers the
                circuits of one facility only (HJ 608 code or circuit id; one that no circuit of the plant has counts
                for the whole plant). A row of an unknown plant is left out.
            topology: the circuits; may be None where there are no rows.
            known: column with the instant at which the row became known, e.g. `filed_at`; empty: always known.
        """
        by_plant: dict[str, list[int]] = {}
        circuits = topology.circuits if topology else ()
        for i, c in enumerate(circuits):
            by_plant.setdefault(c.entity_id, []).append(i)
        out: list[tuple[int, int, int, int, str]] = []
        for row in rows:
            mine = by_plant.get(row["entity_id"], [])
            place = row.get("facility") or ""
            named = [i for i in mine if place and place in (circuits[i].facility, circuits[i].circuit_id)]
            end = OPEN_END if row.get("ends_at") is None else _second(row["ends_at"])
            since = _second(row[known]) if known else -OPEN_END
            out += [(i, _second(row["starts_at"]), end, since, row["kind"]) for i in named or mine]
        columns = list(zip(*out, strict=True)) or [()] * 5
        return Spans(
            np.array(columns[0], np.int32),
            np.array(columns[1], np.int64),
            np.array(columns[2], np.int64),
            np.array(columns[3], np.int64),
            np.array(columns[4], np.str_),
        )

    def covered(self, second: int, circuits: int, kinds: Collection[str] = ()) -> BoolArray:
        """Shape (circuits,): true where a known stretch (of one of `kinds`, if given) covers that second."""
        mask: BoolArray = np.zeros(circuits, bool)
        mask[self.circuit[self._now(second, kinds)]] = True
        return mask

    def ends(self, second: int, circuits: int, kinds: Collection[str] = ()) -> Seconds:
        """Shape (circuits,): latest end of the stretches that cover that second; 0 = none, `OPEN_END` = no end yet."""
        last = np.zeros(circuits, np.int64)
        now = self._now(second, kinds)
        np.maximum.at(last, self.circuit[now], self.end[now])
        return last

    def _now(self, second: int, kinds: Collection[str]) -> BoolArray:
        now = (self.start <= second) & (second < self.end) & (self.known <= second)
        if kinds:
            now &= np.isin(self.kind, list(kinds))
        return np.asarray(now)


def _second(at: datetime) -> int:
    return int(at.timestamp())
