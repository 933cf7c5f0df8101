"""One round over all sources: they are asked at once, and each answer is merged as soon as it is there.

Asking happens on an event loop in a thread of its own, merging in the caller's: a source that trickles holds nobody up,
and while rows are being checked others go on sending. A log with much more than a usual day is merged after all
others, so that it delays none of them.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence

from dianhuan_federation.core import parse_checkpoint
from dianhuan_federation.replica import Delivery
from dianhuan_sdk import InputError

AT_ONCE = 16
"""Sources asked at the same time."""

WAITING = 64
"""Answers that may wait to be merged; more are not asked for meanwhile."""

HEAVY = 4096
"""New entries from which a log counts as heavy."""

Job = Callable[[], Awaitable[Sequence[Delivery]]]


def deliveries(jobs: Sequence[Job], sizes: Callable[[str], int]) -> Iterator[Delivery]:
    """Run jobs and yield what they deliver, heavy logs last.

    Args:
        jobs: each asks one source; it must not raise.
        sizes: verified entries of a log.
    """
    arrived: queue.Queue[Delivery | BaseException | None] = queue.Queue(WAITING)
    stop = threading.Event()

    def put(item: Delivery | BaseException | None) -> None:
        while not stop.is_set():
            try:
                arrived.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    async def ask() -> None:
        limit = asyncio.Semaphore(AT_ONCE)

        async def one(job: Job) -> None:
            async with limit:
                for delivery in await job():
                    await asyncio.to_thread(put, delivery)

        await asyncio.gather(*(one(job) for job in jobs))

    def run() -> None:
        try:
            asyncio.run(ask())
        except BaseException as error:  # handed to the caller, whatever it is
            put(error)
        put(None)

    thread = threading.Thread(target=run, name="federation-pull", daemon=True)
    thread.start()
    heavy: list[Delivery] = []
    try:
        while (item := arrived.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            if new_entries(item, sizes) > HEAVY:
                heavy.append(item)
            else:
                yield item
        yield from sorted(heavy, key=lambda item: new_entries(item, sizes))
    finally:
        stop.set()
        thread.join()


def new_entries(delivery: Delivery, sizes: Callable[[str], int]) -> int:
    """How many entries a delivery claims to bring; nothing of it is verified."""
    if delivery.submission is None:
        return 0
    try:
        return parse_checkpoint(delivery.submission.checkpoint)[0].size - sizes(delivery.origin)
    except InputError:
        return 0
