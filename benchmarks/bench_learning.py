"""Sixty days of list, visits, outcomes and learning: what the list gains, and whether its bound holds.

Tier T2. A city whose violations begin on any day of the run; every day its models run behind the hub's gates, the
hub's ranking makes the list, inspectors who err go out, violators who were visited react, and the ranking learns from
the outcomes of the days before. One city for each way of fusing, so that each lives with the visits that it chose.
Nobody is visited again within 14 days. `--quick`: one seed, 20 days, rules and all ways together only.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._gates import hub_gates
from benchmarks._report import table, write
from dianhuan_bench import CityWindow, installed_models, run
from dianhuan_hub.ranking import (
    COLD,
    RECIDIVIST,
    Costs,
    Visit,
    Way,
    bound,
    clopper_pearson,
    learn,
    lessons,
    past_days,
    probabilities,
    visit_order,
)
from dianhuan_models.fusion import FUSIONS
from dianhuan_sdk.testing import kit_context
from dianhuan_simulator import City, CityConfig, inspect, react

START = date(2026, 3, 2)
SEEDS = (43_001, 43_002)
ENTITIES, BASE_RATE = 12_000, 0.04
CAPACITY, RANDOM_SHARE, REST = 8, 0.125, 14
WAYS: dict[str, tuple[str, ...]] = {
    "rules": (),
    "logistic": ("logistic",),
    "boosting": ("boosting",),
    "as the hub": ("logistic", "boosting"),
}


def ways(names: tuple[str, ...], folder: Path) -> list[Way]:
    """Ways of fusing of the installed plugin."""
    return [
        Way(f.id, f.version, f.least, f.least_wasted, f.factory(kit_context("bench", f.config_model(), folder)))
        for f in FUSIONS
        if f.id in names
    ]


def knobs(folder: Path, days: int) -> Path:
    """Violations that begin all through the run, not in its first weeks only."""
    file = folder / "knobs.yaml"
    file.write_text(f"violations: {{onset: [3, {days - 5}], since_long: 0.2}}\n", "utf-8")
    return file


def one_run(name: str, seed: int, list_days: int, folder: Path) -> list[dict[str, Any]]:
    """One city under one way of fusing: a row for each list day."""
    specs = installed_models()
    span = max(s.window_days for s in specs)
    days = span + list_days
    config = CityConfig(entities=ENTITIES, days=days, start=START, base_rate=BASE_RATE, knobs=knobs(folder, days))
    city = City(config, seed)
    window = CityWindow(city, city.days[span - 1], span, {f for s in specs for f in s.features})
    ids = np.array(window.entities["entity_id"].to_pylist())
    division = dict(zip(ids, window.entities["division"].to_pylist(), strict=True))
    chosen = ways(WAYS[name], folder)
    rng = np.random.default_rng((seed, 7))
    ranking, visits, rows = COLD, [], []
    rested: dict[str, date] = {}
    for number in range(list_days):
        day = window.days[-1]
        said = run(specs, window, window.context, hub_gates)
        waiting = [int(i) for i in np.flatnonzero(said.fused > 0) if rested.get(ids[i], day) <= day]
        held = {v.entity_id for v in visits if v.code == "verified"}
        scores = [
            {m: float(s[i]) for m, s in said.scores.items() if s[i] > 0} | ({RECIDIVIST: 1.0} if ids[i] in held else {})
            for i in waiting
        ]
        p = np.array(probabilities(ranking, chosen, scores)) if waiting else np.zeros(0)
        drawn = min(round(CAPACITY * RANDOM_SHARE), max(len(waiting) - CAPACITY, 0))
        ones = np.ones(len(waiting))
        where = [division[ids[i]] for i in waiting]
        top = visit_order(p, ones, 0 * ones, where, Costs(), CAPACITY - drawn) if waiting else []
        rest = [c for c in range(len(waiting)) if c not in set(top)]
        extra = rng.choice(rest, drawn, replace=False).tolist() if drawn else []
        listed = [*top, *extra]
        found = bound(p[top], past_days(visits)) if top else None
        names = [str(ids[waiting[c]]) for c in listed]
        codes = inspect(city, names, day, rng)
        guilty = _guilty(city, day)
        rows.append(_row(number, ranking.fusion, codes, names, len(top), guilty, found, len(waiting)))
        at = datetime(day.year, day.month, day.day, 10, tzinfo=UTC)
        for place, (c, code) in enumerate(zip(listed, codes, strict=True)):
            arm = "ranked" if place < len(top) else "random"
            chance = 1.0 if arm == "ranked" else drawn / max(len(rest), 1)
            case, entity = f"{day}-{names[place]}", names[place]
            visits.append(Visit(day, place, arm, chance, float(p[c]), case, entity, scores[c], code, at))
            rested[entity] = day + timedelta(days=REST)
        react(city, names, codes, day, rng)
        ranking = learn(lessons(visits), chosen)
        if number < list_days - 1:
            window.advance()
    window.close()
    return rows


def _guilty(city: City, day: date) -> set[str]:
    return {
        t["entity_id"]
        for t in city.truth().to_pylist()
        if t["is_violation"] and t["from"] <= day and (t["to"] is None or t["to"] > day)
    }


def _row(
    number: int,
    fusion: str,
    codes: list[str],
    names: list[str],
    ranked: int,
    guilty: set[str],
    found: Any,
    waiting: int,
) -> dict[str, Any]:
    judged = [c for c in codes[:ranked] if c != "could_not_inspect"]
    wasted = np.cumsum([c not in ("verified", "could_not_inspect") for c in codes[:ranked]])
    really = np.cumsum([n not in guilty for n in names[:ranked]])
    return {
        "day": number,
        "fusion": fusion,
        "waiting": waiting,
        "ranked": ranked,
        "judged": len(judged),
        "held": sum(c == "verified" for c in judged),
        "guilty": sum(n in guilty for n in names[:ranked]),
        "violators": len(guilty),
        "bound": None if found is None else [int(w) for w in found.wasted[:ranked]],
        "broken": None if found is None or not ranked else bool((wasted > found.wasted[:ranked]).any()),
        "broken_by_truth": None if found is None or not ranked else bool((really > found.wasted[:ranked]).any()),
    }


def summary(name: str, seed: int, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Precision of the ranked visits by thirds of the run, and the bound's record."""
    third = max(len(rows) // 3, 1)
    out: dict[str, Any] = {"way": name, "seed": seed}
    for label, part in (("first", rows[:third]), ("middle", rows[third : 2 * third]), ("last", rows[2 * third :])):
        held, judged = sum(r["held"] for r in part), sum(r["judged"] for r in part)
        low, high = clopper_pearson(held, judged)
        out[f"held, {label} third"] = f"{held}/{judged} ({low:.2f}–{high:.2f})"
    out["truly guilty"] = f"{sum(r['guilty'] for r in rows)}/{sum(r['ranked'] for r in rows)}"
    bounded = [r for r in rows if r["broken"] is not None]
    out["days with bound"] = len(bounded)
    out["bound broken"] = sum(r["broken"] for r in bounded)
    out["claimed wasted at the end (mean)"] = (
        round(float(np.mean([r["bound"][-1] for r in bounded])), 2) if bounded else None
    )
    out["fusion on the last day"] = rows[-1]["fusion"]
    return out


def _write(rows: list[dict[str, Any]], facts: dict[str, Any], list_days: int) -> tuple[int, int, float, float]:
    """Keep what is there so far: a whole run takes many minutes."""
    days = sum(r["days with bound"] for r in rows)
    broken = sum(r["bound broken"] for r in rows)
    low, high = clopper_pearson(broken, days)
    write(
        "learning",
        {
            "tier": "T2",
            "entities": ENTITIES,
            "base_rate": BASE_RATE,
            "capacity": CAPACITY,
            "list_days": list_days,
            "runs": rows,
            "bound_broken": {"days": days, "broken": broken, "low": round(low, 4), "high": round(high, 4)},
            "by_day": facts,
        },
    )
    return days, broken, low, high


def main() -> None:
    """All ways and seeds."""
    quick = "--quick" in sys.argv
    list_days = 20 if quick else 60
    names = ("rules", "as the hub") if quick else tuple(WAYS)
    facts: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    days, broken, low, high = 0, 0, 0.0, 1.0
    with tempfile.TemporaryDirectory(prefix="dianhuan-learning-") as folder:
        for seed in SEEDS[:1] if quick else SEEDS:
            for name in names:
                facts[f"{name}/{seed}"] = made = one_run(name, seed, list_days, Path(folder))
                rows.append(summary(name, seed, made))
                print(rows[-1], file=sys.stderr, flush=True)
                days, broken, low, high = _write(rows, facts, list_days)
    print(table(rows))
    print(f"bound broken on {broken} of {days} days ({low:.3f}–{high:.3f}; promised: at most .05)")


if __name__ == "__main__":
    main()
