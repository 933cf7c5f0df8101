"""Lineage and positions: one row per load, cursors moved by checkpoints only, quarantine, plugin state, audit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa

from dianhuan_hub.store._engine import arrow, one


@dataclass(frozen=True)
class LoadInfo:
    """Who brought rows, from where, since when. `raw_ref` names the kept raw file, empty where none is kept."""

    plugin: str
    plugin_version: str
    stream: str
    source: str
    sha256: str
    raw_ref: str
    started_at: datetime


def next_load(con: duckdb.DuckDBPyConnection) -> int:
    """A load id that no other load has."""
    row = one(con, "SELECT nextval('load_ids')")
    assert row is not None
    return int(row[0])


def close_load(
    con: duckdb.DuckDBPyConnection,
    load_id: int,
    info: LoadInfo,
    at: datetime,
    *,
    accepted: int,
    quarantined: int,
    unchanged: int,
    corrected: int,
    origin: int | None = None,
) -> None:
    """Write the load's row in the same transaction as its data; `origin` is the load that it tries again."""
    con.execute(
        "INSERT INTO load VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            load_id,
            info.plugin,
            info.plugin_version,
            info.stream,
            info.source,
            info.sha256,
            info.raw_ref,
            info.started_at,
            at,
            accepted,
            quarantined,
            unchanged,
            corrected,
            origin,
        ],
    )


def move_cursor(
    con: duckdb.DuckDBPyConnection, source: str, stream: str, cursor: Mapping[str, Any], load_id: int, at: datetime
) -> None:
    """Store a checkpoint's position."""
    con.execute(
        "INSERT OR REPLACE INTO cursor VALUES (?, ?, ?, ?, ?)",
        [source, stream, json.dumps(cursor, ensure_ascii=False, sort_keys=True), load_id, at],
    )


def read_cursor(con: duckdb.DuckDBPyConnection, source: str, stream: str) -> Mapping[str, Any] | None:
    """The stored position of a stream, or None."""
    row = one(con, "SELECT position FROM cursor WHERE source = ? AND stream = ?", [source, stream])
    return json.loads(row[0]) if row else None


QUARANTINE_SCHEMA = pa.schema(
    [
        pa.field("table_name", pa.string(), nullable=False),
        pa.field("row_no", pa.int64()),
        pa.field("code", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("payload", pa.string(), nullable=False),
        pa.field("in_contract_form", pa.bool_(), nullable=False),
    ]
)


def put_quarantine(con: duckdb.DuckDBPyConnection, rows: pa.Table, load_id: int) -> int:
    """Keep refused rows (`QUARANTINE_SCHEMA`); answers how many."""
    if rows.num_rows == 0:
        return 0
    con.register("refused_rows", rows)
    con.execute(f"INSERT INTO quarantine BY NAME SELECT *, {load_id} AS load_id FROM refused_rows")
    con.unregister("refused_rows")
    return int(rows.num_rows)


def payload_json(con: duckdb.DuckDBPyConnection, rows: pa.Table) -> pa.Array:
    """Each row of a table as JSON text, by the engine's own vectorized writer."""
    con.register("payload_rows", rows)
    out = arrow(con, "SELECT to_json(r)::VARCHAR AS j FROM payload_rows r").column(0).combine_chunks()
    con.unregister("payload_rows")
    return out


def open_quarantine(
    con: duckdb.DuckDBPyConnection, table: str | None, codes: Sequence[str] | None, load_id: int | None
) -> pa.Table:
    """Open quarantined rows in contract form, oldest first: those that a replay can try again."""
    return arrow(
        con,
        """SELECT quarantine_id, table_name, row_no, code, payload, load_id FROM quarantine
        WHERE state = 'open' AND in_contract_form AND table_name = coalesce(?, table_name)
          AND load_id = coalesce(?, load_id) AND (? IS NULL OR code IN (SELECT unnest(?)))
        ORDER BY quarantine_id""",
        [table, load_id, None if codes is None else 1, list(codes or [])],
    )


def close_quarantine(con: duckdb.DuckDBPyConnection, ids: pa.Array, load_id: int) -> None:
    """Mark rows as replayed by a load."""
    con.register("done_ids", pa.table({"quarantine_id": ids}))
    con.execute(f"""UPDATE quarantine SET state = 'replayed', replayed_by = {load_id}
        WHERE quarantine_id IN (SELECT quarantine_id FROM done_ids)""")
    con.unregister("done_ids")


def put_audit(
    con: duckdb.DuckDBPyConnection, at: datetime, actor: str, purpose: str, action: str, subject: str, detail: str = ""
) -> None:
    """One audit row: who did what to whom, and for which purpose."""
    con.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?)", [at, actor, purpose, action, subject, detail])


def put_state(con: duckdb.DuckDBPyConnection, plugin: str, state: Mapping[str, bytes]) -> None:
    """Store a plugin's own state."""
    if not state:
        return
    con.register("new_state", pa.table({"key": list(state), "value": pa.array(state.values(), pa.binary())}))
    con.execute("INSERT OR REPLACE INTO plugin_state SELECT ?, key, value FROM new_state", [plugin])
    con.unregister("new_state")


def read_state(con: duckdb.DuckDBPyConnection, plugin: str, key: str) -> bytes | None:
    """A plugin's own state of that name, or None."""
    row = one(con, "SELECT value FROM plugin_state WHERE plugin = ? AND key = ?", [plugin, key])
    return bytes(row[0]) if row else None
