"""What the gateway counts, and what it says to people: each kind of message at most once a minute."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from datetime import datetime

from dianhuan_hub.kernel.metrics import HubMetrics
from dianhuan_sdk import Clock

log = logging.getLogger(__name__)

_QUIET_S = 60.0
_KINDS = 1024
_EVENTS = 100


class Facts:
    """Metrics and messages of one gateway.

    Args:
        metrics: of the hub.
        clock: of the hub.
    """

    def __init__(self, metrics: HubMetrics, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}
        self.events: deque[tuple[datetime, str, str]] = deque(maxlen=_EVENTS)
        line = frozenset({"line"})
        self.connections = metrics.gauge("gateway_connections", "open connections", line)
        self.closed = metrics.counter(
            "gateway_closed_total", "connections that the gateway closed or refused", frozenset({"line", "reason"})
        )
        self.frames = metrics.counter("gateway_frames_total", "frames received", line)
        self.bad = metrics.counter(
            "gateway_bad_frames_total", "frames that were refused or not kept", frozenset({"line", "reason"})
        )
        self.deviations = metrics.counter(
            "gateway_deviations_total", "irregularities of frames and streams", frozenset({"line", "code"})
        )
        self.paused = metrics.counter(
            "gateway_paused_total", "times that a connection had to wait", frozenset({"line", "reason"})
        )
        self.queue = metrics.gauge("gateway_queue_bytes", "bytes received and not committed yet")
        self.commit = metrics.histogram("gateway_commit_seconds", "seconds of a commit")
        self.failed = metrics.counter("gateway_commit_failures_total", "commits that have to be tried again")
        self.readings = metrics.counter(
            "gateway_readings_total", "readings: new, known already, in quarantine", frozenset({"line", "result"})
        )
        self.waiting = metrics.gauge("gateway_waiting_devices", "devices that wait for a decision")
        self.rivals = metrics.counter(
            "gateway_rivals_total", "second connections for one device", frozenset({"result"})
        )
        self.requests = metrics.counter("gateway_requests_total", "requests to devices", frozenset({"task", "result"}))
        self.gaps = metrics.counter("gateway_gaps_total", "gaps found in streams of readings", line)

    def say(self, kind: str, subject: str, words: str) -> None:
        """Log a message and keep it for `gateway status`; what is said again and again is said once a minute.

        Args:
            kind: of the event, e.g. `garbage`.
            subject: about whom: a device, an address.
            words: the message, both languages.
        """
        now = time.monotonic()
        with self._lock:
            said, silent = self._said.get((kind, subject), (-_QUIET_S, 0))
            if now - said < _QUIET_S:
                self._said[kind, subject] = (said, silent + 1)
                return
            if len(self._said) >= _KINDS:
                self._said.clear()
            self._said[kind, subject] = (now, 0)
            text = f"{subject}: {words}" + (f" (+{silent})" if silent else "")
            self.events.append((self._clock.now(), kind, text))
        log.warning("%s", text)
