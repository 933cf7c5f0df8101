"""How a hub enters the federation and changes its keys: invitation, request, admission, rotation, revocation.

Every file is a DSSE envelope. The invitation is signed by a key of the province, which the city checks against the
trust repository; a request is signed by every key that it asks for, so nobody asks for a key that he does not hold.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec

from dianhuan_federation.core import (
    ORIGIN,
    Ed25519,
    Envelope,
    Freshness,
    Signer,
    canonical,
    key_id,
    open_envelope,
    parse,
    parse_policy,
    seal,
)
from dianhuan_federation.keys._drafts import Draft, fingerprints
from dianhuan_federation.keys._files import HubRole, PublicForm, public_form, refuse_reuse
from dianhuan_federation.keys._repository import DAY, TrustRepository
from dianhuan_sdk import InputError

INVITATION_TYPE = "application/vnd.dianhuan.invitation+json"
REQUEST_TYPE = "application/vnd.dianhuan.key-request+json"
INVITATION_KIND = "urn:dianhuan:federation:invitation:v1"
REQUEST_KIND = "urn:dianhuan:federation:key-request:v1"

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
_Hub = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{6}\Z")]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
_T = TypeVar("_T", bound=msgspec.Struct)


class Invitation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a province hands to a city.

    Args:
        kind: fixed.
        hub: division code of GB/T 2260.
        name: the city, for people.
        origin: the log that it will keep, `<authority>/<division code>/r<epoch>`.
        roles: keys that are needed.
        root: SHA-256 and SM3 fingerprint of the first root.
        witness_policy: the tlog-policy under which the hub is to publish.
        issued_at: when.
        valid_until: no request is taken after it.
    """

    kind: str = INVITATION_KIND
    hub: _Hub
    name: _Name
    origin: _Name
    roles: Annotated[list[HubRole], msgspec.Meta(min_length=1, max_length=5)]
    root: dict[str, str]
    witness_policy: Annotated[str, msgspec.Meta(max_length=65536)]
    issued_at: Instant
    valid_until: Instant


class RequestedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A public key that is asked for."""

    role: HubRole
    suite: _Name
    public: Annotated[str, msgspec.Meta(max_length=4096)]

    def form(self) -> PublicForm:
        """The key, checked."""
        return public_form(self.role, self.suite, self.public)


class KeyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A hub asks its province to vouch for keys.

    Args:
        kind: fixed.
        invitation: base64 of the invitation that it answers; empty for a rotation by a hub that is a member.
        hub: its division code.
        origin: its log.
        endpoints: where it can be pulled from.
        keys: the public keys.
        issued_at: when, by the hub's own clock; nothing depends on it.
    """

    kind: str = REQUEST_KIND
    invitation: Annotated[str, msgspec.Meta(max_length=262144)] = ""
    hub: _Hub
    origin: _Name
    endpoints: Annotated[list[Annotated[str, msgspec.Meta(max_length=512)]], msgspec.Meta(max_length=16)]
    keys: Annotated[list[RequestedKey], msgspec.Meta(min_length=1, max_length=16)]
    issued_at: Instant


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


def invite(
    repository: TrustRepository,
    signer: Signer,
    *,
    hub: str,
    name: str,
    authority: str,
    roles: Sequence[HubRole],
    witness_policy: bytes,
    now: int,
    days: int = 30,
    epoch: int = 1,
) -> bytes:
    """An invitation, signed by a key of the province.

    Raises:
        InputError: the key is none of the province's, or division code, authority or roles do not fit.
        ConfigError: the witness policy does not hold.
    """
    origin = f"{authority}/{hub}/r{epoch}"
    if ORIGIN.fullmatch(origin) is None:
        raise InputError(
            f"log {origin[:160]!r}", expected="<authority: a domain name in lower case>/<6 digits>/r<epoch>"
        )
    parse_policy(witness_policy)
    invitation = Invitation(
        hub=hub,
        name=name,
        origin=origin,
        roles=list(dict.fromkeys(roles)),
        root=fingerprints(repository.first_root()),
        witness_policy=witness_policy.decode("utf-8", "replace"),
        issued_at=_time(now),
        valid_until=_time(now + days * DAY),
    )
    envelope = seal(INVITATION_TYPE, canonical(msgspec.to_builtins(invitation)), [signer])
    read_invitation(envelope, repository, now)
    return envelope


def read_invitation(data: bytes, repository: TrustRepository, now: int) -> Invitation:
    """Verify an invitation against the trust repository.

    Raises:
        InputError: changed, not signed by a key of the hub's province, for another federation, or past its date; or
            the repository does not hold, or is past its date.
    """
    envelope = open_envelope(data)
    invitation = _payload(envelope, INVITATION_TYPE, Invitation)
    province = f"prov-{invitation.hub[:2]}"
    trust = repository.load(now)
    if trust.freshness.get(province, Freshness.FRESH) >= Freshness.PENDING:
        raise InputError(
            f"the trust metadata of {province} is past its date",
            expected="a repository that its keepers signed again",
            hint="ask for the newest copy; its keepers run `trust publish`, or `trust renew` for the province",
        )
    if province in trust.refused:
        raise InputError(f"{province} is not trusted: {trust.refused[province]}", hint="ask for the newest copy")
    holders = repository.holders(province)
    keys = {key_id(key): key for key in (Ed25519().load(bytes.fromhex(raw)) for raw in holders.keys.values())}
    if not envelope.signed_by(keys):
        raise InputError(
            f"the invitation of {invitation.hub} carries no valid signature of {province}",
            expected="the file as the province made it, and the trust repository of that federation",
            hint="ask the province for it again, by another way",
        )
    if invitation.root != fingerprints(repository.first_root()):
        raise InputError(
            "the invitation is for another federation: its root fingerprint is not this repository's",
            expected=invitation.root.get("sha256", "")[:64],
            hint="read the fingerprint back by telephone before anything else",
        )
    named = ORIGIN.fullmatch(invitation.origin)
    if named is None or named[1] != invitation.hub:
        raise InputError(f"the invitation of {invitation.hub} names the log {invitation.origin}")
    if now > invitation.valid_until.timestamp():
        raise InputError(f"the invitation ended on {invitation.valid_until:%Y-%m-%d}", hint="ask for a new one")
    return invitation


def request_keys(
    invitation: bytes, keys: Sequence[tuple[HubRole, Signer]], endpoints: Sequence[str], now: int
) -> bytes:
    """The answer to an invitation: public keys only, signed with every one of them.

    Args:
        invitation: the envelope, verified before by `read_invitation`.
        keys: role and signer of each key.
        endpoints: where the hub can be pulled from.
        now: POSIX seconds.
    """
    known = _payload(open_envelope(invitation), INVITATION_TYPE, Invitation)
    return _request(known.hub, known.origin, base64.b64encode(invitation).decode(), keys, (), endpoints, now)


def read_request(data: bytes) -> KeyRequest:
    """What a request says; `admit` verifies it.

    Raises:
        InputError: no request.
    """
    return _payload(open_envelope(data), REQUEST_TYPE, KeyRequest)


def request_rotation(
    file: Mapping[str, Any], keys: Sequence[tuple[HubRole, Signer]], old: Sequence[Signer], now: int
) -> bytes:
    """A member's request for new keys, signed by them and by the key that each one follows.

    Args:
        file: the hub file in force.
        keys: role and signer of each new key.
        old: the present keys of the same roles.
        now: POSIX seconds.
    """
    origin = str(file["origins"][-1]["origin"])
    return _request(str(file["hub"]), origin, "", keys, old, file.get("endpoints", []), now)


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
    wanted = _payload(envelope, REQUEST_TYPE, KeyRequest)
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


def _request(
    hub: str,
    origin: str,
    invitation: str,
    keys: Sequence[tuple[HubRole, Signer]],
    old: Sequence[Signer],
    endpoints: Sequence[str],
    now: int,
) -> bytes:
    forms = [PublicForm(role, signer.public) for role, signer in keys]
    refuse_reuse(forms)
    request = KeyRequest(
        invitation=invitation,
        hub=hub,
        origin=origin,
        endpoints=list(endpoints),
        keys=[
            RequestedKey(role, form.key.suite, form.fields()["public"])
            for (role, _), form in zip(keys, forms, strict=True)
        ],
        issued_at=_time(now),
    )
    return seal(REQUEST_TYPE, canonical(msgspec.to_builtins(request)), [*(signer for _, signer in keys), *old])


def _payload(envelope: Envelope, payload_type: str, model: type[_T]) -> _T:
    if envelope.payload_type != payload_type:
        raise InputError(f"a file of type {envelope.payload_type[:80]!r}", expected=payload_type)
    try:
        return msgspec.convert(parse(envelope.payload), model, strict=True)
    except msgspec.ValidationError as error:
        raise InputError(f"a file that does not fit {payload_type}: {error}") from None


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


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def iso(seconds: int) -> str:
    """RFC 3339 in UTC."""
    return _time(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")
