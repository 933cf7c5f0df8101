"""Counts of verified cases by model and province."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

FOUND = "verified"
WASTED = ("benign_explained", "device_fault", "not_found")
"""Results that made the trip a wasted one. `could_not_inspect` says nothing about the model."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What visits to one model's warnings found in one province.

    Args:
        province: first two digits of GB/T 2260.
        found: warnings that held.
        wasted: warnings that did not: benign, a device fault, nothing found.
        open: visits that could not inspect.
    """

    province: str
    found: int
    wasted: int
    open: int = 0

    @property
    def judged(self) -> int:
        """Visits that tell something."""
        return self.found + self.wasted


def counts_by_model(
    warnings: Iterable[Mapping[str, Any]], outcomes: Iterable[Mapping[str, Any]]
) -> dict[tuple[str, str], list[Counts]]:
    """Join outcomes to the warnings that led to them.

    Args:
        warnings: rows with `hub`, `province`, `record_id`, `model_id`, `model_version`.
        outcomes: rows with `hub`, `warning_id`, `result`.

    Returns:
        (model, version) → counts by province, in order of the codes. A visit counts once for each model that warned of
        it; an outcome without its warning counts for none.
    """
    models = {(w["hub"], w["record_id"]): (w["model_id"], w["model_version"], w["province"]) for w in warnings}
    tally: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for outcome in outcomes:
        key = models.get((outcome["hub"], outcome["warning_id"]))
        if key is None:
            continue
        place = 0 if outcome["result"] == FOUND else 1 if outcome["result"] in WASTED else 2
        tally[key][place] += 1
    out: dict[tuple[str, str], list[Counts]] = defaultdict(list)
    for (model, version, province), (found, wasted, left) in sorted(tally.items()):
        out[model, version].append(Counts(province, found, wasted, left))
    return dict(out)
