"""`POST /graphql`: the transport of GraphQL over HTTP."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request, Response
from strawberry import Schema
from strawberry.types import ExecutionResult

from dianhuan_hub.api._access import Grant
from dianhuan_hub.api._context import Context
from dianhuan_hub.api._faults import told
from dianhuan_hub.api._reader import Reader
from dianhuan_hub.app import Hub
from dianhuan_sdk import InputError

MAX_BODY = 256 * 1024
_GRAPHQL = "application/graphql-response+json"


class BodyTooLargeError(InputError):
    """A body above the limit."""


def graphql_endpoint(hub: Hub, schema: Schema, grant: Callable[[Request], Grant]) -> Callable[..., Awaitable[Response]]:
    """The handler of one hub's GraphQL."""

    async def answer(request: Request) -> Response:
        context = Context(Reader(hub, grant(request)))
        body = await _body(request)
        try:
            result = await schema.execute(
                body["query"], body.get("variables"), context, operation_name=body.get("operationName")
            )
        except Exception as error:
            # Strawberry raises what it finds wrong with the request itself, e.g. an unknown operationName.
            if not type(error).__module__.startswith("strawberry"):
                raise
            raise InputError(f"GraphQL: {error}", expected="a document with the operation that is named") from None
        return _response(result, _GRAPHQL in request.headers.get("accept", ""))

    return answer


def _response(result: ExecutionResult, modern: bool) -> Response:
    answer: dict[str, Any] = {"data": result.data}
    if result.errors:
        answer["errors"] = [told(e).formatted for e in result.errors]
        if result.data is None:
            del answer["data"]
    content = json.dumps(answer, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    refused = modern and "data" not in answer
    return Response(content, 400 if refused else 200, media_type=_GRAPHQL if modern else "application/json")


async def _body(request: Request) -> dict[str, Any]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise InputError(
            f"content type {request.headers.get('content-type', '(none)')[:80]}",
            expected="application/json",
            hint="send a JSON object with `query`",
        )
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > MAX_BODY:
            raise BodyTooLargeError(
                "the body is too large", expected=f"at most {MAX_BODY} bytes", hint="ask for less at once"
            )
    try:
        text = received.decode()
        body = json.loads(text)
        json.dumps(body, ensure_ascii=False).encode()  # a lone surrogate is no text, and no database takes it
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"the body is not JSON: {str(error)[:120]}", expected='{"query": "…", "variables": {…}}'
        ) from None
    kinds = {"query": str, "variables": dict | None, "operationName": str | None}
    if not isinstance(body, dict) or not all(isinstance(body.get(k), kind) for k, kind in kinds.items()):
        raise InputError(
            "the body is no GraphQL request",
            expected='an object with "query" (text) and, if needed, "variables" (object) and "operationName" (text)',
            hint="batches are not taken: send one request each",
        )
    return body
