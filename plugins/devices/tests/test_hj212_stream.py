"""The byte stream: any chunking, garbage, ciphers that look like frames, bounded buffers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dianhuan_devices.hj212 import WINDOW, Hj212Codec, Hj212Config, Hj212Frame, Sm4, crc16
from dianhuan_sdk import Deviation, Device, Secret

KEY = "30" * 16
OTHER = "31" * 16
AT = datetime(2024, 5, 20, 13, 6, tzinfo=UTC)
NO_CHECK = settings(suppress_health_check=list(HealthCheck), deadline=None)


def shown(frames: list[Hj212Frame]) -> list[tuple[Any, ...]]:
    return [(f.raw, f.offset, f.valid, f.header, f.area, f.deviations, f.readings) for f in frames]


@pytest.fixture(scope="module")
def stream(make_logger: Any, seal: Any, segment: Any) -> bytes:
    """Plain, encrypted, split, GBK and irregular frames with garbage between them."""
    plain, sealed = make_logger(), make_logger(2025, KEY)
    long = [[(f"e301{n:02d}-Rtd", 1.5 * n), (f"e301{n:02d}-Flag", "N")] for n in range(40)]
    parts = [
        *plain.upload("2011", AT, [[("w01018-Rtd", 12.5), ("w01018-Flag", "N")]]),
        b"noise ## more \x00\xff ##12",
        *sealed.electricity(AT, [("d20105", 220.2, "N"), ("d20405", 0.24, "N")]),
        seal(segment("DataTime=20240520210600;i12001-Info=运行".encode("gbk").decode("latin-1")).encode("latin-1")),
        b"##0900" + segment("DataTime=20240520210600;cut").encode(),
        *plain.upload("2051", AT, long),
        seal(segment("DataTime=20240520210600;w01018-Rtd=3"), declared=77),
        seal(segment("DataTime=20240520210600;w01018-Rtd=4"), end=b"\n"),
        *sealed.upload("2061", AT, [[("a34013-Avg", 3.25), ("a34013-Flag", "D")]]),
    ]
    return b"".join(parts)


def test_stream_holds_what_was_put_in(make_codec: Any, run: Any, stream: bytes) -> None:
    frames, garbage = run(make_codec(keys=[KEY]), stream)
    assert len(frames) == 8
    assert sum(len(f.readings) for f in frames) == 1 + 2 + 1 + 40 + 1 + 1 + 1
    assert {d.code for d in garbage} == {"garbage"}


@given(st.lists(st.integers(0, 5000), max_size=60))
@NO_CHECK
def test_any_chunking_gives_the_same_frames(make_codec: Any, run: Any, stream: bytes, cuts: list[int]) -> None:
    whole, _ = run(make_codec(keys=[KEY]), stream)
    frames, _ = run(make_codec(keys=[KEY]), stream, cuts)
    assert shown(frames) == shown(whole)


def test_byte_by_byte_gives_the_same_frames(make_codec: Any, run: Any, stream: bytes) -> None:
    whole, _ = run(make_codec(keys=[KEY]), stream)
    frames, _ = run(make_codec(keys=[KEY]), stream, range(len(stream)))
    assert shown(frames) == shown(whole)


PIECES = st.sampled_from(
    [
        b"##",
        b"#",
        b"##0012",
        b"##0101QN=",
        b"&&",
        b"&&1C80\r\n",
        b"\r\n",
        b"CP=&&",
        b"0",
        b"QN=1;",
        b"\x00",
        b"\xe8\xbf",
    ]
)


@given(st.lists(PIECES | st.binary(max_size=12), max_size=60), st.lists(st.integers(0, 700), max_size=30))
@NO_CHECK
def test_any_chunking_of_nearly_frames_gives_the_same_frames(
    make_codec: Any, run: Any, pieces: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(pieces)
    whole, _ = run(make_codec(), data)
    frames, _ = run(make_codec(), data, cuts)
    assert shown(frames) == shown(whole)


@given(st.lists(PIECES | st.binary(max_size=40), max_size=20), st.integers(1, 4))
@example([b"##0300QN=20240520210700000;ST=32;CN=2011;PW=12"], 1)
@NO_CHECK
def test_garbage_before_frames_costs_at_most_the_frame_it_swallows(
    make_codec: Any, run: Any, make_logger: Any, pieces: list[bytes], count: int
) -> None:
    """What stands before may pose as a frame and hide the first real one (when its length ends on a frame's end),
    but not the ones after it."""
    real = [make_logger().upload("2011", AT + timedelta(minutes=n), [[("w01018-Rtd", n)]])[0] for n in range(6)]
    frames, _ = run(make_codec(), b"".join(pieces) + b"".join(real))
    assert [f.raw for f in frames][-count:] == real[-count:]


@given(st.binary(max_size=600).filter(lambda g: b"#" not in g))
@NO_CHECK
def test_garbage_without_a_start_costs_nothing(make_codec: Any, run: Any, make_logger: Any, garbage: bytes) -> None:
    (real,) = make_logger().upload("2011", AT, [[("w01018-Rtd", 1)]])
    frames, deviations = run(make_codec(), garbage + real + garbage + real)
    assert [f.raw for f in frames] == [real, real]
    assert all(f.deviations == () for f in frames)
    assert bool(deviations) == bool(garbage.strip(b"\r\n"))


@pytest.mark.parametrize(
    "needle",
    [b"\r\n", b"##", b"&&", b"&&1C80\r\n", b"##0101QN=2016", b"##0012&&", b"CP=&&"],
    ids=["crlf", "hashes", "ampersands", "fake-end", "fake-header", "fake-short-header", "fake-area"],
)
def test_hostile_cipher_text_that_looks_like_a_frame(
    make_codec: Any, run: Any, make_logger: Any, needle: bytes
) -> None:
    """The cipher text of the first group is chosen: its plain text is whatever decrypts to it."""
    cipher = Sm4(bytes.fromhex(KEY))
    block = (b"\x81" + needle + b"\x82" * 16)[:16]
    area = cipher.decrypt(block) + b"DataTime=20240520210600;d20405-Rtd=0.24,d20405-Flag=N"
    head = b"QN=20240520210700000;ST=44;CN=2011;PW=123456;MN=010000A8900016F000169DC0;Flag=9;CP=&&"
    plain = head + area + b"&&"
    wire = b"##%04d%b&&%04X\r\n" % (len(plain), head + cipher.encrypt(area), crc16(plain))
    assert needle in wire[6 + len(head) : -8]
    follow = make_logger().upload("2011", AT, [[("w01018-Rtd", 1)]])[0]
    for cuts in ((), range(0, len(wire), 7), range(len(wire))):
        frames, garbage = run(make_codec(keys=[KEY]), wire + follow, cuts)
        assert [f.raw for f in frames] == [wire, follow]
        assert frames[0].valid
        assert frames[0].encrypted
        assert garbage == []


@given(st.integers(0, 2**32))
@NO_CHECK
def test_encrypted_frames_of_any_content_are_cut_by_length(
    make_codec: Any, run: Any, make_logger: Any, seed: int
) -> None:
    logger = make_logger(2025, KEY)
    at = AT + timedelta(seconds=seed % 10**6)
    wires = [logger.electricity(at, [("d20105", seed % 400 / 7, "N"), ("d30405", n, "N")])[0] for n in range(4)]
    frames, garbage = run(make_codec(keys=[KEY]), b"".join(wires), [seed % 900, seed % 333])
    assert [f.raw for f in frames] == wires
    assert all(f.valid and f.encrypted and not f.deviations for f in frames)
    assert garbage == []


def test_previous_key_still_opens_and_is_reported(make_codec: Any, run: Any, make_logger: Any) -> None:
    (old,) = make_logger(2025, KEY).electricity(AT, [("d20405", 0.24, "N")])
    (new,) = make_logger(2025, OTHER).electricity(AT, [("d20405", 0.25, "N")])
    (first, second), _ = run(make_codec(keys=[OTHER, KEY]), old + new)
    assert [d.code for d in first.deviations] == ["key_previous"]
    assert second.deviations == ()
    assert [f.readings[0].value for f in (first, second)] == [0.24, 0.25]
    assert first.valid
    assert second.valid


@pytest.mark.parametrize(("keys", "code"), [([OTHER], "key_wrong"), ([], "key_missing")])
def test_wrong_and_missing_keys_are_reported_as_such(
    make_codec: Any, run: Any, make_logger: Any, keys: list[str], code: str
) -> None:
    (wire,) = make_logger(2025, KEY).electricity(AT, [("d20405", 0.24, "N")])
    codec = make_codec(keys=keys)
    (frame,), _ = run(codec, wire)
    assert not frame.valid
    assert not frame.legible
    assert [d.code for d in frame.deviations] == [code]
    assert frame.readings == ()
    assert codec.reply(frame) is None
    batch = codec.to_batch([frame], received_at=AT)
    assert batch.rows.num_rows == 0
    assert batch.rejects is not None
    assert batch.rejects.num_rows == 1


def test_key_changed_while_connected_takes_effect_at_once(run: Any, make_logger: Any) -> None:
    device = Device("d", "010000A8900016F000169DC0", keys=(Secret(KEY),))
    known = {device.address: device}
    codec = Hj212Codec(Hj212Config(), known.get)
    (old,) = make_logger(2025, KEY).electricity(AT, [("d20405", 1, "N")])
    (new,) = make_logger(2025, OTHER).electricity(AT, [("d20405", 2, "N")])
    (before,) = codec.feed(old)
    (blind,) = codec.feed(new)
    known[device.address] = Device("d", device.address, keys=(Secret(OTHER), Secret(KEY)))
    after, late = codec.feed(new + old)
    assert isinstance(before, Hj212Frame)
    assert isinstance(after, Hj212Frame)
    assert isinstance(blind, Hj212Frame)
    assert isinstance(late, Hj212Frame)
    assert before.valid
    assert [d.code for d in blind.deviations] == ["key_wrong"]
    assert after.deviations == ()
    assert [d.code for d in late.deviations] == ["key_previous"]


def test_plain_text_of_a_station_with_a_key_is_taken_and_reported(make_codec: Any, run: Any, make_logger: Any) -> None:
    (wire,) = make_logger(2025).electricity(AT, [("d20405", 0.24, "N")])
    (frame,), _ = run(make_codec(keys=[KEY]), wire)
    assert frame.valid
    assert [d.code for d in frame.deviations] == ["not_encrypted"]
    assert len(frame.readings) == 1


@given(st.lists(st.binary(max_size=3000) | PIECES, max_size=20))
@NO_CHECK
def test_hostile_bytes_never_raise_and_the_buffer_is_bounded(make_codec: Any, chunks: list[bytes]) -> None:
    codec = make_codec(keys=[KEY])
    for chunk in chunks:
        for item in codec.feed(chunk):
            assert isinstance(item, Hj212Frame | Deviation)
        assert codec.kept <= WINDOW
    codec.settle()
    codec.settle(end=True)
    assert codec.kept == 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_hostile_fuzz_of_a_million_inputs(make_codec: Any, stream: bytes) -> None:
    """Mutated streams of real frames: 1,000,000 inputs, none may raise, lose its bound, or claim a wrong CRC right."""
    import random

    rng = random.Random(212)
    starts = [i for i in range(len(stream)) if stream.startswith(b"##", i)]
    tokens = [
        b"##",
        b"&&",
        b"\r\n",
        b";",
        b",",
        b"=",
        b"0",
        b"\x00",
        b"\xff",
        b"CP=&&",
        b"Flag=",
        b"PNUM=9;PNO=2;",
        b"-",
    ]
    codec = make_codec(keys=[KEY])
    seen = valid = 0
    for _ in range(1_000_000):
        start = rng.choice(starts)
        data = bytearray(stream[start : start + rng.randrange(20, 420)])
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(data))
            kind = rng.random()
            if kind < 0.4:
                data[at] = rng.randrange(256)
            elif kind < 0.7:
                data[at:at] = rng.choice(tokens)
            else:
                del data[at : at + rng.randrange(1, 9)]
            if not data:
                data = bytearray(b"#")
        for item in codec.feed(bytes(data)):
            if isinstance(item, Hj212Frame):
                seen += 1
                valid += item.valid
                if item.valid and not item.encrypted:
                    assert crc16(item.raw[6 : 6 + item.declared]) == int(item.crc, 16)
                rows = codec.to_batch([item], received_at=AT).rows.num_rows
                assert rows <= len(item.readings)
        assert codec.kept <= WINDOW
    assert seen > 100_000
    assert valid > 10_000
