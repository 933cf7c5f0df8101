"""Abuse: each kind has its metric and its message, and a healthy device beside it goes on being answered."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dianhuan_devices.hj212 import crc_text
from dianhuan_hub.gateway import Decision

NOW = datetime.now(UTC).replace(microsecond=0)
MINUTE = timedelta(minutes=1)


def healthy(city: Any, line: Any, count: int = 3) -> None:
    """A device with nothing to do with the abuse is answered, frame by frame."""
    for n in range(count):
        line.send(*line.upload(NOW - (healthy.calls + n) * MINUTE))
        assert len(line.answers(1, wait=5.0)) == 1
    healthy.calls += count


healthy.calls = 0  # type: ignore[attr-defined]


def test_hostile_slow_loris_is_closed_although_it_sends_bytes(start: Callable[..., Any]) -> None:
    city = start(idle_s=0.8, handshake_s=0.6)
    city.approve(0, 2)
    good, slow, late = city.dial(0), city.dial(1), city.dial(2)
    late.send(*late.upload(NOW))
    assert len(late.answers(1)) == 1
    stop = threading.Event()

    def trickle() -> None:
        while not stop.wait(0.05):
            for line in (slow, late):
                try:
                    line.socket.send(b"#")
                except OSError:
                    return

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        healthy(city, good)
        assert slow.closed(5)
        assert late.closed(5)
    finally:
        stop.set()
        thread.join()
    assert city.metric("closed_total", reason="handshake") >= 1
    assert city.metric("closed_total", reason="idle") >= 1
    assert city.said("handshake")
    assert city.said("idle")


@pytest.mark.parametrize("attempts", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_hostile_many_connections_from_one_peer(start: Callable[..., Any], attempts: int) -> None:
    city = start(connections_per_peer=50)
    city.approve(0)
    good = city.dial(0)
    healthy(city, good)
    kept = []
    for _ in range(attempts):
        kept.append(socket.create_connection(city.address, timeout=10))
        if len(kept) > 200:
            kept.pop(0).close()
    try:
        assert city.until(lambda: city.metric("closed_total", reason="too_many_of_peer") >= attempts // 2)
        assert city.metric("connections") <= 50
        assert city.said("too_many_of_peer")
        healthy(city, good)
    finally:
        for line in kept:
            line.close()


def test_hostile_frame_of_a_gigabyte(start: Callable[..., Any]) -> None:
    city = start()
    city.approve(0)
    good, bad = city.dial(0), city.dial(1)
    sent = 0
    try:
        bad.send(b"##9999QN=1;CP=&&")
        for _ in range(16_384):
            bad.socket.sendall(b"A" * 65_536)
            sent += 65_536
    except OSError:
        pass
    assert sent < 64 << 20
    assert city.until(lambda: city.metric("closed_total", reason="garbage") == 1)
    assert city.said("garbage")
    assert city.hub.gateway.status()["queue_bytes"] == 0
    healthy(city, good)


def test_hostile_flood_of_wrong_check_sums_is_cut_off_and_not_all_kept(start: Callable[..., Any]) -> None:
    city = start(frames_per_s=1000)
    city.approve(0, 1)
    good, bad = city.dial(0), city.dial(1)
    frame = bad.upload(NOW)[0]
    wrong = frame[:-6] + b"0000\r\n"
    try:
        for _ in range(50):
            bad.send(wrong * 20)
            healthy(city, good, 1)
            if city.metric("closed_total", reason="refused_frames"):
                break
    except OSError:
        pass
    assert city.until(lambda: city.metric("closed_total", reason="refused_frames") == 1)
    assert city.metric("bad_frames_total", reason="crc_wrong") > 200
    assert city.said("crc_wrong")
    ((kept,),) = city.query("SELECT count(*) FROM quarantine WHERE code = 'crc_wrong'")
    assert 0 < kept < 100
    assert bad.answers(1, wait=0.1) == []
    healthy(city, good)


def test_hostile_replayed_and_future_dated_frames(city: Any) -> None:
    line = city.dial(0)
    old = line.upload(NOW)
    line.send(*old)
    assert len(line.answers(1)) == 1
    line.send(*old, *old)  # a recording, played again
    assert len(line.answers(2)) == 2
    forged = line.upload(NOW, values={"i33200": 99.0})
    line.send(*forged, *line.upload(NOW + timedelta(days=400)), *line.upload(NOW - timedelta(days=400)))
    assert len(line.answers(3)) == 3
    assert city.query("SELECT value FROM reading") == [(1.5,)]
    codes = city.query("SELECT code FROM quarantine ORDER BY 1")
    assert codes == [("reading_differs",), ("reading_in_future",), ("reading_too_late",)]
    assert city.metric("readings_total", result="quarantined") == 3
    assert city.metric("readings_total", result="unchanged") == 2


def test_hostile_second_connection_for_an_mn(start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATION_PW", "654321")
    city = start()
    city.approve(0, password="env:STATION_PW")
    city.approve(1)
    good, first = city.dial(1), city.dial(0, password="654321")
    first.send(*first.upload(NOW))
    assert len(first.answers(1)) == 1
    assert city.until(lambda: city.hub.gateway.device_status(first.logger.station.mn)["connected_from"])
    # without the password it wins nothing
    thief = city.dial(0, password="111111")
    thief.send(*thief.upload(NOW + MINUTE, values={"i33200": 0.0}))
    assert city.until(lambda: city.metric("rivals_total", result="refused") == 1)
    assert thief.answers(1, wait=0.2) == []
    first.send(*first.upload(NOW + 2 * MINUTE))
    assert len(first.answers(1)) == 1
    # with it the newest wins and the older connection is closed
    newer = city.dial(0, password="654321")
    newer.send(*newer.upload(NOW + 3 * MINUTE))
    assert len(newer.answers(1)) == 1
    assert first.closed()
    assert city.metric("rivals_total", result="replaced") == 1
    assert city.metric("closed_total", reason="replaced") == 1
    assert city.said("rival")
    assert city.query("SELECT code FROM quarantine") == [("password_wrong",)]
    assert {r[0] for r in city.query("SELECT value FROM reading")} == {1.5}
    healthy(city, good)


def test_hostile_text_with_nul_gbk_and_worse(city: Any) -> None:
    good, bad = city.dial(0), city.dial(1)
    for text in (
        "三号炉".encode("gbk"),
        b"\x00\x00x\x00",
        b"\xff\xfe\x80\x81",
        "😀".encode() * 20,
        b"'; DROP TABLE reading; --",
        b"\x1b[2J",
    ):
        mn = bad.logger.station.mn.encode()
        area = b"DataTime=%s;i23005-Info=%b" % (f"{NOW:%Y%m%d%H%M%S}".encode(), text)
        segment = b"QN=20260301010203004;ST=32;CN=3020;PW=123456;MN=%b;Flag=5;CP=&&%b&&" % (mn, area)
        bad.send(b"##%04d%b%b\r\n" % (len(segment), segment, crc_text(segment).encode()))
        healthy(city, good, 1)
        other = b"QN=20260301010203004;ST=32;CN=2011;PW=123456;MN=%b;Flag=5;CP=&&DataTime=1&&" % text
        bad.send(b"##%04d%b%b\r\n" % (len(other), other, crc_text(other).encode()))
        healthy(city, good, 1)
    assert city.metric("deviations_total", code="text_gbk") >= 1
    assert city.metric("bad_frames_total", reason="address_unusable") >= 1
    assert city.said("address_unusable")
    assert city.query("SELECT count(*) FROM raw_frame WHERE kind = '3020'") == [(6,)]
    assert all(d.device_id.isprintable() for d in city.hub.devices.devices())


def test_hostile_flood_of_unknown_devices_fills_no_disk(start: Callable[..., Any]) -> None:
    city = start(waiting_devices=10, frames_per_s=10_000)
    city.approve(0)
    good, bad = city.dial(0), city.dial(1)
    for number in range(1000, 1100):
        mn = f"010000A8900016F0{number:08X}".encode()
        bad.send(bad.upload(NOW)[0])  # its own MN too
        frame = b"QN=20260301010203004;ST=32;CN=2011;PW=123456;MN=%b;Flag=5;CP=&&DataTime=20260301010203&&" % mn
        bad.send(b"##%04d%b%b\r\n" % (len(frame), frame, crc_text(frame).encode()))
    assert city.until(lambda: city.metric("bad_frames_total", reason="waiting_full") >= 90)
    assert city.hub.devices.waiting_count() == 10
    assert city.said("waiting_full")
    assert city.query("SELECT count(*) FROM raw_frame") == [(0,)]
    healthy(city, good)


def test_hostile_device_with_ever_new_channels(city: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import dianhuan_hub.gateway._writer as writer

    monkeypatch.setattr(writer, "CHANNELS_MOST", 50)
    good, bad = city.dial(0), city.dial(1)
    for n in range(10):
        bad.send(*bad.upload(NOW + n * MINUTE, values={f"w{n}{m:03d}": 1.0 for m in range(10)}))
    assert len(bad.answers(10)) >= 10
    assert city.query("SELECT count(*) FROM channel") == [(50,)]
    assert city.query("SELECT code, count(*) FROM quarantine GROUP BY 1") == [("too_many_channels", 50)]
    healthy(city, good)


def test_hostile_peer_that_reads_no_answers_has_to_wait_and_is_closed(start: Callable[..., Any]) -> None:
    city = start(frames_per_s=1e6, idle_s=1.5)
    city.approve(0, 1)
    bad = city.dial(1)
    bad.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    frames = b"".join(bad.upload(NOW - n * MINUTE)[0] for n in range(500))
    bad.socket.settimeout(0.5)
    try:
        for _ in range(100):
            bad.socket.sendall(frames)
    except OSError:
        pass
    good = city.dial(0)
    healthy(city, good)
    assert city.metric("paused_total", reason="answers") == 1
    assert city.until(lambda: city.metric("closed_total", reason="idle") >= 1)


def test_hostile_rate_is_slowed_down_and_nothing_is_dropped(start: Callable[..., Any]) -> None:
    city = start(frames_per_s=20)
    city.approve(0, 1)
    good, fast = city.dial(0), city.dial(1)
    fast.send(*(fast.upload(NOW - n * MINUTE)[0] for n in range(230)))
    healthy(city, good)
    assert len(fast.answers(230)) == 230
    assert city.metric("paused_total", reason="rate") >= 1


def test_hostile_frame_that_the_plugin_cannot_stand_goes_to_quarantine_alone(
    city: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dianhuan_devices.hj212 import Hj212Codec

    original = Hj212Codec.to_batch

    def broken(self: Any, frames: Any, **more: Any) -> Any:
        if any(b"e30199" in f.raw for f in frames):
            raise ZeroDivisionError("a defect of the codec")
        return original(self, frames, **more)

    monkeypatch.setattr(Hj212Codec, "to_batch", broken)
    line = city.dial(0)
    frames = [line.upload(NOW - n * MINUTE)[0] for n in range(9)]
    frames.insert(4, line.upload(NOW, values={"e30199": 1.0})[0])
    line.send(*frames)
    assert len(line.answers(9)) == 9
    assert city.hub.store.readings.count() == 9
    assert city.query("SELECT code, detail FROM quarantine") == [("frame_unusable", "a defect of the codec")]
    assert city.metric("bad_frames_total", reason="frame_unusable") == 1


def test_hostile_caller_of_the_door_gets_an_error(city: Any) -> None:
    path = city.hub.config.data_dir / "gateway.sock"
    assert os.stat(path).st_mode & 0o777 == 0o600
    for line in (b"\n", b"nonsense\n", b"[]\n", b'{"do": "x"}\n', b'{"do": "approve", "decision": {"x": 1}}\n'):
        with socket.socket(socket.AF_UNIX) as door:
            door.connect(str(path))
            door.sendall(line)
            assert b'"error"' in door.makefile("rb").readline()


def test_hostile_id_of_another_protocol_is_no_way_in(city: Any) -> None:
    city.hub.devices.approve("meter-1", Decision(protocol="modbus", address="1", line="roof"), "test")
    line = city.dial(0)
    object.__setattr__(line.logger.station, "mn", "meter-1")
    line.send(*line.upload(NOW))
    assert city.until(lambda: city.metric("bad_frames_total", reason="address_unusable") == 1)
    assert city.hub.store.readings.count() == 0
