"""Reads for doors and plugins: whole tables as Arrow streams, and pages with filters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import pyarrow as pa

from dianhuan_hub.store._engine import Connection, Engine, arrow, one
from dianhuan_hub.store._missing import nan_to_contract, store_to_nan
from dianhuan_hub.store._schema import RESULT_TABLES, quoted
from dianhuan_hub.store._stream import STREAM_EVENT_COLUMNS
from dianhuan_sdk import FEATURES, InputError, TableContract
from dianhuan_standards import REGISTERS, TABLES

_DAY_COLUMN: Mapping[str, str] = {
    "load_curve": "day",
    "feature_day": "day",
    "finding": "day",
    "warning": "day",
    "case": "day",
    "calendar": "day",
    "run": "day",
    "cold_day": "day",
    "stream_event": "day",
}

_OWN_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "load": (
        "load_id",
        "plugin",
        "plugin_version",
        "stream",
        "source",
        "sha256",
        "raw_ref",
        "started_at",
        "committed_at",
        "accepted",
        "quarantined",
        "unchanged",
        "corrected",
        "origin",
    ),
    "quarantine": (
        "quarantine_id",
        "load_id",
        "table_name",
        "row_no",
        "code",
        "detail",
        "payload",
        "in_contract_form",
        "state",
        "replayed_by",
    ),
    "cursor": ("source", "stream", "position", "load_id", "moved_at"),
    "run": ("run_id", "day", "started_at", "seconds", "entities", "models", "config"),
    "case_event": ("case_id", "seq", "at", "actor", "state", "note"),
    "audit": ("at", "actor", "purpose", "action", "subject", "detail"),
    "cold_day": ("day", "file", "rows", "bytes", "sha256", "sealed_at"),
    "stream_event": STREAM_EVENT_COLUMNS,
}
_VIEWS: Mapping[str, str] = {
    "load_curve": "(SELECT p.metering_point_id, c.* FROM curve c JOIN point_ordinal p USING (mp))",
    "feature_day": "(SELECT o.entity_id, f.* FROM feature_day f JOIN entity_ordinal o USING (ent))",
}


def columns_of(table: str) -> tuple[str, ...]:
    """The columns of a readable table.

    Raises:
        InputError: there is no such table.
    """
    if table in REGISTERS or table in RESULT_TABLES or table == "load_curve":
        return (*(f.name for f in TABLES[table].fields), "load_id")[: None if table not in RESULT_TABLES else -1]
    if table == "feature_day":
        return ("entity_id", "day", "linked", "present", *(f.name for f in FEATURES))
    if table in _OWN_COLUMNS:
        return _OWN_COLUMNS[table]
    known = sorted([*TABLES, "feature_day", *_OWN_COLUMNS])
    raise InputError(f"no table {table!r}", expected=f"one of {', '.join(known)}")


@dataclass(frozen=True)
class Query:
    """Conditions on one table, joined by *and*.

    Args:
        table: a readable table.
        equals: column → value, or a list of values.
        prefix: column → text that the value starts with; a list means any of them.
        contains: column → text that stands somewhere in the value.
        start, end: days [start, end) on the table's day column.
        division: prefixes on the division of the enterprise a row is about, any of them; None among them lets those
            through that have no division.
        industry: prefixes on the enterprise's industry, any of them.
        dispatched: only what belongs to cases that have been assigned to someone.
        owned: contract of the table where a plugin owns it.
    """

    table: str
    equals: Mapping[str, object] = field(default_factory=dict)
    prefix: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    contains: Mapping[str, str] = field(default_factory=dict)
    start: date | None = None
    end: date | None = None
    division: Sequence[str | None] | None = None
    industry: Sequence[str] | None = None
    dispatched: bool = False
    owned: TableContract | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the table."""
        return columns_of(self.table) if self.owned is None else tuple(f.name for f in self.owned.fields)

    @property
    def day_column(self) -> str | None:
        """The column of days, by which a window is cut."""
        if self.owned is None:
            return _DAY_COLUMN.get(self.table)
        return next((f.name for f in self.owned.fields if f.type == pa.date32()), None)

    def sql(self) -> tuple[str, list[Any]]:
        """`FROM … WHERE …` with its parameters."""
        columns = self.columns
        parts: list[str] = []
        values: list[Any] = []

        def known(name: str) -> str:
            if name not in columns:
                raise InputError(f"{self.table} has no column {name!r}", expected=f"one of {', '.join(columns)}")
            return quoted(name)

        for name, value in self.equals.items():
            column = known(name)
            if isinstance(value, (list, tuple)):
                parts.append(f"{column} IN (SELECT unnest(?))")
                values.append(list(value))
            else:
                parts.append(f"{column} IS NOT DISTINCT FROM ?")
                values.append(value)
        for name, some in self.prefix.items():
            parts.append(_any_prefix(known(name), some, values))
        for name, some_text in self.contains.items():
            parts.append(f"contains({known(name)}, ?)")
            values.append(some_text)
        if self.start is not None or self.end is not None:
            if self.day_column is None:
                raise InputError(f"{self.table} has no day to filter by")
            column = quoted(self.day_column)
            for sign, day in ((">=", self.start), ("<", self.end)):
                if day is not None:
                    parts.append(f"{column} {sign} ?")
                    values.append(day)
        source = _VIEWS.get(self.table, quoted(self.table))
        if self.division is not None and self.table == "load_curve":
            join, joined = _curves_of(self.division)
            source, values = f"(SELECT t.* FROM {source} t {join})", [*joined, *values]
        elif self.division is not None:
            parts.append(_placed(self.table, self.division, values))
        if self.industry is not None:
            known("entity_id")
            parts.append(
                f"entity_id IN (SELECT entity_id FROM entity WHERE {_any_prefix('industry', self.industry, values)})"
            )
        if self.dispatched:
            known("case_id")
            parts.append("case_id IN (SELECT case_id FROM case_event WHERE state = 'assigned')")
        return f"FROM {source} t" + (f" WHERE {' AND '.join(parts)}" if parts else ""), values


def _any_prefix(column: str, some: str | Sequence[str], values: list[Any]) -> str:
    prefixes = [some] if isinstance(some, str) else list(some)
    values += prefixes
    return "(" + (" OR ".join(f"starts_with({column}, ?)" for _ in prefixes) or "false") + ")"


def _placed(table: str, divisions: Sequence[str | None], values: list[Any]) -> str:
    """The condition that what a row is about lies in one of the divisions."""

    def enterprise(column: str) -> str:
        inside = _any_prefix("division", [d for d in divisions if d is not None], values)
        if None in divisions:  # whoever is in no register, or in one without a division, is let through too
            return f"{column} NOT IN (SELECT entity_id FROM entity WHERE NOT coalesce({inside}, true))"
        return f"{column} IN (SELECT entity_id FROM entity WHERE {inside})"

    if table in ("entity", "weather"):
        inside = _any_prefix("division", [d for d in divisions if d is not None], values)
        return f"({inside} OR division IS NULL)" if None in divisions else inside
    if table in ("outcome", "case_event"):
        return f'case_id IN (SELECT case_id FROM "case" WHERE {enterprise("entity_id")})'
    if table == "metering_point":
        fed = f"SELECT account_no FROM account_link WHERE {_fed_by(divisions, values)}"
        return f"account_no {'NOT ' if None in divisions else ''}IN ({fed})"
    if "entity_id" in columns_of(table):
        return enterprise("entity_id")
    raise InputError(f"{table} belongs to no district", hint="ask without a division")


def _fed_by(divisions: Sequence[str | None], values: list[Any]) -> str:
    """The condition on a link that lets its account in; with None among the divisions, the one that keeps it out."""
    inside = _any_prefix("division", [d for d in divisions if d is not None], values)
    wanted = f"NOT coalesce({inside}, true)" if None in divisions else inside
    return f"entity_id IN (SELECT entity_id FROM entity WHERE {wanted})"


def _curves_of(divisions: Sequence[str | None]) -> tuple[str, list[Any]]:
    """A join that leaves the curves of accounts that fed an enterprise of the divisions on that very day.

    A join and no EXISTS: its table of links is hashed once and the curves stream past it.
    """
    values: list[Any] = []
    links = f"""(SELECT m.metering_point_id, l.valid_from, coalesce(l.valid_to, DATE '9999-12-31') AS valid_to
        FROM account_link l JOIN metering_point m USING (account_no) WHERE l.{_fed_by(divisions, values)})"""
    kind = "ANTI" if None in divisions else "SEMI"
    on = "l.metering_point_id = t.metering_point_id AND l.valid_from <= t.day AND t.day < l.valid_to"
    return f"{kind} JOIN {links} l ON {on}", values


@dataclass(frozen=True)
class Page:
    """Rows of one page, and whether more follow."""

    rows: list[dict[str, Any]]
    more: bool


def read_page(
    engine: Engine,
    query: Query,
    *,
    order: Sequence[tuple[str, bool]],
    limit: int,
    after: Sequence[Any] | None = None,
    columns: Sequence[str] | None = None,
) -> Page:
    """A page by keyset.

    Args:
        order: (column, descending) in order; together they should be unique.
        limit: rows at most.
        after: values of the order columns of the last row of the page before.
        columns: the columns wanted, all by default.
    """
    columns = query.columns if columns is None else columns
    for window in _windows(engine, query, order, after):
        page = _one_page(engine, window, order, limit, after, columns)
        if page.more:
            return page
    return _one_page(engine, query, order, limit, after, columns)


def _one_page(
    engine: Engine,
    query: Query,
    order: Sequence[tuple[str, bool]],
    limit: int,
    after: Sequence[Any] | None,
    columns: Sequence[str],
) -> Page:
    source, values = query.sql()
    if after is not None:
        source += (" AND " if " WHERE " in source else " WHERE ") + _after(order, after, values)
    select = ", ".join(quoted(c) for c in columns)
    with engine.cursor() as con:
        table = arrow(con, f"SELECT {select} {source} ORDER BY {_ordering(order)} LIMIT {limit + 1}", values)
    rows = table.to_pylist()
    return Page(rows[:limit], len(rows) > limit)


_STEPS = (1, 8, 64)


def _windows(
    engine: Engine, query: Query, order: Sequence[tuple[str, bool]], after: Sequence[Any] | None
) -> Iterator[Query]:
    """Where the newest day comes first: the query over the last day, the last 8, the last 64.

    Days are appended in order, so a bound on the day is met from the zone maps, and a first page touches one night
    and not the whole history. Where a window holds more than the page, no earlier day can be on it.
    """
    newest_first = order[0] == (_DAY_COLUMN.get(query.table), True)
    last: date | None = None
    if newest_first and not {"entity_id", "case_id", "day"} & query.equals.keys():
        last = after[0] if after is not None else _last_day(engine, query.table)
    if last is not None:
        end = min(last, date(9999, 12, 30)) + timedelta(days=1)
        end = end if query.end is None else min(end, query.end)
        for days in _STEPS:
            start = end - timedelta(days=min(days, end.toordinal() - 1))
            if query.start is not None and start <= query.start:
                break
            yield replace(query, start=start, end=end)


def _last_day(engine: Engine, table: str) -> date | None:
    with engine.cursor() as con:
        row = one(con, f"SELECT max({quoted(_DAY_COLUMN[table])}) FROM {quoted(table)}")
    return row[0] if row else None


def _ordering(order: Sequence[tuple[str, bool]]) -> str:
    return ", ".join(f"{quoted(c)} {'DESC' if down else 'ASC'}" for c, down in order)


def _after(order: Sequence[tuple[str, bool]], after: Sequence[Any], values: list[Any]) -> str:
    alternatives = []
    for i, (column, down) in enumerate(order):
        equal = [f"{quoted(c)} = ?" for c, _ in order[:i]]
        values += [*after[:i], after[i]]
        alternatives.append("(" + " AND ".join([*equal, f"{quoted(column)} {'<' if down else '>'} ?"]) + ")")
    return "(" + " OR ".join(alternatives) + ")"


def read_count(engine: Engine, query: Query) -> int:
    """Number of rows that meet the conditions."""
    source, values = query.sql()
    with engine.cursor() as con:
        row = one(con, f"SELECT count(*) {source}", values)
    return int(row[0]) if row else 0


def newest_day(engine: Engine) -> date | None:
    """The last day of which there are curves, or None in an empty city."""
    return _last_day(engine, "feature_day")


def read_groups(engine: Engine, query: Query, by: str) -> list[tuple[str | None, int]]:
    """Counts by a column of the table, or by `division` or `industry` of the enterprise, largest first."""
    source, values = query.sql()
    if by in ("division", "industry"):
        select = f"SELECT e.{by}, count(*) FROM (SELECT entity_id {source}) t LEFT JOIN entity e USING (entity_id)"
    else:
        if by not in columns_of(query.table):
            raise InputError(f"{query.table} has no column {by!r}", expected=", ".join(columns_of(query.table)))
        select = f"SELECT {quoted(by)}::VARCHAR, count(*) {source}"
    with engine.cursor() as con:
        return con.execute(f"{select} GROUP BY 1 ORDER BY 2 DESC, 1", values).fetchall()


def count_by(engine: Engine, query: Query, by: Sequence[str]) -> pa.Table:
    """Rows by columns of the table: those columns and `rows`, most rows first."""
    for name in by:
        if name not in query.columns:
            raise InputError(f"{query.table} has no column {name!r}", expected=f"one of {', '.join(query.columns)}")
    source, values = query.sql()
    names = [quoted(name) for name in by]
    statement = f"SELECT {', '.join([*names, 'count(*) AS rows'])} {source}"
    if names:
        statement += f" GROUP BY {', '.join(names)} ORDER BY {', '.join(['rows DESC', *names])}"
    with engine.cursor() as con:
        return arrow(con, statement, values)


def read_stream(
    engine: Engine,
    query: Query,
    columns: Sequence[str] | None = None,
    *,
    order: Sequence[tuple[str, bool]] = (),
    after: Sequence[object] | None = None,
    limit: int | None = None,
) -> pa.RecordBatchReader:
    """Rows as an Arrow stream; `load_curve` comes in contract form. The stream owns its cursor until it ends."""
    every = query.columns
    wanted = tuple(columns) if columns is not None else every
    for name in (*wanted, *(c for c, _ in order)):
        if name not in every:
            raise InputError(f"{query.table} has no column {name!r}", expected=f"one of {', '.join(every)}")
    source, values = query.sql()
    if after is not None:
        source += (" AND " if " WHERE " in source else " WHERE ") + _after(order, after, values)
    if order:
        source += f" ORDER BY {_ordering(order)}"
    if limit is not None:
        source += f" LIMIT {limit:d}"
    extra = ["missing"] if query.table == "load_curve" and "kw" in wanted else []
    select = ", ".join(quoted(c) for c in [*wanted, *extra])
    cursor = engine.cursor()
    con = cursor.__enter__()
    reader = con.sql(f"SELECT {select} {source}", params=values).to_arrow_reader(65_536)
    schema = reader.schema
    if extra:
        contract = TABLES["load_curve"].schema
        schema = pa.schema([contract.field("kw") if n == "kw" else schema.field(n) for n in wanted])
    return pa.RecordBatchReader.from_batches(schema, _batches(con, reader, schema, bool(extra)))


def _batches(
    con: Connection, reader: pa.RecordBatchReader, schema: pa.Schema, curves: bool
) -> Iterator[pa.RecordBatch]:
    try:
        for batch in reader:
            if not curves:
                yield batch
                continue
            kw = nan_to_contract(store_to_nan(batch.column("kw"), batch.column("missing")))
            yield pa.record_batch([kw if n == "kw" else batch.column(n) for n in schema.names], schema=schema)
    finally:
        reader.close()
        con.close()
