"""T2: cities with known truth, at stated base rates."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from dianhuan_bench._baselines import baselines, read
from dianhuan_bench._metrics import clopper_pearson, figures
from dianhuan_bench._run import Judge, Said, findings, run
from dianhuan_bench._window import CityWindow
from dianhuan_sdk import ModelSpec
from dianhuan_simulator import City, CityConfig

START = date(2026, 3, 2)
FUSED = "fused"


def full(
    specs: Sequence[ModelSpec],
    entities: int,
    base_rate: float,
    seed: int,
    *,
    start: date = START,
    knobs: Path | None = None,
    judge: Judge | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Mapping[str, Any]:
    """Models and baselines on one city: figures of each list, confounders, alarm budgets.

    Args:
        specs: the models.
        entities: size of the city.
        base_rate: share of violators.
        seed: of the city.
        start: first day; the list is that of the last day of the longest window.
        knobs: overrides of the simulator's knobs: another province.
        judge: the hub's gates; without them findings count as they are.
        say: told what is being done.
    """
    began = time.perf_counter()
    span = max(s.window_days for s in specs)
    config = CityConfig(entities=entities, days=max(span, 30), start=start, base_rate=base_rate, knobs=knobs)
    city = City(config, seed)
    last = city.days[-1]
    say(f"city of {entities:,}, base rate {base_rate:.2%}, seed {seed}")
    wanted = {f for s in specs for f in s.features} | set(read())
    window = CityWindow(city, last, span, wanted)
    kinds, violators = truth_on(city, window.entities["entity_id"].to_pylist(), last)
    said = run(specs, window, window.context, judge, say)
    rows: dict[str, Any] = {}
    for name, score in {FUSED: said.fused, **said.scores}.items():
        say(f"figures of {name}")
        rows[name] = {"role": "model", **figures(score, violators, seed)}
    ranked, skipped = baselines(window, seed)
    for name, score in ranked.items():
        rows[name] = {"role": "baseline", **figures(score, violators, seed)}
    window.close()
    return {
        "tier": "T2",
        "entities": entities,
        "base_rate": base_rate,
        "seed": seed,
        "province": city.knobs.place.province,
        "start": start.isoformat(),
        "day": last.isoformat(),
        "violators": int(violators.sum()),
        "gates": "hub" if judge is not None else "none",
        "rows": rows,
        "confounders": confounders(said, kinds, violators),
        "budgets": budgets(said, violators),
        "cannot_tell": dict(said.cannot_tell),
        "seconds": {**said.seconds, "all": round(time.perf_counter() - began, 1)},
        "failed": dict(said.failed),
        "left_out": skipped,
    }


def truth_on(city: City, ids: Sequence[str], day: date) -> tuple[list[str], np.ndarray[Any, np.dtype[np.bool_]]]:
    """Kind of each enterprise on a day (`ordinary` where nothing is told), and who violates.

    Of several benign stories of one enterprise the first of the truth table stands.
    """
    kinds, violator = dict.fromkeys(ids, "ordinary"), dict.fromkeys(ids, False)
    for t in city.truth().to_pylist():
        if t["from"] <= day and (t["to"] is None or t["to"] > day):
            if t["is_violation"] or kinds[t["entity_id"]] == "ordinary":
                kinds[t["entity_id"]] = t["kind"]
            violator[t["entity_id"]] |= t["is_violation"]
    return [kinds[i] for i in ids], np.array([violator[i] for i in ids])


def confounders(said: Said, kinds: Sequence[str], violators: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
    """Kind of innocent enterprise → how many there are and how many of them each model warns of."""
    names = np.array(kinds)
    out = []
    for kind in sorted({str(k) for k in names[~violators]}):
        rows = (names == kind) & ~violators
        warned = {m: int((s[rows] > 0).sum()) for m, s in {FUSED: said.fused, **said.scores}.items()}
        out.append({"kind": kind, "enterprises": int(rows.sum()), "warned": warned})
    return sorted(out, key=lambda r: -r["warned"][FUSED])


def budgets(said: Said, violators: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
    """False alarms of each model beside the budget of its card.

    An enterprise has one open case at a time, so false alarms of a month are innocent enterprises that are warned of
    at the end of it. `exceeded`: the whole 95 % interval lies above the budget; `unclear`: the budget lies within.
    """
    innocent = int((~violators).sum())
    out = []
    for spec in said.specs:
        if spec.id not in said.scores:
            continue
        false = int((said.scores[spec.id][~violators] > 0).sum())
        low, high = clopper_pearson(false, innocent)
        state = "exceeded" if low > spec.alarm_budget else "held" if high <= spec.alarm_budget else "unclear"
        out.append(
            {
                "model": spec.id,
                "budget": spec.alarm_budget,
                "false_alarms": false,
                "enterprises": innocent,
                "per_enterprise_month": round(false / innocent, 6),
                "low": round(low, 6),
                "high": round(high, 6),
                "state": state,
            }
        )
    return out


def confounder_suite(
    specs: Sequence[ModelSpec], entities: int, seed: int, judge: Judge | None = None
) -> list[dict[str, Any]]:
    """Alarm budgets in a city in which nobody violates anything, only looks like it; for any vendor's models."""
    span = max(s.window_days for s in specs)
    city = City(CityConfig(entities=entities, days=max(span, 30), start=START, base_rate=0.0), seed)
    window = CityWindow(city, city.days[-1], span, {f for s in specs for f in s.features})
    said = run(specs, window, window.context, judge)
    window.close()
    return budgets(said, np.zeros(entities, bool))


def future_poison(spec: ModelSpec, entities: int, seed: int) -> list[str]:
    """What changes in a model's answer when registers hold what happened after the day; empty if nothing does.

    The same city is run for longer: closures, acceptances and reports of later days stand in its registers.
    """
    span = max(spec.window_days, 28)
    answers = []
    for more in (0, 45):
        city = City(CityConfig(entities=entities, days=span + more, start=START, base_rate=0.02), seed)
        last = START + timedelta(days=span - 1)
        day_window = CityWindow(city, last, spec.window_days, spec.features)
        everything = replace(day_window.context, tables=day_window.tables)
        found = findings(spec, day_window, everything)
        answers.append({(f.entity_id, f.rule): f for f in found})
        day_window.close()
    now, later = answers
    return [f"{k[0]} {k[1]}" for k in sorted(now.keys() | later.keys()) if now.get(k) != later.get(k)]
