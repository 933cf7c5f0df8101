"""What streams of readings show beside their values: how a device's clock runs, and what is missing in between."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

_ONE = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = 1_000_000


def micros(at: datetime) -> int:
    """Microseconds since 1970 UTC."""
    return (at - _EPOCH) // _ONE


def instant(at: int) -> datetime:
    """Aware UTC instant of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=at)


@dataclass
class _Clock:
    last: int
    deltas: deque[int]
    drift: int = 0
    steady: bool = False


class Clocks:
    """How far each device's clock is off: the median of reception minus device time over its last live frames.

    Every median holds the way over the network, so small ones count as none. What a device sends late (after an
    outage) is no sample: a jump of the difference beyond `LIVE_S` waits until as many frames say the same.
    """

    SAMPLES = 9
    LEAST = 5
    EVERY_S = 20
    SMALL_S = 5
    LIVE_S = 60
    MOST_S = 26 * 3600

    def __init__(self) -> None:
        self._clocks: dict[str, _Clock] = {}
        self.offsets: dict[str, timedelta] = {}

    def due(self, device_id: str, received: int) -> bool:
        """Is another sample of this device wanted?"""
        known = self._clocks.get(device_id)
        return known is None or received - known.last >= self.EVERY_S * _SECOND

    def note(self, device_id: str, received: int, at: int) -> None:
        """A live reading: received and device time in microseconds."""
        delta = received - at
        known = self._clocks.get(device_id)
        if known is None:
            known = self._clocks[device_id] = _Clock(received, deque(maxlen=self.SAMPLES))
        known.last = received
        if abs(delta) > self.MOST_S * _SECOND:
            return
        known.deltas.append(delta)
        if len(known.deltas) < self.LEAST:
            return
        middle = median(known.deltas)
        near = sum(abs(d - middle) <= self.LIVE_S * _SECOND for d in known.deltas)
        if near * 2 <= len(known.deltas):
            return  # back-fill, or a clock that is being set
        known.steady = True
        known.drift = 0 if abs(middle) < self.SMALL_S * _SECOND else int(middle)
        if known.drift:
            self.offsets[device_id] = timedelta(microseconds=known.drift)
        else:
            self.offsets.pop(device_id, None)

    def reset(self, device_id: str) -> None:
        """The device's clock has been set: what was measured before counts no more."""
        self._clocks.pop(device_id, None)
        self.offsets.pop(device_id, None)

    def drift(self, device_id: str) -> float | None:
        """Seconds that the device's clock is behind, None where it is not known yet."""
        known = self._clocks.get(device_id)
        return known.drift / _SECOND if known is not None and known.steady else None


@dataclass
class _Stream:
    last: int
    before: int  # newest instant in the store when the stream was seen first
    first: int
    step: int = 0
    candidate: int = 0


@dataclass(frozen=True)
class Gap:
    """Readings that are missing in a stream: the instants of the first and the last one."""

    device_id: str
    stream: str
    start: datetime
    end: datetime


class Gaps:
    """Finds missing intervals. A stream's step is known when two differences in a row are the same.

    Args:
        longest: gaps are asked for back to this long ago.
    """

    def __init__(self, longest: timedelta) -> None:
        self._streams: dict[tuple[str, str], _Stream] = {}
        self._longest = longest // _ONE

    def knows(self, device_id: str, stream: str) -> bool:
        """Has this stream been seen?"""
        return (device_id, stream) in self._streams

    def begin(self, device_id: str, stream: str, at: int, before: int | None) -> None:
        """First frame of a stream; `before` is the newest instant in the store, None where there is none."""
        self._streams[device_id, stream] = _Stream(at, at if before is None else before, at)

    def note(self, device_id: str, stream: str, at: int) -> Gap | None:
        """The next frame of a known stream; a gap before it, where there is one."""
        known = self._streams[device_id, stream]
        delta = at - known.last
        if delta <= 0:
            return None
        last, known.last = known.last, at
        if known.step == 0:
            if delta == known.candidate:
                known.step = delta
                if known.first - known.before > delta * 3 // 2:  # while the hub was away
                    return self._gap(device_id, stream, known.before + delta, known.first - delta)
            known.candidate = delta
            return None
        if delta == known.step:
            return None
        if delta == known.candidate:
            known.step = delta  # twice the same: the interval was set anew
            return None
        known.candidate = delta
        if delta > known.step * 3 // 2:
            return self._gap(device_id, stream, last + known.step, at - known.step)
        return None

    def _gap(self, device_id: str, stream: str, start: int, end: int) -> Gap | None:
        start = max(start, end - self._longest)
        return Gap(device_id, stream, instant(start), instant(end)) if start <= end else None
