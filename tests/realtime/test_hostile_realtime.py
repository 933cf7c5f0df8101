"""Who must not see, answer or guess: districts of event streams, tokens of plants' pages, foreign forms."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx

FURNACE, OFF, ON = 60.0, 0.4, 12.0


def form(http: httpx.Client, page: str) -> str:
    found = re.search(r'name=form value="([^"]+)"', http.get(page).text)
    assert found is not None
    return found.group(1)


def test_hostile_key_of_another_district_sees_nothing(told: Any, listen: Callable[..., Any]) -> None:
    assert listen(told, "a", 0).next()["entity_id"] == "E1"
    assert listen(told, "city", 0).next()["entity_id"] == "E1"
    assert listen(told, "b", 0, 1.5).silent()


def test_hostile_sealed_case_is_not_shown_before_dispatch(told: Any, listen: Callable[..., Any]) -> None:
    assert listen(told, "officer", 0, 1.5).silent()
    (case,) = told.query('SELECT case_id FROM "case"')[0]
    told.hub.cases.move(case, "assessed", "d")
    told.hub.cases.move(case, "assigned", "d")
    seen = listen(told, "officer", 0).next()
    assert seen["case_id"] == case
    assert seen["evidence"] == {}


def test_hostile_stream_needs_a_key_and_a_sane_id(told: Any, http: httpx.Client) -> None:
    assert http.get(f"{told.api}/events").status_code == 401
    headers = {"Authorization": "Bearer secret-a", "Last-Event-ID": "1; DROP TABLE warning"}
    assert http.get(f"{told.api}/events", headers=headers).status_code == 400


def test_hostile_streams_of_one_key_are_bounded(told: Any, listen: Callable[..., Any]) -> None:
    for _ in range(20):
        assert listen(told, "b").answer.status_code == 200
    assert listen(told, "b").answer.status_code == 400
    assert listen(told, "a", 0).next()["entity_id"] == "E1"


def test_hostile_guessed_tokens_are_refused_and_slowed(told: Any, http: httpx.Client) -> None:
    codes = [http.get(f"{told.api}/plant/{n:043d}").status_code for n in range(25)]
    assert codes[:20] == [403] * 20
    assert codes[20:] == [429] * 5
    stored = told.query("SELECT token_sha256, body FROM notice")
    assert told.page().rpartition("/")[2] not in str(stored)


def test_hostile_token_is_used_once(told: Any, http: httpx.Client) -> None:
    page = told.page()
    answer = {"form": form(http, page), "kind": "fault", "text": "电流互感器坏了"}
    assert http.post(page, data=answer).status_code == 200
    assert http.post(page, data=answer).status_code == 403
    assert http.get(page).status_code == 403
    assert told.query("SELECT answer, answer_text, accepted FROM notice") == [("fault", "电流互感器坏了", None)]


def test_hostile_token_expires(told: Any, http: httpx.Client) -> None:
    page = told.page()
    key = form(http, page)
    told.clock.instant += timedelta(hours=49)
    shown = http.get(page)
    assert (shown.status_code, "已过期" in shown.text) == (403, True)
    assert http.post(page, data={"form": key, "kind": "explanation", "text": "x"}).status_code == 403


def test_hostile_foreign_forms_are_refused(told: Any, http: httpx.Client) -> None:
    page = told.page()
    right = {"form": form(http, page)}
    for data, headers in (
        ({}, {}),
        ({"form": "9999999999.AAAA"}, {}),
        ({"form": "²."}, {}),
        (right, {"Origin": "https://evil.example"}),
        (right, {"Origin": "null"}),
        (right, {"Sec-Fetch-Site": "cross-site"}),
    ):
        answer = http.post(page, data={**data, "kind": "explanation", "text": "没事"}, headers=headers)
        assert answer.status_code == 403, (data, headers)
    assert told.query("SELECT answered_at FROM notice") == [(None,)]


def test_hostile_form_contents(told: Any, http: httpx.Client) -> None:
    page = told.page()
    for data in (
        {"kind": "filed", "report": "'; DROP TABLE notice; --"},
        {"kind": "filed", "until": "2031-01-01T00:00"},
        {"kind": "filed", "until": "never"},
        {"kind": "amnesty", "text": "x"},
        {"kind": "explanation", "text": " \x00 "},
        {"kind": "explanation", "text": "长" * 1001},
    ):
        answer = http.post(page, data={"form": form(http, page), **data})
        assert answer.status_code == 400, data
    long = http.post(page, content=b"x" * 20_000)
    assert long.status_code == 403
    assert told.query("SELECT answered_at FROM notice") == [(None,)]
    script = "<script>alert(1)</script>"
    assert http.post(page, data={"form": form(http, page), "kind": "explanation", "text": script}).status_code == 200


def test_hostile_graphql_report_for_another_district(told: Any, http: httpx.Client) -> None:
    mutation = """mutation ($e: ID!) { fileReport(entityId: $e, kind: MAINTENANCE, startsAt: "2026-06-02T10:00+08:00",
        endsAt: "2026-06-02T20:00+08:00", facility: "TA001") { ... on FiledReport { reportId }
        ... on Problem { code } } }"""

    def ask(key: str) -> Any:
        body = {"query": mutation, "variables": {"e": "E1"}}
        answer = http.post(f"{told.api}/graphql", json=body, headers={"Authorization": f"Bearer secret-{key}"})
        return answer.json()["data"]["fileReport"]

    assert ask("b") == {"code": "NOT_FOUND"}
    assert ask("a")["reportId"].startswith("B2026")
    assert "treatment_off ended notice" in told.minutes(6, FURNACE, OFF)
    assert told.query("SELECT actor, purpose FROM audit WHERE action = 'file report'") == [("a", "执法")]
