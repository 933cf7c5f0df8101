"""What a hub serves to the federation, out of its settings: its own log, and the roles of a province."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from dianhuan_federation.config import FederationConfig
from dianhuan_federation.core import Signer, Trust, parse_policy
from dianhuan_federation.guard import CheckpointGuard
from dianhuan_federation.keys import KeyRole, read_signer
from dianhuan_federation.log_store import TileLog
from dianhuan_federation.nodes import Cosigner, LogCopy, NodeConfig, create_node, node_app
from dianhuan_federation.sync import TrustStore
from dianhuan_sdk import ASGIApp, ConfigError, PluginContext, SecretRef

TRUST_SECONDS = 30.0
"""How long trust data that was read and verified is used again."""


def begin_node(context: PluginContext, config: FederationConfig) -> list[str]:
    """Begin the state of this hub's node: once in its life.

    Returns:
        What was begun.

    Raises:
        ConfigError: it has been begun before, or a setting is missing.
    """
    guard = CheckpointGuard(_guard(config))
    folder = _folder(context, config)
    TileLog.create(folder / "access", _access_origin(config), _signer(context, config.access_key, "access"), guard)
    node = _node_config(context, config, guard)
    create_node(node)
    return ["access", *(role for role in ("witness", "mirror") if getattr(node, role) is not None)]


def serve_node(context: PluginContext, config: FederationConfig) -> ASGIApp:
    """The application that a hub mounts; it answers nothing where the hub has joined no federation.

    Raises:
        ConfigError: the node was never begun, or its state is gone.
    """
    if not config.origin or not config.addresses:
        return _nothing_here
    node = _node_config(context, config, CheckpointGuard(_guard(config)))
    return node_app(node, _trust_of(context, config), lambda: context.clock.now().timestamp())


def _node_config(context: PluginContext, config: FederationConfig, guard: CheckpointGuard) -> NodeConfig:
    folder = _folder(context, config)
    public = folder / "public"
    access = TileLog(folder / "access", _access_origin(config), _signer(context, config.access_key, "access"), guard)
    policy = parse_policy(config.witness_policy.read_bytes()) if config.witness_policy else None
    return NodeConfig(
        folder=folder / "node",
        bases=config.addresses,
        access=access,
        own=LogCopy(config.origin, public / "log") if "publisher" in config.roles else None,
        blobs=public / "blob" / "sha256" if "publisher" in config.roles else None,
        trust_folder=config.trust,
        witness=_cosigner(context, config, "witness"),
        mirror=_cosigner(context, config, "mirror"),
        cosigners=tuple(policy.witnesses.values()) if policy else (),
    )


def _cosigner(context: PluginContext, config: FederationConfig, role: KeyRole) -> Cosigner | None:
    if role not in config.roles:
        return None
    name: str = getattr(config, f"{role}_name")
    if not name:
        raise ConfigError(f"the {role} has no name", expected=f"{role}_name in [plugins.federation.hub]")
    return Cosigner(name, _signer(context, getattr(config, f"{role}_key"), role))


def _signer(context: PluginContext, ref: SecretRef | None, role: KeyRole) -> Signer:
    if ref is None:
        raise ConfigError(f"no {role} key", expected=f"{role}_key in [plugins.federation.hub]")
    return read_signer(context.secret(ref).reveal(), role)


def _trust_of(context: PluginContext, config: FederationConfig) -> Callable[[], Trust]:
    if config.trust is None or config.root is None:
        raise ConfigError("no trust data", expected="trust and root in [plugins.federation.hub]")
    folder, root = config.trust, config.root.read_bytes()
    kept: list[tuple[float, Trust]] = []

    def trust() -> Trust:
        if not kept or time.monotonic() - kept[0][0] > TRUST_SECONDS:
            store = TrustStore(folder, root, context.storage, int(context.clock.now().timestamp()))
            kept[:] = [(time.monotonic(), store.load())]
        return kept[0][1]

    return trust


def _folder(context: PluginContext, config: FederationConfig) -> Path:
    return config.folder or context.folder


def _guard(config: FederationConfig) -> Path:
    if config.guard is None:
        raise ConfigError("this hub has joined no federation", hint="dianhuan federation join")
    return config.guard


def _access_origin(config: FederationConfig) -> str:
    return f"{config.origin.rpartition('/')[0]}/access"


async def _nothing_here(scope: object, receive: object, send: Callable[[Any], Awaitable[None]]) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"application/json")]})
    body = b'{"error":"NotFound","message":"this hub has joined no federation","expected":"","hint":""}'
    await send({"type": "http.response.body", "body": body})
