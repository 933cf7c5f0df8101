"""A node out of the settings of a hub: what `dianhuan serve` mounts at `/federation`."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from starlette.applications import Starlette

from dianhuan_federation.bundle import FolderFiles
from dianhuan_federation.config import FederationConfig
from dianhuan_federation.core import ORIGIN, NoteKey, Refused, Signer, Trust, load_trust, parse_policy
from dianhuan_federation.guard import CheckpointGuard
from dianhuan_federation.keys import read_signer
from dianhuan_federation.log_store import TileLog
from dianhuan_federation.nodes._app import Cosigner, NodeConfig, create_node, node_app
from dianhuan_federation.nodes._copies import LogCopy
from dianhuan_federation.nodes._errors import NodeError
from dianhuan_sdk import ConfigError, PluginContext, SecretRef

REFRESH = 60.0
"""Seconds after which trust data is judged again, since it ages."""


class HubTrust:
    """The trust data in a folder, verified again when it changes and as it ages.

    Args:
        root: the pinned root metadata.
        folder: the copy of the repository.
        context: for the clock.
    """

    def __init__(self, root: bytes, folder: Path, context: PluginContext) -> None:
        self._root = root
        self._folder = folder
        self._context = context
        self._lock = threading.Lock()
        self._held: tuple[Trust, tuple[int, int], float] | None = None

    def __call__(self) -> Trust:
        """The trust of now.

        Raises:
            NodeError: 503: the copy does not hold.
        """
        now = self._context.clock.now().timestamp()
        with self._lock:
            try:
                state = (self._folder / "timestamp.json").stat()
                stamp = (state.st_ino, state.st_mtime_ns)
                if self._held is None or self._held[1] != stamp or not 0 <= now - self._held[2] < REFRESH:
                    seen = self._held[0].versions if self._held else None
                    trust = load_trust(self._root, FolderFiles(self._folder), int(now), seen=seen)
                    self._held = (trust, stamp, now)
            except (Refused, OSError) as error:
                raise NodeError(503, "trust", f"the trust data here does not hold: {error}") from None
            return self._held[0]


def hub_node(context: PluginContext) -> tuple[NodeConfig, HubTrust]:
    """The node that the settings describe.

    Raises:
        ConfigError: a setting that its roles need is missing.
    """
    config = context.config
    assert isinstance(config, FederationConfig)
    named = ORIGIN.fullmatch(config.origin)
    if named is None:
        raise ConfigError("this hub has joined no federation", hint="dianhuan federation join")
    hub_id, authority = named[1], config.origin.split("/")[0]
    folder, guard = config.folder or context.folder, _path(config.guard, "guard")
    trust = HubTrust(_path(config.root, "root").read_bytes(), _path(config.trust, "trust"), context)
    cosigners = tuple(parse_policy(_path(config.witness_policy, "witness_policy").read_bytes()).witnesses.values())

    def cosigner(role: Literal["witness", "mirror"], reference: SecretRef | None) -> Cosigner | None:
        if role not in config.roles:
            return None
        signer = _signer(context, role, reference)
        return Cosigner(_name_of(signer, cosigners) or f"{authority}/{hub_id}/{role}", signer)

    public = folder / "public"
    hub = trust().hub(hub_id)
    node = NodeConfig(
        folder=folder / "node",
        bases=sorted({_base(url) for url in (hub.endpoints if hub else ())}),
        access=_access_log(folder / "node" / "access", f"{authority}/{hub_id}/access", guard, context, config),
        own=LogCopy(config.origin, public / "log"),
        blobs=public / "blob" / "sha256",
        trust_folder=config.trust,
        witness=cosigner("witness", config.witness_key),
        mirror=cosigner("mirror", config.mirror_key),
        cosigners=cosigners,
    )
    return node, trust


def hub_routes(context: PluginContext) -> Starlette:
    """The app of a hub's `ServiceSpec.routes`; one that has joined nothing serves nothing.

    Raises:
        ConfigError: a setting is missing, or the node's state is gone or was never begun (`begin_node`).
    """
    config = context.config
    if not isinstance(config, FederationConfig) or not config.origin:
        return Starlette()
    node, trust = hub_node(context)
    return node_app(node, trust, lambda: context.clock.now().timestamp())


def begin_node(context: PluginContext) -> NodeConfig:
    """Begin the state of witness and mirror, once in the node's life.

    Raises:
        ConfigError: there is state already, or a setting is missing.
    """
    node, _ = hub_node(context)
    create_node(node)
    return node


def _access_log(
    folder: Path, origin: str, guard_path: Path, context: PluginContext, config: FederationConfig
) -> TileLog:
    signer = _signer(context, "transport", config.transport_key)
    guard = CheckpointGuard(guard_path)
    try:
        return TileLog(folder, origin, signer, guard)
    except ConfigError:
        if (folder / "checkpoint").exists():
            raise
        return TileLog.create(folder, origin, signer, guard)


def _signer(
    context: PluginContext, role: Literal["witness", "mirror", "transport"], reference: SecretRef | None
) -> Signer:
    if reference is None:
        raise ConfigError(f"no {role}_key in the settings", expected=f"the key of role {role}", hint="rotate, or join")
    return read_signer(context.secret(reference).reveal(), role)


def _name_of(signer: Signer, keys: tuple[NoteKey, ...]) -> str:
    """The name under which the witness policy knows a key; empty where it does not."""
    return next((key.name for key in keys if key.key.raw == signer.public.raw), "")


def _path(path: Path | None, name: str) -> Path:
    if path is None:
        raise ConfigError(f"no {name} in the settings", hint="dianhuan federation join prints them")
    return path


def _base(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
