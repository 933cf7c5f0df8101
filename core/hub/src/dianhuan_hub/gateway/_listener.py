"""A port to which devices connect: limits over its connections, and what all of them share."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from pathlib import Path

from dianhuan_hub.gateway._facts import Facts
from dianhuan_hub.gateway._line import Line
from dianhuan_hub.gateway._pipe import Pipe
from dianhuan_hub.gateway._session import Session
from dianhuan_hub.gateway._tasks import Tasks
from dianhuan_hub.kernel import config as settings
from dianhuan_sdk import ConfigError, DeviceCodec

_READ = 1 << 16
_BACKLOG = 1024
_SEND = 1 << 17


class Listener:
    """One listening socket with its connections.

    Args:
        line: protocol and what it needs.
        config: `[gateway.listeners.NAME]`.
        pipe: where frames go.
        tasks: what devices are asked.
        facts: metrics and messages.
        folder: relative paths of certificates start here.
    """

    def __init__(
        self, line: Line, config: settings.Listener, pipe: Pipe, tasks: Tasks, facts: Facts, folder: Path
    ) -> None:
        self.line = line
        self.name = line.name
        self.config = config
        self.pipe = pipe
        self.tasks = tasks
        self.facts = facts
        self.loop = asyncio.get_running_loop()
        self.time = self.loop.time
        self.buffer = memoryview(bytearray(_READ))
        self.sessions: set[Session] = set()
        self.tls = _tls(config, folder, self.name)
        self._peers: Counter[str] = Counter()
        self._server: asyncio.Server | None = None
        self._open = facts.connections.labels(line=self.name)

    async def start(self) -> tuple[str, int]:
        """Listen; answers address and port.

        Raises:
            ConfigError: the address or port cannot be had.
        """
        config = self.config
        try:
            self._server = await self.loop.create_server(
                lambda: Session(self),
                config.host,
                config.port,
                backlog=_BACKLOG,
                ssl=self.tls,
                ssl_handshake_timeout=config.handshake_s if self.tls else None,
            )
        except OSError as error:
            raise ConfigError(
                f"gateway.listeners.{self.name} cannot listen on {config.host}:{config.port}: {error.strerror}",
                expected="an address of this machine and a free port",
                hint="choose another port, or stop what listens there",
            ) from None
        for listening in self._server.sockets:  # its connections inherit it: a peer that does not read costs no more
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND)
        host, port = self._server.sockets[0].getsockname()[:2]
        return str(host), int(port)

    def make_codec(self) -> DeviceCodec:
        """The codec of one connection."""
        return self.line.make_codec()

    def admit(self, session: Session) -> None:
        """A connection was made: take it, or close it at once."""
        transport = session.transport
        assert transport is not None
        name = transport.get_extra_info("peername")
        session.peer = str(name[0]) if name else "?"
        if len(self.sessions) >= self.config.connections:
            self.close(session, "too_many", f"连接数已达上限 · more than {self.config.connections} connections")
        elif self._peers[session.peer] >= self.config.connections_per_peer:
            self.close(
                session,
                "too_many_of_peer",
                f"单一地址连接数已达上限 · more than {self.config.connections_per_peer} connections from one address",
            )
        else:
            self.sessions.add(session)
            self._peers[session.peer] += 1
            self._open.set(len(self.sessions))

    def close(self, session: Session, reason: str, words: str) -> None:
        """Close a connection for a reason that is counted and said."""
        self.facts.closed.labels(line=self.name, reason=reason).inc()
        self.facts.say(reason, f"{self.name} {session.peer}", words)
        if session.transport is not None:
            session.transport.abort()

    def failed(self, session: Session, error: Exception) -> None:
        """The codec raised, which it never should: that connection ends, the others go on."""
        words = str(self.line.guard.describe("feed", error))
        self.close(session, "codec_failed", words)

    def gone(self, session: Session) -> None:
        """A connection has ended."""
        if session in self.sessions:
            self.sessions.discard(session)
            self._peers[session.peer] -= 1
            if not self._peers[session.peer]:
                del self._peers[session.peer]
            self._open.set(len(self.sessions))
        self.tasks.gone(session)

    async def sweep(self) -> None:
        """Close idle connections, and let quiet ones decide about the bytes they keep; until cancelled."""
        config = self.config
        pause = min(1.0, config.idle_s / 4, config.handshake_s / 4)
        while True:
            await asyncio.sleep(pause)
            now = self.time()
            for session in list(self.sessions):
                if session.held:
                    continue  # it waits for us, not we for it
                fresh = session.last_whole == session.started
                if fresh and now - session.started > config.handshake_s:
                    words = f"{config.handshake_s:g} 秒内无完整报文 · no whole frame within {config.handshake_s:g} s"
                    self.close(session, "handshake", words)
                elif now - session.last_whole > config.idle_s:
                    words = f"{config.idle_s:g} 秒无完整报文 · no whole frame for {config.idle_s:g} s"
                    self.close(session, "idle", words)
                else:
                    session.settle(now)

    def stop(self) -> None:
        """Accept nothing more and read nothing more; answers can still be written."""
        if self._server is not None:
            self._server.close()
        for session in self.sessions:
            session.pause("stopping")

    def end(self) -> None:
        """Close every connection, answers first."""
        for session in list(self.sessions):
            if session.transport is not None:
                session.transport.close()


def _tls(config: settings.Listener, folder: Path, name: str) -> ssl.SSLContext | None:
    if config.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    key = None if config.tls_key is None else folder / config.tls_key
    try:
        context.load_cert_chain(folder / config.tls_cert, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"gateway.listeners.{name}: the certificate cannot be used: {error}",
            expected="tls_cert and tls_key in PEM form",
            hint="check both files",
        ) from None
    return context
