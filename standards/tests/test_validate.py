"""Validation of real files: encodings, headers, torn rows, types, and words in both languages."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dianhuan_sdk import CURVE_TYPE, InputError
from dianhuan_standards import TABLES
from dianhuan_standards.validate import validate_file

CODE = "91430000183764483Y"
ARCHIVE = f"""统一社会信用代码,户名,用电地址,区划,行业分类,成立日期,备注
{CODE},株洲某冶炼厂,石峰区清水塘,430204,C3212,1998/5/1,x
91430000183764483X,校验码错,石峰区,430204,C3212,1998-05-01,
{CODE},,石峰区,430204,C3212,19980501,
{CODE},列数不对,石峰区,430204
{CODE},区划错,石峰区,4302,C3212,,
local-1,日期错,石峰区,430204,C3212,1998年13月1日,
{CODE},又一行,"石峰区,
清水塘",430204,C3212,1998/5/1 0:00:00,
{CODE},有钟点,石峰区,430204,C3212,1998/5/1 8:00,
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_a_chinese_archive_row_by_row(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "档案.csv"
    path.write_bytes(ARCHIVE.encode(encoding))
    report = validate_file(path)
    assert (report.table, report.rows, report.refused, report.ok) == ("entity", 8, 6, False)
    assert [(r.row, r.column, r.code, r.value) for r in report.refusals] == [
        (2, "uscc", "bad_check_digit", "91430000183764483X"),
        (3, "name", "missing_value", ""),
        (4, "", "wrong_columns", ""),
        (5, "division", "bad_form", "4302"),
        (6, "opened_on", "unreadable_value", "1998年13月1日"),
        (8, "opened_on", "unreadable_value", "1998/5/1 8:00"),
    ]
    assert report.columns["entity_id"] == report.columns["uscc"] == "统一社会信用代码"
    assert report.columns["address"] == "用电地址"
    assert report.ignored == ("备注",)
    assert report.repeated == 1
    assert json.loads(json.dumps(report.as_dict()))["refusals"][0]["zh"] == report.refusals[0].text.zh


def test_words_name_column_reason_and_what_is_expected(tmp_path: Path) -> None:
    path = tmp_path / "order.csv"
    path.write_text(
        "order_id,entity_id,kind,limit_percent,starts_at,ends_at\n"
        "1,a,limit,130,2026-12-01 08:00,\n"
        "2,a,stop,30,2026-12-01 08:00,\n"
        "3,a,limit,30,2026-12-02 08:00,2026-12-01 08:00\n"
        "4,a,停产,30,2026-12-02 08:00,\n"
    )
    above, contradiction, order, unknown = (r.text for r in validate_file(path, "order").refusals)
    assert above.zh == "限产比例(limit_percent):高于上限;应为:不大于 100 %"
    assert above.en == "limit_percent (限产比例): the value is above its range; expected: at most 100 %"
    assert "与其他列矛盾" in contradiction.zh
    assert "closure, stop, seal" in contradiction.en
    assert order.zh.endswith("应为:开始时间不晚于结束时间")
    assert "peak_shift" in unknown.zh


def test_an_intermediate_databases_customer_dump_needs_no_mapping(tmp_path: Path) -> None:
    path = tmp_path / "c_meter.csv"
    path.write_text("mp_no,cons_no,made_no,t_factor,contract_cap,run_cap\nM1,0012,A9,4000,800,630\nM2,0013,A8,0,800,\n")
    report = validate_file(path)
    assert report.table == "metering_point"
    assert report.columns == {
        "metering_point_id": "mp_no",
        "account_no": "cons_no",
        "meter_asset_no": "made_no",
        "multiplier": "t_factor",
        "contract_kva": "contract_cap",
        "running_kva": "run_cap",
    }
    assert [(r.row, r.column, r.code) for r in report.refusals] == [(2, "multiplier", "below_range")]


def test_parquet_with_typed_curves(tmp_path: Path) -> None:
    curves = [[1.0] * 95 + [None], [2e6] + [0.0] * 95, None]
    table = pa.table(
        {
            "metering_point_id": ["a", "b", "c"],
            "day": pa.array([date(2026, 11, 23)] * 3),
            "kw": pa.array(curves, CURVE_TYPE),
            "kwh": pa.array([1, 2, 3], pa.int32()),
        }
    )
    path = tmp_path / "curves.parquet"
    pq.write_table(table, path)
    report = validate_file(path)
    assert report.table == "load_curve"
    assert [(r.row, r.column, r.code) for r in report.refusals] == [(2, "kw", "absurd_value")]


def test_parquet_lists_of_another_length_are_unreadable(tmp_path: Path) -> None:
    days = pa.array([date(2026, 11, 23)] * 3)
    kw = pa.array([[1.0] * 96, [1.0] * 95, None], pa.list_(pa.float64()))
    path = tmp_path / "curves.parquet"
    pq.write_table(pa.table({"计量点编号": ["a", "b", "c"], "日期": days, "kw": kw}), path)
    report = validate_file(path, "load_curve")
    assert [(r.row, r.code) for r in report.refusals] == [(2, "unreadable_value"), (3, "no_content")]


def test_the_list_of_refusals_is_bounded_and_the_counts_are_not(tmp_path: Path) -> None:
    path = tmp_path / "calendar.csv"
    path.write_text("day,kind\n" + "2026-01-01,rest\n" * 50 + "2026-02-30,holiday\n" * 7)
    report = validate_file(path, "calendar", limit=3)
    assert [r.row for r in report.refusals] == [1, 2, 3]
    assert [(c.column, c.code, c.rows) for c in report.counts] == [
        ("kind", "unknown_code", 50),
        ("day", "unreadable_value", 7),
    ]
    assert (report.rows, report.refused) == (57, 57)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.csv", b"", "no header"),
        ("x.csv", b"\n\n", "no header"),
        ("x.csv", b"\xff\xfe\x00\xff", "neither UTF-8 nor GB18030"),
        ("x.csv", b"a,b\n1,2\n", "fits no standard table"),
        ("x.parquet", b"PAR1 this is none", "cannot be read"),
        ("x.csv", b"a" * 200_000, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_checked_says_why(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        validate_file(path)


def test_parquet_columns_of_other_types(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    days = {"day": pa.array([20260101, 20260230]), "kind": pa.array(["holiday", "holiday"]).dictionary_encode()}
    pq.write_table(pa.table(days), path)
    assert [(r.row, r.code, r.value) for r in validate_file(path, "calendar").refusals] == [
        (2, "unreadable_value", "20260230")
    ]
    pq.write_table(pa.table({"day": pa.array([{"a": 1}]), "kind": ["holiday"]}), path)
    with pytest.raises(InputError, match=r"column 'day'.*struct"):
        validate_file(path, "calendar")


def test_a_hostile_curve_text_is_a_refused_row(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    bad = ["[" * 5000, "[1]", "{}", "[" + ",".join(["true"] * 96) + "]", "[" + ",".join(["1e999"] * 96) + "]"]
    path.write_text("metering_point_id,day,kw\n" + "".join(f'm,2026-01-01,"{text}"\n' for text in bad))
    assert [r.code for r in validate_file(path, "load_curve").refusals] == ["unreadable_value"] * len(bad)


def test_a_missing_file_an_unknown_table_and_a_missing_column_say_why(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    with pytest.raises(InputError, match="cannot be read"):
        validate_file(path)
    path.write_text("entity_id\na\n")
    with pytest.raises(InputError, match="no standard table 'entities'"):
        validate_file(path, "entities")
    with pytest.raises(InputError, match=r"no column for name \(企业名称\)"):
        validate_file(path, "entity")


def test_a_header_that_fits_two_tables_asks_for_the_table(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("order_id,report_id,entity_id,kind,level,starts_at,filed_at\n")
    with pytest.raises(InputError, match="fits filed_report and order equally"):
        validate_file(path)
    assert validate_file(path, "order").rows == 0


cells = st.text(st.characters(codec="utf-8", exclude_characters='",\r\n'), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(cells, min_size=1, max_size=9), max_size=20))
def test_no_row_raises_and_none_vanishes(tmp_path: Path, rows: list[list[str]]) -> None:
    fields = [f.name for f in TABLES["metering_point"].fields][:6]
    path = tmp_path / "x.csv"
    path.write_text("\n".join([",".join(fields), *(",".join(row) or "-" for row in rows)]) + "\n", encoding="utf-8")
    report = validate_file(path, "metering_point")
    assert report.rows == len(rows)
    assert report.refused == len(report.refusals) == sum(count.rows for count in report.counts)
    numbers = [r.row for r in report.refusals]
    assert numbers == sorted(set(numbers))
    torn = [i for i, row in enumerate(rows, 1) if len(row) != len(fields)]
    assert [r.row for r in report.refusals if r.code == "wrong_columns"] == torn


def test_a_whole_city_of_rows_is_checked_column_wise(tmp_path: Path) -> None:
    count = 20_000
    numbers = np.arange(count)
    bad = numbers % 1000 == 0
    table = pa.table(
        {
            "account_no": [f"{i:010d}" for i in numbers],
            "entity_id": [f"e{i}" for i in numbers],
            "valid_from": pa.array(np.where(bad, "2026-02-30", "2026-02-28")),
        }
    )
    path = tmp_path / "links.parquet"
    pq.write_table(table, path)
    report = validate_file(path, "account_link")
    assert (report.rows, report.refused) == (count, int(bad.sum()))
    assert report.refusals[1].row == 1001
