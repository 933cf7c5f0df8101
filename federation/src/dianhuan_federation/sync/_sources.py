"""Places that bytes of a federation come from: an HTTP server or a folder. Both hold the same files.

Nothing that a place answers is believed; it is bounded in bytes and in time, and then verified like any bundle.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import httpx

from dianhuan_sdk import TransientError

SECONDS = 120.0
"""Most seconds that one small answer may take, whatever trickles in meanwhile."""

RATE = 16 * 1024
"""Least bytes per second, averaged, of a large answer."""

_GONE = (404, 405, 410, 501)
_CLOSED = (401, 403)


class Source(Protocol):
    """A place with the files of one or many logs."""

    name: str
    via: str

    async def get(self, path: str, most: int) -> bytes | None:
        """A file of at most that many bytes; None where it is not there or not for us.

        Raises:
            TransientError: no usable answer.
        """
        ...


class HttpSource:
    """A served tree: a hub, a mirror, or any static file server.

    Args:
        client: over a `GuardedTransport`; it must not follow redirects.
        base: the address below which the tree lies.
        auth: signs requests for payloads, where there is a transport key.
        seconds: most seconds of one small answer.

    Raises:
        TransientError: an address of another kind than http and https.
    """

    via = "http"

    def __init__(
        self, client: httpx.AsyncClient, base: str, auth: httpx.Auth | None = None, seconds: float = SECONDS
    ) -> None:
        self.name = base.rstrip("/")
        if not re.fullmatch(r"https?://[^/@\s]+(?:/\S*)?", self.name):
            raise TransientError(f"address {base[:120]!r}", expected="https://host/path, without user name")
        self._client = client
        self._auth = auth
        self._seconds = seconds

    async def get(self, path: str, most: int) -> bytes | None:
        """See `Source`."""
        request = self._client.build_request("GET", f"{self.name}/{path}")
        signed = self._auth if path.startswith(("blob/", "blobs/")) else None
        async with self.send(request, most, signed) as answer:
            if answer is None:
                return None
            return b"".join([piece async for piece in answer])

    async def post(self, path: str, body: bytes) -> int:
        """Send a small body, signed; the status of the answer.

        Raises:
            TransientError: no answer.
        """
        request = self._client.build_request("POST", f"{self.name}/{path}", content=body)
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._client.send(request, auth=self._auth, stream=True, follow_redirects=False)
                await answer.aclose()
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError) as error:
            raise self._trouble(error) from None
        return answer.status_code

    def pack_request(self, body: bytes | None, query: dict[str, str]) -> tuple[httpx.Request, httpx.Auth | None]:
        """A request for a range pack: signed for many logs, or open for one."""
        if body is not None and self._auth is not None:
            headers = {"content-type": "application/json"}
            return self._client.build_request("POST", f"{self.name}/pack", content=body, headers=headers), self._auth
        return self._client.build_request("GET", f"{self.name}/pack", params=query), self._auth

    @property
    def signs(self) -> bool:
        """Are requests signed here, so that many logs can be asked for at once?"""
        return self._auth is not None

    @asynccontextmanager
    async def send(
        self, request: httpx.Request, most: int, auth: httpx.Auth | None
    ) -> AsyncIterator[AsyncIterator[bytes] | None]:
        """The body of an answer, piece by piece as it lies on the wire; None where there is nothing for us.

        Raises:
            TransientError: another status, a redirect, a compressed body, too many bytes, too slow.
        """
        request.headers["accept-encoding"] = "identity"
        try:
            async with asyncio.timeout(self._seconds) as limit:
                answer = await self._client.send(request, auth=auth, stream=True, follow_redirects=False)
                try:
                    if answer.status_code in (*_GONE, *_CLOSED):
                        yield None
                        return
                    self._check(answer)
                    yield self._pieces(answer, most, limit)
                finally:
                    await answer.aclose()
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, TimeoutError, ValueError) as error:
            raise self._trouble(error) from None

    def _check(self, answer: httpx.Response) -> None:
        if answer.status_code != 200:
            where = " to another address, which is not followed" if answer.is_redirect else ""
            raise TransientError(f"{self.name} answers {answer.status_code}{where}")
        encoding = answer.headers.get("content-encoding", "identity")
        if encoding != "identity":
            # Payloads are compressed as files, under digests; on the wire it would only be a way to send a bomb.
            raise TransientError(f"{self.name} answers in {encoding[:40]}", expected="bytes as they are stored")

    async def _pieces(self, answer: httpx.Response, most: int, limit: asyncio.Timeout) -> AsyncIterator[bytes]:
        taken, begun = 0, asyncio.get_running_loop().time()
        async for piece in answer.aiter_raw(64 * 1024):
            taken += len(piece)
            if taken > most:
                raise TransientError(f"{self.name} answers more than {most} bytes")
            limit.reschedule(begun + self._seconds + taken / RATE)
            yield piece

    def _trouble(self, error: Exception) -> TransientError:
        reason = "too slow" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        return TransientError(f"{self.name} cannot be read: {reason[:300]}", hint="it is tried again next time")


class FolderSource:
    """A folder with a tree as it is served: an opened bundle on a stick, a share, the inbox of an exchange platform."""

    via = "folder"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name

    async def get(self, path: str, most: int) -> bytes | None:
        """See `Source`; links, devices and pipes are as good as absent."""
        try:
            file = os.open(self.folder / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TransientError(f"{self.name} cannot be read: {error.strerror}") from None
        try:
            info = os.fstat(file)
            if not stat.S_ISREG(info.st_mode):
                return None
            if info.st_size > most:
                raise TransientError(f"{path} of {info.st_size} bytes", expected=f"at most {most}")
            with os.fdopen(os.dup(file), "rb") as opened:
                return opened.read(most + 1)
        except OSError as error:
            raise TransientError(f"{self.name} cannot be read: {error.strerror}", hint="was it removed?") from None
        finally:
            os.close(file)
