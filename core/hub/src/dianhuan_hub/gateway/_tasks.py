"""What devices are asked: one request after the other on a connection, with time-outs and retries."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from dianhuan_hub.gateway._facts import Facts
from dianhuan_sdk import Clock, Device, DianhuanError, Due, Frame, Request

if TYPE_CHECKING:
    from dianhuan_hub.gateway._session import Session


class Asked(NamedTuple):
    """A request, the device it is for, and the task it belongs to."""

    device_id: str
    due: Due
    request: Request


WAITING_MOST = 64
"""Requests that wait on one connection."""


class Tasks:
    """Plans requests, sends them, and waits for their answers. In the event loop only.

    Args:
        clock: of the hub.
        facts: metrics and messages.
        lost: told of tasks that were not answered.
    """

    def __init__(self, clock: Clock, facts: Facts, lost: Callable[[str, Due], None]) -> None:
        self._clock = clock
        self._lost = lost
        self._facts = facts
        self._loop = asyncio.get_running_loop()
        self.live: dict[str, Session] = {}

    def plan(self, device: Device, due: Due) -> bool:
        """Queue what a task wants sent; False where the device is not connected."""
        session = self.live.get(device.device_id)
        if session is None or session.transport is None:
            return False
        try:
            requests = session.need_codec().plan(device, due)
        except DianhuanError as error:
            self._facts.requests.labels(task=due.task, result="refused").inc()
            self._facts.say("request", device.device_id, str(error))
            return True
        if session.asks is None:
            session.asks = deque()
        for request in requests:
            if len(session.asks) >= WAITING_MOST:
                self._facts.requests.labels(task=due.task, result="too_many").inc()
                break
            session.asks.append(Asked(device.device_id, due, request))
        if session.asked is None:
            self._next(session)
        return True

    def answered(self, session: Session, frames: Sequence[Frame]) -> None:
        """Frames have come on a connection that waits for an answer."""
        assert session.asked is not None
        asked = session.asked
        if any(f.kind == asked.request.expects and f.device_id == asked.device_id for f in frames):
            self._facts.requests.labels(task=asked.due.task, result="answered").inc()
            self._finish(session)

    def gone(self, session: Session) -> None:
        """A connection has ended: what it was asked stays unanswered."""
        if session.timer is not None:
            session.timer.cancel()
        waiting = [*([session.asked] if session.asked is not None else []), *(session.asks or ())]
        session.asks = session.asked = session.timer = None
        for device_id in session.devices or ():
            if self.live.get(device_id) is session:
                del self.live[device_id]
        for asked in waiting:
            self._facts.requests.labels(task=asked.due.task, result="disconnected").inc()
            self._lost(asked.device_id, asked.due)

    def _next(self, session: Session) -> None:
        if session.asks:
            session.asked = session.asks.popleft()
            session.tries = 0
            self._send(session)

    def _send(self, session: Session) -> None:
        assert session.asked is not None
        _, due, request = session.asked
        if not session.send(request.data):
            return  # the connection ends, and `gone` tidies up
        session.need_codec().sent(request)
        if not request.expects:
            self._facts.requests.labels(task=due.task, result="sent").inc()
            self._finish(session)
            return
        session.timer = self._loop.call_later(request.timeout_s, self._late, session)

    def _late(self, session: Session) -> None:
        if session.asked is None:
            return
        device_id, due, request = session.asked
        if session.tries < request.retries:
            session.tries += 1
            self._facts.requests.labels(task=due.task, result="repeated").inc()
            self._send(session)
            return
        self._facts.requests.labels(task=due.task, result="timeout").inc()
        words = f"请求无应答 · no answer to: {request.note} ({1 + request.retries} ×)"
        self._facts.say("timeout", device_id, words)
        self._lost(device_id, due)
        self._finish(session)

    def _finish(self, session: Session) -> None:
        if session.timer is not None:
            session.timer.cancel()
        session.asked = session.timer = None
        self._next(session)
