"""Each step earns its place: without it, a named hostile case that it refuses would be accepted."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dianhuan_federation import bundle
from dianhuan_federation.bundle import BundleReader, export_bundle, log_files
from dianhuan_federation.core import (
    Code,
    RowSchema,
    State,
    Trust,
    Verifier,
    _batch_steps,
    _entry_steps,
    _log_steps,
    _trust,
    encode_rows,
    leaf_hash,
    parse_checkpoint,
    parse_policy,
    row_root,
    unpack_entries,
)

World = ModuleType
Patch = Callable[[pytest.MonkeyPatch], None]


def answer(verifier: Verifier, log: Any, state: Any = None, **changes: Any) -> tuple[str, bool]:
    """The first code met, and whether everything was accepted with the rows shown."""
    report = verifier.verify(log.submission(**changes), state)
    verdicts = [report.verdict, *(e.verdict for e in report.entries)]
    code = next((str(v.code) for v in verdicts if v.code), "")
    return code, all(v.state is State.ACCEPTED for v in verdicts)


def v0(w: World, tmp: Path) -> tuple[str, bool]:
    """A bundle with one file more than its manifest lists."""
    log = w.usual_log(1)
    files = {f"trust/{p}": d for p, d in w.TrustBuilder().build().items()}
    files.update(log_files(log.origin, {"checkpoint": log.heads[-1], **log.tiles()}))
    files.update({f"blobs/sha256/{n}": b for n, b in log.blobs.items()})
    path = tmp / "b.tar"
    export_bundle(path, files.items(), exporter=w.HUB, signer=w.signer(f"transport-{w.HUB}"), created_at=w.NOW)
    extra = bundle.write_header(bundle.Member("blobs/sha256/" + "a" * 64, 0))
    path.write_bytes(path.read_bytes()[:-1024] + extra + bytes(1024))
    reader = BundleReader(w.TrustBuilder().bootstrap(), parse_policy(w.policy_text()), w.NOW, w.READER)
    report = reader.verify(path)
    accepted = bool(report.logs) and all(log.verdict.code is None for log in report.logs.values())
    return str(report.verdict.code or ""), accepted


def v1(w: World, tmp: Path) -> tuple[str, bool]:
    """A hub on the deny list."""
    return answer(w.verifier(denied=frozenset({w.ORIGIN})), w.usual_log())


def v2(w: World, tmp: Path) -> tuple[str, bool]:
    """A checkpoint that another hub's log key signed."""
    log = w.usual_log()
    log.publish(log=f"log-{w.READER}")
    return answer(w.verifier(), log, earlier=())


def _known(w: World) -> Any:
    return w.verifier().verify(w.usual_log().submission()).state


def v3(w: World, tmp: Path) -> tuple[str, bool]:
    """Another history of the same size, from one who forgot what was verified but its size."""
    other = w.usual_log(1)
    other.add_batch([w.warning_row(77)])
    other.publish()
    return answer(w.verifier(), other, _known(w))


def v4(w: World, tmp: Path) -> tuple[str, bool]:
    """A checkpoint that one witness saw, of the two needed."""
    log = w.usual_log()
    log.publish(witnesses=("w43",))
    return answer(w.verifier(), log, earlier=())


def v5(w: World, tmp: Path) -> tuple[str, bool]:
    """Entries that the checkpoint does not cover: a retraction by the right key, slipped in by a courier."""
    log = w.usual_log()
    head = log.heads[-1]
    log.entries.pop()
    log.streams["warnings"] = (1, log.digests[1])
    log.add_batch([w.warning_row(66)])
    return answer(w.verifier(), log, checkpoint=head, earlier=())


def v6(w: World, tmp: Path) -> tuple[str, bool]:
    """A statement that another hub's publisher signed."""
    log = w.Log()
    log.add(log.statement("heartbeat", "alive", {"streams": 1}), [f"publisher-{w.READER}"])
    log.publish()
    return answer(w.verifier(), log)


def v7(w: World, tmp: Path) -> tuple[str, bool]:
    """A statement replayed in its own log."""
    log = w.Log()
    log.add(log.statement("heartbeat", "alive", {"streams": 1}))
    log.add_raw(log.entries[0])
    log.publish()
    return answer(w.verifier(), log)


def v8(w: World, tmp: Path) -> tuple[str, bool]:
    """Rows under a policy that withholds them."""
    log = w.Log()
    log.add_policy(**{"class": "withheld"})
    log.add_batch([w.warning_row(1)])
    log.publish()
    return answer(w.verifier(), log)


def v9(w: World, tmp: Path) -> tuple[str, bool]:
    """A payload with the same rows but other bytes than the digest names."""
    log = w.usual_log(1)
    name, blob = next(iter(log.blobs.items()))
    log.blobs[name] = gzip.compress(gzip.decompress(blob), compresslevel=1, mtime=0)
    return answer(w.verifier(), log)


def v10(w: World, tmp: Path) -> tuple[str, bool]:
    """Rows out of order."""
    from dianhuan_federation.core import WARNING_ROWS

    log = w.Log()
    log.add_policy()
    lines = encode_rows(WARNING_ROWS, [w.warning_row(1), w.warning_row(2)]).payload.split(b"\n")[:-1]
    payload = b"".join(line + b"\n" for line in reversed(lines))
    fields = log.batch_fields(payload, 2, row_root(payload))
    log.add(log.statement("result-batch", "warnings", fields, payload))
    log.publish()
    return answer(w.verifier(), log)


def no_v0(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(bundle, "_check_manifest", lambda files: "430200")


def no_v1(patch: pytest.MonkeyPatch) -> None:
    def lenient(trust: Trust, origin: str) -> Any:
        return trust.hubs[origin.split("/")[-2]]

    patch.setattr(_trust, "trusted_hub", lenient)


def no_v2(patch: pytest.MonkeyPatch) -> None:
    def lenient(data: bytes, origin: str, hub: Any) -> Any:
        head, note = parse_checkpoint(data)
        return _log_steps.SignedHead(head, note, data, tuple(k for k in hub.keys if k.role == "log"))

    patch.setattr(_log_steps, "v2_checkpoint", lenient)


def no_v3(patch: pytest.MonkeyPatch) -> None:
    """Without memory of the tree, in V5 too, which would still refuse the fork but not know it for one."""
    patch.setattr(_log_steps, "v3_history", lambda signed, state, tiles: None)
    original = _log_steps.v5_entries

    def forgetful(signed: Any, earlier: Any, state: Any, tiles: Any) -> Any:
        _, frontier = original(signed, (), replace(state, frontier=type(state.frontier)()), tiles)
        return [], frontier

    patch.setattr(_log_steps, "v5_entries", forgetful)


def no_v4(patch: pytest.MonkeyPatch) -> None:
    def lenient(signed: Any, policy: Any, hub: Any, state: Any, now: int) -> Any:
        return _log_steps.Witnessed(signed.head, signed.data, now, {})

    patch.setattr(_log_steps, "v4_quorum", lenient)


def no_v5(patch: pytest.MonkeyPatch) -> None:
    def lenient(signed: Any, earlier: Any, state: Any, tiles: Any) -> Any:
        bundles = [unpack_entries(data, int(p.rpartition("/")[2])) for p, data in tiles.items() if "entries" in p]
        entries = [entry for found in bundles for entry in found]
        return entries, state.frontier.extended(map(leaf_hash, entries))

    patch.setattr(_log_steps, "v5_entries", lenient)


def no_v6(patch: pytest.MonkeyPatch) -> None:
    def lenient(envelope: Any, index: int, hub: Any, heads: Any) -> Any:
        return _entry_steps.SignedEntry(envelope, frozenset(), heads[0].time)

    patch.setattr(_entry_steps, "v6_signature", lenient)


def no_v7(patch: pytest.MonkeyPatch) -> None:
    def lenient(kind: str, payload: bytes, origin: str, streams: Any, schemas: Any) -> Any:
        statement = _entry_steps.read_statement(payload)
        return statement, _entry_steps.read_predicate(statement)

    patch.setattr(_entry_steps, "v7_statement", lenient)


def no_v8(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_entry_steps, "v8_policy", lambda *arguments: None)


def no_v9(patch: pytest.MonkeyPatch) -> None:
    def lenient(batch: Any, subject: Any, blobs: Any, caps: Any, schemas: Any, decoders: Any) -> bytes:
        return gzip.decompress(blobs[batch.encodings[0].digest["sha256"]])

    patch.setattr(_batch_steps, "v9_blob", lenient)


def no_v10(patch: pytest.MonkeyPatch) -> None:
    def lenient(batch: Any, payload: bytes, schemas: Any) -> Any:
        import msgspec

        schema: RowSchema = schemas[batch.schema.id, batch.schema.version]
        return msgspec.json.Decoder(schema.row_type).decode_lines(payload)

    patch.setattr(_batch_steps, "v10_rows", lenient)


STEPS: dict[str, tuple[Code, Callable[[World, Path], tuple[str, bool]], Patch]] = {
    "V0": (Code.CAP, v0, no_v0),
    "V1": (Code.TRUST, v1, no_v1),
    "V2": (Code.CP, v2, no_v2),
    "V3": (Code.FORK, v3, no_v3),
    "V4": (Code.QUORUM, v4, no_v4),
    "V5": (Code.TREE, v5, no_v5),
    "V6": (Code.SIG, v6, no_v6),
    "V7": (Code.SEQ, v7, no_v7),
    "V8": (Code.POLICY, v8, no_v8),
    "V9": (Code.DIGEST, v9, no_v9),
    "V10": (Code.ROWS, v10, no_v10),
}


@pytest.mark.parametrize("step", STEPS)
def test_hostile_case_of_each_step_passes_only_without_that_step(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    code, build, remove = STEPS[step]
    assert build(world, tmp_path) == (code, False)
    remove(monkeypatch)
    assert build(world, tmp_path) == ("", True)


@pytest.mark.parametrize("step", [s for s in STEPS if s != "V0"])
def test_the_good_case_passes_with_and_without_each_step(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The mutants are no stand-ins that accept nothing or break everything."""
    if step != "V3":
        STEPS[step][2](monkeypatch)
    assert answer(world.verifier(), world.usual_log()) == ("", True)


def test_hostile_errors_inside_a_step_would_be_seen(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verifier turns refusals into verdicts, never other errors into silence."""

    def broken(*arguments: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(_entry_steps, "v6_signature", broken)
    with pytest.raises(ZeroDivisionError):
        world.verifier().verify(world.usual_log().submission())


def test_without_v3_alone_a_fork_is_taken_for_a_damaged_delivery(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_log_steps, "v3_history", lambda signed, state, tiles: None)
    assert v3(world, tmp_path) == (Code.TREE, False)
