"""`federated` in GraphQL: what other hubs shared, with its provenance and with who has not been heard of."""

from __future__ import annotations

from typing import Any

from dianhuan_sdk import Caller, GraphQLPart, PluginContext

__all__ = ["FEDERATED"]


def _type() -> type[Any]:
    from dianhuan_federation.graph._root import Federated

    return Federated


def _resolve(context: PluginContext, caller: Caller) -> object:
    from dianhuan_federation.graph._root import resolve

    return resolve(context, caller)


FEDERATED = GraphQLPart(
    "federated", _type, _resolve, lists=("warnings", "cases", "statistics", "models", "hubs", "disputes")
)
