"""The night as a service: its time of day, the days it screens, and that one broken source does not stop it."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from dianhuan_hub.app import open_hub
from dianhuan_hub.kernel.clock import FixedClock
from dianhuan_hub.kernel.config import load_config, write_template
from dianhuan_hub.night import run_night, seconds_until

FIRST = date(2026, 3, 2)


@pytest.mark.parametrize(
    ("now", "seconds"),
    [
        (datetime(2026, 3, 1, 21, 0, tzinfo=UTC), 3600),  # 05:00 in Asia/Shanghai
        (datetime(2026, 3, 1, 22, 0, tzinfo=UTC), 86_400),  # 06:00 sharp: tomorrow's
        (datetime(2026, 3, 1, 22, 30, tzinfo=UTC), 84_600),
    ],
)
def test_seconds_until_a_local_time(now: datetime, seconds: float) -> None:
    assert seconds_until(now, time(6, 0)) == seconds


def curves(folder: Path, day: date, points: int) -> None:
    header = ["metering_point_id", "day", *(f"T{h:02d}{m:02d}" for h in range(24) for m in (0, 15, 30, 45))]
    lines = [",".join([f"M{i}", day.isoformat(), *["1"] * 96]) for i in range(points)]
    file = folder / f"load_{day:%Y%m%d}.csv"
    file.write_text("\n".join([",".join(header), *lines]) + "\n", "utf-8")
    delivered = datetime(2026, 3, 9, 20, points, tzinfo=UTC).timestamp()  # before the night, as its clock tells time
    os.utime(file, (delivered, delivered))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, columns, rows in (
        ("metering_point", "metering_point_id,account_no", [f"M{i},A{i}" for i in range(4)]),
        ("account_link", "account_no,entity_id,valid_from", [f"A{i},E{i},2026-01-01" for i in range(4)]),
    ):
        (tmp_path / f"{name}.csv").write_text("\n".join([columns, *rows]) + "\n", "utf-8")
    (tmp_path / "grid").mkdir()
    (tmp_path / "mapping.yaml").write_text(
        "table: load_curve\ncurve: {layout: wide, unit: kW, multiplier_applied: true, stamp: interval_start}\n", "utf-8"
    )
    write_template(tmp_path / "hub.toml", "株洲市", "430200")
    return tmp_path


def night(folder: Path, today: date, extra: str = "") -> Any:
    sources = f"""
[sources.broken]
adapter = "grid_generic"
[sources.broken.config.streams.permit]
file = "{folder}/none.csv"
[sources.registers]
adapter = "grid_generic"
[sources.registers.config.streams.metering_point]
file = "{folder}/metering_point.csv"
[sources.registers.config.streams.account_link]
file = "{folder}/account_link.csv"
[sources.curves]
adapter = "grid_generic"
[sources.curves.config.streams.load_curve]
mapping = "{folder}/mapping.yaml"
folder = {{path = "{folder}/grid", settle_seconds = 0}}
"""
    toml = (folder / "hub.toml").read_text("utf-8").split("[sources.broken]")[0].rstrip() + "\n" + sources
    (folder / "hub.toml").write_text(toml, "utf-8")
    with open_hub(load_config(folder, {"DIANHUAN_STORE__BACKUP_TO": "backups"}), clock=FixedClock.on(today)) as hub:
        return asyncio.run(run_night(hub))


def test_night_screens_every_day_that_waits_and_goes_on_past_a_broken_source(folder: Path) -> None:
    for i in range(3):
        curves(folder / "grid", FIRST + timedelta(days=i), 4)
    curves(folder / "grid", FIRST + timedelta(days=3), 1)  # a delivery that has only begun is no day of the city
    report = night(folder, date(2026, 3, 10))
    assert [run.day for run in report.screenings] == [FIRST + timedelta(days=i) for i in range(3)]
    assert any("broken" in step for step in report.errors)
    assert sum(s.accepted for s in report.loads) == 4 + 4 + 13
    assert (Path(report.backup) / "hub.duckdb").is_file()

    curves(folder / "grid", FIRST + timedelta(days=3), 4)
    again = night(folder, date(2026, 3, 11))
    assert [run.day for run in again.screenings] == [FIRST + timedelta(days=3)]
    assert night(folder, date(2026, 3, 12)).screenings == []
