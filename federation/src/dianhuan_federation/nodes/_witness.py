"""A witness (C2SP tlog-witness v1.0.0): it cosigns one append-only history of each log of the trust data."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dianhuan_federation.core import NoteSignature, Signer, Trust, cosign
from dianhuan_federation.nodes._body import Limits, whole
from dianhuan_federation.nodes._errors import NodeError
from dianhuan_federation.nodes._heads import Conflict, HeadStore, checked_note
from dianhuan_federation.nodes._wire import SIZE_TYPE, format_signatures, parse_add_checkpoint

_HEX = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness service.

    Args:
        name: its name, as in witness policies.
        signer: its key, used for nothing else.
        heads: what it has cosigned.
        trust: the trust data of now.
        clock: POSIX seconds.
        limits: on bodies.
    """

    name: str
    signer: Signer
    heads: HeadStore
    trust: Callable[[], Trust]
    clock: Callable[[], float]
    limits: Limits

    def routes(self) -> list[Route]:
        """Routes below the witness's prefix, which is both submission and monitoring prefix."""
        return [
            Route("/add-checkpoint", self._add, methods=["POST"]),
            Route("/{origin}/checkpoint", self._checkpoint, methods=["GET"]),
        ]

    def add_checkpoint(self, body: bytes) -> NoteSignature:
        """Verify, persist, cosign.

        Raises:
            InputError: a malformed request (400).
            NodeError: 400, 403, 404, 409, 422 as the specification says.
        """
        old, proof, data = parse_add_checkpoint(body)
        now = int(self.clock())
        head, note, keys = checked_note(data, self.trust(), now)
        line = self.heads.accept(old, proof, head, note, keys, now=now, sign=self._sign)
        assert line is not None
        return line

    def _sign(self, text: bytes, time: int) -> NoteSignature:
        return cosign(text, self.name, self.signer, time)

    async def _add(self, request: Request) -> Response:
        body = await whole(request, self.limits.checkpoint, self.limits)
        try:
            line = await run_in_threadpool(self.add_checkpoint, body)
        except Conflict as conflict:
            return size_answer(conflict)
        return Response(format_signatures([line]), media_type="text/plain; charset=utf-8")

    async def _checkpoint(self, request: Request) -> Response:
        name = request.path_params["origin"]
        path = self.heads.folder / name / "checkpoint"
        if not _HEX.fullmatch(name) or not path.is_file():
            raise NodeError(404, "unknown-origin", "nothing was cosigned for this log", expected="SHA-256 of an origin")
        return Response(await run_in_threadpool(path.read_bytes), media_type="text/plain; charset=utf-8")


def size_answer(conflict: Conflict) -> Response:
    """409 as the specification words it: the known size alone."""
    return Response(f"{conflict.size}\n", 409, media_type=None, headers={"content-type": SIZE_TYPE})
