"""A storage port over one SQLite file: tables by contract, upsert by key, one transaction for rows and state."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from dianhuan_sdk import Batch, Receipt, TableContract


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value.isoformat() if isinstance(value, date) else value


class SqliteStore:
    """The storage port; rows that break their contract fail the commit, so that no test can lose them unseen."""

    def __init__(self, path: Path, tables: Sequence[TableContract]) -> None:
        self._tables = {t.name: t for t in tables}
        self._con = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._con.execute("PRAGMA journal_mode=WAL")
        self._con.execute("PRAGMA synchronous=FULL")
        self._con.execute("CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value BLOB)")
        self.commits = 0
        for t in tables:
            columns = ", ".join(f'"{f.name}"' for f in t.fields)
            key = ", ".join(f'"{name}"' for name in t.key)
            self._con.execute(f'CREATE TABLE IF NOT EXISTS "{t.name}" ({columns}, PRIMARY KEY ({key}))')

    def read(
        self,
        table: str,
        *,
        columns: Sequence[str] | None = None,
        equals: Mapping[str, object] | None = None,
        start: date | None = None,
        end: date | None = None,
    ) -> pa.RecordBatchReader:
        contract = self._tables[table]
        names = list(columns or [f.name for f in contract.fields])
        parts, values = [], []
        for name, value in (equals or {}).items():
            if isinstance(value, (list, tuple)):
                self._con.execute("CREATE TEMP TABLE IF NOT EXISTS wanted (name, value)")
                self._con.execute("DELETE FROM wanted WHERE name = ?", [name])
                self._con.executemany("INSERT INTO wanted VALUES (?, ?)", [(name, v) for v in value])
                parts.append(f'"{name}" IN (SELECT value FROM wanted WHERE name = ?)')
                values.append(name)
            else:
                parts.append(f'"{name}" IS ?')
                values.append(value)
        where = f" WHERE {' AND '.join(parts)}" if parts else ""
        found = self._con.execute(
            f'SELECT {", ".join(chr(34) + n + chr(34) for n in names)} FROM "{table}"{where}', values
        ).fetchall()
        fields = [contract.schema.field(n) for n in names]
        arrays = []
        for place, field in enumerate(fields):
            cells = [row[place] for row in found]
            if pa.types.is_timestamp(field.type):
                cells = [None if c is None else datetime.fromisoformat(c) for c in cells]
            if pa.types.is_date(field.type):
                cells = [None if c is None else date.fromisoformat(c) for c in cells]
            arrays.append(pa.array(cells, field.type))
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields)).to_reader()

    def commit(self, batches: Sequence[Batch], state: Mapping[str, bytes] | None = None) -> Receipt:
        count = 0
        self._con.execute("BEGIN IMMEDIATE")
        try:
            for batch in batches:
                contract = self._tables[batch.table]
                refusals = contract.check(batch.rows)
                assert not refusals, (batch.table, refusals)
                names = batch.rows.schema.names
                rows = [tuple(map(_plain, row.values())) for row in batch.rows.to_pylist()]
                self._con.executemany(
                    f'INSERT OR REPLACE INTO "{batch.table}" ({", ".join(chr(34) + n + chr(34) for n in names)}) '
                    f"VALUES ({', '.join('?' * len(names))})",
                    rows,
                )
                count += len(rows)
            for key, value in (state or {}).items():
                self._con.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", [key, value])
            self._con.execute("COMMIT")
        except BaseException:
            self._con.execute("ROLLBACK")
            raise
        self.commits += 1
        return Receipt(self.commits, count, 0)

    def state(self, key: str) -> bytes | None:
        row = self._con.execute("SELECT value FROM state WHERE key = ?", [key]).fetchone()
        return None if row is None else row[0]

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows in the order of their key."""
        key = self._tables[table].key
        rows: list[dict[str, Any]] = self.read(table).read_all().to_pylist()
        return sorted(rows, key=lambda row: tuple(row[k] for k in key))

    def close(self) -> None:
        self._con.close()
