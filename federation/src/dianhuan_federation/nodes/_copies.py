"""Log folders as they lie on the disk, read for others: the hub's own, and the copies of a mirror."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dianhuan_federation.core import Checkpoint, Tile, bundles_of, pack_entries, parse_checkpoint, unpack_entries
from dianhuan_federation.nodes._errors import NodeError
from dianhuan_federation.nodes._wire import origin_hash
from dianhuan_sdk import InputError

_SIZE = re.compile("0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class LogCopy:
    """The files of one log.

    Args:
        origin: the log.
        folder: `checkpoint`, `checkpoints/<size>`, tiles.
    """

    origin: str
    folder: Path

    def head(self) -> tuple[Checkpoint, bytes] | None:
        """The published head and its note; None where nothing is published."""
        try:
            note = (self.folder / "checkpoint").read_bytes()
        except FileNotFoundError:
            return None
        return parse_checkpoint(note)[0], note

    def stamp(self) -> tuple[int, int]:
        """Changes whenever another head is published; zeros where nothing is."""
        try:
            state = (self.folder / "checkpoint").stat()
        except FileNotFoundError:
            return (0, 0)
        return (state.st_ino, state.st_mtime_ns)

    def sizes(self) -> list[int]:
        """Sizes of the heads that are kept, ascending."""
        folder = self.folder / "checkpoints"
        return sorted(int(path.name) for path in folder.glob("*") if path.name.isdecimal()) if folder.is_dir() else []

    def note(self, size: int) -> bytes:
        """The note of a kept head."""
        return (self.folder / f"checkpoints/{size}").read_bytes()

    def read(self, tile: Tile) -> bytes:
        """A tile or bundle in exactly that width, cut from the full one where the partial one is gone.

        Raises:
            FileNotFoundError: neither is there.
        """
        try:
            return (self.folder / tile.path).read_bytes()
        except FileNotFoundError:
            if tile.width == 256:
                raise
        full = (self.folder / Tile(tile.level, tile.index, 256).path).read_bytes()
        if tile.level is not None:
            return full[: 32 * tile.width]
        return pack_entries(unpack_entries(full, 256)[: tile.width])

    def entries(self, start: int, end: int) -> list[bytes]:
        """Entries [start, end) of a tree that has them."""
        found: list[bytes] = []
        for bundle in bundles_of(end, start):
            first = bundle.index * 256
            found += unpack_entries(self.read(bundle), bundle.width)[max(0, start - first) :]
        return found

    def file(self, path: str) -> bytes:
        """A file by the path under which a log serves it.

        Raises:
            NodeError: 404: no such file, or a path that logs do not have.
        """
        try:
            if path == "checkpoint":
                return (self.folder / path).read_bytes()
            name, _, size = path.partition("/")
            if name == "checkpoints" and _SIZE.fullmatch(size):
                return self.note(int(size))
            tile = Tile.named(path)
            head = self.head()
            if head is None or not _within(tile, head[0].size):
                raise FileNotFoundError(path)
            return self.read(tile)
        except (InputError, FileNotFoundError):
            raise NodeError(
                404, "not-here", f"no file {path[:80]!r} of this log", expected="a path of tlog-tiles"
            ) from None


class Copies:
    """The logs that are here: the own one, and every copy that a mirror has published.

    Args:
        mirrored: folder of the copies by SHA-256 of their origin; none for a node that mirrors nothing.
        own: the node's own log.
    """

    def __init__(self, mirrored: Path | None, own: LogCopy | None) -> None:
        self._by_hash: dict[str, LogCopy] = {}
        if mirrored is not None:
            for path in mirrored.glob("*/checkpoint"):
                self.add(LogCopy(path.read_bytes().split(b"\n", 1)[0].decode(), path.parent))
        if own is not None:
            self.add(own)

    def add(self, copy: LogCopy) -> None:
        """A log that is here from now on."""
        self._by_hash[origin_hash(copy.origin)] = copy

    def get(self, origin: str) -> LogCopy | None:
        """The log of that origin, if it is here."""
        return self._by_hash.get(origin_hash(origin))

    def named(self, name: str) -> LogCopy | None:
        """The log by SHA-256 of its origin in hex, if it is here."""
        return self._by_hash.get(name)

    def __iter__(self) -> Iterator[LogCopy]:
        return iter(list(self._by_hash.values()))


def _within(tile: Tile, size: int) -> bool:
    """Does a tree of that size have the tile?"""
    return (tile.index * 256 + tile.width) << (8 * (tile.level or 0)) <= size
