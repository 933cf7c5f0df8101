"""Checks of grid adapters on a source that the scenario names."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from dianhuan_sdk import (
    ROW_COLUMN,
    Batch,
    Checkpoint,
    Cursor,
    Discard,
    GridAdapter,
    GridAdapterSpec,
    TableContract,
    Window,
)
from dianhuan_sdk.testing._context import kit_context
from dianhuan_sdk.testing._report import NotMet, NotTried

Key = tuple[Any, ...]


@dataclass(frozen=True)
class GridScenario:
    """A source with data in it.

    Args:
        config: settings of the adapter, as under `[sources.NAME.config]`.
        stream: the stream to read.
        windows: two windows that touch, each with data, for `read(w1) + read(w2) = read(w1 ∪ w2)`.
        contracts: the table contracts, e.g. `dianhuan_standards.TABLES`.
        tables: rows that the storage port can read.
    """

    config: Mapping[str, Any]
    stream: str
    windows: tuple[Window, Window]
    contracts: Mapping[str, TableContract]
    tables: Mapping[str, pa.Table] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.windows[0].end != self.windows[1].start:
            raise ValueError(f"the two windows must touch, got {self.windows[0]} and {self.windows[1]}")


@dataclass(frozen=True)
class _Reading:
    batches: list[Batch]
    checkpoints: list[tuple[Checkpoint, int]]  # with the number of batches before it


class GridTrial:
    """One adapter on its scenario, or on none."""

    def __init__(self, plugin: str, spec: GridAdapterSpec, scenario: GridScenario | None, folder: Path) -> None:
        self._plugin, self._spec, self._scenario, self._folder = plugin, spec, scenario, folder

    def checks(self) -> Mapping[str, Callable[[], None]]:
        """The checks by id."""
        return {
            "grid.check": self.check,
            "grid.contract": self.contract,
            "grid.cursor": self.cursor,
            "grid.idempotent": self.idempotent,
            "grid.windows": self.windows,
        }

    def check(self) -> None:
        """`check()` says yes, and `discover()` offers the stream."""
        scenario, adapter = self._given(), self._adapter()

        async def ask() -> tuple[bool, str, list[str]]:
            report = await adapter.check()
            return report.ok, f"{report.message} {report.hint}".strip(), [s.id for s in await adapter.discover()]

        ok, words, streams = asyncio.run(ask())
        if not ok:
            raise NotMet(f"check() says no: {words}")
        if scenario.stream not in streams:
            raise NotMet(f"discover() offers {', '.join(streams) or 'nothing'}, asked is {scenario.stream}")

    def contract(self) -> None:
        """Batches are rows of a contract: its columns with its types, and `_row`; some row passes."""
        scenario, read, passed = self._given(), 0, 0
        for batch in self._read().batches:
            if batch.table not in scenario.contracts:
                raise NotMet(f"a batch of {batch.table}, which is no contract")
            contract = scenario.contracts[batch.table]
            for f in batch.rows.schema:
                if f.name == ROW_COLUMN:
                    continue
                if f.name not in contract.schema.names:
                    raise NotMet(f"{batch.table} has no column {f.name}")
                if not f.type.equals(contract.field(f.name).type):
                    raise NotMet(f"{batch.table}.{f.name} is {f.type}, asked is {contract.field(f.name).type}")
            refused = sum(len(r.rows) for r in contract.check(_whole(batch.rows, contract)))
            passed += batch.rows.num_rows - refused
            read += batch.rows.num_rows
        if read == 0:
            raise NotTried("the scenario's stream has no rows")
        if passed == 0:
            raise NotMet("no row of the scenario passes its contract")

    def cursor(self) -> None:
        """Cursors are JSON; stopping at a checkpoint and reading on loses nothing; nothing comes after the last."""
        whole = self._read()
        if not whole.checkpoints:
            raise NotMet("no checkpoint: nothing would ever be complete")
        try:
            cursors = [json.loads(json.dumps(dict(c.cursor))) for c, _ in whole.checkpoints]
        except (TypeError, ValueError) as error:
            raise NotMet(f"a cursor is no JSON: {error}") from None
        again = self._read(cursor=cursors[-1])
        if any(b.rows.num_rows for b in again.batches):
            raise NotMet(f"after the last checkpoint {sum(b.rows.num_rows for b in again.batches)} rows come again")
        everything = self._keys(whole)
        for at in sorted({0, len(cursors) // 2}):
            before = _Reading(whole.batches[: whole.checkpoints[at][1]], [])
            found = self._keys(before) | self._keys(self._read(cursor=cursors[at]))
            if found != everything:
                odd = min(found ^ everything)
                raise NotMet(f"stopping at checkpoint {at + 1}: {len(found ^ everything)} rows differ, e.g. {odd}")

    def idempotent(self) -> None:
        """Reading the source twice from the beginning gives the same rows."""
        if self._keys(self._read()) != self._keys(self._read()):
            raise NotMet("a second reading gives other rows")

    def windows(self) -> None:
        """`read(w1) + read(w2) = read(w1 ∪ w2)`, and rows keyed by day lie in the window asked for."""
        first, second = self._given().windows
        a, b = self._in_window(first), self._in_window(second)
        both = self._in_window(Window(first.start, second.end))
        if not a or not b:
            raise NotTried("one of the scenario's windows has no rows")
        if a | b != both:
            raise NotMet(f"{len((a | b) ^ both)} rows differ between the parts and the whole")

    def _in_window(self, window: Window) -> set[Key]:
        reading = self._read(window)
        for batch in reading.batches:
            if "day" in self._given().contracts[batch.table].key:
                outside = [d for d in batch.rows.column("day").to_pylist() if d is not None and d not in window]
                if outside:
                    raise NotMet(f"{batch.table} of {min(outside)} came for {window.start} … {window.end}")
        return self._keys(reading)

    def _given(self) -> GridScenario:
        if self._scenario is None:
            raise NotTried("no scenario: a source with data, see GridScenario")
        return self._scenario

    def _adapter(self) -> GridAdapter:
        scenario = self._given()
        config = self._spec.config_model.model_validate(dict(scenario.config))
        return self._spec.factory(kit_context(self._plugin, config, self._folder, tables=scenario.tables))

    def _read(self, window: Window | None = None, cursor: Cursor | None = None) -> _Reading:
        reading, adapter, stream = _Reading([], []), self._adapter(), self._given().stream

        async def run() -> None:
            async for item in adapter.read(stream, window, cursor):
                if isinstance(item, Checkpoint):
                    reading.checkpoints.append((item, len(reading.batches)))
                elif isinstance(item, Discard):
                    del reading.batches[reading.checkpoints[-1][1] if reading.checkpoints else 0 :]
                else:
                    reading.batches.append(item)

        asyncio.run(run())
        return reading

    def _keys(self, reading: _Reading) -> set[Key]:
        """Every row as a tuple of table and values in the contract's order, without its row number."""
        scenario, found = self._given(), set()
        for batch in reading.batches:
            contract = scenario.contracts[batch.table]
            for row in _whole(batch.rows, contract).to_pylist():
                found.add((batch.table, *(repr(v) for v in row.values())))
        return found


def _whole(rows: pa.RecordBatch, contract: TableContract) -> pa.RecordBatch:
    columns = [
        rows.column(f.name) if f.name in rows.schema.names else pa.nulls(rows.num_rows, f.type) for f in contract.fields
    ]
    return pa.RecordBatch.from_arrays(columns, names=[f.name for f in contract.fields])
