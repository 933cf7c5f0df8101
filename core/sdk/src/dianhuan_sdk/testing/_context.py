"""A plugin's context without a hub: storage in memory, a clock that stands still, metrics that are only counted."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from dianhuan_sdk import (
    LOCAL_ZONE,
    Batch,
    ConfigError,
    PluginContext,
    PluginError,
    Receipt,
    Secret,
    SecretRef,
    TableContract,
)


class KitClock:
    """A clock that stands still."""

    def __init__(self, instant: datetime) -> None:
        self._instant = instant

    def now(self) -> datetime:
        """The instant, UTC."""
        return self._instant.astimezone(UTC)

    def today(self) -> date:
        """Its civil day."""
        return self._instant.astimezone(LOCAL_ZONE).date()


class KitMetrics:
    """Keeps the last value of each metric."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter."""
        self.values[name] = self.values.get(name, 0.0) + amount

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self.values[name] = value


class KitStorage:
    """A storage port in memory: reads the tables it was given, and those of `owned` with what was committed to them.

    Args:
        tables: what can be read.
        owned: contracts of tables that the plugin owns; a row committed replaces the row of its key.
    """

    def __init__(self, tables: Mapping[str, pa.Table], owned: Sequence[TableContract] = ()) -> None:
        self._owned = {contract.name: contract for contract in owned}
        self.tables = {contract.name: contract.schema.empty_table() for contract in owned} | dict(tables)
        self.committed: list[Batch] = []
        self._state: dict[str, bytes] = {}

    def read(
        self,
        table: str,
        *,
        columns: Sequence[str] | None = None,
        equals: Mapping[str, object] | None = None,
        start: date | None = None,
        end: date | None = None,
        prefix: Mapping[str, str | Sequence[str]] | None = None,
        order: Sequence[tuple[str, bool]] = (),
        after: Sequence[object] | None = None,
        limit: int | None = None,
    ) -> pa.RecordBatchReader:
        """As `StoragePort.read`."""
        rows = self._filtered(table, equals, start, end, prefix)
        if order:
            rows = rows.sort_by([(column, "descending" if down else "ascending") for column, down in order])
        if after is not None:
            rows = rows.filter(_later(rows, order, after))
        rows = rows if limit is None else rows.slice(0, limit)
        return (rows.select(list(columns)) if columns else rows).to_reader()

    def count(
        self,
        table: str,
        by: Sequence[str],
        *,
        equals: Mapping[str, object] | None = None,
        start: date | None = None,
        end: date | None = None,
        prefix: Mapping[str, str | Sequence[str]] | None = None,
    ) -> pa.Table:
        """As `StoragePort.count`."""
        rows = self._filtered(table, equals, start, end, prefix)
        counted = rows.group_by(list(by)).aggregate([([], "count_all")]).rename_columns([*by, "rows"])
        return counted.sort_by([("rows", "descending"), *((name, "ascending") for name in by)])

    def commit(self, batches: Sequence[Batch], state: Mapping[str, bytes] | None = None) -> Receipt:
        """As `StoragePort.commit`."""
        self.committed.extend(batches)
        for batch in batches:
            if batch.table in self._owned:
                self.tables[batch.table] = _upserted(self._owned[batch.table], self.tables[batch.table], batch)
        self._state.update(state or {})
        return Receipt(len(self.committed), sum(b.rows.num_rows for b in batches), 0)

    def state(self, key: str) -> bytes | None:
        """As `StoragePort.state`."""
        return self._state.get(key)

    def _filtered(
        self,
        table: str,
        equals: Mapping[str, object] | None,
        start: date | None,
        end: date | None,
        prefix: Mapping[str, str | Sequence[str]] | None,
    ) -> pa.Table:
        if table not in self.tables:
            raise PluginError(f"table {table} is not in the scenario", hint="give it under tables")
        rows = self.tables[table]
        for column, wanted in (equals or {}).items():
            values = list(wanted) if isinstance(wanted, (list, tuple, set)) else [wanted]
            rows = rows.filter(pc.is_in(rows[column], value_set=pa.array(values, rows.schema.field(column).type)))
        for column, some in (prefix or {}).items():
            begins = [pc.starts_with(rows[column], one) for one in ([some] if isinstance(some, str) else some)]
            none = pa.array([False] * rows.num_rows, pa.bool_())
            rows = rows.filter(functools.reduce(pc.or_, begins, none))
        days = next((f.name for f in rows.schema if f.type == pa.date32()), None)
        if days is not None and start is not None:
            rows = rows.filter(pc.greater_equal(rows[days], pa.scalar(start, pa.date32())))
        if days is not None and end is not None:
            rows = rows.filter(pc.less(rows[days], pa.scalar(end, pa.date32())))
        return rows


def _later(rows: pa.Table, order: Sequence[tuple[str, bool]], after: Sequence[object]) -> pa.ChunkedArray:
    """Which rows come after the one with these values of the order columns."""
    answer: Any = pa.scalar(False)
    for (column, down), value in reversed(list(zip(order, after, strict=True))):
        limit = pa.scalar(value, rows.schema.field(column).type)
        beyond = pc.less(rows[column], limit) if down else pc.greater(rows[column], limit)
        answer = pc.or_(beyond, pc.and_(pc.equal(rows[column], limit), answer))
    return answer


def _upserted(contract: TableContract, stored: pa.Table, batch: Batch) -> pa.Table:
    given = {row_key: row for row in batch.rows.to_pylist() if (row_key := tuple(row[k] for k in contract.key))}
    kept = {tuple(row[k] for k in contract.key): row for row in stored.to_pylist()}
    for row_key, row in given.items():
        if row_key not in kept or not batch.only_new:
            kept[row_key] = kept.get(row_key, {}) | row
    return pa.Table.from_pylist(list(kept.values()), schema=contract.schema)


def kit_context(
    plugin: str,
    config: BaseModel,
    folder: Path,
    *,
    tables: Mapping[str, pa.Table] | None = None,
    now: datetime | None = None,
    owned: Sequence[TableContract] = (),
) -> PluginContext:
    """A context for tests.

    Args:
        plugin: the plugin's id.
        config: an instance of the descriptor's config model.
        folder: a folder for scratch files.
        tables: what the storage port can read.
        now: where the clock stands; by default at the present instant, so that files just written are in the past.
        owned: contracts of the tables that the plugin owns.
    """
    return PluginContext(
        plugin_id=plugin,
        config=config,
        secret=_secret,
        clock=KitClock(now or datetime.now(UTC)),
        log=logging.getLogger(f"dianhuan.kit.{plugin}"),
        metrics=KitMetrics(),
        http=httpx.AsyncClient,
        storage=KitStorage(tables or {}, owned),
        folder=folder,
    )


def _secret(ref: SecretRef) -> Secret:
    kind, _, name = ref.ref.partition(":")
    value = os.environ.get(name, "") if kind == "env" else Path(name).read_text("utf-8").rstrip("\r\n")
    if not value:
        raise ConfigError(f"secret {ref.ref} is not set", hint="set it for the test")
    return Secret(value)
