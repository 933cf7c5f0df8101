"""Every door with every role: what is not granted is denied."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

import httpx
import pytest

from dianhuan_hub.api._access import RIGHTS, Right, area
from dianhuan_hub.app import Hub
from dianhuan_hub.screening import case_id
from dianhuan_hub.store import Query, read_page

Ask = Callable[..., Awaitable[dict[str, Any]]]
DAY = date(2026, 3, 2)
ROLES = ("viewer", "agency", "officer", "dispatcher", "analyst", "admin")

DOORS = {
    "entities": "{ a: entities { __typename ... on Problem { code } } }",
    "warnings": "{ a: warnings { __typename ... on Problem { code } } }",
    "cases": "{ a: cases { __typename ... on Problem { code } } }",
    "models": "{ a: models { __typename ... on Problem { code } } }",
    "count cases": "{ a: counts(table: CASE, by: DAY) { __typename ... on Problem { code } } }",
    "findings": "{ a: findings { __typename ... on Problem { code } } }",
    "count findings": "{ a: counts(table: FINDING, by: DAY) { __typename ... on Problem { code } } }",
    "today": '{ a: todaysList(day: "2026-03-02") { __typename ... on Problem { code } } }',
    "name filter": '{ a: entities(filter: {name: "厂"}) { __typename ... on Problem { code } } }',
    "loads": "{ a: loads { __typename ... on Problem { code } } }",
    "quarantine": "{ a: quarantine { __typename ... on Problem { code } } }",
    "plugins": "{ a: plugins { __typename ... on Problem { code } } }",
    "move": 'mutation { a: moveCase(caseId: "none", state: ASSESSED) { __typename ... on Problem { code } } }',
    "report": 'mutation { a: fileReport(entityId: "none", kind: OTHER, startsAt: "2026-03-01T00:00Z", '
    'endsAt: "2026-03-02T00:00Z") { __typename ... on Problem { code } } }',
    "outcome": 'mutation { a: recordOutcome(caseId: "none", code: VERIFIED) { __typename ... on Problem { code } } }',
}
_EVERYONE = set(ROLES)
ALLOWED = {
    "entities": _EVERYONE,
    "warnings": _EVERYONE,
    "cases": _EVERYONE,
    "models": _EVERYONE,
    "count cases": _EVERYONE,
    "findings": {"analyst", "dispatcher", "admin"},
    "count findings": {"analyst", "dispatcher", "admin"},
    "today": {"analyst", "dispatcher", "admin"},
    "name filter": {"officer", "analyst", "dispatcher", "admin"},
    "loads": {"analyst", "admin"},
    "quarantine": {"analyst", "admin"},
    "plugins": {"analyst", "admin"},
    "move": {"officer", "dispatcher", "admin"},
    "report": {"officer", "dispatcher", "admin"},
    "outcome": {"officer", "dispatcher", "admin"},
}


@pytest.mark.parametrize("role", ROLES)
async def test_graphql_doors_by_role(ask: Ask, role: str) -> None:
    for door, query in DOORS.items():
        answer = (await ask(f"{role}-city", query))["data"]["a"]
        assert (answer.get("code") != "FORBIDDEN") == (role in ALLOWED[door]), (door, answer)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/arrow/entity", {"analyst", "admin"}),
        ("/arrow/load_curve?start=2026-03-02", {"analyst", "admin"}),
        ("/metrics", {"viewer", "analyst", "dispatcher", "admin"}),
        ("/health", _EVERYONE),
        ("/ready", _EVERYONE),
    ],
)
async def test_rest_doors_by_role(client: httpx.AsyncClient, role: str, path: str, allowed: set[str]) -> None:
    response = await client.get(path, headers={"Authorization": f"Bearer secret-{role}-city"})
    assert response.status_code == (200 if role in allowed else 403)
    if role not in allowed:
        assert set(response.json()) == {"error", "message", "expected", "hint"}


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic secret-admin-city"}, {"Authorization": "Bearer "}],
)
async def test_without_a_known_key_everything_but_the_probes_is_closed(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    answers = [
        await client.post("/graphql", json={"query": "{ __typename }"}, headers=headers),
        await client.get("/arrow/entity", headers=headers),
        await client.get("/metrics", headers=headers),
    ]
    for answer in answers:
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert set(answer.json()) == {"error", "message", "expected", "hint"}
    for path in ("/docs", "/redoc", "/openapi.json", "/graphiql"):
        assert (await client.get(path, headers=headers)).status_code == 404
    assert (await client.get("/graphql", headers=headers)).status_code == 405


@pytest.mark.parametrize("role", ROLES)
async def test_sealed_cases_and_their_warnings_are_hidden_before_dispatch(ask: Ask, role: str) -> None:
    sees_sealed = role in ("analyst", "dispatcher", "admin")
    expected = {"E-A1", "E-A2", "E-B1", "E-B2", "E-NONE"} if sees_sealed else {"E-A1", "E-B1"}
    for table, kind in (("cases", "Case"), ("warnings", "Warning")):
        body = await ask(
            f"{role}-city", f"{{ {table} {{ ... on {kind}Connection {{ edges {{ node {{ entityId }} }} }} }} }}"
        )
        assert {e["node"]["entityId"] for e in body["data"][table]["edges"]} == expected
    body = await ask(f"{role}-city", "{ counts(table: WARNING, by: DAY) { ... on Counts { groups { count } } } }")
    assert body["data"]["counts"]["groups"] == [{"count": len(expected)}]
    body = await ask(f"{role}-city", "query ($id: ID!) { case(id: $id) { __typename } }", id=case_id("E-A2", DAY))
    assert body["data"]["case"]["__typename"] == ("Case" if sees_sealed else "Problem")
    below = await ask(
        f"{role}-city",
        '{ entity(id: "E-A2") { ... on Entity { cases { ... on CaseConnection { edges { cursor } } } } } }',
    )
    assert len(below["data"]["entity"]["cases"]["edges"]) == int(sees_sealed)


async def test_an_officer_cannot_move_a_sealed_case(ask: Ask) -> None:
    body = await ask(
        "officer-a",
        "mutation ($id: ID!) { moveCase(caseId: $id, state: ASSESSED) { ... on Problem { code } } }",
        id=case_id("E-A2", DAY),
    )
    assert body["data"]["moveCase"] == {"code": "NOT_FOUND"}


@pytest.mark.parametrize("role", ROLES)
async def test_personal_fields_and_curves_by_role(ask: Ask, role: str) -> None:
    body = await ask(
        f"{role}-a",
        """query ($c: ID!) { entity(id: "E-A1") { ... on Entity { name phone withheld
            curve(start: "2026-03-02", end: "2026-03-03") { __typename } } }
        case(id: $c) { ... on Case { entity { name } outcomes { actor note } events { note } } } }""",
        c=case_id("E-A1", DAY),
    )
    entity, case = body["data"]["entity"], body["data"]["case"]
    if role in ("viewer", "agency"):
        assert (entity["name"], entity["phone"]) == (None, None)
        assert entity["withheld"] == ["address", "contact", "name", "phone"]
        assert case["entity"] == {"name": None}
        assert case["outcomes"] == [{"actor": None, "note": None}]
        assert all(e["note"] is None for e in case["events"])
    else:
        assert (entity["name"], entity["phone"], entity["withheld"]) == ("E-A1厂", "tel E-A1", [])
        assert case["outcomes"][0]["actor"] == "王"
    curve = "Problem" if role in ("viewer", "agency") else "Curve"
    assert entity["curve"]["__typename"] == curve


def test_every_right_is_granted_to_someone_and_none_to_all_by_accident() -> None:
    for right in Right:
        holders = {role for role, rights in RIGHTS.items() if right in rights}
        assert holders
        if right in (Right.SEALED, Right.FINDINGS, Right.BULK, Right.OPERATIONS):
            assert not holders & {"viewer", "agency", "officer"}


@pytest.mark.parametrize(
    ("code", "prefix"),
    [("430200", "4302"), ("430000", "43"), ("430202", "430202"), ("4302", "4302"), ("4300", "43"), ("43", "43")],
)
def test_area(code: str, prefix: str) -> None:
    assert area(code) == prefix


async def test_reads_of_one_enterprise_are_audited_with_their_purpose(client: httpx.AsyncClient, hub: Hub) -> None:
    case = case_id("E-A1", DAY)
    query = f"""{{ entity(id: "E-A1") {{ ... on Entity {{
        curve(start: "2026-03-02", end: "2026-03-03") {{ __typename }} }} }} case(id: "{case}") {{ __typename }}
        warnings {{ ... on WarningConnection {{ edges {{ node {{ entity {{ name }} }} }} }} }} }}"""
    headers = {"Authorization": "Bearer secret-officer-a", "X-Purpose": "%E5%A4%8D%E6%A0%B8%20042"}
    response = await client.post("/graphql", json={"query": query}, headers=headers)
    assert "errors" not in response.json()
    hub.store.write(lambda con: None)  # queued audit rows of lists are written before this returns
    page = read_page(hub.store.engine, Query("audit", equals={"purpose": "复核 042"}), order=[("at", False)], limit=100)
    assert {row["actor"] for row in page.rows} == {"officer-a"}
    read = {(row["action"], row["subject"], row["detail"]) for row in page.rows}
    assert {
        ("read entity", "E-A1", ""),
        ("read curve", "E-A1", "2026-03-02 … 2026-03-02"),
        ("read case", case, ""),
        ("list warning", "1 rows", "W-E-A1"),
        ("read entities", "1 rows", "E-A1"),
    } <= read


async def test_the_purpose_of_the_key_holds_without_a_header(ask: Ask, hub: Hub) -> None:
    await ask("analyst-b", '{ entity(id: "E-B1") { __typename } }')
    page = read_page(hub.store.engine, Query("audit", equals={"actor": "analyst-b"}), order=[("at", False)], limit=10)
    assert [(row["subject"], row["purpose"]) for row in page.rows] == [("E-B1", "执法")]


async def test_a_purpose_that_is_none_is_refused(client: httpx.AsyncClient) -> None:
    for purpose in ("x" * 201, "a%00b"):
        headers = {"Authorization": "Bearer secret-analyst-a", "X-Purpose": purpose}
        response = await client.post("/graphql", json={"query": "{ __typename }"}, headers=headers)
        assert response.status_code == 400
        assert "X-Purpose" in response.json()["message"]
