"""SM2 signatures over SM3 digests: GB/T 32918.2-2016 on the curve of GB/T 32918.5-2017, GB/T 32905-2016.

Everything that could differ between two implementations is fixed here: the signer's id is 1234567812345678 (GM/T 0009),
a public key is the 65 bytes 04 ‖ x ‖ y, and a signature is the DER form of GM/T 0009-2012, SEQUENCE { r, s }, which
OpenSSL writes and reads. A signature has one spelling, so that no one can change a log entry without breaking it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from dianhuan_federation.core import PublicKey
from dianhuan_sdk import ConfigError, InputError

SM2_SM3 = "sm2-sm3"
"""Name of the suite in trust files."""

SIGNER_ID = b"1234567812345678"

_P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
_A = _P - 3
_B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
_N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
_G = bytes.fromhex(
    "32c4ae2c1f1981195f9904466a39c9948fe30bbff2660be1715a4589334c74c7"
    "bc3736a2f4f6779c59bdcee36b692153d0a9877cc62a474002df32e52139f0a0"
)

# PKCS#8 with id-ecPublicKey and the curve 1.2.156.10197.1.301: every length in it is fixed.
_PKCS8 = bytes.fromhex("308187020100301306072a8648ce3d020106082a811ccf5501822d046d306b0201010420")
_PUBLIC = bytes.fromhex("a144034200")
_PEM = re.compile(r"\s*-----BEGIN PRIVATE KEY-----\s+([A-Za-z0-9+/=\s]+?)\s+-----END PRIVATE KEY-----\s*")


def sm2_digest(raw: bytes, message: bytes) -> bytes:
    """The 32 bytes that SM2 signs: SM3(Z ‖ message), clause 5.5 and 6.1 of GB/T 32918.2.

    A device that signs digests (`C_Sign` of PKCS#11, `SDF_InternalSign_ECC`) is given these; its `Signer` needs nothing
    else from here but `sm2_signature` for what it returns.

    Args:
        raw: public key, 04 ‖ x ‖ y.
        message: the bytes to be signed.
    """
    fixed = _A.to_bytes(32, "big") + _B.to_bytes(32, "big") + _G
    z = _sm3(len(SIGNER_ID * 8).to_bytes(2, "big") + SIGNER_ID + fixed + raw[1:])
    return _sm3(z + message)


def _library() -> ModuleType:
    try:
        return import_module("gmssl_pyx")
    except ImportError:
        raise ConfigError("gmssl-pyx is not installed", hint="pip install 'dianhuan-federation[sm]'") from None


def _sm3(data: bytes) -> bytes:
    return hashlib.new("sm3", data).digest()


def sm2_signature(r: int, s: int) -> bytes:
    """SEQUENCE { r, s } in DER; both in [1, n)."""
    body = b"".join(b"\x02" + bytes([len(part)]) + part for part in map(_integer, (r, s)))
    return b"\x30" + bytes([len(body)]) + body


def _integer(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big")


def _from_der(signature: bytes) -> tuple[int, int] | None:
    """r and s of the one spelling that `sm2_signature` writes, or None."""
    if not 8 <= len(signature) <= 72 or signature[3] > 33:
        return None
    middle = 4 + signature[3]
    r, s = int.from_bytes(signature[4:middle], "big"), int.from_bytes(signature[middle + 2 :], "big")
    return (r, s) if 0 < r < _N and 0 < s < _N and sm2_signature(r, s) == signature else None


@dataclass(frozen=True, slots=True)
class Sm2Key:
    """An SM2 public key that is a point of the curve; the curve's order is prime, so every point is as good."""

    raw: bytes
    suite: str = SM2_SM3

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Is this its signature over the message, under the default signer id?"""
        parts = _from_der(signature)
        if parts is None or sum(parts) % _N == 0:
            return False
        return bool(_library().sm2_verify_sm3_digest(self.raw[1:], sm2_digest(self.raw, message), signature))


class Sm2Sm3:
    """The suite: checks at load what the mathematics takes for granted."""

    name = SM2_SM3

    def load(self, raw: bytes) -> Sm2Key:
        """Refuse all but 04 ‖ x ‖ y on the curve with x, y below p."""
        if len(raw) != 65 or raw[0] != 4:
            raise InputError(f"an SM2 key of {len(raw)} bytes", expected="65 bytes, 04 ‖ x ‖ y, not compressed")
        x, y = int.from_bytes(raw[1:33], "big"), int.from_bytes(raw[33:], "big")
        if x >= _P or y >= _P or (y * y - (x * x * x + _A * x + _B)) % _P:
            raise InputError("an SM2 key that is no point of the curve", expected="a key made by a key generator")
        return Sm2Key(raw)


class Sm2Signer:
    """A private key in memory: for tests and interoperability. A certified device brings a `Signer` of its own.

    Args:
        private: the scalar, 32 bytes, in [1, n - 2].
        public: the public key that belongs to it, 04 ‖ x ‖ y.

    Raises:
        InputError: a scalar out of range, or the halves do not belong together.
        ConfigError: the library is not installed.
    """

    def __init__(self, private: bytes, public: bytes) -> None:
        if len(private) != 32 or not 0 < int.from_bytes(private, "big") < _N - 1:
            raise InputError("an SM2 private key out of range", expected="32 bytes, a number in [1, n - 2]")
        self._private = private
        key = Sm2Sm3().load(public)
        self.public: PublicKey = key
        if not key.verify(self.sign(b""), b""):
            raise InputError("an SM2 private key with the public key of another", expected="both halves of one key")

    @classmethod
    def generate(cls) -> Sm2Signer:
        """A new key."""
        public, private = _library().sm2_key_generate()
        return cls(private, b"\x04" + public)

    @classmethod
    def from_pem(cls, text: str) -> Sm2Signer:
        """Read PKCS#8 as `openssl genpkey -algorithm SM2` writes it, with the public key inside.

        Raises:
            InputError: any other text.
        """
        match = _PEM.fullmatch(text)
        data = base64.b64decode("".join(match[1].split())) if match else b""
        private, public = data[len(_PKCS8) : len(_PKCS8) + 32], data[-65:]
        if data != _PKCS8 + private + _PUBLIC + public or len(data) != len(_PKCS8) + 32 + len(_PUBLIC) + 65:
            raise InputError("a text that is no SM2 private key", expected="unencrypted PKCS#8 PEM with its public key")
        return cls(private, public)

    def pem(self) -> str:
        """The key as PKCS#8 PEM, which OpenSSL reads."""
        text = base64.b64encode(_PKCS8 + self._private + _PUBLIC + self.public.raw).decode()
        lines = "\n".join(text[i : i + 64] for i in range(0, len(text), 64))
        return f"-----BEGIN PRIVATE KEY-----\n{lines}\n-----END PRIVATE KEY-----\n"

    def sign(self, message: bytes) -> bytes:
        """DER signature over the message, with a fresh random number."""
        digest = sm2_digest(self.public.raw, message)
        return bytes(_library().sm2_sign_sm3_digest(self._private, digest))
