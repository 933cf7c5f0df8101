"""One ASGI application over one hub."""

from __future__ import annotations

import logging
import time
from datetime import date
from functools import partial
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dianhuan_hub.api._access import AccessError, Grant, KeyRing, Right
from dianhuan_hub.api._arrow import MEDIA_TYPE, arrow_stream
from dianhuan_hub.api._events import MEDIA_TYPE as EVENT_STREAM
from dianhuan_hub.api._events import Streams, event_stream
from dianhuan_hub.api._graphql import BodyTooLargeError, graphql_endpoint
from dianhuan_hub.api._plant import PlantPages
from dianhuan_hub.api._probes import readiness
from dianhuan_hub.api._reader import Reader
from dianhuan_hub.api._schema import build_schema
from dianhuan_hub.api._subscription import websocket_endpoint
from dianhuan_hub.app import Hub
from dianhuan_hub.kernel.metrics import HubMetrics
from dianhuan_sdk import DianhuanError, InputError

log = logging.getLogger(__name__)


def create_app(hub: Hub) -> FastAPI:
    """The API of a hub: `/graphql`, `/arrow/{table}`, `/events`, `/plant/{token}`, `/health`, `/ready`, `/metrics`, and
    `/PLUGIN` of services.

    The application does not close the hub; who opened it does.
    """
    app = FastAPI(title="Dianhuan", docs_url=None, redoc_url=None, openapi_url=None)
    keys = KeyRing(hub.config)

    def grant(request: Request) -> Grant:
        return keys.grant(request.headers.get("authorization"), request.headers.get("x-purpose"))

    parts = [(spec.graphql, context) for spec, context in hub.services.values() if spec.graphql is not None]
    schema, streams = build_schema(parts), Streams()
    app.add_api_route("/graphql", graphql_endpoint(hub, schema, grant), methods=["POST"])
    app.add_api_websocket_route("/graphql", websocket_endpoint(hub, schema, keys, streams))

    @app.get("/arrow/{table}")
    async def arrow(
        request: Request,
        table: str,
        start: date | None = None,
        end: date | None = None,
        division: Annotated[list[str] | None, Query()] = None,
    ) -> Response:
        stream = await arrow_stream(Reader(hub, grant(request)), table, start, end, division)
        return StreamingResponse(stream, media_type=MEDIA_TYPE)

    @app.get("/events")
    async def events(request: Request) -> Response:
        stream = await event_stream(Reader(hub, grant(request)), streams, request.headers.get("last-event-id"))
        return StreamingResponse(stream, media_type=EVENT_STREAM, headers={"Cache-Control": "no-store"})

    pages = PlantPages(hub.realtime.notices, hub.config)
    app.add_api_route("/plant/{token}", pages.show, methods=["GET"])
    app.add_api_route("/plant/{token}", pages.take, methods=["POST"])

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "live"}

    @app.get("/ready")
    async def ready() -> JSONResponse:
        status, facts = await readiness(hub)
        return JSONResponse(facts, status)

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        grant(request).need(Right.METRICS)
        return Response(hub.metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    for plugin, (spec, context) in hub.services.items():
        if spec.routes is not None:
            make, guard = partial(spec.routes, context), hub.plugins.record(plugin).guard
            try:
                app.mount(f"/{plugin}", guard.call("routes", make))
            except DianhuanError as error:
                log.error("plugin %s serves nothing below /%s: %s", plugin, plugin, error)
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
    app.add_middleware(_Measured, metrics=hub.metrics)
    return app


def _words(error: str, message: str, expected: str, hint: str, status: int, **headers: str) -> JSONResponse:
    return JSONResponse(
        {"error": error, "message": message, "expected": expected, "hint": hint}, status, headers=headers
    )


async def _expected(request: Request, error: Any) -> Response:
    if isinstance(error, AccessError):
        if error.known:
            return JSONResponse(error.as_dict(), 403)
        return JSONResponse(error.as_dict(), 401, headers={"WWW-Authenticate": 'Bearer realm="dianhuan"'})
    if isinstance(error, BodyTooLargeError):
        return JSONResponse(error.as_dict(), 413)
    if isinstance(error, InputError):
        return JSONResponse(error.as_dict(), 400)
    log.error("%s %s: %s", request.method, request.url.path, error)
    return JSONResponse(error.as_dict(), 503)


async def _http(request: Request, error: Any) -> Response:
    hint = "see /graphql (POST), /arrow/{table}, /events, /health, /ready, /metrics"
    return _words("HttpError", str(error.detail), "", hint, error.status_code, **(error.headers or {}))


async def _parameters(request: Request, error: Any) -> Response:
    first = error.errors()[0]
    place = ".".join(str(p) for p in first["loc"])
    return _words("InputError", f"{place}: {first['msg']}", "", "correct the parameter", 400)


async def _defect(request: Request, error: Exception) -> Response:
    hint = "this is a defect: report it with the time of the request, which the hub's log explains"
    return _words("Unexpected", "unexpected error", "", hint, 500)


_HANDLERS: dict[type[Exception], Any] = {
    DianhuanError: _expected,
    HTTPException: _http,
    RequestValidationError: _parameters,
    Exception: _defect,
}


class _Measured:
    """Counts requests and times them until the last byte of the answer, by route."""

    def __init__(self, app: ASGIApp, metrics: HubMetrics) -> None:
        self._app = app
        self._requests = metrics.counter("http_requests", "requests answered", frozenset({"method", "route", "status"}))
        self._seconds = metrics.histogram("http_request_seconds", "time to the last byte", frozenset({"route"}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in ("GET", "POST", "HEAD") else "other"
            self._requests.labels(method=method, route=route, status=str(status)).inc()
            self._seconds.labels(route=route).observe(time.perf_counter() - started)
