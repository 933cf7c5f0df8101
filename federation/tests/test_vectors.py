"""The published vectors are what this code says, and say what they are meant to."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dianhuan_federation.core import Code


def test_the_published_vectors_are_made_again_bit_by_bit(generator: ModuleType, vectors: Path) -> None:
    for name, content in generator.vectors().items():
        assert json.loads((vectors / name).read_text("utf-8")) == content, name


ACCEPTED: dict[str, tuple[str, set[str]]] = {
    "keys.json": ("accepted", {"ordinary"}),
    "dsse.json": ("verifies", {"two signatures", "unknown fields"}),
    "rows.json": ("accepted", {"two rows", "no rows"}),
    "notes.json": ("verifies", {"plain", "cosigned", "a stranger's signature too", "an SM2 line of named type too"}),
    "sm2.json": ("verifies", {"example of GB/T 32918.5 A.2"}),
    "http.json": ("verifies", {"RFC 9421 B.2.6", "a pull between hubs"}),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_hostile_vectors_are_refused_and_only_those(vectors: Path, name: str) -> None:
    field, good = ACCEPTED[name]
    cases: list[dict[str, Any]] = json.loads((vectors / name).read_text("utf-8"))["cases"]
    assert {case["name"] for case in cases if case[field]} == good


BUNDLES = {
    "good": "accepted",
    "v0-trailing": "V0 E-CAP rejected",
    "v0-damaged-header": "V0 E-CAP rejected",
    "v1-hub-unknown": "V1 E-TRUST rejected",
    "v1-stale": "V1 E-STALE pending",
    "v1-very-stale": "V1 E-STALE quarantined",
    "v2-wrong-log-key": "V2 E-CP rejected",
    "v3-fork": "V3 E-FORK quarantined",
    "v4-one-witness": "V4 E-QUORUM pending",
    "v4-future": "V4 E-QUORUM pending",
    "v5-entry-changed": "V5 E-TREE rejected",
    "v6-wrong-publisher": "V6 E-SIG rejected",
    "v6-revoked": "V6 E-REVOKED soft-fail",
    "v7-unknown-kind": "V7 E-UNKNOWN store-only",
    "v7-gap": "V7 E-SEQ rejected",
    "v8-withheld": "V8 E-POLICY soft-fail",
    "v9-missing": "V9 E-MISSING pending",
    "v9-digest": "V9 E-DIGEST rejected",
    "v9-bomb": "V9 E-BOMB rejected",
    "v10-unsorted": "V10 E-ROWS rejected",
}


def test_hostile_bundles_of_the_vectors_end_as_written_by_hand(vectors: Path) -> None:
    index = json.loads((vectors / "bundles" / "index.json").read_text("utf-8"))
    found = {}
    for case in index["cases"]:
        expected = case["expected"]
        answers = [expected["verdict"]]
        for log in expected["logs"].values():
            answers += [log["verdict"], *log["entries"]]
        found[case["name"]] = next((answer for answer in answers if answer != "accepted"), "accepted")
    assert found == BUNDLES
    assert {answer.split()[1] for answer in found.values() if " " in answer} == {code.value for code in Code}


def test_the_published_bundles_are_made_again_bit_by_bit(bundles: ModuleType, vectors: Path, tmp_path: Path) -> None:
    index = bundles.write(tmp_path)
    assert json.loads((vectors / "bundles" / "index.json").read_text("utf-8")) == index
    published = {path.name: path.read_bytes() for path in (vectors / "bundles").iterdir() if path.suffix != ".json"}
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".json"}
    assert published == written
    assert (tmp_path / "root.json").read_bytes() == (vectors / "bundles" / "root.json").read_bytes()


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_another_language_gives_the_same_answers(vectors: Path) -> None:
    """Canonical JSON, envelopes, trees, proofs, notes and cosignatures, with nothing but Node's own library."""
    node = shutil.which("node")
    assert node is not None
    done = subprocess.run([node, vectors / "verify.mjs"], capture_output=True, text=True, check=True, timeout=120)
    answers = json.loads(done.stdout)
    assert {name: answer["otherwise"] for name, answer in answers.items()} == {name: [] for name in answers}
    assert sum(answer["cases"] for answer in answers.values()) > 200
