"""The hub's side: its folder of keys, the request that answers an invitation, and what it pins once it is admitted."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dianhuan_federation.core import Hub, Signer, key_id
from dianhuan_federation.keys._drafts import fingerprints, same_fingerprint
from dianhuan_federation.keys._files import (
    HUB_ROLES,
    HubRole,
    NewKey,
    generate,
    read_key_file,
    read_signer,
    write_key,
    write_pseudonym_key,
)
from dianhuan_federation.keys._repository import TrustRepository
from dianhuan_federation.keys._requests import (
    read_invitation,
    read_request,
    request_keys,
    request_rotation,
)
from dianhuan_federation.log_store import write_durably
from dianhuan_sdk import ConfigError, InputError

ROOT = "root.json"
WITNESS_POLICY = "witnesses.policy"
PSEUDONYMS = "pseudonym.key"
_Ask = Callable[[list[tuple[HubRole, Signer]]], bytes]
_KEY_NAME = re.compile(r"(log|publisher|transport|witness|mirror)-([1-9][0-9]{0,3})\.pem")


@dataclass(frozen=True, slots=True)
class Request:
    """A request that was made, and the names of the key files made for it."""

    envelope: bytes
    names: list[str]


@dataclass(frozen=True, slots=True)
class Member:
    """A hub that its province vouches for.

    Args:
        origin: its log.
        root: the pinned root file.
        policy: the witness policy's file.
        keys: role → the key file in force.
    """

    origin: str
    root: Path
    policy: Path
    keys: Mapping[str, Path]


def join(
    repository: TrustRepository, invitation: bytes, fingerprint: str, keys: Path, endpoints: Sequence[str], now: int
) -> Request:
    """Check the invitation, make a key per role, and ask for them.

    Args:
        repository: the trust repository that came with the invitation.
        invitation: the province's file.
        fingerprint: the root fingerprint as it was read out by telephone.
        keys: folder for the keys.
        endpoints: where the hub can be pulled from.
        now: POSIX seconds.

    Raises:
        InputError: another fingerprint, a repository or an invitation that does not hold.
        ConfigError: the folder holds keys already.
    """
    _confirm(repository, fingerprint)
    wanted = read_invitation(invitation, repository, now)
    present = _key_files(keys)
    if present:
        raise ConfigError(
            f"the folder {keys.name} holds keys already: {', '.join(path.name for _, _, path in present)}",
            expected="an empty folder: a key is never overwritten and never asked for twice",
            hint="to go on with an earlier request, name its file with --out; if no request was ever handed over, "
            "take another folder; for new keys of a member use `rotate keys`",
        )
    made = [(role, generate(role)) for role in wanted.roles]
    envelope, names = _kept(keys, made, lambda signers: request_keys(invitation, signers, endpoints, now))
    if "publisher" in wanted.roles and not (keys / PSEUDONYMS).exists():
        write_pseudonym_key(keys / PSEUDONYMS)
        names.append(PSEUDONYMS)
    return Request(envelope, names)


def rotate(repository: TrustRepository, hub: str, roles: Sequence[HubRole], keys: Path, now: int) -> Request:
    """Make new keys for a member's roles, and ask for them with the ones in force.

    Raises:
        InputError: the hub is no member.
        ConfigError: the folder lacks the key in force of a role.
    """
    member = _member(repository, hub, now)
    present = keys_in_force(keys, member, now)
    lacking = [role for role in roles if role not in present]
    if lacking:
        raise ConfigError(
            f"the folder {keys.name} lacks the {lacking[0]} key of {hub} that is in force",
            expected="the key file that the trust repository names: the old key vouches for the new one",
            hint="if it is lost or revoked: the province revokes it and invites the hub again",
        )
    old = [read_key_file(present[role], role) for role in roles]
    made = [(role, generate(role)) for role in dict.fromkeys(roles)]
    file = repository.hub_file(hub)
    return Request(*_kept(keys, made, lambda signers: request_rotation(file, signers, old, now)))


def pin(repository: TrustRepository, request: bytes, fingerprint: str, keys: Path, now: int) -> Member | None:
    """Pin the root, if the province vouches for the keys that were asked for; None while it does not yet.

    Raises:
        InputError: another fingerprint, or a repository that does not hold or names the hub otherwise.
        ConfigError: another root is pinned already.
    """
    _confirm(repository, fingerprint)
    asked = read_request(request)
    hub = repository.load(now).hubs.get(asked.hub)
    if hub is None or {key.form().id for key in asked.keys} - {key_id(key.key) for key in hub.keys}:
        return None
    if asked.origin not in hub.origins:
        raise InputError(f"the trust repository does not name the log {asked.origin}", hint="ask the province")
    root = keys / ROOT
    if root.exists() and root.read_bytes() != repository.first_root():
        raise ConfigError(f"{root.name} pins another root already", expected="one federation per folder of keys")
    write_durably(root, repository.first_root())
    policy = keys / WITNESS_POLICY
    write_durably(policy, hub.witness_policy.encode())
    return Member(asked.origin, root, policy, keys_in_force(keys, hub, now))


def member_config(member: Member, repository: TrustRepository, keys: Path, guard: Path | None = None) -> str:
    """The section `[plugins.federation.hub]` of hub.toml.

    Args:
        member: what was pinned.
        repository: the hub's copy of the trust repository.
        keys: the folder of keys.
        guard: the guard file; by default in the folder of keys, which no backup of the data holds.
    """
    files = {
        "guard": guard or keys / "guard.sqlite",
        "trust": repository.folder,
        "root": member.root,
        "witness_policy": member.policy,
    }
    secret = {f"{role}_key": path for role, path in sorted(member.keys.items())}
    if (keys / PSEUDONYMS).exists():
        secret["pseudonym_key"] = keys / PSEUDONYMS
    roles = ["subscriber", *(role for role in ("publisher", "witness", "mirror") if role in member.keys)]
    lines = [
        "[plugins.federation.hub]",
        f"origin = {_toml(member.origin)}",
        f"roles = [{', '.join(_toml(role) for role in roles)}]",
        *(f"{name} = {_toml(str(path.absolute()))}" for name, path in files.items()),
        *(f"{name} = {{ ref = {_toml(f'file:{path.absolute()}')} }}" for name, path in secret.items()),
    ]
    return "\n".join([*lines, ""])


def keys_in_force(folder: Path, hub: Hub, now: int) -> dict[str, Path]:
    """Of each role, the newest key file in a folder that counts now by the trust repository.

    A key that was made for a request which nobody has admitted yet is none of them.
    """
    found: dict[str, Path] = {}
    for role, _, path in _key_files(folder):
        known = hub.role(role)
        key = known.get(key_id(read_key_file(path, role).public))
        if key is not None and key.counts_at(now):
            found[role] = path
    return found


def _key_files(folder: Path) -> list[tuple[HubRole, int, Path]]:
    """Key files by role and number, ascending."""
    matches = ((_KEY_NAME.fullmatch(path.name), path) for path in folder.glob("*.pem"))
    named = ((match[1], int(match[2]), path) for match, path in matches if match is not None)
    return sorted((role, number, path) for name, number, path in named for role in HUB_ROLES if role == name)


def _member(repository: TrustRepository, hub: str, now: int) -> Hub:
    found = repository.load(now).hubs.get(hub)
    if found is None:
        raise InputError(f"no province vouches for hub {hub}", hint="see `dianhuan federation status`")
    return found


def _kept(folder: Path, made: Sequence[tuple[HubRole, NewKey]], ask: _Ask) -> tuple[bytes, list[str]]:
    signers: list[tuple[HubRole, Signer]] = [(role, read_signer(key.pem, role)) for role, key in made]
    envelope = ask(signers)
    names = []
    for role, key in made:
        number = 1 + max((n for r, n, _ in _key_files(folder) if r == role), default=0)
        write_key(folder / f"{role}-{number}.pem", key)
        names.append(f"{role}-{number}.pem")
    return envelope, names


def _confirm(repository: TrustRepository, fingerprint: str) -> None:
    known = fingerprints(repository.first_root())
    if not same_fingerprint(fingerprint, known):
        raise InputError(
            "the fingerprint that was read to you is not that of this trust repository's root",
            expected="all 64 digits of the SHA-256 or SM3 fingerprint, as `trust fingerprint` gives it",
            hint="stop here: call the province back on a number that you know, and do not use this repository",
        )


def _toml(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
