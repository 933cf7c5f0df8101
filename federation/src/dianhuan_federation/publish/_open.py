"""A publisher out of a hub's settings."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from dianhuan_federation.bundle import FolderFiles
from dianhuan_federation.config import FederationConfig
from dianhuan_federation.core import Refused, Signer, Trust, load_trust, parse_policy
from dianhuan_federation.keys import KeyRole, read_signer
from dianhuan_federation.nodes import RequestAuth
from dianhuan_federation.policy import EgressGate
from dianhuan_federation.publish._clients import NodeClient
from dianhuan_federation.publish._publisher import Publisher
from dianhuan_federation.publish._settings import Settings
from dianhuan_federation.suites import Sm2Signer, known_suites
from dianhuan_sdk import ConfigError, InputError, PluginContext, SecretRef


def publisher_of(context: PluginContext, config: FederationConfig | None = None) -> Publisher:
    """The publisher of a hub.

    Args:
        context: of the federation's service.
        config: its settings; those of the context if None.

    Raises:
        ConfigError: the hub has not joined, does not publish, or a file or key is missing or wrong.
    """
    found = config if config is not None else context.config
    if not isinstance(found, FederationConfig):
        raise ConfigError(f"settings of type {type(found).__name__}", expected="[plugins.federation.hub]")
    trust = _trust(found, int(context.clock.now().timestamp()))
    settings = replace(settings_of(context, found), trust=trust)
    auth = transport_auth(context, found)
    # Address → hub id, as the signed trust data says.
    hubs = {url.rstrip("/"): hub.id for hub in trust.hubs.values() for url in hub.endpoints} if trust else {}
    nodes = [
        NodeClient(url, context.http, mirror, auth, hubs.get(url.rstrip("/"), ""))
        for mirror, urls in ((False, found.witnesses), (True, found.mirrors))
        for url in urls
    ]
    return Publisher(settings, context.storage, context.clock, nodes)


def settings_of(context: PluginContext, config: FederationConfig) -> Settings:
    """The publisher's settings; see `publisher_of`."""
    if not config.origin or "publisher" not in config.roles:
        raise ConfigError(
            "this hub publishes nothing · 本中心未加入联邦或不发布",
            expected="`origin` and the role `publisher` in [plugins.federation.hub]",
            hint="dianhuan federation join",
        )
    guard, policy = config.guard, config.witness_policy
    if guard is None or policy is None or config.pseudonym_key is None:
        raise ConfigError(
            "a setting of the publisher is missing",
            expected="guard, witness_policy and pseudonym_key in [plugins.federation.hub]",
        )
    return Settings(
        origin=config.origin,
        folder=config.folder or context.folder,
        guard=guard,
        log_key=_signer(context, config.log_key, "log"),
        publisher_keys=[
            _signer(context, config.publisher_key, "publisher"),
            *(_further(context, ref) for ref in config.more_publisher_keys),
        ],
        pseudonym_key=context.secret(config.pseudonym_key).reveal().encode(),
        policies=tuple((path.name, _read(path)) for path in config.policies),
        gate=EgressGate(canaries=config.canaries),
        quorum=parse_policy(_read(policy)),
    )


def transport_auth(context: PluginContext, config: FederationConfig) -> RequestAuth | None:
    """What signs requests about payloads; None without a transport key."""
    if config.transport_key is None:
        return None
    return RequestAuth(_signer(context, config.transport_key, "transport"), clock=time.time)


def _signer(context: PluginContext, ref: SecretRef | None, role: KeyRole) -> Signer:
    if ref is None:
        raise ConfigError(f"no {role} key", expected=f"{role}_key in [plugins.federation.hub]")
    return read_signer(context.secret(ref).reveal(), role)


def _further(context: PluginContext, ref: SecretRef) -> Signer:
    """A publisher key of another suite: SM2 as OpenSSL writes it, or a second Ed25519 key while keys change."""
    text = context.secret(ref).reveal()
    try:
        return Sm2Signer.from_pem(text)
    except InputError:
        return read_signer(text, "publisher")


def _trust(config: FederationConfig, now: int) -> Trust | None:
    """The signed trust data; None where it cannot be read now."""
    if config.trust is None or config.root is None:
        return None
    try:
        return load_trust(_read(config.root), FolderFiles(config.trust), now, suites=known_suites())
    except Refused:
        return None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path.name} cannot be read: {error.strerror}", hint="correct its path in hub.toml"
        ) from None
