"""200 SIGKILLs at random moments of the intake of a simulated city; none may lose or double a committed row."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks._report import write

KILLS = 200


def main() -> None:
    """Run the crash test with many kills."""
    kills = 10 if "--quick" in sys.argv else KILLS
    test = "tests/test_crash.py::test_killed_at_random_moments_loses_and_doubles_nothing"
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-o", "timeout=7200", test],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "DIANHUAN_KILLS": str(kills)},
        check=False,
    )
    write(
        "crash",
        {
            "kills": kills,
            "lost_or_doubled": 0 if done.returncode == 0 else "see above",
            "seconds": round(time.perf_counter() - began),
        },
    )
    sys.exit(done.returncode)


main()
