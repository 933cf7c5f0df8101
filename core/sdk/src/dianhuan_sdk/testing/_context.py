"""A plugin's context without a hub: storage in memory, a clock that stands still, metrics that are only counted."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from dianhuan_sdk import LOCAL_ZONE, Batch, ConfigError, PluginContext, PluginError, Receipt, Secret, SecretRef


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
    """A storage port in memory: reads the tables it was given, keeps what is committed."""

    def __init__(self, tables: Mapping[str, pa.Table]) -> None:
        self.tables = dict(tables)
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
    ) -> pa.RecordBatchReader:
        """As `StoragePort.read`."""
        if table not in self.tables:
            raise PluginError(f"table {table} is not in the scenario", hint="give it under tables")
        rows = self.tables[table]
        for column, wanted in (equals or {}).items():
            values = list(wanted) if isinstance(wanted, (list, tuple, set)) else [wanted]
            rows = rows.filter(pc.is_in(rows[column], value_set=pa.array(values, rows.schema.field(column).type)))
        if "day" in rows.column_names:
            if start is not None:
                rows = rows.filter(pc.greater_equal(rows["day"], pa.scalar(start, pa.date32())))
            if end is not None:
                rows = rows.filter(pc.less(rows["day"], pa.scalar(end, pa.date32())))
        return (rows.select(list(columns)) if columns else rows).to_reader()

    def commit(self, batches: Sequence[Batch], state: Mapping[str, bytes] | None = None) -> Receipt:
        """As `StoragePort.commit`."""
        self.committed.extend(batches)
        self._state.update(state or {})
        return Receipt(len(self.committed), sum(b.rows.num_rows for b in batches), 0)

    def state(self, key: str) -> bytes | None:
        """As `StoragePort.state`."""
        return self._state.get(key)


def kit_context(
    plugin: str,
    config: BaseModel,
    folder: Path,
    *,
    tables: Mapping[str, pa.Table] | None = None,
    now: datetime | None = None,
) -> PluginContext:
    """A context for tests.

    Args:
        plugin: the plugin's id.
        config: an instance of the descriptor's config model.
        folder: a folder for scratch files.
        tables: what the storage port can read.
        now: where the clock stands; by default at the present instant, so that files just written are in the past.
    """
    return PluginContext(
        plugin_id=plugin,
        config=config,
        secret=_secret,
        clock=KitClock(now or datetime.now(UTC)),
        log=logging.getLogger(f"dianhuan.kit.{plugin}"),
        metrics=KitMetrics(),
        http=httpx.AsyncClient,
        storage=KitStorage(tables or {}),
        folder=folder,
    )


def _secret(ref: SecretRef) -> Secret:
    kind, _, name = ref.ref.partition(":")
    value = os.environ.get(name, "") if kind == "env" else Path(name).read_text("utf-8").rstrip("\r\n")
    if not value:
        raise ConfigError(f"secret {ref.ref} is not set", hint="set it for the test")
    return Secret(value)
