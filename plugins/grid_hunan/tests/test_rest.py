"""REST with signed requests against a real server on loopback that checks every signature."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from dianhuan_grid_hunan._adapter import SPEC
from dianhuan_grid_hunan._config import HunanConfig
from dianhuan_sdk import AuthError, Batch, Checkpoint, Window

KEY = b"s3cret"


class Company:
    """The grid company's side: lists by path and day, refuses wrong signatures and used nonces."""

    def __init__(self, lists: dict[tuple[str, str], list[dict[str, Any]]], key: bytes = KEY) -> None:
        self.asked: list[tuple[str, str, str]] = []
        nonces: set[str] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                words = "\n".join(("GET", self.path, self.headers["X-Timestamp"], self.headers["X-Nonce"]))
                expected = hmac.new(key, words.encode(), hashlib.sha256).hexdigest()
                good = hmac.compare_digest(expected, self.headers["X-Signature"])
                good = good and self.headers["X-App-Id"] == "zhuzhou" and self.headers["X-Nonce"] not in nonces
                nonces.add(self.headers["X-Nonce"])
                query = {k: v[0] for k, v in parse_qs(urlsplit(self.path).query).items()}
                path = urlsplit(self.path).path
                outer.asked.append((path, query["day"], query["page"]))
                page, size = int(query["page"]), 2
                rows = lists.get((path, query["day"]), [])[(page - 1) * size : page * size]
                data = json.dumps({"rows": rows} if good else {"error": "signature"}).encode()
                self.send_response(200 if good else 401)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def curve_row(headers: dict[str, str], line: str) -> dict[str, str]:
    return dict(zip(headers["curve"].split(","), line.split(","), strict=True))


@pytest.fixture
def company(headers, curve_line) -> Iterator[Company]:
    lists = {
        ("/v1/curve", "2026-01-05"): [curve_row(headers, curve_line(f"MP{i}")) for i in range(3)],
        ("/v1/curve", "2026-01-06"): [curve_row(headers, curve_line("MP0", day="2026-01-06"))],
        ("/v1/correction", "2026-01-06"): [curve_row(headers, curve_line("MP0", value=9))],
    }
    server = Company(lists)
    yield server
    server.close()


def adapter(context: Any, url: str, profile: Path | None = None, **more: Any) -> Any:
    delivery = {"kind": "rest", "url": url, "app_id": "zhuzhou", "secret": {"ref": "env:KEY"}} | more
    return SPEC.factory(context(HunanConfig.model_validate({"delivery": delivery, "profile": profile})))


def points(items: list[Any]) -> list[tuple[str, str]]:
    return [(r["metering_point_id"], str(r["day"])) for i in items if isinstance(i, Batch) for r in i.rows.to_pylist()]


WINDOW = Window(date(2026, 1, 5), date(2026, 1, 7))


def test_days_and_pages(context, drain, company: Company) -> None:
    items = drain(adapter(context, company.url), "curve", window=WINDOW)
    assert points(items) == [("MP0", "2026-01-05"), ("MP1", "2026-01-05"), ("MP2", "2026-01-05"), ("MP0", "2026-01-06")]
    assert [i.cursor for i in items if isinstance(i, Checkpoint)] == [{"day": "2026-01-05"}, {"day": "2026-01-06"}]
    assert [page for _, day, page in company.asked if day == "2026-01-05"] == ["1", "2", "3"]
    assert items[0].rows.to_pylist()[0]["kw"][0] == 50.0
    assert items[0].source.uri.startswith(company.url)


def test_a_cursor_goes_on_with_the_next_day_and_stops_before_today(context, drain, company: Company) -> None:
    made = context(None)
    today = made.clock.today()
    one = adapter(context, company.url, first_day_back=3)
    items = drain(one, "curve")
    days = [i.cursor["day"] for i in items if isinstance(i, Checkpoint)]
    assert len(days) == 3
    assert max(days) < today.isoformat()
    assert drain(one, "curve", cursor={"day": days[-1]}) == []


def test_corrections_are_of_other_days_than_the_day_asked_for(context, drain, company: Company) -> None:
    window = Window(date(2026, 1, 6), date(2026, 1, 7))
    items = drain(adapter(context, company.url), "correction", window=window)
    assert points(items) == [("MP0", "2026-01-05")]


def test_hostile_a_wrong_key_is_refused_once(context, drain, headers) -> None:
    server = Company({}, key=b"another")
    try:
        with pytest.raises(AuthError) as caught:
            drain(adapter(context, server.url), "curve", window=WINDOW)
        assert len(server.asked) == 1
        assert "s3cret" not in str(caught.value)
    finally:
        server.close()


def test_header_names_and_algorithm_are_data(context, drain, company: Company, tmp_path: Path) -> None:
    profile = tmp_path / "city.yaml"
    profile.write_text("rest: {signature: {algorithm: sha512}}", "utf-8")
    with pytest.raises(AuthError):
        drain(adapter(context, company.url, profile), "curve", window=WINDOW)
