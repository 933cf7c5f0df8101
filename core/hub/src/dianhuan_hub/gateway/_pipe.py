"""From frames to committed readings: gathered for a moment, one transaction, then the answers. Nothing is dropped.

Everything received waits here until it is in the store. When more waits than may, connections are no longer read, and
the network makes the devices wait. A transaction that fails is tried again; a single frame that makes it fail is put
into quarantine, so that it cannot hold up the others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import NamedTuple, Protocol

from dianhuan_hub.gateway._facts import Facts
from dianhuan_hub.gateway._line import Line
from dianhuan_hub.kernel.config import Gateway as Settings
from dianhuan_sdk import Clock, DianhuanError, Frame

BATCH_BYTES = 4 << 20
"""Bytes of one transaction."""

BATCH_SPAN_S = 1.0
"""Frames of one transaction came within this time: all of them get the instant of the first one's reception."""

_PAUSES = (0.1, 0.5, 1.0, 2.0, 5.0)


class Source(Protocol):
    """Where frames come from: a connection, a poller's line, a broker."""

    bytes: int
    waits: int
    peer: str

    @property
    def line(self) -> Line:
        """Its protocol and lineage."""
        ...

    @property
    def buffered_most(self) -> int:
        """Bytes of it that may wait."""
        ...

    def pause(self, reason: str) -> None:
        """Read no more."""
        ...

    def resume(self, reason: str) -> None:
        """Read on."""
        ...

    def committed(self, size: int) -> None:
        """One read of it is in the store and answered."""
        ...


class Entry(NamedTuple):
    """Frames of one read."""

    source: Source
    frames: Sequence[Frame]
    size: int
    at: datetime


class Work:
    """Entries on their way into the store: what is still to do, and what has become of the rest."""

    def __init__(self, entries: list[Entry]) -> None:
        by_line: dict[int, list[Entry]] = {}
        for entry in entries:
            by_line.setdefault(id(entry.source.line), []).append(entry)
        self.entries = entries
        self.todo: deque[list[Entry]] = deque(by_line.values())
        self.after: list[Callable[[], None]] = []
        """What the event loop does when all of it is committed."""


class Pipe:
    """The queue and its one committing thread.

    Args:
        commit: writes a work; called in the committing thread; raises `DianhuanError` to be called again.
        settings: `[gateway]`.
        clock: of the hub.
        facts: metrics and messages.
    """

    def __init__(self, commit: Callable[[Work], None], settings: Settings, clock: Clock, facts: Facts) -> None:
        self._commit = commit
        self._most = settings.queue_bytes
        self._flush = settings.flush_ms / 1000
        self._clock = clock
        self._facts = facts
        self._loop = asyncio.get_running_loop()
        self._pending: deque[tuple[Entry, float]] = deque()
        self._paused: set[Source] = set()
        self._wake = asyncio.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="gateway-commit")
        self._closing = False
        self.bytes = 0

    def take(self, source: Source, frames: Sequence[Frame], size: int) -> None:
        """Queue frames. In the event loop only."""
        entry = Entry(source, frames, size or sum(len(f.raw) for f in frames), self._clock.now())
        self._pending.append((entry, self._loop.time()))
        self.bytes += entry.size
        source.bytes += entry.size
        source.waits += 1
        if source.bytes >= source.buffered_most:
            source.pause("buffered")
        if self.bytes >= self._most and source not in self._paused:
            self._paused.add(source)
            source.pause("queue")
        if not self._wake.is_set():
            self._wake.set()

    async def run(self) -> None:
        """Commit what comes until `drain` has ended."""
        while True:
            if not self._pending:
                if self._closing:
                    return
                self._wake.clear()
                self._facts.queue.set(0)
                await self._wake.wait()
                continue
            rest = self._pending[0][1] + self._flush - self._loop.time()
            if rest > 0 and self.bytes < BATCH_BYTES and not self._closing:
                await asyncio.sleep(rest)
            work = Work(self._cut())
            await self._persist(work)
            for step in work.after:
                step()
            for entry in work.entries:
                self.bytes -= entry.size
                entry.source.committed(entry.size)
            self._facts.queue.set(self.bytes)
            if self._paused and self.bytes <= self._most // 2:
                paused, self._paused = self._paused, set()
                for source in paused:
                    source.resume("queue")

    def _cut(self) -> list[Entry]:
        pending, size = self._pending, 0
        last = pending[0][1] + BATCH_SPAN_S
        entries: list[Entry] = []
        while pending and size < BATCH_BYTES and pending[0][1] <= last:
            entry = pending.popleft()[0]
            entries.append(entry)
            size += entry.size
        return entries

    async def _persist(self, work: Work) -> None:
        pauses = iter(_PAUSES)
        while True:
            try:
                with self._facts.commit.time():
                    await self._loop.run_in_executor(self._pool, self._commit, work)
                return
            except DianhuanError as error:
                self._facts.failed.inc()
                self._facts.queue.set(self.bytes)
                self._facts.say("store", "gateway", f"尚未入库，稍后重试 · not stored yet, tried again: {error}")
                await asyncio.sleep(next(pauses, _PAUSES[-1]))

    async def drain(self, runner: asyncio.Task[None], timeout: float) -> bool:
        """Commit and answer what has been received; False where the store did not take it in time."""
        self._closing = True
        self._wake.set()
        done, _ = await asyncio.wait({runner}, timeout=timeout)
        if not done:
            runner.cancel()
            await asyncio.wait({runner})
        self._pool.shutdown(wait=bool(done))
        return bool(done)
