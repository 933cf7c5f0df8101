"""What a logger on site sends: data, answers, notices. The emulator and the tests speak through it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from dianhuan_devices.hj212._cipher import Sm4
from dianhuan_devices.hj212._encode import Item, Station, encode
from dianhuan_devices.hj212._header import Header
from dianhuan_devices.hj212._time import digits

_SERIALS = ("i23005-Info", "i23006-Info", "i23007-Info", "i23008-Info")


class Logger:
    """One data logger (数采仪).

    Args:
        station: its header fields. With a key, what HJ 212-2025 wants encrypted is encrypted.
    """

    __slots__ = ("station",)

    def __init__(self, station: Station) -> None:
        self.station = station

    def upload(
        self,
        cn: str,
        at: datetime,
        items: Iterable[Iterable[Item]],
        *,
        data_time: datetime | None = None,
        st: str = "",
        answer: bool = True,
        resent: bool = False,
    ) -> list[bytes]:
        """Data with its DataTime: moment of sampling for 2011 and 2021, start of the interval for the others.

        Args:
            cn: 2011, 2013, 2021, 2031, 2041, 2051, 2061, …
            at: now, for the QN.
            items: items of the data area without DataTime.
            data_time: DataTime, `at` if None.
            st: 44 for electricity, 45 for production conditions, or empty for the station's own.
            answer: ask for a 9014.
            resent: sent again after a gap (RF=1, 2025).
        """
        area: list[Sequence[Item]] = [[("DataTime", digits(data_time or at))], *(list(item) for item in items)]
        return encode(
            self.station,
            cn,
            area,
            at=at,
            st=st,
            answer=answer,
            encrypt=self.station.key is not None,
            resent=resent,
        )

    def electricity(
        self, at: datetime, values: Iterable[tuple[str, float, str]], *, answer: bool = True
    ) -> list[bytes]:
        """2011 of ST 44 (2025): `(code, value, flag)` of each electrical quantity, e.g. `("d20405", 0.24, "N")`."""
        items: list[Sequence[Item]] = [[(f"{c}-Rtd", v), (f"{c}-Flag", f)] for c, v, f in values]
        return self.upload("2011", at, items, st="44", answer=answer)

    def accept(self, request: Header, code: int = 1) -> bytes:
        """9011: QnRtn 1 ready, 2 refused, 3 PW, 4 MN, 5 ST, 6 Flag, 7 QN, 8 CN, 9 CRC, 100 unknown."""
        return self._echo("9011", request, [[("QnRtn", code)]])

    def done(self, request: Header, code: int = 1) -> bytes:
        """9012: ExeRtn 1 ok, 2 failed, 3 conditions, 4 time-out, 5 busy, 6 fault, 100 no data."""
        return self._echo("9012", request, [[("ExeRtn", code)]])

    def noted(self, notice: Header) -> bytes:
        """9013: a notice has arrived."""
        return self._echo("9013", notice, [])

    def ask_time(self, at: datetime) -> bytes:
        """1013: ask the centre for the time."""
        return self._notice("1013", at)

    def heartbeat(self, at: datetime) -> bytes:
        """9015 (2025)."""
        return self._notice("9015", at)

    def started(self, at: datetime, restarted: datetime) -> bytes:
        """2081: when the logger was started."""
        (frame,) = encode(
            self.station,
            "2081",
            [[("DataTime", digits(at))], [("RestartTime", digits(restarted))]],
            at=at,
            answer=True,
            encrypt=self.station.key is not None,
        )
        return frame

    def serials(self, at: datetime, serials: Sequence[str]) -> bytes:
        """1001: logger, CPU and network card serials, for the MN (2025)."""
        items = [[pair] for pair in zip(_SERIALS, serials, strict=False)]
        (frame,) = encode(self.station, "1001", items, at=at, answer=True)
        return frame

    def ask_key(self, at: datetime, present_since: datetime) -> bytes:
        """1014: ask for a new session key (2025)."""
        (frame,) = encode(
            self.station,
            "1014",
            [[("SKCreateTime", digits(present_since))]],
            at=at,
            answer=True,
            encrypt=self.station.key is not None,
        )
        return frame

    def with_key(self, key: Sm4 | None) -> Logger:
        """The same logger with another session key."""
        return Logger(replace(self.station, key=key))

    def _notice(self, cn: str, at: datetime) -> bytes:
        (frame,) = encode(self.station, cn, [], at=at, answer=True)
        return frame

    def _echo(self, cn: str, asked: Header, items: list[list[Item]]) -> bytes:
        if self.station.edition == 2005:
            (frame,) = encode(self.station, cn, [[("QN", asked.qn)], *items], qn=asked.qn, st="91")
        else:
            (frame,) = encode(self.station, cn, items, qn=asked.qn, st="91")
        return frame
