"""State of real-time models: tables of arrays keyed by circuit, link or plant, dumped and loaded as Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from dianhuan_sdk.errors import InputError

if TYPE_CHECKING:
    from dianhuan_sdk.stream import StreamWindow, Topology

StateTable = Literal["circuit", "link", "factor", "entity"]
_KEY = "key"
_TICK = b"dianhuan.second"


@dataclass(frozen=True, slots=True)
class StateField:
    """One column of a state table.

    Args:
        name: column name; not `key`.
        dtype: numpy type: a float, integer or bool.
        fill: value of a new row.
        width: 0 for one value a row, else values a row.
    """

    name: str
    dtype: str
    fill: float | int | bool = 0
    width: int = 0


class StreamState:
    """Everything a model remembers between ticks.

    Args:
        layout: table → its columns.

    Attributes:
        second: end of the last tick in seconds since 1970 UTC; −1 before the first.
        tables: table → column → array; the first axis follows the topology.
    """

    def __init__(self, layout: Mapping[StateTable, Sequence[StateField]]) -> None:
        self.layout = layout
        self.second = -1
        self.tables: dict[StateTable, dict[str, np.ndarray[Any, Any]]] = {}
        self._keys: dict[StateTable, tuple[str, ...]] = dict.fromkeys(layout, ())
        self._topology: Topology | None = None
        for name, fields in layout.items():
            self.tables[name] = {f.name: _new(f, 0) for f in fields}

    def __getitem__(self, table: StateTable) -> dict[str, np.ndarray[Any, Any]]:
        return self.tables[table]

    def align(self, window: StreamWindow) -> int:
        """Bring rows into the order of the window's topology (new keys get fill values, gone keys are forgotten),
        and move on to its end.

        Returns:
            How many of the window's newest samples are new since the last tick: 1 in the first tick and from then on,
            more after missed ticks, at most the window's samples, 0 for a tick that was there already.
        """
        if window.topology is not self._topology:
            for name, fields in self.layout.items():
                self._rekey(name, fields, window.topology.keys(name))
            self._topology = window.topology
        passed = 1 if self.second < 0 else (window.second - self.second) // window.step_s
        self.second = max(self.second, window.second)
        return int(min(max(passed, 0), window.samples))

    def dump(self) -> dict[StateTable, pa.RecordBatch]:
        """Table → record batch with the column `key`, one column a field, and the tick in the schema's metadata."""
        out = {}
        for name, fields in self.layout.items():
            arrays = [pa.array(self._keys[name], pa.string())]
            for f in fields:
                flat = pa.array(self.tables[name][f.name].reshape(-1))
                arrays.append(pa.FixedSizeListArray.from_arrays(flat, f.width) if f.width else flat)
            batch = pa.record_batch(arrays, names=[_KEY, *(f.name for f in fields)])
            out[name] = batch.replace_schema_metadata({_TICK: str(self.second).encode()})
        return out

    @classmethod
    def load(
        cls, layout: Mapping[StateTable, Sequence[StateField]], dumped: Mapping[StateTable, pa.RecordBatch]
    ) -> StreamState:
        """The state of a dump.

        Raises:
            InputError: a table or column is missing or of another type, as after a change of the model's version: the
                host then begins with a new state.
        """
        state = cls(layout)
        for name, fields in layout.items():
            if name not in dumped:
                raise InputError(f"the dump has no table {name}", expected=", ".join(layout), hint="begin a new state")
            batch = dumped[name]
            state.second = int((batch.schema.metadata or {}).get(_TICK, b"-1"))
            state._keys[name] = tuple(batch.column(_KEY).to_pylist())
            for f in fields:
                if f.name not in batch.schema.names:
                    raise InputError(f"the dump of {name} has no column {f.name}", hint="begin a new state")
                state.tables[name][f.name] = _read(f, batch.column(f.name), name)
        return state

    def _rekey(self, name: StateTable, fields: Sequence[StateField], keys: tuple[str, ...]) -> None:
        old = self._keys[name]
        if keys == old:
            return
        at = {key: i for i, key in enumerate(old)}
        source = np.array([at.get(key, -1) for key in keys], np.int64)
        kept = source >= 0
        for f in fields:
            column = _new(f, len(keys))
            column[kept] = self.tables[name][f.name][source[kept]]
            self.tables[name][f.name] = column
        self._keys[name] = keys


def _new(f: StateField, rows: int) -> np.ndarray[Any, Any]:
    return np.full((rows, f.width) if f.width else rows, f.fill, dtype=f.dtype)


def _read(f: StateField, column: pa.Array, table: str) -> np.ndarray[Any, Any]:
    flat = column.flatten() if f.width else column
    values = flat.to_numpy(zero_copy_only=False)
    if values.dtype != np.dtype(f.dtype) or len(values) != len(column) * max(f.width, 1):
        raise InputError(
            f"{table}.{f.name} of the dump is {values.dtype} × {len(values)}",
            expected=f"{f.dtype} × {max(f.width, 1)} a row",
            hint="begin a new state",
        )
    return np.array(values).reshape((-1, f.width) if f.width else -1)
