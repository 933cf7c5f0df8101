"""Split messages whose packets came by two connections, or before and after a restart.

A packet is answered when its raw frame is stored, so its logger will not send it again: what the new connection
brings is read together with what is kept of the old one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dianhuan_hub.gateway._line import Line
from dianhuan_sdk import Deviation, Frame

PACKETS_MOST = 64
DEVICES_MOST = 10_000


@dataclass
class _Open:
    source: object | None
    packets: list[bytes]


class Parts:
    """Packets of messages that are not whole, by device; bounded.

    Args:
        stored: packets that were stored before a restart, oldest first.
    """

    def __init__(self, stored: Mapping[str, Sequence[bytes]]) -> None:
        self._open = {device: _Open(None, list(raws)[-PACKETS_MOST:]) for device, raws in stored.items()}

    def join(self, line: Line, frames: Sequence[Frame], owners: Sequence[object]) -> list[Frame]:
        """Take packets; messages that are whole now, read from packets of more than one connection."""
        if all(f.whole for f in frames):
            return []
        joined: list[Frame] = []
        for frame, source in zip(frames, owners, strict=True):
            if frame.whole:
                continue
            known = self._open.get(frame.device_id)
            if known is None:
                if len(self._open) >= DEVICES_MOST:
                    del self._open[next(iter(self._open))]
                self._open[frame.device_id] = _Open(source, [frame.raw])
                continue
            known.packets.append(frame.raw)
            del known.packets[:-PACKETS_MOST]
            if known.source is not source:
                known.source = None
                whole = _read(line, known.packets)
                if whole:
                    joined += whole
                    del self._open[frame.device_id]
        return joined


def _read(line: Line, packets: Sequence[bytes]) -> list[Frame]:
    codec = line.make_codec()
    items = [item for packet in packets for item in codec.feed(packet)]
    return [i for i in items if not isinstance(i, Deviation) and i.whole and i.readings]
