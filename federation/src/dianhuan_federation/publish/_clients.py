"""Witnesses and mirrors over HTTP, called from a thread without an event loop; and a mirror's files to recover from."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx

from dianhuan_federation.core import NoteSignature
from dianhuan_federation.log_store import TileLog
from dianhuan_federation.nodes import ask_witness, origin_hash, push, witnessed
from dianhuan_sdk import TerminalError, TransientError

MAX_FILE = 64 * 1024 * 1024
T = TypeVar("T")
MakeClient = Callable[[], httpx.AsyncClient]


@dataclass(frozen=True, slots=True)
class NodeClient:
    """A witness or a mirror.

    Args:
        base: base address of the node, such as `https://province.example/federation`.
        make: makes a client.
        mirror: is it to hold the entries and payloads too?
        auth: signs the requests about payloads to a mirror.
        hub: its hub id in the trust data, where it has one.
    """

    base: str
    make: MakeClient
    mirror: bool = False
    auth: httpx.Auth | None = None
    hub: str = ""

    @property
    def name(self) -> str:
        """Its address."""
        return self._url

    @property
    def _url(self) -> str:
        return f"{self.base.rstrip('/')}/{'mirror' if self.mirror else 'witness'}"

    def latest(self, origin: str) -> bytes | None:
        """See `WitnessClient.latest`."""
        return _run(self.make, lambda client: witnessed(client, self._url, origin))

    def cosign(self, log: TileLog, blobs: Mapping[str, Path]) -> Sequence[NoteSignature]:
        """See `WitnessClient.cosign`."""
        if self.mirror:
            return _run(self.make, lambda client: push(client, self._url, log, blobs, auth=self.auth))
        return _run(self.make, lambda client: ask_witness(client, self._url, log))


class MirrorFiles(Mapping[str, bytes]):
    """Files below an address, each fetched when it is asked for; it cannot be listed.

    Args:
        url: their prefix.
        make: makes a client.
        auth: signs the requests, where that is needed.
    """

    def __init__(self, url: str, make: MakeClient, auth: httpx.Auth | None = None) -> None:
        self._url = url
        self._make = make
        self._auth = auth

    def __getitem__(self, path: str) -> bytes:
        return _run(self._make, lambda client: self._fetch(client, path))

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    async def _fetch(self, client: httpx.AsyncClient, path: str) -> bytes:
        try:
            async with client.stream("GET", f"{self._url}/{path}", auth=self._auth, follow_redirects=False) as answer:
                if answer.status_code != 200:
                    raise KeyError(path)
                body = bytearray()
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > MAX_FILE:
                        raise TerminalError(f"{self._url}/{path} is longer than {MAX_FILE} bytes")
                return bytes(body)
        except httpx.HTTPError as error:
            raise TransientError(f"{self._url}: {error or type(error).__name__}", hint="try again later") from None


def mirror_files(
    base: str, origin: str, make: MakeClient, auth: httpx.Auth | None = None
) -> tuple[MirrorFiles, MirrorFiles]:
    """Log and payloads of an origin at a mirror."""
    base = base.rstrip("/")
    return (
        MirrorFiles(f"{base}/mirror/{origin_hash(origin)}", make),
        MirrorFiles(f"{base}/blob/sha256", make, auth),
    )


def _run(make: MakeClient, do: Callable[[httpx.AsyncClient], Awaitable[T]]) -> T:
    async def call() -> T:
        async with make() as client:
            return await do(client)

    return asyncio.run(call())
