"""The province's side: what becomes of a hub's file when a request is admitted or a key is revoked."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dianhuan_federation.core import (
    Envelope,
    key_id,
    open_envelope,
)
from dianhuan_federation.keys._drafts import Draft
from dianhuan_federation.keys._files import PublicForm, public_form, refuse_reuse
from dianhuan_federation.keys._groups import DAY
from dianhuan_federation.keys._repository import TrustRepository
from dianhuan_federation.keys._requests import KeyRequest, check_endpoint, iso, read_invitation, read_request
from dianhuan_sdk import InputError


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a province would say of a hub if it admits a request.

    Args:
        file: the hub file.
        draft: the province's next metadata with it.
        added: the keys that are new.
        ended: ids of keys that end with the overlap.
    """

    file: Mapping[str, Any]
    draft: Draft
    added: Sequence[PublicForm]
    ended: Sequence[str]


def admit(repository: TrustRepository, request: bytes, now: int, *, days: int = 730, overlap: int = 30) -> Proposal:
    """What becomes of a hub's file if its request is taken. Nothing is in force before the province signs the draft.

    Args:
        repository: the federation's trust repository.
        request: the envelope of the hub.
        now: POSIX seconds.
        days: how long the new keys are valid.
        overlap: days for which the keys that they follow stay valid.

    Raises:
        InputError: a key in the request did not sign it, stands elsewhere in the federation or twice; the invitation
            does not hold or lacks a role; or a rotation is not signed by a present key of each role.
    """
    envelope = open_envelope(request)
    wanted = read_request(request)
    forms = [key.form() for key in wanted.keys]
    refuse_reuse(forms)
    signed = envelope.signed_by({form.id: form.key for form in forms})
    silent = [form for form in forms if form.id not in signed]
    if silent:
        raise InputError(
            f"the request is not signed by the {silent[0].role} key that it asks for",
            expected="a signature of every key in it: whoever asks must hold the private halves",
            hint="let the hub make the request again; never admit it by hand",
        )
    repository.refuse_known(forms)
    member = wanted.hub in repository.hub_ids()
    file = dict(repository.hub_file(wanted.hub)) if member else {}
    if wanted.invitation:
        file = _invited(repository, wanted, forms, file, now)
    elif not member:
        raise InputError(f"hub {wanted.hub} is no member and answers no invitation", hint="invite it first")
    else:
        _prove_followed(envelope, file, forms, now)
    roles = {form.role for form in forms}
    old = [_shortened(key, roles, now + overlap * DAY) for key in file.get("keys", [])]
    ended = [key_id(_key_of(new)) for new, was in zip(old, file.get("keys", []), strict=True) if new != was]
    fresh = [
        {
            **form.fields(),
            "valid_from": iso(now),
            "valid_until": iso(now + days * DAY),
            "revoked_at": None,
            "reason": "",
        }
        for form in forms
    ]
    file = {**file, "keys": [*old, *fresh]}
    return Proposal(file, repository.draft_hub(file, now), forms, ended)


def revoke(
    repository: TrustRepository, hub: str, key: str, at: int, reason: str, now: int
) -> tuple[Draft, Mapping[str, Any]]:
    """The draft that ends a key: what was witnessed at `at` or later no longer counts, what was before still does.

    Args:
        repository: the federation's trust repository.
        hub: whose key.
        key: its id, or the first eight or more digits of it.
        at: POSIX seconds; for a compromise the day since when the key may have been in other hands.
        reason: for people; stands in the hub file.
        now: POSIX seconds.

    Raises:
        InputError: no such key, several that begin so, a date to come, or one that would make a revocation milder.
    """
    file = dict(repository.hub_file(hub))
    found = [entry for entry in file["keys"] if len(key) >= 8 and key_id(_key_of(entry)).startswith(key.lower())]
    if len(found) != 1:
        ids = ", ".join(f"{key_id(_key_of(entry))[:16]} ({entry['role']})" for entry in file["keys"])
        raise InputError(f"key {key[:64]!r} of hub {hub}: {len(found)} found", expected=f"one of {ids}")
    if at > now:
        raise InputError(f"a revocation from {iso(at)} on", expected=f"not after {iso(now)}")
    before = found[0]["revoked_at"]
    if before is not None and datetime.fromisoformat(before).timestamp() <= at:
        raise InputError(f"the key is revoked since {before}", expected="an earlier date, or nothing to do")
    ended = {**found[0], "revoked_at": iso(at), "reason": reason}
    file["keys"] = [ended if entry is found[0] else entry for entry in file["keys"]]
    return repository.draft_hub(file, now), ended


def _invited(
    repository: TrustRepository, wanted: KeyRequest, forms: Sequence[PublicForm], file: dict[str, Any], now: int
) -> dict[str, Any]:
    try:
        given = base64.b64decode(wanted.invitation, validate=True)
    except ValueError:
        raise InputError("the invitation in the request is no base64") from None
    invitation = read_invitation(given, repository, now)
    if (invitation.hub, invitation.origin) != (wanted.hub, wanted.origin):
        raise InputError(
            f"the request is of {wanted.origin}, the invitation was for {invitation.origin}",
            expected="the hub that was invited",
        )
    lacking = set(invitation.roles) - {form.role for form in forms}
    if lacking:
        raise InputError(f"the request lacks the key of {', '.join(sorted(lacking))}", hint="let the hub ask again")
    for endpoint in wanted.endpoints:
        check_endpoint(endpoint)
    origins = list(file.get("origins", []))
    if all(entry["origin"] != invitation.origin for entry in origins):
        origins.append({"origin": invitation.origin, "inception": iso(now)})
    return {
        **file,
        "hub": invitation.hub,
        "name": invitation.name,
        "origins": origins,
        "keys": file.get("keys", []),
        "required_suites": file.get("required_suites", ["ed25519"]),
        "endpoints": wanted.endpoints,
        "witness_policy": invitation.witness_policy,
    }


def _prove_followed(envelope: Envelope, file: Mapping[str, Any], forms: Sequence[PublicForm], now: int) -> None:
    for role in {form.role for form in forms}:
        present = {key_id(_key_of(entry)): _key_of(entry) for entry in file["keys"] if _counts(entry, role, now)}
        if not envelope.signed_by(present):
            raise InputError(
                f"the new {role} key is not vouched for by a present {role} key of hub {file['hub']}",
                expected="a request made by `dianhuan federation rotate` with the old key",
                hint="if the old key is lost or stolen: `revoke` it and `invite` the hub again",
            )


def _key_of(entry: Mapping[str, Any]) -> Any:
    return public_form(entry["role"], entry["suite"], entry["public"]).key


def _counts(entry: Mapping[str, Any], role: str, now: int) -> bool:
    start, end = (datetime.fromisoformat(entry[name]).timestamp() for name in ("valid_from", "valid_until"))
    return entry["role"] == role and entry["revoked_at"] is None and start <= now < end


def _shortened(entry: Mapping[str, Any], roles: set[Any], until: int) -> Mapping[str, Any]:
    """The entry of an old key: one whose role has a new key ends with the overlap, unless it ends before."""
    if entry["role"] not in roles or datetime.fromisoformat(entry["valid_until"]).timestamp() <= until:
        return entry
    return {**entry, "valid_until": iso(until)}
