"""Hostile trust repositories, checkpoints and entries: each with the step, code and state it must end in."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from types import ModuleType
from typing import Any

import pytest

from dianhuan_federation.core import (
    Ed25519Key,
    LogState,
    Refused,
    Suites,
    Verdict,
    canonical,
    load_trust,
    parse_checkpoint,
    parse_policy,
    verify_fork,
)
from dianhuan_sdk import InputError

World = ModuleType
Case = tuple[str, Callable[[World], Verdict]]


def whole(w: World, log: Any, verifier: Any = None, state: LogState | None = None, **changes: Any) -> Verdict:
    """The verdict on a submission as a whole."""
    verdict: Verdict = (verifier or w.verifier()).verify(log.submission(**changes), state).verdict
    return verdict


def entry(w: World, log: Any, index: int, verifier: Any = None, **changes: Any) -> Verdict:
    """The verdict on one entry of a submission that is accepted as a whole."""
    report = (verifier or w.verifier()).verify(log.submission(**changes))
    assert report.verdict.code is None, report.verdict
    verdict: Verdict = report.entries[index].verdict
    return verdict


def trusting(w: World, files: Mapping[str, bytes] | None = None, now: int | None = None, **fields: Any) -> Verdict:
    """The verdict on the usual log under a changed trust repository."""
    seen = fields.pop("seen", None)
    builder = w.TrustBuilder(**fields)
    try:
        trust = load_trust(builder.bootstrap(), {**builder.build(), **(files or {})}, now or w.NOW, seen=seen)
    except Refused as refused:
        return Verdict.of(refused)
    verifier = replace(w.verifier(), trust=trust, now=now or w.NOW)
    return whole(w, w.usual_log(), verifier)


def hub(w: World, **changes: Any) -> Verdict:
    """The verdict on the usual log where its hub file is changed."""
    return trusting(w, hubs={w.HUB: w.hub_file(w.HUB, **changes), w.READER: w.hub_file(w.READER)})


def keys(w: World, **roles: dict[str, Any]) -> dict[str, Any]:
    """Hub 430200 with changed keys: role → fields."""
    entries = [w.key_entry(role, f"{role}-{w.HUB}", **roles.get(role, {})) for role in w.ROLES]
    return {w.HUB: w.hub_file(w.HUB, keys=entries), w.READER: w.hub_file(w.READER)}


def _mixed(w: World) -> Verdict:
    newer = w.TrustBuilder(version=2).build()
    return trusting(w, {"1.snapshot.json": newer["2.snapshot.json"]})


def _endless(w: World) -> Verdict:
    builder = w.TrustBuilder()
    files = builder.build()
    document = json.loads(files["1.prov-43.json"])
    document["signed"]["delegations"] = json.loads(files["1.targets.json"])["signed"]["delegations"]
    from tuf.api.metadata import Metadata

    signed = Metadata.from_dict(document).signed
    return trusting(w, {"1.prov-43.json": w.metadata(signed, ("prov-43-1", "prov-43-2"))})


def _other_hub_bytes(w: World) -> Verdict:
    files = w.TrustBuilder().build()
    name = next(n for n in files if n.startswith("targets/hubs/43/"))
    return trusting(w, {name: files[name].replace(b"hub 430200", b"hub 430201")})


def _without(w: World, name: str) -> Verdict:
    builder = w.TrustBuilder()
    files = builder.build()
    del files[name]
    try:
        load_trust(builder.bootstrap(), files, w.NOW)
    except Refused as refused:
        return Verdict.of(refused)
    raise AssertionError("accepted")


def _skipped_root(w: World) -> Verdict:
    files = w.TrustBuilder(roots=3).build()
    return trusting(w, {"3.root.json": files["3.root.json"]})


def _small_order(w: World) -> Verdict:
    return trusting(w, hubs=keys(w, publisher={"public": w.b64((1).to_bytes(32, "little"))}))


def _duplicate_key_in_metadata(w: World) -> Verdict:
    files = w.TrustBuilder().build()
    return trusting(w, {"timestamp.json": files["timestamp.json"].replace(b'"version":', b'"version":9,"version":', 1)})


DAY = 86_400
TRUST: dict[str, Case] = {
    "root chain with a gap": ("V1 E-TRUST rejected", _skipped_root),
    "root short of its threshold": (
        "V1 E-TRUST rejected",
        lambda w: trusting(w, roots=2, signers={"root": ("root-1", "root-2")}),
    ),
    "root signed by the keys of another role": (
        "V1 E-TRUST rejected",
        lambda w: trusting(w, roots=2, signers={"root": ("prov-43-1", "prov-43-2", "prov-43-3")}),
    ),
    "more roots than a chain may have": ("V0 E-CAP rejected", lambda w: trusting(w, roots=66)),
    "top targets short of their threshold": (
        "V1 E-TRUST rejected",
        lambda w: trusting(w, signers={"targets": ("root-1", "root-2")}),
    ),
    "timestamp signed by the snapshot key": (
        "V1 E-TRUST rejected",
        lambda w: trusting(w, signers={"timestamp": ("snapshot",)}),
    ),
    "timestamp rolled back": ("V1 E-TRUST rejected", lambda w: trusting(w, seen={"timestamp": 2})),
    "snapshot rolled back": ("V1 E-TRUST rejected", lambda w: trusting(w, seen={"snapshot": 2})),
    "province rolled back": ("V1 E-TRUST rejected", lambda w: trusting(w, seen={"prov-43": 2})),
    "province gone from the snapshot": ("V1 E-TRUST rejected", lambda w: trusting(w, seen={"prov-46": 1})),
    "snapshot of another version": ("V1 E-TRUST rejected", _mixed),
    "no snapshot": ("V1 E-TRUST rejected", lambda w: _without(w, "1.snapshot.json")),
    "no timestamp": ("V1 E-TRUST rejected", lambda w: _without(w, "timestamp.json")),
    "a key twice in the timestamp": ("V1 E-TRUST rejected", _duplicate_key_in_metadata),
    "10 MB of metadata": (
        "V0 E-CAP rejected",
        lambda w: trusting(w, {"timestamp.json": b"[" + b"1," * 5_000_000 + b"1]"}),
    ),
    "deeply nested metadata": ("V1 E-TRUST rejected", lambda w: trusting(w, {"timestamp.json": b"[" * 100_000})),
    "metadata 10 days past its date": (
        "V1 E-STALE pending",
        lambda w: trusting(w, expires={"timestamp": w.NOW - 10 * DAY}),
    ),
    "metadata 31 days past its date": (
        "V1 E-STALE quarantined",
        lambda w: trusting(w, expires={"snapshot": w.NOW - 31 * DAY}),
    ),
    "root 31 days past its date": (
        "V1 E-STALE quarantined",
        lambda w: trusting(w, expires={"root": w.NOW - 31 * DAY}),
    ),
    "province 10 days past its date": (
        "V1 E-STALE pending",
        lambda w: trusting(w, expires={"prov-43": w.NOW - 10 * DAY}),
    ),
    "the year 2106": ("V1 E-STALE quarantined", lambda w: trusting(w, now=2**32)),
    "province short of its threshold": (
        "V1 E-TRUST rejected",
        lambda w: trusting(w, signers={"prov-43": ("prov-43-1",)}),
    ),
    "one province key signing twice": (
        "V1 E-TRUST rejected",
        lambda w: trusting(w, signers={"prov-43": ("prov-43-1", "prov-43-1")}),
    ),
    "province that delegates further": ("V1 E-TRUST rejected", _endless),
    "province with the path of all": (
        "V1 E-TRUST rejected",
        lambda w: trusting(w, paths={"prov-43": ["hubs/*/*"]}),
    ),
    "hub vouched for by another province only": (
        "V1 E-TRUST rejected",
        lambda w: trusting(
            w,
            hubs={w.READER: w.hub_file(w.READER)},
            foreign={"prov-44": {"hubs/43/430200.json": w.hub_file(w.HUB)}},
        ),
    ),
    "hub file changed under its digest": ("V1 E-TRUST rejected", _other_hub_bytes),
    "hub file of another hub": ("V1 E-TRUST rejected", lambda w: trusting(w, hubs={w.HUB: w.hub_file("430300")})),
    "hub file with another hub's origin": (
        "V1 E-TRUST rejected",
        lambda w: hub(w, origins=[{"origin": "fed.example/440100/r1", "inception": w.iso(w.NOW - DAY)}]),
    ),
    "hub file without the origin": ("V1 E-TRUST rejected", lambda w: hub(w, origins=[])),
    "hub file with an unknown field": ("V1 E-TRUST rejected", lambda w: hub(w, admin=True)),
    "hub file with a suite unknown here": ("V1 E-TRUST rejected", lambda w: hub(w, required_suites=["sm2-sm3"])),
    "hub file with no suite required": ("V1 E-TRUST rejected", lambda w: hub(w, required_suites=[])),
    "hub file with a key of small order": ("V1 E-TRUST rejected", _small_order),
    "one key in two roles": (
        "V1 E-TRUST rejected",
        lambda w: hub(w, keys=[w.key_entry("log", "log-430200"), w.key_entry("publisher", "log-430200")]),
    ),
    "hub on the deny list": (
        "V1 E-TRUST rejected",
        lambda w: whole(w, w.usual_log(), w.verifier(denied=frozenset({w.HUB}))),
    ),
    "origin on the deny list": (
        "V1 E-TRUST rejected",
        lambda w: whole(w, w.usual_log(), w.verifier(denied=frozenset({w.ORIGIN}))),
    ),
    "origin nobody vouches for": (
        "V1 E-TRUST rejected",
        lambda w: whole(w, w.usual_log(), origin="fed.example/430200/r2"),
    ),
    "origin without a path": ("V1 E-TRUST rejected", lambda w: whole(w, w.usual_log(), origin="x")),
}


def _checkpoint(w: World, **changes: Any) -> Verdict:
    log = w.usual_log()
    log.publish(**changes)
    return whole(w, log, earlier=())


def _spoiled(w: World, spoil: Callable[[bytes], bytes]) -> Verdict:
    log = w.usual_log()
    data = spoil(log.heads[-1])
    assert data != log.heads[-1]
    return whole(w, log, checkpoint=data)


def _resigned(w: World, text: bytes) -> Verdict:
    from dianhuan_federation.core import format_note, sign_note

    log = w.usual_log()
    note = format_note(text, [sign_note(text, w.ORIGIN, w.signer(f"log-{w.HUB}"))])
    return whole(w, log, checkpoint=note)


def _second_signature(w: World) -> Verdict:
    from dianhuan_federation.core import format_note, parse_note, sign_note

    log = w.usual_log()
    note = parse_note(log.heads[-1])
    wrong = sign_note(b"something else\n", w.ORIGIN, w.signer(f"log-{w.HUB}"))
    return whole(w, log, checkpoint=format_note(note.text, [*note.signatures, wrong]))


def _known(w: World) -> tuple[Any, LogState]:
    log = w.usual_log()
    return log, w.verifier().verify(log.submission()).state


def _fork_same_size(w: World) -> Verdict:
    _, state = _known(w)
    other = w.usual_log(1)
    other.add_batch([w.warning_row(77)])
    other.publish()
    return whole(w, other, state=state)


def _fork_larger(w: World) -> Verdict:
    _, state = _known(w)
    other = w.usual_log(1)
    for i in range(5):
        other.add_batch([w.warning_row(70 + i)])
    other.publish(w.NOW - 100)
    return whole(w, other, state=state)


def _fork_among_earlier(w: World) -> Verdict:
    """The newest head is fine for a newcomer, but an earlier signed one in the same delivery is of another history."""
    log, other = w.usual_log(3), w.usual_log(1)
    other.add_batch([w.warning_row(77)])
    other.publish(w.NOW - 7200)
    return whole(w, log, earlier=[other.heads[-1]])


def _fork_by_thief(w: World, **publish: Any) -> Verdict:
    """Who stole a log key that was revoked since cannot get the hub quarantined with it."""
    entries = [w.key_entry(role, f"{role}-{w.HUB}") for role in w.ROLES]
    entries.append(w.key_entry("log", "stolen", revoked_at=w.iso(w.NOW - 10 * DAY)))
    verifier = w.verifier(w.TrustBuilder(hubs={w.HUB: w.hub_file(w.HUB, keys=entries)}))
    state = verifier.verify(w.usual_log().submission()).state
    other = w.usual_log(1)
    other.add_batch([w.warning_row(77)])
    other.publish(log="stolen", **publish)
    return whole(w, other, verifier, state)


def _thief_among_earlier(w: World) -> Verdict:
    entries = [w.key_entry(role, f"{role}-{w.HUB}") for role in w.ROLES]
    entries.append(w.key_entry("log", "stolen", revoked_at=w.iso(w.NOW - 10 * DAY)))
    verifier = w.verifier(w.TrustBuilder(hubs={w.HUB: w.hub_file(w.HUB, keys=entries)}))
    log, other = w.usual_log(3), w.usual_log(1)
    other.add_batch([w.warning_row(77)])
    other.publish(log="stolen", witnesses=())
    return whole(w, log, verifier, earlier=[other.heads[-1]])


def _fork_unproven(w: World) -> Verdict:
    """Bytes that do not even belong together are a broken delivery, not evidence against the log."""
    _, state = _known(w)
    other = w.usual_log(1)
    for i in range(5):
        other.add_batch([w.warning_row(70 + i)])
    other.publish(w.NOW - 100)
    tiles = {path: data for path, data in other.tiles().items() if "entries" in path}
    return whole(w, other, state=state, tiles=tiles)


def _older(w: World) -> Verdict:
    log, _ = _known(w)
    first = log.heads[-1]
    log.add_batch([w.warning_row(50)])
    log.publish(w.NOW - 100)
    state = w.verifier().verify(log.submission()).state
    return whole(w, log, state=state, checkpoint=first)


def _witness_backwards(w: World) -> Verdict:
    log, state = _known(w)
    log.add_batch([w.warning_row(50)])
    log.publish(w.NOW - 7200)
    return whole(w, log, state=state)


def _borrowed_cosignatures(w: World) -> Verdict:
    log = w.usual_log()
    old = log.heads[-1]
    log.add_batch([w.warning_row(50)])
    new = log.publish(witnesses=())
    lines = [line for line in old.split(b"\n") if b"prov.example" in line]
    return whole(w, log, checkpoint=new + b"\n".join(lines) + b"\n", earlier=())


def _plain_witness_signatures(w: World) -> Verdict:
    from dianhuan_federation.core import format_note, parse_note, sign_note

    log = w.usual_log()
    note = parse_note(log.publish(witnesses=()))
    lines = [sign_note(note.text, f"prov.example/{name}", w.signer(name)) for name in w.WITNESSES]
    return whole(w, log, checkpoint=format_note(note.text, [*note.signatures, *lines]), earlier=())


def _tiles(w: World, spoil: Callable[[dict[str, bytes]], dict[str, bytes]]) -> Verdict:
    log = w.usual_log()
    tiles = spoil(log.tiles())
    assert tiles != log.tiles()
    return whole(w, log, tiles=tiles)


BUNDLE = "tile/entries/000.p/3"


def _swapped(w: World) -> Verdict:
    log = w.usual_log()
    log.entries[1], log.entries[2] = log.entries[2], log.entries[1]
    return whole(w, log)


def _width_of_a_larger_tree(w: World) -> Verdict:
    log = w.usual_log()
    tiles = log.tiles()
    log.add_batch([w.warning_row(60)])
    wider = log.tiles()["tile/entries/000.p/4"]
    return whole(w, log, tiles={**tiles, BUNDLE: wider})


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
        lambda w: trusting(w, hubs=keys(w, log={"revoked_at": w.iso(w.NOW - 7200)})),
    ),
    "log key not valid yet": (
        "V2 E-CP rejected",
        lambda w: trusting(w, hubs=keys(w, log={"valid_from": w.iso(w.NOW)})),
    ),
    "fork at the same size": ("V3 E-FORK quarantined", _fork_same_size),
    "fork at a larger size": ("V3 E-FORK quarantined", _fork_larger),
    "fork among the earlier heads": ("V3 E-FORK quarantined", _fork_among_earlier),
    "fork by a stolen key, unwitnessed": ("V4 E-QUORUM pending", lambda w: _fork_by_thief(w, witnesses=())),
    "fork by a stolen key, witnessed too late": ("V2 E-CP rejected", _fork_by_thief),
    "fork by a stolen key that witnesses saw in its time": (
        "V3 E-FORK quarantined",
        lambda w: _fork_by_thief(w, at=w.NOW - 20 * DAY),
    ),
    "fork by a stolen key among the earlier heads": ("- - accepted", _thief_among_earlier),
    "larger head whose tiles are missing": ("V5 E-TREE rejected", _fork_unproven),
    "older checkpoint after a newer": ("- - old", _older),
    "no witness": ("V4 E-QUORUM pending", lambda w: _checkpoint(w, witnesses=())),
    "one witness of two": ("V4 E-QUORUM pending", lambda w: _checkpoint(w, witnesses=("w43",))),
    "one witness twice": ("V4 E-QUORUM pending", lambda w: _checkpoint(w, witnesses=("w43", "w43"))),
    "witnesses nobody knows": ("V4 E-QUORUM pending", lambda w: _checkpoint(w, witnesses=("w43", "w46", "w47"))),
    "witnesses 11 minutes ahead": ("V4 E-QUORUM pending", lambda w: _checkpoint(w, at=w.NOW + 660)),
    "witnesses a day ahead": ("V4 E-QUORUM pending", lambda w: _checkpoint(w, at=w.NOW + DAY)),
    "witnesses in 1970": ("V4 E-QUORUM pending", lambda w: _checkpoint(w, at=0)),
    "witnesses before the log's inception": ("V4 E-QUORUM pending", lambda w: _checkpoint(w, at=w.NOW - 201 * DAY)),
    "witnesses whose clocks ran backwards": ("V4 E-QUORUM pending", _witness_backwards),
    "cosignatures of another checkpoint": ("V4 E-QUORUM pending", _borrowed_cosignatures),
    "plain signatures of the witnesses": ("V4 E-QUORUM pending", _plain_witness_signatures),
    "our own clock in 1970": ("V4 E-QUORUM pending", lambda w: whole(w, w.usual_log(), replace(w.verifier(), now=0))),
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


def _signed_by(w: World, *names: str, **verifying: Any) -> Verdict:
    log = w.Log()
    log.add(log.statement("heartbeat", "alive", {"streams": 1}), names)
    log.publish()
    return entry(w, log, 0, **verifying)


def _raw(w: World, data: bytes) -> Verdict:
    log = w.Log()
    log.add_raw(data)
    log.publish()
    return entry(w, log, 0)


def _envelope(w: World, spoil: Callable[[dict[str, Any]], dict[str, Any]]) -> Verdict:
    log = w.Log()
    log.add(log.statement("heartbeat", "alive", {"streams": 1}))
    return _raw(w, canonical(spoil(json.loads(log.entries[0]))))


def _key_times(w: World, issued: int | None = None, **fields: Any) -> Verdict:
    builder = w.TrustBuilder(hubs=keys(w, publisher=fields))
    log = w.Log()
    head = {} if issued is None else {"issued_at": w.iso(issued)}
    log.add(log.statement("heartbeat", "alive", {"streams": 1}, **head))
    log.publish()
    return entry(w, log, 0, w.verifier(builder))


class _Second:
    """A second suite of the same mathematics, so that two can be required."""

    name = "second"

    def load(self, raw: bytes) -> Ed25519Key:
        return replace(Suites().load("ed25519", raw), suite="second")  # type: ignore[type-var]


def _weak_suite_only(w: World) -> Verdict:
    both = [
        *(w.key_entry(role, f"{role}-{w.HUB}") for role in w.ROLES),
        w.key_entry("publisher", "second", suite="second"),
    ]
    builder = w.TrustBuilder(hubs={w.HUB: w.hub_file(w.HUB, keys=both, required_suites=["ed25519", "second"])})
    trust = load_trust(builder.bootstrap(), builder.build(), w.NOW, suites=Suites([_Second()]))
    return entry(w, w.usual_log(), 0, replace(w.verifier(), trust=trust))


SIGNATURES: dict[str, Case] = {
    "another hub's publisher": ("V6 E-SIG rejected", lambda w: _signed_by(w, f"publisher-{w.READER}")),
    "the log key for the publisher's": ("V6 E-SIG rejected", lambda w: _signed_by(w, f"log-{w.HUB}")),
    "the transport key for the publisher's": ("V6 E-SIG rejected", lambda w: _signed_by(w, f"transport-{w.HUB}")),
    "a key nobody knows": ("V6 E-SIG rejected", lambda w: _signed_by(w, "stranger")),
    "a publisher key on the deny list": (
        "V6 E-SIG rejected",
        lambda w: _signed_by(w, f"publisher-{w.HUB}", verifier=w.verifier(denied=frozenset({_publisher_id(w)}))),
    ),
    "no signatures": ("V6 E-SIG rejected", lambda w: _envelope(w, lambda d: {**d, "signatures": []})),
    "one key id twice": (
        "V6 E-SIG rejected",
        lambda w: _envelope(w, lambda d: {**d, "signatures": d["signatures"] * 2}),
    ),
    "a bit flipped in the payload": (
        "V6 E-SIG rejected",
        lambda w: _envelope(w, lambda d: {**d, "payload": "Y" + d["payload"][1:]}),
    ),
    "another payload type": ("V6 E-SIG rejected", lambda w: _envelope(w, lambda d: {**d, "payloadType": "text/plain"})),
    "a bit flipped in the signature": (
        "V6 E-SIG rejected",
        lambda w: _envelope(
            w, lambda d: {**d, "signatures": [{**d["signatures"][0], "sig": "AAAA" + d["signatures"][0]["sig"][4:]}]}
        ),
    ),
    "the right signature under another key id": (
        "V6 E-SIG rejected",
        lambda w: _envelope(w, lambda d: {**d, "signatures": [{**d["signatures"][0], "keyid": "0" * 64}]}),
    ),
    "an entry that is no JSON": ("V6 E-SIG rejected", lambda w: _raw(w, b"\x00\xff\xfe")),
    "an empty entry": ("V6 E-SIG rejected", lambda w: _raw(w, b"")),
    "an entry nested deeply": ("V6 E-SIG rejected", lambda w: _raw(w, b"[" * 60_000)),
    "the weak suite only where two are required": ("V6 E-SIG rejected", _weak_suite_only),
    "witnessed before the key was valid": (
        "V6 E-REVOKED soft-fail",
        lambda w: _key_times(w, valid_from=w.iso(w.NOW - 1800)),
    ),
    "witnessed after the key ended": (
        "V6 E-REVOKED soft-fail",
        lambda w: _key_times(w, valid_until=w.iso(w.NOW - 7200)),
    ),
    "witnessed after the key was revoked": (
        "V6 E-REVOKED soft-fail",
        lambda w: _key_times(w, revoked_at=w.iso(w.NOW - 7200)),
    ),
    "back-dated with a stolen key": (
        "V6 E-REVOKED soft-fail",
        lambda w: _key_times(w, issued=w.NOW - 100 * DAY, revoked_at=w.iso(w.NOW - 7200)),
    ),
    "revoked in the very second of the witness": (
        "V6 E-REVOKED soft-fail",
        lambda w: _key_times(w, revoked_at=w.iso(w.NOW - 3600)),
    ),
}


def _publisher_id(w: World) -> str:
    from dianhuan_federation.core import key_id

    return key_id(w.signer(f"publisher-{w.HUB}").public)


def _statement(w: World, kind: str = "heartbeat", fields: dict[str, Any] | None = None, **head: Any) -> Verdict:
    log = w.Log()
    log.add(log.statement(kind, "alive", {"streams": 1} if fields is None else fields, **head))
    log.publish()
    return entry(w, log, 0)


def _second(w: World, **head: Any) -> Verdict:
    log = w.Log()
    log.add(log.statement("heartbeat", "alive", {"streams": 1}))
    log.add(log.statement("heartbeat", "alive", {"streams": 1}, **head))
    log.publish()
    return entry(w, log, 1)


def _repeated(w: World) -> Verdict:
    log = w.Log()
    log.add(log.statement("heartbeat", "alive", {"streams": 1}))
    log.add_raw(log.entries[0])
    log.publish()
    return entry(w, log, 1)


def _from_another_log(w: World) -> Verdict:
    other = w.Log(origin="fed.example/430200/r2")
    statement = other.statement("heartbeat", "alive", {"streams": 1})
    log = w.Log()
    log.add(statement)
    log.publish()
    return entry(w, log, 0)


def _layer(
    w: World, change: Callable[[dict[str, Any]], dict[str, Any]], payload_type: str = "application/vnd.in-toto+json"
) -> Verdict:
    log = w.Log()
    document = json.loads(log.statement("heartbeat", "alive", {"streams": 1}))
    log.add(canonical(change(document)), payload_type=payload_type)
    log.publish()
    return entry(w, log, 0)


def _batch(
    w: World,
    index: int = 1,
    before: Callable[[Any], None] | None = None,
    policy: dict[str, Any] | None = None,
    **fields: Any,
) -> Verdict:
    log = w.Log()
    log.add_policy(**(policy or {}))
    if before:
        before(log)
    log.add_batch([w.warning_row(1)], **fields)
    log.publish()
    return entry(w, log, len(log.entries) - 1)


STATEMENTS: dict[str, Case] = {
    "first of a stream numbered two": ("V7 E-SEQ rejected", lambda w: _statement(w, stream_seq=2)),
    "first of a stream with a predecessor": (
        "V7 E-SEQ rejected",
        lambda w: _statement(w, prev_statement_digest="0" * 64),
    ),
    "a gap in a stream": ("V7 E-SEQ rejected", lambda w: _second(w, stream_seq=3)),
    "a number twice": ("V7 E-SEQ rejected", lambda w: _second(w, stream_seq=1)),
    "another predecessor": ("V7 E-SEQ rejected", lambda w: _second(w, prev_statement_digest="0" * 64)),
    "no predecessor": ("V7 E-SEQ rejected", lambda w: _second(w, prev_statement_digest=None)),
    "an entry replayed in its own log": ("V7 E-SEQ rejected", _repeated),
    "a statement replayed from another log": ("V7 E-SEQ rejected", _from_another_log),
    "a kind nobody knows": ("V7 E-UNKNOWN store-only", lambda w: _statement(w, "full-moon")),
    "a version nobody knows": ("V7 E-UNKNOWN store-only", lambda w: _statement(w, "heartbeat:v2")),
    "an unknown field": ("V7 E-UNKNOWN store-only", lambda w: _statement(w, fields={"streams": 1, "load_kw": 3})),
    "a missing field": ("V7 E-UNKNOWN store-only", lambda w: _statement(w, fields={})),
    "a text for a number": ("V7 E-UNKNOWN store-only", lambda w: _statement(w, fields={"streams": "1"})),
    "a negative count": ("V7 E-UNKNOWN store-only", lambda w: _statement(w, fields={"streams": -1})),
    "local time": ("V7 E-UNKNOWN store-only", lambda w: _statement(w, issued_at="2026-11-24T06:30:00")),
    "another statement type": (
        "V7 E-UNKNOWN store-only",
        lambda w: _layer(w, lambda d: {**d, "_type": "https://in-toto.io/Statement/v0.1"}),
    ),
    "no subject": ("V7 E-UNKNOWN store-only", lambda w: _layer(w, lambda d: {**d, "subject": []})),
    "a payload type signed but unknown": (
        "V7 E-UNKNOWN store-only",
        lambda w: _layer(w, lambda d: d, "application/vnd.dianhuan.bundle+json"),
    ),
    "a statement of 9 KiB": (
        "V7 E-UNKNOWN store-only",
        lambda w: _layer(w, lambda d: {**d, "padding": "x" * 9000}),
    ),
    "a row schema nobody knows": (
        "V7 E-UNKNOWN store-only",
        lambda w: _batch(w, schema={**w.schema_ref(), "id": "load-curve"}),
    ),
    "a row schema of another digest": (
        "V7 E-UNKNOWN store-only",
        lambda w: _batch(w, schema={**w.schema_ref(), "digest": "0" * 64}),
    ),
    "a batch without any encoding": ("V7 E-UNKNOWN store-only", lambda w: _batch(w, encodings=[])),
}


def _policy_after(w: World) -> Verdict:
    log = w.Log()
    statement = log.statement("share-policy", "policies", log.policy_fields())
    digest = sha256(statement).hexdigest()
    batch = {"policy": {"id": "warnings-to-all", "digest": digest}}
    from dianhuan_federation.core import WARNING_ROWS, encode_rows

    rows = encode_rows(WARNING_ROWS, [w.warning_row(1)])
    fields = {**log.batch_fields(rows.payload, 1, rows.root, policy=99), **batch}
    log.add(log.statement("result-batch", "warnings", fields, rows.payload))
    log.add(statement)
    log.publish()
    return entry(w, log, 0)


def _withdraw(log: Any, index: int) -> None:
    target = {"index": index, "digest": log.digests[index], "record_ids": []}
    fields = {"targets": [target], "reason": "withdrawn", "legal_basis": "Order 809 art. 26"}
    log.add(log.statement("retraction", "retractions", fields))


def _withdrawn_later(w: World) -> Verdict:
    log = w.Log()
    log.add_policy()
    log.add_batch([w.warning_row(1)])
    _withdraw(log, 0)
    log.publish()
    return entry(w, log, 1)


def _granted(
    w: World, signers: tuple[str, ...] | None = None, withdraw: bool = False, reader: str | None = None, **grant: Any
) -> Verdict:
    log = w.Log()
    log.add_policy(**{"class": "conditional"})
    log.add_grant(0, signers, **grant)
    log.add_batch([w.warning_row(1)])
    if withdraw:
        _withdraw(log, 1)
    log.publish()
    verifier = w.verifier() if reader is None else replace(w.verifier(), reader=reader)
    return entry(w, log, 2, verifier)


def _grant_itself(w: World, signers: tuple[str, ...]) -> Verdict:
    log = w.Log()
    log.add_policy(**{"class": "conditional"})
    log.add_grant(0, signers)
    log.publish()
    return entry(w, log, 1)


def _target(w: World, kind: str, **change: Any) -> Verdict:
    log = w.Log()
    log.add_policy()
    log.add_batch([w.warning_row(1)])
    target = {"index": 1, "digest": log.digests[1], "record_ids": ["w-000001"], **change}
    if kind == "correction":
        log.add_batch([w.warning_row(1)], kind=kind, supersedes=[target], reason="typing error")
    else:
        log.add(log.statement(kind, "r", {"targets": [target], "reason": "r", "legal_basis": "l"}))
    log.publish()
    return entry(w, log, 2)


POLICY: dict[str, Case] = {
    "a batch under no policy": ("V8 E-POLICY soft-fail", lambda w: _batch(w, policy={"target": "other"})),
    "a policy that comes after the batch": ("V8 E-POLICY soft-fail", _policy_after),
    "a policy id that is not the digest's": (
        "V8 E-POLICY soft-fail",
        lambda w: _batch(w, policy={"id": "something-else"}),
    ),
    "a policy that had ended": (
        "V8 E-POLICY soft-fail",
        lambda w: _batch(w, policy={"valid_until": w.iso(w.NOW - DAY)}),
    ),
    "a policy that had not begun": ("V8 E-POLICY soft-fail", lambda w: _batch(w, policy={"valid_from": w.iso(w.NOW)})),
    "a policy that withholds": ("V8 E-POLICY soft-fail", lambda w: _batch(w, policy={"class": "withheld"})),
    "a field outside the policy": (
        "V8 E-POLICY soft-fail",
        lambda w: _batch(w, policy={"fields": [c.name for c in _columns() if c.name != "enterprise_name"]}),
    ),
    "a policy for another row schema": (
        "V8 E-POLICY soft-fail",
        lambda w: _batch(w, policy={"schema": {**w.schema_ref(), "digest": "1" * 64}}),
    ),
    "the older version of a replaced policy": (
        "V8 E-POLICY soft-fail",
        lambda w: _batch(w, before=lambda log: log.add_policy(version=2)),
    ),
    "a policy withdrawn before the batch": (
        "V8 E-POLICY soft-fail",
        lambda w: _batch(w, before=lambda log: _withdraw(log, 0)),
    ),
    "a policy withdrawn after the batch": ("V8 E-POLICY soft-fail", _withdrawn_later),
    "a policy downgraded": (
        "V8 E-POLICY soft-fail",
        lambda w: _downgrade(w),
    ),
    "no grant under a conditional policy": (
        "V8 E-POLICY soft-fail",
        lambda w: _batch(w, policy={"class": "conditional"}),
    ),
    "a grant to somebody else": ("V8 E-POLICY soft-fail", lambda w: _granted(w, reader="110000")),
    "a grant for another purpose": ("V8 E-POLICY soft-fail", lambda w: _granted(w, purpose="marketing")),
    "a grant that had ended": ("V8 E-POLICY soft-fail", lambda w: _granted(w, valid_until=w.iso(w.NOW - DAY))),
    "a grant that had not begun": ("V8 E-POLICY soft-fail", lambda w: _granted(w, valid_from=w.iso(w.NOW))),
    "a grant withdrawn": ("V8 E-POLICY soft-fail", lambda w: _granted(w, withdraw=True)),
    "a grant that the assignee did not sign": (
        "V8 E-POLICY soft-fail",
        lambda w: _grant_itself(w, (f"publisher-{w.HUB}",)),
    ),
    "a batch under a grant that the assignee did not sign": (
        "V8 E-POLICY soft-fail",
        lambda w: _granted(w, (f"publisher-{w.HUB}",)),
    ),
    "a grant countersigned with the wrong role": (
        "V8 E-POLICY soft-fail",
        lambda w: _grant_itself(w, (f"publisher-{w.HUB}", f"transport-{w.READER}")),
    ),
    "a correction of an entry that comes later": ("V9 E-MISSING pending", lambda w: _target(w, "correction", index=7)),
    "a correction of another statement": (
        "V9 E-MISSING pending",
        lambda w: _target(w, "correction", digest="0" * 64),
    ),
    "a retraction of an entry that comes later": ("V9 E-MISSING pending", lambda w: _target(w, "retraction", index=2)),
    "a redaction of another statement": ("V9 E-MISSING pending", lambda w: _target(w, "redaction", index=0)),
}


def _columns() -> tuple[Any, ...]:
    from dianhuan_federation.core import WARNING_ROWS

    return WARNING_ROWS.columns


def _downgrade(w: World) -> Verdict:
    log = w.Log()
    log.add_policy(version=2)
    log.add_policy(version=1)
    log.publish()
    return entry(w, log, 1)


CASES = {
    f"{family}: {name}": case
    for family, cases in {
        "trust": TRUST,
        "log": LOG,
        "signatures": SIGNATURES,
        "statements": STATEMENTS,
        "policy": POLICY,
    }.items()
    for name, case in cases.items()
}


@pytest.mark.parametrize("name", CASES)
def test_hostile_case_ends_as_the_matrix_says(world: World, name: str) -> None:
    expected, build = CASES[name]
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


def test_hostile_bad_province_does_not_stop_the_others(world: World) -> None:
    builder = world.TrustBuilder(signers={"prov-44": ("prov-44-1",)})
    trust = load_trust(builder.bootstrap(), builder.build(), world.NOW)
    assert set(trust.hubs) == {world.HUB}
    assert "prov-44" in trust.refused
    assert whole(world, world.usual_log(), replace(world.verifier(), trust=trust)).code is None


def test_a_week_past_its_date_the_metadata_still_serves(world: World) -> None:
    verdict = trusting(world, expires={"timestamp": world.NOW - 6 * DAY})
    assert verdict.code is None


def test_old_records_outlive_their_keys(world: World) -> None:
    """Rotation: the first batches were witnessed under the first key, and a newcomer sees both heads years later."""
    old, new = f"publisher-{world.HUB}", "publisher-second"
    revoked = world.NOW - 10 * DAY
    entries = [
        *(world.key_entry(role, f"{role}-{world.HUB}") for role in ("log", "transport")),
        world.key_entry("publisher", old, revoked_at=world.iso(revoked), reason="stolen"),
        world.key_entry("publisher", new, valid_from=world.iso(revoked)),
    ]
    builder = world.TrustBuilder(hubs={world.HUB: world.hub_file(world.HUB, keys=entries)})
    log = world.Log()
    log.add(log.statement("heartbeat", "alive", {"streams": 1}), [old])
    log.publish(world.NOW - 20 * DAY)
    log.add(log.statement("heartbeat", "alive", {"streams": 2}), [old])
    log.publish(world.NOW - 9 * DAY)
    log.add(log.statement("heartbeat", "alive", {"streams": 3}), [new])
    log.publish(world.NOW - DAY)
    report = world.verifier(builder).verify(log.submission())
    assert [e.verdict.code for e in report.entries] == [None, "E-REVOKED", None]
    assert [e.witnessed_at for e in report.entries] == [world.NOW - 20 * DAY, None, world.NOW - DAY]
    late = world.verifier(builder).verify(log.submission(earlier=()))
    assert [e.verdict.code for e in late.entries] == ["E-REVOKED", "E-REVOKED", None]


def test_an_unknown_kind_keeps_its_place_in_the_stream(world: World) -> None:
    log = world.Log()
    log.add(log.statement("heartbeat", "alive", {"streams": 1}))
    log.add(log.statement("heartbeat:v9", "alive", {"wishes": []}))
    log.add(log.statement("heartbeat", "alive", {"streams": 1}))
    log.publish()
    report = world.verifier().verify(log.submission())
    assert [e.verdict.code for e in report.entries] == [None, "E-UNKNOWN", None]


def test_a_conditional_policy_opens_to_its_grantee_and_to_an_auditor(world: World) -> None:
    assert _granted(world).code is None
    assert _granted(world, reader="").code is None


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


def test_witness_policies_of_the_specification(world: World) -> None:
    policy = parse_policy(world.policy_text())
    assert not policy.satisfied_by({"w43"})
    assert policy.satisfied_by({"w43", "w45"})
    assert parse_policy(world.policy_text("quorum w44")).satisfied_by({"w44"})
    assert parse_policy(world.policy_text(threshold="all")).satisfied_by(world.WITNESSES)
    assert not parse_policy(world.policy_text(threshold="all")).satisfied_by(world.WITNESSES[:2])
    assert parse_policy(world.policy_text(threshold="any")).satisfied_by({"w45"})
    nested = world.policy_text("group both all provinces w46\nquorum both")
    extra = "witness w46 " + _cosigner(world, "w46") + "\n"
    both = parse_policy(b"# comment\n\n\t " + extra.encode() + nested)
    assert both.satisfied_by({"w46", "w43", "w44"})
    assert not both.satisfied_by({"w43", "w44", "w45"})


def _cosigner(w: World, name: str) -> str:
    from dianhuan_federation.core import COSIGNATURE, note_key

    vkey: str = note_key(f"prov.example/{name}", COSIGNATURE, w.signer(name).public).vkey
    return vkey


HOSTILE_POLICIES: dict[str, Callable[[bytes], bytes]] = {
    "no quorum": lambda p: p.replace(b"quorum provinces\n", b""),
    "two quorums": lambda p: p + b"quorum w43\n",
    "quorum before its group": lambda p: b"quorum provinces\n" + p,
    "unknown member": lambda p: p.replace(b"2 w43", b"2 w99"),
    "member twice": lambda p: p.replace(b"2 w43", b"2 w43 w43"),
    "member of two groups": lambda p: p.replace(b"quorum", b"group more any w43\nquorum"),
    "threshold zero": lambda p: p.replace(b"provinces 2", b"provinces 0"),
    "threshold above": lambda p: p.replace(b"provinces 2", b"provinces 4"),
    "threshold in words": lambda p: p.replace(b"provinces 2", b"provinces most"),
    "no members": lambda p: p.replace(b"2 w43 w44 w45", b"2"),
    "group called none": lambda p: p.replace(b"group provinces", b"group none"),
    "witness key twice": lambda p: p.replace(b"quorum", b"witness again " + p.split()[2] + b"\nquorum"),
    "name twice": lambda p: p.replace(b"group provinces", b"group w43"),
    "unknown line": lambda p: p + b"trust everyone\n",
    "carriage return": lambda p: p.replace(b"\n", b"\r\n"),
    "no last newline": lambda p: p[:-1],
    "log key as witness": lambda p: p.replace(b"quorum", b"witness l fed+00000000+AQ==\nquorum"),
}


@pytest.mark.parametrize("spoil", HOSTILE_POLICIES.values(), ids=HOSTILE_POLICIES)
def test_hostile_witness_policies_are_refused(world: World, spoil: Callable[[bytes], bytes]) -> None:
    from dianhuan_sdk import ConfigError

    with pytest.raises(ConfigError):
        parse_policy(spoil(world.policy_text()))


def test_a_stored_state_goes_on_where_it_stopped(world: World) -> None:
    log = world.Log()
    log.add_policy(**{"class": "conditional"})
    log.add_grant(0)
    log.add_batch([world.warning_row(1)])
    _withdraw(log, 2)
    log.publish()
    state = world.verifier().verify(log.submission()).state
    stored = state.encode()
    assert LogState.decode(stored) == state
    log.add_batch([world.warning_row(2)])
    log.publish(world.NOW - 60)
    report = world.verifier().verify(log.submission(), LogState.decode(stored))
    assert [e.verdict.code for e in report.entries] == [None]


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b"\xff", b'{"origin":"x","frontier":{"size":3,"hashes":[]}}'])
def test_hostile_damage_to_a_stored_state_is_no_empty_state(damage: bytes) -> None:
    with pytest.raises(InputError):
        LogState.decode(damage)
