"""Key files: PKCS#8 PEM with a line that names the role, readable by their owner alone, never written twice.

The line stands before the PEM block, where RFC 7468 allows explanations, so `openssl pkey` reads the file as it is.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from dianhuan_federation.core import (
    COSIGNATURE,
    ED25519,
    Ed25519Signer,
    PublicKey,
    Signer,
    canonical,
    key_id,
    note_key,
    parse,
)
from dianhuan_federation.suites import Sm2Signer, known_suites
from dianhuan_sdk import ConfigError, InputError

KeyRole = Literal[
    "root",
    "targets",
    "province",
    "snapshot",
    "timestamp",
    "log",
    "publisher",
    "transport",
    "witness",
    "mirror",
    "access",
]
"""The first five sign trust metadata, the others are a hub's. A key has one role for its whole life."""

KEY_ROLES: tuple[KeyRole, ...] = get_args(KeyRole)
HubRole = Literal["log", "publisher", "transport", "witness", "mirror"]
HUB_ROLES: tuple[HubRole, ...] = get_args(HubRole)
PUBLIC_KIND = "urn:dianhuan:federation:public-key:v1"
MAX_KEY_FILE = 16 * 1024

_BLOCK = re.compile(r"-----BEGIN PRIVATE KEY-----\r?\n[A-Za-z0-9+/=\r\n]{1,8000}-----END PRIVATE KEY-----")
_ROLE = re.compile(r"^dianhuan key role: ([a-z]+)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made; the private half is not shown by `repr`.

    Args:
        role: the one role it is for.
        public: the public half.
        pem: the text of its key file.
    """

    role: KeyRole
    public: PublicKey
    pem: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PublicForm:
    """The public half of a key with its role, as it is handed to others.

    Args:
        role: the one role it is for.
        key: the public key, checked.
        holder: who holds the private half, for people.
    """

    role: KeyRole
    key: PublicKey
    holder: str = ""

    @property
    def id(self) -> str:
        """Id by which envelopes name it."""
        return key_id(self.key)

    def encode(self) -> bytes:
        """The file that is handed over: canonical JSON and a newline."""
        return canonical({"kind": PUBLIC_KIND, "holder": self.holder, **self.fields()}) + b"\n"

    def fields(self) -> dict[str, str]:
        """Role, suite and key as they stand in requests and hub files."""
        return {"role": self.role, "suite": self.key.suite, "public": base64.b64encode(self.key.raw).decode()}

    def vkey(self, name: str) -> str:
        """The verifier key of a log or witness of that name, as policy files write it."""
        return note_key(name, COSIGNATURE if self.role == "witness" else ED25519, self.key).vkey


class _PublicFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: str
    role: KeyRole
    suite: Annotated[str, msgspec.Meta(max_length=64)]
    public: Annotated[str, msgspec.Meta(max_length=4096)]
    holder: Annotated[str, msgspec.Meta(max_length=128)] = ""


def read_public(data: bytes) -> PublicForm:
    """Read a public key file.

    Raises:
        InputError: not such a file (a private key is refused in plain words), or a key that must not be trusted.
    """
    if b"PRIVATE KEY" in data:
        raise InputError(
            "this is a private key file",
            expected="the public form that was written beside it",
            hint="private keys never leave their holder; if this one was sent to you, have it replaced",
        )
    try:
        file = msgspec.convert(parse(data), _PublicFile, strict=True)
    except msgspec.ValidationError as error:
        raise InputError(f"not a public key file: {error}") from None
    if file.kind != PUBLIC_KIND:
        raise InputError(f"a file of kind {file.kind[:60]!r}", expected=PUBLIC_KIND)
    return public_form(file.role, file.suite, file.public, file.holder)


def public_form(role: KeyRole, suite: str, public: str, holder: str = "") -> PublicForm:
    """A public key from its parts, base64; `InputError` for one that must not be trusted."""
    try:
        raw = base64.b64decode(public, validate=True)
    except ValueError:
        raise InputError("a public key that is no base64") from None
    return PublicForm(role, known_suites().load(suite, raw), holder)


def generate(role: KeyRole) -> NewKey:
    """Make an Ed25519 key for one role."""
    key = Ed25519PrivateKey.generate()
    block = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return NewKey(role, Ed25519Signer(key.private_bytes_raw()).public, f"dianhuan key role: {role}\n{block}")


def write_key(path: Path, key: NewKey) -> None:
    """Write a key file, mode 0600, durably.

    Raises:
        ConfigError: the file is there already: a key is never overwritten.
    """
    _write_private(path, key.pem)


def write_pseudonym_key(path: Path) -> None:
    """Make the city's secret for pseudonyms, 32 random bytes in hex, and write it, mode 0600.

    Raises:
        ConfigError: the file is there already. With another secret all pseudonyms would change.
    """
    _write_private(path, secrets.token_hex(32))


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(
            f"the key file {path.name} is there already",
            expected="a new name: a key is never overwritten",
            hint="to replace a key, use `dianhuan federation rotate`",
        ) from None
    except OSError as error:
        raise ConfigError(f"the key file {path.name} cannot be written: {error.strerror}") from None
    with os.fdopen(handle, "w", encoding="ascii") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read_signer(text: str, role: KeyRole | None = None) -> Signer:
    """The signer of a key file's text, as a `SecretRef` gives it.

    Args:
        text: the file's text; nothing of it ever enters a message.
        role: the role in which it is about to sign; a file that names another role is refused.

    Raises:
        ConfigError: no unencrypted PKCS#8 key of Ed25519 or SM2, a key of another role, or an SM2 key without its
            library.
    """
    wrong = ConfigError(
        "a text that is no key file",
        expected="one unencrypted PKCS#8 PEM block with an Ed25519 or SM2 key",
        hint="make one with `dianhuan federation trust key`",
    )
    blocks = _BLOCK.findall(text)
    if len(text) > MAX_KEY_FILE or len(blocks) != 1:
        raise wrong
    named = _ROLE.search(text)
    if role is not None and named is not None and named[1] != role:
        raise ConfigError(
            f"a key made for the role {named[1]}", expected=f"a key of role {role}: each role has its own"
        )
    try:
        key = load_pem_private_key(blocks[0].encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if isinstance(key, Ed25519PrivateKey):
        return Ed25519Signer(key.private_bytes_raw())
    try:
        return Sm2Signer.from_pem(blocks[0])
    except (InputError, ValueError):
        raise wrong from None


def role_of(text: str) -> KeyRole | None:
    """The role that a key file names, if it names one."""
    named = _ROLE.search(text)
    return next((role for role in KEY_ROLES if named is not None and role == named[1]), None)


def read_key_text(path: Path) -> str:
    """The text of a key file that only its owner can read.

    Raises:
        ConfigError: no such file, not a regular file, too long, or open to group or others.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(MAX_KEY_FILE + 1)
    except OSError as error:
        raise ConfigError(f"the key file {path.name} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(mode) or len(data) > MAX_KEY_FILE:
        raise ConfigError(f"{path.name} is no key file", expected="a PEM file")
    if mode & 0o077:
        raise ConfigError(
            f"the key file {path.name} is open to others (mode {stat.S_IMODE(mode):04o})",
            expected="mode 0600",
            hint=f"chmod 600 {path.name}; if others may have read it, replace the key",
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path.name} is no key file", expected="a PEM file") from None


def read_key_file(path: Path, role: KeyRole | None = None) -> Signer:
    """`read_signer` of a file that only its owner can read."""
    return read_signer(read_key_text(path), role)


def refuse_reuse(keys: list[PublicForm]) -> None:
    """One key stands in one place.

    Raises:
        InputError: a key stands twice.
    """
    seen: dict[bytes, PublicForm] = {}
    for form in keys:
        other = seen.setdefault(form.key.raw, form)
        if other is not form:
            raise InputError(
                f"one key is to be {other.role} and {form.role} ({form.id[:16]})",
                expected="a key of its own for each role and holder",
            )
