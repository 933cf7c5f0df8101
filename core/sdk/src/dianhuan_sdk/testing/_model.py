"""Checks of warning models: pure, deterministic, blind to the future, indifferent to the order of rows."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel

from dianhuan_sdk import ArrayBlock, CurveModel, Finding, ModelSpec, PluginContext, TableContract
from dianhuan_sdk.testing._city import context_of, first_days, reordered, with_curves
from dianhuan_sdk.testing._report import NotMet, NotTried

_TOLERANCE = 1e-4
"""Sums over rows in another order differ in the last digits of float32."""


class ModelTrial:
    """One model on small cities.

    Args:
        context: makes the plugin's context from a config.
        spec: its descriptor.
        parameters: values for its config model.
        tables: context tables by name.
        contracts: contracts of tables that are not given; they are then empty.
        block: `(days, seed) -> ArrayBlock`.
    """

    def __init__(
        self,
        context: Callable[[BaseModel], PluginContext],
        spec: ModelSpec,
        parameters: Mapping[str, Any],
        tables: Mapping[str, pa.Table],
        contracts: Mapping[str, TableContract],
        block: Callable[[int, int], ArrayBlock],
    ) -> None:
        missing = [t for t in spec.reads if t not in tables and t not in contracts]
        self._untried = f"the scenario gives neither rows nor contract of {', '.join(missing)}" if missing else ""
        self._tables = {
            t: tables[t] if t in tables else contracts[t].schema.empty_table() for t in spec.reads if t not in missing
        }
        self._context, self._spec, self._parameters, self._block = context, spec, dict(parameters), block

    def checks(self) -> Mapping[str, Callable[[], None]]:
        """The checks by id."""
        return {
            "model.findings": self.findings,
            "model.deterministic": self.deterministic,
            "model.pure": self.pure,
            "model.future_poison": self.future_poison,
            "model.row_order": self.row_order,
            "model.missing": self.missing,
            "model.speaks": self.speaks,
        }

    def findings(self) -> None:
        """Findings are about the block's entities, in range, with reasons in two languages and JSON evidence."""
        block = self._block(self._spec.window_days, 1)
        known = set(block.table["entity_id"].to_pylist())
        for f in self._score(block):
            place = f"finding {f.entity_id} {f.day} {f.rule}"
            _ask(f.entity_id in known, f"{place}: no such entity in the block")
            _ask(f.day in block.window, f"{place}: the day is not in the window")
            _ask(0 <= f.score <= 1, f"{place}: score {f.score}, asked is 0 … 1")
            _ask(f.verdict != "cannot_tell" or bool(f.counter), f"{place}: cannot_tell without a reason in `counter`")
            _ask(f.verdict != "suspect" or bool(f.reasons), f"{place}: suspect without reasons")
            texts = [*f.reasons, *f.counter]
            _ask(all(t.zh.strip() and t.en.strip() for t in texts), f"{place}: words in one language only")
            try:
                json.dumps(dict(f.evidence), allow_nan=False)
            except (TypeError, ValueError) as error:
                raise NotMet(f"{place}: evidence is no JSON: {error}") from None

    def deterministic(self) -> None:
        """Two instances give the same findings."""
        block = self._block(self._spec.window_days, 1)
        _same(self._score(block), self._score(block), "a second run", tolerance=0)

    def pure(self) -> None:
        """The inputs are as they were, and the instance keeps nothing that changes a second answer."""
        block = self._block(self._spec.window_days, 1)
        kw, model = block.kw.copy(), self._model()
        first = self._run(model, block)
        _same(first, self._run(model, block), "the same instance again", tolerance=0)
        _ask(bool(np.array_equal(kw, block.kw, equal_nan=True)), "the curves were changed")
        self._run(model, self._block(self._spec.window_days, 2))
        _same(first, self._run(model, block), "the same instance after another city", tolerance=0)

    def future_poison(self) -> None:
        """What comes after the last day has no effect: an instance that has seen absurd later days answers the same."""
        days = self._spec.window_days
        longer = self._block(days + 3, 1)
        now = first_days(longer, days)
        poisoned = longer.kw.copy()
        poisoned[:, days:] = np.where(np.isnan(poisoned[:, days:]), np.nan, 1e6)
        later = ArrayBlock(longer.table, longer.window[3:], poisoned[:, 3:].copy(), longer.valley[3:])
        model = self._model()
        self._run(model, later)
        _same(self._score(now), self._run(model, now), "an instance that has seen later days", tolerance=0)

    def row_order(self) -> None:
        """The order of entities has no effect on what is said about each."""
        block = self._block(self._spec.window_days, 1)
        order = np.random.default_rng(3).permutation(block.table.num_rows)
        _same(self._score(block), self._score(reordered(block, order)), "entities in another order", _TOLERANCE)

    def missing(self) -> None:
        """Nobody is a suspect without data, and an empty city is no error."""
        block = self._block(self._spec.window_days, 1)
        suspects = [
            f for f in self._score(with_curves(block, np.full_like(block.kw, np.nan))) if f.verdict == "suspect"
        ]
        _ask(not suspects, f"{len(suspects)} suspects where every point is missing")
        empty = reordered(block, np.arange(0))
        _ask(not self._score(empty), "findings in a city without entities")

    def speaks(self) -> None:
        """There are findings to look at: on a city that gives none, the other checks say little."""
        if not any(f.verdict == "suspect" for f in self._score(self._block(self._spec.window_days, 1))):
            raise NotTried("the city gives this model no suspect: give the scenario a block that does")

    def _model(self) -> CurveModel:
        if self._untried:
            raise NotTried(self._untried)
        config = self._spec.config_model.model_validate(self._parameters)
        return self._spec.factory(self._context(config))

    def _score(self, block: ArrayBlock) -> Sequence[Finding]:
        return self._run(self._model(), block)

    def _run(self, model: CurveModel, block: ArrayBlock) -> Sequence[Finding]:
        return list(model.score(block, context_of(block, self._tables)))


def _ask(holds: bool, otherwise: str) -> None:
    if not holds:
        raise NotMet(otherwise)


def _same(one: Sequence[Finding], other: Sequence[Finding], what: str, tolerance: float) -> None:
    a, b = ({(f.entity_id, str(f.day), f.rule): f for f in fs} for fs in (one, other))
    if a.keys() != b.keys():
        odd = sorted(a.keys() ^ b.keys())
        raise NotMet(f"{what}: {len(odd)} findings differ, first {odd[0]}")
    for key in a:
        f, g = a[key], b[key]
        close = math.isclose(f.score, g.score, rel_tol=tolerance, abs_tol=tolerance)
        if f.verdict != g.verdict or not close:
            raise NotMet(f"{what}: {key}: {f.verdict} {f.score} became {g.verdict} {g.score}")
        if tolerance == 0 and f != g:
            raise NotMet(f"{what}: {key}: words or evidence differ")
