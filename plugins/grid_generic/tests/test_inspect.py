"""`grid inspect`: what it proposes for known files, and that its proposal reads them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from dianhuan_grid_generic._look import look
from dianhuan_grid_generic.inspect import app, plot
from dianhuan_sdk.tabular import load_mapping, read_file
from dianhuan_standards import TABLES

WAVE = [round(50 + 40 * np.sin((i - 24) / 96 * 2 * np.pi), 2) for i in range(96)]


def run(*args: object) -> Any:
    return CliRunner().invoke(app, ["inspect", *map(str, args)])


def wide_file(path: Path, encoding: str = "gb18030", factor: float = 1.0, energy: bool = False) -> Path:
    names = ["户号", "计量点编号", "日期", "综合倍率", "数据类型", *(["日电量"] if energy else [])]
    lines = [",".join([*names, *(f"P{i}" for i in range(1, 97))])]
    for meter in range(3):
        for kind in (1, 2):
            total = [f"{sum(WAVE) / 4:.2f}"] if energy else []
            values = [f"{v * factor:.4f}" for v in WAVE]
            lines.append(",".join(["H1", f"MP{meter}", "2026-01-05", "10", str(kind), *total, *values]))
    path.write_bytes(("\n".join(lines) + "\n").encode(encoding))
    return path


def long_file(path: Path, start: str, stamp_of_midnight: str | None = None) -> Path:
    begin = datetime.fromisoformat(start)
    lines = ["meter_id;time;power_kW"]
    for meter in ("A", "B"):
        for i in range(192):
            at = begin + timedelta(minutes=15 * i)
            if stamp_of_midnight and (at.hour, at.minute) == (0, 0):
                at -= timedelta(days=1)
            lines.append(f"{meter};{at:%m/%d/%Y %H:%M};{WAVE[i % 96]}")
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def test_wide(tmp_path: Path) -> None:
    report = look(wide_file(tmp_path / "a.csv"))
    assert (report.kind, report.encoding, report.layout, report.points) == ("csv", "gb18030", "wide", 96)
    assert (report.meters, report.days, report.rows_read, report.rejects) == (3, 1, 3, 0)
    assert report.mapping["curve"]["multiplier"] == {"column": "综合倍率"}
    assert report.mapping["keep"] == {"数据类型": ["1"]}
    assert report.mean_day == pytest.approx([v * 10 for v in WAVE], rel=1e-4)
    assert any("综合倍率" in doubt for doubt in report.doubts)


@pytest.mark.parametrize(("factor", "unit"), [(1.0, "kW"), (1000.0, "W")])
def test_the_unit_is_told_by_the_daily_energy(tmp_path: Path, factor: float, unit: str) -> None:
    report = look(wide_file(tmp_path / "a.csv", factor=factor, energy=True))
    assert report.unit.value == unit
    assert "stated daily energy" in report.unit.reason


@pytest.mark.parametrize(
    ("start", "midnight", "stamp"),
    [
        ("2026-03-01 00:00", None, "interval_start"),
        ("2026-03-01 00:15", None, "interval_end"),
        ("2026-03-01 00:15", "same day", "interval_end_same_day"),
    ],
)
def test_long_and_its_stamps(tmp_path: Path, start: str, midnight: str | None, stamp: str) -> None:
    report = look(long_file(tmp_path / "a.csv", start, midnight))
    assert (report.layout, report.delimiter, report.stamp.value, report.unit.value) == ("long", ";", stamp, "kW")
    assert report.mapping["curve"]["time"] == {"column": "time", "format": "%m/%d/%Y %H:%M"}
    assert (report.meters, report.days, report.rejects) == (2, 2, 0)
    assert report.mean_day == pytest.approx(WAVE, rel=1e-4)


@pytest.mark.parametrize(
    ("data", "layout", "stamp", "zone", "energy"),
    [
        ("steel/steel_15min_2018.csv", "long", "interval_end_same_day", "Asia/Shanghai", 959_636.71),
        ("simbench/load_profiles_15min_2016.parquet", "matrix", "interval_start", "Europe/Berlin", 225_886.8786),
    ],
)
def test_the_measured_sets_need_no_correction(
    tmp_path: Path, measured, data: str, layout: str, stamp: str, zone: str, energy: float
) -> None:
    path = measured(data)
    saved = tmp_path / "m.yaml"
    result = run(path, "--json", "--save", saved)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    found = (report["layout"], report["stamp"]["value"], report["zone"]["value"], report["points"])
    assert found == (layout, stamp, zone, 96)
    total = 0.0
    for batch in read_file(path, load_mapping(saved), TABLES["load_curve"]):
        total += np.nansum(batch.rows.column("kw").values.to_numpy(zero_copy_only=False)) / 4
        assert batch.rejects is None
    assert total == pytest.approx(energy, rel=1e-3)


def test_a_register(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("株洲市企业名录\n企业标识,企业名称,行业代码\nE1,甲厂,C3110\n".encode("gb18030"))
    report = look(path)
    assert (report.table, report.layout, report.header_row) == ("entity", "table", 2)
    assert report.preview == [{"entity_id": "E1", "name": "甲厂", "industry": "C3110", "_row": 1}]


def test_a_shifted_header_is_a_doubt(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("计量点编号,日期," + ",".join(f"P{i}" for i in range(1, 96)) + "\n", "utf-8")
    report = look(path)
    assert report.mapping is None
    assert "95 value columns" in report.doubts[0]
    assert run(path, "--save", tmp_path / "m.yaml").exit_code == 1


def test_parquet_of_one_column_per_meter(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    times = [datetime(2026, 1, 5) + timedelta(minutes=30 * i) for i in range(96)]  # noqa: DTZ001 - civil time
    pq.write_table(pa.table({"time": times, "A": WAVE, "B": WAVE}), path)
    report = look(path)
    assert (report.layout, report.meters, report.points, report.days) == ("matrix", 2, 48, 2)


def test_text_for_people(tmp_path: Path) -> None:
    saved = tmp_path / "m.yaml"
    result = run(wide_file(tmp_path / "a.csv"), "--save", saved)
    assert result.exit_code == 0, result.output
    assert "编码 encoding: gb18030" in result.stdout
    assert "平均日 · mean day" in result.stdout
    assert "█" in result.stdout
    assert load_mapping(saved).curve.layout == "wide"
    assert run(tmp_path / "a.csv", "--save", saved).exit_code == 1


def test_errors_are_said(tmp_path: Path) -> None:
    result = run(tmp_path / "none.csv", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"] == "InputError"
    path = tmp_path / "a.csv"
    path.write_text("hello\nworld\n", "utf-8")
    assert "is the header there" in look(path).doubts[-1]


def test_plot_scales() -> None:
    lines = plot([float(i) for i in range(95)] + [None])
    assert len(lines) == 7
    assert lines[0].startswith("        94 │")
    assert lines[0].rstrip().endswith("█")
    assert lines[5].startswith("         0 │")
    assert plot([0.0] * 96)[0]
