"""Signature suites: one door for Ed25519 now, SM2-SM3 and ML-DSA later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from dianhuan_sdk import ConfigError, InputError


class PublicKey(Protocol):
    """A loaded public key: whatever was wrong with it was refused before."""

    @property
    def suite(self) -> str:
        """Name of its suite."""
        ...

    @property
    def raw(self) -> bytes:
        """The suite's own public key encoding."""
        ...

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Is this its signature over the message? Never raises on bad bytes."""
        ...


class Signer(Protocol):
    """Something that signs: a key in memory or a device that never shows its key."""

    @property
    def public(self) -> PublicKey:
        """The public half."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Signature over the message."""
        ...


class Suite(Protocol):
    """A signature algorithm with all its parameters fixed."""

    @property
    def name(self) -> str:
        """Stable name, as in trust files: `ed25519`."""
        ...

    def load(self, raw: bytes) -> PublicKey:
        """A checked public key; `InputError` for one that must not be trusted."""
        ...


def key_id(key: PublicKey) -> str:
    """The hint by which an envelope names a key: SHA-256 over suite name, newline and raw key, in hex."""
    return sha256(key.suite.encode() + b"\n" + key.raw).hexdigest()


class Suites:
    """The suites of one verifier.

    Args:
        suites: suites beside Ed25519, which is always there.

    Raises:
        ConfigError: two suites of one name.
    """

    def __init__(self, suites: Iterable[Suite] = ()) -> None:
        self._suites: dict[str, Suite] = {}
        for suite in (Ed25519(), *suites):
            if suite.name in self._suites:
                raise ConfigError(f"two signature suites are called {suite.name}", hint="remove one plugin")
            self._suites[suite.name] = suite

    @property
    def names(self) -> frozenset[str]:
        """Names of the suites known here."""
        return frozenset(self._suites)

    def load(self, name: str, raw: bytes) -> PublicKey:
        """Load a public key of that suite.

        Raises:
            InputError: unknown suite or a key that must not be trusted.
        """
        if name not in self._suites:
            raise InputError(f"signature suite {name[:40]!r}", expected=", ".join(sorted(self._suites)))
        return self._suites[name].load(raw)


@dataclass(frozen=True, slots=True)
class Ed25519Key:
    """An Ed25519 public key (RFC 8032) that is a canonical point of large order."""

    raw: bytes
    suite: str = "ed25519"

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Is this its signature over the message?"""
        if len(signature) != 64:
            return False
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except InvalidSignature:
            return False
        return True


class Ed25519:
    """Ed25519 with the checks at load that RFC 8032 leaves to the caller."""

    name = "ed25519"

    def load(self, raw: bytes) -> Ed25519Key:
        """Refuse encodings that are not canonical, not on the curve or of small order.

        With a key of small order anyone can sign: the library accepts such keys, so they are stopped here.
        """
        if len(raw) != 32:
            raise InputError(f"an Ed25519 key of {len(raw)} bytes", expected="32 bytes")
        point = _decompress(raw)
        for _ in range(3):
            point = _double(point)
        x, y, z, _ = point
        if x % _P == 0 and (y - z) % _P == 0:
            raise InputError("an Ed25519 key of small order", expected="a key made by a key generator")
        return Ed25519Key(raw)


class Ed25519Signer:
    """A private key in memory.

    Args:
        seed: the 32-byte private seed of RFC 8032.
    """

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public: PublicKey = Ed25519().load(self._key.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """Deterministic signature over the message."""
        return self._key.sign(message)


# Curve arithmetic of RFC 8032 section 5.1, used on public values only.
_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)
_Point = tuple[int, int, int, int]


def _decompress(raw: bytes) -> _Point:
    number = int.from_bytes(raw, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    if y >= _P:
        raise InputError("a non-canonical Ed25519 key", expected="y below 2^255-19")
    # Section 5.1.3: x² is u / v, and one power finds both the quotient and its root.
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * v**3 * pow(u * v**7, (_P - 5) // 8, _P) % _P
    if (v * x * x + u) % _P == 0:
        x = x * _ROOT % _P
    if (v * x * x - u) % _P:
        raise InputError("an Ed25519 key that is no point of the curve")
    if x == 0 and sign:
        raise InputError("a non-canonical Ed25519 key", expected="sign bit 0 where x is 0")
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _double(point: _Point) -> _Point:
    x, y, z, _ = point
    a, b, c = x * x, y * y, 2 * z * z
    h, e = a + b, a + b - (x + y) ** 2
    g = a - b
    f = c + g
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


KeyMap = Mapping[str, PublicKey]
"""Public keys by `key_id`."""
