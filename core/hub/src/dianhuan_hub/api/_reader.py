"""All reads of one request: rights, districts, seals and the audit log are applied here and nowhere else."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import date
from functools import cached_property
from typing import Any, ParamSpec, TypeVar

from anyio import to_thread
from strawberry.dataloader import DataLoader

from dianhuan_hub.api._access import AccessError, Grant, Right
from dianhuan_hub.api._filters import Conditions
from dianhuan_hub.api._paging import C, Order, connection, page_request
from dianhuan_hub.app import Hub
from dianhuan_hub.store import Connection as Writer
from dianhuan_hub.store import Query, put_audit, read_count, read_groups, read_page
from dianhuan_sdk.features import FloatArray
from dianhuan_standards import TABLES

P = ParamSpec("P")
T = TypeVar("T")
Row = dict[str, Any]

ORDERS: Mapping[str, Order] = {
    "entity": (("entity_id", False),),
    "finding": (("day", True), ("score", True), ("finding_id", False)),
    "warning": (("day", True), ("score", True), ("warning_id", False)),
    "case": (("day", True), ("priority", True), ("case_id", False)),
    "case_event": (("case_id", False), ("seq", False)),
    "outcome": (("case_id", False), ("at", False)),
    "quarantine": (("quarantine_id", True),),
    "load": (("load_id", True),),
}
"""How lists are sorted: newest and strongest first."""

_RIGHTS: Mapping[str, Right] = {
    "entity": Right.REGISTER,
    "finding": Right.FINDINGS,
    "warning": Right.WARNINGS,
    "case": Right.CASES,
    "quarantine": Right.OPERATIONS,
    "load": Right.OPERATIONS,
}
_OF_NO_DISTRICT = frozenset({"quarantine", "load", "outage"})
_ABOUT_NOBODY = frozenset({"calendar", "model_card"})
_SEALED = frozenset({"case", "warning", "outcome", "case_event", "stream_event"})
_PERSONAL: Mapping[str, frozenset[str]] = {
    **{name: frozenset(f.name for f in table.fields if f.personal) for name, table in TABLES.items()},
    "case_event": frozenset({"actor", "note"}),
}
_MANY = 50_000

log = logging.getLogger(__name__)


class Reader:
    """Reads for one request.

    Args:
        hub: the city's services.
        grant: what the request may do.
    """

    def __init__(self, hub: Hub, grant: Grant) -> None:
        self.hub = hub
        self.grant = grant

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking work in a thread."""
        return await to_thread.run_sync(lambda: work(*args, **kwargs))

    def query(self, table: str, wanted: Conditions = Conditions()) -> Query:  # noqa: B008
        """Conditions on a table, cut down to what the key sees.

        Raises:
            AccessError: the table belongs to no district and the key sees some districts only, or the filter needs
                a right that the role does not have.
            InputError: the table has no such column.
        """
        if wanted.contains:
            self.grant.need(Right.PERSONAL)
        query = Query(
            table,
            equals=wanted.equals,
            contains=wanted.contains,
            start=wanted.start,
            end=wanted.end,
            division=self.grant.scope(wanted.division),
            industry=wanted.industry if table != "entity" else None,
            prefix={"industry": wanted.industry} if table == "entity" and wanted.industry is not None else {},
            dispatched=table in _SEALED and not self.grant.has(Right.SEALED),
        )
        if table in _OF_NO_DISTRICT:
            self.grant.need_whole_city(f"rows of {table}")
            return replace(query, division=None)
        return replace(query, division=None) if table in _ABOUT_NOBODY else query

    async def page(
        self, kind: type[C], table: str, make: Callable[[Row], Any], wanted: Conditions, first: int, after: str | None
    ) -> C:
        """A page of a list.

        Raises:
            AccessError, InputError: as `query`, or `first` or `after` is wrong.
        """
        self.grant.need(_RIGHTS[table])
        order = ORDERS[table]
        request = page_request(table, order, first, after)
        query = self.query(table, wanted)
        page = await self.run(
            read_page, self.hub.store.engine, query, order=order, limit=request.limit, after=request.after
        )
        if table not in _OF_NO_DISTRICT:
            self.note(f"list {table}", [row[order[-1][0]] for row in page.rows])
        rows = self.masked(table, page.rows)

        async def count() -> int:
            return await self.run(read_count, self.hub.store.engine, query)

        return connection(kind, table, order, request, rows, page.more, make, count)

    async def one(self, table: str, column: str, key: object) -> Row | None:
        """The row of that key, if the key of the request sees it."""
        self.grant.need(_RIGHTS[table])
        rows = await self._rows(table, {column: key}, limit=1)
        return rows[0] if rows else None

    async def counts(self, table: str, by: str, wanted: Conditions) -> list[tuple[str | None, int]]:
        """Counts by a column, largest first."""
        self.grant.need(Right.AGGREGATES)
        self.grant.need(_RIGHTS[table])
        return await self.run(read_groups, self.hub.store.engine, self.query(table, wanted), by)

    async def curves(self, entity_id: str, first: date, last: date) -> tuple[list[date], FloatArray]:
        """The load of an enterprise that has been read in scope before; kW of shape (days, 96), NaN = missing."""
        self.grant.need(Right.CURVES)
        await self.audit("read curve", entity_id, f"{first} … {last}")
        return await self.run(self.hub.store.entity_curves, entity_id, first, last)

    def masked(self, table: str, rows: list[Row]) -> list[Row]:
        """Rows without the personal columns, where the role has no right to them."""
        hidden = _PERSONAL.get(table)
        if not hidden or self.grant.has(Right.PERSONAL):
            return rows
        return [{k: None if k in hidden else v for k, v in row.items()} for row in rows]

    def withheld(self, table: str) -> list[str]:
        """Columns of a table that this key does not see."""
        return [] if self.grant.has(Right.PERSONAL) else sorted(_PERSONAL.get(table, ()))

    async def audit(self, action: str, subject: str, detail: str = "") -> None:
        """Log a read before it happens."""
        await self.run(self.hub.store.write, self._audit(action, subject, detail))

    def note(self, action: str, ids: Sequence[object]) -> None:
        """Log a read of rows while it happens."""
        # Lists do not wait for the writer: it may be busy with a city-day for seconds.
        if ids:
            work = self._audit(action, f"{len(ids)} rows", ", ".join(map(str, ids)))
            self.hub.store.engine.submit(work).add_done_callback(_report)

    def _audit(self, action: str, subject: str, detail: str) -> Callable[[Writer], None]:
        now, grant = self.hub.clock.now(), self.grant
        return lambda con: put_audit(con, now, grant.actor, grant.purpose, action, subject, detail)

    @cached_property
    def entities(self) -> DataLoader[str, Row | None]:
        """Enterprises by id, None where the key does not see one."""

        async def load(ids: list[str]) -> list[Row | None]:
            self.note("read entities", ids)
            found = {row["entity_id"]: row for row in await self._rows("entity", {"entity_id": list(ids)})}
            return [found.get(i) for i in ids]

        return DataLoader(load_fn=load)

    @cached_property
    def events(self) -> DataLoader[str, list[Row]]:
        """Events by case."""
        return self._by_case("case_event")

    @cached_property
    def outcomes(self) -> DataLoader[str, list[Row]]:
        """Outcomes by case."""
        return self._by_case("outcome")

    @cached_property
    def warnings(self) -> DataLoader[str, list[Row]]:
        """Warnings by case."""
        return self._by_case("warning")

    @cached_property
    def findings(self) -> DataLoader[tuple[str, date], list[Row]]:
        """Findings about an enterprise on a day, for cases that the key sees."""

        async def load(keys: list[tuple[str, date]]) -> list[list[Row]]:
            wanted = {"entity_id": [e for e, _ in keys], "day": [d for _, d in keys]}
            found = defaultdict(list)
            for row in await self._rows("finding", wanted):
                found[row["entity_id"], row["day"]].append(row)
            return [found[key] for key in keys]

        return DataLoader(load_fn=load)

    def _by_case(self, table: str) -> DataLoader[str, list[Row]]:
        async def load(ids: list[str]) -> list[list[Row]]:
            found = defaultdict(list)
            for row in await self._rows(table, {"case_id": list(ids)}):
                found[row["case_id"]].append(row)
            return [found[i] for i in ids]

        return DataLoader(load_fn=load)

    async def _rows(self, table: str, equals: Mapping[str, object], limit: int = _MANY) -> list[Row]:
        query = self.query(table, Conditions(equals=equals))
        page = await self.run(read_page, self.hub.store.engine, query, order=ORDERS[table], limit=limit)
        return self.masked(table, page.rows)


def _report(done: Future[None]) -> None:
    if (error := done.exception()) is not None:
        log.error("a read could not be written into the audit log: %s", error)


__all__ = ["ORDERS", "AccessError", "Reader", "Row"]
