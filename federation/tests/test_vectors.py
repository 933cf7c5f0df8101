"""The published vectors are what this code says, and say what they are meant to."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def test_the_published_vectors_are_made_again_bit_by_bit(generator: ModuleType, vectors: Path) -> None:
    for name, content in generator.vectors().items():
        assert json.loads((vectors / name).read_text("utf-8")) == content, name


ACCEPTED: dict[str, tuple[str, set[str]]] = {
    "keys.json": ("accepted", {"ordinary"}),
    "dsse.json": ("verifies", {"two signatures", "unknown fields"}),
    "rows.json": ("accepted", {"two rows", "no rows"}),
    "notes.json": ("verifies", {"plain", "cosigned", "a stranger's signature too"}),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_hostile_vectors_are_refused_and_only_those(vectors: Path, name: str) -> None:
    field, good = ACCEPTED[name]
    cases: list[dict[str, Any]] = json.loads((vectors / name).read_text("utf-8"))["cases"]
    assert {case["name"] for case in cases if case[field]} == good
