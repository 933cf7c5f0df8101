"""One connection of a device: bytes in, frames to the pipe, answers out; with limits of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dianhuan_sdk import Deviation, DeviceCodec, Frame

if TYPE_CHECKING:
    from dianhuan_hub.gateway._line import Line
    from dianhuan_hub.gateway._listener import Listener
    from dianhuan_hub.gateway._tasks import Asked

GARBAGE_MOST = 1 << 16
"""Bytes without a whole frame after which a connection is closed: nothing that speaks the protocol sends them."""

REFUSED_MOST = 200
"""Refused frames in a row after which a connection is closed."""

_QUIET_S = 2.0
_BURST_S = 10.0  # a logger that was cut off sends what it has kept: seconds of the rate at once


class Session(asyncio.BufferedProtocol):
    """A connection. All its methods run in the event loop.

    Args:
        listener: whose connection it is.
    """

    __slots__ = (
        "_ended",
        "_last",
        "_pauses",
        "_tokens",
        "_unsettled",
        "asked",
        "asks",
        "bytes",
        "codec",
        "devices",
        "last_whole",
        "listener",
        "peer",
        "refused",
        "silent",
        "started",
        "timer",
        "transport",
        "tries",
        "waits",
    )

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.transport: asyncio.Transport | None = None
        self.peer = ""
        self.codec: DeviceCodec | None = None  # made with the first byte, so that an idle connection stays small
        self.devices: set[str] | None = None
        self.bytes = 0  # received and not committed
        self.waits = 0  # reads that are not committed
        self.silent = 0  # bytes since the last whole frame
        self.refused = 0  # refused frames in a row
        self.started = self.last_whole = self._last = 0.0
        self._tokens = 0.0
        self._pauses: set[str] | None = None
        self._unsettled = False
        self._ended = False
        self.asks: deque[Asked] | None = None
        self.asked: Asked | None = None
        self.tries = 0
        self.timer: asyncio.TimerHandle | None = None

    @property
    def line(self) -> Line:
        """See `Source`."""
        return self.listener.line

    @property
    def buffered_most(self) -> int:
        """See `Source`."""
        return self.listener.config.buffered_bytes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio`."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.started = self.last_whole = self._last = self.listener.time()
        self._tokens = self.listener.config.frames_per_s * _BURST_S
        self.listener.admit(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """One buffer serves all connections of a listener: it is emptied before anything else runs."""
        return self.listener.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """See `asyncio`."""
        listener = self.listener
        codec = self.codec or self.need_codec()
        try:
            items = codec.feed(bytes(listener.buffer[:nbytes]))
        except Exception as error:
            listener.failed(self, error)
            return
        now = listener.time()
        self._unsettled = True
        frames = self._frames(items, now) if items else []
        self.silent = 0 if frames and self.last_whole == now else self.silent + nbytes
        if frames:
            rate = listener.config.frames_per_s
            self._tokens = min(rate * _BURST_S, self._tokens + (now - self._last) * rate) - len(frames)
            if self._tokens < 0:
                self.pause("rate")
                listener.loop.call_later(-self._tokens / rate, self.resume, "rate")
            listener.pipe.take(self, frames, nbytes)
        elif self.silent > GARBAGE_MOST:
            listener.close(self, "garbage", f"收到 {self.silent} 字节而无完整报文 · {self.silent} bytes and no frame")
        self._last = now

    def _frames(self, items: Sequence[Frame | Deviation], now: float) -> list[Frame]:
        frames: list[Frame] = []
        for item in items:
            if isinstance(item, Deviation):
                self.listener.facts.deviations.labels(line=self.listener.name, code=item.code).inc()
            else:
                frames.append(item)
                if item.valid:
                    self.last_whole = now
        if self.asked is not None and frames:
            self.listener.tasks.answered(self, frames)
        return frames

    def settle(self, now: float) -> None:
        """The connection is quiet: decide about the bytes that wait for more."""
        codec = self.codec
        if codec is None or now - self._last < _QUIET_S:
            return
        if self._unsettled:
            self._unsettled = False
            self._take_rest(end=False)
        if not codec.pending and self.asked is None:
            self.codec = None  # most devices speak once a minute: what a codec remembers costs more than to make it

    def need_codec(self) -> DeviceCodec:
        """Its codec, made where there is none."""
        if self.codec is None:
            self.codec = self.listener.make_codec()
        return self.codec

    def _take_rest(self, *, end: bool) -> None:
        codec = self.codec
        if codec is None:
            return
        try:
            items = codec.settle(end=end)
        except Exception as error:
            self.listener.failed(self, error)
            return
        frames = self._frames(items, self.listener.time())
        if frames:
            self.listener.pipe.take(self, frames, 0)

    def eof_received(self) -> bool:
        """The peer sends no more; what it has sent is still answered."""
        self._take_rest(end=True)
        self._ended = self.waits > 0 and not self.listener.tls
        return self._ended

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio`."""
        self._take_rest(end=True)
        self.codec = self.transport = None
        self.listener.gone(self)

    def pause(self, reason: str) -> None:
        """Stop reading: the peer's own network stack makes it wait, and nothing is dropped."""
        if self._pauses is None:
            self._pauses = set()
        if reason not in self._pauses:
            self.listener.facts.paused.labels(line=self.listener.name, reason=reason).inc()
            self._pauses.add(reason)
            if self.transport is not None:
                self.transport.pause_reading()

    def resume(self, reason: str) -> None:
        """A reason to wait is gone; reading goes on when it was the last one."""
        if self._pauses and reason in self._pauses:
            self._pauses.discard(reason)
            if not self._pauses and self.transport is not None and not self.transport.is_closing():
                self.transport.resume_reading()

    @property
    def held(self) -> bool:
        """Is it not read for a reason of ours: the store, the queue, its rate?"""
        return bool(self._pauses) and self._pauses != {"answers"}

    def pause_writing(self) -> None:
        """The peer does not read its answers: nothing more is read from it until it does, and then it is idle."""
        self.pause("answers")

    def resume_writing(self) -> None:
        """See `asyncio`."""
        self.resume("answers")

    def send(self, data: bytes) -> bool:
        """Write to the device; False where the connection is gone."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return False
        transport.write(data)
        return True

    def committed(self, size: int) -> None:
        """A read of it is in the store, and answered."""
        self.bytes -= size
        self.waits -= 1
        if self.bytes <= self.listener.config.buffered_bytes // 2:
            self.resume("buffered")
        if self._ended and self.waits == 0 and self.transport is not None:
            self.transport.close()
