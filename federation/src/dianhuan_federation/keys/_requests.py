"""Invitations and requests for keys, the two files between a province and a hub; each a DSSE envelope.

The invitation is signed by a key of the province, which the city checks against the trust repository; a request is
signed by every key that it asks for, so nobody asks for a key that he does not hold.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

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
from dianhuan_federation.keys._drafts import fingerprints
from dianhuan_federation.keys._files import HubRole, PublicForm, public_form, refuse_reuse
from dianhuan_federation.keys._groups import DAY
from dianhuan_federation.keys._repository import TrustRepository
from dianhuan_sdk import InputError

INVITATION_TYPE = "application/vnd.dianhuan.invitation+json"
REQUEST_TYPE = "application/vnd.dianhuan.key-request+json"

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

    kind: Literal["urn:dianhuan:federation:invitation:v1"] = "urn:dianhuan:federation:invitation:v1"
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

    kind: Literal["urn:dianhuan:federation:key-request:v1"] = "urn:dianhuan:federation:key-request:v1"
    invitation: Annotated[str, msgspec.Meta(max_length=262144)] = ""
    hub: _Hub
    origin: _Name
    endpoints: Annotated[list[Annotated[str, msgspec.Meta(max_length=512)]], msgspec.Meta(max_length=16)]
    keys: Annotated[list[RequestedKey], msgspec.Meta(min_length=1, max_length=16)]
    issued_at: Instant


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
    for endpoint in endpoints:
        check_endpoint(endpoint)
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


def check_endpoint(url: str) -> None:
    """An address below which a hub's tree lies; `InputError` for anything but a plain http or https address."""
    wrong = InputError(f"endpoint {url[:160]!r}", expected="https://<host>[:port]/<path>, no user, query or fragment")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise wrong from None
    plain = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    if not plain or parts.query or parts.fragment:
        raise wrong


def _payload(envelope: Envelope, payload_type: str, model: type[_T]) -> _T:
    if envelope.payload_type != payload_type:
        raise InputError(f"a file of type {envelope.payload_type[:80]!r}", expected=payload_type)
    try:
        return msgspec.convert(parse(envelope.payload), model, strict=True)
    except msgspec.ValidationError as error:
        raise InputError(f"a file that does not fit {payload_type}: {error}") from None


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def iso(seconds: int) -> str:
    """RFC 3339 in UTC."""
    return _time(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")
