"""From frames on a socket to a warning on a stream, a notice to the plant, its answer, and silence."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx

OFF, ON, FURNACE = 0.4, 12.0, 60.0


def form(http: httpx.Client, page: str) -> str:
    shown = http.get(page)
    assert shown.status_code == 200, shown.text
    found = re.search(r'name=form value="([^"]+)"', shown.text)
    assert found is not None
    return found.group(1)


def test_off_is_told_answered_on_the_page_and_the_report_ends_it(
    site: Any, listen: Callable[..., Any], http: httpx.Client
) -> None:
    events = listen(site, "a")
    assert site.minutes(10, FURNACE, ON) == []
    assert site.minutes(44, FURNACE, OFF) == []
    assert "treatment_off opened notice" in site.minutes(4, FURNACE, OFF)
    told = events.next()
    assert (told["_event"], told["change"], told["level"]) == ("warning", "opened", "notice")
    assert (told["entity_id"], told["rule"]) == ("E1", "treatment_off")
    assert "停运" in told["reasons"][0]["zh"]
    rows = site.query("SELECT warning_id, case_id, finding_id FROM warning")
    assert rows == [(told["warning_id"], told["case_id"], told["finding_id"])]
    assert site.query('SELECT state, entity_id FROM "case"') == [("found", "E1")]
    assert site.query("SELECT passed, run_id FROM finding") == [(True, "realtime")]

    page = site.page()
    shown = http.get(page)
    assert "&lt;b&gt;E1&lt;/b&gt;厂" in shown.text
    assert "<b>" not in shown.text
    assert "default-src 'none'" in shown.headers["content-security-policy"]
    answer = {"form": form(http, page), "kind": "filed", "report": "maintenance", "text": "风机检修"}
    done = http.post(page, data=answer)
    assert (done.status_code, "已收到" in done.text) == (200, True)
    assert events.next()["change"] == "answered"
    report = site.query("SELECT entity_id, kind, facility, filed_at FROM filed_report")
    assert [r[:3] for r in report] == [("E1", "maintenance", f"{told['circuit_ids'][0]}")]
    audit = site.query("SELECT actor, action, subject FROM audit WHERE action LIKE 'answer%'")
    assert audit == [("plant:E1", "answer filed", told["event_id"])]

    assert site.minutes(6, FURNACE, OFF) == ["treatment_off ended notice"]
    assert events.next()["change"] == "ended"
    assert site.minutes(30, FURNACE, OFF) == []
    assert site.query("SELECT count(*) FROM warning") == [(1,)]
    assert site.query("SELECT count(*) FROM notice") == [(1,)]


def test_a_stream_goes_on_behind_the_last_event(site: Any, listen: Callable[..., Any]) -> None:
    site.minutes(60, FURNACE, OFF)
    site.minutes(10, FURNACE, ON)
    everything = listen(site, "city", 0)
    first, second = everything.next(), everything.next()
    assert [first["change"], second["change"]] == ["opened", "ended"]
    assert first["event_id"] == second["event_id"]
    again = listen(site, "city", int(first["_id"]))
    assert again.next()["_id"] == second["_id"]


def test_an_event_that_goes_on_is_one_warning_of_one_case(site: Any) -> None:
    said = site.minutes(80, FURNACE, OFF)
    assert said[0] == "treatment_off opened notice"
    said += site.minutes(10, FURNACE, ON)
    assert "treatment_off ended notice" in said
    assert site.query("SELECT count(*), count(DISTINCT case_id) FROM warning") == [(1, 1)]


def test_combined_circuit_cannot_tell(start: Callable[..., Any], bind: Callable[..., str]) -> None:
    site = start()
    bind(site.hub, fan="combined")
    said = site.minutes(60, FURNACE, OFF)
    assert said == ["treatment_unknown opened notice"]
    assert site.query("SELECT verdict, passed FROM finding") == [("cannot_tell", False)]
    assert site.query("SELECT count(*) FROM warning") == [(0,)]
    assert site.query("SELECT count(*) FROM notice") == [(0,)]


def test_a_silent_plant_is_not_off(site: Any) -> None:
    site.minutes(10, FURNACE, ON)
    assert site.minutes(60, None, None) == []


def test_nothing_is_said_after_a_gap_of_the_hub_that_no_reading_covers(site: Any) -> None:
    site.minutes(10, FURNACE, ON)
    site.clock.instant += timedelta(hours=3)
    assert site.minutes(10, FURNACE, OFF) == []
