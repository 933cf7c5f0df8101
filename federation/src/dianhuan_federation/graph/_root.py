"""The field `federated` of the GraphQL root."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

import strawberry

from dianhuan_federation.graph._models import FederatedModel, models
from dianhuan_federation.graph._nodes import (
    FederatedCase,
    FederatedHub,
    FederatedStatistic,
    FederatedWarning,
    record_of,
)
from dianhuan_federation.graph._pages import DEFAULT_FIRST, FederatedCoverage, Order, Scope, page
from dianhuan_federation.graph._proof import prove
from dianhuan_federation.graph._words import FederatedFilter, RecordState, described
from dianhuan_sdk import Caller, InputError, PluginContext

P = TypeVar("P", "FederatedWarnings", "FederatedCases", "FederatedStatistics")

_PLACE: Order = (("origin", False), ("index", False), ("record_id", False))
_BY_DAY: Order = (("day", True), *_PLACE)
_BY_PERIOD: Order = (("period_start", True), *_PLACE)
_EMPTIED = frozenset({RecordState.REDACTED, RecordState.HIDDEN})
"""States in which a record's own columns are null, so that they cannot be sorted by."""


@strawberry.enum(name="FederatedCountBy", description="What to count by.")
class CountBy(Enum):
    HUB = "hub"
    PROVINCE = "province"
    INDUSTRY = "industry"
    MODEL = "model_id"
    DAY = "day"


@strawberry.type(description="How many current records.")
class FederatedCount:
    key: str | None
    count: int


@strawberry.type(description="Counts, largest first, and whom they speak for.")
class FederatedCounts:
    groups: list[FederatedCount]
    coverage: FederatedCoverage


@strawberry.type
class FederatedWarnings:
    nodes: list[FederatedWarning]
    end_cursor: str | None
    has_next_page: bool
    coverage: FederatedCoverage


@strawberry.type
class FederatedCases:
    nodes: list[FederatedCase]
    end_cursor: str | None
    has_next_page: bool
    coverage: FederatedCoverage


@strawberry.type
class FederatedStatistics:
    nodes: list[FederatedStatistic]
    end_cursor: str | None
    has_next_page: bool
    coverage: FederatedCoverage


@strawberry.type
class FederatedModels:
    nodes: list[FederatedModel]
    coverage: FederatedCoverage


@strawberry.type
class FederatedHubs:
    nodes: list[FederatedHub]
    coverage: FederatedCoverage


@strawberry.type(description="A file that a third party verifies with the trust root and no hub.")
class FederatedProof:
    filename: str
    json: str


@strawberry.type(
    description="What other hubs shared, verified here row by row. Every answer says which hubs it speaks for."
)
class Federated:
    scope: strawberry.Private[Scope]

    @described("Newest day first.")
    async def warnings(
        self, filter: FederatedFilter | None = None, first: int = DEFAULT_FIRST, after: str | None = None
    ) -> FederatedWarnings:
        return await self._page(FederatedWarnings, FederatedWarning, "federated_warning", _BY_DAY, filter, first, after)

    @described("What visits found.")
    async def cases(
        self, filter: FederatedFilter | None = None, first: int = DEFAULT_FIRST, after: str | None = None
    ) -> FederatedCases:
        return await self._page(FederatedCases, FederatedCase, "federated_outcome", _PLACE, filter, first, after)

    @described("Cells of statistics, newest period first.")
    async def statistics(
        self, filter: FederatedFilter | None = None, first: int = DEFAULT_FIRST, after: str | None = None
    ) -> FederatedStatistics:
        return await self._page(
            FederatedStatistics, FederatedStatistic, "federated_statistic", _BY_PERIOD, filter, first, after
        )

    @described("Models with passports and measured precision by province.")
    async def models(self, filter: FederatedFilter | None = None) -> FederatedModels:
        nodes, coverage = await asyncio.gather(models(self.scope, filter), self.scope.coverage(filter))
        return FederatedModels(nodes=nodes, coverage=coverage)

    @described("Hubs that are followed here, and how each stands.")
    async def hubs(self, filter: FederatedFilter | None = None) -> FederatedHubs:
        rows, coverage = await asyncio.gather(
            self.scope.rows("federated_log", prefix=self.scope.prefix(filter), order=_PLACE[:1]),
            self.scope.coverage(filter),
        )
        return FederatedHubs(nodes=[FederatedHub.of(row) for row in rows], coverage=coverage)

    @described("How many current warnings.")
    async def warning_counts(self, by: CountBy, filter: FederatedFilter | None = None) -> FederatedCounts:
        conditions = _conditions(self.scope, "federated_warning", filter)
        counted, coverage = await asyncio.gather(
            asyncio.to_thread(
                lambda: self.scope.context.storage.count("federated_warning", [by.value], **conditions).to_pylist()
            ),
            self.scope.coverage(filter),
        )
        groups = [
            FederatedCount(key=None if row[by.value] is None else str(row[by.value]), count=row["rows"])
            for row in counted
        ]
        return FederatedCounts(groups=groups, coverage=coverage)

    @described("The proof of one record, for `dianhuan federation check-proof` or other software.")
    async def proof(self, origin: str, index: int, record_id: str) -> FederatedProof:
        statement = await self.scope.statement(origin, index)
        seen = self.scope.prefix(None).get("hub")
        if not statement or (seen is not None and not any(statement["hub"].startswith(s) for s in seen)):
            raise InputError(
                f"no record {record_id[:80]!r} at {index} of {origin[:80]!r}", hint="take both from a node"
            )
        text = await asyncio.to_thread(prove, self.scope.context, origin, index, record_id)
        return FederatedProof(filename=f"{statement['hub']}-{index}-{record_id}.proof.json", json=text.decode())

    async def _page(
        self,
        kind: type[P],
        node: type[Any],
        table: str,
        order: Order,
        wanted: FederatedFilter | None,
        first: int,
        after: str | None,
    ) -> P:
        if wanted is not None and wanted.states is not None and _EMPTIED & set(wanted.states):
            order = _PLACE
        conditions = _conditions(self.scope, table, wanted)
        found, coverage = await asyncio.gather(
            page(self.scope, table, order, first, after, conditions), self.scope.coverage(wanted)
        )
        return kind(
            nodes=[record_of(node, self.scope, row) for row in found.rows],
            end_cursor=found.end_cursor,
            has_next_page=found.more,
            coverage=coverage,
        )


def _conditions(scope: Scope, table: str, wanted: FederatedFilter | None) -> Mapping[str, Any]:
    """Conditions of a filter on a table.

    Raises:
        InputError: the table has no such column.
    """
    states = [RecordState.CURRENT] if wanted is None or wanted.states is None else wanted.states
    equals: dict[str, object] = {"state": [state.value for state in states]}
    prefix: dict[str, Any] = scope.prefix(wanted)
    if wanted is None:
        return {"equals": equals, "prefix": prefix}
    if wanted.models is not None:
        _has(table, "model_id", "models")
        equals["model_id"] = list(wanted.models)
    if wanted.industry is not None:
        _has(table, "industry", "industry")
        prefix["industry"] = list(wanted.industry)
    if table == "federated_outcome" and (wanted.start or wanted.end):
        raise InputError("cases by day", expected="a filter without start and end", hint="read closedAt of the nodes")
    return {"equals": equals, "prefix": prefix, "start": wanted.start, "end": wanted.end}


_COLUMNS = {
    "federated_warning": ("model_id", "industry"),
    "federated_statistic": ("industry",),
    "federated_outcome": (),
}


def _has(table: str, column: str, name: str) -> None:
    if column not in _COLUMNS[table]:
        raise InputError(f"{table.removeprefix('federated_')} by {name}: it has no such column", hint="leave it out")


def resolve(context: PluginContext, caller: Caller) -> Federated:
    """The root for one request."""
    return Federated(scope=Scope(context, caller))
