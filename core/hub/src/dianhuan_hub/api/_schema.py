"""The GraphQL schema with its limits and its way with errors."""

from __future__ import annotations

from typing import Any

import strawberry
from strawberry.extensions import MaxTokensLimiter, ParserCache, ValidationCache
from strawberry.schema.config import StrawberryConfig

from dianhuan_hub.api._limits import MAX_TOKENS, QueryLimits
from dianhuan_hub.api._mutation import Mutation
from dianhuan_hub.api._operations import Load, Model, Plugin, QuarantinedRow
from dianhuan_hub.api._query import Query
from dianhuan_hub.api._words import BIG_INT, BigInt

_CACHED = 256


class _Schema(strawberry.Schema):
    def process_errors(self, errors: list[Any], execution_context: Any = None) -> None:
        """Nothing: `told` logs defects, and what a user did wrong belongs in the answer, not in the log."""


def build_schema() -> strawberry.Schema:
    """The schema; two hubs in one process have one each."""
    return _Schema(
        Query,
        mutation=Mutation,
        types=[Load, Model, Plugin, QuarantinedRow],
        extensions=[
            lambda: MaxTokensLimiter(MAX_TOKENS),
            lambda: ParserCache(_CACHED),
            QueryLimits,
            lambda: ValidationCache(_CACHED),
        ],
        config=StrawberryConfig(scalar_map={BigInt: BIG_INT}),
    )
