"""Who acquired what: the access log, receipts, and grants that hold for a number of reads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dianhuan_federation.core import PublicKey, Trust, canonical, open_envelope
from dianhuan_federation.log_store import TileLog, write_durably
from dianhuan_federation.nodes._copies import LogCopy
from dianhuan_federation.nodes._errors import NodeError
from dianhuan_federation.nodes._gate import RequestGate
from dianhuan_federation.nodes._store import Database
from dianhuan_sdk import TransientError

ACCESS_KIND = "urn:dianhuan:federation:access:v1"
RECEIPT_KIND = "urn:dianhuan:federation:receipt-stored:v1"
DIGESTS_PER_ENTRY = 512
MAX_RECEIPT = 16 * 1024
MAX_RECEIPTS = 100_000
"""Receipts kept of one hub."""

SCHEMA = "CREATE TABLE IF NOT EXISTS used (origin TEXT, grant_id TEXT, reads INTEGER, PRIMARY KEY (origin, grant_id));"


class GrantCounter:
    """Grants that hold for a number of reads; a read is one request that hands out payloads under the grant.

    Args:
        database: with `SCHEMA`; none where no grant is limited.
        limits: (origin, grant id) → reads.
    """

    def __init__(self, database: Database | None, limits: Mapping[tuple[str, str], int]) -> None:
        self._database = database
        self._limits = limits

    def take(self, origin: str, grant: str) -> bool:
        """Use one read, if one is left; on the disk when this returns."""
        most = self._limits.get((origin, grant))
        if most is None or self._database is None:
            return True
        with self._database.transaction() as database:
            database.execute("INSERT OR IGNORE INTO used VALUES (?, ?, 0)", (origin, grant))
            taken = database.execute(
                "UPDATE used SET reads = reads + 1 WHERE origin = ? AND grant_id = ? AND reads < ?",
                (origin, grant, most),
            ).rowcount
        return taken == 1


@dataclass(frozen=True, slots=True)
class Acquisition:
    """One answer with payloads."""

    hub: str
    grants: tuple[str, ...]
    digests: tuple[str, ...]
    at: int


class AccessLog:
    """The second log of a node. What is recorded is on the disk before the payload is sent.

    Many that wait are appended together.

    Args:
        log: the tile log, under an origin and a key of its own.
    """

    def __init__(self, log: TileLog) -> None:
        self.log = log
        self.copy = LogCopy(log.origin, log.folder)
        self._lock = asyncio.Lock()
        self._writing = threading.Lock()
        self._waiting: list[tuple[list[bytes], asyncio.Future[None]]] = []

    async def acquired(self, what: Acquisition) -> None:
        """Record that a hub gets payloads."""
        entries = []
        for first in range(0, len(what.digests), DIGESTS_PER_ENTRY):
            digests = list(what.digests[first : first + DIGESTS_PER_ENTRY])
            entries.append(
                canonical(
                    {
                        "kind": ACCESS_KIND,
                        "hub": what.hub,
                        "grants": sorted(what.grants),
                        "digests": digests,
                        "at": what.at,
                    }
                )
            )
        await self._append(entries)

    async def received(self, hub: str, digest: str, at: int) -> None:
        """Record that a hub's receipt is stored."""
        await self._append([canonical({"kind": RECEIPT_KIND, "hub": hub, "digest": digest, "at": at})])

    async def _append(self, entries: list[bytes]) -> None:
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((entries, done))
        async with self._lock:
            if not done.done():
                batch, self._waiting = self._waiting, []
                await self._write(batch)
        await done

    async def _write(self, batch: Sequence[tuple[list[bytes], asyncio.Future[None]]]) -> None:
        try:
            await run_in_threadpool(self._append_now, [entry for entries, _ in batch for entry in entries])
        except Exception as error:
            self._tell(batch, error)
        except BaseException:
            self._tell(batch, TransientError("the access log was interrupted", hint="ask again"))
            raise
        else:
            self._tell(batch, None)

    def _append_now(self, entries: list[bytes]) -> None:
        with self._writing:
            self.log.append(entries)

    @staticmethod
    def _tell(batch: Sequence[tuple[list[bytes], asyncio.Future[None]]], error: Exception | None) -> None:
        for _, done in batch:
            if done.done():
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)


@dataclass(frozen=True, slots=True)
class Records:
    """The routes of receipts and access log.

    Args:
        access: the access log.
        receipts: folder of receipts by hub.
        gate: checks signed requests.
        trust: the trust data of now.
        clock: POSIX seconds.
    """

    access: AccessLog
    receipts: Path
    gate: RequestGate
    trust: Callable[[], Trust]
    clock: Callable[[], float]

    def routes(self) -> list[Route]:
        """Routes at the node's root."""
        return [
            Route("/receipts", self._receipt, methods=["POST"]),
            Route("/access/{path:path}", self._access, methods=["GET"]),
        ]

    async def _receipt(self, request: Request) -> Response:
        asker, body = await self.gate.ask_whole(request)
        if len(body) > MAX_RECEIPT:
            raise NodeError(413, "too-large", f"a receipt of {len(body)} bytes", expected=f"at most {MAX_RECEIPT}")
        if not open_envelope(body).signed_by(self._keys(asker.hub)):
            raise NodeError(403, "receipt", "not signed by the hub that sends it", expected="a DSSE envelope")
        digest = sha256(body).hexdigest()
        path = self.receipts / asker.hub / f"{digest}.json"
        if not path.exists():
            await run_in_threadpool(self._store, path, body)
            await self.access.received(asker.hub, digest, int(self.clock()))
        return Response(status_code=201)

    def _store(self, path: Path, body: bytes) -> None:
        if path.parent.is_dir() and sum(1 for _ in path.parent.iterdir()) >= MAX_RECEIPTS:
            raise NodeError(507, "receipts", f"{MAX_RECEIPTS} receipts of this hub are kept", hint="call the operator")
        write_durably(path, body)

    def _keys(self, hub_id: str) -> dict[str, PublicKey]:
        hub = self.trust().hub(hub_id)
        if hub is None:
            return {}
        return {k: v.key for role in (hub.role("publisher"), hub.role("transport")) for k, v in role.items()}

    async def _access(self, request: Request) -> Response:
        await self.gate.ask(request)
        data = await run_in_threadpool(self.access.copy.file, request.path_params["path"])
        return Response(data, media_type="application/octet-stream")
