"""A node as one ASGI app, put together by its roles."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount

from dianhuan_federation.core import NoteKey, Signer, Trust
from dianhuan_federation.log_store import TileLog
from dianhuan_federation.nodes._access import SCHEMA as ACCESS_SCHEMA
from dianhuan_federation.nodes._access import AccessLog, GrantCounter, Records
from dianhuan_federation.nodes._body import Limits
from dianhuan_federation.nodes._copies import Copies, LogCopy
from dianhuan_federation.nodes._errors import on_error
from dianhuan_federation.nodes._gate import SCHEMA as NONCE_SCHEMA
from dianhuan_federation.nodes._gate import RequestGate
from dianhuan_federation.nodes._heads import HeadStore
from dianhuan_federation.nodes._mirror import Mirror
from dianhuan_federation.nodes._serve import Serving
from dianhuan_federation.nodes._shelf import Shelf
from dianhuan_federation.nodes._store import Database
from dianhuan_federation.nodes._witness import Witness
from dianhuan_sdk import ConfigError, DianhuanError


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A witness's or mirror's name, as in witness policies, and its key."""

    name: str
    signer: Signer


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """What a node is.

    Args:
        folder: its state: `witness/`, `mirror/`, `receipts/`, `nonces.sqlite`, `reads.sqlite`.
        bases: how it is addressed: scheme and authority, such as `https://province.example`.
        access: the access log, a tile log under an origin and key of its own.
        own: the hub's own log, which is served at `/log/`.
        blobs: folder of payloads by SHA-256 in hex; `<folder>/blob/sha256` where it is none.
        trust_folder: the TUF repository that is handed on at `/trust/`.
        witness: its key, for a node that witnesses.
        mirror: its key, for a node that mirrors.
        cosigners: witnesses whose cosignatures a mirror keeps.
        reads: (origin, grant id) → reads for which the grant holds.
        limits: on requests.
    """

    folder: Path
    bases: Sequence[str]
    access: TileLog
    own: LogCopy | None = None
    blobs: Path | None = None
    trust_folder: Path | None = None
    witness: Cosigner | None = None
    mirror: Cosigner | None = None
    cosigners: Sequence[NoteKey] = ()
    reads: Mapping[tuple[str, str], int] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)


def create_node(config: NodeConfig) -> None:
    """Begin a node's state, once in its life: a witness that was lost must never begin again under the same key.

    Raises:
        ConfigError: there is state already.
    """
    if config.witness is not None:
        HeadStore(config.folder / "witness", create=True).close()
    if config.mirror is not None:
        for store in Mirror.stores(config.folder / "mirror", create=True):
            store.close()
    if config.reads:
        Database(config.folder / "reads.sqlite", ACCESS_SCHEMA, create=True).close()


def node_app(config: NodeConfig, trust: Callable[[], Trust], clock: Callable[[], float] = time.time) -> Starlette:
    """The app of a node; mount it where its paths shall begin.

    Args:
        config: what it is.
        trust: the trust data of now; called for each request, so it must be cheap.
        clock: POSIX seconds.

    Raises:
        ConfigError: state is gone or old, see `HeadStore`; a node is begun with `create_node`.
    """
    folder, limits = config.folder, config.limits
    if config.witness and config.mirror and config.witness.name == config.mirror.name:
        raise ConfigError("witness and mirror share a name", expected="a name and a key of its own for each")
    nonces = folder / "nonces.sqlite"
    gate = RequestGate(config.bases, Database(nonces, NONCE_SCHEMA, create=not nonces.exists()), trust, clock, limits)
    copies = Copies(folder / "mirror" / "logs" if config.mirror else None, config.own)
    shelf = Shelf(config.blobs or folder / "blob" / "sha256", copies, trust)
    access = AccessLog(config.access)
    reads = Database(folder / "reads.sqlite", ACCESS_SCHEMA, create=False) if config.reads else None
    counter = GrantCounter(reads, config.reads)
    routes: list[BaseRoute] = []
    if config.witness is not None:
        heads = HeadStore(folder / "witness")
        witness = Witness(config.witness.name, config.witness.signer, heads, trust, clock, limits)
        routes.append(Mount("/witness", routes=witness.routes()))
    serving = Serving(config.own, copies, shelf, config.trust_folder, gate, access, counter, clock, limits)
    if config.mirror is not None:
        pending, progress = Mirror.stores(folder / "mirror", create=False)
        mirror = Mirror(
            config.mirror.name,
            config.mirror.signer,
            folder / "mirror",
            pending,
            progress,
            copies,
            shelf,
            gate,
            trust,
            clock,
            limits,
            tuple(config.cosigners),
        )
        routes.append(Mount("/mirror", routes=[*mirror.routes(), *serving.mirrored()]))
    routes += [*serving.routes(), *Records(access, folder / "receipts", gate, trust, clock).routes()]
    return Starlette(routes=routes, exception_handlers={DianhuanError: on_error})
