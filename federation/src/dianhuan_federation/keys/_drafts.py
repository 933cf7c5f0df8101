"""Trust metadata on its way from holder to holder: one file that gathers signatures until the threshold is met.

The file names the keys that may sign it, so that an offline holder sees how many signatures are there. That list
only informs; what counts is the repository, against which `TrustRepository.publish` verifies everything again.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SM3, Hash
from securesystemslib.exceptions import Error as SignatureError
from securesystemslib.signer import Key, Signature, SSlibKey  # type: ignore[attr-defined]
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Role, Root, Targets  # type: ignore[attr-defined]

from dianhuan_federation.core import PublicKey, Signer, canonical, key_id, parse, read_hub
from dianhuan_federation.suites import known_suites
from dianhuan_sdk import InputError

DRAFT_KIND = "urn:dianhuan:federation:trust-draft:v1"
MAX_DRAFT = 4 * 1024 * 1024
_TITLES = {"sha256": "SHA-256", "sm3": "SM3"}
_BAD = (RepositoryError, SignatureError, ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True)
class Holders:
    """Who may sign, and how many must.

    Args:
        name: who they are, for people: `root 1`, `prov-43`.
        keys: TUF key id → raw Ed25519 key in hex.
        threshold: how many must sign.
    """

    name: str
    keys: Mapping[str, str]
    threshold: int

    @classmethod
    def of(cls, name: str, delegator: Root | Targets, role: str) -> Holders:
        """The holders that a root or targets file names for a role."""
        delegated = delegator.get_delegated_role(role)
        return cls(name, {k: delegator.get_key(k).keyval["public"] for k in delegated.keyids}, delegated.threshold)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a draft is: per group of holders, whose signatures are there."""

    holders: Holders
    signed: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Is the threshold met?"""
        return len(self.signed) >= self.holders.threshold

    def __str__(self) -> str:
        return f"{len(self.signed)} of {self.holders.threshold} signatures of {self.holders.name}"


class _DraftFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        name: Annotated[str, msgspec.Meta(max_length=64)]
        threshold: Annotated[int, msgspec.Meta(ge=1, le=64)]
        keys: Annotated[dict[str, str], msgspec.Meta(max_length=64)]

    kind: str
    role: Annotated[str, msgspec.Meta(pattern=r"\A(?:root|targets|prov-[0-9]{2})\Z")]
    holders: Annotated[list[Group], msgspec.Meta(min_length=1, max_length=2)]
    metadata: dict[str, Any]
    targets: Annotated[dict[str, str], msgspec.Meta(max_length=5000)]


@dataclass(frozen=True, slots=True)
class Draft:
    """Metadata of one role, signed by some of its holders.

    Args:
        role: `root`, `targets` or `prov-NN`.
        document: the metadata with the signatures so far.
        holders: those who sign; two groups for a new root, the old one and the new one.
        targets: files that are new in it, by target path.
    """

    role: str
    document: Metadata[Any]
    holders: tuple[Holders, ...]
    targets: Mapping[str, bytes]

    @property
    def name(self) -> str:
        """The metadata file's name in the repository."""
        return f"{self.document.signed.version}.{self.role}.json"

    @property
    def complete(self) -> bool:
        """Are all thresholds met?"""
        return all(standing.complete for standing in self.standing())

    def standing(self) -> list[Standing]:
        """Whose valid signatures are there, per group of holders."""
        data, signatures = self.document.signed_bytes, self.document.signatures
        return [
            Standing(
                group,
                tuple(k for k, raw in group.keys.items() if k in signatures and _verifies(k, raw, signatures[k], data)),
            )
            for group in self.holders
        ]

    def signed_by(self, signer: Signer) -> Draft:
        """The draft with one more signature.

        Raises:
            InputError: the key is none of the holders', or has signed already.
        """
        key = tuf_key(signer.public)
        if not any(key.keyid in group.keys for group in self.holders):
            raise InputError(
                f"this key ({key.keyid[:16]}) is none of those that sign {self.name}",
                expected=f"a key of {' or '.join(group.name for group in self.holders)}",
            )
        if any(key.keyid in standing.signed for standing in self.standing()):
            raise InputError(f"{self.name} carries this key's signature already", expected="another holder's key")
        document = Metadata.from_dict(self.document.to_dict())
        signature = signer.sign(document.signed_bytes)
        document.signatures[key.keyid] = Signature(key.keyid, signature.hex())
        return Draft(self.role, document, self.holders, self.targets)

    def metadata(self) -> bytes:
        """The metadata alone, as it will be published."""
        return canonical(self.document.to_dict())

    def content(self) -> dict[str, Any]:
        """What a holder signs, in short: role, version, expiry, and the files and provinces that it vouches for."""
        signed = self.document.signed
        listed: dict[str, Any] = {"role": self.role, "version": signed.version, "expires": signed.expires.isoformat()}
        if isinstance(signed, Root):
            return {
                **listed,
                "thresholds": {name: f"{r.threshold} of {len(r.keyids)}" for name, r in signed.roles.items()},
            }
        roles = signed.delegations.roles if signed.delegations is not None else None
        listed["provinces"] = {n: f"{r.threshold} of {len(r.keyids)}" for n, r in (roles or {}).items()}
        new = {path: parse(data) for path, data in self.targets.items()}
        return {**listed, "files": sorted(signed.targets), "new": new}

    def described(self) -> list[tuple[str, str]]:
        """`content` for people, in Chinese and English."""
        content = self.content()
        until = content["expires"][:10]
        lines = [(f"{self.name}，有效期至 {until}", f"{self.name}, holds until {until}")]
        if self.role == "root":
            prints = fingerprints(self.metadata())
            lines += [(f"指纹 {title} {prints[t]}", f"fingerprint {title} {prints[t]}") for t, title in _TITLES.items()]
        for name, count in {**content.get("thresholds", {}), **content.get("provinces", {})}.items():
            lines.append((f"{name} 门限 {count}", f"{name}: {count} must sign"))
        for path, file in content.get("new", {}).items():
            lines.append((f"{path}：{file['name']}", f"{path}: {file['name']}"))
            for key in file["keys"]:
                public = key_id(known_suites().load(key["suite"], base64.b64decode(key["public"])))[:16]
                ended = f", revoked {key['revoked_at']}" if key["revoked_at"] else ""
                text = f"{key['role']} {public} {key['valid_from'][:10]} – {key['valid_until'][:10]}{ended}"
                lines.append((f"密钥 {text}", f"key {text}"))
        return lines

    def encode(self) -> bytes:
        """The file that travels: canonical JSON and a newline."""
        body = {
            "kind": DRAFT_KIND,
            "role": self.role,
            "holders": [{"name": g.name, "threshold": g.threshold, "keys": dict(g.keys)} for g in self.holders],
            "metadata": self.document.to_dict(),
            "targets": {path: data.decode() for path, data in self.targets.items()},
        }
        return canonical(body) + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> Draft:
        """Read a draft.

        Raises:
            InputError: no draft, or its target files are not those that the metadata names.
        """
        if len(data) > MAX_DRAFT:
            raise InputError(f"a draft of {len(data)} bytes", expected=f"at most {MAX_DRAFT}")
        try:
            file = msgspec.convert(parse(data), _DraftFile, strict=True)
            if file.kind != DRAFT_KIND:
                raise InputError(f"a file of kind {file.kind[:60]!r}", expected=DRAFT_KIND)
            document: Metadata[Any] = Metadata.from_dict(file.metadata)
            targets = {path: text.encode() for path, text in file.targets.items()}
            signed = document.signed
            if signed.type != ("root" if file.role == "root" else "targets"):
                raise InputError(f"a draft of {file.role} that holds {signed.type}")
            for path, content in targets.items():
                signed.targets[path].verify_length_and_hashes(content)
                read_hub(path, content, known_suites())
        except (msgspec.ValidationError, *_BAD) as error:
            raise InputError(f"a draft that does not hold: {error}", hint="ask for the file again") from None
        holders = tuple(Holders(group.name, group.keys, group.threshold) for group in file.holders)
        return cls(file.role, document, holders, targets)


def tuf_key(key: PublicKey) -> Key:
    """A public key as TUF names it; `InputError` for another suite than Ed25519, which is all that TUF roles use."""
    if key.suite != "ed25519":
        raise InputError(f"a trust key of suite {key.suite}", expected="ed25519")
    return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(key.raw))


def fingerprints(root: bytes) -> dict[str, str]:
    """SHA-256 and SM3 over the signed part of a root file, in hex; the same however many have signed it so far.

    `jq -cjS .signed 1.root.json | sha256sum` gives the first with standard tools.

    Raises:
        InputError: no root metadata.
    """
    try:
        document: Metadata[Any] = Metadata.from_dict(parse(root))
        if not isinstance(document.signed, Root):
            raise InputError(f"metadata of type {document.signed.type}", expected="root")
        data = document.signed_bytes
    except _BAD as error:
        raise InputError(f"no root metadata: {error}") from None
    sm3 = Hash(SM3())
    sm3.update(data)
    return {"sha256": sha256(data).hexdigest(), "sm3": sm3.finalize().hex()}


def spoken(fingerprint: str) -> str:
    """A fingerprint in groups of four, to be read out on the telephone."""
    return " ".join(fingerprint[i : i + 4] for i in range(0, len(fingerprint), 4))


def same_fingerprint(given: str, known: Mapping[str, str]) -> bool:
    """Is what somebody typed one of the fingerprints, whole, whatever the spaces and case?"""
    text = "".join(given.split()).replace(":", "").lower()
    return len(text) == 64 and text in known.values()


def merged(drafts: Sequence[Draft]) -> list[Draft]:
    """Copies of one draft that were signed side by side, as one with all their signatures.

    Raises:
        InputError: two drafts of one name that say different things.
    """
    found: dict[str, Draft] = {}
    for draft in drafts:
        other = found.setdefault(draft.name, draft)
        if other.document.signed_bytes != draft.document.signed_bytes or other.targets != draft.targets:
            raise InputError(f"two different drafts of {draft.name}", expected="copies of one draft")
        valid = {keyid for standing in draft.standing() for keyid in standing.signed}
        for keyid in valid:
            other.document.signatures.setdefault(keyid, draft.document.signatures[keyid])
    return list(found.values())


def check_all(drafts: Sequence[Draft]) -> list[str]:
    """What is missing before these drafts can be published, in words."""
    return [f"{draft.name}: {s}" for draft in drafts for s in draft.standing() if not s.complete]


def _verifies(keyid: str, raw: str, signature: Signature, data: bytes) -> bool:
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(raw))
        key = SSlibKey.from_crypto(public)
        key.verify_signature(signature, data)
    except _BAD:
        return False
    return key.keyid == keyid


def _thresholds(roles: Mapping[str, Role]) -> dict[str, str]:
    return {name: f"{role.threshold} of {len(role.keyids)}" for name, role in roles.items()}
