"""Limits of a query, checked on the parsed document before it is validated: depth, aliases, cost.

The cost of a field is its weight times the rows of all lists around it, so that a list in a list is paid for by the
product of both. Each fragment is measured once, so nested fragments cannot make the measuring itself expensive.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    IntValueNode,
    NullValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
)
from strawberry.extensions import SchemaExtension

from dianhuan_hub.api._paging import DEFAULT_FIRST, MAX_FIRST

MAX_TOKENS = 2_000
MAX_DEPTH = 12
MAX_ALIASES = 30
MAX_COST = 100_000

_LISTS = frozenset({"entities", "findings", "warnings", "cases", "quarantine", "loads", "models", "plugins"})
_WEIGHTS: Mapping[str, int] = dict.fromkeys(_LISTS, 20) | {
    "curve": 31 * 96,
    "channels": 100,
    "readings": 2_000,
    "totalCount": 100,
    "counts": 100,
    "todaysList": 500,
}


@dataclass(frozen=True)
class _Measure:
    depth: int
    aliases: int
    cost: int


_NOTHING = _Measure(0, 0, 0)


class QueryLimits(SchemaExtension):
    """Refuses documents that are too deep, use too many aliases, or cost too much.

    Args:
        lists: names of list fields that plugins bring.
    """

    def __init__(self, lists: Collection[str] = ()) -> None:
        self._lists = frozenset(lists)

    def on_validate(self) -> Iterator[None]:
        """Measure each operation of the document."""
        context = self.execution_context
        if context.graphql_document is not None:
            check(context.graphql_document, context.variables or {}, self._lists)
        yield


def check(document: DocumentNode, variables: Mapping[str, Any], lists: Collection[str] = ()) -> None:
    """Check every operation of a document.

    Args:
        document: parsed.
        variables: as given.
        lists: names of list fields beyond the hub's own.

    Raises:
        GraphQLError: a limit is passed; its extensions hold what is expected and what to do.
    """
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    for operation in document.definitions:
        if isinstance(operation, OperationDefinitionNode):
            given = {**_defaults(operation), **variables}
            measured = _Meter(fragments, given, _LISTS.union(lists)).measure(operation.selection_set)
            _within("depth", measured.depth, MAX_DEPTH, "ask for less at once")
            _within("aliases", measured.aliases, MAX_ALIASES, "send several requests")
            _within("cost", measured.cost, MAX_COST, "lower `first`, or ask for fewer fields, or use /arrow")


def _within(what: str, value: int, limit: int, hint: str) -> None:
    if value > limit:
        raise GraphQLError(
            f"the query's {what} is {min(value, 10**12)}; allowed: {limit}",
            extensions={"code": "BAD_REQUEST", "limit": what, "expected": f"{what} ≤ {limit}", "hint": hint},
        )


def _defaults(operation: OperationDefinitionNode) -> dict[str, Any]:
    return {
        d.variable.name.value: _int(d.default_value)
        for d in operation.variable_definitions or ()
        if isinstance(d.default_value, IntValueNode)
    }


def _int(node: IntValueNode) -> int:
    return int(node.value) if len(node.value) < 10 else MAX_FIRST


class _Meter:
    def __init__(
        self, fragments: Mapping[str, FragmentDefinitionNode], variables: Mapping[str, Any], lists: frozenset[str]
    ) -> None:
        self._fragments = fragments
        self._variables = variables
        self._lists = lists
        self._known: dict[str, _Measure] = {}

    def measure(self, selection: SelectionSetNode | None) -> _Measure:
        depth = aliases = cost = 0
        for node in selection.selections if selection else ():
            if isinstance(node, FieldNode):
                below = self.measure(node.selection_set)
                part = _Measure(
                    0 if node.name.value.startswith("__") else below.depth + 1,
                    below.aliases + (node.alias is not None),
                    self._weight(node) + self._rows(node) * below.cost,
                )
            elif isinstance(node, FragmentSpreadNode):
                part = self._fragment(node.name.value)
            else:
                part = self.measure(getattr(node, "selection_set", None))
            depth = max(depth, part.depth)
            aliases += part.aliases
            cost += part.cost
        return _Measure(depth, aliases, cost)

    def _fragment(self, name: str) -> _Measure:
        if name not in self._known:
            self._known[name] = _NOTHING  # a cycle ends here; validation refuses it
            found = self._fragments.get(name)
            self._known[name] = self.measure(found.selection_set) if found else _NOTHING
        return self._known[name]

    def _weight(self, field: FieldNode) -> int:
        return _WEIGHTS.get(field.name.value, 20 if field.name.value in self._lists else 1)

    def _rows(self, field: FieldNode) -> int:
        if field.name.value not in self._lists:
            return 1
        for argument in field.arguments or ():
            if argument.name.value == "first":
                value: Any = argument.value
                if isinstance(value, VariableNode):
                    value = self._variables.get(value.name.value, DEFAULT_FIRST)
                elif isinstance(value, IntValueNode):
                    value = _int(value)
                elif isinstance(value, NullValueNode):
                    value = DEFAULT_FIRST
                return min(max(value, 1), MAX_FIRST) if isinstance(value, int) else MAX_FIRST
        return DEFAULT_FIRST
