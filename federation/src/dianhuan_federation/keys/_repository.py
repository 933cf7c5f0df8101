"""The trust repository in a folder, for those who write it: next versions as drafts, publishing, what is in force.

The folder is plain TUF with consistent snapshots; any web server or stick serves it, and `core.load_trust` reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (  # type: ignore[attr-defined]
    Metadata,
    MetaFile,
    Root,
    Signature,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from dianhuan_federation.core import HUB_PATH, Signer, Trust, canonical, load_trust, parse, read_hub
from dianhuan_federation.keys._drafts import Draft, Holders, check_all, tuf_key
from dianhuan_federation.keys._files import PublicForm, refuse_reuse
from dianhuan_federation.keys._groups import Group, delegate, lasting, one_role, set_role
from dianhuan_federation.log_store import write_durably
from dianhuan_federation.suites import known_suites
from dianhuan_sdk import ConfigError, InputError

_T = TypeVar("_T", Root, Targets, Snapshot, Timestamp)


class TrustRepository:
    """The repository of one federation.

    Args:
        folder: its files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def files(self) -> dict[str, bytes]:
        """All files by path."""
        found = (path for path in sorted(self.folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in found}

    def first_root(self) -> bytes:
        """Root 1, from which every newer root follows.

        Raises:
            ConfigError: the folder holds no trust repository.
        """
        return self._read("1.root.json")

    def root(self) -> Root:
        """The newest root."""
        version = 1
        while (self.folder / f"{version + 1}.root.json").exists():
            version += 1
        return _metadata(Root, self._read(f"{version}.root.json"))

    def role(self, name: str) -> Targets:
        """The targets metadata in force of `targets` or `prov-NN`.

        Raises:
            InputError: the repository has no such role.
        """
        meta = self._snapshot().meta.get(f"{name}.json")
        if meta is None:
            raise InputError(f"the trust repository has no role {name}", hint="see `dianhuan federation status`")
        return _metadata(Targets, self._read(f"{meta.version}.{name}.json"))

    def provinces(self) -> list[str]:
        """Names of the delegated roles."""
        delegations = self.role("targets").delegations
        return sorted((delegations.roles or {}) if delegations is not None else {})

    def expiries(self) -> dict[str, tuple[int, int]]:
        """Version and expiry (POSIX seconds) by role."""
        timestamp = _metadata(Timestamp, self._read("timestamp.json"))
        roles: dict[str, Any] = {"root": self.root(), "timestamp": timestamp, "snapshot": self._snapshot()}
        roles |= {name: self.role(name) for name in ("targets", *self.provinces())}
        return {name: (signed.version, int(signed.expires.timestamp())) for name, signed in roles.items()}

    def holders(self, role: str) -> Holders:
        """Who signs a role now."""
        if role.startswith("prov-") and role not in self.provinces():
            raise InputError(f"the trust repository has no role {role}", hint="see `dianhuan federation status`")
        return Holders.of(role, self.role("targets") if role.startswith("prov-") else self.root(), role)

    def load(self, now: int) -> Trust:
        """The repository as every verifier sees it."""
        return load_trust(self.first_root(), self.files(), now, suites=known_suites())

    def hub_file(self, hub: str) -> dict[str, Any]:
        """What a province says of a hub.

        Raises:
            InputError: no province vouches for it.
        """
        path = f"hubs/{hub[:2]}/{hub}.json"
        target = self.role(f"prov-{hub[:2]}").targets.get(path)
        if target is None:
            raise InputError(f"no province vouches for hub {hub}", hint="see `dianhuan federation status`")
        file: dict[str, Any] = parse(self._read(_target_path(path, target.hashes["sha256"])))
        return file

    def hub_ids(self) -> list[str]:
        """All hubs that stand in the repository."""
        matches = (HUB_PATH.fullmatch(path) for name in self.provinces() for path in self.role(name).targets)
        return sorted(match[2] for match in matches if match is not None)

    def known_keys(self) -> dict[bytes, str]:
        """Every public key in the federation, and where it stands."""
        known: dict[bytes, str] = {}
        for role in ("root", "targets", "snapshot", "timestamp", *self.provinces()):
            known |= {bytes.fromhex(raw): f"a key of {role}" for raw in self.holders(role).keys.values()}
        for hub in self.hub_ids():
            file = read_hub(f"hubs/{hub[:2]}/{hub}.json", canonical(self.hub_file(hub)), known_suites())
            known |= {key.key.raw: f"the {key.role} key of hub {hub}" for key in file.keys}
        return known

    def draft_hub(self, file: Mapping[str, Any], now: int) -> Draft:
        """The next version of a province's metadata, with this hub file in it.

        Raises:
            InputError: the file does not fit, or its province is not in the federation.
        """
        hub = str(file["hub"])
        path, name = f"hubs/{hub[:2]}/{hub}.json", f"prov-{hub[:2]}"
        data = canonical(file)
        read_hub(path, data, known_suites())
        draft = self.draft_again(name, now)
        draft.document.signed.targets[path] = TargetFile.from_data(path, data, ["sha256"])
        return Draft(name, draft.document, draft.holders, {path: data})

    def draft_again(self, role: str, now: int) -> Draft:
        """The next version of `targets` or `prov-NN` with a new expiry and nothing else changed."""
        signed = self.role(role)
        signed.version += 1
        signed.expires = lasting("targets" if role == "targets" else "province", now)
        return Draft(role, Metadata(signed), (self.holders(role),), {})

    def draft_province(self, province: str, group: Group, now: int) -> list[Draft]:
        """The drafts that add a province, or give it new keys: the targets, and the province's own signed again.

        Raises:
            InputError: keys of another role, in use elsewhere, or a threshold that cannot be.
        """
        self.refuse_known(group.keys)
        name = f"prov-{province}"
        top = self.draft_again("targets", now)
        known = name in self.provinces()
        delegate(top.document.signed, province, group)
        own = self.draft_again(name, now).document if known else Metadata(Targets(1, expires=lasting("province", now)))
        return [top, Draft(name, own, (Holders.of(name, top.document.signed, name),), {})]

    def draft_root(
        self,
        now: int,
        *,
        root: Group | None = None,
        targets: Group | None = None,
        snapshot: PublicForm | None = None,
        timestamp: PublicForm | None = None,
    ) -> list[Draft]:
        """The next root, with new keys for the roles given; the holders before and the holders after both sign.

        With new keys for the targets, the targets are drafted too, for their new holders.

        Raises:
            InputError: keys of wrong roles or in use elsewhere, or a threshold that cannot be.
        """
        signed, before = self.root(), self.holders("root")
        groups = [(role, group) for role, group in (("root", root), ("targets", targets)) if group is not None]
        single = [(role, form) for role, form in (("snapshot", snapshot), ("timestamp", timestamp)) if form is not None]
        new = [*(form for _, group in groups for form in group.keys), *(form for _, form in single)]
        self.refuse_known(new, staying=("root", "targets"))
        refuse_reuse(new)
        before = Holders(f"root {signed.version}", before.keys, before.threshold)
        signed.version += 1
        signed.expires = lasting("root", now)
        for role, group in groups:
            set_role(signed, role, group.checked(role, role))
        for role, form in single:
            set_role(signed, role, Group([one_role(form, role)], 1))
        after = Holders.of(f"root {signed.version}", signed, "root")
        drafts = [Draft("root", Metadata(signed), (before,) if root is None else (before, after), {})]
        if targets is not None:
            top = self.draft_again("targets", now)
            drafts.append(Draft("targets", top.document, (Holders.of("targets", signed, "targets"),), {}))
        return drafts

    def refuse_known(self, forms: Iterable[PublicForm], staying: Iterable[str] = ()) -> None:
        """Refuse keys that stand somewhere in the federation; holders of the roles `staying` may keep theirs.

        Raises:
            InputError: a key is in use.
        """
        known = self.known_keys()
        for form in forms:
            place = known.get(form.key.raw)
            if place is not None and not (form.role in staying and place == f"a key of {form.role}"):
                raise InputError(
                    f"the {form.role} key {form.id[:16]} is {place} already",
                    expected="a key of its own for each role and holder",
                )

    def publish(self, drafts: Sequence[Draft], snapshot: Signer, timestamp: Signer, now: int) -> list[str]:
        """Put complete drafts in force and sign snapshot and timestamp again; all of it or nothing.

        Args:
            drafts: what is new; none to sign snapshot and timestamp again only.
            snapshot: the online key of that role.
            timestamp: the online key of that role.
            now: POSIX seconds.

        Returns:
            Names of the files that are new.

        Raises:
            InputError: signatures are missing, a version is not the next one, an online key is not the one that the
                root names, or the result would not be trusted.
        """
        missing = check_all(drafts)
        if missing:
            raise InputError("; ".join(missing), hint="let the other holders sign: `dianhuan federation trust sign`")
        present = self.files()
        fresh = self._assembled(drafts, present, snapshot, timestamp, now)
        together = {**present, **fresh}
        if "1.root.json" not in together:
            raise ConfigError("a trust repository without its first root", expected="the draft 1.root.json among these")
        before = (
            load_trust(together["1.root.json"], present, now, suites=known_suites()).refused
            if "timestamp.json" in present
            else {}
        )
        trust = load_trust(together["1.root.json"], together, now, suites=known_suites())
        worse = [f"{name}: {why}" for name, why in trust.refused.items() if name not in before]
        if worse:
            raise InputError(f"this would not be trusted: {worse[0]}", hint="nothing was published")
        for path, data in fresh.items():
            if path in present and path != "timestamp.json" and present[path] != data:
                raise InputError(f"{path} is published already", expected="the next version")
        for path in sorted(fresh, key=lambda p: (p == "timestamp.json", "snapshot" in p)):
            write_durably(self.folder / path, fresh[path])
        return sorted(fresh)

    def _assembled(
        self, drafts: Sequence[Draft], present: Mapping[str, bytes], snapshot: Signer, timestamp: Signer, now: int
    ) -> dict[str, bytes]:
        fresh: dict[str, bytes] = {}
        old = self._snapshot() if "timestamp.json" in present else None
        metas = dict(old.meta) if old is not None else {}
        for draft in drafts:
            fresh[draft.name] = _encoded(draft.document)
            for path, content in draft.targets.items():
                fresh[f"{_target_path(path, sha256(content).hexdigest())}"] = content
            last = self.root().version if draft.role == "root" and "1.root.json" in present else 0
            if draft.role != "root":
                last = metas[f"{draft.role}.json"].version if f"{draft.role}.json" in metas else 0
                metas[f"{draft.role}.json"] = MetaFile(draft.document.signed.version)
            if draft.document.signed.version != last + 1:
                raise InputError(
                    f"{draft.name} does not follow version {last}, which is in force",
                    expected=f"version {last + 1}",
                    hint="somebody else published meanwhile: make the draft again",
                )
        number = 1 if old is None else old.version + 1
        listed = Snapshot(number, expires=lasting("snapshot", now), meta=metas)
        newest = Timestamp(number, expires=lasting("timestamp", now), snapshot_meta=MetaFile(number))
        fresh[f"{number}.snapshot.json"] = _signed(listed, snapshot)
        fresh["timestamp.json"] = _signed(newest, timestamp)
        return fresh

    def _snapshot(self) -> Snapshot:
        timestamp = _metadata(Timestamp, self._read("timestamp.json"))
        return _metadata(Snapshot, self._read(f"{timestamp.snapshot_meta.version}.snapshot.json"))

    def _read(self, path: str) -> bytes:
        try:
            return (self.folder / path).read_bytes()
        except OSError:
            raise ConfigError(
                f"the trust repository {self.folder.name} lacks {path}",
                expected="a folder filled by `dianhuan federation trust publish`",
            ) from None


def _target_path(path: str, digest: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"targets/{folder}/{digest}.{name}"


def _metadata(kind: type[_T], data: bytes) -> _T:
    try:
        signed = Metadata.from_dict(parse(data)).signed
    except (RepositoryError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"the trust repository holds a damaged file: {error}", hint="fetch it again") from None
    if not isinstance(signed, kind):
        raise InputError(f"the trust repository holds {signed.type} in place of {kind.type}", hint="fetch it again")
    return signed


def _encoded(document: Metadata[Any]) -> bytes:
    return document.to_bytes(JSONSerializer(compact=True))


def _signed(signed: Snapshot | Timestamp, signer: Signer) -> bytes:
    document: Metadata[Any] = Metadata(signed)
    keyid = tuf_key(signer.public).keyid
    document.signatures[keyid] = Signature(keyid, signer.sign(document.signed_bytes).hex())
    return _encoded(document)
