"""Health, readiness, metrics, and errors of the REST doors."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from dianhuan_hub.app import Hub

ADMIN = {"Authorization": "Bearer secret-admin-city"}


async def test_ready_tells_plugins_by_state_and_the_newest_day(client: httpx.AsyncClient, hub: Hub) -> None:
    facts = (await client.get("/ready")).json()
    assert (facts["status"], facts["store"], facts["newest_day"]) == ("ready", "ok", "2026-03-02")
    assert sum(facts["plugins"].values()) == len(hub.plugins.records)


async def test_metrics_count_requests_by_route_and_status(client: httpx.AsyncClient) -> None:
    await client.get("/health")
    await client.get("/arrow/nothing", headers=ADMIN)
    await client.get("/no/such/place")
    text = (await client.get("/metrics", headers=ADMIN)).text
    samples = {
        (s.name, s.labels.get("route"), s.labels.get("status")): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }
    assert samples["dianhuan_http_requests_total", "/health", "200"] >= 1
    assert samples["dianhuan_http_requests_total", "/arrow/{table}", "400"] >= 1
    assert samples["dianhuan_http_requests_total", "other", "404"] >= 1
    assert samples["dianhuan_http_request_seconds_count", "/health", None] >= 1


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        ("/arrow/nothing", 400, "nothing"),
        ("/arrow/audit", 400, "audit"),
        ("/arrow/entity?start=2026-01-01", 400, "no day"),
        ("/arrow/warning?start=yesterday", 400, "start"),
        ("/arrow/warning?division=x", 400, "division"),
        ("/nothing", 404, "Not Found"),
    ],
)
async def test_rest_errors_have_one_form(client: httpx.AsyncClient, path: str, status: int, word: str) -> None:
    response = await client.get(path, headers=ADMIN)
    assert response.status_code == status
    assert set(response.json()) == {"error", "message", "expected", "hint"}
    assert word in response.json()["message"]
