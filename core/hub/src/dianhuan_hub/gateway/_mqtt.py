"""MQTT 3.1.1: messages are acknowledged after their commit, never before.

aiomqtt acknowledges on receipt; `_Manual` is the one place that reaches below it.
The session is kept by the broker (`clean_session=False`), so that what is published while the hub is away, or was not
acknowledged, comes again. Rows are idempotent, so a message that comes twice is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import aiomqtt

from dianhuan_hub.gateway._facts import Facts
from dianhuan_hub.gateway._line import Line
from dianhuan_hub.gateway._pipe import Pipe
from dianhuan_hub.kernel.config import Broker
from dianhuan_sdk import Deviation, Frame, MessageCodec, pack_message

_GATHER_S = 0.005
_AGAIN_S = 1.0


class _Manual:
    """One connection to a broker, below aiomqtt: messages as they come, acknowledgements when we say so, and reading
    that can stop. aiomqtt makes and ends the connection; for the rest it has no public way."""

    def __init__(self, client: aiomqtt.Client, take: Callable[[Any], None]) -> None:
        self._client = client
        self._paho: Any = client._client
        self._paho.manual_ack_set(True)
        self._paho.on_message = lambda _client, _data, message: take(message)
        self._loop = asyncio.get_running_loop()

    def acknowledge(self, message: Any) -> None:
        """Tell the broker that a message is in the store."""
        if message.qos:
            self._paho.ack(message.mid, message.qos)

    async def ended(self) -> None:
        """Wait until the connection is lost.

        Raises:
            MqttError: it is.
        """
        lost = self._client._disconnected
        await asyncio.wait({lost})
        raise aiomqtt.MqttError("the connection was lost") from lost.exception()

    def stop_reading(self) -> None:
        """Leave the rest in the network: the broker keeps what it cannot send."""
        if (line := self._paho.socket()) is not None:
            self._loop.remove_reader(line.fileno())

    def read_on(self) -> None:
        """After `stop_reading`."""
        if (line := self._paho.socket()) is not None:
            self._loop.add_reader(line.fileno(), self._read, line)
            self._read(line)

    def _read(self, line: Any) -> None:
        try:
            self._paho.loop_read()
            while isinstance(line, ssl.SSLSocket) and line.pending():
                self._paho.loop_read()
        except Exception as error:  # as aiomqtt does: the connection is broken
            if not self._client._disconnected.done():
                self._client._disconnected.set_exception(error)


class BrokerSource:
    """A subscription to a broker.

    Args:
        line: protocol and lineage.
        config: `[gateway.brokers.NAME]`.
        password: resolved, or None.
        tls: where the broker speaks TLS.
        pipe, facts: of the gateway.
    """

    buffered_most = 8 << 20

    def __init__(
        self,
        line: Line,
        config: Broker,
        password: str | None,
        tls: ssl.SSLContext | None,
        pipe: Pipe,
        facts: Facts,
    ) -> None:
        self.line = line
        self.peer = f"{config.host}:{config.port}"
        self.bytes = 0
        self.waits = 0
        self.connected = False
        self._config = config
        self._password = password
        self._tls = tls
        self._pipe = pipe
        self._facts = facts
        self._codec = cast(MessageCodec, line.make_codec())
        self._taken: deque[tuple[_Manual, list[Any]]] = deque()
        self._broker: _Manual | None = None
        self._gathered: list[Any] = []
        self._pauses: set[str] = set()
        self._connecting = asyncio.Lock()

    async def run(self) -> None:
        """Receive until cancelled; a broker that is away is tried again every second."""
        gauge = self._facts.connections.labels(line=self.line.name)
        while True:
            try:
                await self._receive(gauge)
            except (aiomqtt.MqttError, OSError) as error:
                words = f"代理不可达，稍后重试 · broker {self.peer}, tried again: {error}"
                self._facts.say("broker", self.line.name, words)
            finally:
                self._broker = None  # acknowledgements of this connection are worth nothing on the next one
                self._gathered.clear()
                self.connected = False
                gauge.set(0)
            await asyncio.sleep(_AGAIN_S)

    async def _receive(self, gauge: Any) -> None:
        config = self._config
        client = aiomqtt.Client(
            config.host,
            config.port,
            identifier=config.client_id,
            username=config.username or None,
            password=self._password,
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=False,
            max_inflight_messages=65_535,
            tls_context=self._tls,
        )
        self._broker = broker = _Manual(client, self._receive_one)
        async with contextlib.AsyncExitStack() as stack:
            async with self._connecting:
                await stack.enter_async_context(client)
            for topic in self._codec.subscriptions:
                await client.subscribe(topic, qos=1)
            self.connected = True
            gauge.set(1)
            if self._pauses:
                broker.stop_reading()
            await broker.ended()

    def _receive_one(self, message: Any) -> None:
        if not self._gathered:
            asyncio.get_running_loop().call_later(_GATHER_S, self._take, self._broker)
        self._gathered.append(message)

    async def settled(self) -> None:
        """Wait until no connection is being made: cut off in between, the client would leave its own tasks behind."""
        async with self._connecting:
            return

    def _take(self, broker: _Manual | None) -> None:
        if broker is None or self._broker is not broker or not self._gathered:
            return  # the connection has ended: the broker sends them again
        messages, self._gathered = self._gathered, []
        frames: list[Frame] = []
        size = 0
        for message in messages:
            raw = pack_message(message.topic, message.payload)
            size += len(raw)
            for item in self._codec.feed(raw):
                if isinstance(item, Deviation):
                    self._facts.deviations.labels(line=self.line.name, code=item.code).inc()
                    words = f"{message.topic[:80]}: {item.detail}"
                    self._facts.say(item.code, self.line.name, words)
                else:
                    frames.append(item)
        self._taken.append((broker, messages))
        self._pipe.take(self, frames, size)

    def committed(self, size: int) -> None:
        """See `Source`: now the broker may forget these messages."""
        self.bytes -= size
        self.waits -= 1
        broker, messages = self._taken.popleft()
        if broker is self._broker:
            for message in messages:
                broker.acknowledge(message)
        if self.bytes <= self.buffered_most // 2:
            self.resume("buffered")

    def pause(self, reason: str) -> None:
        """See `Source`: messages stay unacknowledged, and the broker keeps the rest."""
        if not self._pauses and self._broker is not None:
            self._broker.stop_reading()
        self._pauses.add(reason)
        self._facts.paused.labels(line=self.line.name, reason=reason).inc()

    def resume(self, reason: str) -> None:
        """See `Source`."""
        if reason in self._pauses:
            self._pauses.discard(reason)
            if not self._pauses and self._broker is not None:
                self._broker.read_on()
