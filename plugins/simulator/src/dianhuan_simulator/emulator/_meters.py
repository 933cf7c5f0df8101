"""Meters that are asked: a DL/T 645-2007 line over transparent TCP, and a Modbus TCP line."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from functools import partial
from struct import pack, unpack
from typing import Any

from dianhuan_simulator.emulator._devices import DeviceSpec
from dianhuan_simulator.emulator._feed import Feed, SimClock
from dianhuan_simulator.emulator._station import Tally

# DI: (bytes, decimals, signed) of DL/T 645-2007, Annex A.
_ITEMS = {"00010000": (4, 2, False), "02030000": (3, 4, True), "02020100": (3, 3, True)}
_READ, _NO_DATA = 0x11, 0x02
_LONGEST = 512


def bcd(value: float, size: int, decimals: int, signed: bool) -> bytes:
    """BCD, low byte first, top bit of the highest byte = sign; a number too large shows its last digits."""
    whole = round(abs(value) * 10**decimals) % 10 ** (2 * size)
    data = bytearray.fromhex(f"{whole:0{2 * size}d}")
    if signed:
        data[0] = data[0] & 0x7F | (0x80 if value < 0 else 0)
    return bytes(reversed(data))


def telegram(address: str, control: int, data: bytes) -> bytes:
    """`FE… 68 A0…A5 68 C L DATA CS 16`, DATA + 0x33."""
    body = b"\x68" + bytes.fromhex(address)[::-1] + b"\x68" + bytes((control, len(data)))
    body += bytes((b + 0x33) & 0xFF for b in data)
    return b"\xfe" * 4 + body + bytes((sum(body) & 0xFF, 0x16))


class Dlt645Line:
    """A server behind which many meters hang on one line, each answering to its own address.

    A meter keeps silent where it was not asked rightly, and where its samples are missing.
    """

    def __init__(self, specs: Sequence[DeviceSpec], feed: Feed, clock: SimClock, tally: Tally) -> None:
        self._meters = {spec.address: spec for spec in specs}
        self._feed, self._clock, self._tally = feed, clock, tally
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, host: str, port: int) -> asyncio.Server:
        """Start to listen."""
        return await asyncio.start_server(self._talk, host, port)

    def hang_up(self) -> None:
        """Close the connections that are open."""
        for writer in list(self._writers):
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tally.connects += 1
        self._writers.add(writer)
        kept = b""
        try:
            with contextlib.suppress(ConnectionError, OSError):
                while data := await reader.read(4096):
                    kept += data
                    answers, kept = self._answers(kept)
                    for answer in answers:
                        writer.write(answer)
                        self._tally.frames += 1
                    await writer.drain()
        finally:
            self._writers.discard(writer)
            writer.close()

    def _answers(self, kept: bytes) -> tuple[list[bytes], bytes]:
        """Answers to the requests in a piece of the stream, and what is kept of an unfinished one."""
        answers: list[bytes] = []
        while (start := kept.find(b"\x68")) >= 0:
            kept = kept[start:]
            if len(kept) < 10:
                return answers, kept
            end = 12 + kept[9]
            if kept[7] != 0x68:
                kept = kept[1:]
                continue
            if len(kept) < end:
                return answers, kept[:_LONGEST]
            raw = kept[:end]
            if raw[-1] != 0x16 or sum(raw[:-2]) & 0xFF != raw[-2]:
                kept = kept[1:]
                continue
            kept = kept[end:]
            answer = self._answer(raw)
            if answer is not None:
                answers.append(answer)
        return answers, b""

    def _answer(self, raw: bytes) -> bytes | None:
        address = raw[1:7][::-1].hex()
        spec = self._meters.get(address)
        data = bytes((b - 0x33) & 0xFF for b in raw[10:-2])
        if spec is None or raw[8] != _READ or len(data) < 4:
            return None
        self._tally.polls += 1
        code = data[:4][::-1].hex().upper()
        channel = next((c for c in spec.channels if c.code == code), None)
        if channel is None:
            return telegram(address, 0xD1, bytes((_NO_DATA,)))
        minute = min(max(int(self._clock.minutes()) - 1, self._feed.first), self._feed.last - 1)
        value = self._feed.value(channel, minute)
        if value is None:
            return None
        self._tally.sent += 1
        return telegram(address, 0x91, data[:4] + bcd(value, *_ITEMS[code]))


# Eastron SDM630, input registers: address and the factor from the channel's unit to the register's.
_REGISTERS = {"p": (0x0034, 1000.0), "ep": (0x0048, 1.0), "ia": (0x0006, 1.0)}
_VOLTAGES = (0x0000, 0x0002, 0x0004)
_CELLS = 0x0060


class ModbusLine:
    """A pymodbus server with one unit a meter; registers are filled when they are asked for.

    A meter without a sample answers with exception 04 (device failure).
    """

    def __init__(self, specs: Sequence[DeviceSpec], feed: Feed, clock: SimClock, tally: Tally) -> None:
        self._specs = {int(spec.address): spec for spec in specs}
        self._feed, self._clock, self._tally = feed, clock, tally
        self._server: Any = None

    async def serve(self, host: str, port: int) -> None:
        """Start to listen."""
        from pymodbus.server import ModbusTcpServer
        from pymodbus.simulator import DataType, SimData, SimDevice

        units = [
            SimDevice(
                id=unit,
                simdata=[SimData(0, count=_CELLS, values=0, datatype=DataType.REGISTERS)],
                action=partial(self._fill, unit),
            )
            for unit in self._specs
        ]
        self._server = ModbusTcpServer(units, address=(host, port))
        await self._server.serve_forever(background=True)

    async def close(self) -> None:
        """Stop to listen."""
        if self._server is not None:
            await self._server.shutdown()

    async def _fill(
        self, unit: int, function: int, start: int, address: int, count: int, registers: list[int], written: object
    ) -> Any:
        from pymodbus.constants import ExcCodes

        self._tally.polls += 1
        minute = min(max(int(self._clock.minutes()) - 1, self._feed.first), self._feed.last - 1)
        read = self._feed.sample(self._specs[unit], minute)
        if not read:
            return ExcCodes.DEVICE_FAILURE
        values = [(at, 220.0) for at in _VOLTAGES]
        for channel, value in read:
            at, factor = _REGISTERS[channel.code]
            values.append((at, value * factor))
        for at, value in values:
            registers[at - start : at - start + 2] = unpack(">HH", pack(">f", value))
        self._tally.sent += 1
        return None
