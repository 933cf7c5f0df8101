"""The Hunan files: readable by the csv module, complete, and equal to the city's days once corrections are in."""

from __future__ import annotations

import csv
import re
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.csv

from dianhuan_standards import TABLES

CURVE = ["户号", "计量点编号", "电表资产号", "日期", "综合倍率", "数据类型", *(f"P{i}" for i in range(1, 97))]
ARCHIVE = [
    *(
        "户号",
        "户名",
        "统一社会信用代码",
        "用电地址",
        "区县代码",
        "行业分类",
        "用电类别",
        "合同容量",
        "运行容量",
        "电压等级",
    ),
    *("计量点编号", "电表资产号", "综合倍率", "所属线路", "所属台区", "上网方式", "立户日期", "销户日期", "状态"),
    *("关联生效日期", "关联失效日期"),
]
OUTAGE = ["停电编号", "线路编号", "台区编号", "停电类型", "停电时间", "复电时间", "停电原因"]


def _rows(path, header):
    with path.open(encoding="gb18030", newline="") as file:
        reader = csv.reader(file)
        assert next(reader) == header
        rows = list(reader)
    assert all(len(row) == len(header) for row in rows)
    return rows


def _kw(row):
    return np.array([float(x) if x else np.nan for x in row[6:]]) * float(row[4])


def test_curve_and_correction_files_add_up_to_the_city(hunan):
    city, out = hunan
    held = {}
    corrected = 0
    for day in city.days:
        for row in _rows(out / "grid" / f"curve_{day:%Y%m%d}.csv", CURVE):
            assert row[3] == day.isoformat()
            assert row[5] == "1"
            held[row[3], row[1]] = row
        path = out / "grid" / f"correct_{day:%Y%m%d}.csv"
        for row in _rows(path, CURVE) if path.exists() else []:
            assert 1 <= (day - day.fromisoformat(row[3])).days <= 4
            corrected += held.get((row[3], row[1])) != row
            held[row[3], row[1]] = row
    assert corrected > 10
    settled = city.days[-1] - timedelta(days=4)
    for day in city.days:
        if day > settled:
            break
        kw = city.day(day)
        index = {str(p): i for i, p in enumerate(city.point_ids.tolist())}
        present = set(np.flatnonzero(~np.isnan(kw).all(axis=1)).tolist())
        rows = {index[point]: row for (d, point), row in held.items() if d == day.isoformat()}
        assert set(rows) == present
        for i, row in rows.items():
            assert np.allclose(_kw(row), kw[i], rtol=1e-5, atol=1e-4, equal_nan=True)


def test_readings_have_at_most_four_decimals_and_gaps_are_empty(hunan):
    city, out = hunan
    number = re.compile(r"-?\d{1,2}(\.\d{1,4})?")
    gaps = 0
    for row in _rows(out / "grid" / f"curve_{city.days[1]:%Y%m%d}.csv", CURVE):
        for text in row[6:]:
            gaps += not text
            assert not text or number.fullmatch(text)
    assert gaps > 100


def test_archive_names_every_account_but_the_unlisted(hunan):
    city, out = hunan
    points, seen = set(), {}
    for day in city.days:
        path = out / "grid" / f"archive_{day:%Y%m%d}.csv"
        for row in _rows(path, ARCHIVE) if path.exists() else []:
            row = dict(zip(ARCHIVE, row, strict=True))
            points.add(row["计量点编号"])
            seen[row["计量点编号"], row["统一社会信用代码"]] = row
            assert row["上网方式"] in {"无", "余额上网", "全额上网"}
            assert row["状态"] in {"在用", "销户"}
            assert row["状态"] == "在用" or row["销户日期"] <= day.isoformat()
            assert row["立户日期"] <= day.isoformat()
            assert row["关联生效日期"] <= day.isoformat()
            assert row["关联失效日期"] <= day.isoformat()
    in_curves = {row[1] for row in _rows(out / "grid" / f"curve_{city.days[-1]:%Y%m%d}.csv", CURVE)}
    unlisted = in_curves - points
    assert len(unlisted) < 0.003 * len(in_curves)
    listed = {str(p) for b in city.blocks for p in b.points.point[b.points.unlisted].tolist()}
    late = {str(p) for b in city.blocks for p in b.points.point[b.points.listed > 7].tolist()}
    assert unlisted <= listed | late
    uses = {row["用电类别"] for row in seen.values()}
    assert {"大工业用电", "非普工业", "一般工商业", "商业", "农业生产", "居民生活", "电动汽车充电"} == uses


def test_negative_power_only_where_the_archive_declares_feed_in(hunan):
    city, out = hunan
    archive = [row for path in (out / "grid").glob("archive_*.csv") for row in _rows(path, ARCHIVE)]
    unlisted = {str(p) for b in city.blocks for p in b.points.point[b.points.unlisted].tolist()}
    declared = {row[10] for row in archive if row[15] != "无"}
    negative = {
        row[1]
        for row in _rows(out / "grid" / f"curve_{city.days[2]:%Y%m%d}.csv", CURVE)
        if any(text.startswith("-") for text in row[6:])
    }
    assert negative
    assert negative <= declared | unlisted


def test_outages_darken_their_feeder(make_city, tmp_path):
    from dianhuan_simulator import write_hunan

    knobs = tmp_path / "knobs.yaml"
    knobs.write_text("outages: {planned: 0.5, fault: 0.0}\n", "utf-8")
    city = make_city(entities=800, days=1, knobs=knobs)
    write_hunan(city, tmp_path)
    rows = _rows(tmp_path / "grid" / "outage_20260302.csv", OUTAGE)
    assert rows
    kw, block = city.day(city.days[0]), city.blocks[0]
    feeders = block.points.feeder[city.rows_inside(block, np.arange(len(block.points.owner)))]
    for row in rows:
        begin, end = (int(t[11:13]) * 60 + int(t[14:16]) for t in row[4:6])
        dark = kw[feeders == int(row[1][4:]), -(-begin // 15) : end // 15]
        assert dark.size
        assert np.nanmax(np.abs(dark), initial=0.0) == 0.0


def test_registers_keep_the_contracts(hunan):
    city, out = hunan
    for name, table in city.registers().items():
        contract = TABLES[name]
        assert table.schema.equals(contract.schema)
        for batch in table.combine_chunks().to_batches():
            assert contract.check(batch) == []
        keys = list(zip(*(table[k].to_pylist() for k in contract.key), strict=True))
        assert len(keys) == len(set(keys)), name
    for path in (out / "registers").glob("*.csv"):
        contract = TABLES[path.stem]
        typed = pyarrow.csv.ConvertOptions(
            column_types={f.name: f.type for f in contract.fields if not pa.types.is_timestamp(f.type)},
            strings_can_be_null=True,
        )
        table = pyarrow.csv.read_csv(path, convert_options=typed)
        assert table.column_names == [f.name for f in contract.fields]
        assert table.num_rows > 0
