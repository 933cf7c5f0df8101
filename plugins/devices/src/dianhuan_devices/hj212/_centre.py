"""What a centre sends: answers, commands, history queries, session keys."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from dianhuan_devices.hj212._codes import commands
from dianhuan_devices.hj212._crc import TABLE, tail, walk_high
from dianhuan_devices.hj212._encode import Item, Station, encode, encode_segment
from dianhuan_devices.hj212._header import Header
from dianhuan_devices.hj212._time import digits
from dianhuan_sdk import InputError

# What may be echoed: nothing that could end or start a frame.
_ECHO = re.compile(r"\d{17} \w{1,32} [^;&#\s]{1,16}")

RTD_INTERVAL = (30, 3600)
"""Least and greatest real-time interval in seconds (1062)."""

MINUTE_INTERVALS = (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)
"""Minute-data intervals in minutes (1064)."""


def answer_to(header: Header) -> bytes | None:
    """The answer to an upload or a notice, echoing its QN: 9014 for data, 9013 for notices and heartbeats.

    None where the Flag asks for none or the frame is itself an answer. In the 2005 edition the QN stands in the
    data area.
    """
    if header.flag < 0 or not header.flag & 1 or not _ECHO.fullmatch(f"{header.qn} {header.mn} {header.pw}"):
        return None
    command = commands().get(header.cn)
    group = command.group if command is not None else ("data" if header.cn.startswith("2") else "notice")
    if group == "answer" or header.cn == "1014":
        return None
    cn = "9013" if group == "notice" else "9014"
    fields = [("ST", "91"), ("CN", cn), ("PW", header.pw), ("MN", header.mn), ("Flag", str(header.flag & 0xFC))]
    if header.flag >> 2 == 0:
        return encode_segment(fields, f"QN={header.qn}".encode("ascii"))
    return encode_segment([("QN", header.qn), *fields], b"")


class Answers:
    """Answers of one codec as `answer_to` makes them, at a third of its cost: a station's answers differ in QN only."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str, int], tuple[bytes, bytes, bytes, int] | None] = {}

    def to(self, header: Header) -> bytes | None:
        """The answer, or None."""
        qn, _, cn, pw, mn, flag = header[:6]
        if len(qn) != 17 or not (qn.isascii() and qn.isdigit()) or flag >> 2 == 0:
            return answer_to(header)
        key = (cn, pw, mn, flag)
        try:
            form = self._known[key]
        except KeyError:
            if len(self._known) >= _FORMS:
                self._known.clear()
            form = self._known[key] = _form(answer_to(header))
        if form is None:
            return None
        head, rest, table, constant = form
        digits = qn.encode("ascii")
        crc = TABLE[table[walk_high(_AFTER_QN, digits)] ^ constant]
        return b"%b%b%b%04X\r\n" % (head, digits, rest, crc)


_FORMS = 65_536
_AFTER_QN = walk_high(0xFF, b"QN=")


def _form(answer: bytes | None) -> tuple[bytes, bytes, bytes, int] | None:
    if answer is None:
        return None
    head, rest = answer[:9], answer[26:-6]  # ##nnnnQN=, seventeen digits, the rest before the CRC
    return head, rest, *tail(rest)


class Centre:
    """Commands to one station.

    Args:
        station: its header fields; its edition sets the Flag.
    """

    __slots__ = ("station",)

    def __init__(self, station: Station) -> None:
        self.station = station

    def command(self, cn: str, at: datetime, items: Mapping[str, str | float | int], *, encrypt: bool = False) -> bytes:
        """Any command with single-class items; the Flag asks for an answer."""
        parts: Sequence[Sequence[Item]] = [[pair] for pair in items.items()]
        (frame,) = encode(self.station, cn, parts, at=at, answer=True, encrypt=encrypt and self.station.key is not None)
        return frame

    def set_timeout(self, at: datetime, seconds: int, resends: int) -> bytes:
        """1000: time-out and number of re-sends."""
        return self.command("1000", at, {"OverTime": seconds, "ReCount": resends})

    def assign_mn(self, at: datetime, mn: str) -> bytes:
        """1002: assign the MN (2025)."""
        return self.command("1002", at, {"MN": mn})

    def get_time(self, at: datetime) -> bytes:
        """1011: ask for the logger's clock."""
        return self.command("1011", at, {})

    def set_time(self, at: datetime) -> bytes:
        """1012: set the logger's clock to `at`."""
        return self.command("1012", at, {"SystemTime": digits(at)})

    def get_interval(self, at: datetime, *, minutes: bool = False) -> bytes:
        """1061 or 1063: ask for the real-time or minute-data interval."""
        return self.command("1063" if minutes else "1061", at, {})

    def set_interval(self, at: datetime, seconds: int) -> bytes:
        """1062: real-time interval, 30 … 3600 s.

        Raises:
            InputError: outside of that range.
        """
        low, high = RTD_INTERVAL
        if not low <= seconds <= high:
            raise InputError(f"a real-time interval of {seconds} s", expected=f"{low} … {high} s")
        return self.command("1062", at, {"RtdInterval": seconds})

    def set_minutes(self, at: datetime, minutes: int) -> bytes:
        """1064: interval of minute data.

        Raises:
            InputError: not one of `MINUTE_INTERVALS`.
        """
        if minutes not in MINUTE_INTERVALS:
            raise InputError(f"minute data every {minutes} min", expected=", ".join(map(str, MINUTE_INTERVALS)))
        return self.command("1064", at, {"MinInterval": minutes})

    def set_password(self, at: datetime, password: str) -> bytes:
        """1072: set the access password (six characters)."""
        if len(password) != 6:
            raise InputError(f"a password of {len(password)} characters", expected="6 characters")
        return self.command("1072", at, {"NewPW": password})

    def fetch(self, cn: str, at: datetime, begin: datetime | None = None, end: datetime | None = None) -> bytes:
        """2011, 2021, 2031, 2041, 2051, 2061: start the stream, or with `begin` and `end` query its history."""
        if begin is None or end is None:
            return self.command(cn, at, {})
        return self.command(cn, at, {"BeginTime": digits(begin), "EndTime": digits(end)})

    def stop(self, cn: str, at: datetime) -> bytes:
        """2012 (real-time data) or 2022 (state of equipment): stop the stream."""
        return self.command(cn, at, {})

    def new_key(self, at: datetime, key_hex: str) -> bytes:
        """1014: hand over a session key, encrypted with the present one (2025).

        Raises:
            InputError: the station has no present key: a key never travels in plain text.
        """
        if self.station.key is None:
            raise InputError(
                "a session key for a station without a present key",
                expected="a key registered for the station",
                hint="register the initial key first",
            )
        return self.command("1014", at, {"SKCreateTime": digits(at), "NewSK": key_hex}, encrypt=True)
