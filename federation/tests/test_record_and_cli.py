"""Proofs of one record, and the offline commands over the published bundles."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from dianhuan_federation.cli import app
from dianhuan_federation.core import (
    ForkEvidence,
    NoteKey,
    Refused,
    canonical,
    consistency_proof,
    leaf_hash,
    nodes_of,
    parse_policy,
    prove_record,
    tree_root,
    verify_record,
)
from dianhuan_federation.guard import CheckpointGuard
from dianhuan_federation.log_store import TileLog
from dianhuan_sdk import InputError
from dianhuan_sdk.manifest import read_manifests

World = ModuleType


def proof(w: World, log: Any, index: int = 1, record: str = "w-000002") -> bytes:
    """A proof of one row of the usual log."""
    report = w.verifier().verify(log.submission())
    payload = report.entries[index].payload or None
    return prove_record({"checkpoint": log.heads[-1], **log.tiles()}, index, payload, record)


def test_a_record_is_proven_to_the_row(world: World) -> None:
    verifier = world.verifier()
    shown = verify_record(proof(world, world.usual_log()), verifier.trust, verifier.policy, world.NOW)
    assert (shown.origin, shown.index, shown.witnessed_at) == (world.ORIGIN, 1, world.NOW - 3600)
    assert shown.row is not None
    assert json.loads(shown.row) == world.warning_row(2)


def test_a_statement_is_proven_without_a_row(world: World) -> None:
    verifier = world.verifier()
    log = world.usual_log()
    shown = verify_record(
        prove_record({"checkpoint": log.heads[-1], **log.tiles()}, 0), verifier.trust, verifier.policy, world.NOW
    )
    assert shown.row is None
    with pytest.raises(InputError):
        prove_record({"checkpoint": log.heads[-1], **log.tiles()}, 3)
    with pytest.raises(InputError, match="lacks"):
        prove_record({"checkpoint": log.heads[-1]}, 0)


HOSTILE: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "another row": (
        "E-ROWS",
        lambda d: {**d, "row": {**d["row"], "line": d["row"]["line"].replace("0.0002", "0.9999")}},
    ),
    "another place": ("E-ROWS", lambda d: {**d, "row": {**d["row"], "index": 0}}),
    "a place that is no number": ("E-CAP", lambda d: {**d, "row": {**d["row"], "index": "1"}}),
    "a path cut off": ("E-ROWS", lambda d: {**d, "row": {**d["row"], "path": d["row"]["path"][:-1]}}),
    "another index": ("E-TREE", lambda d: {**d, "proof": d["proof"].replace("index 1", "index 2")}),
    "another size": ("E-CP", lambda d: {**d, "proof": d["proof"].replace("\n3\n", "\n4\n")}),
    "a witness less": (
        "E-QUORUM",
        lambda d: {**d, "proof": "".join(x for x in d["proof"].splitlines(True) if "w43" not in x and "w44" not in x)},
    ),
    "another entry": ("E-TREE", lambda d: {**d, "entry": "AAAA"}),
    "another kind": ("E-CAP", lambda d: {**d, "kind": "proof"}),
    "nothing inside": ("E-CAP", lambda d: {}),
    "a list": ("E-CAP", lambda d: []),
    "no proof": ("E-CAP", lambda d: {**d, "proof": None}),
    "a row that is a text": ("E-CAP", lambda d: {**d, "row": "x"}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_record_proofs_do_not_hold(world: World, name: str) -> None:
    code, spoil = HOSTILE[name]
    verifier = world.verifier()
    document = json.loads(proof(world, world.usual_log()))
    with pytest.raises(Refused) as refused:
        verify_record(canonical(spoil(document)), verifier.trust, verifier.policy, world.NOW)
    assert refused.value.code == code


def test_hostile_proof_of_a_denied_hub_or_a_revoked_key_does_not_hold(world: World) -> None:
    verifier = world.verifier()
    data = proof(world, world.usual_log())
    denied = replace(verifier.trust, denied=frozenset({world.HUB}))
    with pytest.raises(Refused) as refused:
        verify_record(data, denied, verifier.policy, world.NOW)
    assert refused.value.code == "E-TRUST"
    keys = [world.key_entry(r, f"{r}-{world.HUB}", revoked_at=world.iso(world.NOW - 7200)) for r in ("publisher",)]
    keys += [world.key_entry(r, f"{r}-{world.HUB}") for r in ("log", "transport")]
    revoked = world.verifier(world.TrustBuilder(hubs={world.HUB: world.hub_file(world.HUB, keys=keys)}))
    with pytest.raises(Refused) as refused:
        verify_record(data, revoked.trust, verifier.policy, world.NOW)
    assert refused.value.code == "E-REVOKED"
    assert parse_policy(world.policy_text()).satisfied_by(world.WITNESSES)


def run(*arguments: object) -> tuple[int, Any]:
    """Exit code and the JSON printed."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, json.loads(result.stdout or result.stderr)


@pytest.fixture
def given(world: World, vectors: Path) -> list[object]:
    """The options of every command that verifies."""
    folder = vectors / "bundles"
    now = world.iso(world.NOW)
    return ["--trust", folder / "root.json", "--policy", folder / "witnesses.policy", "--now", now]


def test_hostile_published_bundles_end_the_same_way_in_the_command(
    world: World, vectors: Path, given: list[object]
) -> None:
    folder = vectors / "bundles"
    for case in json.loads((folder / "index.json").read_text("utf-8"))["cases"]:
        if case["before"]:
            continue
        code, answer = run("verify", "--bundle", folder / case["file"], *given, "--reader", case["reader"])
        assert code == (0 if case["name"] == "good" else 1), case["name"]
        for origin, log in case["expected"]["logs"].items():
            found = answer["logs"][origin]["verdict"]
            words = " ".join(str(found[k]) for k in ("step", "code", "state") if found[k])
            assert words == log["verdict"]


def test_a_record_goes_from_bundle_to_proof_to_check(
    world: World, vectors: Path, given: list[object], tmp_path: Path
) -> None:
    out = tmp_path / "record.json"
    bundle = vectors / "bundles" / "good.tar"
    options = ["--bundle", bundle, *given, "--origin", world.ORIGIN, "--index", 1, "--record", "w-000002", "--out", out]
    assert run("prove", *options)[0] == 0
    for path, data in world.TrustBuilder().build().items():
        file = tmp_path / "trust" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    code, answer = run("check-proof", out, *given, "--repository", tmp_path / "trust")
    assert code == 0
    assert answer["row"] == world.warning_row(2)
    out.write_bytes(out.read_bytes().replace(b"0.0002", b"0.9999"))
    code, answer = run("check-proof", out, *given, "--repository", tmp_path / "trust")
    assert (code, answer["code"]) == (1, "E-ROWS")


def test_wrong_arguments_are_answered_in_words(
    world: World, vectors: Path, given: list[object], tmp_path: Path
) -> None:
    bundle = vectors / "bundles" / "good.tar"
    code, answer = run("verify", "--bundle", bundle, *given[:-1], "yesterday")
    assert (code, answer["error"]) == (2, "InputError")
    code, answer = run("prove", "--bundle", bundle, *given, "--origin", "x/y", "--index", 0, "--out", tmp_path / "o")
    assert (code, answer["error"]) == (2, "InputError")
    bad = tmp_path / "bad.policy"
    bad.write_text("quorum nobody\n", "utf-8")
    code, answer = run("verify", "--bundle", bundle, *given[:2], "--policy", bad)
    assert (code, answer["error"]) == (2, "ConfigError")


def test_fork_evidence_and_folders_are_checked_by_command(world: World, tmp_path: Path) -> None:
    a, b = world.usual_log(1), world.usual_log(1)
    b.add_batch([world.warning_row(9)])
    b.publish()
    a.entries[1] = a.entries[0]
    a.publish()
    leaves = [leaf_hash(entry) for entry in b.entries]
    path = consistency_proof(nodes_of(leaves), 2, 3)
    evidence = ForkEvidence(a.heads[-1], b.heads[-1], tree_root(leaves[:2]), tuple(path))
    (tmp_path / "fork.json").write_bytes(evidence.encode())
    hub = world.verifier().trust.hubs[world.HUB]
    key: NoteKey = hub.log_keys(world.ORIGIN)[0][0]
    assert run("check-fork", tmp_path / "fork.json", "--key", key.vkey) == (0, {"forked": world.ORIGIN})
    (tmp_path / "fork.json").write_bytes(b"{}")
    assert run("check-fork", tmp_path / "fork.json", "--key", key.vkey)[0] == 2

    guard = CheckpointGuard(tmp_path / "guard.sqlite")
    log = TileLog.create(tmp_path / "log", world.ORIGIN, world.signer("log-430200"), guard)
    log.append([b"a", b"b"])
    assert run("fsck", tmp_path / "log")[1]["size"] == 2
    (tmp_path / "log/tile/entries/000.p/2").write_bytes(b"\0\1a\0\1c")
    assert run("fsck", tmp_path / "log")[0] == 2


def test_the_manifest_is_read_without_importing_the_package() -> None:
    import dianhuan_federation

    manifest = read_manifests(Path(dianhuan_federation.__file__).parent / "plugin.toml")["federation"]
    assert manifest.allows((1, 0))
    assert manifest.commands[0].target == "dianhuan_federation.cli:app"
