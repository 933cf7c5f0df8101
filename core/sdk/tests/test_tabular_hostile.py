"""Any damage to a file ends in rejects or a typed error, and lines that are not damaged go in."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dianhuan_sdk import InputError
from dianhuan_sdk.tabular import IncompleteFileError, is_data_file
from dianhuan_standards import TABLES

ROWS = 12
LINES = [
    b",".join([f"\u7529{i}".encode("gb18030"), b"2026-01-05", *[f"{i}.{p}".encode() for p in range(96)]])
    for i in range(ROWS)
]
HEADER = ("计量点编号,日期," + ",".join(f"P{i}" for i in range(1, 97))).encode("gb18030")

damage = st.lists(
    st.tuples(
        st.integers(0, ROWS - 1),
        st.integers(0, 400),
        st.sampled_from(["put", "cut", "swap"]),
        st.binary(min_size=1, max_size=4) | st.sampled_from([b",", b'"', b"\r", b"\x00", b"x", b"-", b"e9", b"\xff"]),
    ),
    min_size=0,
    max_size=3,
)


@settings(max_examples=150, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=damage)
def test_hostile_damage_to_some_lines_loses_no_other_line(read, damage) -> None:
    lines = list(LINES)
    for row, at, how, data in damage:
        line = lines[row]
        rest = {"put": line[at:], "cut": line[at + len(data) :], "swap": line[at + len(data) :]}[how]
        lines[row] = line[:at] + (b"" if how == "cut" else data) + rest
    hurt = {row for row, *_ in damage}
    out = read(b"\n".join([HEADER, *lines]) + b"\n", {"encoding": "gb18030"} if not hurt else None)
    if out.error is not None:
        assert isinstance(out.error, InputError)
        assert not isinstance(out.error, IncompleteFileError)
        assert out.error.hint
        return
    assert hurt or len(out.rows) == ROWS
    whole = {row + 1 for row in range(ROWS)} - {row + 1 for row in hurt}
    if any(b"\n" in data for *_, data in damage):
        # Later lines have other numbers then.
        assert len(out.rows) >= len(whole)
        return
    assert whole <= {row["_row"] for row in out.rows}
    assert {row["_row"] for row in out.rows} | {r["row"] for r in out.rejects} == set(range(1, ROWS + 1))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300), table=st.sampled_from(["load_curve", "entity", "outage"]))
def test_hostile_any_bytes_end_in_a_typed_error_or_rejects(read, data: bytes, table: str) -> None:
    out = read(data, table=table)
    assert out.error is None or out.error.hint
    assert {row for batch in out.batches for row in [batch.table]} <= {table}
    assert table in TABLES


def test_hostile_names_of_a_delivery_stay_in_its_folder() -> None:
    for name in (
        "curve_/../../etc/passwd",
        "../curve_1.csv",
        "/curve_1.csv",
        "..\\curve_1.csv",
        ".curve",
        "a.csv.part",
    ):
        assert not is_data_file(name)
    assert is_data_file("curve_20260105.csv", ".ok")
    assert not is_data_file("curve_20260105.csv.ok", ".ok")


def test_hostile_a_file_without_line_ends_is_refused_early(monkeypatch, read) -> None:
    monkeypatch.setattr("dianhuan_sdk.tabular._source.LONGEST_LINE", 100_000)
    monkeypatch.setattr("dianhuan_sdk.tabular._csv.BLOCK_BYTES", 10_000)
    out = read(b"entity_id,name\n" + b"x" * 1_000_000, table="entity")
    assert "line is longer" in str(out.error)
