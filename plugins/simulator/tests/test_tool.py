"""The command, the knobs, the calendar, the manifest, memory."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from importlib.metadata import entry_points
from importlib.resources import files

import pytest
from typer.testing import CliRunner

import dianhuan_simulator
from dianhuan_sdk import ConfigError
from dianhuan_sdk.manifest import read_manifests
from dianhuan_simulator import load_knobs
from dianhuan_simulator._calendar import city_day
from dianhuan_simulator.cli import app


@pytest.mark.parametrize("form", ["hunan", "generic"])
def test_command_writes_a_city(tmp_path, form):
    args = ["city", str(tmp_path / "out"), "--entities", "200", "--days", "2", "--start", "2026-03-02", "--seed", "3"]
    result = CliRunner().invoke(app, [*args, "--format", form, "--base-rate", ".02", "--json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    written = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert answer["files"] == len(written)
    assert answer["bytes"] == sum(p.stat().st_size for p in written)
    assert answer["entities"] == 200
    assert (tmp_path / "out" / "truth.csv").exists()
    assert not list((tmp_path / "out").rglob("*.part"))


def test_command_says_what_is_wrong_with_knobs(tmp_path):
    knobs = tmp_path / "knobs.yaml"
    knobs.write_text("population: {pv_share: 3}\n", "utf-8")
    result = CliRunner().invoke(app, ["city", str(tmp_path / "out"), "--knobs", str(knobs), "--json"])
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert answer["error"] == "ConfigError"
    assert "population.pv_share" in answer["message"]


def test_knobs_merge_and_refuse(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("profiles: {bakery: {kw: 99}}\nviolations: {base_rate: 0.01}\n", "utf-8")
    knobs = load_knobs(own)
    assert knobs.profiles["bakery"].kw == 99
    assert knobs.profiles["bakery"].shape == "bakery"
    assert knobs.violations.base_rate == 0.01
    assert load_knobs(own, base_rate=0.0).violations.base_rate == 0
    for text, words in (
        ("profiles: {bakery: {shape: round}}", "round"),
        ("nonsense: 1", "nonsense"),
        ("- 1", "mapping"),
        ("a: [", "knobs"),
    ):
        own.write_text(text, "utf-8")
        with pytest.raises(ConfigError, match=words):
            load_knobs(own)
    with pytest.raises(ConfigError):
        load_knobs(tmp_path / "none.yaml")


def test_another_province_is_another_knobs_file(tmp_path, make_city):
    own = tmp_path / "own.yaml"
    gone = ", ".join(f"'{code}': null" for code in load_knobs().divisions)
    own.write_text(
        f"place: {{province: 江西省, city: 萍乡市}}\n"
        f"divisions: {{{gone}, '360302': {{name: 安源区, share: 1, lon: 113.87, lat: 27.62}}}}\n"
        "tariff: [{since: 2000-01-01, valley: [[22, 24], [0, 6]]}]\n",
        "utf-8",
    )
    entity = make_city(entities=50, days=1, knobs=own).registers()["entity"]
    assert set(entity["division"].to_pylist()) == {"360302"}
    assert all(code[2:6] == "3603" for code in entity["uscc"].to_pylist())
    assert all(address.startswith("江西省萍乡市安源区") for address in entity["address"].to_pylist())


def test_calendar_knows_makeup_days_and_the_statutory_ones_of_later_years():
    festivals = load_knobs().spring_festivals
    assert city_day(date(2026, 10, 1), festivals).kind == "holiday"
    assert city_day(date(2026, 2, 14), festivals).kind == "workday"  # 调休
    assert city_day(date(2026, 2, 17), festivals).spring_offset == 0
    assert city_day(date(2026, 3, 7), festivals).kind == "saturday"
    assert city_day(date(2028, 1, 27), festivals).kind == "holiday"
    assert city_day(date(2028, 3, 5), festivals).kind == "sunday"


def test_every_public_name_loads():
    assert set(dianhuan_simulator.__all__) == set(dianhuan_simulator._HOMES)
    assert all(getattr(dianhuan_simulator, name) is not None for name in dianhuan_simulator.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Town'"):
        dianhuan_simulator.Town  # noqa: B018


def test_manifest_and_entry_point():
    manifests = read_manifests(files("dianhuan_simulator").joinpath("plugin.toml"))
    assert manifests["simulator"].kind == "tool"
    assert manifests["simulator"].commands[0].name == "sim"
    (point,) = entry_points(group="dianhuan.plugins", name="simulator")
    assert point.value == "dianhuan_simulator"


MEMORY = r"""
import re, sys
from datetime import date
from pathlib import Path
from dianhuan_simulator import City, CityConfig, write_hunan
city = City(CityConfig(entities=20_000, days=30, start=date(2026, 3, 2)), 5)
grid = Path(sys.argv[1]) / "grid"
write_hunan(
    city,
    Path(sys.argv[1]),
    days=city.days[: int(sys.argv[2])],
    progress=lambda d: (grid / f"curve_{d:%Y%m%d}.csv").write_bytes(b""),
)
print(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
"""


def test_memory_does_not_grow_with_days(tmp_path):
    peak = {}
    for days in (4, 30):
        run = [sys.executable, "-c", MEMORY, str(tmp_path), str(days)]
        peak[days] = int(subprocess.run(run, check=True, capture_output=True, text=True).stdout) / 1024
    assert peak[30] < 350
    assert peak[30] < 1.1 * peak[4] + 20
