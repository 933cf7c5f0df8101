"""What a node hands out: log tiles to everyone, payloads and packs to whom the logs allow it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from dianhuan_federation.core import PATHS
from dianhuan_federation.nodes._access import AccessLog, Acquisition, GrantCounter
from dianhuan_federation.nodes._body import Limits
from dianhuan_federation.nodes._copies import Copies, LogCopy
from dianhuan_federation.nodes._errors import NodeError
from dianhuan_federation.nodes._gate import RequestGate
from dianhuan_federation.nodes._pack import PACK_TYPE, write_pack
from dianhuan_federation.nodes._plan import PackPlan, Want, check_range, plan, read_wants
from dianhuan_federation.nodes._shelf import Shelf
from dianhuan_federation.nodes._signing import Asker
from dianhuan_sdk import InputError

_BINARY = "application/octet-stream"
_HEX = re.compile("[0-9a-f]{64}")
_NUMBER = re.compile("0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Serving:
    """The reading side of a node.

    Args:
        own: the node's own log; none for a node that only mirrors.
        logs: all logs here.
        shelf: payloads and who may have them.
        trust_folder: the TUF repository to hand on, if any.
        gate: checks signed requests.
        access: where acquisitions are recorded.
        counter: grants that hold for a number of reads.
        clock: POSIX seconds.
        limits: on one request.
    """

    own: LogCopy | None
    logs: Copies
    shelf: Shelf
    trust_folder: Path | None
    gate: RequestGate
    access: AccessLog
    counter: GrantCounter
    clock: Callable[[], float]
    limits: Limits

    def routes(self) -> list[Route]:
        """Routes at the node's root."""
        return [
            Route("/log/{path:path}", self._own_log, methods=["GET"]),
            Route("/trust/{path:path}", self._trust, methods=["GET"]),
            Route("/blob/sha256/{digest}", self._blob, methods=["GET"]),
            Route("/pack", self._pack, methods=["GET"]),
            Route("/pack", self._packs, methods=["POST"]),
        ]

    def mirrored(self) -> list[Route]:
        """Routes below the mirror's monitoring prefix."""
        return [Route("/{origin}/{path:path}", self._mirrored, methods=["GET"])]

    async def _own_log(self, request: Request) -> Response:
        if self.own is None:
            raise NodeError(404, "no-log", "this node has no log of its own", hint="ask /mirror/<SHA-256 of origin>/")
        return Response(await run_in_threadpool(self.own.file, request.path_params["path"]), media_type=_BINARY)

    async def _mirrored(self, request: Request) -> Response:
        name = request.path_params["origin"]
        copy = self.logs.named(name)
        if copy is None:
            raise NodeError(404, "unknown-origin", "this log is not here", expected="SHA-256 of a mirrored origin")
        return Response(await run_in_threadpool(copy.file, request.path_params["path"]), media_type=_BINARY)

    async def _trust(self, request: Request) -> Response:
        path = request.path_params["path"]
        if self.trust_folder is None or not PATHS.fullmatch(f"trust/{path}"):
            raise NodeError(404, "not-here", f"no trust metadata {path[:80]!r}")
        file = self.trust_folder / path
        if not file.is_file():
            raise NodeError(404, "not-here", f"no trust metadata {path[:80]!r}")
        return FileResponse(file, media_type="application/json")

    async def _asker(self, request: Request) -> Asker | None:
        """Who asks; None for one who does not sign, who gets what is open to everyone."""
        signed = "signature" in request.headers or "signature-input" in request.headers
        return await self.gate.ask(request) if signed else None

    async def _record(self, asker: Asker | None, grants: Iterable[str], digests: Iterable[str], now: int) -> None:
        """Who gets what; of one who does not sign there is no who, and a log that anyone may grow is none."""
        if asker is not None and digests:
            await self.access.acquired(Acquisition(asker.hub, tuple(grants), tuple(digests), now))

    async def _blob(self, request: Request) -> Response:
        digest = request.path_params["digest"]
        asker = await self._asker(request)
        hub, grant = (asker.hub, asker.grant) if asker else ("", "")
        now = int(self.clock())
        path = self.shelf.blob_path(digest)
        allowed = None
        if _HEX.fullmatch(digest):
            allowed = await run_in_threadpool(self.shelf.may_have, digest, hub, grant, now)
        if allowed is None:
            if asker is None:
                raise NodeError(
                    401, "signature", "payloads are for signed requests", hint="sign it, and name the grant"
                )
            raise NodeError(403, "grant", "no policy or grant in force gives you this payload", hint="name the grant")
        if not path.is_file():
            raise NodeError(404, "not-here", "this payload is not here", hint="ask the hub itself or another mirror")
        if allowed.grant and not await run_in_threadpool(self.counter.take, allowed.origin, allowed.grant):
            raise NodeError(403, "grant-spent", f"grant {allowed.grant} has no reads left", hint="ask for a new grant")
        await self._record(asker, [allowed.grant] if allowed.grant else [], [digest], now)
        return FileResponse(path, media_type=_BINARY)

    async def _pack(self, request: Request) -> Response:
        asker = await self._asker(request)
        query = request.query_params
        origin = query.get("origin", self.own.origin if self.own else "")
        numbers = [query.get("from", "0"), query.get("to", str(2**63 - 1))]
        if not all(_NUMBER.fullmatch(number) for number in numbers):
            raise InputError(f"a range from {numbers[0][:20]!r} to {numbers[1][:20]!r}", expected="two numbers")
        want = Want(origin, int(numbers[0]), int(numbers[1]), asker.grant if asker else "")
        check_range(want)
        return await self._answer(asker, [want])

    async def _packs(self, request: Request) -> Response:
        asker, body = await self.gate.ask_whole(request)
        return await self._answer(asker, read_wants(body, self.limits.logs))

    async def _answer(self, asker: Asker | None, wants: list[Want]) -> Response:
        hub, now = asker.hub if asker else "", int(self.clock())
        planned = await run_in_threadpool(plan, self.shelf, self.limits, hub, now, self.counter.take, wants)
        if len(wants) == 1 and planned.absent:
            raise NodeError(404, "unknown-origin", f"the log {wants[0].origin[:120]!r} is not here")
        await self._record(asker, planned.grants, planned.blobs, now)
        return StreamingResponse(_grouped(planned), media_type=PACK_TYPE)


_GROUP = 128 * 1024


def _grouped(planned: PackPlan) -> Iterator[bytes]:
    """The pack in pieces of a size that is worth sending; an error cuts it off, and the reader sees that."""
    buffer = bytearray()
    for piece in write_pack(planned.files(), planned.more, planned.absent):
        buffer += piece
        if len(buffer) >= _GROUP:
            yield bytes(buffer)
            buffer.clear()
    yield bytes(buffer)
