"""The simulated country with everything that goes wrong in it: what is noticed, how soon, and which alarms are false.

    python -m benchmarks.bench_fed_sim [--quick] [--days 90] [--hourly 2] [--median 100] [--seed 10]

`--quick` has 40 hubs and 14 days. Rows a hub and day are log-normal; the median of 400 is that of
`bench_fed_country`, here it is smaller so that 90 days fit into the time of two cores.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._report import write
from benchmarks.fedsim import CITIES, City, Simulation, standard_plan


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--hourly", type=int, default=2, help="days with a head and a pull every hour")
    parser.add_argument("--median", type=int, default=100)
    parser.add_argument("--seed", type=int, default=10)
    options = parser.parse_args()
    hubs, days = (40, 14) if options.quick else (len(CITIES), options.days)
    step = len(CITIES) / hubs
    cities = [City(CITIES[int(i * step)], options.seed, options.median) for i in range(hubs)]
    plan = standard_plan(hubs, days, options.median, sorted({c.code[:2] for c in cities}), options.hourly)
    load, began = os.getloadavg()[0], time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run = Simulation(Path(folder), cities, plan, options.seed)
        try:
            run.run()
            noticed = run.noticed
            facts: dict[str, Any] = {
                "hubs": hubs,
                "days": days,
                "hourly_days": options.hourly,
                "rows_median": options.median,
                "seed": options.seed,
                "load": round(load, 2),
                "wall_s": round(time.perf_counter() - began),
                "rows_published": sum(c.rows for c in cities),
                **run.totals(),
                "requests_and_bytes": run.nodes.answered(),
                "done_at_hour": noticed.done,
                "noticed_after_hours": noticed.seen,
                "silences": dict(noticed.silences),
                "silence_noticed_after_hours": {
                    "median": round(statistics.median(noticed.silence_hours), 1) if noticed.silence_hours else None,
                    "max": round(max(noticed.silence_hours, default=0), 1),
                },
                "canaries_planted_refused": noticed.canaries,
                "clean_payloads_refused": noticed.clean,
                "canaries_in_served_payloads": run.leaked(),
                "false_alarms": len(noticed.false),
                "false_alarms_first": noticed.false[:20],
                "looks": noticed.looks,
            }
        finally:
            run.close()
    facts["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    write("fed_sim" + ("_quick" if options.quick else ""), facts)


if __name__ == "__main__":
    main()
