"""GraphQL subscriptions over graphql-transport-ws on a real socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

QUERY = """subscription { warnings(after: 0) { seq eventId change level verdict entityId warningId caseId
    reasons { zh } } }"""


@pytest.fixture
def dial(told: Any) -> Iterator[Callable[..., ClientConnection]]:
    """`dial("key")`: a connection; `init=False` leaves out the hello."""
    with ExitStack() as stack:

        def make(key: str, init: bool = True) -> ClientConnection:
            address = told.api.replace("http", "ws") + "/graphql"
            line = stack.enter_context(connect(address, subprotocols=["graphql-transport-ws"], proxy=None))
            if init:
                payload = {"authorization": f"Bearer secret-{key}"}
                line.send(json.dumps({"type": "connection_init", "payload": payload}))
            return line

        yield make


def heard(line: ClientConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line.recv(timeout=10))
    return found


def subscribe(line: ClientConnection, query: str = QUERY, key: str = "1") -> None:
    line.send(json.dumps({"id": key, "type": "subscribe", "payload": {"query": query}}))


def test_warnings_are_told_as_they_happen(told: Any, dial: Callable[..., ClientConnection]) -> None:
    line = dial("a")
    assert heard(line) == {"type": "connection_ack"}
    subscribe(line)
    first = heard(line)["payload"]["data"]["warnings"]
    assert (first["change"], first["level"], first["verdict"], first["entityId"]) == (
        "opened",
        "notice",
        "SUSPECT",
        "E1",
    )
    assert "停运" in first["reasons"][0]["zh"]
    assert "treatment_off ended notice" in told.minutes(8, 60.0, 12.0)
    second = heard(line)["payload"]["data"]["warnings"]
    assert (second["change"], second["eventId"]) == ("ended", first["eventId"])
    line.send('{"type": "ping"}')
    assert heard(line) == {"type": "pong"}


def test_hostile_subscriptions(dial: Callable[..., ClientConnection]) -> None:
    other = dial("b")
    heard(other)
    subscribe(other)
    with pytest.raises(TimeoutError):
        other.recv(timeout=1)
    line = dial("a")
    heard(line)
    for query in (
        "subscription { warnings { nothing } }",
        "mutation { moveCase(caseId: 1, state: FOUND) { __typename } }",
        "{",
    ):
        subscribe(line, query)
        assert heard(line)["type"] == "error", query
    for first in (
        '{"type": "subscribe"}',
        "[]",
        "\x00",
        '{"type": "connection_init", "payload": {"authorization": "Bearer x"}}',
    ):
        stranger = dial("", init=False)
        stranger.send(first)
        with pytest.raises(ConnectionClosed) as closed:
            stranger.recv(timeout=10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code in (4400, 4401, 4403)


def test_hostile_subscription_by_post_is_refused(told: Any, http: Any) -> None:
    answer = http.post(f"{told.api}/graphql", json={"query": QUERY}, headers={"Authorization": "Bearer secret-a"})
    assert answer.json().get("data") is None
    assert answer.status_code < 500
