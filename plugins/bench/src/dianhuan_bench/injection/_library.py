"""The recipes and twins by name, and how they are drawn and made again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dianhuan_bench.injection import _benign as b
from dianhuan_bench.injection import _grid, _theft, _treatment
from dianhuan_bench.injection._types import Curve, Draft, Injected, Recipe
from dianhuan_sdk import InputError

RECIPES: Mapping[str, Recipe] = {
    "J1": _theft.j1,
    "J2": _theft.j2,
    "J3": _theft.j3,
    "J4": _theft.j4,
    "J5": _theft.j5,
    "J6": _theft.j6,
    "V1": _treatment.v1,
    "V2": _treatment.v2,
    "V3": _grid.v3,
    "V4": _grid.v4,
    "V5": _grid.v5,
    "V6": _grid.v6,
    "V7": _grid.v7,
    "V8": _grid.v8,
    "V9": _treatment.v9,
    "V10": _grid.v10,
    "V11": _treatment.v11,
}
"""Violations by name."""

_THEFT_TWINS: Mapping[str, Recipe] = {"load_loss": b.load_loss, "efficient_machine": b.efficient_machine}
TWINS: Mapping[str, Mapping[str, Recipe]] = {
    **{f"J{n}": _THEFT_TWINS for n in range(1, 7)},
    "V1": {
        "filed_maintenance": b.filed_maintenance,
        "backwash": b.backwash,
        "lunch_stop": b.lunch_stop,
        "dead_ct": b.dead_ct,
        "comm_loss": b.comm_loss,
    },
    "V2": {"vfd_following": b.vfd_following, "product_change": b.product_change},
    "V3": {
        "valley_furnace": b.valley_furnace,
        "cold_store": b.cold_store,
        "ev_depot": b.ev_depot,
        "security_light": b.security_light,
        "pv_net": b.pv_net,
    },
    "V4": {"ct_ratio_change": b.ct_ratio_change},
    "V5": {"constant_pump": b.constant_pump, "buffer_backfill": b.buffer_backfill},
    "V6": {"true_cut": b.true_cut, "order_slump": b.order_slump},
    "V7": {"dismantling": b.dismantling, "caretaker": b.caretaker, "legal_tenant": b.legal_tenant},
    "V8": {"dewatering": b.dewatering, "ventilation": b.ventilation, "indoor_work": b.indoor_work},
    "V9": {"seasonal": b.seasonal, "filter_step": b.filter_step},
    "V10": {"franchise": b.franchise},
}
"""Benign twins of each recipe by name; V11 has none: nothing honest is timed against a persistence rule."""

_EARLIEST, _LATEST = 0.3, 0.7
"""Where the changed part begins, as shares of the days: there is history before and time to be seen after."""


def inject(recipe: str, kw: Curve, rng: np.random.Generator) -> Injected:
    """A curve with a violation from some day on.

    Args:
        recipe: name in `RECIPES`.
        kw: shape (days, 96), kW, NaN = missing; at least 8 days.
        rng: from which the injection's own seed is drawn; that seed stands in the parameters.

    Raises:
        InputError: no such recipe, or a curve of another shape.
    """
    _asked(recipe, RECIPES)
    return _make(RECIPES[recipe], kw, _seed(rng), {"recipe": recipe}, violation=True)


def twin(recipe: str, kw: Curve, rng: np.random.Generator, name: str | None = None) -> Injected:
    """A curve with a benign twin of a violation; one of the recipe's twins is drawn unless it is named.

    Raises:
        InputError: no such recipe or twin, a recipe without twins, or a curve of another shape.
    """
    _asked(recipe, TWINS)
    seed = _seed(rng)
    names = list(TWINS[recipe])
    chosen = names[seed % len(names)] if name is None else name
    _asked(chosen, TWINS[recipe])
    return _make(TWINS[recipe][chosen], kw, seed, {"recipe": recipe, "twin": chosen}, violation=False)


def again(kw: Curve, parameters: Mapping[str, Any]) -> Injected:
    """The same injection or twin once more, from the source curve and the parameters that were kept."""
    recipe, name = str(parameters["recipe"]), parameters.get("twin")
    make = RECIPES[recipe] if name is None else TWINS[recipe][str(name)]
    head = {"recipe": recipe} if name is None else {"recipe": recipe, "twin": name}
    return _make(make, kw, int(parameters["seed"]), head, violation=name is None)


def _make(make: Recipe, kw: Curve, seed: int, head: Mapping[str, Any], *, violation: bool) -> Injected:
    if kw.ndim != 2 or kw.shape[1] != 96 or len(kw) < 8:
        raise InputError(f"a curve of shape {kw.shape}", expected="(days, 96) with at least 8 days")
    rng = np.random.default_rng(seed)
    first = int(rng.integers(int(_EARLIEST * len(kw)), int(_LATEST * len(kw)) + 1))
    draft = Draft(np.asarray(kw, np.float32), rng, first)
    make(draft)
    same = (draft.kw == draft.source) | (np.isnan(draft.kw) & np.isnan(draft.source))
    label = ~same if violation else np.zeros(same.shape, bool)
    return Injected(draft.kw, label, {**head, "seed": seed, **draft.drawn}, draft.beside)


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(0, 2**62))


def _asked(name: str, among: Mapping[str, Any]) -> None:
    if name not in among:
        raise InputError(f"nothing called {name!r}", expected=f"one of {', '.join(among)}")
