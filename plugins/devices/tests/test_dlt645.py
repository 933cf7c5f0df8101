"""DL/T 645: frames both ways, cross-checked with an independent implementation (`dlt645` on PyPI)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from dianhuan_devices.cli import app
from dianhuan_devices.dlt645 import (
    ANSWER,
    READ,
    Cutter645,
    Dlt645Codec,
    Dlt645Config,
    Dlt645Frame,
    build,
    from_bcd,
    items,
    read_all,
    read_request,
    to_bcd,
)
from dianhuan_sdk import Deviation, Device, Due, InputError
from dianhuan_standards import TABLES

AT = datetime(2026, 3, 1, 1, 2, 3, tzinfo=UTC)
ADDRESS = "202603010042"
METER = Device("plant-1/main", ADDRESS)


def codec() -> Dlt645Codec:
    return Dlt645Codec(Dlt645Config(), lambda a: METER if a == ADDRESS else None)


def answer(di: str, value: bytes, control: int = ANSWER | READ, address: str = ADDRESS) -> bytes:
    return build(address, control, bytes.fromhex(di)[::-1] + value)


def one(data: bytes) -> Dlt645Frame:
    (frame,) = codec().feed(data)
    assert isinstance(frame, Dlt645Frame)
    return frame


@pytest.fixture(scope="module")
def peer() -> Any:
    """The independent implementation; its import starts a log file handler, which the test does not want."""
    protocol = pytest.importorskip("dlt645.protocol.protocol")
    return protocol.DLT645Protocol


def test_read_request_by_hand() -> None:
    assert read_request("000000000001", "00010000") == bytes.fromhex(
        "FEFEFEFE 68 010000000000 68 11 04 33333433".replace(" ", "")
    ) + bytes([(0x68 + 1 + 0x68 + 0x11 + 4 + 0x33 * 3 + 0x34) & 0xFF, 0x16])
    assert read_request("1", "9010")[12:14] == bytes((0x01, 0x02))


@pytest.mark.parametrize("di", sorted(d for d in items() if len(d) == 8))
def test_requests_agree_with_the_independent_implementation(peer: Any, di: str) -> None:
    mine = read_request(ADDRESS, di)
    theirs = bytes(peer.build_frame(bytes.fromhex(ADDRESS)[::-1], 0x11, bytes.fromhex(di)[::-1]))
    assert mine == theirs
    read = peer.deserialize(mine)
    assert (bytes(read.addr), read.ctrl_code, bytes(read.data)) == (
        bytes.fromhex(ADDRESS)[::-1],
        0x11,
        bytes.fromhex(di)[::-1],
    )


@given(
    st.integers(0, 10**12 - 1).map(lambda n: f"{n:012d}"),
    st.sampled_from([0x91, 0xB1, 0xD1, 0x92, 0x08, 0x14]),
    st.binary(max_size=200),
    st.integers(0, 4),
)
@settings(deadline=None)
def test_any_frame_agrees_with_the_independent_implementation(
    peer: Any, address: str, control: int, data: bytes, preamble: int
) -> None:
    mine = build(address, control, data, preamble)
    theirs = bytes(peer.build_frame(bytes.fromhex(address)[::-1], control, data, preamble))
    assert mine == theirs
    (frame,), garbage = read_all(theirs)
    assert (frame.address, frame.control, frame.data, frame.valid) == (address, control, data, True)
    assert garbage == []


def test_values_of_every_item_agree_with_the_independent_implementation() -> None:
    transform = pytest.importorskip("dlt645.common.transform")
    formats = {(4, 2): "XXXXXX.XX", (2, 1): "XXX.X", (3, 3): "XXX.XXX", (3, 4): "XX.XXXX", (2, 3): "X.XXX"}
    checked = 0
    for item in items().values():
        if item.parts or (item.size, item.decimals) not in formats:
            continue
        for number in (0.0, 1.0, 3.2, 7.999, 0.001):
            value = round(number, item.decimals)
            data = to_bcd(value, item.size, item.decimals, item.signed)
            assert from_bcd(data, item.decimals, item.signed) == value
            theirs = transform.bcd_to_float(data, formats[item.size, item.decimals], "little")
            assert float(theirs) == pytest.approx(value)
            checked += 1
    assert checked > 50


@pytest.mark.parametrize(
    ("di", "value", "expected"),
    [
        ("00010000", "12345678", [("00010000", 123456.78)]),
        ("02030000", "012345", [("02030000", 1.2345)]),
        ("02030000", "812345", [("02030000", -1.2345)]),
        ("0201FF00", "2201 2202 2203", [("02010100", 220.3), ("02010200", 220.2), ("02010300", 220.1)]),
        ("0202FF00", "000240 800250 001260", [("02020100", 1.26), ("02020200", -0.25), ("02020300", 0.24)]),
        ("02060000", "0998", [("02060000", 0.998)]),
        ("02060000", "8998", [("02060000", -0.998)]),
        ("02800002", "4998", [("02800002", 49.98)]),
    ],
)
def test_answers_are_read(di: str, value: str, expected: list[tuple[str, float]]) -> None:
    frame = one(answer(di, bytes.fromhex(value)[::-1]))
    assert frame.valid
    assert frame.deviations == ()
    assert [(r.code, r.value) for r in frame.readings] == expected
    assert frame.device_id == "plant-1/main"
    assert frame.kind == f"91/{di}"


def test_1997_identifiers_are_read() -> None:
    frame = one(answer("9010", bytes.fromhex("00123456")[::-1], control=0x81))
    assert [(r.code, r.value, r.unit) for r in frame.readings] == [("9010", 1234.56, "kWh")]
    assert one(answer("B630", bytes.fromhex("012345")[::-1], control=0x81)).readings[0].value == 1.2345


def test_date_and_time_are_text_and_no_reading() -> None:
    frame = one(answer("04000102", bytes.fromhex("090203")[::-1]))
    assert (frame.text, frame.readings, frame.deviations) == ("090203", (), ())


def test_what_is_irregular_is_said() -> None:
    missing = one(answer("0201FF00", b"\xff\xff" + bytes.fromhex("2202")[::-1] * 2))
    assert [d.code for d in missing.deviations] == ["value_missing"]
    assert [r.code for r in missing.readings] == ["02010200", "02010300"]
    short = one(answer("0201FF00", b"\x01\x22"))
    assert [d.code for d in short.deviations] == ["data_short"]
    assert [r.value for r in short.readings] == [220.1]
    unknown = one(answer("0F0F0F0F", b"\x01"))
    assert [d.code for d in unknown.deviations] == ["di_unknown"]
    refused = one(build(ADDRESS, 0xD1, b"\x02"))
    assert [d.code for d in refused.deviations] == ["refused"]
    assert "无请求数据" in refused.deviations[0].detail


def test_wrong_check_sum_gives_no_row() -> None:
    data = bytearray(answer("02030000", b"\x45\x23\x01"))
    data[-2] ^= 1
    frame = one(bytes(data))
    assert not frame.valid
    assert [d.code for d in frame.deviations] == ["checksum_wrong"]
    batch = codec().to_batch([frame], received_at=AT)
    assert batch.rows.num_rows == 0
    assert batch.rejects is not None
    assert batch.rejects.column("code").to_pylist() == ["checksum_wrong"]


def test_rows_and_channels() -> None:
    frames = [one(answer("0202FF00", bytes.fromhex("000240800250001260")[::-1]))]
    batch = codec().to_batch(frames, received_at=AT)
    assert TABLES["reading"].check(batch.rows) == []
    assert batch.rows.column("device_at").to_pylist() == [AT] * 3
    assert batch.rows.column("channel_id").to_pylist()[0] == "plant-1/main/02020100-rtd"
    channels = codec().channels(frames).rows
    assert TABLES["channel"].check(channels) == []
    assert channels.column("phase").to_pylist() == ["A", "B", "C"]


def test_poll_and_time() -> None:
    requests = codec().plan(METER, Due("poll", AT))
    assert [r.expects for r in requests] == ["91/02030000", "91/0202FF00", "91/0201FF00", "91/02060000", "91/00010000"]
    old = codec().plan(Device("d", "7", profile="1997"), Due("poll", AT))
    assert old[0].expects == "81/B630"
    own = codec().plan(Device("d", "7", options={"dis": ["02800002"]}), Due("poll", AT))
    assert [r.expects for r in own] == ["91/02800002"]
    (clock,) = codec().plan(METER, Due("time", AT))
    (frame,), _ = read_all(clock.data)
    assert (frame.address, frame.control, frame.data.hex()) == ("999999999999", 0x08, "030209010326")
    assert codec().plan(METER, Due("history", AT)) == []


def test_more_follows_asks_for_the_rest() -> None:
    line = codec()
    (first,) = line.feed(answer("00010000", bytes(4), control=0xB1))
    assert isinstance(first, Dlt645Frame)
    assert [d.code for d in first.deviations] == ["more_follows"]
    ask = line.reply(first)
    assert ask is not None
    (asked,), _ = read_all(ask)
    assert (asked.control, asked.data[-1], asked.di) == (0x12, 1, "00010000")
    (second,) = line.feed(answer("00010000", b"\x07\x01", control=0xB2))
    ask = line.reply(second)
    assert ask is not None
    assert read_all(ask)[0][0].data[-1] == 2
    assert line.reply(one(answer("00010000", bytes(4)))) is None


STREAM = (
    b"\x00\x68\x11noise"
    + answer("02030000", b"\x45\x23\x01")
    + b"\x68" * 9
    + answer("0201FF00", bytes.fromhex("220122022203")[::-1])
    + build(ADDRESS, 0xD1, b"\x04", 0)
    + b"\xfe\xfe"
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
@settings(deadline=None)
def test_any_chunking_gives_the_same_frames(cuts: list[int]) -> None:
    whole, _ = read_all(STREAM)
    assert len(whole) == 3
    line, found, edges = codec(), [], [0, *sorted(cuts), len(STREAM)]
    for low, high in pairwise(edges):
        found += line.feed(STREAM[low:high])
    found += line.settle(end=True)
    assert [f.raw for f in found if isinstance(f, Dlt645Frame)] == [f.raw for f in whole]
    assert all(isinstance(f, Dlt645Frame | Deviation) for f in found)


@given(st.lists(st.binary(max_size=80) | st.sampled_from([b"\x68" * 5, STREAM]), max_size=30))
@settings(deadline=None)
def test_hostile_bytes_never_raise_and_the_buffer_is_bounded(chunks: list[bytes]) -> None:
    line = codec()
    for chunk in chunks:
        for item in line.feed(chunk):
            if isinstance(item, Dlt645Frame):
                line.to_batch([item], received_at=AT)
                line.reply(item)
        assert line.kept <= 267
    line.settle(end=True)
    assert line.kept == 0


def test_stream_recovers_after_a_lying_length() -> None:
    lie = bytearray(answer("02030000", b"\x45\x23\x01"))
    lie[13] = 200
    good = answer("02030000", b"\x45\x23\x01")
    frames, _ = Cutter645().feed(bytes(lie) + good * 20, end=True)
    assert sum(ok for _, ok in frames) >= 19


@pytest.mark.parametrize("address", ["1234567890123", "12G4", ""])
def test_wrong_addresses_are_refused(address: str) -> None:
    if not address:
        assert read_request(address, "9010")[5:11] == bytes(6)
        return
    with pytest.raises(InputError):
        read_request(address, "9010")


def test_numbers_that_do_not_fit_are_refused() -> None:
    for number, signed in ((1000.0, True), (800.0, True), (-1.0, False)):
        with pytest.raises(ValueError, match=r"fit|room"):
            to_bcd(number, 3, 3, signed)


def test_cli_shows_frames() -> None:
    result = CliRunner().invoke(app, ["decode", "--protocol", "dlt645", "--json", "-"], input=STREAM)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [len(line["readings"]) for line in lines] == [1, 3, 0]
    assert result.exit_code == 0
    words = CliRunner().invoke(app, ["decode", "--protocol", "dlt645", "-"], input=STREAM)
    assert "瞬时总有功功率  1.2345 kW" in words.stdout
