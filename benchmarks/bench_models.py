"""Every installed daily and advance model beside the named baselines, behind the hub's gates: `dianhuan bench models`
with what a plugin may not import.

T1 on measured curves (`DIANHUAN_SHARED_DATA`, skipped with the reason where they are absent); T2 at three base rates in
the home province and in a second one that was never used for tuning. Report under `benchmarks/out/models.html`.
`--quick`: a small city and one base rate.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks._gates import hub_gates
from benchmarks._report import OUT, table, write
from dianhuan_bench import installed_models, page, report
from dianhuan_simulator import province_knobs

SEED = 7_101
FULL, QUICK = 313_000, 20_000


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    out = {"listed": str(row["listed"])}
    for name in ("P@65", "P@130", "R-precision"):
        if name in row:
            v = row[name]
            at = f" @{v['k']}" if "k" in v else ""
            out[name] = f"{v['value']:.3f}{at} ({v['low']:.2f}–{v['high']:.2f})"
        else:
            out[name] = "–"
    return out


def main() -> None:
    """Ends with 1 if a model exceeds its alarm budget."""
    quick = "--quick" in sys.argv
    data = os.environ.get("DIANHUAN_SHARED_DATA")
    made = report(
        installed_models(),
        ("T1", "T2"),
        SEED,
        QUICK if quick else FULL,
        (0.002,) if quick else (0.0005, 0.002, 0.01),
        data=Path(data) if data else None,
        knobs=(None, province_knobs("jiangxi")),
        judge=hub_gates,
        command="python -m benchmarks models" + (" --quick" if quick else ""),
        say=lambda words: print(words, file=sys.stderr, flush=True),
    )
    write("models", made)
    (OUT / "models.html").write_text(page(made), "utf-8")
    for city in made["T2"]:
        print(f"\n{city['province']}, base rate {city['base_rate']:.2%}, {city['violators']} violators")
        print(table([{"list": name, **_cells(row)} for name, row in city["rows"].items()]))
    sys.exit(bool(made["exceeded"]))


if __name__ == "__main__":
    main()
