"""Ordinary tables: columns by name, label, alias or mapping; values, dates, units, fallbacks, uniqueness, Excel."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from dianhuan_sdk import SourceRef
from dianhuan_sdk.tabular import read_rows
from dianhuan_standards import TABLES


def test_columns_by_name_label_and_alias(read) -> None:
    text = "企业ID,Name,区划,行业分类,成立日期\nE1,甲厂,430202,C3110,2020年1月2日\nE2,乙厂,430203,,\n"
    out = read(text, table="entity", encoding="gb18030")
    assert out.error is None
    assert out.rows[0] == {
        "entity_id": "E1",
        "name": "甲厂",
        "division": "430202",
        "industry": "C3110",
        "opened_on": date(2020, 1, 2),
        "_row": 1,
    }
    assert out.rows[1]["industry"] is None


def test_instants_are_local_and_become_utc(read) -> None:
    text = "停电编号,线路编号,类型,停电时间,复电时间\nO1,F1,计划,2026-01-05 08:00,2026/01/05 17:30\n"
    mapping = {"columns": {"kind": {"column": "类型", "values": {"计划": "planned", "故障": "fault"}}}}
    out = read(text, mapping, table="outage")
    (row,) = out.rows
    assert row["starts_at"] == datetime(2026, 1, 5, 0, 0, tzinfo=UTC)
    assert row["ends_at"] == datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
    assert row["kind"] == "planned"


def test_values_units_scale_prefix_and_fallback(read) -> None:
    mapping = {
        "columns": {
            "metering_point_id": {"column": "mp", "otherwise": {"column": "acc", "prefix": "X-"}},
            "account_no": "acc",
            "voltage_kv": {"column": "volt", "strip": ["交流"], "units": {"kV": 1, "V": 0.001}},
            "contract_kva": {"column": "mva", "scale": 1000},
            "tariff_class": {"column": "t", "values": {"大工业用电": "industrial", "*": "other"}},
            "net_metering": {"column": "pv", "values": {"无": False, "余额上网": True}},
            "points_per_day": {"constant": 96},
        }
    }
    text = (
        "mp,acc,volt,mva,t,pv\n"
        "MP1,1,交流10kV,0.63,大工业用电,无\n"
        ",2,380V,,趸售,余额上网\n"
        "MP3,3,110马力,1,商业,无\n"
        "MP4,4,10,1,商业,也许\n"
    )
    out = read(text, mapping, table="metering_point", encoding="gb18030")
    assert [(r["metering_point_id"], r["voltage_kv"], r["contract_kva"], r["tariff_class"]) for r in out.rows] == [
        ("MP1", 10.0, 630.0, "industrial"),
        ("X-2", pytest.approx(0.38), None, "other"),
    ]
    assert [r["net_metering"] for r in out.rows] == [False, True]
    assert out.codes == [(3, "unreadable_value"), (4, "unreadable_value")]
    assert "110马力" in out.rejects[0]["raw"]


def test_unique_rows_merge_and_clashes_are_refused(read) -> None:
    text = "entity_id,name,division\nE1,甲,430202\nE1,甲,430202\nE2,乙,430202\nE2,乙,430203\nE3,丙,430204\n"
    out = read(text, {"unique": ["entity_id"]}, table="entity")
    assert [(r["entity_id"], r["_row"]) for r in out.rows] == [("E1", 1), ("E3", 5)]
    assert out.codes == [(3, "clash"), (4, "clash")]
    assert '"division": "430203"' in out.rejects[1]["raw"]


def test_keep_leaves_rows_out(read) -> None:
    out = read("entity_id,name,kind\nE1,甲,企业\nE2,乙,居民\n", {"keep": {"kind": ["企业"]}}, table="entity")
    assert [r["entity_id"] for r in out.rows] == ["E1"]
    assert out.rejects == []


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"columns": {"nonsense": "name"}}, "which entity does not have"),
        ({"columns": {"name": "公司"}}, "no column '公司'"),
        ({"keep": {"kind": ["1"]}}, "no column 'kind'"),
        ({"header_row": 9}, "no header in line 9"),
    ],
)
def test_mappings_that_do_not_fit_the_file(read, mapping: dict[str, Any], words: str) -> None:
    out = read("entity_id,name\nE1,甲\n", mapping, table="entity")
    assert words in str(out.error)


def test_lines_above_the_header(read) -> None:
    out = read("国网湖南 导出\n2026年\nentity_id,name\nE1,甲\n", {"header_row": 3}, table="entity", encoding="gb18030")
    assert out.rows == [{"entity_id": "E1", "name": "甲", "_row": 1}]


def test_a_quote_that_never_closes_swallows_no_row_in_silence(read) -> None:
    out = read('entity_id,name\nE0,零\nE1,"甲\nE2,乙"\nE3,丙\n', table="entity")
    assert [(r["entity_id"], r["_row"]) for r in out.rows] == [("E0", 1), ("E3", 4)]
    assert out.codes == [(2, "open_quote")]
    assert "E2,乙" in out.rejects[0]["raw"]


def test_rows_of_a_page() -> None:
    rows = [{"id": "M1", "day": "2026-01-05", "p": [1.5] * 95 + [None]}]
    from dianhuan_sdk.tabular import parse_mapping

    mapping = parse_mapping(
        {
            "columns": {"metering_point_id": "id"},
            "curve": {"layout": "wide", "values": "p{1..96}", "multiplier_applied": True},
        },
        "test",
    )
    (batch,) = read_rows(rows, mapping, TABLES["load_curve"], SourceRef("http://x"))
    assert batch.rows.to_pylist()[0]["kw"] == [1.5] * 95 + [None]


def test_excel(tmp_path: Path, read) -> None:
    openpyxl = pytest.importorskip("openpyxl", reason="writes the Excel file of this test")
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["企业标识", "企业名称", "成立日期", "经度"])
    sheet.append(["E1", "甲厂", date(2020, 1, 2), 113.25])
    sheet.append([12345, "乙厂", None, None])
    path = tmp_path / "a.xlsx"
    book.save(path)
    book.close()
    out = read(path, table="entity")
    assert out.error is None
    assert out.rows[0] == {"entity_id": "E1", "name": "甲厂", "opened_on": date(2020, 1, 2), "lon": 113.25, "_row": 1}
    assert out.rows[1]["entity_id"] == "12345"
    assert "no sheet" in str(read(path, {"sheet": "二"}, table="entity").error)
    path.write_bytes(path.read_bytes()[:200])
    assert "not a whole Excel file" in str(read(path, table="entity").error)
