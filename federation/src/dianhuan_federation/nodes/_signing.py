"""Signed requests: HTTP message signatures (RFC 9421) with a digest of the body (RFC 9530).

The profile `dianhuan-fed-1`: covered are `@method @authority @target-uri content-digest`, and `grant-id` where it is
sent; parameters are `created`, `expires` at most 300 s later, `nonce` of at least 128 bits, `keyid` of a transport key,
`tag`. Answers carry no signature: all that is in them proves itself.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageSigner,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    algorithms,
)

from dianhuan_federation.core import HubKey, Signer, Trust, key_id
from dianhuan_federation.nodes._errors import NodeError

TAG = "dianhuan-fed-1"
MAX_LIFE = 300
SKEW = 30
"""Seconds by which a caller's clock may be ahead of ours."""

COVERED = ("@method", "@authority", "@target-uri", "content-digest")
GRANT = "grant-id"
MAX_GRANT = 128

_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")
_NONCE = re.compile(r"[A-Za-z0-9_-]{22,128}")


def content_digest(digest: bytes) -> str:
    """The `Content-Digest` field for a SHA-256."""
    return f"sha-256=:{base64.b64encode(digest).decode()}:"


def new_nonce() -> str:
    """192 random bits in base64url."""
    return secrets.token_urlsafe(24)


def sign_request(
    request: httpx.Request, signer: Signer, *, grant: str = "", now: int, nonce: str = "", life: int = MAX_LIFE
) -> httpx.Request:
    """Sign a request in place.

    Args:
        request: its body must be in memory, unless it carries a `Content-Digest` already.
        signer: an Ed25519 transport key.
        grant: id of the grant under which payloads are asked for.
        now: POSIX seconds.
        nonce: fresh for each request; made here where none is given.
        life: seconds until it expires.

    Returns:
        The same request.
    """
    if grant:
        request.headers[GRANT] = grant
    if "content-digest" not in request.headers:
        request.headers["content-digest"] = content_digest(sha256(request.content).digest())
    created = datetime.fromtimestamp(now, UTC)
    message_signer = HTTPMessageSigner(signature_algorithm=algorithms.ED25519)
    prepared = message_signer.prepare(
        request,
        key_id=key_id(signer.public),
        created=created,
        expires=created + timedelta(seconds=life),
        nonce=nonce or new_nonce(),
        label="fed",
        tag=TAG,
        covered_component_ids=(*COVERED, *((GRANT,) if GRANT in request.headers else ())),
        use_existing_digest=True,
    )
    message_signer.apply(request, prepared, signer.sign(prepared.signature_base))
    return request


class RequestAuth(httpx.Auth):
    """Signs every request of a client.

    Args:
        signer: the transport key.
        grant: id of the grant under which payloads are asked for.
        clock: POSIX seconds.
    """

    def __init__(self, signer: Signer, *, grant: str = "", clock: Callable[[], float]) -> None:
        self._signer = signer
        self._grant = grant
        self._clock = clock

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Read the body where its digest is not given, then sign."""
        if "content-digest" not in request.headers:
            await request.aread()
        yield sign_request(request, self._signer, grant=self._grant, now=int(self._clock()))


@dataclass(frozen=True, slots=True)
class Asker:
    """Who signed a request.

    Args:
        hub: its hub id.
        key: id of its transport key.
        nonce: never seen before under that key.
        expires: POSIX second until which the nonce must be remembered.
        grant: id of the grant that it names, or empty.
        digest: SHA-256 that the body must have.
    """

    hub: str
    key: str
    nonce: str
    expires: int
    grant: str
    digest: bytes

    def check_body(self, digest: bytes) -> None:
        """The body is the one that was signed.

        Raises:
            NodeError: 400: another body.
        """
        if digest != self.digest:
            raise NodeError(400, "body-digest", "the body is not the one that was signed", expected="Content-Digest")


def transport_keys(trust: Trust) -> dict[str, tuple[str, HubKey]]:
    """Key id → (hub id, key) of every transport key that the trust root knows and that is not denied."""
    hubs = [hub for hub in trust.hubs.values() if hub.id not in trust.denied]
    return {keyid: (hub.id, key) for hub in hubs for keyid, key in hub.role("transport").items()}


def verify_request(
    method: str,
    url: str,
    headers: Iterable[tuple[str, str]],
    keys: Mapping[str, tuple[str, HubKey]],
    now: int,
) -> Asker:
    """Who signed a request with this head; its nonce and its body are the caller's next checks.

    Args:
        method: as sent.
        url: the whole target URI, as this node is addressed.
        headers: field lines in order.
        keys: as `transport_keys` gives them.
        now: POSIX seconds.

    Raises:
        NodeError: 401: no signature of the profile, not a trusted key, or out of time.
    """
    fields = httpx.Headers(list(headers))
    verifier = _Verifier(signature_algorithm=algorithms.ED25519, key_resolver=_Keys(keys, now))
    required = (*COVERED, *((GRANT,) if GRANT in fields else ()))
    try:
        results = verifier.verify(
            _Message(method, url, fields), max_age=None, expect_tag=TAG, require_components=required
        )
    except HTTPMessageSignaturesException as error:
        raise _unsigned(str(error)) from None
    if len(results) != 1:
        raise _unsigned(f"{len(results)} signatures")
    parameters = results[0].parameters
    created, expires, nonce = parameters.get("created"), parameters.get("expires"), parameters.get("nonce")
    if not isinstance(created, int) or not isinstance(expires, int) or not 0 < expires - created <= MAX_LIFE:
        raise _unsigned(f"created {created}, expires {expires}")
    if not created - SKEW <= now < expires:
        raise _unsigned(f"signed for {created} to {expires}, now is {now}")
    if not isinstance(nonce, str) or not _is_nonce(nonce):
        raise _unsigned(f"nonce {str(nonce)[:40]!r}")
    digest = _DIGEST.fullmatch(fields["content-digest"])
    if digest is None:
        raise _unsigned("a Content-Digest that is not one SHA-256")
    grant = fields.get(GRANT, "")
    if len(grant) > MAX_GRANT:
        raise _unsigned("a grant id that is too long")
    keyid = str(parameters["keyid"])
    return Asker(keys[keyid][0], keyid, nonce, expires, grant, base64.b64decode(digest[1]))


def _is_nonce(text: str) -> bool:
    if not _NONCE.fullmatch(text):
        return False
    try:
        return len(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) >= 16
    except binascii.Error:
        return False


def _unsigned(why: str) -> NodeError:
    return NodeError(
        401,
        "signature",
        f"the request is not signed as asked: {why[:200]}",
        expected=f"an RFC 9421 signature by a transport key: {' '.join(COVERED)}, nonce, at most {MAX_LIFE} s, {TAG}",
        hint="check the clock, the address and the key in the trust data",
    )


@dataclass(frozen=True, slots=True)
class _Message:
    method: str
    url: str
    headers: httpx.Headers


class _Verifier(HTTPMessageVerifier):
    """Times are checked against the clock handed in, not the library's."""

    def validate_created_and_expires(self, sig_input: Any, max_age: timedelta | None = None) -> None:
        """Left to `verify_request`."""


class _Keys(HTTPSignatureKeyResolver):
    def __init__(self, keys: Mapping[str, tuple[str, HubKey]], now: int) -> None:
        self._keys = keys
        self._now = now

    def resolve_public_key(self, key_id: str) -> Ed25519PublicKey:
        """The transport key of that id, if it counts now."""
        _, key = self._keys.get(key_id, ("", None))
        if key is None or key.key.suite != "ed25519" or not key.counts_at(self._now):
            raise HTTPMessageSignaturesException(f"key {key_id[:16]} is no transport key of a trusted hub")
        return Ed25519PublicKey.from_public_bytes(key.key.raw)

    def resolve_private_key(self, key_id: str) -> Any:
        """Verifiers have none."""
        raise HTTPMessageSignaturesException("a verifier has no private keys")
