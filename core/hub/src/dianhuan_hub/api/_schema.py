"""The GraphQL schema with its limits and its way with errors."""

from __future__ import annotations

from typing import Any

import strawberry
from strawberry.extensions import MaxTokensLimiter, ParserCache, ValidationCache
from strawberry.schema.config import StrawberryConfig

from dianhuan_hub.api._limits import MAX_TOKENS, QueryLimits
from dianhuan_hub.api._mutation import Mutation
from dianhuan_hub.api._operations import Load, Model, Plugin, QuarantinedRow
from dianhuan_hub.api._parts import Parts, query_type
from dianhuan_hub.api._subscription import Subscription
from dianhuan_hub.api._words import BIG_INT, BigInt

_CACHED = 256


class _Schema(strawberry.Schema):
    def process_errors(self, errors: list[Any], execution_context: Any = None) -> None:
        """Nothing: `told` logs defects, and what a user did wrong belongs in the answer, not in the log."""


def build_schema(parts: Parts = ()) -> strawberry.Schema:
    """The schema; two hubs in one process have one each.

    Args:
        parts: fields of plugins.
    """
    lists = tuple(name for part, _ in parts for name in part.lists)
    return _Schema(
        query_type(parts),
        mutation=Mutation,
        subscription=Subscription,
        types=[Load, Model, Plugin, QuarantinedRow],
        extensions=[
            lambda: MaxTokensLimiter(MAX_TOKENS),
            lambda: ParserCache(_CACHED),
            lambda: QueryLimits(lists),
            lambda: ValidationCache(_CACHED),
        ],
        config=StrawberryConfig(scalar_map={BigInt: BIG_INT}),
    )
