"""Plugins for the kit, as real distributions on sys.path."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

TOML = """
[[plugin]]
id = "{id}"
kind = "{kind}"
api = "{api}"
zh = "甲"
en = "A"
maintainers = ["v"]
alarm_budget = 0.05
"""

Build = Callable[..., str]


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Build]:
    """Writes a plugin and returns its id: `plugin(code, kind="model")`."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)

    def build(code: str, *, id: str = "vendor", kind: str = "model", api: str = ">=1,<2") -> str:
        package = f"pkg_{id}_{tmp_path.name}".replace("-", "_")
        (site / package).mkdir()
        (site / package / "__init__.py").write_text(code, "utf-8")
        (site / package / "plugin.toml").write_text(TOML.format(id=id, kind=kind, api=api), "utf-8")
        info = site / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", "utf-8")
        (info / "entry_points.txt").write_text(f"[dianhuan.plugins]\n{id} = {package}\n", "utf-8")
        return id

    yield build
    for name in set(sys.modules) - before:
        if str(site) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
