"""V1: the trust root. TUF metadata is verified with the public `Metadata` API under our own rule for expiry.

A city may be offline for weeks, so metadata past its date is not refused at once: up to 7 days it is used with a
warning, up to 30 days new data waits, beyond that nothing more is taken. What was verified stays verified.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TypeVar

from securesystemslib.exceptions import Error as SignatureError
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (  # type: ignore[attr-defined]
    Delegations,
    Key,
    Metadata,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from dianhuan_federation.core._hubs import HUB_PATH, Hub, read_hub
from dianhuan_federation.core._json import parse
from dianhuan_federation.core._suites import Suites, key_id
from dianhuan_federation.core._verdicts import Code, Refused, State, Step
from dianhuan_sdk import InputError

MAX_METADATA = 2 * 1024 * 1024
MAX_ROOTS = 64
MAX_ROLES = 64
MAX_HUBS = 5000
DAY = 86_400

_T = TypeVar("_T", Root, Timestamp, Snapshot, Targets)
_BAD = (RepositoryError, SignatureError, InputError, ValueError, KeyError, TypeError, AttributeError)
"""What the metadata library raises on bytes of a stranger."""


class Freshness(IntEnum):
    """How far past its date the metadata is."""

    FRESH = 0
    WARN = 1
    PENDING = 2
    QUARANTINE = 3

    @classmethod
    def of(cls, overdue: int) -> Freshness:
        """The freshness of metadata that expired that many seconds ago."""
        if overdue <= 0:
            return cls.FRESH
        return cls.WARN if overdue <= 7 * DAY else cls.PENDING if overdue <= 30 * DAY else cls.QUARANTINE


@dataclass(frozen=True, slots=True)
class Trust:
    """What the trust root says.

    Args:
        hubs: the hubs by id.
        freshness: by province role, never better than the metadata above it.
        versions: version of each metadata role, kept by the caller against rollback.
        refused: hub id or role → why it is not trusted, while the rest is.
        denied: hub ids, origins and key ids that this verifier never trusts.
        files: paths of the metadata that was verified; whatever else lay beside it proves nothing.
    """

    hubs: Mapping[str, Hub]
    freshness: Mapping[str, Freshness]
    versions: Mapping[str, int]
    refused: Mapping[str, str] = field(default_factory=dict)
    denied: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()

    def hub(self, hub_id: str) -> Hub | None:
        """The hub of that id, unless it is denied."""
        return None if hub_id in self.denied else self.hubs.get(hub_id)


def load_trust(
    bootstrap: bytes,
    files: Mapping[str, bytes],
    now: int,
    *,
    seen: Mapping[str, int] | None = None,
    denied: Iterable[str] = (),
    suites: Suites | None = None,
) -> Trust:
    """Verify a TUF repository and read the hubs.

    Args:
        bootstrap: the root metadata that was handed over in person.
        files: the repository by path: `2.root.json`, `timestamp.json`, `5.snapshot.json`, `4.targets.json`,
            `3.prov-43.json`, `targets/hubs/43/<sha256>.430200.json`.
        now: POSIX seconds.
        seen: versions of the last repository accepted.
        denied: hub ids, origins and key ids never to be trusted.
        suites: suites by which hub keys are loaded.

    Raises:
        Refused: V1 `E-TRUST`, where the root, the timestamp, the snapshot or the top targets do not hold. A province
            or hub whose own file does not hold is left out and named in `refused`.
    """
    try:
        return _Repository(files, now, dict(seen or {}), suites or Suites()).load(bootstrap, frozenset(denied))
    except _BAD as error:
        if isinstance(error, Refused):
            raise
        raise Refused(Step.V1, Code.TRUST, f"the trust repository does not hold: {error}") from None


def trusted_hub(trust: Trust, origin: str) -> Hub:
    """V1 for one log: the hub that the origin belongs to.

    Raises:
        Refused: `E-TRUST`: no trusted hub has that origin, or it is denied; `E-STALE`: pending up to 30 days after
            the metadata's date, quarantined after.
    """
    named = origin.split("/")
    hub_id = named[-2] if len(named) > 1 else ""
    role = f"prov-{hub_id[:2]}"
    if origin in trust.denied or hub_id in trust.denied:
        raise Refused(Step.V1, Code.TRUST, f"{origin} stands on the local deny list")
    hub = trust.hubs.get(hub_id)
    if hub is None or origin not in hub.origins:
        why = trust.refused.get(hub_id) or trust.refused.get(role) or "no province vouches for it"
        raise Refused(Step.V1, Code.TRUST, f"{origin} is not trusted: {why}")
    freshness = trust.freshness[role]
    if freshness >= Freshness.PENDING:
        state = State.PENDING if freshness == Freshness.PENDING else State.QUARANTINED
        raise Refused(
            Step.V1,
            Code.STALE,
            f"the trust metadata for {origin} is past its date",
            state=state,
            expected="newer metadata",
        )
    return hub


class _Repository:
    def __init__(self, files: Mapping[str, bytes], now: int, seen: dict[str, int], suites: Suites) -> None:
        self._files = files
        self._now = now
        self._seen = seen
        self._suites = suites
        self._versions: dict[str, int] = {}
        self._overdue = 0
        self._held: set[str] = set()

    def load(self, bootstrap: bytes, denied: frozenset[str]) -> Trust:
        root = self._root(bootstrap)
        timestamp = self._signed(Timestamp, self._file("timestamp.json"), root, "timestamp")
        self._held.add("timestamp.json")
        meta = timestamp.snapshot_meta
        data = self._file(f"{meta.version}.snapshot.json")
        meta.verify_length_and_hashes(data)
        snapshot = self._signed(Snapshot, data, root, "snapshot")
        if snapshot.version != meta.version:
            raise InputError(f"snapshot {snapshot.version}", expected=f"{meta.version}, as the timestamp says")
        self._held.add(f"{meta.version}.snapshot.json")
        missing = [name for name in self._seen if name.startswith("prov-") and f"{name}.json" not in snapshot.meta]
        if missing:
            raise InputError(f"the snapshot no longer names {missing[0]}")
        targets = self._targets(snapshot, root, "targets")
        hubs: dict[str, Hub] = {}
        refused: dict[str, str] = {}
        freshness: dict[str, Freshness] = {}
        overdue = self._overdue
        for name, delegations in _provinces(targets, refused):
            self._overdue = overdue
            try:
                province = self._targets(snapshot, delegations, name)
                if province.delegations is not None:
                    raise InputError(f"{name} delegates further", expected="no delegation below a province")
                self._hubs(name[-2:], province, hubs, refused)
                freshness[name] = Freshness.of(self._overdue)
            except _BAD as error:
                refused[name] = f"the metadata of {name} does not hold: {error}"
        trusted = {k: _without(hub, denied) for k, hub in hubs.items() if f"prov-{k[:2]}" in freshness}
        return Trust(trusted, freshness, self._versions, refused, denied, frozenset(self._held))

    def _root(self, bootstrap: bytes) -> Root:
        document = _metadata(Root, bootstrap)
        root = document.signed
        root.verify_delegate("root", document.signed_bytes, document.signatures)
        if self._files.get(f"{root.version}.root.json") == bootstrap:
            self._held.add(f"{root.version}.root.json")
        for _ in range(MAX_ROOTS):
            data = self._files.get(f"{root.version + 1}.root.json")
            if data is None:
                break
            document = _metadata(Root, data)
            root.verify_delegate("root", document.signed_bytes, document.signatures)
            if document.signed.version != root.version + 1:
                raise InputError(f"root {document.signed.version}", expected=f"{root.version + 1}")
            root = document.signed
            root.verify_delegate("root", document.signed_bytes, document.signatures)
            self._held.add(f"{root.version}.root.json")
        else:
            raise Refused(Step.V0, Code.CAP, f"more than {MAX_ROOTS} roots in one chain")
        newest = max((v for name in self._files if (v := _root_version(name))), default=0)
        if newest > root.version:
            raise InputError(f"root {newest} without root {root.version + 1}", expected="an unbroken chain of roots")
        self._keep("root", root)
        return root

    def _targets(self, snapshot: Snapshot, delegator: Root | Targets, name: str) -> Targets:
        meta = snapshot.meta.get(f"{name}.json")
        if meta is None:
            raise InputError(f"the snapshot does not name {name}")
        data = self._file(f"{meta.version}.{name}.json")
        meta.verify_length_and_hashes(data)
        targets = self._signed(Targets, data, delegator, name)
        if targets.version != meta.version:
            raise InputError(f"{name} {targets.version}", expected=f"{meta.version}, as the snapshot says")
        self._held.add(f"{meta.version}.{name}.json")
        return targets

    def _hubs(self, province: str, targets: Targets, hubs: dict[str, Hub], refused: dict[str, str]) -> None:
        if len(targets.targets) > MAX_HUBS:
            raise InputError(f"{len(targets.targets)} hubs in one province", expected=f"at most {MAX_HUBS}")
        for path, target in targets.targets.items():
            match = HUB_PATH.fullmatch(path)
            if match is None or match[1] != province:
                refused[path] = f"{path} is not of province {province}"
                continue
            try:
                hubs[match[2]] = read_hub(path, self._target(path, target), self._suites)
            except _BAD as error:
                refused[match[2]] = str(error)

    def _target(self, path: str, target: TargetFile) -> bytes:
        folder, _, name = path.rpartition("/")
        file = f"targets/{folder}/{target.hashes['sha256']}.{name}"
        data = self._file(file)
        target.verify_length_and_hashes(data)
        self._held.add(file)
        return data

    def _signed(self, kind: type[_T], data: bytes, delegator: Root | Targets, name: str) -> _T:
        document = _metadata(kind, data)
        delegator.verify_delegate(name, document.signed_bytes, document.signatures)
        self._keep(name, document.signed)
        return document.signed

    def _keep(self, name: str, signed: Signed) -> None:
        if signed.version < self._seen.get(name, 0):
            raise InputError(f"{name} {signed.version}", expected=f"at least {self._seen[name]}, which was seen before")
        self._versions[name] = signed.version
        self._overdue = max(self._overdue, self._now - int(signed.expires.timestamp()))

    def _file(self, name: str) -> bytes:
        if name not in self._files:
            raise InputError(f"the trust repository lacks {name}")
        return self._files[name]


def _metadata(kind: type[_T], data: bytes) -> Metadata[_T]:
    if len(data) > MAX_METADATA:
        raise Refused(Step.V0, Code.CAP, f"trust metadata of {len(data)} bytes", expected=f"at most {MAX_METADATA}")
    parse(data)
    document: Metadata[_T] = Metadata.from_bytes(data)
    if not isinstance(document.signed, kind):
        raise InputError(f"metadata of type {document.signed.type}", expected=kind.type)
    for key in _keys(document.signed):
        if (key.keytype, key.scheme) != ("ed25519", "ed25519"):
            raise InputError(f"a trust key of type {key.keytype}", expected="ed25519")
        Suites().load("ed25519", bytes.fromhex(key.keyval["public"]))
    return document


def _keys(signed: Signed) -> list[Key]:
    if isinstance(signed, Root):
        return list(signed.keys.values())
    if isinstance(signed, Targets) and signed.delegations is not None:
        return list(signed.delegations.keys.values())
    return []


def _provinces(targets: Targets, refused: dict[str, str]) -> Iterable[tuple[str, Targets]]:
    delegations: Delegations | None = targets.delegations
    roles = {} if delegations is None or delegations.roles is None else delegations.roles
    if len(roles) > MAX_ROLES:
        raise InputError(f"{len(roles)} delegated roles", expected=f"at most {MAX_ROLES}")
    for name, role in roles.items():
        if not (name.startswith("prov-") and len(name) == 7 and role.paths == [f"hubs/{name[-2:]}/*"]):
            refused[name] = f"role {name} is not prov-<2 digits> with the path of that province"
            continue
        yield name, targets


def _root_version(name: str) -> int | None:
    number, _, rest = name.partition(".")
    return int(number) if rest == "root.json" and number.isascii() and number.isdigit() and len(number) < 9 else None


def _without(hub: Hub, denied: frozenset[str]) -> Hub:
    kept = tuple(key for key in hub.keys if key_id(key.key) not in denied)
    return replace(hub, keys=kept)
