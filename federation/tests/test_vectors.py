"""The published vectors are what this code says, and say what they are meant to."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "conformance" / "federation"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("conformance_generate", FOLDER / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_published_vectors_are_made_again_bit_by_bit(generator: ModuleType) -> None:
    for name, content in generator.vectors().items():
        assert json.loads((FOLDER / name).read_text("utf-8")) == content, name


ACCEPTED: dict[str, tuple[str, set[str]]] = {
    "keys.json": ("accepted", {"ordinary"}),
    "dsse.json": ("verifies", {"two signatures", "unknown fields"}),
    "rows.json": ("accepted", {"two rows", "no rows"}),
    "notes.json": ("verifies", {"plain", "cosigned", "a stranger's signature too"}),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_hostile_vectors_are_refused_and_only_those(name: str) -> None:
    field, good = ACCEPTED[name]
    cases: list[dict[str, Any]] = json.loads((FOLDER / name).read_text("utf-8"))["cases"]
    assert {case["name"] for case in cases if case[field]} == good
