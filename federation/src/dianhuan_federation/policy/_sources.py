"""What streams are made of: flat rows, each of whose fields names the contract columns it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dianhuan_federation.core import NAMELESS_WARNING_ROWS, OUTCOME_ROWS, STATISTIC_ROWS, RowSchema
from dianhuan_sdk import InputError

KEY = "record_id"
CONTRIBUTOR = "contributor"
"""Who a row counts for in disclosure control; it is never shared."""


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of flat row.

    Args:
        id: name in policies.
        fields: field → `table.column` of the standard contract it comes from.
        day: the field that places a row in time, a day or an instant as text.
        schemas: what its rows, or statistics over them, can be shared as.
        numbers: fields that can be summed, integers.
    """

    id: str
    fields: Mapping[str, str]
    day: str
    schemas: tuple[RowSchema, ...]
    numbers: tuple[str, ...] = ()

    def schema_of(self, id: str, version: str) -> RowSchema:
        """The row schema of that name; `InputError` if the source cannot be shared as it."""
        for schema in self.schemas:
            if (schema.id, schema.version) == (id, version):
                return schema
        known = ", ".join(f"{schema.id} {schema.version}" for schema in self.schemas)
        raise InputError(f"{self.id} as {id} {version}", expected=f"one of {known}")


SOURCES: Mapping[str, Source] = {
    source.id: source
    for source in (
        Source(
            "warnings",
            {
                "enterprise": "entity.uscc",
                "division": "entity.division",
                "industry": "entity.industry",
                "day": "warning.day",
                "model_id": "warning.model_id",
                "model_version": "finding.model_version",
                "score": "warning.score",
                "raised_at": "warning.raised_at",
            },
            "day",
            (NAMELESS_WARNING_ROWS, STATISTIC_ROWS),
        ),
        Source(
            "outcomes",
            {
                "warning_id": "warning.warning_id",
                "division": "entity.division",
                "industry": "entity.industry",
                "result": "outcome.code",
                "closed_at": "outcome.at",
            },
            "closed_at",
            (OUTCOME_ROWS, STATISTIC_ROWS),
        ),
    )
}
"""Sources by id. Load, readings, devices and registers of meters are none of them: no policy can name them."""
