"""Signed notes of C2SP signed-note v1.0.0: text, an empty line, and any number of signature lines."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from dianhuan_federation.core._suites import PublicKey, Signer, Suites
from dianhuan_sdk import InputError

ED25519 = 1
COSIGNATURE = 4
NAMED = 255
"""Signature type bytes: a plain Ed25519 signature, a timestamped Ed25519 cosignature, and a signature of a type that
has no byte of its own and is named by a long identifier."""

_LONG_ID = "urn:dianhuan:federation:suite:{}\n"

MAX_NOTE = 64 * 1024
MAX_SIGNATURES = 96
"""31 provinces, several keys each; the specification asks for at least 16."""

_NAME = re.compile(r"[^\s+\x00-\x1f\x7f]+")
_LINE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: the key's name, its four-byte id and the signature."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A verifier key.

    Args:
        name: key name; for a log its origin.
        algorithm: signature type byte.
        key: the public key.
    """

    name: str
    algorithm: int
    key: PublicKey

    @property
    def key_id(self) -> bytes:
        """The four-byte id: a hint, no hash to rely on."""
        return sha256(self.name.encode() + b"\n" + self._material).digest()[:4]

    @property
    def vkey(self) -> str:
        """`name+id+key` as in policy files."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self._material).decode()}"

    @property
    def _material(self) -> bytes:
        long_id = _LONG_ID.format(self.key.suite).encode() if self.algorithm == NAMED else b""
        return bytes([self.algorithm]) + long_id + self.key.raw

    def of(self, note: Note) -> list[NoteSignature]:
        """The note's signature lines with this key's name and id, good or bad."""
        return [s for s in note.signatures if s.name == self.name and s.key_id == self.key_id]


@dataclass(frozen=True, slots=True)
class Note:
    """A parsed note, not verified.

    Args:
        text: the signed bytes, with their last newline.
        signatures: the signature lines in order.
    """

    text: bytes
    signatures: tuple[NoteSignature, ...]

    def signed_by(self, key: NoteKey) -> bool:
        """Does the note carry a signature of that key?

        Raises:
            InputError: it carries one with the key's name and id that does not verify.
        """
        lines = key.of(self)
        if not all(key.key.verify(line.signature, self.text) for line in lines):
            raise InputError(f"a signature under the name {key.name} is not that key's")
        return bool(lines)


def parse_vkey(text: str, suites: Suites | None = None) -> NoteKey:
    """Read a verifier key: Ed25519 of types 0x01 and 0x04, or of type 0xff with the long identifier of a suite.

    Args:
        text: `<name>+<id>+<base64>`.
        suites: the suites known beside Ed25519.

    Raises:
        InputError: malformed, of another type, the id does not fit, or the key must not be trusted.
    """
    parts = text.split("+", 2)
    if len(parts) != 3 or not _NAME.fullmatch(parts[0]) or not re.fullmatch("[0-9a-f]{8}", parts[1]):
        raise InputError(f"verifier key {text[:80]!r}", expected="<name>+<8 hex digits>+<base64>")
    material, suites = decode64(parts[2]), suites or Suites()
    algorithm, suite, raw = material[:1], "ed25519", material[1:]
    if algorithm == bytes([NAMED]):
        suite = next((name for name in suites.names if raw.startswith(_LONG_ID.format(name).encode())), "")
        raw = raw[len(_LONG_ID.format(suite)) :]
    if not suite or algorithm not in (bytes([ED25519]), bytes([COSIGNATURE]), bytes([NAMED])):
        raise InputError(f"verifier key of {parts[0]} is of an unknown type", expected="type 1 or 4, or a known suite")
    key = note_key(parts[0], algorithm[0], suites.load(suite, raw))
    if key.key_id.hex() != parts[1]:
        raise InputError(f"verifier key of {parts[0]}: id {parts[1]}", expected=f"{key.key_id.hex()}, as the key gives")
    return key


def note_key(name: str, algorithm: int, key: PublicKey) -> NoteKey:
    """A verifier key made from its parts.

    Raises:
        InputError: a name that notes cannot carry, or a type of another suite.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"key name {name[:80]!r}", expected="no spaces, no plus, not empty")
    if (algorithm == NAMED) == (key.suite == "ed25519"):
        raise InputError(f"a {key.suite} key of type {algorithm}", expected="255 for all suites but ed25519")
    return NoteKey(name, algorithm, key)


def log_note_key(name: str, key: PublicKey) -> NoteKey:
    """The verifier key of a plain signature under that name: type 0x01, or 0xff for suites without a type byte."""
    return note_key(name, ED25519 if key.suite == "ed25519" else NAMED, key)


def parse_note(data: bytes) -> Note:
    """Parse a signed note strictly.

    Raises:
        InputError: too long, not UTF-8, control characters, or anything but signature lines after the last empty line.
    """
    if len(data) > MAX_NOTE:
        raise InputError(f"a note of {len(data)} bytes", expected=f"at most {MAX_NOTE}")
    try:
        decoded = data.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError("a note that is not UTF-8") from None
    if re.search(r"[\x00-\x09\x0b-\x1f]", decoded):
        raise InputError("a note with control characters", expected="line feeds only")
    text, separator, signed = decoded.rpartition("\n\n")
    if not separator or not text or not signed.endswith("\n"):
        raise InputError("a note without signature lines", expected="text, an empty line, signature lines")
    lines = signed[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise InputError(f"a note with {len(lines)} signatures", expected=f"at most {MAX_SIGNATURES}")
    return Note((text + "\n").encode(), tuple(_signature(line) for line in lines))


def _signature(line: str) -> NoteSignature:
    match = _LINE.fullmatch(line)
    material = decode64(match.group(2)) if match else b""
    if match is None or len(material) < 5:
        raise InputError(f"signature line {line[:60]!r}", expected="— <name> <base64 of key id and signature>")
    return NoteSignature(match.group(1), material[:4], material[4:])


def format_note(text: bytes, signatures: Iterable[NoteSignature]) -> bytes:
    """The bytes of a note."""
    lines = [f"— {s.name} {base64.b64encode(s.key_id + s.signature).decode()}\n" for s in signatures]
    return text + b"\n" + "".join(lines).encode()


def sign_note(text: bytes, name: str, signer: Signer) -> NoteSignature:
    """A plain signature line over a note text, of the type that `log_note_key` says."""
    key = log_note_key(name, signer.public)
    return NoteSignature(name, key.key_id, signer.sign(text))


def decode64(text: str) -> bytes:
    """Standard base64 in its one spelling; `InputError` for any other text."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InputError(f"{text[:40]!r} is no base64") from None
    if base64.b64encode(data).decode() != text:
        raise InputError(f"{text[:40]!r} has stray bits or padding")
    return data
