"""Runs warning models over a block and fuses what they say."""

from __future__ import annotations

import importlib.metadata
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pluggy
import pyarrow as pa

from dianhuan_bench._window import LastDays
from dianhuan_sdk import Block, DianhuanError, Finding, ModelContext, ModelSpec, hooks
from dianhuan_sdk.manifest import ENTRY_POINT_GROUP
from dianhuan_sdk.testing import kit_context

Scores = np.ndarray[Any, np.dtype[np.float64]]


class Judge(Protocol):
    """Gates: which findings may become warnings."""

    def __call__(
        self,
        block: Block,
        context: ModelContext,
        tables: Mapping[str, pa.Table],
        found: Sequence[tuple[ModelSpec, Finding]],
    ) -> Sequence[bool]:
        """Whether each finding passes the gates of its model."""
        ...


@dataclass(frozen=True)
class Said:
    """What models said about a block.

    Args:
        specs: the models that ran.
        scores: model id → shape (entities,): strongest score of its warnings, 0 where it is silent.
        cannot_tell: model id → findings without a verdict.
        seconds: model id → time of one run.
        failed: model id → why it gave nothing.
    """

    specs: Sequence[ModelSpec]
    scores: Mapping[str, Scores]
    cannot_tell: Mapping[str, int]
    seconds: Mapping[str, float]
    failed: Mapping[str, str]

    @property
    def fused(self) -> Scores:
        """1 − Π(1 − score), the list before there are outcomes."""
        rest = np.ones_like(next(iter(self.scores.values())))
        for score in self.scores.values():
            rest *= 1 - score
        return np.asarray(1 - rest)


def installed_models(only: Sequence[str] = ()) -> list[ModelSpec]:
    """Daily and advance models of all installed plugins; of `only` (ids or their part before the dash) if given.

    A plugin that cannot be imported is left out; `dianhuan plugin list` says why.
    """
    found: dict[str, ModelSpec] = {}
    for entry_point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        manager = pluggy.PluginManager(hooks.PROJECT)
        manager.add_hookspecs(hooks)
        try:
            manager.register(entry_point.load(), entry_point.name)
            specs = [s for group in manager.hook.dianhuan_models() for s in group]
        except Exception:  # a broken plugin is the loader's affair
            continue
        found.update({s.id: s for s in specs if s.tier in ("daily", "advance")})
    chosen = [s for s in found.values() if not only or s.id in only or s.id.partition("-")[0] in only]
    return sorted(chosen, key=lambda s: s.id)


def findings(spec: ModelSpec, block: Block, context: ModelContext) -> Sequence[Finding]:
    """What one model says about a block at least as long as its window."""
    days = spec.window_days
    mine = ModelContext(
        context.as_of,
        context.calendar[-days:],
        context.tariff[-days:],
        {t: context.tables[t] for t in spec.reads if t in context.tables},
    )
    with tempfile.TemporaryDirectory(prefix="dianhuan-bench-") as folder:
        model = spec.factory(kit_context("bench", spec.config_model(), Path(folder)))
        return list(model.score(LastDays(block, days), mine))


def run(
    specs: Sequence[ModelSpec],
    block: Block,
    context: ModelContext,
    judge: Judge | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Said:
    """Run models over a block; a model that fails is reported and the others go on."""
    place = {e: i for i, e in enumerate(block.entities["entity_id"].to_pylist())}
    found: list[tuple[ModelSpec, Finding]] = []
    seconds, failed = {}, {}
    for spec in specs:
        say(spec.id)
        began = time.perf_counter()
        try:
            found += [(spec, f) for f in findings(spec, block, context)]
        except DianhuanError as error:
            failed[spec.id] = str(error)
        seconds[spec.id] = round(time.perf_counter() - began, 2)
    suspects = [(s, f) for s, f in found if f.verdict == "suspect"]
    passed = [True] * len(suspects) if judge is None else judge(block, context, context.tables, suspects)
    scores = {s.id: np.zeros(len(place)) for s in specs if s.id not in failed}
    for (spec, finding), passes in zip(suspects, passed, strict=True):
        if passes:
            row = place[finding.entity_id]
            scores[spec.id][row] = max(scores[spec.id][row], finding.score)
    unsure = {s.id: sum(1 for m, f in found if m is s and f.verdict != "suspect") for s in specs}
    return Said(specs, scores, unsure, seconds, failed)
