"""Everything between two checkpoints, gathered and freed of duplicates, ready for one transaction."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_hub.intake._check import Checked, Payload, refused_rows
from dianhuan_hub.store import QUARANTINE_SCHEMA, CurveRows, RegisterRows, Topology, gather, nan_to_contract
from dianhuan_sdk import ROW_COLUMN, Refusal, TableContract
from dianhuan_standards import REGISTERS, TABLES


class Gathered:
    """Collects checked batches until a checkpoint."""

    def __init__(self) -> None:
        self._curves: list[CurveRows] = []
        self._registers: dict[tuple[str, bool, tuple[str, ...]], tuple[TableContract, list[pa.Table]]] = {}
        self._refused: list[pa.Table] = []

    def add(self, checked: Checked) -> None:
        """Take both halves of a checked batch."""
        if checked.curves is not None and len(checked.curves):
            self._curves.append(checked.curves)
        register = checked.register
        if register is not None and register.rows.num_rows:
            alike = (register.contract.name, register.only_new, register.delivered)
            self._registers.setdefault(alike, (register.contract, []))[1].append(register.rows)
        if checked.refused.num_rows:
            self._refused.append(checked.refused)

    def refuse(self, rows: pa.Table) -> None:
        """Take rows for quarantine."""
        self._refused.append(rows)

    def curves(self, topology: Topology, payload: Payload) -> CurveRows | None:
        """Curve rows in (day, metering point) order, one a key.

        Identical repeats are dropped. Where two rows of one metering point and day differ, nothing says which one is
        right: all of them go to quarantine.
        """
        if not self._curves:
            return None
        key = np.concatenate([part.key for part in self._curves])
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        repeated = np.flatnonzero(ordered[1:] == ordered[:-1])
        if len(repeated) == 0:
            return gather(self._curves, order)
        keep = np.ones(len(order), bool)
        twice = np.unique(ordered[repeated])
        at, end = np.searchsorted(ordered, twice), np.searchsorted(ordered, twice, side="right")
        conflicting: list[int] = []
        for a, b in zip(at, end, strict=True):
            alike = gather(self._curves, order[a:b])
            keep[a + 1 : b] = False
            if not np.array_equal(alike.kw, np.broadcast_to(alike.kw[0], alike.kw.shape), equal_nan=True):
                keep[a] = False
                conflicting += order[a:b].tolist()
        if conflicting:
            rows = gather(self._curves, np.array(conflicting))
            refusal = Refusal(
                np.arange(len(rows)),
                "conflicting_duplicate",
                "metering_point_id",
                "one row a metering point and day: these differ, so none of them is taken",
            )
            batch = curve_batch(rows, topology)
            self._refused.append(refused_rows("load_curve", batch, rows.row_no, refusal, payload))
        return gather(self._curves, order[keep])

    def registers(self, payload: Payload) -> list[RegisterRows]:
        """Register rows of unique key, tables in an order in which no row refers to a later table, plugins' own last.

        Of several rows with one key the first stays; later ones that differ go to quarantine.
        """
        out = []
        places = {name: place for place, name in enumerate(REGISTERS)}
        for alike in sorted(self._registers, key=lambda alike: places.get(alike[0], len(places))):
            _, only_new, delivered = alike
            contract, parts = self._registers[alike]
            rows = self._unique(contract, pa.concat_tables(parts), payload)
            out.append(RegisterRows(contract, rows, delivered, only_new=only_new))
        return out

    def _unique(self, contract: TableContract, rows: pa.Table, payload: Payload) -> pa.Table:
        code = _codes(rows, contract.key)
        _, first = np.unique(code, return_index=True)
        plain = rows.drop_columns([ROW_COLUMN])
        if len(first) == len(code):
            return plain
        whole = _codes(plain, tuple(plain.column_names))
        leader = np.zeros(code.max() + 1, np.int64)
        leader[code[first]] = first
        differs = whole != whole[leader[code]]
        if differs.any():
            where = np.flatnonzero(differs)
            refusal = Refusal(
                np.arange(len(where)),
                "conflicting_duplicate",
                contract.key[0],
                f"one row for each {', '.join(contract.key)}: the first was taken, this one differs",
            )
            batch = plain.take(where).combine_chunks().to_batches()[0]
            numbers = rows.column(ROW_COLUMN).to_numpy()[where]
            self._refused.append(refused_rows(contract.name, batch, numbers, refusal, payload))
        return plain.take(np.sort(first))

    def refused(self) -> pa.Table:
        """Everything for quarantine."""
        return pa.concat_tables(self._refused) if self._refused else QUARANTINE_SCHEMA.empty_table()


def curve_batch(rows: CurveRows, topology: Topology) -> pa.RecordBatch:
    """Curve rows back in contract form."""
    contract = TABLES["load_curve"]
    return pa.record_batch(
        [
            topology.points.take(pa.array(rows.mp)),
            pa.array(rows.day).cast(pa.date32()),
            nan_to_contract(rows.kw),
            pa.array(rows.points).cast(pa.int32()),
            pa.array(rows.kwh, from_pandas=True),
        ],
        schema=pa.schema([pa.field(f.name, f.type) for f in contract.fields]),
    )


def _codes(rows: pa.Table, columns: tuple[str, ...]) -> np.ndarray:
    texts = [pc.fill_null(pc.cast(rows.column(c), pa.string()), "\0") for c in columns]
    joined = pc.binary_join_element_wise(*texts, "\x1f") if len(texts) > 1 else texts[0]
    combined = joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined
    return np.asarray(combined.dictionary_encode().indices.to_numpy())
