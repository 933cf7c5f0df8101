"""B11: one question to the whole country: GraphQL over the verified replica, and live fan-out to every city.

    python -m benchmarks.bench_fed_query [--quick] [--questions 40]

The question: how many current warnings has each city, and whom does the answer speak for. The replica is that of a
real hub that has synced one day. The other way asks an endpoint of each city, with 64 connections and a second of
patience; the endpoints answer from memory, the best that they can do, and 5 % of them do not answer.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import strawberry

from benchmarks._report import write
from benchmarks.fedsim import CITIES, City, Nodes, Reader, world
from benchmarks.fedsim._city import DAY
from dianhuan_federation.graph import FEDERATED
from dianhuan_sdk import Caller

QUESTION = (
    "{ federated { warningCounts(by: HUB) { groups { key count } coverage { covered stale missing complete } } } }"
)

ENDPOINTS = """
import asyncio, sys
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
off = set(sys.argv[2].split(","))
async def count(request):
    if request.path_params["hub"] in off:
        await asyncio.sleep(30)
    return JSONResponse({"data": {"warningCount": 400}})
app = Starlette(routes=[Route("/{hub}/graphql", count, methods=["POST"])])
uvicorn.run(app, port=int(sys.argv[1]), log_level="error", lifespan="off", timeout_graceful_shutdown=1)
"""


def schema_of(reader: Reader) -> strawberry.Schema:
    """The field `federated` as the hub's GraphQL has it."""

    @strawberry.type
    class Query:
        @strawberry.field
        def federated(self) -> FEDERATED.type():  # type: ignore[valid-type]
            return FEDERATED.resolve(reader.context, Caller("agency", "bench", None))

    return strawberry.Schema(Query)


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Median and 95th percentile in ms."""
    return {
        "p50_ms": round(1000 * statistics.median(seconds), 1),
        "p95_ms": round(1000 * statistics.quantiles(seconds, n=20)[18], 1),
    }


def replica(hubs: int, questions: int) -> dict[str, Any]:
    """GraphQL over the replica."""
    at = world().NOW - 20 * DAY
    step = len(CITIES) / hubs
    cities = [City(CITIES[int(i * step)], 10) for i in range(hubs)]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        nodes = Nodes(folder / "country", cities)
        for city in cities:
            city.add_day(at)
            city.publish(at)
            city.write(nodes.place(city))
        nodes.set_time(at + 600)
        nodes.start()
        peers = [{"origin": c.origin, "url": nodes.url(c)} for c in cities]
        reader = Reader(folder / "reader", nodes.folder, peers, at + 600)
        try:
            report = reader.subscriber.sync()
            assert report.ok, [(m.origin, m.code, m.detail) for m in report.merged if m.code][:3]
            schema = schema_of(reader)
            first = asyncio.run(schema.execute(QUESTION))
            assert first.errors is None, first.errors
            assert first.data is not None
            groups = first.data["federated"]["warningCounts"]["groups"]
            assert sum(g["count"] for g in groups) == sum(c.rows for c in cities)
            seconds = []
            for _ in range(questions):
                began = time.perf_counter()
                asyncio.run(schema.execute(QUESTION))
                seconds.append(time.perf_counter() - began)
        finally:
            reader.close()
            nodes.stop()
    return {
        "rows": sum(c.rows for c in cities),
        "answers_complete": 1.0,
        "data_is_at_most": "one cadence old",
        **quantiles(seconds),
    }


def fan_out(hubs: int, questions: int) -> dict[str, Any]:
    """A POST to every city."""
    codes = list(CITIES[:hubs])
    off = random.Random(5).sample(codes, max(1, hubs // 20))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-c", ENDPOINTS, str(port), ",".join(off)])
    time.sleep(3)
    answered: list[int] = []

    async def ask(client: httpx.AsyncClient, limit: asyncio.Semaphore, code: str) -> bool:
        async with limit:
            try:
                answer = await client.post(f"http://127.0.0.1:{port}/{code}/graphql", json={"query": "{warningCount}"})
            except httpx.HTTPError:
                return False
            return answer.status_code == 200

    async def all_questions() -> list[float]:
        limit, seconds = asyncio.Semaphore(64), []
        async with httpx.AsyncClient(timeout=1.0, limits=httpx.Limits(max_connections=64)) as client:
            for _ in range(questions):
                began = time.perf_counter()
                done = await asyncio.gather(*(ask(client, limit, code) for code in codes))
                seconds.append(time.perf_counter() - began)
                answered.append(sum(done))
        return seconds

    try:
        seconds = asyncio.run(all_questions())
    finally:
        server.kill()
        server.wait()
    complete = sum(count == hubs for count in answered) / len(answered)
    share = round(statistics.mean(answered) / hubs, 3)
    return {"hubs_that_answer": share, "answers_complete": complete, "data_is_at_most": "now", **quantiles(seconds)}


def main() -> None:
    """Both ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--questions", type=int, default=40)
    options = parser.parse_args()
    hubs = 40 if options.quick else len(CITIES)
    write(
        "fed_query",
        {"hubs": hubs, "replica": replica(hubs, options.questions), "fan_out": fan_out(hubs, options.questions)},
    )


if __name__ == "__main__":
    main()
