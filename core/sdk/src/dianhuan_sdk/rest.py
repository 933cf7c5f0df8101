"""Paged REST sources: budgets, retry classes, paging by number, cursor or link.

Answers are sorted into the SDK's errors by what the host does about them: 429 (and 503 with Retry-After) →
`RateLimitedError`; 408, 5xx, time-outs and broken connections → `TransientError`; 401 and 403 → `AuthError`; every
other 4xx → `TerminalError`. The first two are tried again here, within the budget, before they are raised.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field

from dianhuan_sdk.errors import AuthError, RateLimitedError, SourceError, TerminalError, TransientError

Sleep = Callable[[float], Awaitable[None]]
Sign = Callable[[httpx.Request], None]
"""Adds a signature to a request just before it is sent; called anew for each try."""


class Budget(BaseModel):
    """How hard a source may be asked.

    Args:
        per_minute: most requests in any minute.
        total: most requests of one run, or None.
        attempts: tries of one request.
        backoff: seconds before the second try; doubles each time, with jitter.
        longest_wait: a wait longer than this is left to the host.
        timeout: seconds for one request.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    per_minute: int = Field(default=60, ge=1)
    total: int | None = Field(default=None, ge=1)
    attempts: int = Field(default=4, ge=1, le=10)
    backoff: float = Field(default=1.0, ge=0)
    longest_wait: float = Field(default=60.0, ge=0)
    timeout: float = Field(default=30.0, gt=0)


class Paging(BaseModel):
    """How a source names its pages.

    Args:
        kind: `page` counts from `first` in `param` until a page has no rows; `cursor` sends the value at
            `next_path` of the last answer in `param`; `link` follows the address at `next_path` or, where that is
            empty, the Link header of rel `next` (RFC 8288); `none` is a single answer.
        param: query parameter of the page number or cursor.
        first: number of the first page.
        next_path: dotted path in the answer.
        size_param, size: query parameter and number of rows wanted in a page.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Literal["page", "cursor", "link", "none"] = "page"
    param: str = "page"
    first: int = 1
    next_path: str = ""
    size_param: str = ""
    size: int = Field(default=1000, ge=1)


class Endpoint(BaseModel):
    """A paged list.

    Args:
        url: absolute address.
        params: fixed query parameters.
        headers: fixed headers; secrets do not belong here.
        rows_path: dotted path of the list of rows in the answer; the answer itself if empty.
        start_param, end_param: query parameters of a window's first day and of the day after its last.
        paging, budget: see there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    url: str = Field(pattern=r"^https?://")
    params: dict[str, str] = {}
    headers: dict[str, str] = {}
    rows_path: str = ""
    start_param: str = ""
    end_param: str = ""
    paging: Paging = Paging()
    budget: Budget = Budget()


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: its rows, its own position, the next position (None at the end), and what it was."""

    rows: list[dict[str, Any]]
    position: str
    next: str | None
    url: str
    sha256: str


@dataclass
class _Pace:
    budget: Budget
    sleep: Sleep
    now: Callable[[], float] = time.monotonic
    sent: list[float] = field(default_factory=list)
    total: int = 0

    async def wait(self) -> None:
        if self.budget.total is not None and self.total >= self.budget.total:
            raise RateLimitedError(
                f"the budget of {self.budget.total} requests for one run is used up",
                retry_after=60.0,
                expected="fewer pages, or a larger budget",
                hint="the next run goes on from the last checkpoint; raise budget.total if the source allows it",
            )
        moment = self.now()
        self.sent = [t for t in self.sent if moment - t < 60.0]
        if len(self.sent) >= self.budget.per_minute:
            await self.sleep(60.0 - (moment - self.sent[0]))
        self.sent.append(self.now())
        self.total += 1


def classify(response: httpx.Response) -> SourceError | None:
    """The error that an answer stands for, None for a 2xx."""
    status = response.status_code
    where = f"{response.request.method} {response.request.url.copy_with(query=None)} answered {status}"
    if 200 <= status < 300:
        return None
    wait = _retry_after(response)
    if status == 429 or (status == 503 and wait is not None):
        return RateLimitedError(where, retry_after=wait if wait is not None else 60.0, hint="wait, or lower the budget")
    if status in (401, 403):
        return AuthError(where, expected="accepted credentials", hint="check the secret, its validity and the clock")
    if status == 408 or status >= 500:
        return TransientError(where, hint="the source is troubled; it is tried again later")
    return TerminalError(where, expected="a 2xx answer", hint="check address and parameters with the source's owner")


def _retry_after(response: httpx.Response) -> float | None:
    text = response.headers.get("retry-after", "")
    if not text:
        return None
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


async def fetch(
    client: httpx.AsyncClient,
    request: Callable[[], httpx.Request],
    budget: Budget,
    *,
    sign: Sign | None = None,
    sleep: Sleep = asyncio.sleep,
) -> httpx.Response:
    """Send one request, again where that may help.

    Raises:
        SourceError: sorted as in the module's head, after the last try.
    """
    return await _fetch(client, request, _Pace(budget, sleep), sign)


async def _fetch(
    client: httpx.AsyncClient, make: Callable[[], httpx.Request], pace: _Pace, sign: Sign | None
) -> httpx.Response:
    budget = pace.budget
    for attempt in range(1, budget.attempts + 1):
        await pace.wait()
        request = make()
        request.extensions["timeout"] = httpx.Timeout(budget.timeout).as_dict()
        if sign is not None:
            sign(request)
        failure: SourceError | None
        try:
            response = await client.send(request)
            failure = classify(response)
        except httpx.TransportError as error:
            words = f"GET {request.url.copy_with(query=None)}: {type(error).__name__}"
            failure = TransientError(words, hint="check the network and the source; it is tried again later")
        else:
            if failure is None:
                return response
        # Full jitter keeps many hubs from asking again in step.
        wait = budget.backoff * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)
        if isinstance(failure, RateLimitedError):
            wait = failure.retry_after
        elif not isinstance(failure, TransientError):
            raise failure
        if attempt == budget.attempts or wait > budget.longest_wait:
            raise failure
        await pace.sleep(wait)
    raise AssertionError("a budget has at least one attempt")


async def pages(
    client: httpx.AsyncClient,
    endpoint: Endpoint,
    *,
    start: str = "",
    params: Mapping[str, str] | None = None,
    sign: Sign | None = None,
    sleep: Sleep = asyncio.sleep,
) -> AsyncIterator[Page]:
    """The pages of a list from a position on.

    Args:
        client: makes the requests.
        endpoint: what is asked.
        start: position of the first page wanted, as in `Page.position`; empty for the beginning.
        params: further query parameters, such as a window.
        sign: signs each request.
        sleep: waits; tests hand in their own.

    Raises:
        SourceError: sorted by what the host does about it; an answer that is no such list is a `TerminalError`.
    """
    paging, pace = endpoint.paging, _Pace(endpoint.budget, sleep)
    position: str | None = start or (str(paging.first) if paging.kind == "page" else "")
    seen: set[str] = set()
    while position is not None:
        here: str = position
        seen.add(here)
        response = await _fetch(client, lambda at=here: _request(client, endpoint, at, params or {}), pace, sign)  # type: ignore[misc]
        document = _document(response, endpoint)
        rows = _rows(document, endpoint)
        position = _next(response, document, rows, here, paging)
        if position is not None and position in seen:
            raise TerminalError(
                f"{endpoint.url} names the page {position!r} twice",
                expected="a next page that is new",
                hint="check paging.kind and paging.next_path",
            )
        yield Page(rows, here, position, str(response.request.url), hashlib.sha256(response.content).hexdigest())


def _request(client: httpx.AsyncClient, endpoint: Endpoint, position: str, params: Mapping[str, str]) -> httpx.Request:
    paging = endpoint.paging
    if paging.kind == "link" and position:
        if httpx.URL(position).host != httpx.URL(endpoint.url).host:
            raise TerminalError(
                f"{endpoint.url} links to another host: {httpx.URL(position).host}",
                expected="pages of the same host",
                hint="ask the source's owner; credentials are not sent elsewhere",
            )
        return client.build_request("GET", position, headers=endpoint.headers)
    query = {**endpoint.params, **params}
    if paging.size_param:
        query[paging.size_param] = str(paging.size)
    if position and paging.kind in ("page", "cursor"):
        query[paging.param] = position
    return client.build_request("GET", endpoint.url, params=query, headers=endpoint.headers)


def _document(response: httpx.Response, endpoint: Endpoint) -> Any:
    try:
        return response.json()
    except ValueError:
        raise TerminalError(
            f"{endpoint.url} answered no JSON: {response.text[:80]!r}",
            expected="JSON",
            hint="check the address; a login page in its place means that credentials are missing",
        ) from None


def at_path(document: Any, path: str) -> Any:
    """The value at a dotted path of nested objects, None where it is not there."""
    for part in path.split(".") if path else ():
        document = document.get(part) if isinstance(document, dict) else None
    return document


def _rows(document: Any, endpoint: Endpoint) -> list[dict[str, Any]]:
    rows = at_path(document, endpoint.rows_path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise TerminalError(
            f"{endpoint.url} has no list of objects at {endpoint.rows_path or 'the top'}",
            expected="a list of objects, possibly empty",
            hint="correct rows_path",
        )
    return rows


def _next(response: httpx.Response, document: Any, rows: list[Any], here: str, paging: Paging) -> str | None:
    if paging.kind == "page":
        return str(int(here) + 1) if rows else None
    if paging.kind == "cursor":
        value = at_path(document, paging.next_path)
        return None if value in (None, "") else str(value)
    if paging.kind == "link":
        value = at_path(document, paging.next_path) if paging.next_path else None
        value = value or response.links.get("next", {}).get("url")
        return str(response.request.url.join(str(value))) if value else None
    return None
