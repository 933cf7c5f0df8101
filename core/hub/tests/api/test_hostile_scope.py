"""A key of one district tries every door for rows of the other one."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

import httpx
import pyarrow as pa
import pytest

from dianhuan_hub.api._arrow import TABLES
from dianhuan_hub.api._words import global_id
from dianhuan_hub.screening import case_id

Ask = Callable[..., Awaitable[dict[str, Any]]]
DAY = date(2026, 3, 2)
FOREIGN = ("E-B1", "E-B2", "E-OUT", "E-NONE")

LISTS = """{
  entities { ... on EntityConnection { totalCount edges { node { entityId name } } } }
  warnings { ... on WarningConnection { totalCount edges { node { warningId entityId entity { name } } } } }
  findings { ... on FindingConnection { totalCount edges { node { findingId entityId entity { name } } } } }
  cases { ... on CaseConnection { totalCount edges { node { caseId entityId
    events { note } outcomes { note } findings { findingId } warnings { warningId } } } } }
  todaysList(day: "2026-03-02") { ... on TodaysList { visits { entityId name } } }
}"""


@pytest.mark.parametrize("role", ["analyst", "admin"])
async def test_hostile_lists_hold_own_rows_only(ask: Ask, role: str) -> None:
    body = await ask(f"{role}-a", LISTS)
    assert "errors" not in body
    text = json.dumps(body, ensure_ascii=False)
    assert not [e for e in FOREIGN if e in text]
    assert not [e for e in FOREIGN if case_id(e, DAY) in text]
    assert body["data"]["entities"]["totalCount"] == 2
    assert body["data"]["warnings"]["totalCount"] == 2
    assert body["data"]["findings"]["totalCount"] == 4
    assert body["data"]["cases"]["totalCount"] == 2
    assert len(body["data"]["todaysList"]["visits"]) == 2


@pytest.mark.parametrize("foreign", FOREIGN)
async def test_hostile_direct_reads_find_nothing(ask: Ask, foreign: str) -> None:
    for kind, key in (
        ("Entity", foreign),
        ("Warning", f"W-{foreign}"),
        ("Finding", f"F-{foreign}-m05"),
        ("Case", case_id(foreign, DAY)),
    ):
        body = await ask("admin-a", "query ($id: ID!) { node(id: $id) { id } }", id=global_id(kind, key))
        assert body == {"data": {"node": None}}
    body = await ask(
        "admin-a",
        """query ($e: ID!, $c: ID!) { entity(id: $e) { ... on Problem { code } }
        case(id: $c) { ... on Problem { code } } }""",
        e=foreign,
        c=case_id(foreign, DAY),
    )
    assert body["data"] == {"entity": {"code": "NOT_FOUND"}, "case": {"code": "NOT_FOUND"}}
    body = await ask(
        "admin-a",
        """query ($e: [ID!], $c: [ID!]) {
        warnings(filter: {entity: $e, case: $c}) { ... on WarningConnection { totalCount } }
        cases(filter: {entity: $e}) { ... on CaseConnection { totalCount } }
        findings(filter: {entity: $e}) { ... on FindingConnection { totalCount } } }""",
        e=[foreign],
        c=[case_id(foreign, DAY)],
    )
    assert [c["totalCount"] for c in body["data"].values()] == [0, 0, 0]


async def test_hostile_mutations_do_not_reach_the_other_district(ask: Ask) -> None:
    body = await ask(
        "admin-a",
        """mutation ($c: ID!) { moveCase(caseId: $c, state: ASSESSED) { ... on Problem { code } }
        recordOutcome(caseId: $c, code: VERIFIED) { ... on Problem { code } } }""",
        c=case_id("E-B1", DAY),
    )
    assert body["data"] == {"moveCase": {"code": "NOT_FOUND"}, "recordOutcome": {"code": "NOT_FOUND"}}
    after = await ask("admin-b", "query ($c: ID!) { case(id: $c) { ... on Case { state } } }", c=case_id("E-B1", DAY))
    assert after["data"]["case"] == {"state": "ASSIGNED"}


async def test_hostile_counts_do_not_tell_of_the_other_district(ask: Ask) -> None:
    for table in ("WARNING", "FINDING", "CASE"):
        body = await ask(
            "admin-a",
            """query ($t: CountTable!) { own: counts(table: $t, by: DIVISION) { ... on Counts { groups { key } } }
            other: counts(table: $t, by: DAY, filter: {division: ["430203"]}) { ... on Counts { groups { key } } } }""",
            t=table,
        )
        assert body["data"]["own"]["groups"] == [{"key": "430202"}]
        assert body["data"]["other"]["groups"] == []


async def test_hostile_rows_of_no_district_need_the_whole_city(ask: Ask) -> None:
    query = """{ quarantine { ... on QuarantineConnection { totalCount } ... on Problem { code } }
        loads { __typename ... on Problem { code } } }"""
    assert (await ask("admin-a", query))["data"]["quarantine"] == {"code": "FORBIDDEN"}
    assert (await ask("admin-a", query))["data"]["loads"]["code"] == "FORBIDDEN"
    assert (await ask("admin-city", query))["data"]["quarantine"] == {"totalCount": 3}


async def test_hostile_whole_city_does_not_reach_another_city(ask: Ask) -> None:
    body = await ask("admin-city", LISTS)
    text = json.dumps(body, ensure_ascii=False)
    assert "E-OUT" not in text
    assert "E-NONE" in text


async def test_hostile_streams_hold_own_rows_only(client: httpx.AsyncClient) -> None:
    headers = {"Authorization": "Bearer secret-admin-a"}
    for table in TABLES:
        response = await client.get(f"/arrow/{table}", headers=headers)
        if table == "outage":
            assert response.status_code == 403
            continue
        assert response.status_code == 200, (table, response.text)
        rows = pa.ipc.open_stream(response.content).read_all().to_pylist()
        text = json.dumps(rows, ensure_ascii=False, default=str)
        assert not [e for e in FOREIGN if e in text], table
        if table in ("entity", "permit", "warning", "case"):
            assert len(rows) == 2, table


async def test_hostile_stream_of_curves_follows_an_account_that_moved(client: httpx.AsyncClient) -> None:
    async def points(key: str, **parameters: str) -> set[tuple[str, str]]:
        response = await client.get(
            "/arrow/load_curve", params=parameters, headers={"Authorization": f"Bearer secret-{key}"}
        )
        assert response.status_code == 200, response.text
        table = pa.ipc.open_stream(response.content).read_all()
        return {(r["metering_point_id"], r["day"].isoformat()) for r in table.to_pylist()}

    day, before = "2026-03-02", "2026-03-01"
    a = {("P-E-A1", day), ("P-E-A1", before), ("P-E-A2", day), ("P-E-A2", before), ("P-MOVED", day)}
    b = {("P-E-B1", day), ("P-E-B1", before), ("P-E-B2", day), ("P-E-B2", before), ("P-MOVED", before)}
    none = {("P-E-NONE", day), ("P-E-NONE", before)}
    assert await points("analyst-a") == a
    assert await points("analyst-b") == b
    assert await points("analyst-city") == a | b | none
    assert await points("analyst-city", division="430203", start=day) == {r for r in b if r[1] == day}
    assert await points("analyst-a", division="430203") == set()
