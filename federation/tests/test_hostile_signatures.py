"""Hostile envelopes and keys: each with the step, code and state it must end in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from dianhuan_federation.core import (
    Ed25519Key,
    Suites,
    Verdict,
    canonical,
    load_trust,
)

World = ModuleType
Case = tuple[str, Callable[[World], Verdict]]


def _publisher_id(w: World) -> str:
    from dianhuan_federation.core import key_id

    return key_id(w.signer(f"publisher-{w.HUB}").public)


def _signed_by(w: World, *names: str, **verifying: Any) -> Verdict:
    log = w.Log()
    log.add(log.statement("heartbeat", "alive", {"streams": 1}), names)
    log.publish()
    return w.entry(log, 0, **verifying)


def _raw(w: World, data: bytes) -> Verdict:
    log = w.Log()
    log.add_raw(data)
    log.publish()
    return w.entry(log, 0)


def _envelope(w: World, spoil: Callable[[dict[str, Any]], dict[str, Any]]) -> Verdict:
    log = w.Log()
    log.add(log.statement("heartbeat", "alive", {"streams": 1}))
    return _raw(w, canonical(spoil(json.loads(log.entries[0]))))


def _key_times(w: World, issued: int | None = None, **fields: Any) -> Verdict:
    builder = w.TrustBuilder(hubs=w.changed_keys(publisher=fields))
    log = w.Log()
    head = {} if issued is None else {"issued_at": w.iso(issued)}
    log.add(log.statement("heartbeat", "alive", {"streams": 1}, **head))
    log.publish()
    return w.entry(log, 0, w.verifier(builder))


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
    return w.entry(w.usual_log(), 0, replace(w.verifier(), trust=trust))


SIGNATURES: dict[str, Case] = {
    "another hub's publisher": ("V6 E-SIG rejected", lambda w: _signed_by(w, f"publisher-{w.READER}")),
    "the log key for the publisher's": ("V6 E-SIG rejected", lambda w: _signed_by(w, f"log-{w.HUB}")),
    "the transport key for the publisher's": ("V6 E-SIG rejected", lambda w: _signed_by(w, f"transport-{w.HUB}")),
    "a key nobody knows": ("V6 E-SIG rejected", lambda w: _signed_by(w, "stranger")),
    "a publisher key on the deny list": (
        "V6 E-SIG rejected",
        lambda w: _signed_by(w, f"publisher-{w.HUB}", judge=w.verifier(denied=frozenset({_publisher_id(w)}))),
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
        lambda w: _key_times(w, issued=w.NOW - 100 * w.DAY, revoked_at=w.iso(w.NOW - 7200)),
    ),
    "revoked in the very second of the witness": (
        "V6 E-REVOKED soft-fail",
        lambda w: _key_times(w, revoked_at=w.iso(w.NOW - 3600)),
    ),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_hostile_signature_ends_as_the_matrix_says(world: World, name: str) -> None:
    expected, build = SIGNATURES[name]
    verdict = build(world)
    assert f"{verdict.step or '-'} {verdict.code or '-'} {verdict.state}" == expected, verdict.detail


def test_old_records_outlive_their_keys(world: World) -> None:
    """Rotation: the first batches were witnessed under the first key, and a newcomer sees both heads years later."""
    old, new = f"publisher-{world.HUB}", "publisher-second"
    revoked = world.NOW - 10 * world.DAY
    entries = [
        *(world.key_entry(role, f"{role}-{world.HUB}") for role in ("log", "transport")),
        world.key_entry("publisher", old, revoked_at=world.iso(revoked), reason="stolen"),
        world.key_entry("publisher", new, valid_from=world.iso(revoked)),
    ]
    builder = world.TrustBuilder(hubs={world.HUB: world.hub_file(world.HUB, keys=entries)})
    log = world.Log()
    log.add(log.statement("heartbeat", "alive", {"streams": 1}), [old])
    log.publish(world.NOW - 20 * world.DAY)
    log.add(log.statement("heartbeat", "alive", {"streams": 2}), [old])
    log.publish(world.NOW - 9 * world.DAY)
    log.add(log.statement("heartbeat", "alive", {"streams": 3}), [new])
    log.publish(world.NOW - world.DAY)
    report = world.verifier(builder).verify(log.submission())
    assert [e.verdict.code for e in report.entries] == [None, "E-REVOKED", None]
    assert [e.witnessed_at for e in report.entries] == [world.NOW - 20 * world.DAY, None, world.NOW - world.DAY]
    late = world.verifier(builder).verify(log.submission(earlier=()))
    assert [e.verdict.code for e in late.entries] == ["E-REVOKED", "E-REVOKED", None]
