"""Refusals over HTTP: one JSON form for all of them."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dianhuan_sdk import DianhuanError, InputError, TransientError


class NodeError(DianhuanError):
    """A request is refused.

    Args:
        status: HTTP status code.
        error: stable short name, such as `unknown-origin`.
        message: what was found, in one sentence.
        expected: what would have been right.
        hint: what to do now.
    """

    def __init__(self, status: int, error: str, message: str, *, expected: str = "", hint: str = "") -> None:
        super().__init__(message, expected=expected, hint=hint)
        self.status = status
        self.error = error

    def as_dict(self) -> dict[str, str]:
        """The error for machines."""
        return {**super().as_dict(), "error": self.error}


async def on_error(request: Request, error: Exception) -> Response:
    """The answer to an expected error; any other passes on and becomes a plain 500."""
    if not isinstance(error, NodeError):
        error = _named(error)
    headers = {"connection": "close"} if error.status in (408, 413) else {}
    return JSONResponse(error.as_dict(), error.status, headers)


def _named(error: Exception) -> NodeError:
    if isinstance(error, InputError):
        return NodeError(400, "bad-request", error.message, expected=error.expected, hint=error.hint)
    if isinstance(error, TransientError):
        return NodeError(503, "busy", error.message, expected=error.expected, hint=error.hint)
    if isinstance(error, DianhuanError):
        return NodeError(500, "node", error.message, expected=error.expected, hint=error.hint)
    raise error
