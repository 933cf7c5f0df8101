"""Hostile checkpoints, tiles and histories: each with the step, code and state it must end in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from types import ModuleType
from typing import Any

import pytest

from dianhuan_federation.core import (
    LogState,
    Verdict,
    canonical,
    parse_checkpoint,
    verify_fork,
)
from dianhuan_sdk import InputError

World = ModuleType
Case = tuple[str, Callable[[World], Verdict]]


def _checkpoint(w: World, **changes: Any) -> Verdict:
    log = w.usual_log()
    log.publish(**changes)
    return w.whole(log, earlier=())


def _spoiled(w: World, spoil: Callable[[bytes], bytes]) -> Verdict:
    log = w.usual_log()
    data = spoil(log.heads[-1])
    assert data != log.heads[-1]
    return w.whole(log, checkpoint=data)


def _resigned(w: World, text: bytes) -> Verdict:
    from dianhuan_federation.core import format_note, sign_note

    log = w.usual_log()
    note = format_note(text, [sign_note(text, w.ORIGIN, w.signer(f"log-{w.HUB}"))])
    return w.whole(log, checkpoint=note)


def _second_signature(w: World) -> Verdict:
    from dianhuan_federation.core import format_note, parse_note, sign_note

    log = w.usual_log()
    note = parse_note(log.heads[-1])
    wrong = sign_note(b"something else\n", w.ORIGIN, w.signer(f"log-{w.HUB}"))
    return w.whole(log, checkpoint=format_note(note.text, [*note.signatures, wrong]))


def _known(w: World) -> tuple[Any, LogState]:
    log = w.usual_log()
    return log, w.verifier().verify(log.submission()).state


def _fork_same_size(w: World) -> Verdict:
    _, state = _known(w)
    other = w.usual_log(1)
    other.add_batch([w.warning_row(77)])
    other.publish()
    return w.whole(other, state=state)


def _fork_larger(w: World) -> Verdict:
    _, state = _known(w)
    other = w.usual_log(1)
    for i in range(5):
        other.add_batch([w.warning_row(70 + i)])
    other.publish(w.NOW - 100)
    return w.whole(other, state=state)


def _fork_among_earlier(w: World) -> Verdict:
    """The newest head is fine for a newcomer, but an earlier signed one in the same delivery is of another history."""
    log, other = w.usual_log(3), w.usual_log(1)
    other.add_batch([w.warning_row(77)])
    other.publish(w.NOW - 7200)
    return w.whole(log, earlier=[other.heads[-1]])


def _fork_by_thief(w: World, **publish: Any) -> Verdict:
    """Who stole a log key that was revoked since cannot get the hub quarantined with it."""
    entries = [w.key_entry(role, f"{role}-{w.HUB}") for role in w.ROLES]
    entries.append(w.key_entry("log", "stolen", revoked_at=w.iso(w.NOW - 10 * w.DAY)))
    verifier = w.verifier(w.TrustBuilder(hubs={w.HUB: w.hub_file(w.HUB, keys=entries)}))
    state = verifier.verify(w.usual_log().submission()).state
    other = w.usual_log(1)
    other.add_batch([w.warning_row(77)])
    other.publish(log="stolen", **publish)
    return w.whole(other, verifier, state)


def _thief_among_earlier(w: World) -> Verdict:
    entries = [w.key_entry(role, f"{role}-{w.HUB}") for role in w.ROLES]
    entries.append(w.key_entry("log", "stolen", revoked_at=w.iso(w.NOW - 10 * w.DAY)))
    verifier = w.verifier(w.TrustBuilder(hubs={w.HUB: w.hub_file(w.HUB, keys=entries)}))
    log, other = w.usual_log(3), w.usual_log(1)
    other.add_batch([w.warning_row(77)])
    other.publish(log="stolen", witnesses=())
    return w.whole(log, verifier, earlier=[other.heads[-1]])


def _fork_unproven(w: World) -> Verdict:
    """Bytes that do not even belong together are a broken delivery, not evidence against the log."""
    _, state = _known(w)
    other = w.usual_log(1)
    for i in range(5):
        other.add_batch([w.warning_row(70 + i)])
    other.publish(w.NOW - 100)
    tiles = {path: data for path, data in other.tiles().items() if "entries" in path}
    return w.whole(other, state=state, tiles=tiles)


def _older(w: World) -> Verdict:
    log, _ = _known(w)
    first = log.heads[-1]
    log.add_batch([w.warning_row(50)])
    log.publish(w.NOW - 100)
    state = w.verifier().verify(log.submission()).state
    return w.whole(log, state=state, checkpoint=first)


def _witness_backwards(w: World) -> Verdict:
    log, state = _known(w)
    log.add_batch([w.warning_row(50)])
    log.publish(w.NOW - 7200)
    return w.whole(log, state=state)


def _borrowed_cosignatures(w: World) -> Verdict:
    log = w.usual_log()
    old = log.heads[-1]
    log.add_batch([w.warning_row(50)])
    new = log.publish(witnesses=())
    lines = [line for line in old.split(b"\n") if b"prov.example" in line]
    return w.whole(log, checkpoint=new + b"\n".join(lines) + b"\n", earlier=())


def _plain_witness_signatures(w: World) -> Verdict:
    from dianhuan_federation.core import format_note, parse_note, sign_note

    log = w.usual_log()
    note = parse_note(log.publish(witnesses=()))
    lines = [sign_note(note.text, f"prov.example/{name}", w.signer(name)) for name in w.WITNESSES]
    return w.whole(log, checkpoint=format_note(note.text, [*note.signatures, *lines]), earlier=())


def _tiles(w: World, spoil: Callable[[dict[str, bytes]], dict[str, bytes]]) -> Verdict:
    log = w.usual_log()
    tiles = spoil(log.tiles())
    assert tiles != log.tiles()
    return w.whole(log, tiles=tiles)


BUNDLE = "tile/entries/000.p/3"


def _swapped(w: World) -> Verdict:
    log = w.usual_log()
    log.entries[1], log.entries[2] = log.entries[2], log.entries[1]
    return w.whole(log)


def _width_of_a_larger_tree(w: World) -> Verdict:
    log = w.usual_log()
    tiles = log.tiles()
    log.add_batch([w.warning_row(60)])
    wider = log.tiles()["tile/entries/000.p/4"]
    return w.whole(log, tiles={**tiles, BUNDLE: wider})


LOG: dict[str, Case] = {
    "checkpoint of another log": (
        "V2 E-CP rejected",
        lambda w: _spoiled(w, lambda n: n.replace(b"/r1\n", b"/r2\n", 1)),
    ),
    "checkpoint signed by another hub's log key": (
        "V2 E-CP rejected",
        lambda w: _checkpoint(w, log=f"log-{w.READER}"),
    ),
    "checkpoint signed by the publisher key": (
        "V2 E-CP rejected",
        lambda w: _checkpoint(w, log=f"publisher-{w.HUB}"),
    ),
    "checkpoint with another size": (
        "V2 E-CP rejected",
        lambda w: _spoiled(w, lambda n: n.replace(b"\n3\n", b"\n4\n")),
    ),
    "checkpoint with CRLF": ("V2 E-CP rejected", lambda w: _spoiled(w, lambda n: n.replace(b"\n", b"\r\n"))),
    "checkpoint without its last newline": ("V2 E-CP rejected", lambda w: _spoiled(w, lambda n: n[:-1])),
    "checkpoint cut off": ("V2 E-CP rejected", lambda w: _spoiled(w, lambda n: n[:60])),
    "checkpoint of nothing": ("V2 E-CP rejected", lambda w: _spoiled(w, lambda n: b"")),
    "checkpoint with 97 signatures": (
        "V2 E-CP rejected",
        lambda w: _spoiled(w, lambda n: n + "— x AAAAAAA=\n".encode() * 93),
    ),
    "size with a leading zero": (
        "V2 E-CP rejected",
        lambda w: _resigned(w, f"{w.ORIGIN}\n03\n{w.b64(bytes(32))}\n".encode()),
    ),
    "size 2^63": ("V2 E-CP rejected", lambda w: _resigned(w, f"{w.ORIGIN}\n{2**63}\n{w.b64(bytes(32))}\n".encode())),
    "extension line": (
        "V2 E-CP rejected",
        lambda w: _resigned(w, f"{w.ORIGIN}\n3\n{w.b64(bytes(32))}\nmore\n".encode()),
    ),
    "empty tree with a root": (
        "V2 E-CP rejected",
        lambda w: _resigned(w, f"{w.ORIGIN}\n0\n{w.b64(bytes(32))}\n".encode()),
    ),
    "a second, wrong signature under the log's name": ("V2 E-CP rejected", lambda w: _second_signature(w)),
    "log key revoked before it was witnessed": (
        "V2 E-CP rejected",
        lambda w: w.trusting(hubs=w.changed_keys(log={"revoked_at": w.iso(w.NOW - 7200)})),
    ),
    "log key not valid yet": (
        "V2 E-CP rejected",
        lambda w: w.trusting(hubs=w.changed_keys(log={"valid_from": w.iso(w.NOW)})),
    ),
    "fork at the same size": ("V3 E-FORK quarantined", _fork_same_size),
    "fork at a larger size": ("V3 E-FORK quarantined", _fork_larger),
    "fork among the earlier heads": ("V3 E-FORK quarantined", _fork_among_earlier),
    "fork by a stolen key, unwitnessed": ("V4 E-QUORUM pending", lambda w: _fork_by_thief(w, witnesses=())),
    "fork by a stolen key, witnessed too late": ("V2 E-CP rejected", _fork_by_thief),
    "fork by a stolen key that witnesses saw in its time": (
        "V3 E-FORK quarantined",
        lambda w: _fork_by_thief(w, at=w.NOW - 20 * w.DAY),
    ),
    "fork by a stolen key among the earlier heads": ("- - accepted", _thief_among_earlier),
    "larger head whose tiles are missing": ("V5 E-TREE rejected", _fork_unproven),
    "older checkpoint after a newer": ("- - old", _older),
    "no witness": ("V4 E-QUORUM pending", lambda w: _checkpoint(w, witnesses=())),
    "one witness of two": ("V4 E-QUORUM pending", lambda w: _checkpoint(w, witnesses=("w43",))),
    "one witness twice": ("V4 E-QUORUM pending", lambda w: _checkpoint(w, witnesses=("w43", "w43"))),
    "witnesses nobody knows": ("V4 E-QUORUM pending", lambda w: _checkpoint(w, witnesses=("w43", "w46", "w47"))),
    "witnesses 11 minutes ahead": ("V4 E-QUORUM pending", lambda w: _checkpoint(w, at=w.NOW + 660)),
    "witnesses a day ahead": ("V4 E-QUORUM pending", lambda w: _checkpoint(w, at=w.NOW + w.DAY)),
    "witnesses in 1970": ("V4 E-QUORUM pending", lambda w: _checkpoint(w, at=0)),
    "witnesses before the log's inception": ("V4 E-QUORUM pending", lambda w: _checkpoint(w, at=w.NOW - 201 * w.DAY)),
    "witnesses whose clocks ran backwards": ("V4 E-QUORUM pending", _witness_backwards),
    "cosignatures of another checkpoint": ("V4 E-QUORUM pending", _borrowed_cosignatures),
    "plain signatures of the witnesses": ("V4 E-QUORUM pending", _plain_witness_signatures),
    "our own clock in 1970": ("V4 E-QUORUM pending", lambda w: w.whole(w.usual_log(), replace(w.verifier(), now=0))),
    "two entries swapped": ("V5 E-TREE rejected", _swapped),
    "a bit flipped in an entry": (
        "V5 E-TREE rejected",
        lambda w: _tiles(w, lambda t: {**t, BUNDLE: t[BUNDLE][:40] + b"!" + t[BUNDLE][41:]}),
    ),
    "entries missing": (
        "V5 E-TREE rejected",
        lambda w: _tiles(w, lambda t: {k: v for k, v in t.items() if k != BUNDLE}),
    ),
    "entry bundle cut off": ("V5 E-TREE rejected", lambda w: _tiles(w, lambda t: {**t, BUNDLE: t[BUNDLE][:-1]})),
    "entry bundle with one more": (
        "V5 E-TREE rejected",
        lambda w: _tiles(w, lambda t: {**t, BUNDLE: t[BUNDLE] + b"\0\1x"}),
    ),
    "entry bundle with half a length": (
        "V5 E-TREE rejected",
        lambda w: _tiles(w, lambda t: {**t, BUNDLE: t[BUNDLE] + b"\0"}),
    ),
    "bundle wider than the tree": ("V5 E-TREE rejected", _width_of_a_larger_tree),
    "bundle under the name of another width": (
        "V5 E-TREE rejected",
        lambda w: _tiles(w, lambda t: {"tile/entries/000": t[BUNDLE]}),
    ),
}


@pytest.mark.parametrize("name", LOG)
def test_hostile_log_ends_as_the_matrix_says(world: World, name: str) -> None:
    expected, build = LOG[name]
    verdict = build(world)
    assert f"{verdict.step or '-'} {verdict.code or '-'} {verdict.state}" == expected, verdict.detail


def test_hostile_stick_twice_changes_nothing(world: World) -> None:
    log, state = _known(world)
    report = world.verifier().verify(log.submission(), state)
    assert (report.verdict.code, report.entries, report.state) == (None, (), state)


def test_hostile_split_view_is_proven_to_each_side_by_gossip(world: World) -> None:
    """Two provinces were shown two histories; each convinces anybody with the other's checkpoint and the log key."""
    honest, other = world.usual_log(), world.usual_log(1)
    for i in range(4):
        other.add_batch([world.warning_row(70 + i)])
    other.publish()
    verifier = world.verifier()
    one = verifier.verify(honest.submission())
    two = verifier.verify(other.submission())
    assert one.verdict.code is two.verdict.code is None
    gossip = verifier.verify(other.submission(), one.state)
    assert gossip.state == one.state
    assert gossip.evidence is not None
    hub = verifier.trust.hubs[world.HUB]
    keys = [key for key, _ in hub.log_keys(world.ORIGIN)]
    assert verify_fork(gossip.evidence, keys) == world.ORIGIN
    strangers = [key for key, _ in verifier.trust.hubs[world.READER].log_keys(world.ORIGIN)]
    with pytest.raises(InputError):
        verify_fork(gossip.evidence, strangers)


@pytest.mark.parametrize("field", ["older", "newer", "other_root", "proof"])
def test_hostile_false_accusation_of_a_fork_proves_nothing(world: World, field: str) -> None:
    log, _ = _known(world)
    older = log.heads[-1]
    log.add_batch([world.warning_row(50)])
    newer = log.publish(world.NOW - 100)
    keys = [key for key, _ in world.verifier().trust.hubs[world.HUB].log_keys(world.ORIGIN)]
    head, _ = parse_checkpoint(older)
    made_up = {
        "kind": "urn:dianhuan:federation:fork-evidence:v1",
        "older": world.b64(older),
        "newer": world.b64(newer),
        "other_root": world.b64(sha256(b"x").digest()),
        "proof": [world.b64(sha256(b"y").digest())] * 2,
    }
    changes: dict[str, Any] = {
        "older": world.b64(newer),
        "newer": world.b64(older),
        "other_root": world.b64(head.root),
        "proof": [],
    }
    for document in (made_up, {**made_up, field: changes[field]}, {**made_up, field: 7}):
        with pytest.raises(InputError):
            verify_fork(canonical(document), keys)


def test_verdicts_do_not_depend_on_how_the_log_arrived(world: World) -> None:
    log = world.usual_log(1)
    verifier, state, stepwise = world.verifier(), None, []
    for number in range(5):
        log.add_batch([world.warning_row(100 + number)])
        log.publish(world.NOW - 3000 + number)
        report = verifier.verify(log.submission(), state)
        stepwise.extend(report.entries)
        state = report.state
    once = verifier.verify(log.submission())
    assert [e.verdict for e in once.entries] == [e.verdict for e in stepwise]
    assert [e.leaf for e in once.entries] == [e.leaf for e in stepwise]
    assert state is not None
    assert once.state.frontier == state.frontier


def test_a_log_beyond_one_tile_verifies_in_steps(world: World) -> None:
    log = world.Log()
    state = None
    for size in (255, 256, 257, 513):
        while len(log.entries) < size:
            log.add(log.statement("heartbeat", "alive", {"streams": 1}))
        log.publish(world.NOW - 3600 + size)
        report = world.verifier().verify(log.submission(), state)
        assert report.verdict.code is None
        assert all(e.verdict.code is None for e in report.entries)
        state = report.state
    assert state is not None
    assert state.size == 513


def test_quorum_none_judges_by_our_own_clock(world: World) -> None:
    log = world.Log()
    log.add(log.statement("heartbeat", "alive", {"streams": 1}))
    log.publish(witnesses=())
    report = world.verifier(policy=b"quorum none\n").verify(log.submission())
    assert report.entries[0].witnessed_at == world.NOW
