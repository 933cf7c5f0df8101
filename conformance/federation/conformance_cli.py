"""Test any implementation through its command line, with nothing but Python's own library:

    python conformance/federation/conformance_cli.py dianhuan federation verify

The words after the script are the command of the implementation. It is called once for each bundle with
`--trust FILE --policy FILE --bundle FILE --now INSTANT --reader HUB`, and must answer as README.md says. The last line
is JSON: the number of cases, those that came out otherwise, and those that a command without memory cannot be asked.
Exit code 0 if all answers are right, 1 if not.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "bundles"
TIMEOUT = 60


def words(verdict: dict[str, Any]) -> str:
    """A verdict as the index writes it."""
    return " ".join(part for part in (verdict.get("step"), verdict.get("code"), verdict["state"]) if part)


def ask(command: list[str], index: dict[str, Any], case: dict[str, Any]) -> str:
    """Nothing if the answer is right, or what was wrong."""
    now = datetime.fromtimestamp(case["now"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    options = {"trust": HERE / index["root"], "policy": HERE / index["policy"], "bundle": HERE / case["file"]}
    line = [part for name, path in options.items() for part in (f"--{name}", str(path))]
    line += ["--now", now, "--reader", case["reader"]]
    try:
        done = subprocess.run([*command, *line], capture_output=True, text=True, timeout=TIMEOUT, check=False)
        answer = json.loads(done.stdout)
        logs = {
            origin: {"verdict": words(log["verdict"]), "entries": [words(entry) for entry in log["entries"]]}
            for origin, log in answer["logs"].items()
        }
        found = {"verdict": words(answer["verdict"]), "logs": logs}
    except subprocess.TimeoutExpired:
        return f"no answer in {TIMEOUT} s"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"no answer in the agreed form: {error!r}"
    expected = case["expected"]
    if found != expected:
        return f"answered {json.dumps(found)} instead of {json.dumps(expected)}"
    accepted = all(
        verdict == "accepted"
        for verdict in (
            expected["verdict"],
            *(v for log in expected["logs"].values() for v in (log["verdict"], *log["entries"])),
        )
    )
    if done.returncode != (0 if accepted else 1):
        return f"exit code {done.returncode}"
    return ""


def main(command: list[str]) -> int:
    """Ask every case."""
    if not command:
        sys.exit(__doc__)
    index = json.loads((HERE / "index.json").read_text("utf-8"))
    otherwise, left_out = {}, []
    for case in index["cases"]:
        if case["before"]:
            left_out.append(case["name"])
        elif wrong := ask(command, index, case):
            otherwise[case["name"]] = wrong
    cases = len(index["cases"]) - len(left_out)
    print(json.dumps({"cases": cases, "otherwise": otherwise, "left_out": left_out}))
    return 1 if otherwise else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
