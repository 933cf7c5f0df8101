"""What the trust root says of one hub or province node: origins, keys by role, and when each key counts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from dianhuan_federation.core._json import parse
from dianhuan_federation.core._notes import NoteKey, decode64, log_note_key
from dianhuan_federation.core._policy import parse_policy
from dianhuan_federation.core._suites import PublicKey, Suites, key_id
from dianhuan_sdk import ConfigError, InputError

Role = Literal["log", "publisher", "transport", "witness", "mirror"]

HUB_PATH = re.compile(r"hubs/([0-9]{2})/(\1[0-9]{4})\.json")
ORIGIN = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,100})/([0-9]{6})/r([1-9][0-9]{0,3})")
"""`<authority>/<division code>/r<epoch>`: an origin names its hub, so no other hub can claim it."""

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class _KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    role: Role
    suite: _Name
    public: Annotated[str, msgspec.Meta(max_length=4096)]
    valid_from: Instant
    valid_until: Instant
    revoked_at: Instant | None = None
    reason: str = ""


class _OriginFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    origin: _Name
    inception: Instant


class _HubFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    hub: _Name
    name: _Name
    origins: Annotated[list[_OriginFile], msgspec.Meta(max_length=16)]
    keys: Annotated[list[_KeyFile], msgspec.Meta(min_length=1, max_length=64)]
    required_suites: Annotated[list[str], msgspec.Meta(min_length=1, max_length=8)]
    endpoints: Annotated[list[str], msgspec.Meta(max_length=16)] = []
    witness_policy: Annotated[str, msgspec.Meta(max_length=65536)] = ""
    successor: Annotated[str, msgspec.Meta(pattern=r"\A(?:[0-9]{6})?\Z")] = ""


@dataclass(frozen=True, slots=True)
class HubKey:
    """A key with its role and the time in which what it signed counts. Times are POSIX seconds."""

    role: str
    key: PublicKey
    valid_from: int
    valid_until: int
    revoked_at: int | None

    def counts_at(self, time: int) -> bool:
        """Does a signature count whose entry was witnessed at that time?"""
        return self.valid_from <= time < self.valid_until and (self.revoked_at is None or time < self.revoked_at)


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub as the trust root describes it.

    Args:
        id: division code of GB/T 2260.
        name: for people.
        origins: origin → POSIX time before which it was never cosigned.
        keys: its keys.
        required_suites: suites that must all have signed each statement.
        endpoints: addresses to pull from; the only ones ever called.
        witness_policy: the tlog-policy that the hub itself publishes under; a verifier's own policy is what counts.
        successor: id of the hub that took its place, empty while it lives: division codes change.
    """

    id: str
    name: str
    origins: dict[str, int]
    keys: tuple[HubKey, ...]
    required_suites: frozenset[str]
    endpoints: tuple[str, ...]
    witness_policy: str = ""
    successor: str = ""

    def role(self, role: Role) -> dict[str, HubKey]:
        """The keys of one role by key id."""
        return {key_id(k.key): k for k in self.keys if k.role == role}

    def log_keys(self, origin: str) -> list[tuple[NoteKey, HubKey]]:
        """The log keys as verifier keys of that origin."""
        return [(log_note_key(origin, k.key), k) for k in self.keys if k.role == "log"]


def read_hub(path: str, data: bytes, suites: Suites) -> Hub:
    """Read a hub file of the trust repository.

    Args:
        path: its target path, `hubs/43/430200.json`.
        data: its bytes, already proven to be those that the province signed.
        suites: suites by which keys are loaded.

    Raises:
        InputError: the file does not fit, names another hub than its path, claims an origin of another hub, uses one
            key in two roles, or a key must not be trusted.
    """
    match = HUB_PATH.fullmatch(path)
    if match is None:
        raise InputError(f"hub file {path[:80]!r}", expected="hubs/<2 digits>/<6 digits>.json")
    try:
        file = msgspec.convert(parse(data), _HubFile, strict=True)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: {error}") from None
    if file.hub != match[2]:
        raise InputError(f"{path} describes hub {file.hub}", expected=match[2])
    origins: dict[str, int] = {}
    for entry in file.origins:
        named = ORIGIN.fullmatch(entry.origin)
        if named is None or named[1] != file.hub:
            raise InputError(f"{path} claims origin {entry.origin}", expected=f"<authority>/{file.hub}/r<epoch>")
        origins[entry.origin] = _seconds(entry.inception)
    keys = tuple(
        HubKey(
            key.role,
            suites.load(key.suite, decode64(key.public)),
            _seconds(key.valid_from),
            _seconds(key.valid_until),
            None if key.revoked_at is None else _seconds(key.revoked_at),
        )
        for key in file.keys
    )
    if len({key_id(key.key) for key in keys}) != len(keys):
        raise InputError(f"{path}: one key stands twice", expected="a key of its own for each role")
    unknown = set(file.required_suites) - suites.names
    if unknown:
        raise InputError(f"{path} requires suite {', '.join(sorted(unknown))}", hint="install the suite's plugin")
    if file.witness_policy:
        _check_policy(path, file.witness_policy)
    return Hub(
        file.hub,
        file.name,
        origins,
        keys,
        frozenset(file.required_suites),
        tuple(file.endpoints),
        file.witness_policy,
        file.successor,
    )


def _check_policy(path: str, text: str) -> None:
    try:
        parse_policy(text.encode())
    except ConfigError as error:
        raise InputError(f"{path}: {error}") from None


def _seconds(instant: datetime) -> int:
    return int(instant.timestamp())
