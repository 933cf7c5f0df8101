"""The standards' own examples, both ways."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dianhuan_devices.hj212 import Centre, Sm4, Station, crc16, crc_text, encode_segment
from dianhuan_devices.hj212._crc import walk

ANNEX_A_2017 = (
    b"##0101QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;"
    b"CP=&&RtdInterval=30&&1C80\r\n"
)


def bitwise(data: bytes) -> int:
    register = 0xFFFF
    for byte in data:
        register = (register >> 8) ^ byte
        for _ in range(8):
            register = (register >> 1) ^ 0xA001 if register & 1 else register >> 1
    return register


@given(st.binary(max_size=9000))
def test_fold_table_and_bitwise_walk_agree(data: bytes) -> None:
    assert crc16(data) == walk(data) == bitwise(data)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 255, 256, 257, 4096, 8192, 8193])
def test_crc_at_the_edges_of_the_fold(size: int) -> None:
    data = bytes((i * 37 + 11) & 0xFF for i in range(size))
    assert crc16(data) == bitwise(data)


def test_2017_example_is_read(make_codec: Any, run: Any) -> None:
    frames, garbage = run(make_codec(), ANNEX_A_2017)
    (frame,) = frames
    assert frame.valid
    assert f"{frame.crc_expected:04X}" == "1C80"
    assert frame.deviations == ()
    assert garbage == []
    assert (frame.kind, frame.header.st, frame.header.flag) == ("1062", "32", 5)
    assert frame.items == [("RtdInterval", "30")]


def test_2017_example_is_written() -> None:
    station = Station("010000A8900016F000169DC0", password="100000", st="32", edition=2017)
    at = datetime(2016, 8, 1, 0, 58, 57, 223000, tzinfo=UTC)
    assert Centre(station).set_interval(at, 30) == ANNEX_A_2017


def test_2025_crc_vector_both_ways(vectors: Any, make_codec: Any, run: Any) -> None:
    golden = vectors["crc_A1"]["frame"].encode("ascii")
    (frame,), garbage = run(make_codec(), golden)
    assert frame.valid
    assert frame.crc == "2200"
    assert frame.deviations == ()
    assert garbage == []
    at = datetime(2024, 6, 1, 0, 58, 57, 223000, tzinfo=UTC)
    assert Centre(Station("010000A8900016F000169DC0", edition=2025)).get_time(at) == golden


@pytest.mark.parametrize(("name", "readings"), [("sm4_A2_whole_groups", 9), ("sm4_A2_plain_tail", 6)])
def test_2025_cipher_vectors_both_ways(vectors: Any, make_codec: Any, run: Any, name: str, readings: int) -> None:
    vector = vectors[name]
    plain = vector["plain_frame"].encode("ascii")
    start, stop = plain.index(b"CP=&&") + 5, plain.rindex(b"&&")
    cipher = bytes.fromhex(vector["data_area_encrypted_hex"]) + vector["plain_tail"].encode("ascii")
    wire = plain[:start] + cipher + plain[stop:]

    (frame,), garbage = run(make_codec(keys=[vector["key_hex"]]), wire)
    assert garbage == []
    assert frame.valid
    assert frame.encrypted
    assert frame.deviations == ()
    assert frame.area.encode("ascii") == plain[start:stop]
    assert len(frame.readings) == readings
    assert frame.readings[0].value == 1.35
    assert frame.readings[0].at == datetime(2024, 5, 20, 13, 6, tzinfo=UTC)

    h = frame.header
    fields = [("QN", h.qn), ("ST", h.st), ("CN", h.cn), ("PW", h.pw), ("MN", h.mn), ("Flag", str(h.flag))]
    assert encode_segment(fields, plain[start:stop], Sm4(bytes.fromhex(vector["key_hex"]))) == wire
    assert encode_segment(fields, plain[start:stop]) == plain


@pytest.mark.parametrize("name", ["sm4_A2_whole_groups", "sm4_A2_plain_tail"])
def test_printed_form_of_the_cipher_text_is_accepted_as_a_deviation(
    vectors: Any, make_codec: Any, run: Any, name: str
) -> None:
    vector = vectors[name]
    plain = vector["plain_frame"].encode("ascii")
    start, stop = plain.index(b"CP=&&") + 5, plain.rindex(b"&&")
    printed = "{" + ",".join(f"0x{b:02X}" for b in bytes.fromhex(vector["data_area_encrypted_hex"])) + "}"
    wire = plain[:start] + (printed + vector["plain_tail"]).encode("ascii") + plain[stop:]
    (frame,), garbage = run(make_codec(keys=[vector["key_hex"]]), wire + ANNEX_A_2017[:0])
    assert garbage == []
    assert frame.valid
    assert [d.code for d in frame.deviations] == ["cipher_printed"]
    assert frame.area.encode("ascii") == plain[start:stop]


def test_crc_is_not_a_modbus_crc_and_says_so(make_codec: Any, run: Any, seal: Any, segment: Any) -> None:
    text = segment("DataTime=20240520210600;w01018-Rtd=1.0")
    register = 0xFFFF
    for byte in text.encode():
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ 0xA001 if register & 1 else register >> 1
    (frame,), _ = run(make_codec(), seal(text, crc=f"{register:04X}"))
    assert not frame.valid
    (wrong,) = frame.deviations
    assert wrong.code == "crc_wrong"
    assert "Modbus" in wrong.detail
    assert f"{frame.crc_expected:04X}" == crc_text(text.encode())
