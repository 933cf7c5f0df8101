"""What every benchmark says beside its figures: machine, versions, sizes; and where results go."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent / "out"


def machine() -> dict[str, Any]:
    """Cores, memory, processor, load and the versions that matter."""
    model = ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ("duckdb", "pyarrow", "numpy")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "load_at_start": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": {p: version(p) for p in packages},
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
    }


def timed(work: Callable[[], Any], runs: int = 3) -> list[float]:
    """Seconds of each run."""
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return seconds


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """Minimum, median and maximum."""
    return {
        "min": round(min(seconds), 3),
        "median": round(statistics.median(seconds), 3),
        "max": round(max(seconds), 3),
    }


def write(name: str, facts: dict[str, Any]) -> None:
    """Print the facts and keep them under `benchmarks/out`."""
    OUT.mkdir(exist_ok=True)
    whole = {"benchmark": name, "machine": machine(), **facts}
    (OUT / f"{name}.json").write_text(json.dumps(whole, ensure_ascii=False, indent=1), "utf-8")
    print(json.dumps(whole, ensure_ascii=False, indent=1))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as a Markdown table."""
    keys = list(rows[0])
    lines = ["| " + " | ".join(keys) + " |", "|" + " --- |" * len(keys)]
    lines += ["| " + " | ".join(str(r[k]) for k in keys) + " |" for r in rows]
    return "\n".join(lines)
