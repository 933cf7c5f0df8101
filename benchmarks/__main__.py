"""Runs benchmarks, each in a process of its own: `python -m benchmarks [night crash …] [--quick]`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Run the named benchmarks, or all; ends with 1 if one failed."""
    every = sorted(p.stem.removeprefix("bench_") for p in HERE.glob("bench_*.py"))
    names = [a for a in sys.argv[1:] if not a.startswith("-")] or every
    options = [a for a in sys.argv[1:] if a.startswith("-")]
    unknown = [n for n in names if n not in every]
    if unknown:
        sys.exit(f"no benchmark {unknown[0]}; there are: {', '.join(every)}")
    failed = []
    for name in names:
        print(f"\n═══ {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.bench_{name}", *options], check=False).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


main()
