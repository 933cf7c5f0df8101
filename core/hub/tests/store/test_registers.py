"""What a put into a register changes: new, replaced and unchanged rows, columns that were not delivered, one scan."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from dianhuan_hub.store._loads import put_state, read_state
from dianhuan_hub.store._registers import RegisterRows, put_register
from dianhuan_hub.store._schema import contract_ddl
from dianhuan_sdk import Field, TableContract

TABLE = TableContract(
    name="shelf",
    version="1.0",
    zh="架",
    doc="A table of a plugin.",
    owner="tester",
    key=("place", "number"),
    fields=(
        Field("place", pa.string(), "位", required=True),
        Field("number", pa.int32(), "号", required=True),
        Field("what", pa.string(), "物"),
        Field("more", pa.string(), "余"),
    ),
)


@pytest.fixture
def con(tmp_path: Path):
    with duckdb.connect(tmp_path / "x.duckdb") as made:
        made.execute(contract_ddl(TABLE))
        yield made


def put(con, rows, delivered=("place", "number", "what", "more"), load=1, **more):
    table = pa.Table.from_pylist([dict.fromkeys(TABLE.schema.names) | row for row in rows], schema=TABLE.schema)
    done = put_register(con, RegisterRows(TABLE, table, delivered, **more), load)
    return done.new, done.replaced, done.unchanged


def row(number, what, more=None):
    return {"place": "a", "number": number, "what": what, "more": more}


def test_new_replaced_and_unchanged_rows_are_told_apart(con):
    assert put(con, [row(1, "x", "m"), row(2, "y", "m"), row(3, None)]) == (3, 0, 0)
    assert put(con, [row(1, "x", "m"), row(2, "z", "m"), row(3, None), row(4, "n")], load=2) == (1, 1, 2)
    assert con.execute("SELECT number, what, more, load_id FROM shelf ORDER BY number").fetchall() == [
        (1, "x", "m", 1),
        (2, "z", "m", 2),
        (3, None, None, 1),
        (4, "n", None, 2),
    ]


def test_a_column_that_is_not_delivered_keeps_its_value(con):
    put(con, [row(1, "x", "m")])
    assert put(con, [row(1, "z")], ("place", "number", "what"), 2) == (0, 1, 0)
    assert put(con, [row(1, "z")], ("place", "number", "what"), 3) == (0, 0, 1)
    assert con.execute("SELECT what, more, load_id FROM shelf").fetchall() == [("z", "m", 2)]


def test_only_new_leaves_what_is_there(con):
    put(con, [row(1, "x")])
    assert put(con, [row(1, "z"), row(2, "y")], load=2, only_new=True) == (1, 0, 1)
    assert con.execute("SELECT number, what FROM shelf ORDER BY number").fetchall() == [(1, "x"), (2, "y")]


def test_the_table_is_scanned_once_however_large_it_is(con):
    """Most of a large table is never looked at: what comes in is joined to the rows of the same keys only."""
    put(con, [row(number, "x") for number in range(10)])
    statements = []

    class Spy:
        def execute(self, sql, *args):
            statements.append(sql)
            return con.execute(sql, *args)

        def __getattr__(self, name):
            return getattr(con, name)

    assert put(Spy(), [row(11, "n")], load=2) == (1, 0, 0)
    assert len([sql for sql in statements if '"shelf"' in sql and not sql.startswith("INSERT")]) == 1


def test_state_of_a_plugin_is_replaced_by_key(con):
    con.execute("CREATE TABLE plugin_state (plugin VARCHAR, key VARCHAR, value BLOB, PRIMARY KEY (plugin, key))")
    put_state(con, "p", {})
    put_state(con, "p", {"a": b"1", "b": b"\x00\xff"})
    put_state(con, "q", {"a": b"other"})
    put_state(con, "p", {"b": b"2", "c": b""})
    assert [read_state(con, "p", k) for k in "abcd"] == [b"1", b"2", b"", None]
    assert read_state(con, "q", "a") == b"other"
