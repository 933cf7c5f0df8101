"""Range packs: checkpoint, tiles, entries and payloads of one or many logs in one answer.

A pack is a plain ustar archive, written as it is sent, with the paths of a bundle; `curl … | tar t` reads it::

    logs/<SHA-256 of origin>/origin              one line
    logs/<SHA-256 of origin>/checkpoint          the head up to which this pack goes
    logs/<SHA-256 of origin>/checkpoints/<size>  earlier heads inside the range
    logs/<SHA-256 of origin>/tile/…              hash tiles and entry bundles that hold entries of the range
    blobs/sha256/<hex>                           payloads that the asker may have
    bundle.json                                  the end, always last, always there

The end is canonical JSON: `kind`, `files` (how many came before it), `bytes` (of their contents), `sha256` (over every
byte of the archive before the end's header), `more` (origins of which there is more than this pack holds: ask again
from its head), `absent` (origins asked for that this node does not have). Two empty blocks follow, and nothing else.
A pack without its end was cut off and is refused whole; a payload that is not in it may not be had, or is gone.
Nothing in a pack is believed for standing in it: everything is verified as from a bundle.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from dianhuan_federation.core import (
    BLOCK,
    ContainerCaps,
    Inventory,
    Member,
    canonical,
    cap,
    padding,
    parse,
    read_header,
    write_header,
)
from dianhuan_sdk import InputError

PACK_TYPE = "application/x-tar"
END = "bundle.json"
END_KIND = "urn:dianhuan:federation:pack:v1"
MAX_END = 256 * 1024


@dataclass(frozen=True, slots=True)
class PackEnd:
    """What the end of a pack states.

    Args:
        files: files before the end.
        size: bytes of their contents.
        more: origins of which there is more than the pack holds.
        absent: origins asked for that the node does not have.
    """

    files: int
    size: int
    more: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def write_pack(
    files: Iterable[tuple[str, bytes]], more: Sequence[str] = (), absent: Sequence[str] = ()
) -> Iterator[bytes]:
    """The bytes of a pack, piece by piece.

    Args:
        files: path → bytes, each asked for when the one before is sent.
        more: origins of which there is more; read when the files are at their end.
        absent: origins that are not here; read when the files are at their end.

    Raises:
        Refused: V0 `E-CAP`: a path that packs do not have, or twice, or beyond the limits.
    """
    inventory = Inventory()
    digest = sha256()
    for path, data in files:
        member = Member(path, len(data))
        if path == END:
            raise cap(f"{END} among the files", "the end is written by the pack itself")
        inventory.add(member)
        for piece in (write_header(member), data, bytes(padding(len(data)))):
            digest.update(piece)
            yield piece
    end = canonical(
        {
            "kind": END_KIND,
            "files": len(inventory.sizes),
            "bytes": sum(inventory.sizes.values()),
            "sha256": digest.hexdigest(),
            "more": sorted(more),
            "absent": sorted(absent),
        }
    )
    yield write_header(Member(END, len(end))) + end + bytes(padding(len(end)) + 2 * BLOCK)


class PackReader:
    """Takes a pack piece by piece; holds at most one file.

    Args:
        caps: limits on files and bytes.
    """

    def __init__(self, caps: ContainerCaps | None = None) -> None:
        self._inventory = Inventory(caps or ContainerCaps())
        self._digest = sha256()
        self._buffer = bytearray()
        self._member: Member | None = None
        self._header = b""
        self._end: PackEnd | None = None
        self._zeros = 0

    @property
    def sizes(self) -> Mapping[str, int]:
        """Path → bytes of the files so far."""
        return self._inventory.sizes

    def feed(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        """Take the next bytes; the files that are complete with them.

        Raises:
            Refused: V0 `E-CAP`: damaged, beyond the limits, or not a pack.
        """
        self._buffer += data
        while True:
            if self._end is not None:
                self._trailer()
                return
            if self._member is None and not self._next_header():
                return
            assert self._member is not None
            whole = self._member.size + padding(self._member.size)
            if len(self._buffer) < whole:
                return
            content = bytes(self._buffer[: self._member.size])
            rest = bytes(self._buffer[self._member.size : whole])
            del self._buffer[:whole]
            if rest.strip(b"\0"):
                raise cap(f"bytes between {self._member.path} and the next file", "zeros")
            member, self._member = self._member, None
            if member.path == END:
                self._end = self._read_end(content)
                continue
            for piece in (self._header, content, rest):
                self._digest.update(piece)
            yield member.path, content

    def finish(self) -> PackEnd:
        """The end of the pack, once all its bytes were taken.

        Raises:
            Refused: V0 `E-CAP`: it was cut off.
        """
        if self._end is None or self._zeros != 2 * BLOCK:
            raise cap(f"a pack cut off after {len(self.sizes)} files", f"its end, {END}; ask for it again")
        return self._end

    def _next_header(self) -> bool:
        if len(self._buffer) < BLOCK:
            return False
        self._header = bytes(self._buffer[:BLOCK])
        del self._buffer[:BLOCK]
        member = read_header(self._header)
        if member is None:
            raise cap("a folder in a pack", "files only")
        if member.path == END:
            if member.size > MAX_END:
                raise cap(f"an end of {member.size} bytes", f"at most {MAX_END}")
        else:
            self._inventory.add(member)
        self._member = member
        return True

    def _read_end(self, data: bytes) -> PackEnd:
        try:
            stated = parse(data)
            end = PackEnd(
                len(self.sizes), sum(self.sizes.values()), _origins(stated["more"]), _origins(stated["absent"])
            )
            expected = {
                "kind": END_KIND,
                "files": end.files,
                "bytes": end.size,
                "sha256": self._digest.hexdigest(),
                "more": list(end.more),
                "absent": list(end.absent),
            }
        except (InputError, KeyError, TypeError) as error:
            raise cap(f"{END} is not the end of a pack: {error}", END_KIND) from None
        if stated != expected:
            wrong = min(str(key) for key in stated.keys() | expected.keys() if stated.get(key) != expected.get(key))
            raise cap(f"the end of the pack states another {wrong[:40]}", "the files as they were sent")
        return end

    def _trailer(self) -> None:
        self._zeros += len(self._buffer)
        if self._zeros > 2 * BLOCK or self._buffer.strip(b"\0"):
            raise cap("bytes after the end of the pack", "two empty blocks")
        self._buffer.clear()


def _origins(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(origin, str) for origin in value):
        raise InputError("a list of origins that is none")
    return tuple(value)


async def read_pack(
    chunks: AsyncIterable[bytes], caps: ContainerCaps | None = None
) -> AsyncIterator[tuple[str, bytes] | PackEnd]:
    """Read a pack from a stream, such as `httpx.Response.aiter_bytes()`.

    Yields:
        Each file as (path, bytes), and last the `PackEnd`. Keep what comes aside until the end is there.

    Raises:
        Refused: V0 `E-CAP`: damaged, cut off, beyond the limits, or not a pack.
    """
    reader = PackReader(caps)
    async for chunk in chunks:
        for file in reader.feed(chunk):
            yield file
    yield reader.finish()
