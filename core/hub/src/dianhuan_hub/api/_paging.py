"""Relay connections by keyset: opaque cursors that hold the order columns of a row."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Generic, TypeVar

import strawberry

from dianhuan_hub.api._words import BigInt, described
from dianhuan_sdk import InputError

MAX_FIRST = 200
DEFAULT_FIRST = 50

T = TypeVar("T")

Order = tuple[tuple[str, bool], ...]
"""(column, descending) …; together unique and never null."""


@strawberry.type(description="Whether more follows, and the cursors of both ends.")
class PageInfo:
    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.type(description="A row and its place.")
class Edge(Generic[T]):
    cursor: str
    node: T


@strawberry.type(description="A page of rows.")
class Connection(Generic[T]):
    edges: list[Edge[T]]
    page_info: PageInfo
    counter: strawberry.Private[Callable[[], Awaitable[int]]]

    @described("All rows that meet the filter, on whatever page.")
    async def total_count(self) -> BigInt:
        return BigInt(await self.counter())


@dataclass(frozen=True)
class PageRequest:
    """A checked request for a page.

    Args:
        limit: rows at most.
        after: values of the order columns to go on after, or None.
    """

    limit: int
    after: tuple[Any, ...] | None


C = TypeVar("C", bound="Connection[Any]")


def page_request(table: str, order: Order, first: int, after: str | None) -> PageRequest:
    """Check `first` and `after`.

    Raises:
        InputError: `first` is out of range, or the cursor belongs elsewhere.
    """
    if not 1 <= first <= MAX_FIRST:
        raise InputError(f"first: {first}", expected=f"1 … {MAX_FIRST}", hint="page on with after: pageInfo.endCursor")
    return PageRequest(first, None if after is None else _decode(table, order, after))


def connection(
    kind: type[C],
    table: str,
    order: Order,
    request: PageRequest,
    rows: Sequence[Mapping[str, Any]],
    more: bool,
    make: Callable[[Any], Any],
    counter: Callable[[], Awaitable[int]],
) -> C:
    """A page of stored rows as a connection."""
    edges = [Edge(cursor=_encode(table, [row[c] for c, _ in order]), node=make(row)) for row in rows]
    return kind(
        edges=edges,
        page_info=PageInfo(
            has_next_page=more,
            has_previous_page=request.after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
        counter=counter,
    )


_TAGS: dict[type, str] = {str: "s", int: "i", float: "f", date: "d"}


def _text(value: Any) -> str:
    return str(value).encode().decode()  # a lone surrogate is no text


def _int64(value: Any) -> int:
    if not -(2**63) <= int(value) < 2**63:
        raise ValueError
    return int(value)


_READ: dict[str, Callable[[Any], Any]] = {
    "s": _text,
    "i": _int64,
    "f": float,
    "d": date.fromisoformat,
}


def _encode(table: str, values: Sequence[Any]) -> str:
    parts = [[_TAGS[type(v)], v.isoformat() if isinstance(v, date) else v] for v in values]
    return base64.urlsafe_b64encode(json.dumps([table, parts], separators=(",", ":")).encode()).decode()


def _decode(table: str, order: Order, cursor: str) -> tuple[Any, ...]:
    try:
        named, parts = json.loads(base64.b64decode(cursor.encode("ascii"), b"-_", validate=True))
        values = tuple(_READ[tag](value) for tag, value in parts)
        tags = [tag for tag, _ in parts]
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error):
        named, values, tags = None, (), []
    if named != table or len(values) != len(order) or tags != [_KINDS[c] for c, _ in order]:
        raise InputError(
            f"after: {cursor[:80]!r} is no cursor of this list", expected="pageInfo.endCursor of the page before"
        )
    return values


_KINDS = {
    "entity_id": "s",
    "day": "d",
    "score": "f",
    "priority": "f",
    "warning_id": "s",
    "finding_id": "s",
    "case_id": "s",
    "quarantine_id": "i",
    "load_id": "i",
    "id": "s",
}
