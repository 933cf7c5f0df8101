"""Messages split over several packets (PNUM, PNO): joined before their data area is read.

The standards do not say whether a packet may end inside an item, and loggers do both; a value cut in two would be
read wrong from either half. So nothing of a split message is read before all its packets are there.
"""

from __future__ import annotations

import re

from dianhuan_devices.hj212._area import AreaReader
from dianhuan_devices.hj212._frame import Hj212Frame
from dianhuan_sdk import Deviation

MOST_MESSAGES = 16
MOST_BYTES = 1 << 16

_ITEM_START = re.compile(r"(?:[A-Za-z]\w*-[A-Za-z]+|DataTime)=")


class Packets:
    """Packets of one connection that wait for the rest of their messages; bounded."""

    __slots__ = ("_bytes", "_open", "_reader")

    def __init__(self, reader: AreaReader) -> None:
        self._reader = reader
        self._open: dict[tuple[str, str, str], dict[int, Hj212Frame]] = {}
        self._bytes = 0

    @property
    def open(self) -> int:
        """Messages that are not whole."""
        return len(self._open)

    def add(self, frame: Hj212Frame) -> list[Hj212Frame]:
        """Take a packet. The frame that completes a message gets all its readings.

        Returns:
            frames of other messages that had to be given up to make room, with what could be read of them.
        """
        header = frame.header
        frame.whole = False
        key = (header.mn, header.qn, header.cn)
        packets = self._open.setdefault(key, {})
        earlier = packets.pop(header.pno, None)
        packets[header.pno] = frame
        self._bytes += len(frame.area) - (len(earlier.area) if earlier is not None else 0)
        if len(packets) == header.pnum and max(packets) == header.pnum:
            self._forget(key)
            self._read(frame, _join([packets[n].area for n in sorted(packets)]))
            return []
        given_up = []
        while len(self._open) > MOST_MESSAGES or self._bytes > MOST_BYTES:
            given_up.append(self._give_up(next(iter(self._open))))
        return given_up

    def drain(self) -> list[Hj212Frame]:
        """Give up everything that waits."""
        return [self._give_up(key) for key in list(self._open)]

    def _forget(self, key: tuple[str, str, str]) -> dict[int, Hj212Frame]:
        packets = self._open.pop(key)
        self._bytes -= sum(len(f.area) for f in packets.values())
        return packets

    def _read(self, frame: Hj212Frame, text: str) -> None:
        frame.content, notes = self._reader.read_text(text)
        frame.deviations += notes
        frame.whole = True

    def _give_up(self, key: tuple[str, str, str]) -> Hj212Frame:
        packets = self._forget(key)
        numbers = sorted(packets)
        frame = packets[numbers[-1]]
        pieces: list[str] = []
        run: list[int] = []
        for number in numbers:
            run.append(number)
            if number + 1 not in packets:
                text = _join([packets[n].area for n in run])
                pieces.append(_sure(text, start=run[0] == 1, end=number == frame.header.pnum))
                run = []
        frame.deviations += (
            Deviation("packets_missing", f"{len(numbers)} of {frame.header.pnum} packets of QN={frame.header.qn}"),
        )
        self._read(frame, ";".join(p for p in pieces if p))
        return frame


def _join(areas: list[str]) -> str:
    text = ""
    for area in areas:
        last = re.split(r"[;,]", text)[-1]
        if text and "=" in last and _ITEM_START.match(area):
            text += ";"  # cut between items, the separator left out
        text += area
    return text


def _sure(text: str, *, start: bool, end: bool) -> str:
    """What is certainly whole of a run of packets: the item at an open edge may have been cut."""
    if not start and not _ITEM_START.match(text):
        text = text[len(re.split(r"[;,]", text)[0]) + 1 :]
    if not end and text and text[-1] not in ";,":
        text = text[: len(text) - len(re.split(r"[;,]", text)[-1])]
    return text.strip(";,")
