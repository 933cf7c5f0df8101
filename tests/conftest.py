"""The measured sets beside the checkout, and a hub in a temporary folder driven as a user drives it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def measured() -> Path:
    """The folder of measured data; skips where it is not there."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no measured data: {folder.name} is not beside the checkout")
    return folder


class CommandHub:
    """A hub in a folder, driven by the command line in real processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *words: object, check: bool = True) -> list[dict[str, Any]]:
        """Run `dianhuan WORDS --json` and read its lines."""
        done = self.raw(*words, "--json")
        if check and done.returncode != 0:
            raise AssertionError(f"dianhuan {words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def raw(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Run `dianhuan WORDS`."""
        return subprocess.run(self.command(*words), capture_output=True, text=True, timeout=240, check=False)

    def command(self, *words: object) -> list[str]:
        """The command line itself."""
        return [
            sys.executable,
            "-c",
            "from dianhuan_hub.cli import main; main()",
            "--hub",
            str(self.folder),
            *map(str, words),
        ]


@pytest.fixture
def new_hub(tmp_path: Path) -> Callable[..., CommandHub]:
    """Makes hubs by `dianhuan init`."""

    def make(name: str = "hub", extra: str = "") -> CommandHub:
        hub = CommandHub(tmp_path / name)
        hub("init", "--name", "株洲市", "--division", "430200")
        if extra:
            with (hub.folder / "hub.toml").open("a", encoding="utf-8") as file:
                file.write(extra)
        return hub

    return make


@pytest.fixture(scope="session")
def federation() -> ModuleType:
    """Builders of real hubs that have joined one small federation."""
    name = "federation_stage"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]
