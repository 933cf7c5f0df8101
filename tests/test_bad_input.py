"""Bad files through the real adapter into a real store: quarantine or a clear error, and good rows go in."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from dianhuan_hub.app import Hub, open_hub
from dianhuan_hub.intake import Summary
from dianhuan_hub.kernel.clock import FixedClock
from dianhuan_hub.kernel.config import load_config, write_template
from dianhuan_hub.store import Query, read_count, read_groups

DAY = date(2026, 3, 5)
HEADER = ["metering_point_id", "day", *(f"P{i}" for i in range(1, 97))]
MAPPING = """
table: load_curve
curve: {layout: wide, unit: kW, multiplier_applied: true, values: "P{1..96}", stamp: interval_start}
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    write_template(tmp_path / "hub.toml", "株洲市", "430200")
    with open_hub(load_config(tmp_path), clock=FixedClock.on(date(2026, 3, 10))) as made:
        points = tmp_path / "points.csv"
        points.write_text(
            "metering_point_id,account_no,net_metering\n" + "".join(f"M{i},A{i},{i == 3}\n" for i in range(1, 6)),
            "utf-8",
        )
        assert read(made, "metering_point", points).accepted == 5
        yield made


def read(hub: Hub, table: str, file: Path, mapping: Path | None = None) -> Summary:
    return asyncio.run(hub.intake.run(hub.file_source("grid_generic", table, file, mapping)))


@pytest.fixture
def curves(hub: Hub, tmp_path: Path) -> Callable[..., tuple[Summary, dict[Any, int]]]:
    """Write lines (or bytes) as a curve file, ingest it, answer the summary and the open reasons."""
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text(MAPPING, "utf-8")

    def run(content: list[str] | bytes, name: str = "curves.csv") -> tuple[Summary, dict[Any, int]]:
        file = tmp_path / name
        raw = content if isinstance(content, bytes) else ("\n".join([",".join(HEADER), *content]) + "\n").encode()
        file.write_bytes(raw)
        summary = read(hub, "load_curve", file, mapping)
        return summary, dict(read_groups(hub.store.engine, Query("quarantine", equals={"state": "open"}), "code"))

    return run


def line(point: str, value: object = 1.0, day: date = DAY, count: int = 96, **at: object) -> str:
    values = [str(value)] * count
    for place, other in at.items():
        values[int(place[1:]) - 1] = str(other)
    return ",".join([point, day.isoformat(), *values])


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (line("M2", count=95), None),
        (line("M2", count=97), None),
        (line("M2", P7="abc"), None),
        (line("M2", value=5_000_000), "absurd_value"),
        (line("M2", P9=-3), "negative_value"),
        (line("M9"), "unknown_metering_point"),
        (line("M2", day=DAY + timedelta(days=30)), "future_day"),
        (line("M2").replace("2026-03-05", "2026-13-05"), None),
        (line(""), None),
    ],
)
def test_bad_row_is_refused_and_good_rows_go_in(curves, hub, bad, code):
    summary, reasons = curves([line("M1"), bad, line("M3", P9=-3)])
    assert summary.accepted == 2, summary
    assert summary.quarantined == 1
    assert summary.error is None
    assert code is None or reasons == {code: 1}
    assert read_count(hub.store.engine, Query("load_curve")) == 2


def test_missing_is_not_zero_and_zero_is_a_load(curves, hub):
    summary, _ = curves([line("M1", P5="", P6=0)])
    assert summary.accepted == 1
    with hub.store.engine.cursor() as con:
        kw, missing = con.execute("SELECT kw, missing FROM curve").fetchall()[0]
    assert missing is not None
    present = int.from_bytes(missing, "little")
    assert not present >> 4 & 1
    assert present >> 5 & 1
    assert kw[5] == 0


def test_conflicting_rows_of_one_day_are_both_refused(curves):
    summary, reasons = curves([line("M1"), line("M2", 1), line("M2", 2)])
    assert (summary.accepted, reasons) == (1, {"conflicting_duplicate": 2})


def test_a_day_twice_is_unchanged_and_a_changed_day_is_a_correction(curves):
    assert curves([line("M1"), line("M2")])[0].accepted == 2
    again, _ = curves([line("M1"), line("M2", 3)], "again.csv")
    assert (again.unchanged, again.corrected) == (1, 1)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (("\n".join([",".join(HEADER[:-1]), line("M1", count=95)])).encode(), "curves.csv"),
        (("\n".join([",".join([*HEADER, "P97"]), line("M1", count=97)])).encode(), "curves.csv"),
        (line("M1").encode(), "curves.csv"),
        (gzip.compress(("\n".join([",".join(HEADER), line("M1")])).encode())[:-20], "curves.csv.gz"),
        (b"\xff\xfe\x00\x01\x80\x81", "curves.csv"),
        (b"PK\x03\x04broken", "curves.zip"),
        (b"PAR1broken", "curves.parquet"),
    ],
    ids=[
        "95 columns",
        "97 columns",
        "no header",
        "truncated gz",
        "wrong encoding",
        "broken zip",
        "broken parquet",
    ],
)
def test_unusable_file_is_a_clear_error(curves, content, name):
    summary, reasons = curves(content, name)
    assert summary.error is not None, summary
    assert summary.error.expected or summary.error.hint
    assert reasons.get("source_error", 0) == 1


@pytest.mark.parametrize(("content", "name"), [([line("M1")], "curves.csv.part"), (b"", "curves.csv")])
def test_file_that_is_still_being_written_is_left_for_later(curves, content, name):
    summary, reasons = curves(content, name)
    assert summary.error is not None
    assert summary.accepted == 0
    assert reasons == {}


@pytest.mark.skipif(os.geteuid() != 0 or not Path("/proc/mounts").exists(), reason="needs root to mount a small disk")
def test_full_disk_loses_nothing_and_says_what_to_do(tmp_path):
    import subprocess

    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(small)], check=False).returncode:
        pytest.skip("no right to mount a small disk here")
    try:
        write_template(small / "hub.toml", "株洲市", "430200")
        points = tmp_path / "points.csv"
        points.write_text("metering_point_id,account_no\n" + "".join(f"M{i},A{i}\n" for i in range(30_000)), "utf-8")
        file, mapping = tmp_path / "big.csv", tmp_path / "mapping.yaml"
        mapping.write_text(MAPPING, "utf-8")
        rows = [line(f"M{i}", i % 977 + 0.123, P3=i * 0.37) for i in range(30_000)]
        file.write_text("\n".join([",".join(HEADER), *rows]), "utf-8")
        config = load_config(small, {"DIANHUAN_STORE__RAW_DAYS": "0"})
        with open_hub(config, clock=FixedClock.on(date(2026, 3, 10))) as hub:
            summary = read(hub, "metering_point", points)
            if summary.error is None:
                summary = read(hub, "load_curve", file, mapping)
            assert summary.error is not None
            assert "disk is full" in summary.error.message
            assert "free space" in summary.error.hint
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
