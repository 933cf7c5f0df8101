"""SM2 by the letter of GB/T 32918.2 with a chosen random number, so that vectors can be made again bit by bit.

Slow, and its time depends on the key: for vectors only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import new, sha256
from typing import Any

P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
A = P - 3
B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
G = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)
DEFAULT_ID = b"1234567812345678"

# GB/T 32918.5-2017, A.2: key and random number of the example, and what it signs.
SAMPLE_PRIVATE = 0x3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8
SAMPLE_RANDOM = 0x59276E27D506861A16680F3AD9C02DCCEF3CC1FA3CDBE4CE6D54B80DEAC1BC21
SAMPLE_MESSAGE = b"message digest"
SAMPLE_R = 0xF5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3
SAMPLE_S = 0xB1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA

Point = tuple[int, int] | None


def add(p: Point, q: Point) -> Point:
    """Sum of two points; None is infinity."""
    if p is None or q is None:
        return p or q
    if p[0] == q[0] and (p[1] + q[1]) % P == 0:
        return None
    slope = (3 * p[0] * p[0] + A) * pow(2 * p[1], -1, P) if p == q else (q[1] - p[1]) * pow(q[0] - p[0], -1, P)
    x = (slope * slope - p[0] - q[0]) % P
    return x, (slope * (p[0] - x) - p[1]) % P


def times(k: int, p: Point) -> Point:
    """k · p."""
    total: Point = None
    while k:
        total = add(total, p) if k & 1 else total
        p, k = add(p, p), k >> 1
    return total


def sm3(data: bytes) -> bytes:
    """GB/T 32905."""
    return new("sm3", data).digest()


def public(d: int) -> bytes:
    """04 ‖ x ‖ y."""
    point = times(d, G)
    assert point is not None
    return b"\x04" + point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")


def numbers(d: int, message: bytes, k: int, signer_id: bytes = DEFAULT_ID) -> tuple[int, int]:
    """r and s, clause 6.1."""
    z = sm3(
        (8 * len(signer_id)).to_bytes(2, "big")
        + signer_id
        + b"".join(v.to_bytes(32, "big") for v in (A, B, *G))
        + public(d)[1:]
    )
    point = times(k, G)
    assert point is not None
    r = (int.from_bytes(sm3(z + message), "big") + point[0]) % N
    return r, pow(1 + d, -1, N) * (k - r * d) % N


def integer(value: int, extra: int = 0) -> bytes:
    """DER INTEGER, with more leading zeros than it needs where `extra` says so."""
    body = bytes(extra) + value.to_bytes(value.bit_length() // 8 + 1, "big")
    return b"\x02" + bytes([len(body)]) + body


def sequence(*parts: bytes) -> bytes:
    """DER SEQUENCE of fewer than 128 bytes."""
    body = b"".join(parts)
    return b"\x30" + bytes([len(body)]) + body


@dataclass(frozen=True)
class Key:
    """What the federation's trust files need of a key."""

    raw: bytes
    suite: str = "sm2-sm3"

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Not here: this module only signs."""
        raise AssertionError("this key is for signing")


@dataclass(frozen=True)
class FixedSigner:
    """Signs with a random number that follows from key and message."""

    d: int

    @classmethod
    def named(cls, name: str) -> FixedSigner:
        """The signer of that name."""
        return cls(int.from_bytes(sha256(f"test sm2 key {name}".encode()).digest(), "big") % (N - 2) + 1)

    @property
    def public(self) -> Key:
        """Its public half."""
        return Key(public(self.d))

    def sign(self, message: bytes) -> bytes:
        """DER signature."""
        k = int.from_bytes(sha256(self.d.to_bytes(32, "big") + message).digest(), "big") % (N - 1) + 1
        return sequence(*map(integer, numbers(self.d, message, k)))


def cases() -> Iterator[dict[str, Any]]:
    """Name, key, message, signature; the answers are written by hand, so that nobody's code is the judge."""
    d, message = SAMPLE_PRIVATE, SAMPLE_MESSAGE
    r, s = numbers(d, message, SAMPLE_RANDOM)
    assert (r, s) == (SAMPLE_R, SAMPLE_S)
    good, key = sequence(integer(r), integer(s)), public(d)
    x, y = key[1:33], key[33:]
    other_id = sequence(*map(integer, numbers(d, message, SAMPLE_RANDOM, b"ALICE123@YAHOO.COM")))
    signatures = {
        "example of GB/T 32918.5 A.2": (good, True),
        "another signer id": (other_id, False),
        "r is 0": (sequence(integer(0), integer(s)), False),
        "s is 0": (sequence(integer(r), integer(0)), False),
        "r is n": (sequence(integer(N), integer(s)), False),
        "r plus n": (sequence(integer(r + N), integer(s)), False),
        "s plus n": (sequence(integer(r), integer(s + N)), False),
        "r plus s is n": (sequence(integer(r), integer(N - r)), False),
        "r and s exchanged": (sequence(integer(s), integer(r)), False),
        "s negated": (sequence(integer(r), integer(N - s)), False),
        "raw r and s": (r.to_bytes(32, "big") + s.to_bytes(32, "big"), False),
        "a leading zero too many": (sequence(integer(r, 1), integer(s)), False),
        "long form of a length": (b"\x30\x81" + good[1:], False),
        "indefinite length": (b"\x30\x80" + good[2:] + b"\0\0", False),
        "negative r": (sequence(b"\x02\x20" + r.to_bytes(32, "big"), integer(s)), False),
        "a third integer": (sequence(integer(r), integer(s), integer(1)), False),
        "a byte after the end": (good + b"\0", False),
        "cut off": (good[:-1], False),
        "empty": (b"", False),
    }
    for name, (signature, verifies) in signatures.items():
        yield {"name": name, "public": key, "message": message, "signature": signature, "verifies": verifies}
    yield {"name": "another message", "public": key, "message": b"x", "signature": good, "verifies": False}
    for name, raw in {
        "point not on the curve": key[:-1] + bytes([key[-1] ^ 1]),
        "compressed key": bytes([2 + (y[-1] & 1)]) + x,
        "key without 04": x + y,
        "hybrid key": bytes([6 + (y[-1] & 1)]) + x + y,
        "infinity": b"\0",
        "zeros": b"\x04" + bytes(64),
        "x above p": b"\x04" + (P + 1).to_bytes(32, "big") + y,
        "point of the curve secp256k1": bytes.fromhex(
            "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
            "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"
        ),
    }.items():
        yield {"name": name, "public": raw, "message": message, "signature": good, "verifies": False}


def digests() -> Iterator[dict[str, Any]]:
    """Examples of GB/T 32905-2016, annex A."""
    yield {"input": b"abc", "sm3": "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"}
    yield {"input": b"abcd" * 16, "sm3": "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"}
