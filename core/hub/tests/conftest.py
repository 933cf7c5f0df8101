"""Builds plugins as real distributions: a package, its plugin.toml and a dist-info folder on sys.path."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dianhuan_hub.kernel.config import HubConfig, load_config, write_template

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
