"""How the doors read: joins in one query, many requests at once, streams that end early or meet sealed days."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from typing import Any

import httpx
import pytest

from dianhuan_hub.api._access import Grant
from dianhuan_hub.api._arrow import arrow_stream
from dianhuan_hub.api._reader import Reader
from dianhuan_hub.app import Hub

Ask = Callable[..., Awaitable[dict[str, Any]]]
DAY = date(2026, 3, 2)
HEADERS = {"Authorization": "Bearer secret-analyst-city"}


async def test_joined_rows_take_one_query_whatever_their_number(
    ask: Ask, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = 0
    cursor = hub.store.engine.cursor

    def counted() -> Any:
        nonlocal opened
        opened += 1
        return cursor()

    monkeypatch.setattr(hub.store.engine, "cursor", counted)
    taken = []
    for first in (1, 5):
        opened = 0
        body = await ask(
            "analyst-city",
            """query ($n: Int!) { cases(first: $n, filter: {entity: ["E-A1", "E-A2", "E-B1", "E-B2", "E-NONE"]}) {
            ... on CaseConnection { edges { node { entity { name } events { seq } outcomes { code }
                findings { findingId } warnings { warningId entity { name } } } } } } }""",
            n=first,
        )
        assert len(body["data"]["cases"]["edges"]) == first
        taken.append(opened)
    assert taken[0] == taken[1]


async def test_many_requests_at_once_each_see_their_own_district(ask: Ask) -> None:
    query = "{ warnings { ... on WarningConnection { edges { node { entityId entity { division } } } } } }"
    keys = ["analyst-a", "analyst-b", "dispatcher-a", "admin-b"] * 10
    for key, body in zip(keys, await asyncio.gather(*(ask(key, query) for key in keys)), strict=True):
        division = "430202" if key.endswith("-a") else "430203"
        edges = body["data"]["warnings"]["edges"]
        assert {e["node"]["entity"]["division"] for e in edges} == {division}
        assert len(edges) == 2


async def test_a_stream_that_is_left_early_frees_its_cursor(hub: Hub) -> None:
    grant = Grant(actor="t", role="analyst", divisions=("4302",), whole_city=True, purpose="test")
    stream = await arrow_stream(Reader(hub, grant), "entity", None, None, None)
    assert await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    hub.store.engine.checkpoint()


async def test_sealed_days_are_refused_and_not_left_out(client: httpx.AsyncClient, hub: Hub) -> None:
    before = DAY - timedelta(days=1)
    hub.store.cold.seal(before)
    refused = await client.get("/arrow/load_curve", headers=HEADERS)
    assert refused.status_code == 400
    assert before.isoformat() in refused.json()["message"]
    assert (await client.get(f"/arrow/load_curve?start={DAY}", headers=HEADERS)).status_code == 200
