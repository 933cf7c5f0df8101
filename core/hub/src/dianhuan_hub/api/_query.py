"""The root of reads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date
from enum import Enum
from typing import Annotated, Any

import strawberry

from dianhuan_hub.api._access import Right
from dianhuan_hub.api._context import Info
from dianhuan_hub.api._entities import EntitiesResult, Entity, EntityConnection, EntityResult
from dianhuan_hub.api._filters import (
    CaseFilter,
    CountFilter,
    EntityFilter,
    FindingFilter,
    LoadFilter,
    QuarantineFilter,
    WarningFilter,
    conditions,
)
from dianhuan_hub.api._operations import (
    Load,
    LoadConnection,
    LoadsResult,
    ModelConnection,
    ModelsResult,
    PluginConnection,
    PluginsResult,
    QuarantineConnection,
    QuarantinedRow,
    QuarantineResult,
    all_models,
    all_plugins,
    page_of,
)
from dianhuan_hub.api._paging import DEFAULT_FIRST, MAX_FIRST
from dianhuan_hub.api._reader import Reader
from dianhuan_hub.api._results import (
    Case,
    CaseConnection,
    CaseResult,
    CasesResult,
    Finding,
    FindingConnection,
    FindingsResult,
    Warning,
    WarningConnection,
    WarningsResult,
)
from dianhuan_hub.api._today import ListResult, todays_list
from dianhuan_hub.api._words import BigInt, Node, NotFoundError, Problem, attempt, described, parse_global_id
from dianhuan_sdk import InputError


@strawberry.enum(description="What can be counted.")
class CountTable(Enum):
    WARNING = "warning"
    FINDING = "finding"
    CASE = "case"


@strawberry.enum(description="What to count by.")
class CountBy(Enum):
    DIVISION = "division"
    INDUSTRY = "industry"
    MODEL = "model_id"
    DAY = "day"
    STATE = "state"


@strawberry.type(description="How many.")
class Count:
    key: str | None = strawberry.field(description="null where the enterprise has none on file")
    count: BigInt


@strawberry.type(description="Counts, largest first.")
class Counts:
    groups: list[Count]


CountsResult = Annotated[Counts | Problem, strawberry.union("CountsResult")]


@strawberry.type(description="All reads. Rows outside of the key's districts do not exist for it.")
class Query:
    @described("Any node by its global id; null where there is none that this key sees.")
    async def node(self, info: Info, id: strawberry.ID) -> Node | None:
        kind, key = parse_global_id(id)
        return await _NODES[kind](info.context.reader, key) if kind in _NODES else None

    @described("An enterprise by its entityId. The read is logged.")
    async def entity(self, info: Info, id: strawberry.ID) -> EntityResult:
        return await attempt(_found("enterprise", id, _entity(info.context.reader, id)))

    @described("A case by its caseId. The read is logged.")
    async def case(self, info: Info, id: strawberry.ID) -> CaseResult:
        return await attempt(_found("case", id, _case(info.context.reader, id)))

    @strawberry.field
    async def entities(
        self, info: Info, filter: EntityFilter | None = None, first: int = DEFAULT_FIRST, after: str | None = None
    ) -> EntitiesResult:
        return await attempt(_list(info, EntityConnection, "entity", Entity.of, filter, first, after))

    @described("Newest day first, then strongest first.")
    async def findings(
        self, info: Info, filter: FindingFilter | None = None, first: int = DEFAULT_FIRST, after: str | None = None
    ) -> FindingsResult:
        return await attempt(_list(info, FindingConnection, "finding", Finding.of, filter, first, after))

    @described("Newest day first, then strongest first.")
    async def warnings(
        self, info: Info, filter: WarningFilter | None = None, first: int = DEFAULT_FIRST, after: str | None = None
    ) -> WarningsResult:
        return await attempt(_list(info, WarningConnection, "warning", Warning.of, filter, first, after))

    @described("Newest day first, then by priority.")
    async def cases(
        self, info: Info, filter: CaseFilter | None = None, first: int = DEFAULT_FIRST, after: str | None = None
    ) -> CasesResult:
        return await attempt(_list(info, CaseConnection, "case", Case.of, filter, first, after))

    @described("Rows that were refused, newest first.")
    async def quarantine(
        self, info: Info, filter: QuarantineFilter | None = None, first: int = DEFAULT_FIRST, after: str | None = None
    ) -> QuarantineResult:
        return await attempt(_list(info, QuarantineConnection, "quarantine", QuarantinedRow.of, filter, first, after))

    @described("Loads, newest first.")
    async def loads(
        self, info: Info, filter: LoadFilter | None = None, first: int = DEFAULT_FIRST, after: str | None = None
    ) -> LoadsResult:
        return await attempt(_list(info, LoadConnection, "load", Load.of, filter, first, after))

    @described("Models with their cards and the state of the plugins that bring them.")
    async def models(self, info: Info, first: int = DEFAULT_FIRST, after: str | None = None) -> ModelsResult:
        async def work() -> ModelConnection:
            info.context.reader.grant.need(Right.MODELS)
            models = await all_models(info.context.reader)
            return page_of(ModelConnection, "model", models, lambda m: f"{m.model_id}@{m.version}", first, after)

        return await attempt(work())

    @strawberry.field
    async def plugins(self, info: Info, first: int = DEFAULT_FIRST, after: str | None = None) -> PluginsResult:
        async def work() -> PluginConnection:
            info.context.reader.grant.need(Right.OPERATIONS)
            plugins = all_plugins(info.context.reader)
            return page_of(PluginConnection, "plugin", plugins, lambda p: p.plugin_id, first, after)

        return await attempt(work())

    @described(
        f"今日清单: the visits of a day, ranked, with a random share; k is 1 … {MAX_FIRST}, "
        "the city's capacity by default."
    )
    async def todays_list(self, info: Info, day: date, k: int | None = None) -> ListResult:
        return await attempt(todays_list(info.context.reader, day, k))

    @described("How many warnings, findings or cases, by what.")
    async def counts(
        self, info: Info, table: CountTable, by: CountBy, filter: CountFilter | None = None
    ) -> CountsResult:
        async def work() -> Counts:
            if by is CountBy.MODEL and table is CountTable.CASE:
                raise InputError("cases by MODEL: a case fuses several models", expected="WARNING or FINDING by MODEL")
            if by is CountBy.STATE and table is not CountTable.CASE:
                raise InputError(f"{table.name} by STATE: only cases have a state", expected="CASE by STATE")
            groups = await info.context.reader.counts(table.value, by.value, conditions(filter))
            return Counts(groups=[Count(key=key, count=BigInt(n)) for key, n in groups])

        return await attempt(work())


async def _list(info: Info, kind: Any, table: str, make: Any, filter: Any, first: int, after: str | None) -> Any:
    return await info.context.reader.page(kind, table, make, conditions(filter), first, after)


async def _found(what: str, key: str, work: Awaitable[Any]) -> Any:
    node = await work
    if node is None:
        raise NotFoundError(what, key[:80])
    return node


async def _entity(reader: Reader, key: str) -> Entity | None:
    await reader.audit("read entity", key)
    row = await reader.one("entity", "entity_id", key)
    return None if row is None else Entity.of(row)


async def _case(reader: Reader, key: str) -> Case | None:
    await reader.audit("read case", key)
    row = await reader.one("case", "case_id", key)
    return None if row is None else Case.of(row)


async def _finding(reader: Reader, key: str) -> Finding | None:
    row = await reader.one("finding", "finding_id", key)
    return None if row is None else Finding.of(row)


async def _warning(reader: Reader, key: str) -> Warning | None:
    row = await reader.one("warning", "warning_id", key)
    return None if row is None else Warning.of(row)


async def _model(reader: Reader, key: str) -> Node | None:
    reader.grant.need(Right.MODELS)
    return next((m for m in await all_models(reader) if f"{m.model_id}@{m.version}" == key), None)


async def _plugin(reader: Reader, key: str) -> Node | None:
    reader.grant.need(Right.OPERATIONS)
    return next((p for p in all_plugins(reader) if p.plugin_id == key), None)


async def _load(reader: Reader, key: str) -> Load | None:
    row = await reader.one("load", "load_id", _number(key))
    return None if row is None else Load.of(row)


async def _quarantined(reader: Reader, key: str) -> QuarantinedRow | None:
    row = await reader.one("quarantine", "quarantine_id", _number(key))
    return None if row is None else QuarantinedRow.of(row)


def _number(key: str) -> int:
    return int(key) if key.isascii() and key.isdigit() and len(key) < 10 else -1


_NODES: dict[str, Callable[[Reader, str], Awaitable[Node | None]]] = {
    "Entity": _entity,
    "Case": _case,
    "Finding": _finding,
    "Warning": _warning,
    "Model": _model,
    "Plugin": _plugin,
    "Load": _load,
    "QuarantinedRow": _quarantined,
}
