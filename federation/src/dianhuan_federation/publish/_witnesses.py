"""Witnesses and mirrors as the publisher sees them, and the round that asks them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from dianhuan_federation.core import (
    ED25519,
    Checkpoint,
    Note,
    NoteSignature,
    Policy,
    cosigned_at,
    note_key,
    parse_checkpoint,
)
from dianhuan_federation.log_store import TileLog
from dianhuan_federation.publish._settings import Settings
from dianhuan_sdk import ConfigError, InputError, SourceError

PAUSE = 1.0
"""Seconds between two rounds."""


class WitnessClient(Protocol):
    """One witness or mirror. Every method raises `SourceError` where the other side cannot be reached or refuses."""

    @property
    def name(self) -> str:
        """How messages name it."""
        ...

    @property
    def hub(self) -> str:
        """Its hub id in the trust data; empty where it has none: then it gets open payloads only."""
        ...

    def latest(self, origin: str) -> bytes | None:
        """The newest checkpoint of the log that it holds, or None."""
        ...

    def cosign(self, log: TileLog, blobs: Mapping[str, Path]) -> Sequence[NoteSignature]:
        """Show the published checkpoint; a mirror takes entries and payloads with it.

        Args:
            log: the log.
            blobs: SHA-256 in hex → file, of every payload that it may hold.

        Returns:
            Its signature lines, not verified.
        """
        ...


@dataclass(slots=True)
class Witnessing:
    """What became of a checkpoint.

    Args:
        names: names in the witness policy whose cosignatures are on it.
        pending: client → why it has not cosigned.
        quorum: are these enough?
    """

    names: tuple[str, ...] = ()
    pending: dict[str, str] = field(default_factory=dict)
    quorum: bool = False


def cosigners(note: Note, policy: Policy) -> tuple[str, ...]:
    """Names of the policy's witnesses whose cosignatures on the note hold."""
    names = []
    for name, key in policy.witnesses.items():
        try:
            if cosigned_at(note, key) is not None:
                names.append(name)
        except InputError:
            continue
    return tuple(sorted(names))


def gather(
    log: TileLog,
    settings: Settings,
    clients: Sequence[WitnessClient],
    blobs: Callable[[str], Mapping[str, Path]],
) -> Witnessing:
    """Show the published checkpoint to everyone until there is a quorum or patience ends.

    Each is asked at least once, so that mirrors have the entries and there are more cosignatures than needed.
    """
    policy = settings.quorum
    deadline = time.monotonic() + settings.patience
    result = Witnessing(pending={client.name: "" for client in clients})
    while True:
        for client in [client for client in clients if client.name in result.pending]:
            try:
                checkpoint = log.checkpoint()
                lines = client.cosign(log, blobs(client.hub))
                _take(log, checkpoint, lines, policy)
                del result.pending[client.name]
            except (SourceError, InputError) as error:
                result.pending[client.name] = str(error)
        names = () if policy is None else cosigners(parse_checkpoint(log.checkpoint())[1], policy)
        result.names, result.quorum = names, policy is None or policy.satisfied_by(names)
        if result.quorum or not result.pending or time.monotonic() + PAUSE > deadline:
            return result
        time.sleep(PAUSE)


def _take(log: TileLog, checkpoint: bytes, lines: Sequence[NoteSignature], policy: Policy | None) -> None:
    """Add the lines that are cosignatures of known witnesses; a line that is not could spoil the whole note.

    The first cosignature of a witness stays: it shows earliest that the entries stood there, which is what a key that
    is revoked later is judged by, and it is the one that subscribers have.
    """
    if policy is None or not lines:
        return
    _, note = parse_checkpoint(checkpoint)
    good = []
    for line in lines:
        for key in policy.witnesses.values():
            if key.name == line.name and key.key_id == line.key_id:
                if cosigned_at(Note(note.text, (line,)), key) is None:
                    raise InputError(f"no cosignature of {key.name}")
                if not key.of(note):
                    good.append(line)
    if good:
        log.add_signatures(note.text, good)


def check_not_behind(
    settings: Settings, size: int, root_at: Callable[[int], bytes], clients: Sequence[WitnessClient]
) -> None:
    """Refuse to sign where a witness or mirror has seen more of the log than is here, or something else.

    Raises:
        ConfigError: it has, with what to do.
    """
    for client in clients:
        try:
            data = client.latest(settings.origin)
            head = None if data is None else own_head(settings, data)
        except (SourceError, InputError):
            continue
        if head is None:
            continue
        if head.size > size:
            raise ConfigError(
                f"{client.name} has seen size {head.size} of {settings.origin}, here it ends at {size} · "
                f"本地日志落后：{client.name} 已见证 {head.size} 条，本地只有 {size} 条，拒绝签名",
                expected="the log's newest copy",
                hint="dianhuan federation recover --from MIRROR",
            )
        if root_at(head.size) != head.root:
            raise ConfigError(
                f"{client.name} has seen another history of {settings.origin} at size {head.size} · "
                "与见证方所见历史不一致，拒绝签名",
                expected="one history",
                hint="stop; the province closes the shard and the log goes on under the next epoch",
            )


def own_head(settings: Settings, data: bytes) -> Checkpoint:
    """A checkpoint of this very log, signed by its log key.

    Raises:
        InputError: it is not.
    """
    head, note = parse_checkpoint(data)
    key = note_key(settings.origin, ED25519, settings.log_key.public)
    if head.origin != settings.origin or not note.signed_by(key):
        raise InputError(f"a checkpoint that is not of {settings.origin} or not signed by its key")
    return head
