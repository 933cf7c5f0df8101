"""What the host gives a plugin: config, secrets, clock, log, metrics, HTTP, storage. Nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

import httpx
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from dianhuan_sdk.batches import Batch

LOCAL_ZONE = ZoneInfo("Asia/Shanghai")
"""Civil time of every table; instants in storage are UTC."""


class SecretRef(BaseModel):
    """Names a secret without holding it: `env:NAME` or `file:PATH`. Redaction is by this type."""

    model_config = ConfigDict(frozen=True)
    ref: str = Field(pattern=r"^(env|file):.+$")


class Secret:
    """A secret's value; its repr, str and format never show it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself: call this at the last moment, never store or log it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> datetime:
        """The present instant, aware, UTC."""
        ...

    def today(self) -> date:
        """The present civil day in `LOCAL_ZONE`."""
        ...


class Metrics(Protocol):
    """Counters and gauges under the plugin's own name."""

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter."""
        ...

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """Answer of one atomic commit: the load id and how many rows went where."""

    load_id: int
    accepted: int
    quarantined: int
    unchanged: int = 0
    corrected: int = 0


class StoragePort(Protocol):
    """The hub's storage as a plugin sees it."""

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
        """Rows of a table that the manifest declares under `reads`, or that the plugin owns.

        Args:
            table: contract name.
            columns: the columns wanted, all if None.
            equals: column → value, or column → list of values, joined by *and*.
            start, end: days [start, end) on the table's day column (`day`, or the first date of a plugin's table).
            prefix: column → text that its value begins with, or several of which any will do.
            order: (column, descending); rows come in no order without it.
            after: values of the order columns of the last row of the page before, none of them null.
            limit: rows at most.

        Raises:
            PluginError: the table is not declared.
            InputError: it has no such column.
        """
        ...

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
        """Rows of a table by columns of it: those columns and `rows`, most rows first; see `read`."""
        ...

    def commit(self, batches: Sequence[Batch], state: Mapping[str, bytes] | None = None) -> Receipt:
        """Write batches into declared tables and the plugin's state in one transaction: all or nothing."""
        ...

    def state(self, key: str) -> bytes | None:
        """The plugin's own state of that name, or None."""
        ...


@dataclass(frozen=True)
class PluginContext:
    """All that a plugin gets of its host.

    Args:
        plugin_id: the id in its manifest.
        config: an instance of the plugin's own config model.
        secret: resolves a `SecretRef`; raises `ConfigError` where it cannot.
        clock: time.
        log: a logger of its own.
        metrics: counters of its own.
        http: makes a client that reaches the hosts of the manifest only.
        storage: the storage port.
        folder: a folder of its own for scratch files.
    """

    plugin_id: str
    config: BaseModel
    secret: Callable[[SecretRef], Secret]
    clock: Clock
    log: logging.Logger
    metrics: Metrics
    http: Callable[[], httpx.AsyncClient]
    storage: StoragePort
    folder: Path
