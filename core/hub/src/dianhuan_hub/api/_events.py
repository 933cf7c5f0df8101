"""`GET /events`: live warnings as server-sent events, within the rights and districts of a key."""

from __future__ import annotations

import json
import weakref
from collections import Counter
from collections.abc import AsyncIterator
from datetime import date, datetime
from typing import Any

from dianhuan_hub.api._access import Right
from dianhuan_hub.api._reader import Reader
from dianhuan_hub.store import events_after
from dianhuan_sdk import InputError

MEDIA_TYPE = "text/event-stream"
PER_KEY = 20
IN_ALL = 200
HEARTBEAT_S = 15.0
_PAGE = 200


class Streams:
    """Open streams of one hub, counted so that no key can take them all."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def take(self, actor: str) -> None:
        """One more stream of a key.

        Raises:
            InputError: there are too many.
        """
        if self._open[actor] >= PER_KEY or self._open.total() >= IN_ALL:
            raise InputError(
                f"{self._open[actor]} event streams of this key are open",
                expected=f"at most {PER_KEY} of a key and {IN_ALL} in all",
                hint="close one first",
            )
        self._open[actor] += 1

    def give_back(self, actor: str) -> None:
        """A stream has ended."""
        self._open[actor] -= 1


class EventStream:
    """One open stream; its place is given back when it ends, or was never begun.

    Args:
        reader: of the request.
        streams: of the hub.
        after: number behind which it begins.
    """

    def __init__(self, reader: Reader, streams: Streams, after: int) -> None:
        self._reader = reader
        self._after = after
        streams.take(reader.grant.actor)
        self._end = weakref.finalize(self, streams.give_back, reader.grant.actor)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            yield b"retry: 3000\n\n"
            async for row in live(self._reader, self._after):
                yield b": \n\n" if row is None else _framed(row)
        finally:
            self._end()


async def event_stream(reader: Reader, streams: Streams, last_event_id: str | None) -> EventStream:
    """Events behind `Last-Event-ID`, or from now on, as they are committed.

    Raises:
        AccessError: the role has no right to warnings.
        InputError: the id is none, or too many streams are open.
    """
    given = last_event_id or ""
    if given and not (given.isascii() and given.isdigit() and len(given) < 19):
        raise InputError(f"Last-Event-ID: {given[:40]!r}", expected="the id of an event of this stream")
    return EventStream(reader, streams, await begin_stream(reader, int(given) if given else None))


async def begin_stream(reader: Reader, after: int | None) -> int:
    """Where a stream of a key begins; that it was opened is logged.

    Raises:
        AccessError: the role has no right to warnings.
    """
    reader.grant.need(Right.WARNINGS)
    begin = reader.hub.realtime.feed.newest if after is None else max(after, 0)
    await reader.audit("stream warnings", f"after {begin}")
    return begin


async def live(reader: Reader, after: int) -> AsyncIterator[dict[str, Any] | None]:
    """Events that a key sees, in order; None as a sign of life while nothing happens. Ends when the hub stops."""
    feed = reader.hub.realtime.feed
    while not feed.closed:
        newest = feed.newest
        rows = await reader.run(_read, reader, after)
        seen = [row for row in rows if row["verdict"] == "suspect" or reader.grant.has(Right.FINDINGS)]
        if seen:
            reader.note("see live warnings", [row["event_id"] for row in seen])
        for row in seen:
            yield row
        if len(rows) == _PAGE:
            after = rows[-1]["seq"]
            continue
        after = max(after, newest, *(row["seq"] for row in rows))  # what this key does not see was looked at too
        if not await feed.wait(after, HEARTBEAT_S):
            yield None


def _read(reader: Reader, after: int) -> list[dict[str, Any]]:
    query = reader.query("stream_event")
    with reader.hub.store.engine.cursor() as con:
        rows = events_after(con, query.sql(), after, _PAGE)
    if not reader.grant.has(Right.FINDINGS):
        rows = [{**row, "body": {**row["body"], "evidence": {}}} for row in rows]
    return rows


def _framed(row: dict[str, Any]) -> bytes:
    told = {k: v for k, v in row.items() if k not in ("body", "seq")} | row["body"]
    kind = "warning" if row["verdict"] == "suspect" else "cannot_tell"
    data = json.dumps(told, ensure_ascii=False, default=_text)
    return f"id: {row['seq']}\nevent: {kind}\ndata: {data}\n\n".encode()


def _text(value: object) -> str:
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    raise TypeError(type(value).__name__)
