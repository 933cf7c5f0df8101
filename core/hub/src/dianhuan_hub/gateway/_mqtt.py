"""MQTT 3.1.1: messages are acknowledged after their commit, never before.

aiomqtt acknowledges on receipt; `_Acks` is the one place that reaches below it to the client's manual acknowledgement.
The session is kept by the broker (`clean_session=False`), so that what is published while the hub is away, or was not
acknowledged, comes again. Rows are idempotent, so a message that comes twice is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from typing import Any, cast

import aiomqtt

from dianhuan_hub.gateway._facts import Facts
from dianhuan_hub.gateway._line import Line
from dianhuan_hub.gateway._pipe import Pipe
from dianhuan_hub.kernel.config import Broker
from dianhuan_sdk import Deviation, Frame, MessageCodec, pack_message

_GATHER_S = 0.005
_AGAIN_S = 1.0


class _Acks:
    """Acknowledgements of one connection to a broker."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._paho: Any = client._client  # aiomqtt has no public way
        self._paho.manual_ack_set(True)

    def give(self, message: aiomqtt.Message) -> None:
        """Tell the broker that a message is in the store."""
        if message.qos:
            self._paho.ack(message.mid, message.qos)


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
        self._taken: deque[tuple[_Acks, list[aiomqtt.Message]]] = deque()
        self._acks: _Acks | None = None
        self._gathered: list[aiomqtt.Message] = []
        self._pauses: set[str] = set()
        self._go = asyncio.Event()
        self._go.set()
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
                self._acks = None  # acknowledgements of this connection are worth nothing on the next one
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
            max_queued_incoming_messages=0,
            tls_context=self._tls,
        )
        self._acks = _Acks(client)
        loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as stack:
            async with self._connecting:
                await stack.enter_async_context(client)
            for topic in self._codec.subscriptions:
                await client.subscribe(topic, qos=1)
            self.connected = True
            gauge.set(1)
            async for message in client.messages:
                if not self._gathered:
                    loop.call_later(_GATHER_S, self._take, self._acks)
                self._gathered.append(message)
                await self._go.wait()

    async def settled(self) -> None:
        """Wait until no connection is being made: cut off in between, the client would leave its own tasks behind."""
        async with self._connecting:
            return

    def _take(self, acks: _Acks) -> None:
        if self._acks is not acks or not self._gathered:
            return  # the connection has ended: the broker sends them again
        messages, self._gathered = self._gathered, []
        frames: list[Frame] = []
        size = 0
        for message in messages:
            raw = pack_message(str(message.topic), message.payload)
            size += len(raw)
            for item in self._codec.feed(raw):
                if isinstance(item, Deviation):
                    self._facts.deviations.labels(line=self.line.name, code=item.code).inc()
                    words = f"{str(message.topic)[:80]}: {item.detail}"
                    self._facts.say(item.code, self.line.name, words)
                else:
                    frames.append(item)
        self._taken.append((acks, messages))
        self._pipe.take(self, frames, size)

    def committed(self, size: int) -> None:
        """See `Source`: now the broker may forget these messages."""
        self.bytes -= size
        self.waits -= 1
        acks, messages = self._taken.popleft()
        if acks is self._acks:
            for message in messages:
                acks.give(message)
        if self.bytes <= self.buffered_most // 2:
            self.resume("buffered")

    def pause(self, reason: str) -> None:
        """See `Source`: messages stay unacknowledged, and the broker keeps the rest."""
        self._pauses.add(reason)
        self._go.clear()
        self._facts.paused.labels(line=self.line.name, reason=reason).inc()

    def resume(self, reason: str) -> None:
        """See `Source`."""
        self._pauses.discard(reason)
        if not self._pauses:
            self._go.set()
