"""`federated` in GraphQL over a filled replica."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import strawberry

from dianhuan_federation.config import FederationConfig
from dianhuan_federation.evaluation import Counts, passport_bytes
from dianhuan_federation.graph import FEDERATED
from dianhuan_federation.replica import FEDERATED_TABLES
from dianhuan_sdk import Batch, Caller, PluginContext, SourceRef
from dianhuan_sdk.testing import kit_context

NOW = datetime(2026, 11, 24, tzinfo=UTC)
HUBS = {"430200": "FRESH", "430300": "STALE", "440300": "FRESH", "320100": "QUARANTINE", "610100": "PENDING"}

Ask = Callable[..., dict[str, Any]]


def origin(hub: str) -> str:
    return f"fed.example.cn/{hub}/r1"


def put(context: PluginContext, table: str, rows: list[dict[str, Any]]) -> None:
    contract = next(t for t in FEDERATED_TABLES if t.name == table)
    context.storage.commit([Batch(table, pa.RecordBatch.from_pylist(rows, schema=contract.schema), SourceRef("test"))])


@pytest.fixture
def context(tmp_path: Path) -> PluginContext:
    context = kit_context("federation", FederationConfig(), tmp_path, now=NOW, owned=FEDERATED_TABLES)
    logs = [
        {"origin": origin(h), "hub": h, "province": h[:2], "size": 1, "state": s, "witnesses": '["w1"]'}
        for h, s in HUBS.items()
    ]
    put(context, "federated_log", logs)
    statements = [
        {
            "origin": origin(h),
            "index": 0,
            "hub": h,
            "province": h[:2],
            "leaf_hash": "ab" * 32,
            "checkpoint_size": 3,
            "witnesses": '["w1","w2"]',
            "witnessed_at": NOW,
            "key_ids": '["k"]',
            "suites": '["ed25519"]',
            "model_id": "m05-night-only",
            "model_version": "1.0",
            "policy_id": "p1",
            "state": "ACCEPTED",
        }
        for h in HUBS
    ]
    put(context, "federated_statement", statements)
    warnings = []
    for h in ("430200", "430300", "440300"):
        for i in range(7):
            warnings.append(
                {
                    "origin": origin(h),
                    "index": 0,
                    "record_id": f"w{i}",
                    "hub": h,
                    "province": h[:2],
                    "stream": "warnings",
                    "division": h[:4] + "03",
                    "industry": "C3011" if i % 2 else "C2614",
                    "day": date(2026, 11, 1) + timedelta(days=i),
                    "model_id": "m05-night-only",
                    "model_version": "1.0",
                    "score": 0.5,
                    "state": "retracted" if i == 6 else "current",
                }
            )
    put(context, "federated_warning", warnings)
    outcomes = [
        {
            "origin": origin("430200"),
            "index": 1,
            "record_id": f"o{i}",
            "hub": "430200",
            "province": "43",
            "stream": "outcomes",
            "warning_id": f"w{i}",
            "result": "verified" if i else "not_found",
            "state": "current",
        }
        for i in range(5)
    ]
    put(context, "federated_outcome", outcomes)
    return context


@pytest.fixture
def ask(context: PluginContext) -> Ask:
    def run(query: str, divisions: tuple[str, ...] | None = None, **variables: Any) -> dict[str, Any]:
        @strawberry.type
        class Query:
            @strawberry.field
            def federated(self) -> FEDERATED.type():  # type: ignore[valid-type]
                return FEDERATED.resolve(context, Caller("agency", "test", divisions))

        answer = asyncio.run(strawberry.Schema(Query).execute(f"query Q{query}", variables))
        assert answer.errors is None, answer.errors
        assert answer.data is not None
        found: dict[str, Any] = answer.data["federated"]
        return found

    return run


def words(arguments: str, fields: str) -> str:
    """A query of warnings."""
    return "{ federated { warnings(" + arguments + ") { " + fields + " } } }"


COVERAGE = "coverage { covered stale missing quarantined complete }"


def test_every_answer_says_whom_it_speaks_for(ask: Ask) -> None:
    found = ask(words("first: 3", "nodes { hub day } hasNextPage " + COVERAGE))["warnings"]
    assert [n["day"] for n in found["nodes"]] == ["2026-11-06"] * 3
    assert found["hasNextPage"]
    assert found["coverage"] == {
        "covered": ["430200", "440300"],
        "stale": ["430300"],
        "missing": ["610100"],
        "quarantined": ["320100"],
        "complete": False,
    }
    one = ask(words('filter: {hubs: ["440300"]}', "nodes { hub } " + COVERAGE))["warnings"]
    assert one["coverage"]["complete"]
    assert {n["hub"] for n in one["nodes"]} == {"440300"}


def test_pages_follow_each_other_and_hold_every_row_once(ask: Ask) -> None:
    query = "($after: String) " + words("first: 4, after: $after", "nodes { hub recordId } endCursor hasNextPage")
    seen: list[tuple[str, str]] = []
    after = None
    for _ in range(10):
        page = ask(query, after=after)["warnings"]
        seen += [(n["hub"], n["recordId"]) for n in page["nodes"]]
        after = page["endCursor"]
        if not page["hasNextPage"]:
            break
    assert len(seen) == len(set(seen)) == 18


def test_filters(ask: Ask) -> None:
    def count(conditions: str) -> int:
        return len(ask(words("filter: {" + conditions + "}", "nodes { recordId }"))["warnings"]["nodes"])

    assert count('provinces: ["43"]') == 12
    assert count('provinces: ["430000"], hubs: ["430300", "440300"]') == 6
    assert count('industry: ["C30"]') == 9
    assert count('models: ["m06-hidden-workshop"]') == 0
    assert count('start: "2026-11-02", end: "2026-11-04"') == 6
    assert count("states: [RETRACTED]") == 3
    counts = ask("{ federated { warningCounts(by: HUB) { groups { key count } } } }")["warningCounts"]["groups"]
    assert counts == [{"key": h, "count": 6} for h in ("430200", "430300", "440300")]


def test_a_key_of_one_city_sees_that_city(ask: Ask) -> None:
    query = "{ federated { warnings { nodes { hub } coverage { covered stale } } hubs { nodes { hub } } } }"
    found = ask(query, divisions=("4302",))
    assert {n["hub"] for n in found["warnings"]["nodes"]} == {"430200"}
    assert [n["hub"] for n in found["hubs"]["nodes"]] == ["430200"]
    assert found["warnings"]["coverage"] == {"covered": ["430200"], "stale": []}
    nobody = ask(query, divisions=("430203",))
    assert nobody["warnings"]["nodes"] == []


def test_provenance_and_disputes(ask: Ask, context: PluginContext) -> None:
    dispute = {
        "origin": origin("440300"),
        "index": 4,
        "hub": "440300",
        "province": "44",
        "disputed": origin("430200"),
        "target_index": 0,
        "target_digest": "cd" * 32,
        "record_ids": '["w5"]',
        "reason": "moved to Shenzhen",
        "state": "current",
    }
    put(context, "federated_dispute", [dispute])
    node = ask(
        '{ federated { warnings(first: 2, filter: {hubs: ["430200"]}) { nodes { recordId disputes { hub reason } '
        "provenance "
        "{ origin index leafHash checkpointSize witnesses witnessedAt keyIds suites model policy state code } } } } }"
    )["warnings"]["nodes"]
    assert [n["disputes"] for n in node] == [[{"hub": "440300", "reason": "moved to Shenzhen"}], []]
    provenance = node[0]["provenance"]
    assert provenance.pop("witnessedAt").startswith("2026-11-24T00:00:00")
    assert provenance == {
        "origin": origin("430200"),
        "index": 0,
        "leafHash": "ab" * 32,
        "checkpointSize": 3,
        "witnesses": ["w1", "w2"],
        "keyIds": ["k"],
        "suites": ["ed25519"],
        "model": "m05-night-only@1.0",
        "policy": "p1",
        "state": "ACCEPTED",
        "code": None,
    }


def definition(hub: str, counts: list[Counts], floor: float = 0.8) -> dict[str, Any]:
    """A published model whose passport holds these counts."""
    period = ("2026-01-01", "2026-07-01")
    passport = passport_bytes("m05-night-only", "1.0", floor, period, ("夜间", "night"), counts)
    return {
        "origin": origin(hub),
        "index": 7,
        "hub": hub,
        "province": hub[:2],
        "model_id": "m05-night-only",
        "model_version": "1.0",
        "model_digest": "ef" * 32,
        "passport": passport.decode(),
        "state": "current",
    }


def model_of(ask: Ask) -> dict[str, Any]:
    columns = "modelId publishers floor precision { province found wasted } advice { province action }"
    (model,) = ask("{ federated { models { nodes { " + columns + " } } } }")["models"]["nodes"]
    model["precision"] = {p["province"]: (p["found"], p["wasted"]) for p in model["precision"]}
    return model


def test_models_with_passport_estimate_and_advice(ask: Ask, context: PluginContext) -> None:
    own = {"430200": Counts("43", 1000, 0), "110100": Counts("11", 95, 5), "120100": Counts("12", 96, 4)}
    put(context, "federated_model", [definition(hub, [counts]) for hub, counts in own.items()])
    put(context, "federated_model", [definition("310100", [Counts("31", 190, 8)])])
    model = model_of(ask)
    assert model["precision"]["43"] == (4, 1), "verified rows count before what the passport claims"
    assert model["precision"]["31"] == (190, 8)
    assert model["floor"] == 0.8
    assert {a["province"]: a["action"] for a in model["advice"]}["31"] == "use"


def test_hostile_passport_speaks_for_its_own_province_only(ask: Ask, context: PluginContext) -> None:
    honest = [definition(h, [Counts(h[:2], 190, 8)]) for h in ("110100", "120100", "310100")]
    liar = definition("610100", [Counts("32", 0, 10**9), Counts("61", 5, 5)], floor=1.0)
    put(context, "federated_model", [*honest, liar])
    model = model_of(ask)
    assert "32" not in model["precision"]
    assert model["floor"] == 0.8
    assert {a["province"]: a["action"] for a in model["advice"]}["31"] == "use"


def test_hostile_passport_is_shown_and_not_believed(ask: Ask, context: PluginContext) -> None:
    put(
        context,
        "federated_model",
        [
            {
                "origin": origin("440300"),
                "index": 9,
                "hub": "440300",
                "province": "44",
                "model_id": "m99",
                "model_version": "1",
                "model_digest": "ef" * 32,
                "passport": '{"floor": 1, "evidence": [[[[[]]]]]}',
                "state": "current",
            }
        ],
    )
    nodes = ask("{ federated { models { nodes { modelId floor precision { province } passports } } } }")["models"]
    (model,) = [n for n in nodes["nodes"] if n["modelId"] == "m99"]
    assert (model["floor"], model["precision"]) == (None, [])


@pytest.mark.parametrize(
    "arguments",
    ["first: 0", "first: 201", 'after: "x"', 'after: "WyJvdGhlciIsIFtdXQ=="', 'filter: {provinces: ["h"]}'],
)
def test_hostile_arguments_are_told(context: PluginContext, arguments: str) -> None:
    @strawberry.type
    class Query:
        @strawberry.field
        def federated(self) -> FEDERATED.type():  # type: ignore[valid-type]
            return FEDERATED.resolve(context, Caller("agency", "test", None))

    query = words(arguments, "nodes { hub }")
    answer = asyncio.run(strawberry.Schema(Query).execute(query))
    assert answer.errors is not None
    assert type(answer.errors[0].original_error).__name__ == "InputError"
