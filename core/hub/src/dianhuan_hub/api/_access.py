"""Who may do what: service keys, roles, districts. What is not granted here is denied."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from urllib.parse import unquote

from dianhuan_hub.kernel.config import HubConfig, Role
from dianhuan_sdk import DianhuanError, InputError

MAX_PURPOSE = 200


class Right(Enum):
    """One thing that a role may do."""

    AGGREGATES = auto()
    REGISTER = auto()
    MODELS = auto()
    METRICS = auto()
    WARNINGS = auto()
    CASES = auto()
    PERSONAL = auto()
    """Columns that the contracts mark `personal`: names, addresses, contacts, notes."""
    CURVES = auto()
    SEALED = auto()
    """Cases, and warnings of cases, that have not been dispatched to anyone yet; today's list."""
    FINDINGS = auto()
    CASE_FLOW = auto()
    OPERATIONS = auto()
    """Plugins, loads, quarantine."""
    BULK = auto()


_ALL = frozenset({Right.AGGREGATES, Right.REGISTER, Right.MODELS, Right.WARNINGS, Right.CASES})
_INSIDE = frozenset({Right.METRICS, Right.PERSONAL, Right.CURVES, Right.SEALED, Right.FINDINGS})

RIGHTS: Mapping[Role, frozenset[Right]] = {
    "viewer": _ALL | {Right.METRICS},
    "agency": _ALL,
    "officer": _ALL | {Right.PERSONAL, Right.CURVES, Right.CASE_FLOW},
    "dispatcher": _ALL | _INSIDE | {Right.CASE_FLOW},
    "analyst": _ALL | _INSIDE | {Right.OPERATIONS, Right.BULK},
    "admin": _ALL | _INSIDE | {Right.CASE_FLOW, Right.OPERATIONS, Right.BULK},
}


class AccessError(DianhuanError):
    """The key is unknown, or does not allow what was asked."""

    def __init__(self, message: str, *, expected: str = "", hint: str = "", known: bool = True) -> None:
        super().__init__(message, expected=expected, hint=hint)
        self.known = known


@dataclass(frozen=True)
class Grant:
    """What one request may do.

    Args:
        actor: name of the service key.
        role: its role.
        divisions: prefixes of the districts that it sees.
        whole_city: the districts cover the city, so rows that belong to no district are seen too.
        purpose: for the audit log.
    """

    actor: str
    role: Role
    divisions: tuple[str, ...]
    whole_city: bool
    purpose: str

    def has(self, right: Right) -> bool:
        """Whether the role has a right."""
        return right in RIGHTS[self.role]

    def need(self, right: Right) -> None:
        """Check a right.

        Raises:
            AccessError: the role does not have it.
        """
        if not self.has(right):
            roles = ", ".join(role for role, rights in RIGHTS.items() if right in rights)
            raise AccessError(
                f"the role {self.role} has no right to {right.name.lower()}",
                expected=f"a key of role {roles}",
                hint="ask the hub's administrator for such a key",
            )

    def need_whole_city(self, what: str) -> None:
        """Check that the key sees the whole city.

        Raises:
            AccessError: it sees some districts only.
        """
        if not self.whole_city:
            raise AccessError(
                f"{what} belong to no district, and this key sees {', '.join(self.divisions)} only",
                expected="a key whose divisions cover the city",
                hint="ask the hub's administrator for such a key",
            )

    def scope(self, wanted: Sequence[str] | None = None) -> tuple[str | None, ...]:
        """The districts to look at, for `Query.division`: those asked for, cut down to those granted."""
        if wanted is None:
            return (*self.divisions, None) if self.whole_city else self.divisions
        cut = {longer for w in wanted for d in self.divisions if (longer := _overlap(w, d)) is not None}
        return tuple(sorted(cut))


def _overlap(a: str, b: str) -> str | None:
    longer, shorter = (a, b) if len(a) >= len(b) else (b, a)
    return longer if longer.startswith(shorter) else None


def area(code: str) -> str:
    """A GB/T 2260 code as the prefix of all districts in it: 430200 → 4302, 430000 → 43."""
    while (len(code) == 6 and code.endswith("00")) or (len(code) == 4 and code.endswith("00")):
        code = code[:-2]
    return code


class KeyRing:
    """The service keys of a hub.

    Args:
        config: the hub's configuration.
    """

    def __init__(self, config: HubConfig) -> None:
        self._keys = config.keys
        self._city = area(config.city.division)

    def grant(self, authorization: str | None, purpose: str | None) -> Grant:
        """What the bearer of a key may do.

        Args:
            authorization: the header `Authorization: Bearer KEY`.
            purpose: the header `X-Purpose`, percent-encoded UTF-8; without it the key's own purpose holds.

        Raises:
            AccessError: no key, or one that is not known.
            InputError: the purpose is too long.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise AccessError(
                "no service key", expected="the header Authorization: Bearer KEY", hint=_HOW_TO_GET_A_KEY, known=False
            )
        digest = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).hexdigest()
        found = None
        for name, key in self._keys.items():
            if hmac.compare_digest(key.sha256, digest):  # all are compared, so that time tells nothing
                found = name, key
        if found is None:
            raise AccessError("this service key is not known", hint=_HOW_TO_GET_A_KEY, known=False)
        name, key = found
        divisions = tuple(sorted({area(d) for d in key.divisions}))
        return Grant(
            actor=name,
            role=key.role,
            divisions=divisions,
            whole_city=any(self._city.startswith(d) for d in divisions),
            purpose=_purpose(purpose) or key.purpose,
        )


_HOW_TO_GET_A_KEY = "the hub's administrator adds its SHA-256 under [keys.NAME] in hub.toml"


def _purpose(header: str | None) -> str:
    text = unquote(header or "", errors="replace").strip()
    if len(text) > MAX_PURPOSE or not text.isprintable():
        raise InputError(
            "the header X-Purpose is not a purpose",
            expected=f"at most {MAX_PURPOSE} printable characters, percent-encoded UTF-8",
            hint="name the purpose of use in a few words",
        )
    return text
