"""GraphQL subscriptions: live warnings over the protocol graphql-transport-ws, and subscriptions only.

https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md. The key comes in the header `Authorization`, or, for
browsers, which cannot set it, as `{"authorization": "Bearer KEY"}` in the payload of `connection_init`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import date, datetime
from typing import Any, TypeVar, cast

import strawberry
from fastapi import WebSocket, WebSocketDisconnect
from graphql import GraphQLError
from strawberry import Schema

from dianhuan_hub.api._access import KeyRing
from dianhuan_hub.api._context import Context, Info
from dianhuan_hub.api._events import Streams, begin_stream, live
from dianhuan_hub.api._faults import told
from dianhuan_hub.api._reader import Reader
from dianhuan_hub.api._words import BigInt, Verdict, Words
from dianhuan_hub.app import Hub
from dianhuan_sdk import DianhuanError

PROTOCOL = "graphql-transport-ws"
INIT_S = 10.0
SUBSCRIPTIONS = 10
MAX_MESSAGE = 64 * 1024
F = TypeVar("F", bound=Callable[..., Any])


@strawberry.type(description="What the real-time tier says of one event, or what its plant answered.")
class LiveWarning:
    seq: BigInt = strawberry.field(description="order in which things were said; `after` takes it up again")
    event_id: str = strawberry.field(description="the same for everything about one event")
    change: str = strawberry.field(description="opened, again, raised, ended, answered")
    level: str = strawberry.field(description="notice (to the plant) or dispatch (an officer goes)")
    verdict: Verdict
    model_id: str
    rule: str
    entity_id: str
    link_id: str
    day: date
    warning_id: str | None
    case_id: str | None
    since: datetime
    at: datetime
    score: float
    reasons: list[Words]
    counter: list[Words]

    @classmethod
    def of(cls, row: dict[str, Any]) -> LiveWarning:
        """From a stream event."""
        names = ("seq", "event_id", "change", "level", "model_id", "rule", "entity_id", "link_id", "day", "warning_id",
                 "case_id", "since", "at", "score")  # fmt: skip
        words: dict[str, Any] = {
            k: [Words(zh=w["zh"], en=w["en"]) for w in row["body"][k]] for k in ("reasons", "counter")
        }
        return cls(**{n: row[n] for n in names}, verdict=Verdict(row["verdict"]), **words)


def _told(description: str) -> Callable[[F], F]:
    return cast("Callable[[F], F]", strawberry.subscription(description=description))


@strawberry.type(description="What is told as it happens.")
class Subscription:
    @_told("Warnings of the real-time tier; behind a number, or from now on.")
    async def warnings(self, info: Info, after: BigInt | None = None) -> AsyncGenerator[LiveWarning, None]:
        reader = info.context.reader
        begin = await begin_stream(reader, after)
        async for row in live(reader, begin):
            if row is not None:
                yield LiveWarning.of(row)


def websocket_endpoint(
    hub: Hub, schema: Schema, keys: KeyRing, streams: Streams
) -> Callable[[WebSocket], Awaitable[None]]:
    """The handler of one hub's subscriptions."""

    async def serve(socket: WebSocket) -> None:
        if PROTOCOL not in socket.scope.get("subprotocols", ()):
            await socket.close(4406)
            return
        await socket.accept(PROTOCOL)
        try:
            async with asyncio.timeout(INIT_S):
                first = await _message(socket)
        except TimeoutError:
            await socket.close(4408, "Connection initialisation timeout")
            return
        except (ValueError, WebSocketDisconnect):
            await _close(socket, 4400, "Invalid message")
            return
        payload = first.get("payload") or {}
        if first.get("type") != "connection_init" or not isinstance(payload, dict):
            await socket.close(4401, "Unauthorized")
            return
        try:
            given = payload.get("authorization") or socket.headers.get("authorization")
            grant = keys.grant(str(given or ""), payload.get("purpose") or socket.headers.get("x-purpose"))
            streams.take(grant.actor)
        except (DianhuanError, AttributeError, TypeError):
            await socket.close(4403, "Forbidden")
            return
        try:
            await socket.send_json({"type": "connection_ack"})
            await _Connection(socket, schema, lambda: Context(Reader(hub, grant))).run()
        finally:
            streams.give_back(grant.actor)

    return serve


class _Connection:
    def __init__(self, socket: WebSocket, schema: Schema, context: Callable[[], Context]) -> None:
        self._socket = socket
        self._schema = schema
        self._context = context
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Serve until the client goes away or breaks the protocol."""
        try:
            while await self._take(await _message(self._socket)):
                pass
        except WebSocketDisconnect:
            pass
        except (ValueError, KeyError, TypeError):
            await _close(self._socket, 4400, "Invalid message")
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _take(self, message: dict[str, Any]) -> bool:
        kind = message["type"]
        if kind == "ping":
            await self._socket.send_json({"type": "pong"})
        elif kind == "complete":
            if (task := self._tasks.pop(message["id"], None)) is not None:
                task.cancel()
        elif kind == "subscribe":
            key, asked = str(message["id"]), message["payload"]
            self._tasks = {k: t for k, t in self._tasks.items() if not t.done()}
            if key in self._tasks:
                return await _close(self._socket, 4409, "Subscriber already exists")
            if len(self._tasks) >= SUBSCRIPTIONS:
                return await _close(self._socket, 4429, "Too many subscriptions")
            self._tasks[key] = asyncio.create_task(self._subscribe(key, dict(asked)))
        elif kind != "pong":
            return await _close(self._socket, 4429 if kind == "connection_init" else 4400, "Invalid message")
        return True

    async def _subscribe(self, key: str, asked: dict[str, Any]) -> None:
        try:
            answers: Any = await self._schema.subscribe(
                str(asked.get("query", "")),
                asked.get("variables"),
                self._context(),
                operation_name=asked.get("operationName"),
            )
            if not hasattr(answers, "__aiter__"):
                await self._failed(key, list(answers.errors or ()))
                return
            async for answer in answers:
                if answer.errors and answer.data is None:
                    await self._failed(key, list(answer.errors))
                    return
                await self._send({"id": key, "type": "next", "payload": {"data": answer.data}})
            await self._send({"id": key, "type": "complete"})
        except (WebSocketDisconnect, RuntimeError):
            pass  # the client has gone while something was on its way to it
        except Exception as error:
            await self._failed(key, [GraphQLError(str(error), original_error=error)])

    async def _failed(self, key: str, errors: list[GraphQLError]) -> None:
        await self._send({"id": key, "type": "error", "payload": [told(e).formatted for e in errors]})

    async def _send(self, message: dict[str, Any]) -> None:
        await self._socket.send_text(json.dumps(message, ensure_ascii=False))


async def _message(socket: WebSocket) -> dict[str, Any]:
    received = await socket.receive()
    if received["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(received.get("code", 1005))
    text = received.get("text")
    if text is None or len(text) > MAX_MESSAGE:
        raise ValueError("a text message")
    message = json.loads(text)
    if not isinstance(message, dict):
        raise ValueError("an object")
    return message


async def _close(socket: WebSocket, code: int, reason: str) -> bool:
    with contextlib.suppress(RuntimeError):  # it is closed already
        await socket.close(code, reason)
    return False
