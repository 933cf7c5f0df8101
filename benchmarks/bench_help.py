"""`dianhuan --help` as a whole process, beside an interpreter that does nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks._report import summary, timed, write


def main() -> None:
    """Ten runs of each, in turn."""
    command = [str(Path(sys.executable).parent / "dianhuan"), "--help"]

    def run(words: list[str]) -> None:
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)

    run(command)
    ours, floor = [], []
    for _ in range(10):
        ours += timed(lambda: run(command), 1)
        floor += timed(lambda: run([sys.executable, "-c", "pass"]), 1)
    facts = {"help_s": summary(ours), "interpreter_s": summary(floor), "target": "median < 0.3"}
    write("help", {**facts, "met": facts["help_s"]["median"] < 0.3})  # type: ignore[index]


main()
