"""Enterprises and their load."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Annotated, Any

import numpy as np
import strawberry

from dianhuan_hub.api._channels import Channels, ChannelsResult, channels_of
from dianhuan_hub.api._context import Info
from dianhuan_hub.api._filters import CaseFilter, FindingFilter, WarningFilter, conditions
from dianhuan_hub.api._paging import DEFAULT_FIRST, Connection
from dianhuan_hub.api._results import (
    Case,
    CaseConnection,
    CasesResult,
    Finding,
    FindingConnection,
    FindingsResult,
    Warning,
    WarningConnection,
    WarningsResult,
)
from dianhuan_hub.api._words import Node, Problem, attempt, described, global_id
from dianhuan_sdk import InputError

MAX_CURVE_DAYS = 31


@strawberry.type(description="One civil day: 96 mean powers of 15 min each.")
class CurveDay:
    day: date
    kw: list[float | None] = strawberry.field(description="kW, 96 values from 00:00 local time; null = missing")
    missing: int = strawberry.field(description="how many of the 96 are missing")


@strawberry.type(description="The load of an enterprise: the sum over its accounts.")
class Curve:
    start: date
    end: date
    days: list[CurveDay]


CurveResult = Annotated[Curve | Problem, strawberry.union("CurveResult")]


@strawberry.type(
    description="市场主体: one enterprise at one site. What the key has no right to is null: see `withheld`."
)
class Entity(Node):
    entity_id: str
    uscc: str | None
    name: str | None
    division: str | None
    industry: str | None
    size: str | None
    opened_on: date | None
    closed_on: date | None
    lon: float | None
    lat: float | None
    datum: str | None
    address: str | None
    contact: str | None
    phone: str | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Entity:
        """From a stored row."""
        return cls(
            id=global_id("Entity", row["entity_id"]),
            **{
                name: row[name]
                for name in (
                    "entity_id",
                    "uscc",
                    "name",
                    "division",
                    "industry",
                    "size",
                    "opened_on",
                    "closed_on",
                    "lon",
                    "lat",
                    "datum",
                    "address",
                    "contact",
                    "phone",
                )
            },
        )

    @described("Fields that this key has no right to.")
    def withheld(self, info: Info) -> list[str]:
        return info.context.reader.withheld("entity")

    @described("Series of its devices on site, with their latest values.")
    async def channels(self, info: Info) -> ChannelsResult:
        async def work() -> Channels:
            return Channels(nodes=await channels_of(info, self.entity_id))

        return await attempt(work())

    @described(f"The load on the days [start, end), at most {MAX_CURVE_DAYS}.")
    async def curve(self, info: Info, start: date, end: date) -> CurveResult:
        return await attempt(self._curve(info, start, end))

    async def _curve(self, info: Info, start: date, end: date) -> Curve:
        if not 1 <= (end - start).days <= MAX_CURVE_DAYS:
            raise InputError(
                f"{(end - start).days} days in [{start}, {end})",
                expected=f"1 … {MAX_CURVE_DAYS}; the day of end is left out",
                hint="ask month by month, or use /arrow/load_curve",
            )
        days, kw = await info.context.reader.curves(self.entity_id, start, end - timedelta(days=1))
        gaps = np.isnan(kw)
        return Curve(
            start=start,
            end=end,
            days=[
                CurveDay(
                    day=day,
                    kw=[None if gap else round(float(v), 6) for v, gap in zip(kw[i], gaps[i], strict=True)],
                    missing=int(gaps[i].sum()),
                )
                for i, day in enumerate(days)
            ],
        )

    @strawberry.field
    async def warnings(
        self, info: Info, filter: WarningFilter | None = None, first: int = DEFAULT_FIRST, after: str | None = None
    ) -> WarningsResult:
        return await attempt(_of_entity(self, info, WarningConnection, "warning", Warning.of, filter, first, after))

    @strawberry.field
    async def findings(
        self, info: Info, filter: FindingFilter | None = None, first: int = DEFAULT_FIRST, after: str | None = None
    ) -> FindingsResult:
        return await attempt(_of_entity(self, info, FindingConnection, "finding", Finding.of, filter, first, after))

    @strawberry.field
    async def cases(
        self, info: Info, filter: CaseFilter | None = None, first: int = DEFAULT_FIRST, after: str | None = None
    ) -> CasesResult:
        return await attempt(_of_entity(self, info, CaseConnection, "case", Case.of, filter, first, after))


async def _of_entity(
    entity: Entity, info: Info, kind: Any, table: str, make: Any, filter: Any, first: int, after: str | None
) -> Any:
    if filter is not None and filter.entity is not None:
        raise InputError("filter.entity below an enterprise", expected="no such filter: the list is its own already")
    wanted = conditions(filter, entity_id=entity.entity_id)
    return await info.context.reader.page(kind, table, make, wanted, first, after)


@strawberry.type
class EntityConnection(Connection[Entity]):
    pass


EntitiesResult = Annotated[EntityConnection | Problem, strawberry.union("EntitiesResult")]
EntityResult = Annotated[Entity | Problem, strawberry.union("EntityResult")]
