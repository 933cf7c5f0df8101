"""The small federation of `conformance/federation`, which the tests and the published vectors share."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dianhuan_federation.core import Ed25519Signer

VECTORS = Path(__file__).parents[2] / "conformance" / "federation"


def load(name: str, folder: Path = VECTORS) -> ModuleType:
    """A module of the conformance folder, or of another one that is no package."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The folder of published vectors."""
    return VECTORS


@pytest.fixture(scope="session")
def world() -> ModuleType:
    """Builders of trust repositories, logs and submissions with fixed keys and times."""
    return load("conformance_world")


@pytest.fixture(scope="session")
def sm2_letter() -> ModuleType:
    """SM2 by the letter of its standard."""
    return load("conformance_sm2")


@pytest.fixture(scope="session")
def generator(world: ModuleType, sm2_letter: ModuleType) -> ModuleType:
    """The script that writes the vectors."""
    return load("conformance_generate")


@pytest.fixture(scope="session")
def bundles(world: ModuleType) -> ModuleType:
    """The script that writes the bundles of the vectors."""
    return load("conformance_bundles")


@pytest.fixture(scope="session")
def signer(world: ModuleType) -> Callable[[str], Ed25519Signer]:
    """An Ed25519 signer by name, the same in every run."""
    make: Callable[[str], Ed25519Signer] = world.signer
    return make


@pytest.fixture(scope="session")
def warning_row(world: ModuleType) -> Callable[..., dict[str, Any]]:
    """A valid row of the warning schema; keyword arguments replace columns."""
    make: Callable[..., dict[str, Any]] = world.warning_row
    return make


@pytest.fixture(scope="session")
def sync_parts() -> ModuleType:
    """What the tests of replica and sync share: a storage port over SQLite, subscribers, served folders."""
    load("sync_store", Path(__file__).parent)
    return load("sync_parts", Path(__file__).parent)
