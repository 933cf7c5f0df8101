"""Plugins built as real distributions on sys.path; a real store in a temporary folder, and short ways to fill it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dianhuan_hub.kernel.config import HubConfig, load_config, write_template
from dianhuan_hub.store import CurveRows, LoadInfo, RegisterRows, Store, Unit, UnitReceipt, day_number
from dianhuan_sdk import daily_features
from dianhuan_standards import TABLES

Build = Callable[..., str]

GOOD = """
from dianhuan_sdk import GridAdapterSpec, hookimpl
from pydantic import BaseModel

class Config(BaseModel):
    path: str

@hookimpl
def dianhuan_grid_adapters():
    return [GridAdapterSpec(id="{id}", zh="好", en="good", config_model=Config, factory=lambda context: context)]
"""

MODEL = """
from dianhuan_sdk import ModelCard, ModelSpec, Text, hookimpl
from pydantic import BaseModel

class Config(BaseModel):
    model_config = dict(extra="forbid")
    ratio: float = 3.0

class Silent:
    def score(self, block, context):
        return []

NONE = Text("", "")
CARD = ModelCard(NONE, NONE, NONE, "", (), ())

@hookimpl
def dianhuan_models():
    yield ModelSpec(
        id="{model}", version="1", zh="", en="", tier="daily", window_days=1, features=(), reads=(), gates=(),
        alarm_budget=0.05, config_model=Config, factory=lambda context: Silent(), card=CARD,
    )
"""


def write_plugin(
    site: Path, id: str, code: str, *, manifest: str | None = None, dist: str | None = None, package: str | None = None
) -> str:
    """Write a distribution with one plugin into the folder `site` and return its package's name."""
    dist, package = dist or f"vendor-{id}", package or f"vendor_{id}"
    folder = site / package
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(code, "utf-8")
    toml = f'[[plugin]]\nid = "{id}"\nkind = "grid"\napi = ">=1,<2"\nzh = "甲"\nen = "A"\nmaintainers = ["v"]\n'
    (folder / "plugin.toml").write_text(toml if manifest is None else manifest, "utf-8")
    info = site / f"{dist.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.2\n", "utf-8")
    (info / "entry_points.txt").write_text(f"[dianhuan.plugins]\n{id} = {package}\n", "utf-8")
    return package


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on sys.path; what is imported from it is forgotten afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def plugin(site: Path) -> Build:
    """Writes a plugin: `plugin(id, code, manifest=…)`."""

    def build(id: str, code: str = GOOD, **options: str) -> str:
        return write_plugin(site, id, code.replace("{id}", id), **options)

    return build


@pytest.fixture
def model_code() -> Callable[[str], str]:
    """Code of a plugin with one model of that id."""
    return lambda model: MODEL.replace("{model}", model)


@pytest.fixture
def hub(tmp_path: Path) -> HubConfig:
    """A hub's configuration in a folder of its own."""
    write_template(tmp_path / "hub" / "hub.toml", "株洲市", "430200")
    return load_config(tmp_path / "hub", {})


NOW = datetime(2026, 3, 31, 22, 30, tzinfo=UTC)
VALLEY = np.arange(96) < 24


def make_store(folder: Path) -> Store:
    return Store(folder, lambda kw, _: daily_features(kw, VALLEY), lambda: NOW)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = make_store(tmp_path / "data")
    yield made
    made.close()


@pytest.fixture
def reopen() -> Callable[[Path], Store]:
    return make_store


@pytest.fixture
def info() -> LoadInfo:
    return LoadInfo("test", "1", "stream", "file", "", "", NOW)


@pytest.fixture
def rows() -> Callable[..., RegisterRows]:
    """`rows("entity", entity_id=[...], name=[...])`: rows of a register."""

    def make(table: str, **columns: list[Any]) -> RegisterRows:
        contract = TABLES[table]
        size = len(next(iter(columns.values())))
        arrays = [
            pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(size, f.type) for f in contract.fields
        ]
        return RegisterRows(contract, pa.table(arrays, names=[f.name for f in contract.fields]))

    return make


@pytest.fixture
def curve_rows() -> Callable[..., CurveRows]:
    """`curve_rows(day, {ordinal: kW of shape (96,) or a number})`."""

    def make(day: date, values: dict[int, Any]) -> CurveRows:
        mp = np.array(sorted(values), np.int32)
        kw = np.stack([np.broadcast_to(np.asarray(values[int(m)], np.float32), 96) for m in mp])
        size = len(mp)
        return CurveRows(
            mp,
            np.full(size, day_number(day), np.int32),
            np.array(kw),
            np.full(size, 96, np.uint8),
            np.full(size, np.nan),
            np.arange(1, size + 1),
        )

    return make


@pytest.fixture
def put(info: LoadInfo) -> Callable[..., UnitReceipt]:
    """`put(store, curves)` or `put(store, registers=[…])`: commit as intake does."""

    def commit(store: Store, curves: CurveRows | None = None, **more: Any) -> UnitReceipt:
        sums = store.prepare(curves) if curves is not None else ()
        return store.commit(Unit(info, curves=curves, sums=sums, **more))

    return commit


@pytest.fixture
def city(store: Store, rows: Any, put: Any) -> Store:
    """Three enterprises: E1 with accounts A1 and A2, E2 with A3, E3 with A4 from 10 March on (E2's before)."""
    put(
        store,
        registers=[
            rows("entity", entity_id=["E1", "E2", "E3"], name=["一", "二", "三"], division=["430202"] * 2 + ["430281"]),
            rows("metering_point", metering_point_id=["M1", "M2", "M3", "M4"], account_no=["A1", "A2", "A3", "A4"]),
            rows(
                "account_link",
                account_no=["A1", "A2", "A3", "A4", "A4"],
                entity_id=["E1", "E1", "E2", "E2", "E3"],
                valid_from=[date(2026, 1, 1)] * 4 + [date(2026, 3, 10)],
                valid_to=[None, None, None, date(2026, 3, 10), None],
            ),
        ],
    )
    return store
