"""A tile log in a folder: every file of it can be served as it lies.

Order of a publication: entries, tiles, guard, signature, checkpoint. A crash before the guard leaves files that no
checkpoint names and that the next publication overwrites; a crash after it is finished when the log is opened.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dianhuan_federation.core import (
    Checkpoint,
    Frontier,
    LogProof,
    Nodes,
    NoteSignature,
    Signer,
    Tile,
    bundles_of,
    consistency_proof,
    format_note,
    frontier_from_nodes,
    inclusion_proof,
    leaf_hash,
    node_hash,
    nodes_from_tiles,
    pack_entries,
    parse_checkpoint,
    sign_note,
    tiles_of,
    unpack_entries,
)
from dianhuan_federation.guard import CheckpointGuard
from dianhuan_sdk import ConfigError, InputError

CHECKPOINT = "checkpoint"


class TileLog:
    """An append-only log that this process writes.

    Args:
        folder: the log's files.
        origin: the log's identity, which is also its key's name.
        signer: the log key.
        guard: the guard that knows the origin.

    Raises:
        ConfigError: the files are older than the guard, or contradict it: signing would fork the log.
    """

    def __init__(self, folder: Path, origin: str, signer: Signer, guard: CheckpointGuard) -> None:
        self.folder = folder
        self.origin = origin
        self._signer = signer
        self._guard = guard
        self.size, root = guard.head(origin)
        try:
            self._frontier = frontier_from_nodes(self.nodes(), self.size)
            unpacked = [self.entries(tile) for tile in bundles_of(self.size, max(0, self.size - 1))]
        except (InputError, OSError) as error:
            raise self._behind(str(error)) from error
        last = leaf_hash(unpacked[-1][-1]) if unpacked else None
        if self._frontier.root() != root or (last is not None and last != self.nodes()(0, self.size - 1)):
            raise self._behind("the tiles do not give the guard's root")
        if self._published() != (self.size, root):
            self._sign(root)

    @classmethod
    def create(cls, folder: Path, origin: str, signer: Signer, guard: CheckpointGuard) -> TileLog:
        """Begin a log in an empty folder.

        Raises:
            ConfigError: the folder holds a log, or the guard knows the origin.
        """
        if (folder / CHECKPOINT).exists():
            raise ConfigError(f"{folder.name} holds a log already", expected="an empty folder")
        guard.create(origin)
        return cls(folder, origin, signer, guard)

    def append(self, entries: Sequence[bytes]) -> range:
        """Append entries, sign the new tree head and publish it.

        Args:
            entries: what is logged, each at most 65,535 bytes.

        Returns:
            The indices of the entries.

        Raises:
            InputError: an entry is too long, or another process moved the log.
        """
        if not entries:
            return range(self.size, self.size)
        old = (self.size, self._frontier.root())
        size = self.size + len(entries)
        self._write_bundles(entries, size)
        leaves = [leaf_hash(entry) for entry in entries]
        write_tiles(self.folder, self.size, leaves)
        frontier = self._frontier.extended(leaves)
        self._guard.advance(self.origin, old, (size, frontier.root()))
        self._frontier = frontier
        self.size = size
        self._sign(frontier.root())
        self._drop_partial(old[0])
        return range(old[0], size)

    def checkpoint(self) -> bytes:
        """The published checkpoint note."""
        return (self.folder / CHECKPOINT).read_bytes()

    def add_signatures(self, text: bytes, signatures: Sequence[NoteSignature]) -> bytes:
        """Publish the present checkpoint again with witnesses' cosignatures added.

        Args:
            text: the checkpoint text that they cosigned.
            signatures: their signature lines.

        Returns:
            The published note.

        Raises:
            InputError: the checkpoint moved on since they were made; they would not be about it.
        """
        _, note = parse_checkpoint(self.checkpoint())
        if note.text != text:
            raise InputError("cosignatures of an earlier checkpoint", expected=f"of size {self.size}")
        known = {(s.name, s.key_id) for s in signatures}
        kept = [s for s in note.signatures if (s.name, s.key_id) not in known]
        data = format_note(note.text, [*kept, *signatures])
        self._publish(data)
        return data

    def nodes(self) -> Nodes:
        """Nodes of the present tree, read from its tiles."""
        return nodes_from_tiles(self.size, self._read)

    def entries(self, bundle: Tile) -> list[bytes]:
        """The entries of a bundle."""
        return unpack_entries(self._read(bundle), bundle.width)

    def prove(self, index: int) -> LogProof:
        """Proof that the entry is in the log, under the published checkpoint."""
        return LogProof(index, tuple(inclusion_proof(self.nodes(), index, self.size)), self.checkpoint())

    def consistency(self, old: int) -> list[bytes]:
        """Proof that the present tree extends the one of `old` leaves."""
        return consistency_proof(self.nodes(), old, self.size)

    def fsck(self) -> int:
        """Rebuild every tile and the root from the entries on disk; the number of entries.

        Raises:
            InputError: a file is missing or does not fit.
        """
        return fsck(self.folder).size

    def _behind(self, why: str) -> ConfigError:
        return ConfigError(
            f"the log {self.origin} is not the one the guard knows, at size {self.size}: {why}",
            expected="the log's newest files",
            hint="never sign from an old copy: fetch the log from a mirror, then start again",
        )

    def _published(self) -> tuple[int, bytes] | None:
        try:
            head, _ = parse_checkpoint(self.checkpoint())
        except (FileNotFoundError, InputError):
            return None
        if head.size > self.size or head.origin != self.origin:
            raise self._behind(f"a checkpoint of {head.origin} at size {head.size} is published")
        return head.size, head.root

    def _sign(self, root: bytes) -> None:
        text = Checkpoint(self.origin, self.size, root).text
        self._publish(format_note(text, [sign_note(text, self.origin, self._signer)]))

    def _publish(self, data: bytes) -> None:
        """Publish a note, and keep it: older ones show when old entries were witnessed."""
        write_durably(self.folder / f"checkpoints/{self.size}", data)
        write_durably(self.folder / CHECKPOINT, data)

    def _read(self, tile: Tile) -> bytes:
        return (self.folder / tile.path).read_bytes()

    def _write_bundles(self, entries: Sequence[bytes], size: int) -> None:
        for bundle in bundles_of(size, self.size):
            start = bundle.index * 256
            kept: list[bytes] = []
            if start < self.size:
                kept = self.entries(Tile(None, bundle.index, self.size - start))
            new = entries[max(0, start - self.size) : start + bundle.width - self.size]
            write_durably(self.folder / bundle.path, pack_entries([*kept, *new]))

    def _drop_partial(self, old: int) -> None:
        """Remove partial tiles whose full tile is now published, as the specification allows."""
        for tile in [*tiles_of(self.size, old), *bundles_of(self.size, old)]:
            if tile.width == 256:
                shutil.rmtree(self.folder / f"{tile.path}.p", ignore_errors=True)


def grown_tiles(read: Callable[[Tile], bytes], leaves: Sequence[bytes], before: int) -> Iterator[tuple[Tile, bytes]]:
    """The hash tiles that change when leaves are appended, each level made from the full tiles of the level below.

    Args:
        read: the bytes of a tile of the tree before.
        leaves: the new leaf hashes.
        before: leaves of the tree before.
    """
    level, new, size = 0, list(leaves), before + len(leaves)
    while size >> (8 * level):
        count = size >> (8 * level)
        rising: list[bytes] = []
        for index in range(before // 256, -(-count // 256)):
            start, width = index * 256, min(256, count - index * 256)
            kept = read(Tile(level, index, before - start)) if start < before else b""
            data = kept + b"".join(new[max(0, start - before) : start + width - before])
            yield Tile(level, index, width), data
            if width == 256:
                rising.append(Frontier().extended([data[i : i + 32] for i in range(0, len(data), 32)]).root())
        level, new, before = level + 1, rising, before >> 8


def write_tiles(folder: Path, before: int, leaves: Sequence[bytes]) -> None:
    """Write the hash tiles that change.

    Args:
        folder: the log's files.
        before: leaves whose tiles are there.
        leaves: leaf hashes that come after them.

    Raises:
        OSError: a partial tile of the tree before is missing.
    """
    for tile, data in grown_tiles(lambda tile: (folder / tile.path).read_bytes(), leaves, before):
        write_durably(folder / tile.path, data)


def fsck(folder: Path) -> Checkpoint:
    """Rebuild every tile and the root of a log folder from its entries; no key and no guard is needed.

    Returns:
        The tree head that the published checkpoint states.

    Raises:
        InputError: a file is missing or does not fit.
    """

    def read(tile: Tile) -> bytes:
        return (folder / tile.path).read_bytes()

    try:
        head, _ = parse_checkpoint((folder / CHECKPOINT).read_bytes())
        nodes = nodes_from_tiles(head.size, read)
        leaves: list[bytes] = []
        for bundle in bundles_of(head.size):
            leaves.extend(map(leaf_hash, unpack_entries(read(bundle), bundle.width)))
        for tile in tiles_of(head.size):
            level = 8 * (tile.level or 0)
            for index in range(tile.index * 256, tile.index * 256 + tile.width):
                below = (
                    node_hash(nodes(level - 1, 2 * index), nodes(level - 1, 2 * index + 1)) if level else leaves[index]
                )
                if nodes(level, index) != below:
                    raise InputError(f"{tile.path} does not fit what lies below it")
    except OSError as error:
        raise InputError(f"a file of the log cannot be read: {error}") from error
    if Frontier().extended(leaves).root() != head.root:
        raise InputError("the entries do not give the root of the checkpoint")
    return head


def write_durably(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, and have it on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.new")
    with aside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
