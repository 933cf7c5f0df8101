"""Wakes those who wait for the next thing that the real-time tier says, in whichever event loop they wait."""

from __future__ import annotations

import asyncio
import threading


class Feed:
    """The number of the newest stream event, and a way to wait for a later one."""

    def __init__(self, newest: int) -> None:
        self.newest = newest
        self.closed = False
        self._lock = threading.Lock()
        self._waiting: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    def tell(self, newest: int) -> None:
        """Events up to this number are committed; from any thread."""
        with self._lock:
            self.newest = max(self.newest, newest)
            self._wake()

    def close(self) -> None:
        """The hub stops: nobody waits any longer."""
        with self._lock:
            self.closed = True
            self._wake()

    def _wake(self) -> None:
        for event, loop in self._waiting.items():
            loop.call_soon_threadsafe(event.set)
        self._waiting.clear()

    async def wait(self, after: int, seconds: float) -> bool:
        """Wait until there are events behind a number; False when the time is over."""
        event = asyncio.Event()
        with self._lock:
            if self.newest > after or self.closed:
                return True
            self._waiting[event] = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return False
        finally:
            with self._lock:
                self._waiting.pop(event, None)
        return True
