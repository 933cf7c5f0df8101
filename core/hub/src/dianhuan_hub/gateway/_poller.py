"""Lines that are asked: meters on Modbus TCP, RTU over TCP, DL/T 645 over transparent TCP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from dianhuan_hub.gateway._facts import Facts
from dianhuan_hub.gateway._line import Line
from dianhuan_hub.gateway._pipe import Pipe
from dianhuan_hub.kernel.config import Poll
from dianhuan_sdk import Clock, Deviation, Device, DeviceCodec, DianhuanError, Due, Frame, Request

_READ = 1 << 12
_FOLLOW_MOST = 64  # frames of one long answer


class Poller:
    """One line with its devices, asked one after the other.

    Args:
        line: protocol and lineage.
        config: `[gateway.polls.NAME]`.
        devices: its approved devices, always of the present state.
        clock: of the hub.
        pipe, facts: of the gateway.
    """

    buffered_most = 1 << 20

    def __init__(
        self,
        line: Line,
        config: Poll,
        devices: Callable[[], Sequence[Device]],
        clock: Clock,
        pipe: Pipe,
        facts: Facts,
    ) -> None:
        self.line = line
        self.peer = f"{config.host}:{config.port}"
        self.bytes = 0
        self.waits = 0
        self.connected = False
        self._config = config
        self._devices = devices
        self._clock = clock
        self._pipe = pipe
        self._facts = facts
        self._pauses: set[str] = set()
        self._go = asyncio.Event()
        self._go.set()

    async def run(self) -> None:
        """Ask every device once an interval, until cancelled; the connection is kept, and made anew when it fails."""
        loop, gauge = asyncio.get_running_loop(), self._facts.connections.labels(line=self.line.name)
        while True:
            due = loop.time()
            if self._devices():
                try:
                    async with asyncio.timeout(self._config.connect_s):
                        reader, writer = await asyncio.open_connection(self._config.host, self._config.port)
                except (OSError, TimeoutError) as error:
                    words = f"无法连接 · cannot connect to {self.peer}: {error or 'time-out'}"
                    self._facts.say("line", self.line.name, words)
                else:
                    self.connected = True
                    gauge.set(1)
                    try:
                        due = await self._rounds(reader, writer)
                    except (OSError, EOFError) as error:
                        words = f"连接中断 · connection to {self.peer} was lost: {error}"
                        self._facts.say("line", self.line.name, words)
                    finally:
                        self.connected = False
                        gauge.set(0)
                        writer.close()
            await asyncio.sleep(max(0.05, due + self._config.interval_s - loop.time()))

    async def _rounds(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
        """Rounds on one connection; answers when the last one was due, where no device is left to be asked."""
        loop, codec = asyncio.get_running_loop(), self.line.make_codec()
        due = loop.time()
        while devices := self._devices():
            for device in devices:
                await self._go.wait()
                try:
                    requests = codec.plan(device, Due("poll", self._clock.now()))
                except DianhuanError as error:
                    self._facts.requests.labels(task="poll", result="refused").inc()
                    self._facts.say("request", device.device_id, str(error))
                    continue
                for request in requests:
                    if not await self._ask(codec, request, reader, writer):
                        words = f"设备无应答 · no answer to: {request.note}"
                        self._facts.requests.labels(task="poll", result="timeout").inc()
                        self._facts.say("timeout", device.device_id, words)
                        break  # a meter that is off holds up its line no longer than one request
            due = max(due + self._config.interval_s, loop.time())
            await asyncio.sleep(due - loop.time())
        return due

    async def _ask(
        self, codec: DeviceCodec, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        data = request.data
        for attempt in range(1 + request.retries):
            if attempt:
                self._facts.requests.labels(task="poll", result="repeated").inc()
            writer.write(data)
            codec.sent(request)
            try:
                async with asyncio.timeout(request.timeout_s or 1.0):
                    await writer.drain()
                    if not request.expects:
                        return True
                    frames = await self._answer(codec, reader, writer)
            except TimeoutError:
                continue
            self._pipe.take(self, frames, 0)
            self._facts.requests.labels(task="poll", result="answered").inc()
            return True
        return False

    async def _answer(
        self, codec: DeviceCodec, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> list[Frame]:
        """The frames of one answer; where the codec asks for the rest of a long one, with the rest."""
        frames: list[Frame] = []
        while True:
            data = await reader.read(_READ)
            if not data:
                raise EOFError("closed by the peer")
            more = None
            for item in codec.feed(data):
                if isinstance(item, Deviation):
                    self._facts.deviations.labels(line=self.line.name, code=item.code).inc()
                else:
                    frames.append(item)
                    more = codec.reply(item) if len(frames) < _FOLLOW_MOST else None
            if more is not None:
                writer.write(more)
            elif frames:
                return frames

    def committed(self, size: int) -> None:
        """See `Source`."""
        self.bytes -= size
        self.waits -= 1
        if self.bytes <= self.buffered_most // 2:
            self.resume("buffered")

    def pause(self, reason: str) -> None:
        """See `Source`: nobody is asked meanwhile."""
        self._pauses.add(reason)
        self._go.clear()
        self._facts.paused.labels(line=self.line.name, reason=reason).inc()

    def resume(self, reason: str) -> None:
        """See `Source`."""
        self._pauses.discard(reason)
        if not self._pauses:
            self._go.set()
