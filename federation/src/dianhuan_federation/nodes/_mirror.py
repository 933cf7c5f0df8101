"""A mirror (C2SP tlog-mirror): it holds copies of logs that are pushed to it, and their payloads.

Every package of entries is proven against a pending checkpoint before it is written, and all of them together rebuild
the root before the mirror's own checkpoint moves. A payload is taken only where a verified leaf names its digest.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dianhuan_federation.core import (
    Frontier,
    NoteKey,
    Signer,
    Tile,
    Trust,
    bundles_of,
    cosign,
    format_note,
    frontier_from_nodes,
    leaf_hash,
    nodes_from_tiles,
    pack_entries,
    parse_checkpoint,
    tree_root,
    unpack_entries,
)
from dianhuan_federation.log_store import write_durably, write_tiles
from dianhuan_federation.nodes._body import Exactly, Limits, chunks, unzipped, whole
from dianhuan_federation.nodes._copies import Copies, LogCopy
from dianhuan_federation.nodes._errors import NodeError
from dianhuan_federation.nodes._gate import RequestGate
from dianhuan_federation.nodes._heads import Conflict, HeadStore, checked_note, honest_time, known_log
from dianhuan_federation.nodes._shelf import Shelf
from dianhuan_federation.nodes._store import Database
from dianhuan_federation.nodes._wire import (
    INFO_TYPE,
    MAX_PROOF,
    PACKAGE,
    EntriesHead,
    format_signatures,
    is_subtree,
    origin_hash,
    packages,
    parse_add_checkpoint,
)
from dianhuan_federation.nodes._witness import size_answer
from dianhuan_sdk import InputError

MAX_ORIGIN = 256
MAX_TICKET = 1024
MAX_AGAIN = 16 * PACKAGE
"""Entries that may be sent again."""

_HEX = re.compile("[0-9a-f]{64}")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS mirrored (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, next INTEGER NOT NULL,
    time INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Mirror:
    """A mirror service.

    Args:
        name: its name, as in witness policies.
        signer: the mirror key, used for nothing else.
        folder: pending heads and progress; below it `logs/<SHA-256 of origin>/` are the copies.
        heads: pending checkpoints.
        progress: how far each copy is.
        copies: told of each copy that is published.
        shelf: what the copies name and who may have it.
        gate: checks signed requests about payloads.
        trust: the trust data of now.
        clock: POSIX seconds.
        limits: on bodies.
        cosigners: witnesses whose cosignatures are kept in the published checkpoint.
    """

    name: str
    signer: Signer
    folder: Path
    heads: HeadStore
    progress: Database
    copies: Copies
    shelf: Shelf
    gate: RequestGate
    trust: Callable[[], Trust]
    clock: Callable[[], float]
    limits: Limits
    cosigners: tuple[NoteKey, ...] = ()
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    @staticmethod
    def stores(folder: Path, *, create: bool) -> tuple[HeadStore, Database]:
        """The two files of a mirror; `ConfigError` where they are not as `create` says."""
        return HeadStore(folder, create=create), Database(folder / "progress.sqlite", _SCHEMA, create=create)

    def routes(self) -> list[Route]:
        """Routes below the mirror's submission prefix."""
        return [
            Route("/add-checkpoint", self._add_checkpoint, methods=["POST"]),
            Route("/add-entries", self._add_entries, methods=["POST"]),
            Route("/blob/{digest}", self._has_blob, methods=["HEAD"]),
            Route("/blob/{digest}", self._put_blob, methods=["PUT"]),
        ]

    def log_folder(self, origin: str) -> Path:
        """Where the copy of a log lies."""
        return self.folder / "logs" / origin_hash(origin)

    def state(self, origin: str) -> tuple[int, int, int]:
        """Size of the mirror checkpoint, next entry, time of the last cosignature."""
        rows = self.progress.rows("SELECT size, next, time FROM mirrored WHERE origin = ?", origin)
        return (int(str(rows[0][0])), int(str(rows[0][1])), int(str(rows[0][2]))) if rows else (0, 0, 0)

    async def _add_checkpoint(self, request: Request) -> Response:
        body = await whole(request, self.limits.checkpoint, self.limits)
        try:
            await run_in_threadpool(self._pend, body)
        except Conflict as conflict:
            return size_answer(conflict)
        return Response(b"", media_type="text/plain; charset=utf-8")

    def _pend(self, body: bytes) -> None:
        old, proof, data = parse_add_checkpoint(body)
        head, note, keys = checked_note(data, self.trust(), int(self.clock()), self.cosigners)
        self.heads.accept(old, proof, head, note, keys)

    async def _add_entries(self, request: Request) -> Response:
        limits = self.limits
        raw = chunks(request, limits.entries, limits)
        body = Exactly(unzipped(raw, request.headers.get("content-encoding", ""), limits.entries))
        try:
            head = await _read_head(body)
        except EOFError:
            raise NodeError(400, "cut-off", "an add-entries request without its head") from None
        known_log(self.trust(), head.origin)
        pending, _ = self.heads.head(head.origin)
        if pending == 0:
            raise NodeError(422, "no-checkpoint", "no pending checkpoint", hint="send add-checkpoint first")
        size, ahead, _ = self.state(head.origin)
        target = self.heads.past(head.origin, head.end)
        again = min(head.end, ahead) - head.start
        if target is None or head.end < size or head.start > ahead or again > MAX_AGAIN:
            return self._info(409, pending if target is None or head.end < size else head.end, ahead)
        lock = self._locks.setdefault(head.origin, asyncio.Lock())
        saved = False
        for low, first, high in packages(head.start, head.end):
            try:
                entries, proof = await _read_package(body, high - first)
            except (EOFError, NodeError) as error:
                if isinstance(error, NodeError) and error.status not in (400, 408):
                    raise
                if not saved:
                    raise NodeError(400, "cut-off", f"the package of entries {first} to {high} is cut off") from None
                return self._info(202, head.end, self.state(head.origin)[1])
            async with lock:
                await run_in_threadpool(self._save, head.origin, target, (low, first, high), entries, proof)
            saved = True
        if not await body.ended():
            raise NodeError(400, "too-many", "bytes after the last package", expected=f"entries up to {head.end}")
        async with lock:
            answer = await run_in_threadpool(self._commit, head.origin, head.end, target)
        return Response(answer, media_type="text/plain; charset=utf-8")

    def _info(self, status: int, pending: int, ahead: int) -> Response:
        return Response(f"{pending}\n{ahead}\n\n", status, headers={"content-type": INFO_TYPE})

    def _save(
        self, origin: str, note: bytes, place: tuple[int, int, int], entries: list[bytes], proof: list[bytes]
    ) -> None:
        """Verify a package against the pending checkpoint and write it as an entry bundle."""
        low, first, high = place
        _, ahead, _ = self.state(origin)
        kept = self._held(origin, low, ahead)
        bundle = [*kept[: first - low], *entries]
        head, _ = parse_checkpoint(note)
        root = tree_root([leaf_hash(entry) for entry in bundle])
        if not is_subtree(low, high, root, head.size, head.root, proof):
            raise NodeError(
                422, "entries", f"entries {first} to {high} are not those of the checkpoint", expected="a subtree proof"
            )
        if high <= ahead:
            return
        write_durably(self.log_folder(origin) / Tile(None, low // PACKAGE, high - low).path, pack_entries(bundle))
        with self.progress.transaction() as database:
            database.execute(
                "INSERT INTO mirrored VALUES (?, 0, ?, 0) ON CONFLICT (origin) DO UPDATE "
                "SET next = max(next, excluded.next)",
                (origin, high),
            )

    def _held(self, origin: str, low: int, ahead: int) -> list[bytes]:
        width = min(PACKAGE, ahead - low)
        if width <= 0:
            return []
        return unpack_entries((self.log_folder(origin) / Tile(None, low // PACKAGE, width).path).read_bytes(), width)

    def _commit(self, origin: str, end: int, target: bytes) -> bytes:
        """Rebuild the root from what lies on the disk, then publish; never back."""
        size, ahead, last = self.state(origin)
        if end < size or ahead < end:
            raise NodeError(
                409, "moved", f"the mirror of this log is at size {size} now", expected="a newer checkpoint"
            )
        head, note = parse_checkpoint(self.heads.past(origin, end) or target)
        folder = self.log_folder(origin)
        leaves: list[bytes] = []
        for bundle in bundles_of(end, size):
            held = self._held(origin, bundle.index * PACKAGE, ahead)
            leaves += [leaf_hash(entry) for entry in held[: end - bundle.index * PACKAGE]][
                max(0, size - bundle.index * PACKAGE) :
            ]
        frontier = self._frontier(folder, size).extended(leaves)
        if frontier.root() != head.root:
            raise NodeError(500, "node", "the entries on the disk do not rebuild the root", hint="run fsck on the copy")
        if leaves:
            write_tiles(folder, size, leaves)
        for bundle in bundles_of(end, size):
            self._cut(folder, origin, bundle, ahead)
        time = honest_time(int(self.clock()), last)
        line = cosign(head.text, self.name, self.signer, time)
        with self.progress.transaction() as database:
            database.execute("UPDATE mirrored SET size = ?, time = ? WHERE origin = ?", (end, time, origin))
        data = format_note(note.text, [*note.signatures, line])
        write_durably(folder / f"checkpoints/{end}", data)
        write_durably(folder / "checkpoint", data)
        self.copies.add(LogCopy(origin, folder))
        for bundle in bundles_of(end, size):
            if bundle.width == PACKAGE:
                for tile in (bundle, Tile(0, bundle.index, PACKAGE)):
                    shutil.rmtree(folder / f"{tile.path}.p", ignore_errors=True)
        return format_signatures([line])

    def _cut(self, folder: Path, origin: str, bundle: Tile, ahead: int) -> None:
        """The bundle in the width that the checkpoint gives it."""
        if not (folder / bundle.path).exists():
            held = self._held(origin, bundle.index * PACKAGE, ahead)
            write_durably(folder / bundle.path, pack_entries(held[: bundle.width]))

    def _frontier(self, folder: Path, size: int) -> Frontier:
        return frontier_from_nodes(nodes_from_tiles(size, lambda tile: (folder / tile.path).read_bytes()), size)

    async def _has_blob(self, request: Request) -> Response:
        digest = _digest(request)
        await self.gate.ask(request)
        return Response(status_code=200 if self.shelf.blob_path(digest).is_file() else 404)

    async def _put_blob(self, request: Request) -> Response:
        digest = _digest(request)
        asker = await self.gate.ask(request)
        named = await run_in_threadpool(self.shelf.named, digest)
        if named is None:
            raise NodeError(
                409, "unnamed", "no verified leaf names this digest", hint="push the entries first, then payloads"
            )
        asker.check_body(bytes.fromhex(digest))
        path = self.shelf.blob_path(digest)
        if path.is_file():
            return Response(status_code=200)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{digest}.{uuid4().hex}")
        try:
            await self._receive(request, aside, min(named, self.limits.blob), digest)
            await run_in_threadpool(_settle, aside, path)
        finally:
            aside.unlink(missing_ok=True)
        return Response(status_code=201)

    async def _receive(self, request: Request, aside: Path, most: int, digest: str) -> None:
        found = hashlib.sha256()
        with aside.open("xb") as file:
            async for piece in chunks(request, most, self.limits):
                found.update(piece)
                await run_in_threadpool(file.write, piece)
            file.flush()
            await run_in_threadpool(os.fsync, file.fileno())
        if found.hexdigest() != digest:
            raise NodeError(400, "body-digest", "the bytes do not have the digest that was named", expected=digest)


def _settle(aside: Path, path: Path) -> None:
    aside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _digest(request: Request) -> str:
    digest: str = request.path_params["digest"]
    if not _HEX.fullmatch(digest):
        raise NodeError(404, "digest", "not a digest", expected="64 lower-case hexadecimal digits")
    return digest


async def _read_head(body: Exactly) -> EntriesHead:
    length = int.from_bytes(await body.read(2), "big")
    if not 0 < length <= MAX_ORIGIN:
        raise NodeError(400, "origin", f"an origin of {length} bytes", expected=f"at most {MAX_ORIGIN}")
    try:
        origin = (await body.read(length)).decode("utf-8")
    except UnicodeDecodeError:
        raise InputError("an origin that is not UTF-8") from None
    start = int.from_bytes(await body.read(8), "big")
    end = int.from_bytes(await body.read(8), "big")
    ticket = int.from_bytes(await body.read(2), "big")
    if start > end or end >= 2**63 or ticket > MAX_TICKET:
        raise InputError(f"entries {start} to {end} with a ticket of {ticket} bytes", expected="start <= end")
    return EntriesHead(origin, start, end, await body.read(ticket))


async def _read_package(body: Exactly, count: int) -> tuple[list[bytes], list[bytes]]:
    entries = [await body.read(int.from_bytes(await body.read(2), "big")) for _ in range(count)]
    hashes = (await body.read(1))[0]
    if hashes > MAX_PROOF:
        raise InputError(f"a proof of {hashes} hashes", expected=f"at most {MAX_PROOF}")
    return entries, [await body.read(32) for _ in range(hashes)]
