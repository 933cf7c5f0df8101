"""Register tables: a later row with the same key replaces the earlier one, which is kept in `register_history`.

Tables that plugins own are written the same way, without a history.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import pyarrow as pa

from dianhuan_hub.store._engine import arrow, one
from dianhuan_hub.store._schema import quoted
from dianhuan_hub.store._topology import assign_ordinals
from dianhuan_sdk import TableContract


@dataclass(frozen=True)
class RegisterRows:
    """Rows of unique key for a register.

    Args:
        contract: of the register.
        rows: columns of the contract.
        delivered: the columns that the source has; the others keep their value in a row that is replaced.
        only_new: rows whose key is there are left as they are.
    """

    contract: TableContract
    rows: pa.Table
    delivered: tuple[str, ...]
    only_new: bool = False


@dataclass(frozen=True)
class RegisterPut:
    """What became of register rows, and the enterprises whose account links or metering points changed."""

    new: int
    replaced: int
    unchanged: int
    touched_entities: pa.Array


def put_register(con: duckdb.DuckDBPyConnection, incoming: RegisterRows, load_id: int) -> RegisterPut:
    """Write rows into a register, inside the caller's transaction."""
    contract, rows = incoming.contract, incoming.rows
    table = quoted(contract.name)
    columns = ", ".join(quoted(f.name) for f in contract.fields)
    key = ", ".join(quoted(name) for name in contract.key)
    con.register("incoming_rows", rows.select([f.name for f in contract.fields]))
    # The table can be a hundred times as large as what comes in: it is scanned once, for the keys that come in.
    con.execute(f"CREATE TEMP TABLE old_rows AS SELECT * FROM {table} SEMI JOIN incoming_rows USING ({key})")
    if incoming.only_new:
        changes = f"SELECT * FROM incoming_rows ANTI JOIN old_rows USING ({key})"
    else:
        values = ", ".join(f"{'i' if f.name in incoming.delivered else 'o'}.{quoted(f.name)}" for f in contract.fields)
        merged = f"SELECT {values} FROM incoming_rows i LEFT JOIN old_rows o USING ({key})"
        changes = f"{merged} EXCEPT SELECT {columns} FROM old_rows"
    con.execute(f"CREATE TEMP TABLE changed_rows AS {changes}")
    con.unregister("incoming_rows")
    changed = _count(con, "SELECT count(*) FROM changed_rows")
    con.execute(f"DELETE FROM old_rows WHERE ({key}) NOT IN (SELECT ({key}) FROM changed_rows)")
    replaced = _count(con, "SELECT count(*) FROM old_rows")
    touched = _touched(con, contract.name)
    if replaced:
        # A plugin that owns a table keeps what it needs of the past itself; what it redacts must be gone.
        if not contract.owner:
            con.execute(f"""INSERT INTO register_history
                SELECT '{contract.name}', to_json(o), o.load_id, {load_id} FROM old_rows o""")
        same_key = " AND ".join(f"t.{quoted(k)} = o.{quoted(k)}" for k in contract.key)
        con.execute(f"DELETE FROM {table} t USING old_rows o WHERE {same_key}")
    con.execute(f"INSERT INTO {table} BY NAME SELECT {columns}, {load_id} AS load_id FROM changed_rows")
    if contract.name in ("entity", "account_link"):
        assign_ordinals(con, "entity", rows.column("entity_id"))
    if contract.name == "metering_point":
        assign_ordinals(con, "point", rows.column("metering_point_id"))
    con.execute("DROP TABLE changed_rows; DROP TABLE old_rows")
    return RegisterPut(changed - replaced, replaced, rows.num_rows - changed, touched)


def _touched(con: duckdb.DuckDBPyConnection, table: str) -> pa.Array:
    if table in ("account_link", "metering_point"):
        # Whoever else is fed by the same account is touched too: its load is shared now, or no longer.
        linked = """SELECT entity_id FROM account_link SEMI JOIN
            (SELECT account_no FROM changed_rows UNION SELECT account_no FROM old_rows) USING (account_no)"""
        if table == "account_link":
            linked += " UNION SELECT entity_id FROM changed_rows UNION SELECT entity_id FROM old_rows"
        return _column(con, f"SELECT DISTINCT entity_id FROM ({linked})")
    return pa.array([], pa.string())


def _column(con: duckdb.DuckDBPyConnection, query: str) -> pa.Array:
    return arrow(con, query).column(0).combine_chunks()


def _count(con: duckdb.DuckDBPyConnection, query: str) -> int:
    row = one(con, query)
    return int(row[0]) if row else 0
