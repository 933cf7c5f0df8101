"""The light core: what `dianhuan-hub` pulls in, how long until it answers GraphQL, how much memory it holds.

    python benchmarks/bench_light_core.py [--rounds N]

An empty city with no plugins, in a process of its own that sees nothing but the dependency closure of `dianhuan-hub`;
beside it, in turn, the floor: a process that imports duckdb, pyarrow, fastapi and strawberry and nothing of ours.
Prints one JSON line. Aims: under 2 s from process start to the first answer, under 200 MiB resident.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from importlib import metadata
from pathlib import Path

HEAVY = ("numba", "polars", "lightgbm", "pandas", "scikit-learn", "pyspark", "torch", "jpype1")
FLOOR = "import duckdb, pyarrow, fastapi, strawberry"
SERVE = """
import sys
sys.argv = ["dianhuan"]
from pathlib import Path
from dianhuan_hub.cli import _state, serve
_state.set_hub(Path({folder!r}))
serve.command(host="127.0.0.1", port={port}, as_json=True)
"""
# Plugins of the development environment are not part of the light core.
NO_PLUGINS = """
from importlib import metadata
_all = metadata.entry_points
metadata.entry_points = lambda **k: _all(**(k | {"group": "none"} if k.get("group") == "dianhuan.plugins" else k))
"""


def closure(name: str) -> list[str]:
    """All distributions that one needs, itself included."""
    seen: set[str] = set()
    todo = [(name, frozenset[str]())]
    while todo:
        current, extras = todo.pop()
        plain = re.sub(r"[-_.]+", "-", current).lower()
        if (key := plain + "".join(sorted(f"[{e}]" for e in extras))) in seen:
            continue
        seen |= {key, plain}
        from packaging.requirements import Requirement

        for text in metadata.requires(plain) or ():
            need = Requirement(text)
            marker = need.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in ("", *extras)):
                todo.append((need.name, frozenset(need.extras)))
    return sorted(s for s in seen if "[" not in s)


def size(names: list[str]) -> float:
    """MiB on disk of distributions, without compiled caches."""
    total = 0
    for name in names:
        for file in metadata.files(name) or ():
            path = Path(str(file.locate()))
            if path.suffix != ".pyc" and path.is_file():
                total += path.stat().st_size
    return round(total / 2**20, 1)


def resident(pid: int) -> dict[str, float]:
    """MiB resident now and at the highest."""
    text = Path(f"/proc/{pid}/status").read_text("ascii")
    return {
        name: round(int(found.group(1)) / 1024, 1)
        for name, key in (("rss", "VmRSS"), ("peak", "VmHWM"))
        if (found := re.search(rf"{key}:\s+(\d+)", text))
    }


def floor() -> tuple[float, dict[str, float]]:
    """Seconds and memory of importing what the core stands on."""
    started = time.perf_counter()
    code = f"{FLOOR}; print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seconds = time.perf_counter() - started
        memory = resident(process.pid)
        process.kill()
    return seconds, memory


def core(folder: Path) -> tuple[float, dict[str, float], int]:
    """Seconds from start to the first GraphQL answer, memory then, and threads."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    code = NO_PLUGINS + SERVE.format(folder=str(folder), port=port)
    query = json.dumps({"query": "{ warnings { ... on WarningConnection { totalCount edges { cursor } } } }"}).encode()
    headers = {"Authorization": "Bearer bench", "Content-Type": "application/json"}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    started = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL) as process:
        while True:
            try:
                request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", query, headers)
                with opener.open(request, timeout=5) as response:
                    answer = json.loads(response.read())
                break
            except OSError:
                if process.poll() is not None or time.perf_counter() - started > 30:
                    raise
                time.sleep(0.005)
        seconds = time.perf_counter() - started
        assert answer == {"data": {"warnings": {"totalCount": 0, "edges": []}}}, answer
        memory = resident(process.pid)
        threads = len(os.listdir(f"/proc/{process.pid}/task"))
        process.terminate()
        process.wait(20)
    return seconds, memory, threads


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_known_args()[0].rounds
    names = closure("dianhuan-hub")
    base, ours = [], []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        digest = hashlib.sha256(b"bench").hexdigest()
        (folder / "hub.toml").write_text(
            f'[city]\nname = "c"\ndivision = "430200"\n[keys.bench]\nsha256 = "{digest}"\nrole = "analyst"\n'
            'divisions = ["4302"]\npurpose = "bench"\n',
            "utf-8",
        )
        for _ in range(rounds + 1):
            base.append(floor())
            ours.append(core(folder))
    base, ours = base[1:], ours[1:]  # the first round reads the disk and makes the database
    seconds = statistics.median(s for s, _, _ in ours)
    memory = max(m["rss"] for _, m, _ in ours)
    heavy = [h for h in HEAVY if h in names]
    print(
        json.dumps(
            {
                "bench": "light_core",
                "distributions": len(names),
                "mib_on_disk": size(names),
                "heavy_in_closure": heavy,
                "seconds_to_first_answer": round(seconds, 3),
                "floor_seconds": round(statistics.median(s for s, _ in base), 3),
                "rss_mib": memory,
                "floor_rss_mib": max(m["rss"] for _, m in base),
                "peak_mib": max(m["peak"] for _, m, _ in ours),
                "threads": ours[-1][2],
                "rounds": rounds,
                "aims": {"seconds": 2, "rss_mib": 200},
                "met": not heavy and seconds < 2 and memory < 200,
                "closure": names,
                "machine": {
                    "cpus": os.cpu_count(),
                    "machine": platform.machine(),
                    "python": platform.python_version(),
                },
            }
        )
    )


if __name__ == "__main__":
    main()
