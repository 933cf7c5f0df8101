"""Bodies of strangers: bounded in bytes and in time, read as a stream."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from dianhuan_federation.nodes._errors import NodeError

_SLICE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may cost.

    Args:
        checkpoint: most bytes of an `add-checkpoint` body; a note of 64 KiB and its proof fit.
        entries: most bytes of one `add-entries` body, after decompression.
        blob: most bytes of one payload.
        small: most bytes of any other body.
        seconds: time in which a small body must have arrived.
        idle: longest pause within a body.
        rate: least bytes per second of a large body, averaged.
        logs: most logs in one pack request.
        tiles: most tiles and entry bundles in one pack.
        pack: bytes after which a pack is ended and the rest is left for the next one.
    """

    checkpoint: int = 96 * 1024
    entries: int = 64 * 1024 * 1024
    blob: int = 64 * 1024 * 1024
    small: int = 256 * 1024
    seconds: float = 10.0
    idle: float = 10.0
    rate: int = 16 * 1024
    logs: int = 400
    tiles: int = 20_000
    pack: int = 256 * 1024 * 1024


async def chunks(request: Request, most: int, limits: Limits) -> AsyncIterator[bytes]:
    """The body piece by piece.

    Raises:
        NodeError: 413: more than `most` bytes; 408: too slow; 400: the peer went away, or the length is wrong.
    """
    stated = request.headers.get("content-length")
    if stated is not None and stated.isdecimal() and int(stated) > most:
        raise _large(most)
    clock = asyncio.get_running_loop().time
    begun, taken = clock(), 0
    stream = request.stream().__aiter__()
    while True:
        allowed = limits.seconds + taken / limits.rate - (clock() - begun)
        try:
            async with asyncio.timeout(max(0.0, min(limits.idle, allowed))):
                piece = await stream.__anext__()
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise NodeError(
                408, "slow", f"{taken} bytes in {clock() - begun:.0f} s", expected="a faster body"
            ) from None
        except ClientDisconnect:
            raise NodeError(400, "cut-off", f"the peer went away after {taken} bytes") from None
        taken += len(piece)
        if taken > most:
            raise _large(most)
        yield piece


async def whole(request: Request, most: int, limits: Limits) -> bytes:
    """The body in memory; errors as `chunks`."""
    body = bytearray()
    async for piece in chunks(request, most, limits):
        body += piece
    return bytes(body)


async def unzipped(pieces: AsyncIterator[bytes], encoding: str, most: int) -> AsyncIterator[bytes]:
    """The pieces after `Content-Encoding`; gzip of one member, or none.

    Raises:
        NodeError: 415: another encoding; 400: damaged; 413: more than `most` bytes come out.
    """
    if encoding not in ("", "identity", "gzip"):
        raise NodeError(415, "encoding", f"Content-Encoding {encoding[:40]!r}", expected="gzip or none")
    if encoding != "gzip":
        async for piece in pieces:
            yield piece
        return
    decoder, given = zlib.decompressobj(31), 0
    async for piece in pieces:
        rest = piece
        while True:
            try:
                out = decoder.decompress(rest, _SLICE)
            except zlib.error as error:
                raise NodeError(400, "encoding", f"damaged gzip: {error}") from None
            given += len(out)
            if given > most:
                raise _large(most)
            if decoder.unused_data:
                raise NodeError(400, "encoding", "bytes after the gzip member")
            yield out
            rest = decoder.unconsumed_tail
            if not rest and len(out) < _SLICE:
                break


class Exactly:
    """Takes exact numbers of bytes from a stream."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._buffer = bytearray()

    async def read(self, count: int) -> bytes:
        """The next `count` bytes.

        Raises:
            EOFError: the stream ends before.
        """
        while len(self._buffer) < count:
            try:
                self._buffer += await self._pieces.__anext__()
            except StopAsyncIteration:
                raise EOFError from None
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    async def ended(self) -> bool:
        """Is nothing left?"""
        while not self._buffer:
            try:
                self._buffer += await self._pieces.__anext__()
            except StopAsyncIteration:
                return True
        return False


def _large(most: int) -> NodeError:
    return NodeError(413, "too-large", "the body is too large", expected=f"at most {most} bytes")
