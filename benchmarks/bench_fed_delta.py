"""B2: a partner reads a hub's shared rows: our pull, the official delta-sharing client, and plain HTTP.

    python -m benchmarks.bench_fed_delta [--delta-python PATH] [--runs 3] [--quick]

365 files of 400 rows and 24 of 50,000. All are served by one uvicorn process. Delta's server is a stand-in of the
protocol over Parquet of the same rows (the reference server is Scala). `--delta-python` is a Python with
delta-sharing 1.4.2, in an environment of its own: it asks for a pyarrow below 24, the hub for 25 or newer. Clients run
in processes of their own, as a cold start has them; what counts is the time between first request and last row.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks._report import write
from benchmarks.fedsim import City, Nodes, world
from benchmarks.fedsim._city import DAY, draw_rows
from dianhuan_federation.core import lines_of

SHAPES = {"365 files of 400 rows": (365, 400), "24 files of 50,000 rows": (24, 50_000)}

SERVER = """
import json, os, sys
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
folder, port = sys.argv[1], int(sys.argv[2])
schema = open(folder + "/schema.json").read()
def lines(*objects):
    return PlainTextResponse("\\n".join(map(json.dumps, objects)) + "\\n", media_type="application/x-ndjson",
                             headers={"delta-table-version": "1"})
head = ({"protocol": {"minReaderVersion": 1}}, {"metaData": {"id": "t", "format": {"provider": "parquet"},
        "schemaString": schema, "partitionColumns": []}})
async def meta(request): return lines(*head)
async def query(request):
    await request.body()
    files = [{"file": {"url": f"http://127.0.0.1:{port}/parquet/{n}", "id": n, "partitionValues": {},
              "size": os.path.getsize(f"{folder}/parquet/{n}")}} for n in sorted(os.listdir(folder + "/parquet"))]
    return lines(*head, *files)
base = "/delta/shares/s/schemas/d/tables/t"
app = Starlette(routes=[Route(base + "/metadata", meta), Route(base + "/version", meta), Route(base + "/query", query,
    methods=["POST"]), Mount("/", StaticFiles(directory=folder))])
uvicorn.run(app, port=port, log_level="error", lifespan="off")
"""

PEAK = """
def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) // 1024
"""

DELTA = """
import json, sys, time
import delta_sharing
profile = sys.argv[1]
began = time.perf_counter()
rows = len(delta_sharing.load_as_pandas(profile + "#s.d.t"))
print(json.dumps([rows, time.perf_counter() - began, peak()]))
"""

PLAIN = """
import asyncio, hashlib, json, sys, time
import httpx
base, names = sys.argv[1], json.load(open(sys.argv[2]))
async def main():
    limit = asyncio.Semaphore(16)
    async with httpx.AsyncClient() as client:
        async def one(name):
            async with limit:
                return hashlib.sha256((await client.get(base + name)).content).digest()
        await asyncio.gather(*map(one, names))
began = time.perf_counter()
asyncio.run(main())
print(json.dumps([len(names), time.perf_counter() - began, peak()]))
"""

OURS = """
import asyncio, hashlib, json, sys, time
from pathlib import Path
import httpx
from dianhuan_federation.bundle import FolderFiles
from dianhuan_federation.core import Verifier, load_trust, parse_policy
from dianhuan_federation.sync import HttpSource, Want, pull
base, folder, origin, now, verify = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5] == "all"
async def main():
    async with httpx.AsyncClient() as client:
        return (await pull(HttpSource(client, base), [Want(origin, 0)]))[0]
trust = load_trust((folder / "root.json").read_bytes(), FolderFiles(folder / "trust"), now)
verifier = Verifier(trust, parse_policy((folder / "policy.txt").read_bytes()), now, "440000")
began = time.perf_counter()
delivery = asyncio.run(main())
assert delivery.submission is not None, delivery.error
if verify:
    report = verifier.verify(delivery.submission, None)
    assert report.verdict.code is None and all(e.verdict.code is None for e in report.entries), report.verdict
    count = sum(len(e.rows) for e in report.entries)
else:
    for name, data in delivery.submission.blobs.items():
        assert hashlib.sha256(data).hexdigest() == name
    count = len(delivery.submission.blobs)
print(json.dumps([count, time.perf_counter() - began, peak()]))
"""


def prepare(folder: Path, files: int, rows: int) -> tuple[City, Nodes, list[str]]:
    """Our tree and Parquet of the same rows; the city, its node, the names of its payloads."""
    city = City("430200", 1)
    at = world().NOW - 60 * DAY
    (folder / "parquet").mkdir(parents=True)
    for number in range(files):
        payload = draw_rows(random.Random(number), city.code, number, rows, at)
        city.add_day(at, payload=payload)
        table = pa.Table.from_pylist([msgspec.json.decode(line) for line in lines_of(payload)])
        table = table.cast(pa.schema([pa.field(n, pa.string()) for n in table.schema.names]))
        pq.write_table(table, folder / "parquet" / f"{number:04d}.parquet", compression="zstd")
    city.publish(at)
    nodes = Nodes(folder / "country", [city])
    city.write(nodes.place(city))
    nodes.set_time(at + 600)
    fields = [{"name": n, "type": "string", "nullable": True, "metadata": {}} for n in table.schema.names]
    (folder / "schema.json").write_text(json.dumps({"type": "struct", "fields": fields}))
    return city, nodes, sorted(p.name for p in (nodes.place(city) / "blob" / "sha256").iterdir())


def run(command: list[str]) -> list[float]:
    """The one line of JSON that a client prints: files or rows, seconds, peak MB."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], timeout=300)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found: list[float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def measure(delta: str, files: int, rows: int, runs: int) -> dict[str, Any]:
    """One shape."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        city, nodes, names = prepare(folder, files, rows)
        nodes.start()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        blobs = nodes.place(city) / "blob" / "sha256"
        (folder / "blobs").symlink_to(blobs)
        (folder / "ours.json").write_text(json.dumps([f"/blob/sha256/{n}" for n in names]))
        (folder / "pq.json").write_text(json.dumps([f"/parquet/{n:04d}.parquet" for n in range(files)]))
        profile = folder / "profile.json"
        profile.write_text(
            json.dumps({"shareCredentialsVersion": 1, "endpoint": f"http://127.0.0.1:{port}/delta", "bearerToken": "t"})
        )
        server = subprocess.Popen([sys.executable, "-c", SERVER, str(folder), str(port)])
        time.sleep(3)
        ours = [
            sys.executable,
            "-c",
            PEAK + OURS,
            nodes.url(city),
            str(nodes.folder),
            city.origin,
            str(world().NOW - 59 * DAY),
        ]
        clients = {
            "ours_pull_and_digest": [*ours, "digest"],
            "ours_all_checks_to_rows": [*ours, "all"],
            "plain_http_same_payloads": [
                sys.executable, "-c", PEAK + PLAIN, nodes.url(city), str(folder / "ours.json")
            ],
            "plain_http_parquet_static": [
                sys.executable, "-c", PEAK + PLAIN, f"http://127.0.0.1:{port}", str(folder / "pq.json")
            ],
        }  # fmt: skip
        if delta:
            clients["delta_sharing_1.4.2_to_pandas"] = [delta, "-c", PEAK + DELTA, str(profile)]
        found: dict[str, list[list[float]]] = {name: [] for name in clients}
        try:
            for number in range(runs):
                for name in sorted(clients, reverse=bool(number % 2)):
                    found[name].append(run(clients[name]))
        finally:
            server.terminate()
            server.wait(10)
            nodes.stop()
    facts: dict[str, Any] = {
        name: {
            "count": values[0][0],
            "s": round(statistics.median(v[1] for v in values), 3),
            "peak_mb": max(int(v[2]) for v in values),
        }
        for name, values in found.items()
    }
    seconds = {name: fact["s"] for name, fact in facts.items()}
    facts["pull_against_plain_http"] = round(seconds["plain_http_same_payloads"] / seconds["ours_pull_and_digest"], 2)
    if delta:
        theirs = seconds["delta_sharing_1.4.2_to_pandas"]
        facts["faster_than_delta"] = {
            "all checks to rows": round(theirs / seconds["ours_all_checks_to_rows"], 2),
            "pull and digest": round(theirs / seconds["ours_pull_and_digest"], 2),
        }
    return facts


def main() -> None:
    """Both shapes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delta-python", default="")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a tenth of the files")
    options = parser.parse_args()
    tenth = 10 if options.quick else 1
    shapes = {n: measure(options.delta_python, f // tenth, r, options.runs) for n, (f, r) in SHAPES.items()}
    write("fed_delta", {"shapes": shapes})


if __name__ == "__main__":
    main()
