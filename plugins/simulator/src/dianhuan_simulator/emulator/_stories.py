"""Stories of plants: one offence or one benign twin each, with its effects on what flows and on what is measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Effect(NamedTuple):
    """A change of one thing over [start, end) minutes.

    On what flows: `treatment_off` (group), `treatment_scale` (group, factor of power and of what it
    removes), `unit_scale` (group, factor of power at equal effect), `treatment_on` (group), `line_run`
    (line, share of rated power), `line_scale` (line, factor), `hold_heat` (line, share of rated power).
    On what is measured: `frozen` (circuit), `replay` (circuit, noise; `source` = day copied), `forged` (circuit of a
    unit, ratio to its production), `scale` (circuit, factor), `zero` (circuit), `missing` (circuit), `dark` (plant;
    1 = reads zero, 0 = reads nothing), `lost` (plant; 1 = sent afterwards, at `arrives`).
    """

    kind: str
    target: int
    start: int
    end: int
    value: float = 0.0
    source: int = -1
    arrives: int = -1


class Report(NamedTuple):
    """A filed report (报备) or a work order; minutes. `kind` as in `filed_report`, or `meter` for work orders."""

    plant: int
    kind: str
    start: int
    end: int
    filed: int
    note: str = ""


@dataclass(frozen=True)
class Story:
    """One row of the truth.

    Args:
        plant: index within the block.
        kind: what it is, e.g. `treatment_off`, `frozen`, `maintenance`.
        strategy: the offender's strategy; empty for twins.
        start, end: [start, end) in minutes from the start of the run.
        group: group of treatment it concerns, -1 for none.
        line: line it concerns, -1 for none.
        effects: what it does.
        report: what the plant files about it, if it does.
        note: words for people.
    """

    plant: int
    kind: str
    strategy: str
    start: int
    end: int
    group: int = -1
    line: int = -1
    effects: tuple[Effect, ...] = field(default=())
    report: Report | None = None
    note: str = ""

    @property
    def offence(self) -> bool:
        """Is it an offence? Twins have no strategy."""
        return self.strategy != ""

    def meets(self, start: int, end: int) -> bool:
        """Does it overlap [start, end)?"""
        return self.start < end and start < self.end
