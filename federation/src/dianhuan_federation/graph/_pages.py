"""Pages by keyset over tables of the replica, and who is covered by them."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import strawberry

from dianhuan_federation.graph._words import FederatedFilter
from dianhuan_sdk import Caller, InputError, PluginContext

DEFAULT_FIRST = 50
MAX_FIRST = 200

Row = Mapping[str, Any]
Order = tuple[tuple[str, bool], ...]


@strawberry.type(description="Which hubs an answer speaks for, so that zero differs from silence.")
class FederatedCoverage:
    covered: list[str] = strawberry.field(description="heard of in time and verified")
    stale: list[str] = strawberry.field(description="verified earlier, silent for too long")
    missing: list[str] = strawberry.field(description="followed, but never reached or never proven")
    quarantined: list[str] = strawberry.field(description="a log of theirs broke its promise; see `hubs`")
    complete: bool = strawberry.field(description="every hub that this one follows is covered")


@dataclass(frozen=True)
class Scope:
    """What one request reads: the storage port, cut down to what the caller sees."""

    context: PluginContext
    caller: Caller
    _cache: dict[str, Any] = field(default_factory=dict)

    def prefix(self, wanted: FederatedFilter | None, column: str = "hub") -> dict[str, list[str]]:
        """Prefixes on the hub: what is asked for and what the key sees, both."""
        hubs = None if wanted is None or wanted.hubs is None else list(wanted.hubs)
        if wanted is not None and wanted.provinces is not None:
            provinces = [_digits(p, 2) for p in wanted.provinces]
            hubs = provinces if hubs is None else [h for h in hubs if h[:2] in provinces]
        if self.caller.divisions is not None:
            # A hub is a city: a key for districts of a city does not see the whole of it.
            seen = [d for d in self.caller.divisions if len(d) <= 4]
            hubs = seen if hubs is None else sorted({max(h, s, key=len) for h in hubs for s in seen if _overlap(h, s)})
        return {} if hubs is None else {column: hubs}

    async def rows(self, table: str, **conditions: Any) -> list[dict[str, Any]]:
        """Rows of a table, read in a thread."""
        storage = self.context.storage
        found: list[dict[str, Any]] = await asyncio.to_thread(
            lambda: storage.read(table, **conditions).read_all().to_pylist()
        )
        return found

    async def coverage(self, wanted: FederatedFilter | None) -> FederatedCoverage:
        """Who is covered by an answer to this filter."""
        logs = await self.rows("federated_log", columns=["hub", "state"], prefix=self.prefix(wanted))
        by_state: dict[str, set[str]] = {}
        for log in logs:
            by_state.setdefault(log["state"], set()).add(log["hub"])
        bad = by_state.get("QUARANTINE", set())
        stale = by_state.get("STALE", set()) - bad
        fresh = by_state.get("FRESH", set()) - bad - stale
        missing = {log["hub"] for log in logs} - bad - stale - fresh
        return FederatedCoverage(
            covered=sorted(fresh),
            stale=sorted(stale),
            missing=sorted(missing),
            quarantined=sorted(bad),
            complete=not (bad or stale or missing),
        )

    async def statement(self, origin: str, index: int) -> dict[str, Any]:
        """The statement that carries a record. Statements of one page are read once."""
        key = f"{origin}@{index}"
        if key not in self._cache:
            found = await self.rows("federated_statement", equals={"origin": origin, "index": index}, limit=1)
            self._cache[key] = found[0] if found else {}
        return dict(self._cache[key])


def _overlap(a: str, b: str) -> bool:
    return a.startswith(b) or b.startswith(a)


def _digits(text: str, size: int) -> str:
    if len(text) < size or not text.isascii() or not text.isdigit():
        raise InputError(f"province {text[:20]!r}", expected="the code of a province, e.g. 43 or 430000")
    return text[:size]


@dataclass(frozen=True)
class Page:
    """Rows of one page."""

    rows: list[dict[str, Any]]
    end_cursor: str | None
    more: bool


async def page(
    scope: Scope, table: str, order: Order, first: int, after: str | None, conditions: Mapping[str, Any]
) -> Page:
    """A page of a table.

    Raises:
        InputError: `first` is out of range or the cursor belongs elsewhere.
    """
    if not 1 <= first <= MAX_FIRST:
        raise InputError(f"first: {first}", expected=f"1 … {MAX_FIRST}", hint="page on with after: endCursor")
    start = None if after is None else _decode(table, order, after)
    rows = await scope.rows(table, order=order, after=start, limit=first + 1, **conditions)
    shown = rows[:first]
    end = _encode(table, [shown[-1][column] for column, _ in order]) if shown else None
    return Page(shown, end, len(rows) > first)


def _encode(table: str, values: Sequence[Any]) -> str:
    plain = [value.isoformat() if isinstance(value, date) else value for value in values]
    return base64.urlsafe_b64encode(json.dumps([table, plain], separators=(",", ":")).encode()).decode()


_DAYS = frozenset({"day", "period_start"})
_NUMBERS = frozenset({"index"})


def _decode(table: str, order: Order, cursor: str) -> list[Any]:
    try:
        named, values = json.loads(base64.b64decode(cursor.encode("ascii"), b"-_", validate=True))
        if named != table or len(values) != len(order):
            raise ValueError
        return [_read(column)(value) for (column, _), value in zip(order, values, strict=True)]
    except (ValueError, TypeError, RecursionError, binascii.Error):
        raise InputError(
            f"after: {cursor[:80]!r} is no cursor of this list", expected="endCursor of the page before"
        ) from None


def _read(column: str) -> Callable[[Any], Any]:
    if column in _DAYS:
        return date.fromisoformat
    return _whole if column in _NUMBERS else _text


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError
    return value.encode().decode()  # a lone surrogate is no text
