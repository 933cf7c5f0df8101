"""Filters and code lists of the federated part."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from enum import Enum
from typing import Any, TypeVar, cast

import strawberry

F = TypeVar("F", bound=Callable[..., Any])


def described(description: str) -> Callable[[F], F]:
    """`strawberry.field` with a description; the library's own decorator loses the types of what it decorates."""
    return cast("Callable[[F], F]", strawberry.field(description=description))


@strawberry.enum(name="FederatedHubState", description="How a hub's log stands here.")
class HubState(Enum):
    FRESH = strawberry.enum_value("FRESH", description="及时 · heard of in time")
    STALE = strawberry.enum_value("STALE", description="静默 · silent for longer than a day and two hours")
    MISSING = strawberry.enum_value("MISSING", description="未达 · never reached")
    PENDING = strawberry.enum_value("PENDING", description="待证 · not proven yet, e.g. too few witnesses")
    QUARANTINE = strawberry.enum_value("QUARANTINE", description="隔离 · it signed two histories; evidence is kept")


@strawberry.enum(name="FederatedRecordState", description="How a record stands.")
class RecordState(Enum):
    CURRENT = strawberry.enum_value("current", description="有效")
    SUPERSEDED = strawberry.enum_value("superseded", description="已更正")
    RETRACTED = strawberry.enum_value("retracted", description="已撤回")
    REDACTED = strawberry.enum_value("redacted", description="已删除内容 · only its digests remain")
    HIDDEN = strawberry.enum_value("hidden", description="不予展示 · stored, but a key or policy does not hold")


@strawberry.input(name="FederatedFilter", description="Conditions, joined by *and*.")
class FederatedFilter:
    provinces: list[str] | None = strawberry.field(default=None, description="codes, e.g. 43 or 430000")
    hubs: list[str] | None = strawberry.field(default=None, description="codes of cities, e.g. 430200")
    industry: list[str] | None = strawberry.field(default=None, description="beginnings of GB/T 4754 codes, e.g. C30")
    models: list[str] | None = strawberry.field(default=None, description="model ids")
    start: date | None = strawberry.field(default=None, description="first day")
    end: date | None = strawberry.field(default=None, description="day after the last")
    states: list[RecordState] | None = strawberry.field(default=None, description="CURRENT by default")
