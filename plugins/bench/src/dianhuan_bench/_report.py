"""One report of all tiers that were run."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dianhuan_bench._full import confounder_suite, full
from dianhuan_bench._measured import measured
from dianhuan_bench._run import Judge
from dianhuan_sdk import InputError, ModelSpec

RATES = (0.0005, 0.002, 0.01)
"""Base rates that are swept unless others are asked for."""


def report(
    specs: Sequence[ModelSpec],
    tiers: Sequence[str],
    seed: int,
    entities: int,
    rates: Sequence[float],
    *,
    data: Path | None = None,
    knobs: Sequence[Path | None] = (None,),
    judge: Judge | None = None,
    command: str = "",
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Run the tiers; equal arguments give equal figures (seconds and the machine's load aside).

    Raises:
        InputError: no model to measure.
    """
    if not specs:
        raise InputError("no daily or advance model is installed", hint="dianhuan plugin list")
    out: dict[str, Any] = {
        "bench": "models",
        "seed": seed,
        "entities": entities,
        "base_rates": list(rates),
        "command": command,
        "machine": machine(),
        "models": {s.id: s.version for s in specs},
        "skipped": {},
        "T1": None,
        "T2": [],
        "confounder_suite": [],
        "exceeded": [],
    }
    if "T1" in tiers:
        try:
            if data is None:
                raise InputError("no folder of measured curves was given", hint="--data FOLDER")
            out["T1"] = measured(specs, data, seed, judge=judge, say=say)
        except InputError as error:
            out["skipped"]["T1"] = str(error)
    if "T2" in tiers:
        for number, rate in enumerate(rates):
            for province in knobs:
                out["T2"].append(full(specs, entities, rate, seed + number, knobs=province, judge=judge, say=say))
        say("confounder suite")
        out["confounder_suite"] = confounder_suite(specs, entities, seed + len(rates), judge)
        out["exceeded"] = [
            f"{b['model']}: {b['per_enterprise_month']:.6f} > {b['budget']:g} ({b['low']:.6f}–{b['high']:.6f})"
            for b in out["confounder_suite"]
            if b["state"] == "exceeded"
        ]
    return out


def machine() -> dict[str, Any]:
    """What the figures of time were measured on."""
    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "simulator": version("dianhuan-simulator"),
    }
