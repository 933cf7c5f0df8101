"""Cuts HJ 212 frames out of a byte stream by their declared length.

`##`, four decimal digits (length of the data segment), data segment, four hexadecimal digits, CR LF. An encrypted
data area may hold CR LF, `##` or `&&` (HJ 212-2025, 6.4), so nothing is searched for inside a frame whose declared
end is right. Only when the declared length does not lead to `&&`, four hexadecimal digits and the end of the line
is the next such end looked for, inside a bounded window.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from dianhuan_devices.hj212._crc import crc16
from dianhuan_sdk import Deviation

LONGEST = 4096
"""Longest data segment accepted. The 2017 edition allows 1,024 characters; Chinese text and long vendor frames take
more bytes, and the four digits could say 9,999."""

WINDOW = 8192
"""Bytes in which the end of a frame with a wrong length is looked for; also the most that is ever kept."""

_TAIL = re.compile(rb"&&([0-9A-Fa-f]{4})\r\n")
_LOOSE_TAIL = re.compile(rb"(?s:&&([0-9A-Fa-f]{4})(?:\r?\n)?|..([0-9A-Fa-f]{4})\r\n)")
_END = re.compile(rb"&&([0-9A-Fa-f]{4})\r?\n")
_END_OF_INPUT = re.compile(rb"&&([0-9A-Fa-f]{4})\r?\n?\Z")
_START = re.compile(rb"##[0-9]{4}")
_GARBAGE_STEP = 1 << 16


class Cut(NamedTuple):
    """A frame as cut from the stream: its bytes, data segment, CRC digits, declared length, place, irregularities."""

    raw: bytes
    segment: bytes
    crc: bytes
    declared: int
    offset: int
    deviations: tuple[Deviation, ...]


class Cutter:
    """Framing state of one connection."""

    __slots__ = ("_base", "_kept", "_sample", "_skipped", "_skipped_from")

    def __init__(self, base: int = 0) -> None:
        self._kept = b""
        self._base = base  # offset of _kept in the stream
        self._skipped = 0
        self._skipped_from = 0
        self._sample = b""

    @property
    def kept(self) -> int:
        """Bytes that wait for more, at most `WINDOW`."""
        return len(self._kept)

    def feed(self, data: bytes) -> list[Cut | Deviation]:
        """Frames that are complete with these bytes, and what stood between them."""
        return self._cut(self._kept + data if self._kept else bytes(data), final=False, idle=False)

    def settle(self, *, end: bool) -> list[Cut | Deviation]:
        """Decide about the kept bytes: a frame whose length is wrong but whose CRC is right is taken; at the end
        of the stream everything else is reported as garbage."""
        found = self._cut(self._kept, final=end, idle=True)
        if end:
            self._report(found)
        return found

    def _cut(self, data: bytes, *, final: bool, idle: bool) -> list[Cut | Deviation]:
        found: list[Cut | Deviation] = []
        at, size = 0, len(data)
        while at < size:
            if not data.startswith(b"##", at):
                at = self._skip(data, at, at, found, final)
                if data.startswith(b"##", at):
                    continue
                break
            digits = data[at + 2 : at + 6]
            if len(digits) < 4 and not final and (digits.isdigit() or not digits):
                break
            declared = int(digits) if len(digits) == 4 and digits.isdigit() else LONGEST + 1
            if declared > LONGEST:
                at = self._skip(data, at, at + 1, found, final)
                continue
            end = at + 6 + declared
            if size >= end + 6:
                tail = _TAIL.match(data, end - 2)
                if tail is not None:
                    if self._skipped:
                        self._report(found)
                    found.append(
                        tuple.__new__(
                            Cut, (data[at : end + 6], data[at + 6 : end], tail[1], declared, self._base + at, ())
                        )
                    )
                    at = end + 6
                    continue
            elif not idle:
                break
            step = self._resynchronise(data, at, declared, found, final)
            if step == at:
                break
            at = step
        self._kept = data[at:]
        self._base += at
        return found

    def _resynchronise(self, data: bytes, at: int, declared: int, found: list[Cut | Deviation], final: bool) -> int:
        """The declared length leads nowhere, or the stream has paused before it: returns the place to go on at, or
        `at` to wait for more."""
        end, size = at + 6 + declared, len(data)
        reached = size >= end + 6
        if reached or final:
            tail = _LOOSE_TAIL.match(data, end - 2) if size >= end + 4 else None
            if tail is not None:
                group = 1 if tail[1] is not None else 2
                code, words = ("line_end_missing", "no CR LF after the CRC")
                if group == 2:
                    code, words = ("area_not_closed", "no && before the CRC")
                return self._take(data, at, end, tail[group], tail.end(), declared, (Deviation(code, words),), found)
        stop = _END.search(data, at + 6, at + WINDOW)
        if stop is None and final:
            stop = _END_OF_INPUT.search(data, at + 6, at + WINDOW)
        if stop is None:
            if final and not reached:
                self._report(found)
                found.append(Deviation("cut_off", f"the last {size - at} bytes, from offset {self._base + at}"))
                return size
            if final or size - at >= WINDOW:
                return self._skip(data, at, at + 2, found, final)
            return at
        inner = _last_start(data, at + 2, stop.start())
        start = max(at, inner)
        if not (reached or final) and crc16(data[start + 6 : stop.start() + 2]) != int(stop[1], 16):
            return at  # a pause inside a frame: what looks like its end may be cipher text
        if inner > at:
            return self._skip(data, at, inner, found, final)
        return self._take(data, at, stop.start() + 2, stop[1], stop.end(), declared, (), found)

    def _take(
        self,
        data: bytes,
        at: int,
        end: int,
        crc: bytes,
        stop: int,
        declared: int,
        deviations: tuple[Deviation, ...],
        found: list[Cut | Deviation],
    ) -> int:
        if self._skipped:
            self._report(found)
        found.append(Cut(data[at:stop], data[at + 6 : end], crc, declared, self._base + at, deviations))
        return stop

    def _skip(self, data: bytes, at: int, search: int, found: list[Cut | Deviation], final: bool) -> int:
        """Pass over bytes that are no frame, up to the next `##` from `search` on."""
        place = data.find(b"##", search)
        if place < 0:
            place = len(data)
            if not final and data.endswith(b"#"):
                place -= 1
        lost = data[at:place].strip(b"\r\n")
        if lost:
            if not self._skipped:
                self._skipped_from = self._base + at
                self._sample = lost[:24]
            self._skipped += len(lost)
            if self._skipped >= _GARBAGE_STEP:
                self._report(found)
        return place

    def _report(self, found: list[Cut | Deviation]) -> None:
        if self._skipped:
            found.append(
                Deviation(
                    "garbage",
                    f"{self._skipped} bytes at offset {self._skipped_from} are no frame: {self._sample!r}",
                )
            )
            self._skipped = 0


def cut_again(cut: Cut) -> list[Cut]:
    """A frame whose content is wrong may have swallowed others: a wrong length that happens to lead to the end of a
    later frame. Returns the frames in it, the first with its real end, if one of them is right; else nothing."""
    end = _END.search(cut.raw, 6, len(cut.raw) - 6)
    if end is None or not cut.raw.startswith(b"##", end.end()):
        return []
    cutter = Cutter(cut.offset + end.end())
    inner = [c for c in (*cutter.feed(cut.raw[end.end() :]), *cutter.settle(end=True)) if isinstance(c, Cut)]
    if not any(len(c.segment) == c.declared and crc16(c.segment) == int(c.crc, 16) for c in inner):
        return []
    segment = cut.raw[6 : end.start() + 2]
    return [cut._replace(raw=cut.raw[: end.end()], segment=segment, crc=end[1], deviations=()), *inner]


def _last_start(data: bytes, low: int, high: int) -> int:
    place = high
    while (place := data.rfind(b"##", low, place)) >= 0:
        if _START.match(data, place):
            return place
        place += 1
    return -1
