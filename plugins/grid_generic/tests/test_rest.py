"""Paged REST against a real server on loopback: paging, budgets, retry classes, windows."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from dianhuan_grid_generic._adapter import SPEC
from dianhuan_grid_generic._config import GenericConfig
from dianhuan_sdk import AuthError, Batch, Checkpoint, RateLimitedError, TerminalError, TransientError, Window
from dianhuan_sdk.rest import Budget, Endpoint, Page, pages

Answer = tuple[int, dict[str, str], Any]


class Server:
    """Answers by a function of path and query; remembers what was asked."""

    def __init__(self, answer: Callable[[str, dict[str, str]], Answer]) -> None:
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {k: v[0] for k, v in parse_qs(parts.query).items()}
                outer.asked.append((parts.path, query, dict(self.headers)))
                status, headers, body = answer(parts.path, query)
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(answer: Callable[[str, dict[str, str]], Answer]) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


async def all_pages(endpoint: dict[str, Any], waits: list[float] | None = None, **more: Any) -> list[Page]:
    async def sleep(seconds: float) -> None:
        if waits is not None:
            waits.append(seconds)

    async with httpx.AsyncClient(trust_env=False) as client:
        return [page async for page in pages(client, Endpoint.model_validate(endpoint), sleep=sleep, **more)]


async def test_by_number_until_a_page_is_empty(serve) -> None:
    data = {"1": [{"i": 1}, {"i": 2}], "2": [{"i": 3}]}
    server = serve(lambda path, query: (200, {}, {"data": {"rows": data.get(query["page"], [])}}))
    found = await all_pages(
        {"url": server.url + "/x", "rows_path": "data.rows", "paging": {"size_param": "n", "size": 2}}
    )
    assert [row["i"] for page in found for row in page.rows] == [1, 2, 3]
    assert [(p.position, p.next) for p in found] == [("1", "2"), ("2", "3"), ("3", None)]
    assert server.asked[0][1] == {"page": "1", "n": "2"}
    assert all(len(p.sha256) == 64 for p in found)


async def test_by_cursor_goes_on_over_an_empty_page(serve) -> None:
    data = {"": ([{"i": 1}], "a"), "a": ([], "b"), "b": ([{"i": 2}], None)}

    def answer(path: str, query: dict[str, str]) -> Answer:
        rows, following = data[query.get("after", "")]
        return 200, {}, {"rows": rows, "meta": {"next": following}}

    server = serve(answer)
    paging = {"kind": "cursor", "param": "after", "next_path": "meta.next"}
    found = await all_pages({"url": server.url, "rows_path": "rows", "paging": paging})
    assert [row["i"] for page in found for row in page.rows] == [1, 2]
    again = await all_pages({"url": server.url, "rows_path": "rows", "paging": paging}, start="b")
    assert [row["i"] for page in again for row in page.rows] == [2]


async def test_by_link_header_stays_on_its_host(serve) -> None:
    def answer(path: str, query: dict[str, str]) -> Answer:
        if path == "/1":
            return 200, {"Link": '</2>; rel="next"'}, [{"i": 1}]
        return 200, {"Link": '<http://elsewhere.invalid/3>; rel="next"'}, [{"i": 2}]

    server = serve(answer)
    with pytest.raises(TerminalError, match="links to another host"):
        await all_pages({"url": server.url + "/1", "paging": {"kind": "link"}})
    assert [path for path, _, _ in server.asked] == ["/1", "/2"]


async def test_a_cursor_that_turns_in_circles_is_refused(serve) -> None:
    server = serve(lambda path, query: (200, {}, {"rows": [{}], "next": "same"}))
    with pytest.raises(TerminalError, match="twice"):
        await all_pages(
            {"url": server.url, "rows_path": "rows", "paging": {"kind": "cursor", "param": "c", "next_path": "next"}}
        )


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (401, {}, AuthError),
        (403, {}, AuthError),
        (404, {}, TerminalError),
        (400, {}, TerminalError),
        (500, {}, TransientError),
        (408, {}, TransientError),
        (503, {}, TransientError),
        (503, {"Retry-After": "2"}, RateLimitedError),
        (429, {"Retry-After": "2"}, RateLimitedError),
        (429, {}, RateLimitedError),
        (429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, RateLimitedError),
    ],
)
async def test_answers_are_sorted_by_what_to_do(serve, status: int, headers: dict[str, str], error: type) -> None:
    server = serve(lambda path, query: (status, headers, {}))
    waits: list[float] = []
    with pytest.raises(error) as caught:
        await all_pages({"url": server.url, "budget": {"attempts": 3}}, waits)
    assert str(status) in caught.value.message
    assert caught.value.hint
    again = error in (TransientError, RateLimitedError)
    assert len(server.asked) == (3 if again else 1)
    assert len(waits) == (2 if again else 0)
    if "Retry-After" in headers and headers["Retry-After"] == "2":
        assert waits == [2.0, 2.0]
        assert caught.value.retry_after == 2.0


async def test_trouble_that_passes(serve) -> None:
    answers: list[Answer] = [(500, {}, {}), (429, {"Retry-After": "1"}, {}), (200, {}, [{"i": 1}]), (200, {}, [])]
    server = serve(lambda path, query: answers.pop(0))
    waits: list[float] = []
    found = await all_pages({"url": server.url}, waits)
    assert [row["i"] for page in found for row in page.rows] == [1]
    assert 0.5 <= waits[0] <= 1.0
    assert waits[1] == 1.0


async def test_a_long_wait_is_left_to_the_host(serve) -> None:
    server = serve(lambda path, query: (429, {"Retry-After": "3600"}, {}))
    with pytest.raises(RateLimitedError) as caught:
        await all_pages({"url": server.url})
    assert caught.value.retry_after == 3600
    assert len(server.asked) == 1


async def test_nobody_there_and_too_slow(serve) -> None:
    gone = serve(lambda path, query: (200, {}, []))
    url = gone.url
    gone.close()
    gone.close = lambda: None  # type: ignore[method-assign]
    with pytest.raises(TransientError, match="ConnectError"):
        await all_pages({"url": url, "budget": {"attempts": 2}})
    hold = threading.Event()

    def slow(path: str, query: dict[str, str]) -> Answer:
        hold.wait(5)
        return 200, {}, []

    server = serve(slow)
    with pytest.raises(TransientError, match="ReadTimeout"):
        await all_pages({"url": server.url, "budget": {"attempts": 1, "timeout": 0.2}})
    hold.set()


async def test_budgets(serve) -> None:
    server = serve(lambda path, query: (200, {}, [{"i": 1}]))
    waits: list[float] = []
    with pytest.raises(RateLimitedError, match="budget of 5 requests"):
        await all_pages({"url": server.url, "budget": {"per_minute": 2, "total": 5}}, waits)
    assert len(server.asked) == 5
    assert len(waits) == 3
    assert all(0 < w <= 60 for w in waits)
    assert Budget().per_minute == 60


@pytest.mark.parametrize("body", [b"<html>login</html>", {"rows": 5}, {"rows": [1, 2]}, {}])
async def test_an_answer_that_is_no_list(serve, body: Any) -> None:
    server = serve(lambda path, query: (200, {}, body))
    with pytest.raises(TerminalError):
        await all_pages({"url": server.url, "rows_path": "rows"})


def curve_server(serve: Any) -> Server:
    rows = [
        {"计量点编号": f"M{i}", "日期": f"2026-01-0{5 + i}", **{f"P{p}": i for p in range(1, 97)}} for i in range(3)
    ]

    def answer(path: str, query: dict[str, str]) -> Answer:
        page = int(query["page"])
        return 200, {}, {"rows": rows[(page - 1) * 2 : page * 2]}

    server: Server = serve(answer)
    return server


def rest_adapter(context: Any, server: Server) -> Any:
    rest = {
        "url": server.url + "/curves",
        "rows_path": "rows",
        "bearer": {"ref": "env:TOKEN"},
        "start_param": "from",
        "end_param": "to",
    }
    return SPEC.factory(context(GenericConfig.model_validate({"streams": {"load_curve": {"rest": rest}}})))


def test_the_adapter_reads_pages_with_a_checkpoint_after_each(serve, context, drain) -> None:
    server = curve_server(serve)
    adapter = rest_adapter(context, server)
    items = drain(adapter, "load_curve")
    kinds = [type(i).__name__ for i in items]
    assert kinds == ["Batch", "Checkpoint", "Batch", "Checkpoint", "Checkpoint"]
    assert sum(i.rows.num_rows for i in items if isinstance(i, Batch)) == 3
    assert server.asked[0][2]["Authorization"] == "Bearer s3cret"
    cursors = [i.cursor for i in items if isinstance(i, Checkpoint)]
    rest = drain(adapter, "load_curve", cursor=cursors[0])
    assert [r["metering_point_id"] for i in rest if isinstance(i, Batch) for r in i.rows.to_pylist()] == ["M2"]


def test_a_window_is_asked_for_and_kept(serve, context, drain) -> None:
    server = curve_server(serve)
    items = drain(rest_adapter(context, server), "load_curve", window=Window(date(2026, 1, 6), date(2026, 1, 7)))
    assert server.asked[0][1] == {"page": "1", "from": "2026-01-06", "to": "2026-01-07"}
    assert [r["metering_point_id"] for i in items if isinstance(i, Batch) for r in i.rows.to_pylist()] == ["M1"]
