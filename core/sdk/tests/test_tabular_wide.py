"""Wide files: points, encodings, units, multipliers, missing marks, and every kind of bad row."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dianhuan_sdk import ConfigError
from dianhuan_sdk.tabular import IncompleteFileError, parse_mapping, read_file
from dianhuan_standards import TABLES

RAMP = [round(0.5 + i * 0.25, 2) for i in range(96)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_every_encoding_and_delimiter_reads_the_same(read, wide_text, encoding: str, delimiter: str) -> None:
    text = wide_text([("甲镕MP1", "2026-01-05", RAMP), ("MP2", "2026/01/05", RAMP)], delimiter)
    out = read(text, encoding=encoding)
    assert out.error is None
    assert out.rejects == []
    curves = out.curves()
    assert set(curves) == {("甲镕MP1", "2026-01-05"), ("MP2", "2026-01-05")}
    np.testing.assert_allclose(curves["甲镕MP1", "2026-01-05"], RAMP)


def test_contract_form_has_the_mask_as_validity_bitmap(read, wide_text) -> None:
    values: list[Any] = [None if i in (3, 95) else float(i) for i in range(96)]
    out = read(wide_text([("MP1", "2026-01-05", values), ("MP2", "2026-01-05", [1.0] * 96)]))
    (batch,) = out.batches
    assert batch.rows.schema.field("kw").type == TABLES["load_curve"].field("kw").type
    child = batch.rows.column("kw").values
    bits = np.unpackbits(np.frombuffer(child.buffers()[0], np.uint8), bitorder="little")[: 2 * 96]
    assert len(child.buffers()[0]) == 24
    assert np.flatnonzero(bits == 0).tolist() == [3, 95]
    data = np.frombuffer(child.buffers()[1], np.float32)
    assert data[3] == 0.0
    assert batch.rows.column("_row").to_pylist() == [1, 2]
    assert (
        TABLES["load_curve"].check(
            pa.RecordBatch.from_pydict({name: batch.rows.column(name) for name in TABLES["load_curve"].schema.names})
        )
        == []
    )


@pytest.mark.parametrize(
    ("points", "unit", "factor"), [(96, "kWh", 4), (48, "kWh", 2), (24, "Wh", 0.001), (48, "W", 0.001)]
)
def test_fewer_points_expand_with_their_energy(read, wide_text, points: int, unit: str, factor: float) -> None:
    values = [float(i) for i in range(points)]
    text = wide_text([("MP1", "2026-01-05", values)], names=[f"P{i}" for i in range(1, points + 1)])
    out = read(text, {"curve": {"layout": "wide", "unit": unit, "multiplier_applied": True}})
    (row,) = out.rows
    assert row["points"] == points
    curve = np.array(row["kw"])
    np.testing.assert_allclose(curve, np.repeat(np.array(values) * factor, 96 // points), rtol=1e-6)
    source_energy = sum(values) * (1 if unit.endswith("h") else 24 / points) * (0.001 if unit[0] == "W" else 1)
    assert curve.sum() / 4 == pytest.approx(source_energy)


def test_multiplier_missing_marks_and_zero(read) -> None:
    names = ",".join(f"p{i}" for i in range(1, 97))
    body = ["0", "-9999", "", "NULL", "-9999.0", *["2"] * 91]
    text = f"id,day,t_factor,{names}\nMP1,20260105,80,{','.join(body)}\nMP2,20260105,,{','.join(body)}\n"
    mapping = {
        "columns": {"metering_point_id": "id", "day": "day"},
        "curve": {"layout": "wide", "multiplier_applied": False, "multiplier": {"column": "t_factor"}},
    }
    out = read(text, mapping)
    (row,) = out.rows
    assert row["kw"][:6] == [0.0, None, None, None, None, 160.0]
    assert out.codes == [(2, "no_multiplier")]


def test_daily_energy_only_has_no_curve(read) -> None:
    out = read("计量点编号,日期,日电量\nMP1,2026-01-05,12.5\n")
    (row,) = out.rows
    assert (row["kw"], row["kwh"], row["points"]) == (None, 12.5, 1)


def test_rows_without_any_point_come_apart(read, wide_text) -> None:
    out = read(wide_text([("MP1", "2026-01-05", [None] * 96), ("MP2", "2026-01-05", [1.0] * 96)]))
    assert [len(b.rows) for b in out.batches] == [1, 1]
    assert [b.rows.column("kw").null_count for b in out.batches] == [0, 1]
    contract = TABLES["load_curve"]
    table = {name: out.batches[1].rows.column(name) for name in contract.schema.names}
    assert [r.code for r in contract.check(pa.RecordBatch.from_pydict(table))] == ["no_content"]


def clock_names(first: int) -> list[str]:
    return [f"{m // 60:02d}:{m % 60:02d}" for m in range(first, first + 1440, 15)]


@pytest.mark.parametrize(
    ("stamp", "names", "first_slot"),
    [
        ("interval_start", clock_names(0), 0),
        ("interval_end", clock_names(15), 0),
        ("interval_end_same_day", clock_names(0), 95),
    ],
)
def test_clock_columns_by_their_stamp(read, wide_text, stamp: str, names: list[str], first_slot: int) -> None:
    values = [7.0, *[1.0] * 95]
    text = wide_text([("MP1", "2026-01-05", values)], names=names)
    out = read(text, {"curve": {"layout": "wide", "multiplier_applied": True, "stamp": stamp}})
    assert out.error is None
    assert int(np.argmax(out.rows[0]["kw"])) == first_slot


def test_clock_columns_that_contradict_the_stamp_are_refused(read, wide_text) -> None:
    text = wide_text([("MP1", "2026-01-05", RAMP)], names=clock_names(0))
    out = read(text, {"curve": {"layout": "wide", "multiplier_applied": True, "stamp": "interval_end"}})
    assert "do not fit the stamp rule interval_end" in str(out.error)


def test_names_like_t2400_need_no_mapping(read, wide_text) -> None:
    names = ["T" + n.replace(":", "") for n in clock_names(15)]
    out = read(wide_text([("MP1", "2026-01-05", RAMP)], names=names))
    np.testing.assert_allclose(out.rows[0]["kw"], RAMP)


def test_bad_rows_are_refused_and_good_ones_go_on(read, wide_text) -> None:
    lines = wide_text([(f"MP{i}", "2026-01-05", RAMP) for i in range(1, 8)]).splitlines()
    lines[2] = lines[2].replace("0.75", "坏")
    lines[3] = lines[3].replace("MP3", "甲3") + ",1"
    lines[4] = lines[4].rsplit(",", 1)[0]
    lines[5] = lines[5].replace("2026-01-05", "2026-13-45")
    lines[6] = '"镕MP6",2026-01-05,"1,234.5",' + ",".join(map(str, RAMP[1:]))
    out = read("\r\n".join(lines), encoding="gb18030")
    assert out.error is None
    assert [r["metering_point_id"] for r in out.rows] == ["MP1", "镕MP6", "MP7"]
    assert [r["_row"] for r in out.rows] == [1, 6, 7]
    assert out.rows[1]["kw"][0] == 1234.5
    assert out.codes == [(2, "bad_number"), (3, "wrong_columns"), (4, "wrong_columns"), (5, "unreadable_value")]
    by_row = {r["row"]: r for r in out.rejects}
    assert "坏" in by_row[2]["detail"]
    assert '"P2": "坏"' in by_row[2]["raw"]
    assert "99 columns, the header has 98" in by_row[3]["detail"]
    assert "甲3,2026-01-05,0.5," in by_row[3]["raw"]


def test_a_bad_block_does_not_slow_or_lose_the_others(monkeypatch, read, wide_text) -> None:
    monkeypatch.setattr("dianhuan_sdk.tabular._csv.BLOCK_BYTES", 20_000)
    rows = [(f"MP{i}", "2026-01-05", RAMP) for i in range(1, 401)]
    text = wide_text(rows).replace("MP250,2026-01-05,0.5,", "MP250,2026-01-05,nope,")
    out = read(text)
    assert len(out.batches) > 5
    assert out.codes == [(250, "bad_number")]
    assert [r["_row"] for r in out.rows] == [i for i in range(1, 401) if i != 250]


@pytest.mark.parametrize("count", [95, 97])
def test_wrong_number_of_value_columns_in_the_header(read, wide_text, count: int) -> None:
    text = wide_text([("MP1", "2026-01-05", [1.0] * count)], names=[f"P{i}" for i in range(1, count + 1)])
    out = read(text)
    assert f"the header has {count} value columns" in str(out.error)
    assert "what to do" in str(out.error)


def test_missing_header(read, wide_text) -> None:
    text = wide_text([("MP1", "2026-01-05", RAMP)]).split("\n", 1)[1]
    out = read(text)
    assert "no column for metering_point_id" in str(out.error)
    assert read(b"\n\n").error is not None


def test_wrong_encoding_is_said(read, wide_text) -> None:
    text = wide_text([("MP1", "2026-01-05", RAMP)])
    out = read(text.encode("gb18030"), {"encoding": "utf-8"})
    assert "is not utf-8" in str(out.error)
    assert "gb18030" in out.error.hint
    out = read(text.encode("utf-8"), {"encoding": "gb18030"})
    assert out.error is not None
    assert "encoding" in str(out.error)
    assert "neither UTF-8 nor GB18030" in str(read(b"\xff\xff\xff,\xff\n1,2\n").error)
    assert "NUL" in str(read(b"a,b\n\x00\x01\x02,2\n").error)


def test_text_that_breaks_the_encoding_in_one_row(read, wide_text) -> None:
    text = wide_text([("甲1", "2026-01-05", RAMP), ("甲2", "2026-01-05", RAMP)])
    padding = "".join(f"{line}\n" for line in text.splitlines()[1:2] * 2500)
    raw = (text + padding).encode("gb18030") + b"\xff\xff3,2026-01-05," + ",".join(map(str, RAMP)).encode() + b"\n"
    out = read(raw)
    assert out.codes == [(2503, "unreadable_value")]
    assert len(out.rows) == 2502


def gz(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def zipped(data: bytes, *names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, data)
    return out.getvalue()


def test_compressed_files(read, wide_text) -> None:
    data = wide_text([("MP1", "2026-01-05", RAMP)]).encode("gb18030")
    plain = read(data).curves()
    for packed, name in ((gz(data), "a.csv.gz"), (zipped(data, "a.csv"), "a.zip")):
        np.testing.assert_array_equal(read(packed, name=name).curves()["MP1", "2026-01-05"], plain["MP1", "2026-01-05"])
    assert "holds 2 files" in str(read(zipped(data, "a.csv", "b.csv"), name="a.zip").error)


def test_truncated_gz_gives_the_rows_before_the_break(monkeypatch, read, wide_text) -> None:
    monkeypatch.setattr("dianhuan_sdk.tabular._csv.BLOCK_BYTES", 50_000)
    monkeypatch.setattr("dianhuan_sdk.tabular._source.SAMPLE_BYTES", 10_000)
    rng = np.random.default_rng(5)
    rows = [(f"MP{i}", "2026-01-05", rng.random(96).round(3).tolist()) for i in range(1000)]
    packed = gz(wide_text(rows).encode())
    out = read(packed[: len(packed) // 2], name="a.csv.gz")
    assert "cut off or damaged" in str(out.error)
    assert 300 < len(out.rows) < 700
    assert out.rejects == []
    np.testing.assert_allclose(out.rows[-1]["kw"], rows[len(out.rows) - 1][2], rtol=1e-6)
    assert read(packed[:20], name="a.csv.gz").error is not None
    whole = zipped(wide_text(rows).encode(), "a.csv")
    assert "not a whole zip" in str(read(whole[: len(whole) // 2], name="a.zip").error)


@pytest.mark.parametrize("name", ["curve.csv.part", "curve.tmp"])
def test_a_file_still_being_written_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("计量点编号,日期,日电量\n")
    with pytest.raises(IncompleteFileError, match="still being written"):
        list(read_file(path, None, TABLES["load_curve"]))


def test_control_file(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text("计量点编号,日期,日电量\nMP1,2026-01-05,1\n", "utf-8")
    mapping = parse_mapping({"control_file": ".ok"}, "test")
    with pytest.raises(IncompleteFileError, match="no control file"):
        list(read_file(path, mapping, TABLES["load_curve"]))
    (tmp_path / "curve.ok").touch()
    assert len(list(read_file(path, mapping, TABLES["load_curve"]))) == 1


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text("计量点编号,日期,日电量\nMP1,2026-01-05,1\n", "utf-8")
    batches = read_file(path, None, TABLES["load_curve"])
    assert next(batches).rows.num_rows == 1
    with path.open("a") as file:
        file.write("MP2,2026-01-05,1\n")
    os.utime(path, (1, 1))
    with pytest.raises(IncompleteFileError, match="changed while it was read"):
        list(batches)


def test_parquet_wide_and_in_the_contracts_form(tmp_path: Path, read) -> None:
    path = tmp_path / "a.parquet"
    columns: dict[str, Any] = {"metering_point_id": ["MP1"], "day": pa.array([20458], pa.date32())}
    columns |= {f"P{i + 1}": pa.array([None if i == 4 else RAMP[i]], pa.float64()) for i in range(96)}
    pq.write_table(pa.table(columns), path)
    wide = read(path)
    assert wide.rows[0]["kw"][:6] == pytest.approx([0.5, 0.75, 1.0, 1.25, None, 1.75])
    again = tmp_path / "b.parquet"
    rows = wide.batches[0].rows
    pq.write_table(pa.Table.from_batches([rows.select(["metering_point_id", "day", "kw", "points", "kwh"])]), again)
    assert read(again).rows == wide.rows
    path.write_bytes(path.read_bytes()[:-20])
    assert "not a whole Parquet file" in str(read(path).error)


def test_mapping_errors_name_path_key_and_hint(tmp_path: Path) -> None:
    from dianhuan_sdk.tabular import load_mapping

    path = tmp_path / "m.yaml"
    for text, words in (
        ("curve: {layout: wide, multiplier_applied: false}", "multiplier_applied is false"),
        ("curve: {layout: wide, multiplier_applied: true, multiplier: 80}", "applied twice"),
        ("curve: {layout: wide}", "multiplier_applied"),
        ("colums: {}", "colums"),
        ("columns: {day: {column: a, constant: b}}", "columns.day"),
        ("[1, 2]", "list"),
        ("a: [", "not YAML"),
    ):
        path.write_text(text, "utf-8")
        with pytest.raises(ConfigError, match=words) as caught:
            load_mapping(path)
        assert str(path) in caught.value.message
        assert caught.value.hint
    with pytest.raises(ConfigError, match="no mapping file"):
        load_mapping(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="is for the table outage"):
        list(read_file(path, parse_mapping({"table": "outage"}, "t"), TABLES["load_curve"]))
