"""Cuts answers out of a byte stream: Modbus TCP (MBAP header) and RTU over TCP (CRC).

pymodbus's framers were tried for this and are not used: they serve one request and one answer, so `FramerRTU`
throws away whatever follows a frame in the buffer and `FramerSocket` stays stuck on a wrong protocol id and looks at
the length of the chunk. The tests speak with a pymodbus server.
"""

from __future__ import annotations

from typing import NamedTuple

LONGEST = 260


class Adu(NamedTuple):
    """One message: transaction (0 for RTU), unit, PDU (function code and data), bytes."""

    transaction: int
    unit: int
    pdu: bytes
    raw: bytes


def crc(data: bytes) -> int:
    """CRC-16 of Modbus, to be sent low byte first."""
    register = 0xFFFF
    for byte in data:
        register = (register >> 8) ^ _TABLE[(register ^ byte) & 0xFF]
    return register


def _shifts(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ 0xA001 if value & 1 else value >> 1
    return value


_TABLE = tuple(_shifts(b) for b in range(256))


def tcp_adu(transaction: int, unit: int, pdu: bytes) -> bytes:
    """A message of Modbus TCP."""
    return transaction.to_bytes(2, "big") + b"\0\0" + (len(pdu) + 1).to_bytes(2, "big") + bytes((unit,)) + pdu


def rtu_adu(unit: int, pdu: bytes) -> bytes:
    """A message of RTU."""
    body = bytes((unit,)) + pdu
    return body + crc(body).to_bytes(2, "little")


class AnswerCutter:
    """Framing state of one connection.

    Args:
        rtu: RTU over TCP instead of Modbus TCP.
    """

    __slots__ = ("_kept", "_rtu")

    def __init__(self, rtu: bool) -> None:
        self._rtu = rtu
        self._kept = b""

    @property
    def kept(self) -> int:
        """Bytes that wait for more, at most `LONGEST`."""
        return len(self._kept)

    def feed(self, data: bytes, *, settle: bool = False, end: bool = False) -> tuple[list[Adu], int]:
        """Answers, and the number of bytes that were none.

        Args:
            settle: the connection is idle: look for whole answers behind one that never came whole.
            end: nothing more comes; nothing is kept.
        """
        data = self._kept + data
        read = self._read_rtu if self._rtu else self._read_tcp
        found: list[Adu] = []
        at, lost = 0, 0
        while at < len(data):
            adu = read(data, at)
            if adu is None and (settle or end):
                later = next((n for n in range(at + 1, len(data)) if isinstance(read(data, n), Adu)), None)
                if later is None and not end:
                    break
                later = len(data) if later is None else later
                lost, at = lost + later - at, later
            elif adu is None:
                break
            elif isinstance(adu, Adu):
                found.append(adu)
                at += len(adu.raw)
            else:
                at, lost = at + 1, lost + 1
        self._kept = data[at:]
        return found, lost

    def _read_tcp(self, data: bytes, at: int) -> Adu | bool | None:
        """An answer at that place, False where there is none, None where bytes are missing to tell."""
        head = data[at : at + 8]
        if head[2:4] != b"\0\0"[: len(head[2:4])]:
            return False
        if len(head) < 8:
            return None
        length = int.from_bytes(head[4:6], "big")
        if not 3 <= length <= LONGEST - 6 or not _plausible(head[7]):
            return False
        stop = at + 6 + length
        if len(data) < stop:
            return None
        return Adu(int.from_bytes(head[:2], "big"), head[6], data[at + 7 : stop], data[at:stop])

    def _read_rtu(self, data: bytes, at: int) -> Adu | bool | None:
        head = data[at : at + 3]
        if len(head) >= 2 and not _plausible(head[1]):
            return False
        if len(head) < 3:
            return None
        size = 5 if head[1] & 0x80 else 5 + head[2]
        if not head[1] & 0x80 and (head[2] % 2 or not 2 <= head[2] <= 250):
            return False
        raw = data[at : at + size]
        if len(raw) < size:
            return None
        if crc(raw[:-2]) != int.from_bytes(raw[-2:], "little"):
            return False
        return Adu(0, raw[0], raw[1:-2], raw)


def _plausible(function: int) -> bool:
    return function & 0x7F in (3, 4)
