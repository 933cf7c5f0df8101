"""The policies that come with the hub: a start that is safe as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dianhuan_federation.core import canonical
from dianhuan_federation.policy._sources import SOURCES
from dianhuan_federation.policy._terms import SharingTerms, read_terms

_COUNTS: Mapping[str, Any] = {
    "class": "unconditional",
    "schema": {"id": "statistic", "version": "1.0"},
    "disclosure": {"rule": "p-percent", "k": 5, "p": 10},
}
_ROWS: Mapping[str, Any] = {"class": "conditional", "aggregation": None, "disclosure": None}


def _counts(measure: str, by: str) -> dict[str, Any]:
    return {**_COUNTS, "aggregation": {"measure": measure, "unit": "1", "by": by, "minDays": 7}}


SHIPPED: Mapping[str, Mapping[str, Any]] = {
    "warnings-to-grantees": {**_ROWS, "source": "warnings", "schema": {"id": "warning", "version": "1.1"}},
    "outcomes-to-grantees": {**_ROWS, "source": "outcomes", "schema": {"id": "outcome", "version": "1.0"}},
    "warning-counts": {**_counts("warnings", "division-industry"), "source": "warnings"},
    "outcome-counts": {**_counts("outcomes", "division"), "source": "outcomes"},
    "verified-counts": {
        **_counts("verified_outcomes", "division"),
        "source": "outcomes",
        "constraint": [{"leftOperand": "result", "operator": "eq", "rightOperand": "verified"}],
    },
}
"""Policy id → the terms that do not depend on the city."""


def shipped_document(id: str, assigner: str, assignee: Sequence[str] = (), valid: tuple[str, str] = ("", "")) -> bytes:
    """A shipped policy for a city, as its file.

    Args:
        id: one of `SHIPPED`.
        assigner: hub id of the city.
        assignee: hub ids, for conditional ones.
        valid: RFC 3339 instants from and until.

    Returns:
        Canonical JSON, which `read_terms` takes.
    """
    given = SHIPPED[id]
    name = given["schema"]
    schema = SOURCES[given["source"]].schema_of(name["id"], name["version"])
    document = {
        "id": id,
        "version": 1,
        "assigner": assigner,
        "assignee": list(assignee),
        "target": id,
        "purpose": "joint enforcement",
        "onward": False,
        "fields": [column.name for column in schema.columns],
        "validFrom": valid[0],
        "validUntil": valid[1],
        **given,
    }
    return canonical(document)


def shipped_terms(
    id: str, assigner: str, assignee: Sequence[str] = (), valid: tuple[str, str] = ("", "")
) -> SharingTerms:
    """A shipped policy for a city; see `shipped_document`.

    Raises:
        InputError: the terms do not hold together so.
    """
    return read_terms(shipped_document(id, assigner, assignee, valid))
