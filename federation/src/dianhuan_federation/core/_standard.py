"""The row schemas that every hub knows."""

from __future__ import annotations

from dianhuan_federation.core._schema import Column, RowSchema, Schemas

_DIVISION = Column("division", "text", pattern="[1-9][0-9]{5}", longest=6)
_INDUSTRY = Column("industry", "text", pattern="[A-T][0-9]{0,4}|[0-9]{2,4}", longest=5, nullable=True)

WARNING_ROWS = RowSchema(
    id="warning",
    version="1.0",
    columns=(
        Column("enterprise", "text", pattern="[0-9A-HJ-NPQRTUWXY]{2}[0-9]{6}[0-9A-HJ-NPQRTUWXY]{10}", longest=18),
        Column("enterprise_name", "text", longest=120, nullable=True),
        _DIVISION,
        _INDUSTRY,
        Column("day", "day"),
        Column("model_id", "text", pattern="[a-z][a-z0-9._-]{0,63}", longest=64),
        Column("model_version", "text", pattern="[0-9A-Za-z.+-]{1,32}", longest=32),
        Column("score", "decimal", scale=4, low=0, high=10_000),
        Column("raised_at", "instant"),
    ),
)
"""One warning: enterprise by GB 32100 code, division by GB/T 2260, industry by GB/T 4754-2017."""

NAMELESS_WARNING_ROWS = RowSchema(
    id="warning",
    version="1.1",
    columns=tuple(column for column in WARNING_ROWS.columns if column.name != "enterprise_name"),
)
"""A warning without the enterprise's name, which is personal in the contract of `entity`: what a publisher sends."""

OUTCOME_ROWS = RowSchema(
    id="outcome",
    version="1.0",
    columns=(
        Column("warning_id", "text", pattern="[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", longest=64),
        _DIVISION,
        Column(
            "result",
            "code",
            codes=("verified", "benign_explained", "device_fault", "not_found", "could_not_inspect"),
        ),
        Column("closed_at", "instant"),
    ),
)
"""What the visit found, without who made it."""

STATISTIC_ROWS = RowSchema(
    id="statistic",
    version="1.0",
    columns=(
        _DIVISION,
        _INDUSTRY,
        Column("period_start", "day"),
        Column("period_end", "day"),
        Column("measure", "text", pattern="[a-z][a-z0-9_]{0,63}", longest=64),
        Column("unit", "text", longest=16),
        Column("value", "decimal", scale=3, nullable=True),
        Column("contributors", "integer", low=0, nullable=True),
        Column("count_precision", "code", codes=("exact", "rounded", "suppressed")),
    ),
)
"""One cell of a table; a suppressed cell has neither value nor contributors."""

STANDARD_SCHEMAS: Schemas = {
    (schema.id, schema.version): schema
    for schema in (WARNING_ROWS, NAMELESS_WARNING_ROWS, OUTCOME_ROWS, STATISTIC_ROWS)
}
"""The standard schemas by (id, version)."""
