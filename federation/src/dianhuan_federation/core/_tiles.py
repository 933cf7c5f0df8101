"""Tiles and entry bundles of C2SP tlog-tiles v0.1.0: names, contents, and nodes read from them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from dianhuan_federation.core._merkle import HASH_SIZE, Frontier, Nodes, node_hash
from dianhuan_sdk import InputError

WIDTH = 256
HEIGHT = 8
MAX_ENTRY = 65_535

_PATH = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


@dataclass(frozen=True, slots=True)
class Tile:
    """Names one tile: level (None for an entry bundle), index and width."""

    level: int | None
    index: int
    width: int

    @property
    def path(self) -> str:
        """Its path below the log's prefix, e.g. `tile/0/x001/x234/067.p/5`."""
        digits = f"{self.index:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
        number = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        part = f".p/{self.width}" if self.width < WIDTH else ""
        return f"tile/{'entries' if self.level is None else self.level}/{number}{part}"

    @classmethod
    def named(cls, path: str) -> Tile:
        """The tile of a path; `InputError` for any other spelling."""
        match = _PATH.fullmatch(path)
        if match:
            level = None if match[1] == "entries" else int(match[1])
            index = int(match[2].replace("/", "").replace("x", ""))
            tile = cls(level, index, int(match[3] or WIDTH))
            if tile.path == path and (level is None or level < 64):
                return tile
        raise InputError(f"tile path {path[:80]!r}", expected="as tlog-tiles spells it")


def tiles_of(size: int, start: int = 0) -> Iterator[Tile]:
    """The hash tiles of a tree of that size that hold leaves from `start` on, level by level."""
    level = 0
    while size >> (HEIGHT * level):
        count = size >> (HEIGHT * level)
        first = start >> (HEIGHT * (level + 1))
        for index in range(first, -(-count // WIDTH)):
            yield Tile(level, index, min(WIDTH, count - index * WIDTH))
        level += 1


def bundles_of(size: int, start: int = 0) -> Iterator[Tile]:
    """The entry bundles of a tree of that size that hold entries from `start` on."""
    for index in range(start // WIDTH, -(-size // WIDTH)):
        yield Tile(None, index, min(WIDTH, size - index * WIDTH))


def pack_entries(entries: Sequence[bytes]) -> bytes:
    """An entry bundle: each entry after its length as a big-endian uint16.

    Raises:
        InputError: an entry is longer than 65,535 bytes.
    """
    if any(len(entry) > MAX_ENTRY for entry in entries):
        raise InputError("a log entry is too long", expected=f"at most {MAX_ENTRY} bytes")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def unpack_entries(data: bytes, width: int) -> list[bytes]:
    """The entries of a bundle of exactly that width.

    Raises:
        InputError: truncated, or more or fewer entries.
    """
    entries: list[bytes] = []
    place = 0
    while place < len(data):
        length = int.from_bytes(data[place : place + 2], "big")
        entry = data[place + 2 : place + 2 + length]
        if place + 2 > len(data) or len(entry) != length:
            raise InputError("an entry bundle is cut off")
        entries.append(entry)
        place += 2 + length
    if len(entries) != width:
        raise InputError(f"an entry bundle of {len(entries)} entries", expected=f"{width}")
    return entries


def nodes_from_tiles(size: int, read: Callable[[Tile], bytes]) -> Nodes:
    """Tree nodes out of hash tiles.

    Args:
        size: size of the tree that the tiles belong to.
        read: the bytes of a tile; each is asked for once.

    Returns:
        A node reader, which raises `InputError` where a tile has the wrong length. What it returns is unproven until a
        root is rebuilt from it.
    """
    known: dict[Tile, list[list[bytes]]] = {}

    def rows(tile: Tile) -> list[list[bytes]]:
        if tile not in known:
            data = read(tile)
            if len(data) != HASH_SIZE * tile.width:
                raise InputError(f"{tile.path} of {len(data)} bytes", expected=f"{HASH_SIZE * tile.width}")
            levels = [[data[i : i + HASH_SIZE] for i in range(0, len(data), HASH_SIZE)]]
            while len(levels[-1]) > 1:
                below = levels[-1]
                levels.append([node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)])
            known[tile] = levels
        return known[tile]

    def node(level: int, index: int) -> bytes:
        tile_level, inside = divmod(level, HEIGHT)
        number = index << inside >> HEIGHT
        width = min(WIDTH, (size >> (HEIGHT * tile_level)) - number * WIDTH)
        return rows(Tile(tile_level, number, width))[inside][index - (number << (HEIGHT - inside))]

    return node


def frontier_from_nodes(nodes: Nodes, size: int) -> Frontier:
    """The right edge of a tree of that size."""
    hashes: list[bytes] = []
    start = 0
    for level in range(size.bit_length() - 1, -1, -1):
        if size >> level & 1:
            hashes.append(nodes(level, start >> level))
            start += 1 << level
    return Frontier(size, tuple(hashes))
