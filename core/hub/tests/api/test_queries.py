"""What the lists and nodes answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

import pytest

from dianhuan_hub.app import Hub
from dianhuan_hub.screening import case_id
from dianhuan_hub.store import Query, read_page

Ask = Callable[..., Awaitable[dict[str, Any]]]
DAY = date(2026, 3, 2)
PROBLEM = "... on Problem { code message expected hint }"


async def test_warnings_page_by_page_in_order(ask: Ask) -> None:
    query = """query ($after: String) { warnings(first: 2, after: $after) { ... on WarningConnection {
        edges { cursor node { warningId score entity { entityId name } finding { findingId } } }
        pageInfo { hasNextPage hasPreviousPage endCursor } totalCount } } }"""
    seen: list[str] = []
    after, pages = None, 0
    while True:
        page = (await ask("analyst-city", query, after=after))["data"]["warnings"]
        pages += 1
        assert page["totalCount"] == 5
        assert page["pageInfo"]["hasPreviousPage"] is (after is not None)
        for edge in page["edges"]:
            seen.append(edge["node"]["warningId"])
            assert edge["node"]["warningId"] == "W-" + edge["node"]["entity"]["entityId"]
            assert edge["node"]["finding"]["findingId"] == f"F-{edge['node']['entity']['entityId']}-m05"
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert pages == 3
    assert seen == ["W-E-NONE", "W-E-B2", "W-E-B1", "W-E-A2", "W-E-A1"]


async def test_filters_narrow_and_intersect_with_the_districts(ask: Ask) -> None:
    query = """query ($f: WarningFilter) { warnings(filter: $f) {
        ... on WarningConnection { edges { node { entityId } } } } }"""

    async def found(key: str, **filter: Any) -> set[str]:
        body = await ask(key, query, f=filter)
        return {e["node"]["entityId"] for e in body["data"]["warnings"]["edges"]}

    assert await found("analyst-city", division=["430203"]) == {"E-B1", "E-B2"}
    assert await found("analyst-a", division=["430203"]) == set()
    assert await found("analyst-a", division=["43"]) == {"E-A1", "E-A2"}
    assert await found("analyst-city", industry=["C30"], entity=["E-A1", "E-OUT"]) == {"E-A1"}
    assert await found("analyst-city", industry=["D"]) == set()
    assert await found("analyst-city", start="2026-03-03") == set()
    assert await found("analyst-city", start="2026-03-02", end="2026-03-03", model=["m05-night-only"]) != set()
    assert await found("analyst-city", case=[case_id("E-A2", DAY)]) == {"E-A2"}


async def test_entity_with_its_curve_and_nested_lists(ask: Ask) -> None:
    body = await ask(
        "analyst-a",
        """{ entity(id: "E-A2") { ... on Entity { id name division phone withheld
        curve(start: "2026-03-01", end: "2026-03-03") { ... on Curve { days { day kw missing } } }
        warnings { ... on WarningConnection { edges { node { warningId } } } }
        findings(filter: {passed: false}) { ... on FindingConnection { edges { node { findingId } } } }
        cases { ... on CaseConnection { edges { node { caseId state } } } } } } }""",
    )
    entity = body["data"]["entity"]
    assert (entity["name"], entity["phone"], entity["withheld"]) == ("E-A2厂", "tel E-A2", [])
    before, day = entity["curve"]["days"]
    assert (before["day"], day["day"]) == ("2026-03-01", "2026-03-02")
    assert len(day["kw"]) == 96
    assert day["kw"][5] is None
    assert day["missing"] == 1
    # the moved account (point 6 beside point 1) counts from the second day on only
    assert before["kw"][0] == 96.0
    assert day["kw"][0] == 96.0 + 6 * 96.0
    assert [e["node"]["warningId"] for e in entity["warnings"]["edges"]] == ["W-E-A2"]
    assert [e["node"]["findingId"] for e in entity["findings"]["edges"]] == ["F-E-A2-m10"]
    assert [e["node"]["state"] for e in entity["cases"]["edges"]] == ["FOUND"]


async def test_case_with_events_outcomes_and_findings_in_two_languages(ask: Ask) -> None:
    body = await ask(
        "officer-a",
        """query ($id: ID!) { case(id: $id) { ... on Case { state stateZh
        events { seq state note actor } outcomes { code note } warnings { warningId }
        findings { findingId figures evidence { zh en } counter { zh en } gates { gate passed words { zh en } }
            exhibit { days slots } } } } }""",
        id=case_id("E-A1", DAY),
    )
    case = body["data"]["case"]
    assert (case["state"], case["stateZh"]) == ("ASSIGNED", "交办")
    assert [(e["seq"], e["state"]) for e in case["events"]] == [(1, "FOUND"), (2, "ASSESSED"), (3, "ASSIGNED")]
    assert case["outcomes"] == [{"code": "VERIFIED", "note": "saw E-A1"}]
    strongest = case["findings"][0]
    assert strongest["evidence"] == [{"zh": "夜间用电", "en": "load at night"}]
    assert strongest["gates"][0] == {"gate": "G2", "passed": True, "words": {"zh": "无停电", "en": "no outage"}}
    assert strongest["figures"] == {"night_kwh": 12.5}
    assert strongest["exhibit"] == {"days": ["2026-03-02"], "slots": [88, 24]}


async def test_node_gives_back_every_kind(ask: Ask) -> None:
    body = await ask(
        "admin-city",
        """{ entities(first: 1) { ... on EntityConnection { edges { node { id } } } }
        warnings(first: 1) { ... on WarningConnection { edges { node { id } } } }
        findings(first: 1) { ... on FindingConnection { edges { node { id } } } }
        cases(first: 1) { ... on CaseConnection { edges { node { id } } } }
        loads(first: 1) { ... on LoadConnection { edges { node { id accepted } } } }
        quarantine(first: 1) { ... on QuarantineConnection { edges { node { id payload } } } }
        models(first: 1) { ... on ModelConnection { edges { node { id } } } }
        plugins(first: 1) { ... on PluginConnection { edges { node { id } } } } }""",
    )
    kinds = []
    for connection in body["data"].values():
        (edge,) = connection["edges"]
        again = await ask("admin-city", "query ($id: ID!) { node(id: $id) { __typename id } }", id=edge["node"]["id"])
        assert again["data"]["node"]["id"] == edge["node"]["id"]
        kinds.append(again["data"]["node"]["__typename"])
    assert kinds == ["Entity", "Warning", "Finding", "Case", "Load", "QuarantinedRow", "Model", "Plugin"]


async def test_models_carry_their_card_and_plugin_state(ask: Ask, hub: Hub) -> None:
    body = await ask(
        "viewer-a",
        "{ models { ... on ModelConnection { edges { node { modelId state plugin purpose { zh en } } } } } }",
    )
    nodes = {e["node"]["modelId"]: e["node"] for e in body["data"]["models"]["edges"]}
    assert set(nodes) == set(hub.plugins.models())
    for model, registered in hub.plugins.models().items():
        assert nodes[model]["state"] == "LOADED"
        assert nodes[model]["plugin"] == registered.plugin.id
        assert nodes[model]["purpose"]["zh"] == registered.spec.card.purpose.zh


async def test_todays_list(ask: Ask) -> None:
    query = """query ($day: Date!, $k: Int) { todaysList(day: $day, k: $k) { ... on TodaysList { bound { zh }
        visits { rank arm entityId name division warnings { modelId evidence { zh } } } } ... on Problem { code } } }"""
    visits = (await ask("dispatcher-a", query, day="2026-03-02", k=1))["data"]["todaysList"]["visits"]
    assert [(v["rank"], v["entityId"]) for v in visits] == [(1, "E-A2")]
    assert [w["modelId"] for w in visits[0]["warnings"]] == ["m05-night-only"]
    city = (await ask("dispatcher-city", query, day="2026-03-02"))["data"]["todaysList"]["visits"]
    assert {v["entityId"] for v in city} == {"E-A1", "E-A2", "E-B1", "E-B2", "E-NONE"}
    assert (await ask("officer-city", query, day="2026-03-02"))["data"]["todaysList"] == {"code": "FORBIDDEN"}


@pytest.mark.parametrize(
    ("table", "by", "expected"),
    [
        ("WARNING", "DIVISION", {"430202": 2, "430203": 2, None: 1}),
        ("FINDING", "MODEL", {"m05-night-only": 5, "m10-peer-outlier": 5}),
        ("CASE", "STATE", {"found": 3, "assigned": 2}),
        ("CASE", "DAY", {"2026-03-02": 5}),
        ("WARNING", "INDUSTRY", {"C3011": 5}),
    ],
)
async def test_counts(ask: Ask, table: str, by: str, expected: dict[str | None, int]) -> None:
    body = await ask(
        "analyst-city",
        """query ($t: CountTable!, $b: CountBy!) {
        counts(table: $t, by: $b) { ... on Counts { groups { key count } } } }""",
        t=table,
        b=by,
    )
    assert {g["key"]: g["count"] for g in body["data"]["counts"]["groups"]} == expected


@pytest.mark.parametrize(
    ("field", "word"),
    [
        ("warnings(first: 0)", "first"),
        ("warnings(first: 201)", "first"),
        ('warnings(after: "bm8=")', "cursor"),
        ('warnings(after: "不")', "cursor"),
        ('warnings(filter: {division: ["43x"]})', "division"),
        ('entities(filter: {industry: ["c30"]})', "industry"),
        ('cases(filter: {start: "2026-03-02", end: "2026-03-02"})', "no day"),
        ('entity(id: "nobody")', "nobody"),
        ('case(id: "nothing")', "nothing"),
        ('todaysList(day: "2026-03-02", k: 0)', "k: 0"),
        ("counts(table: CASE, by: MODEL)", "MODEL"),
        ("counts(table: WARNING, by: STATE)", "STATE"),
    ],
)
async def test_bad_arguments_are_told_in_words(ask: Ask, field: str, word: str) -> None:
    body = await ask("admin-city", f"{{ answer: {field} {{ {PROBLEM} }} }}")
    assert "errors" not in body
    problem = body["data"]["answer"]
    assert problem["code"] in ("BAD_USER_INPUT", "NOT_FOUND")
    assert word in problem["message"]
    assert problem["expected"] or problem["hint"]


async def test_cursor_of_another_list_is_refused(ask: Ask) -> None:
    page = await ask("admin-city", "{ cases(first: 1) { ... on CaseConnection { pageInfo { endCursor } } } }")
    cursor = page["data"]["cases"]["pageInfo"]["endCursor"]
    query = "query ($c: String) { warnings(after: $c) { ... on Problem { code } } }"
    assert (await ask("admin-city", query, c=cursor))["data"]["warnings"] == {"code": "BAD_USER_INPUT"}


async def test_bad_global_id_is_a_user_error_and_an_unknown_one_is_null(ask: Ask) -> None:
    query = "query ($id: ID!) { node(id: $id) { id } }"
    body = await ask("admin-city", query, id="???")
    assert body["data"] == {"node": None}
    assert body["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    assert body["errors"][0]["extensions"]["expected"]
    assert await ask("admin-city", query, id="RW50aXR5Om5vYm9keQ==") == {"data": {"node": None}}


async def test_curve_is_bounded(ask: Ask) -> None:
    query = """query ($s: Date!, $e: Date!) { entity(id: "E-A1") { ... on Entity {
        curve(start: $s, end: $e) { ... on Curve { days { day } } ... on Problem { code expected } } } } }"""
    month = await ask("analyst-a", query, s="2026-03-01", e="2026-04-01")
    assert len(month["data"]["entity"]["curve"]["days"]) == 31
    for s, e in (("2026-03-01", "2026-04-02"), ("2026-03-01", "2026-03-01"), ("2026-03-02", "2026-03-01")):
        assert (await ask("analyst-a", query, s=s, e=e))["data"]["entity"]["curve"]["code"] == "BAD_USER_INPUT"


async def test_case_flow(ask: Ask, hub: Hub) -> None:
    move = """mutation ($id: ID!, $s: CaseState!) { moveCase(caseId: $id, state: $s, note: "看过") {
        ... on Case { state events { actor note } } ... on Problem { code message expected } } }"""
    case = case_id("E-B2", DAY)
    wrong = (await ask("dispatcher-b", move, id=case, s="HANDLED"))["data"]["moveCase"]
    assert wrong["code"] == "BAD_USER_INPUT"
    assert "assessed" in wrong["expected"]
    assert (await ask("dispatcher-b", move, id=case, s="ASSESSED"))["data"]["moveCase"]["state"] == "ASSESSED"
    moved = (await ask("dispatcher-b", move, id=case, s="ASSIGNED"))["data"]["moveCase"]
    assert moved["events"][-1] == {"actor": "dispatcher-b", "note": "看过"}
    record = """mutation ($id: ID!) { recordOutcome(caseId: $id, code: NOT_FOUND) {
        ... on Case { state outcomes { code } } ... on Problem { code } } }"""
    done = (await ask("officer-b", record, id=case))["data"]["recordOutcome"]
    assert done == {"state": "INSPECTED", "outcomes": [{"code": "NOT_FOUND"}]}
    audit = read_page(hub.store.engine, Query("audit", equals={"subject": case}), order=[("at", False)], limit=100)
    assert {"dispatcher-b", "officer-b"} <= {row["actor"] for row in audit.rows}
