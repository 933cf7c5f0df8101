"""Fields that plugins add to the root of reads."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import strawberry
from strawberry.types import get_object_definition

from dianhuan_hub.api._access import Right
from dianhuan_hub.api._context import Info
from dianhuan_hub.api._query import Query
from dianhuan_sdk import Caller, GraphQLPart, PluginContext

log = logging.getLogger(__name__)

Parts = Sequence[tuple[GraphQLPart, PluginContext]]


def query_type(parts: Parts) -> type[Any]:
    """The root of reads with the fields of plugins. A field with the name of one of the hub's own is left out."""
    own = {field.name for field in get_object_definition(Query, strict=True).fields}
    added: dict[str, Any] = {}
    for part, context in parts:
        if part.field in own:
            log.error("plugin %s adds the GraphQL field %s, which is the hub's own", context.plugin_id, part.field)
            continue
        added[part.field] = _field(part, context)
    if not added:
        return Query
    description = get_object_definition(Query, strict=True).description
    return strawberry.type(type("Query", (Query,), added), name="Query", description=description)


def _field(part: GraphQLPart, context: PluginContext) -> Any:
    async def resolve(info: Info) -> Any:
        reader = info.context.reader
        reader.grant.need(Right.WARNINGS)
        await reader.audit(f"read {part.field}", context.plugin_id)
        divisions = None if reader.grant.whole_city else reader.grant.divisions
        return part.resolve(context, Caller(reader.grant.actor, reader.grant.purpose, divisions))

    resolve.__annotations__["return"] = part.type()
    return strawberry.field(resolver=resolve)
