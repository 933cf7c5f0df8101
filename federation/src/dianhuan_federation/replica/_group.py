"""What one commit holds: rows of many logs, settled against what is stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_federation.replica._records import (
    SETTLED,
    SHARED,
    Marks,
    Row,
    settle,
)
from dianhuan_federation.replica._tables import FEDERATED_LOG, FEDERATED_STATEMENT
from dianhuan_sdk import Batch, SourceRef, StoragePort, TableContract

MARKING = tuple(f"urn:dianhuan:federation:{kind}:v1" for kind in ("correction", "retraction", "redaction"))
_CONTRACTS: Mapping[str, TableContract] = {c.name: c for c in (FEDERATED_LOG, FEDERATED_STATEMENT, *SETTLED)}


class Group:
    """Gathers the rows of many logs and turns them into the batches of one commit.

    Args:
        storage: the hub's storage.
    """

    def __init__(self, storage: StoragePort) -> None:
        self._storage = storage
        self.logs: list[Row] = []
        self.statements: list[Row] = []
        self.replayed: set[str] = set()
        self.state: dict[str, bytes] = {}
        self.rows = 0
        self._batches: dict[str, list[pa.RecordBatch]] = defaultdict(list)
        self._others: dict[str, list[Row]] = defaultdict(list)

    def add_rows(self, table: str, batch: pa.RecordBatch) -> None:
        """Rows of a batch of records."""
        self._batches[table].append(batch)
        self.rows += batch.num_rows

    def add_other(self, table: str, row: Row) -> None:
        """A model definition or dispute."""
        self._others[table].append(row)

    def redacted(self) -> dict[str, set[int]]:
        """Origin → indices whose payloads are to be dropped, as the statements of this group say."""
        found: dict[str, set[int]] = defaultdict(set)
        for origin, said in self._marks(self.statements).items():
            found[origin] |= set(said.redacted)
        return found

    def batches(self, source: str) -> list[Batch]:
        """The batches to commit.

        Args:
            source: words for where the rows come from.
        """
        marks = self._marks([*self._stored_marks(), *self.statements])
        made: dict[str, pa.Table] = {}
        for contract in SETTLED:
            table = self._settled(contract, marks)
            if table is not None:
                made[contract.name] = table
        for contract, rows in ((FEDERATED_STATEMENT, self.statements), (FEDERATED_LOG, self.logs)):
            if rows:
                made[contract.name] = pa.Table.from_pylist(rows, schema=contract.schema)
        ref = SourceRef(uri=source)
        return [
            Batch(name, batch, ref) for name, table in made.items() for batch in table.combine_chunks().to_batches()
        ]

    @staticmethod
    def _marks(statements: Iterable[Mapping[str, Any]]) -> dict[str, Marks]:
        marks: dict[str, Marks] = defaultdict(Marks)
        latest = {(row["origin"], row["index"]): row for row in statements}
        for (origin, index), row in latest.items():
            if row["kind"] in MARKING and row["state"] == "ACCEPTED":
                marks[origin].add(row["kind"], index, row["targets"])
        return marks

    def _stored_marks(self) -> list[Row]:
        """Corrections, retractions and redactions of these logs that are stored; a replay says them all anew."""
        origins = sorted({row["origin"] for row in self.statements} - self.replayed)
        if not origins:
            return []
        columns = ["origin", "index", "kind", "targets", "state"]
        return self._read(FEDERATED_STATEMENT.name, columns, {"origin": origins, "kind": list(MARKING)})

    def _settled(self, contract: TableContract, marks: Mapping[str, Marks]) -> pa.Table | None:
        name = contract.name
        fresh = pa.Table.from_batches(self._batches[name], schema=contract.schema)
        others = list(self._others[name])
        touched, stored = self._touched(contract, fresh, others, marks)
        if not touched and not others:
            return fresh if fresh.num_rows else None
        plain = fresh
        if touched and fresh.num_rows:
            mask = pa.array([(o, r) in touched for o, r in _names(fresh)], pa.bool_())
            others += fresh.filter(mask).to_pylist()
            plain = fresh.filter(pc.invert(mask))
        new = {_key(row): row for row in others}
        before = {_key(row): row for row in stored if _key(row) not in new}
        rows = [*new.values(), *self._as_judged(before.values())]
        settle(name, rows, marks)
        changed = [row for row in rows if before.get(_key(row)) != row]
        settled = pa.Table.from_pylist(changed, schema=contract.schema)
        return pa.concat_tables([plain, settled]) if plain.num_rows or changed else None

    def _touched(
        self, contract: TableContract, fresh: pa.Table, others: Sequence[Row], marks: Mapping[str, Marks]
    ) -> tuple[set[tuple[str, str]], list[Row]]:
        """Records of which more than one fresh row must be known: (origin, record id), and their stored rows."""
        name = contract.name
        if name not in {c.name for c in SHARED.values()}:
            stored = self._models_and_disputes(name, others)
            return {(row["origin"], "") for row in stored}, stored
        named = self._targets_of_this_group(marks)
        aimed = self._rows_of(name, named)
        names = list(_names(fresh))
        aimed_names = {(row["origin"], row["record_id"]) for row in aimed}
        aimed_names |= {
            (origin, record)
            for (origin, index), record in zip(_places(fresh), fresh.column("record_id").to_pylist(), strict=True)
            if index in named.get(origin, ())
        }
        seen: set[tuple[str, str]] = set()
        twice = {key for key in names if key in seen or seen.add(key)}  # type: ignore[func-returns-value]
        wanted = seen | aimed_names
        if not wanted:
            return set(), []
        stored = [
            row
            for row in self._read(
                name,
                None,
                {"origin": sorted({o for o, _ in wanted}), "record_id": sorted({r for _, r in wanted})},
            )
            if (row["origin"], row["record_id"]) in wanted
        ]
        touched = aimed_names | twice | {(row["origin"], row["record_id"]) for row in stored}
        return touched, stored

    def _targets_of_this_group(self, marks: Mapping[str, Marks]) -> dict[str, set[int]]:
        """Origin → indices whose rows may change: what new statements mean, and what a statement not accepted held."""
        named: dict[str, set[int]] = defaultdict(set)
        for origin, said in self._marks(self.statements).items():
            named[origin] |= set(said.retracted) | set(said.redacted) | {target for _, target, _ in said.corrections}
            named[origin] |= {t for by, t, _ in marks[origin].corrections if by in said.retracted}
        for row in self.statements:
            if row["origin"] in self.replayed and row["state"] != "ACCEPTED":
                named[row["origin"]].add(row["index"])
        return {origin: indices for origin, indices in named.items() if indices}

    def _rows_of(self, table: str, named: Mapping[str, set[int]]) -> list[Row]:
        return [
            row
            for origin, indices in named.items()
            for row in self._read(table, ["origin", "index", "record_id"], {"origin": origin, "index": sorted(indices)})
        ]

    def _as_judged(self, rows: Iterable[Row]) -> list[Row]:
        """Copies of stored rows, hidden where a replay no longer accepts their statement."""
        said = {(row["origin"], row["index"]): row["state"] for row in self.statements}
        kept = ("ACCEPTED", "PENDING")
        return [
            {**row, "state": row["state"] if said.get((row["origin"], row["index"]), kept[0]) in kept else "hidden"}
            for row in rows
        ]

    def _models_and_disputes(self, name: str, others: Sequence[Row]) -> list[Row]:
        """Few, so all stored ones of a log are looked at where it has a new one or withdraws something."""
        origins = {row["origin"] for row in others} | set(self._marks(self.statements))
        return self._read(name, None, {"origin": sorted(origins)}) if origins else []

    def _read(self, table: str, columns: Sequence[str] | None, equals: Mapping[str, object]) -> list[Row]:
        rows: list[Row] = self._storage.read(table, columns=columns, equals=equals).read_all().to_pylist()
        return rows


def _key(row: Row) -> tuple[object, ...]:
    return row["origin"], row["index"], row.get("record_id")


def _names(table: pa.Table) -> Iterable[tuple[str, str]]:
    return zip(table.column("origin").to_pylist(), table.column("record_id").to_pylist(), strict=True)


def _places(table: pa.Table) -> Iterable[tuple[str, int]]:
    return zip(table.column("origin").to_pylist(), table.column("index").to_pylist(), strict=True)
