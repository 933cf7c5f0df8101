"""Every installed daily and advance model beside the named baselines, behind the hub's gates: `dianhuan bench models`
with what a plugin may not import.

T1 on measured curves (`DIANHUAN_SHARED_DATA`, skipped with the reason where they are absent); T2 at three base rates in
the home province and in a second one that was never used for tuning. Report under `benchmarks/out/models.html`.
`--quick`: a small city and one base rate.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks._gates import hub_gates
from benchmarks._report import OUT, table, write
from dianhuan_bench import installed_models, page, report
from dianhuan_simulator import province_knobs

SEED = 7_101
FULL, QUICK = 313_000, 20_000


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
        print(
            table(
                [
                    {"list": name, "listed": row["listed"]}
                    | {k: f"{row[k]['value']:.3f} @{row[k].get('k', '')} ({row[k]['low']:.2f}–{row[k]['high']:.2f})" if k in row else "–"
                       for k in ("P@65", "P@130", "R-precision")}
                    for name, row in city["rows"].items()
                ]
            )
        )  # fmt: skip
    sys.exit(bool(made["exceeded"]))


if __name__ == "__main__":
    main()
