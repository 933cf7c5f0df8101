"""`sim run` and `sim registry`, MQTT against a real broker, the plant side of HJ 212."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from dianhuan_sdk import InputError
from dianhuan_simulator._protocols import Protocol
from dianhuan_simulator.cli import app
from dianhuan_simulator.emulator import _hj212 as hj212
from dianhuan_simulator.emulator._meters import bcd
from dianhuan_simulator.emulator._run import Run, RunConfig

MN = "010000A8900016F000169DC0"
_UPLOAD = re.compile(rb"QN=(\d{17});ST=(\d\d);CN=2011;PW=(\w{6});MN=(\w+);Flag=(\d+);")


class Centre:
    """Acknowledges every upload whose header it can read."""

    def __init__(self) -> None:
        self.got: list[bytes] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readuntil(b"\r\n"):
                for qn, _, _, mn, _ in _UPLOAD.findall(line):
                    self.got.append(qn)
                    writer.write(hj212.response(hj212.Header(mn.decode(), 2017), "9014", qn.decode()))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def _command(centre: Centre, tmp_path: Path, *args: str, stop_after: int = 0) -> tuple[int, dict]:
    server = await asyncio.start_server(centre.talk, "127.0.0.1", 0, limit=1 << 20)
    port = server.sockets[0].getsockname()[1]
    code = "from dianhuan_simulator.cli import app; app()"
    options = ["run", "--port", str(port), "--truth", str(tmp_path / "truth.ndjson"), "--json", *args]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, *options, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    while stop_after and len(centre.got) < stop_after:
        await asyncio.sleep(0.02)
    if stop_after:
        process.send_signal(signal.SIGINT)
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    server.close()
    return process.returncode or 0, json.loads(out)


async def test_run_counts_what_it_sent_and_writes_the_truth(tmp_path):
    centre = Centre()
    options = ["--plants", "6", "--speed", "300", "--hours", ".1", "--protocol", "hj212-2017", "--offenders", "1"]
    code, answer = await _command(centre, tmp_path, *options, "--start", "2026-03-03T09:00")
    assert code == 0
    assert answer["sent"] == answer["acknowledged"] == len(set(centre.got)) > 0
    assert answer["unacknowledged"] == 0
    assert answer["from"].startswith("2026-03-03T09:00")
    rows = [json.loads(line) for line in (tmp_path / "truth.ndjson").read_text("utf-8").splitlines()]
    assert len(rows) == answer["stories"]
    assert all(r["start"] < 9 * 60 + 6 and r["end"] > 9 * 60 for r in rows)


async def test_run_stops_cleanly_on_sigint(tmp_path):
    centre = Centre()
    code, answer = await _command(
        centre, tmp_path, "--plants", "6", "--speed", "120", "--hours", "20", "--protocol", "hj212-2017", stop_after=12
    )
    assert code == 0
    assert 12 <= answer["sent"] < 6 * 60 * 20
    assert answer["acknowledged"] + answer["unacknowledged"] == answer["sent"]


def test_run_says_what_it_cannot_do(tmp_path):
    options = ["run", "--plants", "300", "--protocol", "modbus", "--truth", str(tmp_path / "t"), "--json"]
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 1
    assert "Modbus" in json.loads(result.stdout)["message"]
    with pytest.raises(InputError):
        Run(RunConfig(hours=0))


@pytest.mark.parametrize("protocol", list(Protocol))
def test_registry_names_the_devices_that_run(tmp_path, protocol):
    options = ["registry", str(tmp_path), "--plants", "12", "--seed", "4", "--protocol", protocol.value, "--json"]
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 0, result.output
    written = json.loads(result.stdout)
    lines = (tmp_path / "devices.ndjson").read_text("utf-8").splitlines()
    assert written["devices.ndjson"] == len(lines)
    run = Run(RunConfig(plants=12, seed=4, protocol=protocol, offenders=0.5))
    assert [json.loads(line)["device_id"] for line in lines] == [s.device_id for s in run.specs]
    assert len((tmp_path / "channels.csv").read_text("utf-8").splitlines()) == written["channels.csv"] + 1
    assert (tmp_path / "mqtt.json").exists() == (protocol is Protocol.mqtt)


@pytest.mark.skipif(shutil.which("mosquitto") is None, reason="no Mosquitto on this machine")
async def test_mqtt_gateways_publish_to_a_real_broker(tmp_path):
    import aiomqtt

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "mosquitto.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n", "utf-8")
    broker = subprocess.Popen(
        ["mosquitto", "-c", str(tmp_path / "mosquitto.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    start = datetime(2026, 3, 3, 2, 0, tzinfo=UTC)
    run = Run(RunConfig(plants=5, hours=0.1, speed=400, port=port, protocol=Protocol.mqtt, start=start, offenders=0))
    got: list[tuple[str, dict]] = []

    async def listen(ready: asyncio.Event) -> None:
        async with aiomqtt.Client("127.0.0.1", port) as client:
            await client.subscribe("plants/+/up", qos=1)
            ready.set()
            async for message in client.messages:
                got.append((str(message.topic), json.loads(message.payload)))

    try:
        for _ in range(100):
            try:
                (await asyncio.open_connection("127.0.0.1", port))[1].close()
                break
            except OSError:
                await asyncio.sleep(0.05)
        ready = asyncio.Event()
        listener = asyncio.create_task(listen(ready))
        await ready.wait()
        await run.run(lambda passed, tally: None)
        while len(got) < run.tally.acknowledged:
            await asyncio.sleep(0.02)
        listener.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listener
    finally:
        broker.terminate()
        broker.wait()
    assert run.tally.sent == run.tally.acknowledged == len(got) > 0
    assert {topic for topic, _ in got} <= {s.address for s in run.specs}
    assert all(payload["points"] and payload["ts"] >= start.timestamp() * 1000 for _, payload in got)


def test_bcd_of_meters():
    assert bcd(1234.56, 4, 2, False).hex() == "56341200"
    assert bcd(-12.3456, 3, 4, True).hex() == "563492"
    assert bcd(1_000_000.01, 4, 2, False).hex() == "01000000"


_ITEMS = st.lists(st.tuples(st.sampled_from(["SystemTime", "OverTime", "NewSK"]), st.text("0123456789AB", max_size=40)))


@given(_ITEMS, st.lists(st.integers(1, 40), max_size=30), st.binary(max_size=30).filter(lambda b: b"#" not in b))
@settings(max_examples=60, deadline=None)
def test_any_chunking_gives_the_same_commands(items, cuts, garbage):
    pairs = dict(items)
    area = ";".join(f"{k}={v}" for k, v in pairs.items()).encode()
    fields = [("QN", "20260303100000000"), ("ST", "32"), ("CN", "1012"), ("PW", "123456"), ("MN", MN), ("Flag", "5")]
    stream = garbage + 2 * hj212.seal(fields, area, bytes(16)) + hj212.seal(fields, area)
    inbox = hj212.Inbox()
    found: list[hj212.Received] = []
    while stream:
        size = cuts.pop() if cuts else len(stream)
        found += inbox.feed(stream[:size], bytes(16))
        stream = stream[size:]
    assert [f.valid for f in found] == [True] * 3
    assert all(f.items == pairs and f.fields["CN"] == "1012" for f in found)


_HOSTILE = [
    ("1000", {"OverTime": "²", "ReCount": "1"}, "2"),
    ("1000", {"OverTime": "9" * 30, "ReCount": "1"}, "2"),
    ("1012", {"SystemTime": "20261399000000"}, "2"),
    ("1062", {"RtdInterval": "-60"}, "2"),
    ("1072", {"NewPW": "longerthansix"}, "2"),
    ("2011", {"BeginTime": "00010101000000", "EndTime": "99991231235959"}, "1"),
    ("2011", {"BeginTime": "20260301000000", "EndTime": "20260301000000"}, "100"),
    ("2011", {"BeginTime": "x", "EndTime": "y"}, "2"),
    ("4711", {}, "2"),
]


async def test_station_survives_hostile_commands():
    results: list[str] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got = await reader.readuntil(b"\r\n")
        mn = _UPLOAD.search(got)
        assert mn is not None
        head = [("ST", "32"), ("PW", "123456"), ("MN", mn[4].decode()), ("Flag", "5")]
        writer.write(b"##9999garbage&&\x00\xff##0000&&")
        for number, (cn, items, _) in enumerate(_HOSTILE):
            fields = [("QN", f"202603030900000{number:02d}"), ("CN", cn), *head]
            writer.write(hj212.seal(fields, ";".join(f"{k}={v}" for k, v in items.items()).encode()))
        try:
            while line := await reader.readuntil(b"\r\n"):
                results.extend(x.decode() for x in re.findall(rb"CN=9012.*ExeRtn=(\d+)&&", line))
                if len(results) == len(_HOSTILE):
                    run.stop()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    start = datetime(2026, 3, 3, 2, 0, tzinfo=UTC)
    choice = RunConfig(plants=1, hours=2, speed=600, port=port, protocol=Protocol.hj212_2017, start=start, offenders=0)
    run = Run(choice)
    run.specs = run.specs[:1]
    await asyncio.wait_for(run.run(lambda passed, tally: None), 30)
    server.close()
    assert results == [wanted for _, _, wanted in _HOSTILE]
