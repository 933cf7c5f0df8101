"""The adapter over files and watched folders, the manifest and the shipped mappings."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

import dianhuan_grid_generic
from dianhuan_grid_generic._adapter import SPEC
from dianhuan_grid_generic._config import GenericConfig, shipped_mappings
from dianhuan_sdk import API_VERSION, Batch, Checkpoint, ConfigError, InputError, Window
from dianhuan_sdk.manifest import ENTRY_POINT_GROUP, read_manifests
from dianhuan_standards import TABLES


def wide(rows: list[tuple[str, str, float]]) -> str:
    lines = ["计量点编号,日期," + ",".join(f"P{i}" for i in range(1, 97))]
    return "\n".join(lines + [",".join([m, d, *[str(v)] * 96]) for m, d, v in rows]) + "\n"


def folder_adapter(context: Any, path: Path, **more: Any) -> Any:
    stream = {"folder": {"path": path, "settle_seconds": 0, **more}}
    return SPEC.factory(context(GenericConfig.model_validate({"streams": {"load_curve": stream}})))


def batches(items: list[Any]) -> list[Batch]:
    return [item for item in items if isinstance(item, Batch)]


def checkpoints(items: list[Any]) -> list[Checkpoint]:
    return [item for item in items if isinstance(item, Checkpoint)]


def rows_of(items: list[Any]) -> list[tuple[str, str]]:
    return [(r["metering_point_id"], str(r["day"])) for b in batches(items) for r in b.rows.to_pylist()]


def test_manifest_and_entry_point() -> None:
    (entry,) = [e for e in entry_points(group=ENTRY_POINT_GROUP) if e.name == "grid_generic"]
    assert entry.load() is dianhuan_grid_generic
    manifest = read_manifests(Path(dianhuan_grid_generic.__file__).with_name("plugin.toml"))["grid_generic"]
    assert manifest.allows(API_VERSION)
    assert set(manifest.capabilities.writes) <= set(TABLES)
    assert [spec.id for spec in dianhuan_grid_generic.dianhuan_grid_adapters()] == ["grid_generic"]
    (command,) = manifest.commands
    module, name = command.target.split(":")
    assert hasattr(__import__(module, fromlist=[name]), name)


def test_importing_is_light() -> None:
    code = "import sys, dianhuan_grid_generic; print([m for m in ('typer', 'pyarrow.csv') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "data", "count", "energy"),
    [
        ("steel", "steel/steel_15min_2018.csv", 365, 959_636.71),
        ("simbench", "simbench/load_profiles_15min_2016.parquet", 63 * 366, 225_886.8786),
    ],
)
def test_shipped_mappings_read_the_measured_sets(
    context, drain, measured, name: str, data: str, count: int, energy: float
) -> None:
    assert name in shipped_mappings()
    config = SPEC.file_config("load_curve", measured(data), Path(name))  # type: ignore[misc]
    items = drain(SPEC.factory(context(config)), "load_curve")
    assert isinstance(items[-1], Checkpoint)
    assert sum(b.rows.num_rows for b in batches(items)) == count
    total = sum(np.nansum(b.rows.column("kw").values.to_numpy(zero_copy_only=False)) / 4 for b in batches(items))
    assert total == pytest.approx(energy, rel=1e-3)
    assert all(b.rejects is None for b in batches(items))


def test_one_file_of_any_table(context, drain, tmp_path: Path) -> None:
    path = tmp_path / "permits.csv"
    path.write_bytes("许可证编号,企业标识,管理类别,有效期起\nP1,E1,key,2024-01-01\nP2,E2,key,不详\n".encode("gb18030"))
    items = drain(SPEC.factory(context(SPEC.file_config("permit", path, None))), "permit")  # type: ignore[misc]
    (batch,) = batches(items)
    assert [r["permit_no"] for r in batch.rows.to_pylist()] == ["P1"]
    assert batch.rejects.to_pylist()[0]["code"] == "unreadable_value"
    assert batch.source.uri == path.as_uri()
    assert len(batch.source.sha256) == 64


def test_a_folder_is_read_once_and_changes_again(context, drain, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    first = tmp_path / "in" / "curve_1.csv"
    first.write_text(wide([("M1", "2026-01-05", 1.0)]), "utf-8")
    (tmp_path / "in" / "curve_2.csv").write_text(wide([("M1", "2026-01-06", 2.0)]), "utf-8")
    (tmp_path / "in" / "curve_3.csv.part").write_text("half", "utf-8")
    adapter = folder_adapter(context, tmp_path / "in")
    items = drain(adapter, "load_curve")
    assert rows_of(items) == [("M1", "2026-01-05"), ("M1", "2026-01-06")]
    assert [c.note for c in checkpoints(items)] == ["curve_1.csv", "curve_2.csv"]
    # A run that was killed after the first checkpoint goes on with the second file.
    assert rows_of(drain(adapter, "load_curve", cursor=checkpoints(items)[0].cursor)) == [("M1", "2026-01-06")]
    done = checkpoints(items)[-1].cursor
    assert drain(adapter, "load_curve", cursor=done) == []
    os.utime(first, (1, 1))
    assert drain(adapter, "load_curve", cursor=done) == []
    first.write_text(wide([("M1", "2026-01-05", 3.0)]), "utf-8")
    assert rows_of(drain(adapter, "load_curve", cursor=done)) == [("M1", "2026-01-05")]


def test_windows_add_up_and_ignore_the_cursor(context, drain, tmp_path: Path) -> None:
    days = [date(2026, 1, d) for d in range(5, 9)]
    (tmp_path / "a.csv").write_text(wide([("M1", d.isoformat(), 1.0) for d in days]), "utf-8")
    adapter = folder_adapter(context, tmp_path)
    done = checkpoints(drain(adapter, "load_curve"))[-1].cursor

    def window(start: int, end: int) -> list[tuple[str, str]]:
        span = Window(date(2026, 1, start), date(2026, 1, end))
        return rows_of(drain(adapter, "load_curve", window=span, cursor=done))

    assert window(5, 7) + window(7, 9) == window(5, 9) == [("M1", d.isoformat()) for d in days]
    assert window(20, 21) == []


def test_control_files_and_settling(context, drain, tmp_path: Path) -> None:
    data = tmp_path / "a.csv"
    data.write_text(wide([("M1", "2026-01-05", 1.0)]), "utf-8")
    adapter = folder_adapter(context, tmp_path, control_file=".ok")
    assert drain(adapter, "load_curve") == []
    (tmp_path / "a.csv.ok").touch()
    assert rows_of(drain(adapter, "load_curve")) == [("M1", "2026-01-05")]
    settling = folder_adapter(context, tmp_path, settle_seconds=3600, pattern="*.csv")
    assert drain(settling, "load_curve") == []


def test_an_unreadable_file_becomes_a_reject_and_the_next_goes_on(context, drain, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("户名\n甲\n", "utf-8")
    (tmp_path / "b.csv").write_text(wide([("M1", "2026-01-05", 1.0)]), "utf-8")
    items = drain(folder_adapter(context, tmp_path), "load_curve")
    assert rows_of(items) == [("M1", "2026-01-05")]
    reject = batches(items)[0].rejects.to_pylist()[0]
    assert (reject["row"], reject["code"]) == (0, "unreadable_file")
    assert "what to do" in reject["detail"]
    assert [c.note for c in checkpoints(items)] == ["a.csv", "b.csv"]


def test_one_unreadable_file_is_an_error(context, drain, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("户名\n甲\n", "utf-8")
    with pytest.raises(InputError, match="no column for"):
        drain(SPEC.factory(context(SPEC.file_config("load_curve", path, None))), "load_curve")  # type: ignore[misc]


async def test_check_and_discover(context, tmp_path: Path) -> None:
    def adapter(stream: dict[str, Any], table: str = "load_curve") -> Any:
        return SPEC.factory(context(GenericConfig.model_validate({"streams": {table: stream}})))

    good = tmp_path / "a.csv"
    good.write_text("x", "utf-8")
    assert (await adapter({"file": good}).check()).ok
    assert [s.id for s in await adapter({"file": good}).discover()] == ["load_curve"]
    for stream, words in (
        ({"file": tmp_path / "none.csv"}, "no file"),
        ({"folder": {"path": tmp_path / "none"}}, "no folder"),
        ({"file": good, "mapping": "nonsense"}, "no mapping named"),
        ({"file": good, "mapping": str(tmp_path / "none.yaml")}, "no mapping file"),
    ):
        report = await adapter(stream).check()
        assert not report.ok
        assert words in report.message
        assert report.hint
    assert not (await adapter({"file": good, "mapping": "steel"}, "outage").check()).ok


def test_config_errors(context, drain, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="not a standard table"):
        GenericConfig.model_validate({"streams": {"nonsense": {"file": "a"}}})
    with pytest.raises(ValidationError, match="exactly one"):
        GenericConfig.model_validate({"streams": {"outage": {}}})
    adapter = folder_adapter(context, tmp_path)
    with pytest.raises(ConfigError, match="no stream"):
        drain(adapter, "outage")
