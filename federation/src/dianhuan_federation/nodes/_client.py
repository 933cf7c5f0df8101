"""The calls of a city to witnesses and mirrors: it only pushes, so it needs no inbound port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import httpx

from dianhuan_federation.core import NoteSignature, Tile, pack_entries, parse_checkpoint
from dianhuan_federation.log_store import TileLog
from dianhuan_federation.nodes._signing import content_digest
from dianhuan_federation.nodes._wire import (
    INFO_TYPE,
    PACKAGE,
    SIZE_TYPE,
    EntriesHead,
    format_add_checkpoint,
    origin_hash,
    packages,
    parse_signatures,
    subtree_proof,
)
from dianhuan_sdk import AuthError, InputError, TerminalError, TransientError

MAX_ANSWER = 64 * 1024
PACKAGES_PER_REQUEST = 32
"""As tlog-mirror recommends."""

ROUNDS = 64
"""Most answers "go on from here" that one push follows."""

_PIECE = 256 * 1024


class OtherSize(TransientError):
    """The node knows the log at another size.

    Args:
        size: the size it knows.
    """

    def __init__(self, url: str, size: int) -> None:
        super().__init__(f"{url} knows the log at size {size}", expected="a proof from that size")
        self.size = size


async def add_checkpoint(
    client: httpx.AsyncClient, url: str, note: bytes, old_size: int, proof: Sequence[bytes]
) -> list[NoteSignature]:
    """One `add-checkpoint` call to a witness or mirror.

    Args:
        client: with the time-outs that the caller wants.
        url: submission prefix, such as `https://province.example/federation/witness`.
        note: the log's signed checkpoint.
        old_size: size that the node is thought to know.
        proof: consistency proof from there; empty for 0.

    Returns:
        The signature lines of the answer, not verified; a mirror gives none.

    Raises:
        OtherSize: the node knows another size; prove from there.
        TerminalError: the node refuses: unknown origin, wrong signature, no proof.
        TransientError: no answer now.
    """
    response = await _post(client, f"{url}/add-checkpoint", format_add_checkpoint(old_size, proof, note))
    if response.status_code == 409 and response.headers.get("content-type", "").startswith(SIZE_TYPE):
        text = response.content.decode("ascii", "replace").rstrip("\n")
        if not text.isdecimal() or len(text) > 19:
            raise TerminalError(f"{url} answers 409 with {text[:40]!r}", expected="a size")
        raise OtherSize(url, int(text))
    _expect(response, 200)
    return parse_signatures(response.content) if response.content else []


async def ask_witness(client: httpx.AsyncClient, url: str, log: TileLog) -> list[NoteSignature]:
    """Have the published checkpoint of a log cosigned, from whatever size the witness knows.

    Returns:
        Signature lines, not verified; `TileLog.add_signatures` takes those that the caller trusts.

    Raises:
        TerminalError: the witness refuses, or knows a longer log than we have: never sign on.
        TransientError: no answer now.
    """
    note = log.checkpoint()
    head, _ = parse_checkpoint(note)
    known = 0
    for _ in range(3):
        try:
            return await add_checkpoint(client, url, note, known, log.consistency(known) if known else [])
        except OtherSize as other:
            if other.size > head.size:
                raise TerminalError(
                    f"{url} has seen {log.origin} at size {other.size}, here it has {head.size}",
                    expected="the newest copy of the log",
                    hint="fetch the log from a mirror before anything else is signed",
                ) from None
            known = other.size
    raise TransientError(f"{url} moves between sizes", hint="is another process publishing this log?")


async def push(
    client: httpx.AsyncClient,
    url: str,
    log: TileLog,
    blobs: Mapping[str, bytes | Path] | None = None,
    *,
    auth: httpx.Auth | None = None,
) -> list[NoteSignature]:
    """Bring a mirror up to the published checkpoint: pending checkpoint, entries, then payloads.

    Args:
        client: with the time-outs that the caller wants.
        url: submission prefix of the mirror, such as `https://province.example/federation/mirror`.
        log: the log; its published checkpoint is pushed with all its cosignatures.
        blobs: SHA-256 in hex → bytes or file; those that the mirror has are not sent again.
        auth: signs the requests about payloads (`RequestAuth` of the transport key).

    Returns:
        The mirror's cosignatures: it holds the entries. Not verified.

    Raises:
        TerminalError: the mirror refuses.
        TransientError: no answer now; what was taken stays, the next push goes on from there.
    """
    await ask_witness(client, url, log)
    head, _ = parse_checkpoint(log.checkpoint())
    signatures = await _push_entries(client, url, log, head.size)
    for digest, content in sorted((blobs or {}).items()):
        await put_blob(client, url, digest, content, auth=auth)
    return signatures


async def put_blob(
    client: httpx.AsyncClient, url: str, digest: str, content: bytes | Path, *, auth: httpx.Auth | None
) -> None:
    """Bring one payload to a mirror, unless it is there.

    Raises:
        TerminalError: refused: no verified leaf names it, or other bytes than its digest says.
        TransientError: no answer now.
    """
    target = f"{url}/blob/{digest}"
    headers = {"content-digest": content_digest(bytes.fromhex(digest))}
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    empty = {"content-digest": content_digest(sha256().digest())}
    there = await _send(client, client.build_request("HEAD", target, headers=empty), auth)
    if there.status_code == 200:
        return
    request = client.build_request(
        "PUT", target, content=_pieces(content), headers={**headers, "content-length": str(size)}
    )
    _expect(await _send(client, request, auth), 201, 200)


async def _pieces(content: bytes | Path) -> AsyncIterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, _PIECE):
            yield piece


async def _push_entries(client: httpx.AsyncClient, url: str, log: TileLog, end: int) -> list[NoteSignature]:
    start, ticket, nodes = end, b"", log.nodes()
    for _ in range(ROUNDS):
        body = [EntriesHead(log.origin, start, end, ticket).encode()]
        for low, first, high in packages(start, end)[:PACKAGES_PER_REQUEST]:
            proof = subtree_proof(nodes, low, high, end)
            entries = log.entries(Tile(None, low // PACKAGE, min(PACKAGE, end - low)))
            body += [pack_entries(entries[first - low : high - low]), bytes([len(proof)]), *proof]
        response = await _post(client, f"{url}/add-entries", b"".join(body), "application/octet-stream")
        if response.status_code not in (202, 409):
            _expect(response, 200)
            return parse_signatures(response.content)
        pending, start = _info(response, url)
        if pending != end or start > end:
            raise TransientError(
                f"{url} waits for {log.origin} up to {pending}, next entry {start}", hint="push the newest checkpoint"
            )
    raise TransientError(f"{url} did not take {log.origin} in {ROUNDS} requests", hint="push again")


def _info(response: httpx.Response, url: str) -> tuple[int, int]:
    lines = response.content.decode("ascii", "replace").split("\n")
    if not response.headers.get("content-type", "").startswith(INFO_TYPE) or len(lines) != 4:
        raise _refused(response)
    if not all(line.isdecimal() and len(line) <= 19 for line in lines[:2]):
        raise TerminalError(f"{url} answers {lines[0][:40]!r}", expected="two sizes and a ticket")
    return int(lines[0]), int(lines[1])


async def _post(
    client: httpx.AsyncClient, url: str, body: bytes, content_type: str = "application/octet-stream"
) -> httpx.Response:
    return await _send(client, client.build_request("POST", url, content=body, headers={"content-type": content_type}))


async def _send(client: httpx.AsyncClient, request: httpx.Request, auth: httpx.Auth | None = None) -> httpx.Response:
    """Send, without following redirects, and take at most `MAX_ANSWER` bytes."""
    try:
        response = await client.send(request, auth=auth, stream=True, follow_redirects=False)
        try:
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > MAX_ANSWER:
                    raise TerminalError(f"{request.url} answers more than {MAX_ANSWER} bytes")
        finally:
            await response.aclose()
    except httpx.HTTPError as error:
        raise TransientError(f"{request.url}: {error or type(error).__name__}", hint="try again later") from None
    return httpx.Response(response.status_code, headers=_plain(response.headers), content=bytes(body), request=request)


def _plain(headers: httpx.Headers) -> dict[str, str]:
    return {name: headers[name] for name in ("content-type", "retry-after") if name in headers}


def _expect(response: httpx.Response, *statuses: int) -> None:
    if response.status_code not in statuses:
        raise _refused(response)


def _refused(response: httpx.Response) -> Exception:
    text = response.content[:300].decode("utf-8", "replace")
    message = f"{response.request.url} answers {response.status_code}: {text}"
    if response.status_code in (401, 403):
        return AuthError(message)
    if response.status_code in (408, 425, 429) or response.status_code >= 500:
        return TransientError(message)
    return TerminalError(message)


async def witnessed(client: httpx.AsyncClient, url: str, origin: str) -> bytes | None:
    """The latest checkpoint that a witness or mirror serves of a log; None if it has none.

    Before a log is opened for writing: one that a witness knows at a larger size must not be signed.

    Args:
        client: with the time-outs that the caller wants.
        url: monitoring prefix.
        origin: the log.

    Raises:
        TransientError: no answer now.
        TerminalError: an answer that is no checkpoint of that log.
    """
    response = await _send(client, client.build_request("GET", f"{url}/{origin_hash(origin)}/checkpoint"))
    if response.status_code == 404:
        return None
    _expect(response, 200)
    try:
        head, _ = parse_checkpoint(response.content)
    except InputError as error:
        raise TerminalError(f"{url}: {error}") from None
    if head.origin != origin:
        raise TerminalError(f"{url} serves {head.origin[:120]}", expected=origin)
    return response.content
