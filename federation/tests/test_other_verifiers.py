"""The vectors before verifiers of other authors and in other languages: same answer in every case.

Each test is skipped with a reason where its tool is not installed; `make test-all` installs them.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

GO = shutil.which("go") or ""
NODE = shutil.which("node") or ""
GO_MODULES = Path("/usr/share/gocode")
NODE_PACKAGES = ("@sigstore/core", "@tufjs/models", "canonicalize", "http-message-signatures", "sm-crypto")


def _all_same(answers: dict[str, Any]) -> int:
    assert {name: answer["otherwise"] for name, answer in answers.items()} == {name: [] for name in answers}
    return sum(int(answer["cases"]) for answer in answers.values())


@pytest.mark.skipif(not GO, reason="Go is not installed (Debian: golang-go)")
@pytest.mark.skipif(
    not (GO_MODULES / "src/golang.org/x/mod/sumdb").is_dir(),
    reason="golang.org/x/mod is not installed (Debian: golang-golang-x-mod-dev)",
)
def test_go_sumdb_gives_the_same_answers(vectors: Path, tmp_path: Path) -> None:
    """Notes, cosignatures, roots, proofs and tiles, by the code of Go's checksum database; no network."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("GO")}
    settings = {"GO111MODULE": "off", "GOPATH": str(GO_MODULES), "GOCACHE": str(tmp_path), "GOPROXY": "off"}
    done = subprocess.run(
        [GO, "run", vectors / "go" / "main.go", vectors],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env=known | settings,
    )
    assert done.returncode == 0, done.stderr
    assert _all_same(json.loads(done.stdout)) > 400


@pytest.mark.skipif(not NODE, reason="Node is not installed (Debian: nodejs)")
def test_node_packages_give_the_same_answers(vectors: Path) -> None:
    """DSSE by sigstore, TUF by tufjs, RFC 9421, RFC 8785 and SM2 by packages of npm."""
    modules = Path(os.environ.get("DIANHUAN_NODE_MODULES", vectors / "node" / "node_modules"))
    missing = [name for name in NODE_PACKAGES if not (modules / name).is_dir()]
    if missing:
        pytest.skip(
            f"npm packages are not installed: {', '.join(missing)} (npm install in conformance/federation/node)"
        )
    done = subprocess.run(
        [NODE, vectors / "node" / "verify.mjs"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env=os.environ | {"DIANHUAN_NODE_MODULES": str(modules)},
    )
    assert done.returncode == 0, done.stderr
    assert _all_same(json.loads(done.stdout)) > 55


needs_aics = pytest.mark.skipif(
    importlib.util.find_spec("aics_tlog") is None,
    reason="aics-tlog is not installed (pip install --ignore-requires-python --no-deps aics-tlog==0.2.1)",
)


def _b64(text: str) -> bytes:
    return base64.b64decode(text)


@needs_aics
def test_aics_tlog_gives_the_same_answers_on_trees_and_tiles(vectors: Path) -> None:
    import aics_tlog
    from aics_tlog.tiles import materialise_tiles

    merkle = json.loads((vectors / "merkle.json").read_text("utf-8"))
    for case in merkle["inclusion"]:
        path = [_b64(part) for part in case["path"]]
        holds = aics_tlog.verify_inclusion(_b64(case["leaf"]), case["index"], case["size"], path, _b64(case["root"]))
        assert holds is case["holds"], case
    for case in merkle["consistency"]:
        proof = [_b64(part) for part in case["proof"]]
        holds = aics_tlog.verify_consistency(
            case["old"], case["new"], _b64(case["old_root"]), _b64(case["new_root"]), proof
        )
        assert holds is case["holds"], case
    entries = [f"entry {i}".encode() for i in range(65_537)]
    tree = aics_tlog.MerkleTree(entries)
    for size, root in merkle["roots"].items():
        assert tree.root(int(size)) == _b64(root), size
    for size, expected in json.loads((vectors / "tiles.json").read_text("utf-8"))["trees"].items():
        files = materialise_tiles(entries[: int(size)])
        made = {path: sha256(data).hexdigest() for path, data in files.items() if "/entries/" not in path}
        assert made == expected, size


@needs_aics
def test_aics_tlog_gives_the_same_answers_on_notes_and_keys(vectors: Path) -> None:
    """It takes extension lines and we do not: that one case ends otherwise, as the profile says."""
    import aics_tlog

    notes = json.loads((vectors / "notes.json").read_text("utf-8"))
    log, witness = (aics_tlog.parse_vkey(notes[name]) for name in ("log", "witness"))
    otherwise = set()
    for case in notes["cases"]:
        verifies, time = False, None
        try:
            note = aics_tlog.parse_note(_b64(case["checkpoint"]))
            head = aics_tlog.parse_checkpoint(note.text)
            verifies = aics_tlog.verify_note(note, [log])
            for line in note.signatures:
                if (line.name, line.key_id) == (witness.name, witness.key_id):
                    args = (witness.name, witness.public_key, head.origin, head.size, head.root)
                    time = int.from_bytes(line.signature[:8], "big")
                    if not aics_tlog.verify_cosignature(line.signature, *args):
                        verifies, time = False, None
        except ValueError:
            verifies, time = False, None
        if (verifies, time) != (case["verifies"], case["witnessed_at"]):
            otherwise.add(case["name"])
    assert otherwise == {"an extension line"}
    for case in json.loads((vectors / "keys.json").read_text("utf-8"))["cases"]:
        problem = aics_tlog.ed25519_public_key_problem(_b64(case["public"]))
        if case["name"] != "not on the curve":
            assert (problem is None) is case["accepted"], case["name"]


def test_our_own_command_line_passes_the_way_of_a_stranger(vectors: Path) -> None:
    command = shutil.which("dianhuan", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if command is None:
        pytest.skip("the command dianhuan is not installed")
    words = [sys.executable, vectors / "conformance_cli.py", command, "federation", "verify"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False)
    answer = json.loads(done.stdout.splitlines()[-1])
    assert (answer["otherwise"], answer["left_out"], done.returncode) == ({}, ["v3-fork"], 0)
    assert answer["cases"] == 19


def test_hostile_command_that_accepts_everything_does_not_pass(vectors: Path, tmp_path: Path) -> None:
    liar = tmp_path / "liar.py"
    liar.write_text('print(\'{"verdict": {"state": "accepted"}, "logs": {}}\')\n')
    words = [sys.executable, vectors / "conformance_cli.py", sys.executable, liar]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False)
    answer = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 1
    assert len(answer["otherwise"]) == answer["cases"]
