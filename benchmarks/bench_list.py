"""What the list is worth: precision of the first k beside the rules that running systems use, at stated base rates.

Tier T2: simulated cities with known truth, files through the hub, the four daily models with their gates. The seeds are
not those of any test. A visit counts as a hit if the enterprise violates on the day of the list. `--quick`: a ninth of
the city, one base rate.
"""

from __future__ import annotations

import math
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._report import table, write
from benchmarks.bench_night import FULL, START, fill, new_hub
from dianhuan_models.baselines import BASELINES
from dianhuan_simulator import City, CityConfig

DAYS = 30
SEED = 7_001


def interval(hits: int, k: int) -> list[float]:
    """Wilson's 95 % interval."""
    z = 1.96
    centre = (hits + z * z / 2) / (k + z * z)
    half = z / (k + z * z) * math.sqrt(hits * (k - hits) / k + z * z / 4)
    return [round(max(centre - half, 0), 3), round(min(centre + half, 1), 3)]


def precision(ranked: list[str], violators: set[str]) -> dict[str, Any]:
    """Hits and precision at k = 65 and 130 (fewer where the list is shorter) and at the number of violators."""
    out: dict[str, Any] = {"listed": len(ranked)}
    for k in (65, 130):
        chosen = ranked[:k]
        hits = sum(e in violators for e in chosen)
        share = round(hits / len(chosen), 3) if chosen else None
        out[f"P@{k}"] = f"{share} ({hits}/{len(chosen)})"
        out[f"95 % of P@{k}"] = interval(hits, len(chosen)) if chosen else None
    r = len(violators)
    out["R-precision"] = round(sum(e in violators for e in ranked[:r]) / r, 3) if r else None
    return out


def one_city(entities: int, base_rate: float, seed: int) -> dict[str, Any]:
    """Screen one city; the hub's list and every baseline against the truth of its last day."""
    last = START + timedelta(days=DAYS - 1)
    truth = City(CityConfig(entities=entities, days=DAYS, start=START, base_rate=base_rate), seed).truth().to_pylist()
    active = [t for t in truth if t["from"] <= last and (t["to"] is None or t["to"] > last)]
    violators = {t["entity_id"] for t in active if t["is_violation"]}
    twins = {t["entity_id"]: t["kind"] for t in active if not t["is_violation"]}
    with tempfile.TemporaryDirectory(prefix="dianhuan-list-") as name:
        folder = Path(name)
        hub = new_hub(folder / "hub")
        fill(hub, entities, DAYS, folder / "city", base_rate=base_rate, seed=seed, keep=False)
        report = hub.screening.run(last)
        lines = hub.lists.todays(last, 100_000).lines
        ranked = [line.entity_id for line in lines]
        rows = [{"rule": "dianhuan list", **precision(ranked, violators)}]
        block = hub.store.city(last, 28, ["kwh", "night_kw", "day_kw"])
        ids = np.array(block.entities.column("entity_id").to_pylist())
        for rule, score in BASELINES.items():
            values = score(block)
            fires = np.flatnonzero(values >= (0 if rule == "largest_kwh" else 1))
            order = fires[np.argsort(-values[fires], kind="stable")]
            rows.append({"rule": rule, **precision(ids[order].tolist(), violators)})
        hub.close()
    wasted: dict[str, int] = {}
    for entity in ranked[:130]:
        if entity not in violators:
            kind = twins.get(entity, "ordinary")
            wasted[kind] = wasted.get(kind, 0) + 1
    return {
        "entities": entities,
        "base_rate": base_rate,
        "seed": seed,
        "violators": len(violators),
        "findings": report.findings,
        "warnings": report.warnings,
        "rules": rows,
        "wasted_of_first_130": dict(sorted(wasted.items(), key=lambda item: -item[1])),
    }


def main() -> None:
    """One city for each base rate."""
    quick = "--quick" in sys.argv
    cities = [
        one_city(FULL // 9 if quick else FULL, rate, SEED + i)
        for i, rate in enumerate((0.002,) if quick else (0.002, 0.01))
    ]
    write("list", {"tier": "T2", "days": DAYS, "cities": cities})
    for city in cities:
        print(f"\nbase rate {city['base_rate']:.2%}, {city['entities']:,} enterprises, {city['violators']} violators")
        print(table(city["rules"]))


if __name__ == "__main__":
    main()
