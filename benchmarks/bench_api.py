"""GraphQL's first page of 1,000,000 warnings against the same SQL through the store's own cursor, in one process.

    python benchmarks/bench_api.py [--warnings N] [--rounds N]

Prints one JSON line. Aim: at most 5 times the SQL, p95 under 50 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import platform
import statistics
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa

from dianhuan_hub.api import create_app
from dianhuan_hub.app import Hub, open_hub
from dianhuan_hub.kernel.config import load_config, write_template
from dianhuan_hub.store import Connection, LoadInfo, RegisterRows, Unit
from dianhuan_standards import TABLES

ENTITIES = 313_000
DAYS = 90
PLAIN = """SELECT warning_id, finding_id, case_id, entity_id, day, model_id, score, raised_at FROM warning
    WHERE entity_id {scope} {window}
    ORDER BY day DESC, score DESC, warning_id LIMIT 51"""
LAST = "SELECT max(day) FROM warning"
WINDOW = "AND day >= ? AND day < ?"
SCOPES = {
    "city": "NOT IN (SELECT entity_id FROM entity WHERE NOT coalesce(starts_with(division, '4302'), true))",
    "district": "IN (SELECT entity_id FROM entity WHERE starts_with(division, '430203'))",
}
PAGE = """{ warnings { ... on WarningConnection { pageInfo { hasNextPage endCursor } edges { cursor node {
    warningId findingId caseId entityId day modelId score raisedAt } } } } }"""
JOINED = """{ warnings { ... on WarningConnection { pageInfo { hasNextPage endCursor } edges { node {
    warningId day score entity { name division industry } } } } } }"""
NO_MATCH = """{ warnings(filter: {industry: ["A01"]}) { ... on WarningConnection { edges { cursor } } } }"""
DEEP = """query ($after: String) { warnings(after: $after) { ... on WarningConnection {
    pageInfo { endCursor } edges { node { warningId score } } } } }"""


def fill(hub: Hub, warnings: int) -> None:
    """Enterprises over nine districts, and warnings over 90 days in the order in which nights bring them."""
    rng = np.random.default_rng(7)
    contract = TABLES["entity"]
    ids = pa.array([f"9143020{i:011d}" for i in range(ENTITIES)])
    columns = {
        "entity_id": ids,
        "name": pa.array([f"企业{i}" for i in range(ENTITIES)]),
        "division": pa.array([f"43020{1 + i % 9}" for i in range(ENTITIES)]),
        "industry": pa.array(["C3011"] * ENTITIES),
    }
    table = pa.table([columns.get(f.name, pa.nulls(ENTITIES, f.type)) for f in contract.fields], schema=contract.schema)
    info = LoadInfo("bench", "1", "entity", "bench", "", "", datetime.now(UTC))
    hub.store.commit(Unit(info, registers=[RegisterRows(contract, table, tuple(table.column_names))]))
    per_day = -(-warnings // DAYS)
    kind = TABLES["warning"].schema

    def night(con: Connection, day: date, n: int) -> None:
        who = rng.integers(0, ENTITIES, n)
        number = [f"{day:%Y%m%d}-{i:06x}{int(w):06x}" for i, w in enumerate(who)]
        rows = pa.table(
            [
                pa.array([f"W{x}" for x in number]),
                pa.array([f"F{x}" for x in number]),
                pa.array([f"C{x}" for x in number]),
                ids.take(pa.array(who)),
                pa.array([day] * n),
                pa.array(["m05-night-only"] * n),
                pa.array(rng.random(n)),
                pa.array([datetime.combine(day, datetime.min.time(), UTC)] * n, kind.field("raised_at").type),
            ],
            schema=kind,
        )
        con.register("night_rows", rows)
        con.execute("INSERT INTO warning BY NAME SELECT *, 0 AS load_id FROM night_rows")
        con.unregister("night_rows")

    for i in range(DAYS):
        n = min(per_day, warnings - i * per_day)
        hub.store.write(lambda con, i=i, n=n: night(con, date(2026, 1, 1) + timedelta(days=i), n))
    hub.store.engine.checkpoint()


def summary(seconds: list[float]) -> dict[str, float]:
    """Milliseconds: p50, p95, worst."""
    cuts = statistics.quantiles(seconds, n=20, method="inclusive")
    return {"p50": round(cuts[9] * 1e3, 2), "p95": round(cuts[18] * 1e3, 2), "max": round(max(seconds) * 1e3, 2)}


async def measure(hub: Hub, rounds: int) -> dict[str, dict[str, float]]:
    """Each request in turn with its SQL, so that a busy machine disturbs both alike."""
    taken: dict[str, list[float]] = {}

    def note(name: str, started: float) -> None:
        taken.setdefault(name, []).append(time.perf_counter() - started)

    transport = httpx.ASGITransport(create_app(hub))
    async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:

        async def post(key: str, query: str, **variables: object) -> dict[str, object]:
            body = json.dumps({"query": query, "variables": variables}).encode()
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
            answer = (await client.post("/graphql", content=body, headers=headers)).json()
            assert "errors" not in answer, answer
            assert len(answer["data"]["warnings"]["edges"]) == (0 if query is NO_MATCH else 50)
            page: dict[str, object] = answer["data"]["warnings"]
            return page

        for turn in range(-2, rounds):
            if turn == 0:
                taken.clear()
            for scope, condition in SCOPES.items():
                started = time.perf_counter()
                with hub.store.engine.cursor() as con:
                    plain = con.execute(PLAIN.format(scope=condition, window="")).fetchall()
                note(f"sql_without_window_{scope}", started)
                started = time.perf_counter()
                with hub.store.engine.cursor() as con:
                    ((last,),) = con.execute(LAST).fetchall()
                with hub.store.engine.cursor() as con:
                    sql = PLAIN.format(scope=condition, window=WINDOW)
                    rows = con.execute(sql, [last, last + timedelta(days=1)]).fetchall()
                note(f"sql_{scope}", started)
                assert rows == plain
                started = time.perf_counter()
                page = await post(scope, PAGE)
                note(f"graphql_{scope}", started)
                assert [e["node"]["warningId"] for e in page["edges"]] == [r[0] for r in rows[:50]]  # type: ignore[attr-defined]
            started = time.perf_counter()
            await post("city", JOINED)
            note("graphql_city_with_entities", started)
            started = time.perf_counter()
            await post("city", NO_MATCH)
            note("whole_history_without_a_match", started)
            after = page["pageInfo"]["endCursor"]  # type: ignore[index]
            started = time.perf_counter()
            await post("city", DEEP, after=after)
            note("graphql_city_second_page", started)
    return {name: summary(seconds) for name, seconds in taken.items()}


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--warnings", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=60)
    given = parser.parse_known_args()[0]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "hub.toml"
        write_template(file, "株洲市", "430200")
        with file.open("a", encoding="utf-8") as out:
            for name, division in (("city", "4302"), ("district", "430203")):
                digest = hashlib.sha256(name.encode()).hexdigest()
                out.write(f'[keys.{name}]\nsha256 = "{digest}"\nrole = "analyst"\n')
                out.write(f'divisions = ["{division}"]\npurpose = "bench"\n')
        with open_hub(load_config(file, {})) as hub:
            fill(hub, given.warnings)
            figures = asyncio.run(measure(hub, given.rounds))
    ratios = {s: round(figures[f"graphql_{s}"]["p50"] / figures[f"sql_{s}"]["p50"], 2) for s in SCOPES}
    machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    print(
        json.dumps(
            {
                "bench": "api",
                "warnings": given.warnings,
                "entities": ENTITIES,
                "days": DAYS,
                "page": 50,
                "rounds": given.rounds,
                "ms": figures,
                "graphql_to_sql_p50": ratios,
                "aims": {"ratio": 5, "p95_ms": 50},
                "met": all(r <= 5 for r in ratios.values())
                and all(v["p95"] < 50 for k, v in figures.items() if k.startswith("graphql")),
                "machine": machine,
            }
        )
    )


if __name__ == "__main__":
    main()
