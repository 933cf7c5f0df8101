"""Holders and what they hold: thresholds, delegations to provinces, and the first metadata of a federation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tuf.api.metadata import (  # type: ignore[attr-defined]
    DelegatedRole,
    Delegations,
    Metadata,
    Role,
    Root,
    Targets,
)

from dianhuan_federation.keys._drafts import Draft, Holders, tuf_key
from dianhuan_federation.keys._files import PublicForm, refuse_reuse
from dianhuan_sdk import InputError

DAY = 86_400
LIFETIMES = {"root": 365, "targets": 365, "province": 180, "snapshot": 30, "timestamp": 30}
"""Days that metadata holds, by kind of role."""


@dataclass(frozen=True, slots=True)
class Group:
    """Holders of one role: their public keys, and how many must sign."""

    keys: Sequence[PublicForm]
    threshold: int

    def checked(self, name: str, role: str) -> Group:
        """Itself, if the threshold can be met and is no majority of one.

        Raises:
            InputError: keys of another role, or a threshold that is not above half of the keys.
        """
        for form in self.keys:
            if form.role != role:
                raise InputError(f"{name}: a key made for the role {form.role}", expected=f"keys of role {role}")
        if not len(self.keys) / 2 < self.threshold <= len(self.keys):
            raise InputError(
                f"{name}: {self.threshold} of {len(self.keys)} signatures",
                expected="more than half of the keys, and no more than there are",
            )
        return self


def lasting(kind: str, now: int) -> datetime:
    """When metadata of that kind made now expires."""
    return datetime.fromtimestamp(now + LIFETIMES[kind] * DAY, UTC)


def begin(
    root: Group, targets: Group, provinces: Mapping[str, Group], snapshot: PublicForm, timestamp: PublicForm, now: int
) -> list[Draft]:
    """The first drafts of a new federation: root, targets and one per province.

    Raises:
        InputError: keys of wrong roles, thresholds that cannot be, or one key in two places.
    """
    root.checked("root", "root")
    targets.checked("targets", "targets")
    one_role(snapshot, "snapshot")
    one_role(timestamp, "timestamp")
    groups = [root, targets, *provinces.values()]
    refuse_reuse([*(form for group in groups for form in group.keys), snapshot, timestamp])
    first = _root(1, root, targets, snapshot, timestamp, now)
    top = Targets(1, expires=lasting("targets", now), delegations=Delegations({}, {}))
    for province, group in sorted(provinces.items()):
        delegate(top, province, group)
    drafts = [
        Draft("root", Metadata(first), (Holders.of("root 1", first, "root"),), {}),
        Draft("targets", Metadata(top), (Holders.of("targets", first, "targets"),), {}),
    ]
    for province in sorted(provinces):
        name = f"prov-{province}"
        empty = Targets(1, expires=lasting("province", now))
        drafts.append(Draft(name, Metadata(empty), (Holders.of(name, top, name),), {}))
    return drafts


def _root(version: int, root: Group, targets: Group, snapshot: PublicForm, timestamp: PublicForm, now: int) -> Root:
    signed = Root(version, expires=lasting("root", now), consistent_snapshot=True)
    set_role(signed, "root", root)
    set_role(signed, "targets", targets)
    set_role(signed, "snapshot", Group([snapshot], 1))
    set_role(signed, "timestamp", Group([timestamp], 1))
    return signed


def set_role(signed: Root, role: str, group: Group) -> None:
    """Give a role of a root these holders, and drop keys that no role uses any more."""
    signed.roles[role] = Role([], group.threshold)
    for form in group.keys:
        signed.add_key(tuf_key(form.key), role)
    used = {keyid for delegated in signed.roles.values() for keyid in delegated.keyids}
    signed.keys = {keyid: key for keyid, key in signed.keys.items() if keyid in used}


def delegate(top: Targets, province: str, group: Group) -> None:
    """Let the top targets delegate a province's hubs to these holders.

    Raises:
        InputError: no code of a province, keys of another role, or a threshold that cannot be.
    """
    if re.fullmatch("[1-8][0-9]", province) is None:
        raise InputError(f"province {province[:20]!r}", expected="first two digits of a GB/T 2260 code, e.g. 43")
    name = f"prov-{province}"
    group.checked(name, "province")
    delegations = top.delegations
    assert delegations is not None
    assert delegations.roles is not None
    keys = [tuf_key(form.key) for form in group.keys]
    delegations.roles[name] = DelegatedRole(
        name, [key.keyid for key in keys], group.threshold, True, [f"hubs/{province}/*"]
    )
    delegations.keys |= {key.keyid: key for key in keys}
    used = {keyid for role in delegations.roles.values() for keyid in role.keyids}
    delegations.keys = {keyid: key for keyid, key in delegations.keys.items() if keyid in used}


def one_role(form: PublicForm, role: str) -> PublicForm:
    """The key itself; `InputError` if it was made for another role."""
    if form.role != role:
        raise InputError(f"a key made for the role {form.role}", expected=f"a key of role {role}")
    return form
