"""Frames of DL/T 645-2007 (and 1997): cutting, writing, meaning.

`68 A0…A5 68 C L DATA CS 16`, after up to four `FE`. Address BCD, low byte first; DATA bytes travel with 0x33 added;
CS is the sum of all bytes from the first 68, modulo 256.
"""

from __future__ import annotations

from typing import Any

from dianhuan_devices.dlt645._items import from_bcd, items
from dianhuan_sdk import Deviation, InputError, Reading

READ, READ_MORE, READ_1997, SET_CLOCK = 0x11, 0x12, 0x01, 0x08
ANSWER, FOLLOWS, REFUSED = 0x80, 0x20, 0x40
ANY = "AAAAAAAAAAAA"
ALL = "999999999999"
_SHIFT = bytes((b + 0x33) & 0xFF for b in range(256))
_BACK = bytes((b - 0x33) & 0xFF for b in range(256))
_ERRORS = ("其他错误", "无请求数据", "密码错或未授权", "通信速率不能更改", "年时区数超", "日时段数超", "费率数超")
LONGEST = 12 + 255


class Dlt645Frame:
    """One frame.

    Args:
        raw: bytes from the first 68 to the 16.
        device_id: who sent it or is asked.
        address: twelve digits, high digit first.
        control: control code C.
        data: data field without the 0x33.
    """

    __slots__ = ("address", "control", "data", "deviations", "device_id", "raw", "readings", "text", "valid", "whole")

    def __init__(self, raw: bytes, device_id: str, address: str, control: int, data: bytes, valid: bool) -> None:
        self.raw = raw
        self.device_id = device_id
        self.address = address
        self.control = control
        self.data = data
        self.valid = valid
        self.whole = True
        self.deviations: tuple[Deviation, ...] = ()
        self.readings: tuple[Reading, ...] = ()
        self.text = ""
        if not valid:
            self.deviations = (
                Deviation("checksum_wrong", f"CS is {raw[-2]:02X}, computed {sum(raw[:-2]) & 0xFF:02X}"),
            )
        self._interpret()

    @property
    def at(self) -> None:
        """None: answers hold no time."""
        return None

    @property
    def kind(self) -> str:
        """Control code in hexadecimal and, where there is one, the DI: `91/02030000`."""
        return f"{self.control:02X}" + (f"/{self.di}" if self.di else "")

    @property
    def di(self) -> str:
        """Data identifier, high byte first; empty where the frame holds none."""
        if self.control & REFUSED:
            return ""
        width = {READ: 4, READ_MORE: 4, READ_1997: 2}.get(self.control & 0x1F, 0)
        return self.data[:width][::-1].hex().upper() if len(self.data) >= width else ""

    def _interpret(self) -> None:
        if not self.control & ANSWER:
            return
        if self.control & REFUSED:
            code = self.data[0] if self.data else 0
            words = ", ".join(e for n, e in enumerate(_ERRORS) if code >> n & 1) or "?"
            self.deviations += (Deviation("refused", f"the meter answers an error: {code:02X} {words}"),)
            return
        di = self.di
        if not di:
            return
        item = items().get(di)
        value = self.data[len(di) // 2 :]
        if item is None:
            self.deviations += (Deviation("di_unknown", f"DI {di} with {len(value)} bytes"),)
            return
        if self.control & FOLLOWS:
            self.deviations += (Deviation("more_follows", f"DI {di} goes on in further frames"),)
        if len(value) < item.size:
            self.deviations += (Deviation("data_short", f"DI {di}: {len(value)} bytes, expected {item.size}"),)
        if item.decimals < 0:
            self.text = value[: item.size][::-1].hex()
            return
        parts = item.parts or (di,)
        step = item.size // len(parts)
        readings = []
        for number, part in enumerate(parts):
            piece = value[number * step : (number + 1) * step]
            if len(piece) < step:
                break
            found = from_bcd(piece, item.decimals, item.signed)
            if found is None:
                self.deviations += (Deviation("value_missing", f"DI {part}: {piece[::-1].hex().upper()} is no BCD"),)
                continue
            readings.append(Reading(part, "rtd", "moment", None, found, None, item.unit, ""))
        self.readings = tuple(readings)


def address_bytes(address: str) -> bytes:
    """Six bytes, low first, of an address of up to twelve digits (`AA…` = any meter).

    Raises:
        InputError: not of that form.
    """
    digits = address.upper().rjust(12, "0")
    if len(digits) != 12 or not (digits.isdigit() or digits == ANY):
        raise InputError(f"meter address {address!r}", expected="up to 12 digits", hint="correct the device's address")
    return bytes.fromhex(digits)[::-1]


def build(address: str, control: int, data: bytes, preamble: int = 4) -> bytes:
    """A frame ready to send."""
    body = b"\x68" + address_bytes(address) + b"\x68" + bytes((control, len(data))) + data.translate(_SHIFT)
    return b"\xfe" * preamble + body + bytes((sum(body) & 0xFF, 0x16))


def read_request(address: str, di: str) -> bytes:
    """Read a DI: control 11 for eight digits (2007), 01 for four (1997)."""
    return build(address, READ if len(di) == 8 else READ_1997, bytes.fromhex(di)[::-1])


class Cutter645:
    """Cuts frames out of a byte stream; keeps at most one frame's bytes."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept = b""

    @property
    def kept(self) -> int:
        """Bytes that wait for more, at most `LONGEST`."""
        return len(self._kept)

    def feed(self, data: bytes, *, end: bool = False) -> tuple[list[tuple[bytes, bool]], int]:
        """Frames as (bytes, check sum right), and the number of bytes that were none.

        A frame with a wrong check sum is reported only if it ends in 16; anything else is passed over from its
        second byte on.
        """
        data = self._kept + data
        frames: list[tuple[bytes, bool]] = []
        at, lost, size = 0, 0, len(data)
        while at < size:
            start = data.find(b"\x68", at)
            if start < 0:
                lost += len(data[at:].replace(b"\xfe", b""))
                at = size
                break
            lost += len(data[at:start].replace(b"\xfe", b""))
            at = start
            if size > at + 7 and data[at + 7] != 0x68:
                at, lost = at + 1, lost + 1
                continue
            stop = at + 12 + data[at + 9] if size > at + 9 else at + LONGEST
            if size < stop:
                if not end:
                    break
                at, lost = at + 1, lost + 1
                continue
            raw = data[at:stop]
            if raw[-1] != 0x16:
                at, lost = at + 1, lost + 1
                continue
            frames.append((raw, sum(raw[:-2]) & 0xFF == raw[-2]))
            at = stop
        self._kept = data[at:]
        return frames, lost


def parse(raw: bytes, valid: bool, device_id: str = "") -> Dlt645Frame:
    """A frame of cut bytes."""
    address = raw[1:7][::-1].hex().upper()
    return Dlt645Frame(raw, device_id or address, address, raw[8], raw[10:-2].translate(_BACK), valid)


def frame_object(frame: Dlt645Frame) -> dict[str, Any]:
    """A frame for JSON."""
    return {
        "protocol": "dlt645",
        "valid": frame.valid,
        "crc_expected": f"{sum(frame.raw[:-2]) & 0xFF:02X}",
        "address": frame.address,
        "control": f"{frame.control:02X}",
        "di": frame.di,
        "data": frame.data.hex().upper(),
        "text": frame.text,
        "deviations": [{"code": d.code, "detail": d.detail} for d in frame.deviations],
        "readings": [
            {"code": r.code, "name": items()[r.code].zh, "value": r.value, "unit": r.unit} for r in frame.readings
        ],
    }


def frame_words(frame: Dlt645Frame) -> list[str]:
    """A frame in lines for people."""
    item = items().get(frame.di)
    name = f"{item.zh} / {item.en}" if item else ""
    lines = [f"{'✓' if frame.valid else '✗'} {frame.address}  C={frame.control:02X}  DI={frame.di or '-'}  {name}"]
    lines += [f"    {items()[r.code].zh}  {r.value:g} {r.unit}".rstrip() for r in frame.readings]
    if frame.text:
        lines.append(f"    {frame.text}")
    lines += [f"  ! {d.code}: {d.detail}" for d in frame.deviations]
    return lines


def read_all(data: bytes) -> tuple[list[Dlt645Frame], list[Deviation]]:
    """All frames of a capture, and what stood between them."""
    frames, lost = Cutter645().feed(data, end=True)
    garbage = [Deviation("garbage", f"{lost} bytes are no frame")] if lost else []
    return [parse(raw, valid) for raw, valid in frames], garbage
