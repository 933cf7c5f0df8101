"""The door of a node: signed requests of trusted hubs, each accepted once."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from hashlib import sha256
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from dianhuan_federation.core import HubKey, Trust
from dianhuan_federation.nodes._body import Limits, whole
from dianhuan_federation.nodes._errors import NodeError
from dianhuan_federation.nodes._signing import SKEW, Asker, transport_keys, verify_request
from dianhuan_federation.nodes._store import Database
from dianhuan_sdk import ConfigError

MAX_NONCES = 4096
"""Requests of one key whose nonces are remembered; its own window is full then, nobody else's."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS nonce (key TEXT NOT NULL, nonce TEXT NOT NULL, expires INTEGER NOT NULL,
    PRIMARY KEY (key, nonce)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS nonce_expires ON nonce (expires);
"""


class RequestGate:
    """Checks signed requests.

    Args:
        bases: how this node is addressed, such as `https://province.example`; others are refused.
        nonces: a database with `SCHEMA`; while it cannot be used nothing is let in.
        trust: the trust data of now.
        clock: POSIX seconds.
        limits: on bodies.

    Raises:
        ConfigError: a base that is more than scheme and authority.
    """

    def __init__(
        self,
        bases: Sequence[str],
        nonces: Database,
        trust: Callable[[], Trust],
        clock: Callable[[], float],
        limits: Limits,
    ) -> None:
        self._bases: dict[str, str] = {}
        for base in bases:
            parts = urlsplit(base)
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query:
                raise ConfigError(f"base {base!r}", expected="https://host[:port]")
            self._bases[parts.netloc.lower()] = base
        self._nonces = nonces
        self._trust = trust
        self._clock = clock
        self._limits = limits
        self._keys: tuple[Trust, dict[str, tuple[str, HubKey]]] | None = None

    async def ask(self, request: Request) -> Asker:
        """Who asks, by a request whose body is not read yet; check it with `Asker.check_body`.

        Raises:
            NodeError: 401: not signed as the profile asks; 421: another authority; 409: a nonce seen before;
                429: too many requests of this key; 400: a length without a body's digest.
            TransientError: the nonces cannot be kept, so nothing is let in.
        """
        now = int(self._clock())
        url = self._target(request)
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
        asker = verify_request(request.method, url, headers, self._transport_keys(), now)
        await run_in_threadpool(self._once, asker, now)
        return asker

    async def ask_whole(self, request: Request) -> tuple[Asker, bytes]:
        """Who asks, and the body, which is the signed one; errors as `ask`, and those of `whole`."""
        asker = await self.ask(request)
        body = await whole(request, self._limits.small, self._limits)
        asker.check_body(sha256(body).digest())
        return asker, body

    def _target(self, request: Request) -> str:
        host = request.headers.getlist("host")
        base = self._bases.get(host[0].lower()) if len(host) == 1 else None
        if base is None:
            raise NodeError(
                421, "authority", f"this node is not {', '.join(host)[:80]!r}", expected=", ".join(self._bases.values())
            )
        raw: str = request.scope["raw_path"].decode("latin-1")
        query: str = request.scope["query_string"].decode("latin-1")
        return base + raw + (f"?{query}" if query else "")

    def _transport_keys(self) -> dict[str, tuple[str, HubKey]]:
        trust = self._trust()
        if self._keys is None or self._keys[0] is not trust:
            self._keys = (trust, transport_keys(trust))
        return self._keys[1]

    def _once(self, asker: Asker, now: int) -> None:
        with self._nonces.transaction() as database:
            database.execute("DELETE FROM nonce WHERE expires < ?", (now - SKEW,))
            (kept,) = database.execute("SELECT count(*) FROM nonce WHERE key = ?", (asker.key,)).fetchone()
            if kept >= MAX_NONCES:
                raise NodeError(429, "nonces", f"{kept} requests within one window", hint="ask for packs of many logs")
            try:
                database.execute("INSERT INTO nonce VALUES (?, ?, ?)", (asker.key, asker.nonce, asker.expires))
            except sqlite3.IntegrityError:
                raise NodeError(409, "nonce", "this request was made before", expected="a fresh nonce") from None
