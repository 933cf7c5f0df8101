"""Documents and bodies that want too much, and what is told to their senders."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from dianhuan_hub.api._graphql import MAX_BODY
from dianhuan_hub.api._limits import MAX_ALIASES, MAX_DEPTH, MAX_TOKENS

Ask = Callable[..., Awaitable[dict[str, Any]]]


def _deep(levels: int) -> str:
    below = "{ __typename }"
    for _ in range(levels):
        below = (
            "{ warnings(first: 1) { ... on WarningConnection { edges { node { entity "
            f"{{ ... on Entity {below} }} }} }} }} }} }}"
        )
    return below


async def test_hostile_depth(ask: Ask) -> None:
    assert "errors" not in await ask("admin-city", _deep(MAX_DEPTH // 4))
    error = (await ask("admin-city", _deep(MAX_DEPTH // 4 + 1)))["errors"][0]
    assert error["extensions"]["limit"] == "depth"
    assert error["extensions"]["hint"]


async def test_hostile_aliases(ask: Ask) -> None:
    def many(n: int) -> str:
        return "{ " + " ".join(f"a{i}: __typename" for i in range(n)) + " }"

    assert "errors" not in await ask("viewer-a", many(MAX_ALIASES))
    error = (await ask("viewer-a", many(MAX_ALIASES + 1)))["errors"][0]
    assert error["extensions"]["limit"] == "aliases"


async def test_hostile_tokens(ask: Ask) -> None:
    body = await ask("viewer-a", "{ " + "__typename " * MAX_TOKENS + "}")
    assert body["errors"][0]["extensions"]["code"] == "GRAPHQL_PARSE_FAILED"
    assert str(MAX_TOKENS) in body["errors"][0]["message"]


@pytest.mark.parametrize(
    "query",
    [
        """{ entities(first: 200) { ... on EntityConnection { edges { node {
            warnings(first: 200) { ... on WarningConnection { edges { node { warningId day score } } } } } } } } }""",
        """{ entities(first: 200) { ... on EntityConnection { edges { node {
            curve(start: "2026-03-01", end: "2026-04-01") { ... on Curve { days { kw } } } } } } } }""",
    ],
)
async def test_hostile_cost(ask: Ask, query: str) -> None:
    error = (await ask("admin-city", query))["errors"][0]
    assert error["extensions"]["limit"] == "cost"
    assert "first" in error["extensions"]["hint"]


async def test_hostile_cost_in_variables_and_fragments(ask: Ask) -> None:
    query = """query ($n: Int!) { entities(first: $n) { ...E } }
    fragment E on EntityConnection { edges { node { warnings(first: $n) { ...W } } } }
    fragment W on WarningConnection { edges { node { warningId day score } } }"""
    assert "errors" not in await ask("admin-city", query, n=10)
    assert (await ask("admin-city", query, n=200))["errors"][0]["extensions"]["limit"] == "cost"


async def test_hostile_fragments_that_double_do_not_stop_the_hub(ask: Ask) -> None:
    levels = 60
    parts = [f"fragment F{i} on Query {{ ...F{i + 1} ...F{i + 1} }}" for i in range(levels)]
    query = "{ ...F0 } " + " ".join(parts) + f" fragment F{levels} on Query {{ models {{ __typename }} }}"
    assert (await ask("admin-city", query))["errors"][0]["extensions"]["limit"] == "cost"


async def test_hostile_fragment_cycle_is_a_validation_error(ask: Ask) -> None:
    body = await ask("admin-city", "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }")
    assert body["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"


async def test_hostile_introspection_is_bounded_and_the_usual_one_works(ask: Ask) -> None:
    from graphql import get_introspection_query

    body = await ask("viewer-a", get_introspection_query())
    assert body["data"]["__schema"]["queryType"]["name"] == "Query"
    below = "{ name }"
    for _ in range(8):
        below = f"{{ fields {{ type {below} }} }}"
    deep = await ask("viewer-a", f"{{ __schema {{ types {below} }} }}")
    assert deep["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"


async def test_hostile_numbers(ask: Ask) -> None:
    for number in ("9" * 30, "9" * 5000, "-1"):
        body = await ask("admin-city", f"{{ warnings(first: {number}) {{ ... on Problem {{ code }} }} }}")
        codes = [e["extensions"]["code"] for e in body.get("errors", [])]
        assert codes in ([], ["GRAPHQL_VALIDATION_FAILED"]), body
        if not codes:
            assert body["data"]["warnings"] == {"code": "BAD_USER_INPUT"}


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'[{"query": "{ __typename }"}]', 400),
        (b'{"query": 1}', 400),
        (b'{"variables": {}}', 400),
        (b'{"query": "{ __typename }", "variables": []}', 400),
        (b'{"query": "{ __typename }", "operationName": "nope"}', 400),
        (b'{"query": ""}', 400),
        (b'{"query": "{ __typename }", "variables": {"a": "\\ud800"}}', 400),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
        (b'{"query": "' + b" " * MAX_BODY + b'"}', 413),
    ],
)
async def test_hostile_bodies(client: httpx.AsyncClient, content: bytes, status: int) -> None:
    headers = {"Authorization": "Bearer secret-viewer-a", "Content-Type": "application/json"}
    response = await client.post("/graphql", content=content, headers=headers)
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error", "message", "expected", "hint"}


async def test_other_content_types_are_refused(client: httpx.AsyncClient) -> None:
    headers = {"Authorization": "Bearer secret-viewer-a", "Content-Type": "text/plain"}
    response = await client.post("/graphql", content=b'{"query": "{ __typename }"}', headers=headers)
    assert response.status_code == 400
    assert response.json()["expected"] == "application/json"


async def test_the_modern_media_type_gets_status_codes(client: httpx.AsyncClient) -> None:
    headers = {"Authorization": "Bearer secret-viewer-a", "Accept": "application/graphql-response+json"}
    good = await client.post("/graphql", json={"query": "{ __typename }"}, headers=headers)
    bad = await client.post("/graphql", json={"query": "{ nothing }"}, headers=headers)
    assert (good.status_code, bad.status_code) == (200, 400)
    assert good.headers["content-type"].startswith("application/graphql-response+json")
    assert "data" not in bad.json()
