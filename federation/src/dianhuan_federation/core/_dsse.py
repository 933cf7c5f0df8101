"""DSSE 1.0.2 envelopes: a signature over type and bytes, so that neither can be confused."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from dianhuan_federation.core._json import canonical, parse
from dianhuan_federation.core._suites import KeyMap, Signer, key_id
from dianhuan_sdk import InputError

MAX_SIGNATURES = 16


def pae(payload_type: str, payload: bytes) -> bytes:
    """Pre-authentication encoding: the bytes that are signed."""
    name = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A parsed envelope.

    Args:
        payload_type: media type or URI that says how to read the payload.
        payload: the signed bytes; nothing else of the envelope reaches the application.
        signatures: (key id, signature) pairs; the key id is a hint, never a reason to trust.
    """

    payload_type: str
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]

    def signed_by(self, keys: KeyMap) -> frozenset[str]:
        """Ids of those given keys whose signature verifies."""
        message = pae(self.payload_type, self.payload)
        return frozenset(
            keyid for keyid, signature in self.signatures if keyid in keys and keys[keyid].verify(signature, message)
        )


def seal(payload_type: str, payload: bytes, signers: Sequence[Signer]) -> bytes:
    """A canonical JSON envelope signed by each signer."""
    message = pae(payload_type, payload)
    return canonical(
        {
            "payloadType": payload_type,
            "payload": base64.b64encode(payload).decode(),
            "signatures": [
                {"keyid": key_id(signer.public), "sig": base64.b64encode(signer.sign(message)).decode()}
                for signer in signers
            ],
        }
    )


def open_envelope(data: bytes) -> Envelope:
    """Parse an envelope; unknown fields are ignored as the specification demands.

    Raises:
        InputError: not a DSSE JSON envelope, no or more than 16 signatures, or one key id twice.
    """
    document = parse(data)
    if not isinstance(document, dict):
        raise InputError("an envelope that is no JSON object")
    payload_type, signatures = document.get("payloadType"), document.get("signatures")
    if not isinstance(payload_type, str) or not isinstance(signatures, list):
        raise InputError("an envelope without payloadType or signatures")
    if not 0 < len(signatures) <= MAX_SIGNATURES:
        raise InputError(f"an envelope with {len(signatures)} signatures", expected=f"1 to {MAX_SIGNATURES}")
    pairs: list[tuple[str, bytes]] = []
    for entry in signatures:
        if not isinstance(entry, dict) or not isinstance(keyid := entry.get("keyid") or "", str):
            raise InputError("an envelope with a malformed signature")
        pairs.append((keyid, _decode64(entry.get("sig"))))
    if len({keyid for keyid, _ in pairs}) != len(pairs):
        raise InputError("an envelope with one key id twice")
    return Envelope(payload_type, _decode64(document.get("payload")), tuple(pairs))


def _decode64(text: object) -> bytes:
    if not isinstance(text, str) or not text.isascii():
        raise InputError("an envelope field that is no base64 text")
    standard = text.replace("-", "+").replace("_", "/")
    try:
        data = base64.b64decode(standard, validate=True)
    except binascii.Error:
        raise InputError("an envelope field that is no base64 text") from None
    if base64.b64encode(data).decode() != standard:
        raise InputError("base64 with stray bits")
    return data
