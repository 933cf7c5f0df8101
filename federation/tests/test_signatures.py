"""Suites, keys and DSSE envelopes, against securesystemslib."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.signer import CryptoSigner, SSlibKey

from dianhuan_federation.core import Ed25519, Ed25519Signer, Suites, key_id, open_envelope, pae, seal
from dianhuan_sdk import ConfigError, InputError

Signers = Callable[[str], Ed25519Signer]
P = 2**255 - 19
LOW_ORDER_Y = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7

HOSTILE_KEYS = {
    "order 1": (1).to_bytes(32, "little"),
    "order 2": (P - 1).to_bytes(32, "little"),
    "order 4": bytes(32),
    "order 4, other sign": bytes(31) + b"\x80",
    "order 8": LOW_ORDER_Y.to_bytes(32, "little"),
    "order 8, other sign": (LOW_ORDER_Y | 1 << 255).to_bytes(32, "little"),
    "order 8, opposite": (P - LOW_ORDER_Y).to_bytes(32, "little"),
    "identity plus p": (P + 1).to_bytes(32, "little"),
    "y is p": P.to_bytes(32, "little"),
    "y is p+3": (P + 3).to_bytes(32, "little"),
    "y all ones": b"\xff" * 32,
    "x zero with sign": (1 | 1 << 255).to_bytes(32, "little"),
    "no point": (2).to_bytes(32, "little"),
    "31 bytes": b"\x05" * 31,
    "33 bytes": b"\x05" * 33,
}


@pytest.mark.parametrize("raw", HOSTILE_KEYS.values(), ids=HOSTILE_KEYS)
def test_hostile_keys_are_refused_when_loaded(raw: bytes) -> None:
    with pytest.raises(InputError):
        Ed25519().load(raw)


def test_hostile_identity_key_would_have_accepted_a_forgery() -> None:
    """Why keys are checked: the library takes the identity point, under which one signature fits any message."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    identity = (1).to_bytes(32, "little")
    forged = identity + bytes(32)
    Ed25519PublicKey.from_public_bytes(identity).verify(forged, b"anything at all")


@given(st.binary(min_size=32, max_size=32))
def test_every_generated_key_is_accepted(seed: bytes) -> None:
    signer = Ed25519Signer(seed)
    assert signer.public.verify(signer.sign(b"x"), b"x")
    assert not signer.public.verify(signer.sign(b"x"), b"y")


def test_hostile_signature_lengths_and_scalars_do_not_verify(signer: Signers) -> None:
    key = signer("a")
    good = key.sign(b"x")
    order = 2**252 + 27742317777372353535851937790883648493
    high = good[:32] + (int.from_bytes(good[32:], "little") + order).to_bytes(32, "little")
    for bad in (b"", good[:-1], good + b"\0", high, bytes(64)):
        assert not key.public.verify(bad, b"x")


def test_an_unknown_suite_is_refused_and_a_new_one_comes_through_the_door() -> None:
    @dataclass(frozen=True)
    class Key:
        raw: bytes
        suite: str = "test-suite"

        def verify(self, signature: bytes, message: bytes) -> bool:
            return signature == self.raw + message

    class TestSuite:
        name = "test-suite"

        def load(self, raw: bytes) -> Key:
            return Key(raw)

    with pytest.raises(InputError, match="sm2-sm3"):
        Suites().load("sm2-sm3", b"k")
    suites = Suites([TestSuite()])
    assert suites.names == {"ed25519", "test-suite"}
    assert suites.load("test-suite", b"k").verify(b"km", b"m")
    with pytest.raises(ConfigError):
        Suites([TestSuite(), TestSuite()])


def test_pae_is_the_vector_of_the_specification() -> None:
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_envelopes_verify_in_securesystemslib_and_back(signer: Signers) -> None:
    a, b = signer("a"), signer("b")
    data = seal("application/vnd.in-toto+json", b"{}", [a, b])
    other = OtherEnvelope.from_dict(json.loads(data))
    keys = [SSlibKey(key_id(s.public), "ed25519", "ed25519", {"public": s.public.raw.hex()}) for s in (a, b)]
    assert set(other.verify(keys, 2)) == {key_id(a.public), key_id(b.public)}

    theirs = CryptoSigner.generate_ed25519()
    envelope = OtherEnvelope(b"payload", "text/x-test", {})
    envelope.sign(theirs)
    opened = open_envelope(json.dumps(envelope.to_dict()).encode())
    raw = bytes.fromhex(theirs.public_key.keyval["public"])
    assert opened.signed_by({theirs.public_key.keyid: Ed25519().load(raw)}) == {theirs.public_key.keyid}


def _signed(signer: Signers) -> dict[str, object]:
    document: dict[str, object] = json.loads(seal("application/vnd.in-toto+json", b'{"a":1}', [signer("a")]))
    return document


def test_url_safe_base64_and_unknown_fields_are_accepted(signer: Signers) -> None:
    document = json.loads(seal("t", b"\xfb\xff\xfe", [signer("a")]))
    document["payload"] = base64.urlsafe_b64encode(b"\xfb\xff\xfe").decode()
    document["extra"] = {"x": [1]}
    envelope = open_envelope(json.dumps(document).encode())
    keyid = key_id(signer("a").public)
    assert envelope.signed_by({keyid: signer("a").public}) == {keyid}


@pytest.mark.parametrize("field", ["payload", "payloadType", "sig", "keyid"])
def test_hostile_bit_flips_in_an_envelope_never_verify(signer: Signers, field: str) -> None:
    keyid = key_id(signer("a").public)
    document = _signed(signer)
    holder: dict[str, object] = document["signatures"][0] if field in ("sig", "keyid") else document  # type: ignore[index]
    text = str(holder[field])
    for place in range(0, len(text), 7):
        holder[field] = text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]
        try:
            envelope = open_envelope(json.dumps(document).encode())
        except InputError:
            continue
        assert envelope.signed_by({keyid: signer("a").public}) == frozenset()


def test_hostile_type_confusion_does_not_verify(signer: Signers) -> None:
    document = _signed(signer)
    document["payloadType"] = "application/vnd.dianhuan.bundle+json"
    keyid = key_id(signer("a").public)
    assert open_envelope(json.dumps(document).encode()).signed_by({keyid: signer("a").public}) == frozenset()


def test_hostile_another_key_under_the_same_id_does_not_verify(signer: Signers) -> None:
    keyid = key_id(signer("a").public)
    envelope = open_envelope(json.dumps(_signed(signer)).encode())
    assert envelope.signed_by({keyid: signer("b").public}) == frozenset()


HOSTILE_ENVELOPES: dict[str, Callable[[dict[str, object]], bytes]] = {
    "no signatures": lambda d: json.dumps({**d, "signatures": []}).encode(),
    "seventeen signatures": lambda d: json.dumps(
        {**d, "signatures": [{"keyid": str(i), "sig": ""} for i in range(17)]}
    ).encode(),
    "duplicate key id": lambda d: json.dumps({**d, "signatures": d["signatures"] * 2}).encode(),  # type: ignore[operator]
    "two unnamed keys": lambda d: json.dumps({**d, "signatures": [{"sig": ""}, {"sig": ""}]}).encode(),
    "payload no text": lambda d: json.dumps({**d, "payload": 1}).encode(),
    "payload with a newline": lambda d: json.dumps({**d, "payload": "YQ==\n"}).encode(),
    "payload with stray bits": lambda d: json.dumps({**d, "payload": "YR=="}).encode(),
    "payload not ASCII": lambda d: json.dumps({**d, "payload": "ＹＱ＝＝"}).encode(),
    "signature no object": lambda d: json.dumps({**d, "signatures": ["x"]}).encode(),
    "key id no text": lambda d: json.dumps({**d, "signatures": [{"keyid": 1, "sig": ""}]}).encode(),
    "signature missing": lambda d: json.dumps({**d, "signatures": [{"keyid": "a"}]}).encode(),
    "type missing": lambda d: json.dumps({k: v for k, v in d.items() if k != "payloadType"}).encode(),
    "a list": lambda d: json.dumps([d]).encode(),
    "payload twice": lambda d: json.dumps(d).encode().replace(b'"payload":', b'"payload": "YQ==", "payload":', 1),
}


@pytest.mark.parametrize("spoil", HOSTILE_ENVELOPES.values(), ids=HOSTILE_ENVELOPES)
def test_hostile_envelopes_are_refused(signer: Signers, spoil: Callable[[dict[str, object]], bytes]) -> None:
    with pytest.raises(InputError):
        open_envelope(spoil(_signed(signer)))
