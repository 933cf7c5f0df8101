"""The four streams by file and folder: what becomes of each column, and of every bad line."""

from __future__ import annotations

from datetime import UTC, date, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import dianhuan_grid_hunan
from dianhuan_grid_hunan._adapter import SPEC
from dianhuan_grid_hunan._config import HunanConfig
from dianhuan_grid_hunan._profile import load_profile
from dianhuan_sdk import API_VERSION, Batch, Checkpoint, ConfigError, InputError, Window
from dianhuan_sdk.manifest import ENTRY_POINT_GROUP, read_manifests
from dianhuan_standards import TABLES

USCC = "91430000183764483Y"
BIG = f"1001,甲厂,{USCC},路1,430202,C3110,大工业用电,630,500,交流10kV"
GOOD = [
    f"{BIG},MP1,A1,100,F1,T1,无,2020-01-01,,在用,2021-03-01,",
    f"{BIG.replace('10kV', '380V')},MP2,A2,10,F1,T1,余额上网,2020-01-01,,在用,2021-03-01,",
    "1002,乙店,,路2,430203,F5211,商业,50,50,交流220V,MP3,A3,1,F1,T1,全额上网,2021-05-01,2025-12-31,销户,,2025-12-31",
    "1003,丙村,,路3,430223,A0111,趸售,50,50,交流35kV,MP4,A4,1,F1,T1,无,2021-05-01,,在用,,",
]


def rows(items: list[Any], table: str) -> list[dict[str, Any]]:
    return [r for i in items if isinstance(i, Batch) and i.table == table for r in i.rows.to_pylist()]


def rejects(items: list[Any]) -> list[dict[str, Any]]:
    return [r for i in items if isinstance(i, Batch) and i.rejects is not None for r in i.rejects.to_pylist()]


def folder_adapter(context: Any, path: Path, **more: Any) -> Any:
    delivery = {"kind": "folder", "path": path, "settle_seconds": 0} | more
    return SPEC.factory(context(HunanConfig.model_validate({"delivery": delivery})))


def file_items(context: Any, drain: Any, stream: str, path: Path, profile: Path | None = None) -> list[Any]:
    assert SPEC.file_config is not None
    items: list[Any] = drain(SPEC.factory(context(SPEC.file_config(stream, path, profile))), stream)
    return items


def test_manifest_and_entry_point() -> None:
    (entry,) = [e for e in entry_points(group=ENTRY_POINT_GROUP) if e.name == "grid_hunan"]
    assert entry.load() is dianhuan_grid_hunan
    manifest = read_manifests(Path(dianhuan_grid_hunan.__file__).with_name("plugin.toml"))["grid_hunan"]
    assert manifest.allows(API_VERSION)
    tables = {m.table for s in load_profile().streams.values() for m in s.tables}
    assert tables == set(manifest.capabilities.writes) <= set(TABLES)
    assert [spec.id for spec in dianhuan_grid_hunan.dianhuan_grid_adapters()] == ["grid_hunan"]


async def test_streams(context, tmp_path: Path) -> None:
    streams = await folder_adapter(context, tmp_path).discover()
    assert [s.id for s in streams] == ["archive", "curve", "correction", "outage"]
    assert streams[0].tables == ("entity", "metering_point", "account_link")


def test_archive(context, drain, put) -> None:
    items = file_items(context, drain, "archive", put("archive_20260105.csv", *GOOD))
    assert rejects(items) == []
    plant = {"entity_id": USCC, "uscc": USCC, "name": "甲厂", "division": "430202", "industry": "C3110"}
    assert rows(items, "entity") == [
        {**plant, "_row": 1},
        {**plant, "_row": 2},
        {"entity_id": "HN-1002", "uscc": None, "name": "乙店", "division": "430203", "industry": "F5211", "_row": 3},
        {"entity_id": "HN-1003", "uscc": None, "name": "丙村", "division": "430223", "industry": "A0111", "_row": 4},
    ]
    points = {r["metering_point_id"]: r for r in rows(items, "metering_point")}
    assert [points[p]["voltage_kv"] for p in ("MP1", "MP2", "MP3", "MP4")] == pytest.approx([10, 0.38, 0.22, 35])
    assert [points[p]["tariff_class"] for p in ("MP1", "MP3", "MP4")] == ["industrial", "commercial", "other"]
    assert [points[p]["net_metering"] for p in ("MP1", "MP2", "MP3")] == [False, True, True]
    assert points["MP1"]["contract_kva"] == 630.0
    assert points["MP1"]["multiplier"] == 100.0
    assert points["MP3"]["closed_on"] == date(2025, 12, 31)
    links = {r["account_no"]: r for r in rows(items, "account_link")}
    assert len(links) == 3
    assert (links["1001"]["entity_id"], links["1001"]["valid_from"]) == (USCC, date(2021, 3, 1))
    assert links["1002"]["valid_from"] == date(2021, 5, 1)
    assert links["1002"]["valid_to"] == date(2025, 12, 31)
    for table in ("entity", "metering_point", "account_link"):
        contract = TABLES[table]
        batch = pa.RecordBatch.from_pylist(
            [{f.name: r.get(f.name) for f in contract.fields} for r in rows(items, table)], schema=contract.schema
        )
        assert contract.check(batch) == []


def test_one_bad_row_of_an_account_leaves_the_others(context, drain, put) -> None:
    lines = [*GOOD, GOOD[0].replace("MP1,A1,100", "MP5,A5,百倍"), GOOD[2].replace("2021-05-01", "旧")]
    items = file_items(context, drain, "archive", put("archive_20260105.csv", *lines))
    assert {r["metering_point_id"] for r in rows(items, "metering_point")} == {"MP1", "MP2", "MP3", "MP4"}
    assert {r["account_no"] for r in rows(items, "account_link")} == {"1001", "1002", "1003"}
    assert [(r["row"], r["code"]) for r in rejects(items)] == [
        (5, "unreadable_value"),
        (6, "unreadable_value"),
        (6, "unreadable_value"),
    ]


def test_name_variants_of_an_enterprise_are_left_to_the_register(context, drain, put) -> None:
    lines = [*GOOD, GOOD[1].replace("甲厂", "甲厂(老厂)").replace("MP2", "MP6")]
    items = file_items(context, drain, "archive", put("archive_20260105.csv", *lines))
    entities = [i for i in items if isinstance(i, Batch) and i.table == "entity"]
    assert all(b.only_new for b in entities)
    assert [r["name"] for r in rows(items, "entity") if r["entity_id"] not in ("HN-1002", "HN-1003")] == [
        "甲厂",
        "甲厂",
        "甲厂(老厂)",
    ]
    assert rejects(items) == []
    assert len(rows(items, "metering_point")) == 5


def test_curves_are_multiplied_and_other_data_types_counted(context, drain, put, curve_line) -> None:
    values = [i / 100 for i in range(96)]
    path = put(
        "curve_20260105.csv",
        curve_line("MP1", value=values),
        curve_line("MP1", kind=2),
        curve_line("MP1", kind=5),
        curve_line("MP2", value=["", "-9999", *[0] * 94], multiplier=1),
    )
    items = file_items(context, drain, "curve", path)
    first, second = rows(items, "load_curve")
    assert first["kw"] == pytest.approx(values_times(values, 100), rel=1e-6)
    assert (str(first["day"]), first["points"], first["_row"]) == ("2026-01-05", 96, 1)
    assert second["kw"] == [None, None, *[0.0] * 94]
    assert rejects(items) == []
    assert items[-1].stats["ignored"] == 2


def values_times(values: list[float], factor: float) -> list[float]:
    return [v * factor for v in values]


def test_bad_curve_lines(context, drain, put, curve_line) -> None:
    path = put(
        "curve_20260105.csv",
        curve_line("MP1"),
        curve_line("MP2", value=["坏", *[0.5] * 95]),
        curve_line("MP3", value=[0.5] * 95),
        curve_line("MP4", value=[0.5] * 97),
        curve_line("MP5", multiplier=""),
        curve_line("MP6", multiplier=-1),
        curve_line("MP7", day="20260199"),
        curve_line("MP8", day="20260105"),
    )
    items = file_items(context, drain, "curve", path)
    assert [r["metering_point_id"] for r in rows(items, "load_curve")] == ["MP1", "MP8"]
    assert [(r["row"], r["code"]) for r in rejects(items)] == [
        (2, "bad_number"),
        (3, "wrong_columns"),
        (4, "wrong_columns"),
        (5, "no_multiplier"),
        (6, "no_multiplier"),
        (7, "unreadable_value"),
    ]


@pytest.mark.parametrize("points", [95, 97])
def test_a_header_with_a_point_too_few_or_too_many(context, drain, tmp_path: Path, headers, points: int) -> None:
    names = headers["curve"].split(",")[:6] + [f"P{i}" for i in range(1, points + 1)]
    path = tmp_path / "curve_20260105.csv"
    path.write_bytes((",".join(names) + "\n").encode("gb18030"))
    if points == 95:
        with pytest.raises(InputError, match="no column 'P96'"):
            file_items(context, drain, "curve", path)
    else:
        with pytest.raises(InputError, match="97 value columns"):
            file_items(context, drain, "curve", path)


def test_wrong_encoding(context, drain, put, curve_line) -> None:
    path = put("curve_20260105.csv", curve_line("MP1"), encoding="utf-8")
    with pytest.raises(InputError, match="encoding"):
        file_items(context, drain, "curve", path)


def test_corrections(context, drain, put, curve_line) -> None:
    path = put("correct_20260108.csv", curve_line("MP1", day="2026-01-05"), curve_line("MP1", day="2026-01-06"))
    adapter = folder_adapter(context, path.parent)
    items = drain(adapter, "correction")
    assert [str(r["day"]) for r in rows(items, "load_curve")] == ["2026-01-05", "2026-01-06"]
    window = Window(date(2026, 1, 6), date(2026, 1, 7))
    assert [str(r["day"]) for r in rows(drain(adapter, "correction", window=window), "load_curve")] == ["2026-01-06"]


def test_outages(context, drain, put) -> None:
    path = put(
        "outage_20260105.csv",
        "O1,F1,,计划停电,2026-01-05 08:00,2026-01-05 17:00,检修",
        "O2,F1,T1,故障,2026-01-05 20:15,,雷击",
        "O3,F1,T1,故障,明天,,",
    )
    items = file_items(context, drain, "outage", path)
    first, second = rows(items, "outage")
    assert first["starts_at"] == datetime(2026, 1, 5, tzinfo=UTC)
    assert (first["kind"], first["transformer_id"]) == ("planned", None)
    assert (second["kind"], second["ends_at"]) == ("fault", None)
    assert [(r["row"], r["code"]) for r in rejects(items)] == [(3, "unreadable_value")]


def test_folder_with_control_files_and_cursor(context, drain, put, curve_line) -> None:
    first = put("curve_20260105.csv", curve_line("MP1"))
    second = put("curve_20260106.csv", curve_line("MP1", day="2026-01-06"))
    put("archive_20260105.csv", *GOOD)
    adapter = folder_adapter(context, first.parent, control_file=".ok")
    assert drain(adapter, "curve") == []
    first.with_suffix(".ok").touch()
    items = drain(adapter, "curve")
    assert [str(r["day"]) for r in rows(items, "load_curve")] == ["2026-01-05"]
    (first.parent / (second.name + ".ok")).touch()
    (checkpoint,) = [i for i in items if isinstance(i, Checkpoint)]
    again = drain(adapter, "curve", cursor=checkpoint.cursor)
    assert [str(r["day"]) for r in rows(again, "load_curve")] == ["2026-01-06"]


def test_a_window_opens_only_the_files_of_its_days(context, drain, put, curve_line) -> None:
    path = put("curve_20260105.csv", curve_line("MP1"))
    put("curve_20260106.csv", curve_line("MP1", day="2026-01-06"))
    broken = put("curve_20260107.csv")
    broken.write_text("nothing like it", "utf-8")
    adapter = folder_adapter(context, path.parent)
    items = drain(adapter, "curve", window=Window(date(2026, 1, 6), date(2026, 1, 7)))
    assert [str(r["day"]) for r in rows(items, "load_curve")] == ["2026-01-06"]
    assert rejects(items) == []


def test_a_profile_of_the_city_changes_assumptions_without_code(context, drain, tmp_path: Path, put) -> None:
    profile = tmp_path / "city.yaml"
    profile.write_text(
        "streams:\n  outage:\n    tables:\n      - table: outage\n        encoding: utf-8\n        columns:\n"
        "          outage_id: 编号\n          starts_at: { column: 开始, zone: UTC }\n",
        "utf-8",
    )
    path = tmp_path / "outage.csv"
    path.write_text("编号,开始\nO1,2026-01-05 08:00\n", "utf-8")
    items = file_items(context, drain, "outage", path, profile)
    assert rows(items, "outage")[0]["starts_at"] == datetime(2026, 1, 5, 8, tzinfo=UTC)
    assert load_profile(profile).streams["curve"] == load_profile().streams["curve"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("streams: {curve: {tables: []}}", "streams.curve.tables"),
        ("streams: {curve: {nonsense: 1}}", "nonsense"),
        ("rest: {signature: {algorithm: md5}}", "rest.signature.algorithm"),
        ("- 1", "no keys"),
        ("a: [", "not YAML"),
    ],
)
def test_a_wrong_profile_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "city.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=words) as caught:
        load_profile(path)
    assert str(path) in caught.value.message
    with pytest.raises(ConfigError, match="no profile file"):
        load_profile(tmp_path / "none.yaml")


async def test_check(context, tmp_path: Path) -> None:
    assert (await folder_adapter(context, tmp_path).check()).ok
    report = await folder_adapter(context, tmp_path / "none").check()
    assert not report.ok
    assert report.hint
    missing = SPEC.factory(context(SPEC.file_config("curve", tmp_path / "x.csv", None)))  # type: ignore[misc]
    assert not (await missing.check()).ok


def test_unknown_stream(context, drain, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no stream"):
        drain(folder_adapter(context, tmp_path), "nonsense")
