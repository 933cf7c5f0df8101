"""Validate a file or rows against the contract of a standard table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dianhuan_sdk import InputError, TableContract
from dianhuan_sdk.contracts import BoolArray
from dianhuan_standards.tables import TABLES
from dianhuan_standards.validate._convert import Rows, plan_columns, to_contract
from dianhuan_standards.validate._read import Raw, from_rows, read_file
from dianhuan_standards.validate._report import Count, RowRefusal, ValidationReport
from dianhuan_standards.words import explain

LIMIT = 1000
"""Refused rows that a report lists; all are counted."""

_SHOWN = 80


def validate_file(path: Path, table: str | None = None, *, limit: int = LIMIT) -> ValidationReport:
    """Check every row of a CSV or Parquet file. A bad row never raises; it is in the report.

    Args:
        path: the file. Headers are the contract's names, its Chinese labels or its aliases.
        table: standard table; None takes the one whose columns the header fits best.
        limit: refused rows that the report lists.

    Raises:
        InputError: the file as a whole cannot be checked: unreadable, no header, a required column missing, no such
            table, or a header that fits several tables equally.
    """
    raw = read_file(path)
    contract = _contract(table) if table is not None else _best_fit(raw.headers, path.name)
    return _validate(raw, contract, str(path), limit)


def validate_rows(rows: Sequence[Mapping[str, Any]], table: str, *, limit: int = LIMIT) -> ValidationReport:
    """Check rows given as JSON objects (days and instants as text).

    Raises:
        InputError: no such table, or no row has a required column.
    """
    return _validate(from_rows(rows), _contract(table), f"{len(rows)} rows", limit)


def _validate(raw: Raw, contract: TableContract, source: str, limit: int) -> ValidationReport:
    rows = to_contract(raw, contract, source)
    refused = [(number, "", "wrong_columns", "") for number in raw.torn]
    alive = np.ones(len(raw.rows), dtype=bool)
    for column, bad in rows.unreadable.items():
        refused += _shown(raw, rows, np.flatnonzero(bad & alive), column, "unreadable_value")
        alive &= ~bad
    at = np.flatnonzero(alive)
    for refusal in contract.check(rows.batch.filter(pa.array(alive))):
        refused += _shown(raw, rows, at[refusal.rows], refusal.column, refusal.code)
        alive[at[refusal.rows]] = False
    counts = Counter((column, code) for _, column, code, _ in refused)
    return ValidationReport(
        source=source,
        table=contract.name,
        version=contract.version,
        rows=len(raw.rows) + len(raw.torn),
        refused=len(refused),
        refusals=tuple(
            RowRefusal(number, column, code, value, explain(contract, code, column))
            for number, column, code, value in sorted(refused)[:limit]
        ),
        counts=tuple(
            Count(column, code, n, explain(contract, code, column)) for (column, code), n in counts.most_common()
        ),
        columns={name: raw.headers[i] for name, i in rows.plan.items()},
        ignored=tuple(h for i, h in enumerate(raw.headers) if i not in rows.plan.values()),
        repeated=_repeated(rows.batch, contract.key, alive),
    )


def _shown(
    raw: Raw, rows: Rows, places: np.ndarray[Any, np.dtype[Any]], column: str, code: str
) -> list[tuple[int, str, str, str]]:
    """Row number, column, code and the source's own text of refused rows."""
    if column in rows.plan:
        values = raw.columns[rows.plan[column]].take(pa.array(places)).to_pylist()
    else:
        values = [None] * len(places)
    texts = ("" if value is None else str(value) for value in values)
    return [
        (int(raw.rows[i]), column, code, text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
        for i, text in zip(places, texts, strict=True)
    ]


def _repeated(batch: pa.RecordBatch, key: tuple[str, ...], alive: BoolArray) -> int:
    keys = pa.Table.from_batches([batch.select(list(key)).filter(pa.array(alive))])
    distinct: int = keys.group_by(list(key)).aggregate([]).num_rows
    return int(keys.num_rows) - distinct


def _contract(table: str) -> TableContract:
    if table not in TABLES:
        raise InputError(
            f"there is no standard table {table!r}",
            expected=f"one of {', '.join(TABLES)}",
            hint="name one of these tables",
        )
    return TABLES[table]


def _best_fit(headers: tuple[str, ...], name: str) -> TableContract:
    fits: dict[str, int] = {}
    for contract in TABLES.values():
        plan = plan_columns(headers, contract)
        if all(f.name in plan for f in contract.fields if f.required):
            fits[contract.name] = len(set(plan.values()))
    best = [table for table, columns in fits.items() if columns == max(fits.values())]
    if len(best) != 1:
        found = f"fits {' and '.join(best)} equally" if best else "fits no standard table"
        raise InputError(
            f"the header of {name} {found}: {', '.join(headers[:20])}",
            expected="the required columns of one table, by name, Chinese label or alias",
            hint="name the table",
        )
    return TABLES[best[0]]
