"""Modbus: a real pymodbus server on loopback, and the framing by itself."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dianhuan_devices.modbus import MeterMap, ModbusCodec, ModbusConfig, ModbusFrame, crc, meters, rtu_adu, tcp_adu
from dianhuan_sdk import ConfigError, Deviation, Device, Due
from dianhuan_standards import TABLES

pymodbus = pytest.importorskip("pymodbus")

AT = datetime(2026, 3, 1, 1, 2, 3, tzinfo=UTC)
METER = Device("plant-1/m1", "7", profile="chint-dtsu666")
VALUES = {
    "ua": 220.3,
    "ub": 221.4,
    "uc": 219.8,
    "ia": 12.345,
    "ib": 0.0,
    "ic": 3.21,
    "p": -7.25,
    "pa": 2.5,
    "pb": 0.125,
    "pc": 4.0,
    "pf": 0.987,
    "f": 49.98,
    "ep": 123456.8,
}


def make(framing: str, **more: Any) -> ModbusCodec:
    return ModbusCodec(ModbusConfig.model_validate({"framing": framing, **more}))


@asynccontextmanager
async def server(framing: str, meter: MeterMap, values: dict[str, float]) -> AsyncIterator[int]:
    """A pymodbus server with the registers of a meter; yields its port."""
    from pymodbus.framer import FramerType
    from pymodbus.server import ModbusTcpServer
    from pymodbus.simulator import DataType, SimData, SimDevice

    cells = [
        SimData(r.address, values=float(values[r.code] / r.scale), datatype=DataType.FLOAT32) for r in meter.registers
    ]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = ModbusTcpServer(
        SimDevice(id=7, simdata=cells),
        framer=FramerType.SOCKET if framing == "tcp" else FramerType.RTU,
        address=("127.0.0.1", port),
    )
    await running.serve_forever(background=True)
    try:
        yield port
    finally:
        await running.shutdown()


async def poll(codec: ModbusCodec, device: Device, port: int) -> list[ModbusFrame]:
    """What a host does: one request after the other, each answered before the next."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    frames: list[ModbusFrame] = []
    for request in codec.plan(device, Due("poll", AT)):
        writer.write(request.data)
        codec.sent(request)
        found: list[Any] = []
        while not found:
            found = codec.feed(await asyncio.wait_for(reader.read(1), 5))
        frames += found
    writer.close()
    await writer.wait_closed()
    return frames


@pytest.mark.parametrize("framing", ["tcp", "rtu"])
@pytest.mark.parametrize("name", sorted(meters()))
async def test_meters_are_polled_from_a_real_server(framing: str, name: str) -> None:
    meter = meters()[name]
    device = Device("plant-1/m1", "7", profile=name)
    codec = make(framing)
    async with server(framing, meter, VALUES) as port:
        frames = await poll(codec, device, port)
    readings = {r.code: r for f in frames for r in f.readings}
    assert set(readings) == {r.code for r in meter.registers}
    for code, reading in readings.items():
        assert reading.value == pytest.approx(VALUES[code], rel=2e-6)
    assert all(f.valid and not f.deviations and f.device_id == "plant-1/m1" for f in frames)
    batch = codec.to_batch(frames, received_at=AT)
    assert TABLES["reading"].check(batch.rows) == []
    assert batch.rows.num_rows == len(meter.registers)
    channels = codec.channels(frames).rows
    assert TABLES["channel"].check(channels) == []
    assert channels.num_rows == len(meter.registers)


async def test_exceptions_of_a_real_server_are_deviations() -> None:
    own = meters()["chint-dtsu666"].model_dump()
    own["registers"] = [{**own["registers"][0], "address": 5}]
    codec = make("tcp", maps={"odd": own})
    async with server("tcp", meters()["chint-dtsu666"], VALUES) as port:
        (frame,) = await poll(codec, Device("d", "7", profile="odd"), port)
    assert frame.valid
    assert frame.readings == ()
    assert [d.code for d in frame.deviations] == ["exception"]
    assert "illegal data address" in frame.deviations[0].detail


def test_crc_of_the_specification() -> None:
    assert crc(bytes.fromhex("0207")) == 0x1241  # the example of Modbus over serial line, 6.2.2


def answers(codec: ModbusCodec, framing: str) -> list[bytes]:
    """Well-formed answers to a poll, with zeros in all registers."""
    frames = []
    for request in codec.plan(METER, Due("poll", AT)):
        body = request.data[6:] if framing == "tcp" else request.data[:-2]
        count = int.from_bytes(body[4:6], "big")
        pdu = bytes((body[1], 2 * count)) + bytes(2 * count)
        if framing == "tcp":
            frames.append(tcp_adu(int.from_bytes(request.data[:2], "big"), body[0], pdu))
        else:
            frames.append(rtu_adu(body[0], pdu))
    return frames


@given(st.lists(st.integers(0, 200), max_size=12), st.binary(max_size=12))
@settings(deadline=None)
def test_any_chunking_gives_the_same_frames(cuts: list[int], garbage: bytes) -> None:
    streams = []
    for chunked in (False, True):
        codec = make("tcp")
        data = b"".join(answers(codec, "tcp")[:2]) + b"\xff\xff\xff\xff" + garbage + b"".join(answers(codec, "tcp")[2:])
        edges = [0, *sorted(min(c, len(data)) for c in cuts), len(data)] if chunked else [0, len(data)]
        found = [item for low, high in pairwise(edges) for item in codec.feed(data[low:high])]
        found += codec.settle(end=True)
        streams.append([(f.raw, f.deviations, f.readings) for f in found if isinstance(f, ModbusFrame)])
    assert streams[0] == streams[1]
    assert len(streams[0]) >= 2


@pytest.mark.parametrize("framing", ["tcp", "rtu"])
def test_hostile_garbage_recovers_and_is_counted(framing: str) -> None:
    codec = make(framing)
    wires = answers(make(framing), framing)
    requests = codec.plan(METER, Due("poll", AT))
    codec.sent(requests[0])
    noise = b"\x07\x03\xf0" + b"\x00" * 20 if framing == "rtu" else b"\x00\x01\x00\x00\x00\xf0\x07\x03" + b"\x01" * 20
    found = codec.feed(noise + wires[0])
    found += codec.settle()
    frames = [f for f in found if isinstance(f, ModbusFrame)]
    assert [f.raw for f in frames] == [wires[0]]
    assert sum(isinstance(d, Deviation) for d in found) == 1
    assert codec.kept == 0


@given(st.lists(st.binary(max_size=100), max_size=20), st.sampled_from(["tcp", "rtu"]))
@settings(deadline=None)
def test_hostile_bytes_never_raise_and_the_buffer_is_bounded(chunks: list[bytes], framing: str) -> None:
    codec = make(framing)
    codec.plan(METER, Due("poll", AT))
    for chunk in chunks:
        codec.to_batch([f for f in codec.feed(chunk) if isinstance(f, ModbusFrame)], received_at=AT)
        assert codec.kept <= 260
    codec.settle()
    codec.settle(end=True)
    assert codec.kept == 0


def test_late_answer_of_rtu_is_not_taken_for_another_one() -> None:
    codec = make("rtu")
    wires = answers(codec, "rtu")
    requests = codec.plan(METER, Due("poll", AT))
    codec.sent(requests[0])  # no answer in time
    codec.sent(requests[1])
    (late,) = codec.feed(wires[0])
    assert isinstance(late, ModbusFrame)
    assert not late.valid
    assert late.readings == ()
    assert [d.code for d in late.deviations] == ["length_wrong"]
    (unasked,) = codec.feed(wires[1])
    assert isinstance(unasked, ModbusFrame)
    assert [d.code for d in unasked.deviations] == ["not_asked"]


def test_answers_nobody_asked_for_and_wrong_lengths_give_no_rows() -> None:
    codec = make("tcp")
    stray = tcp_adu(999, 7, bytes((3, 2, 0, 1)))
    (request, *_) = codec.plan(METER, Due("poll", AT))
    short = tcp_adu(int.from_bytes(request.data[:2], "big"), 7, bytes((3, 2, 0, 1)))
    frames = [f for f in codec.feed(stray + short) if isinstance(f, ModbusFrame)]
    assert [[d.code for d in f.deviations] for f in frames] == [["not_asked"], ["length_wrong"]]
    assert codec.to_batch(frames, received_at=AT).rows.num_rows == 0


def test_numbers_of_every_type() -> None:
    base = {"zh": "", "en": "", "quantity": "energy"}
    own = {
        "zh": "",
        "en": "",
        "function": 4,
        "registers": [
            {**base, "code": "a", "address": 0, "type": "u16", "scale": 0.1},
            {**base, "code": "b", "address": 1, "type": "s16"},
            {**base, "code": "c", "address": 2, "type": "u32"},
            {**base, "code": "d", "address": 4, "type": "s32", "swap": True},
            {**base, "code": "e", "address": 6, "type": "u64"},
            {**base, "code": "g", "address": 10, "type": "f32"},
        ],
    }
    codec = make("tcp", maps={"own": own})
    (request,) = codec.plan(Device("d", "1", profile="own"), Due("poll", AT))
    data = bytes.fromhex("0929 FFFE 00010000 FFFEFFFF 0000000100000000 7FC00000".replace(" ", ""))
    wire = tcp_adu(int.from_bytes(request.data[:2], "big"), 1, bytes((4, len(data))) + data)
    (frame,) = codec.feed(wire)
    assert isinstance(frame, ModbusFrame)
    assert {r.code: r.value for r in frame.readings} == {"a": 234.5, "b": -2, "c": 65536, "d": -2, "e": 4294967296}
    assert [d.code for d in frame.deviations] == ["value_missing"]


@pytest.mark.parametrize("device", [Device("d", "1", profile="nobody"), Device("d", "x", profile="chint-dtsu666")])
def test_wrong_settings_are_said(device: Device) -> None:
    with pytest.raises(ConfigError):
        make("tcp").plan(device, Due("poll", AT))


def test_shipped_maps_are_sound() -> None:
    quantities = TABLES["channel"].field("quantity").codes
    assert quantities is not None
    for meter in meters().values():
        assert {r.quantity for r in meter.registers} <= set(quantities)
        taken = [n for r in meter.registers for n in range(r.address, r.address + r.width)]
        assert len(taken) == len(set(taken))
        assert all(sum(r.width for r in block) <= 100 for block in meter.blocks())
