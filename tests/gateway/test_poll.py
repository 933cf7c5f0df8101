"""Polled lines against real peers: a pymodbus server, a meter that speaks DL/T 645."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dianhuan_hub.app import Hub, open_hub
from dianhuan_hub.gateway import Decision, GatewayThread
from dianhuan_hub.kernel.config import load_config, write_template


@contextlib.contextmanager
def served(folder: Path, protocol: str, port: int, more: str = "") -> Iterator[Hub]:
    write_template(folder / "hub.toml", "株洲市", "430200")
    poll = (
        f'\n[gateway.polls.roof]\nprotocol = "{protocol}"\nhost = "127.0.0.1"\nport = {port}\ninterval_s = 0.2\n{more}'
    )
    with (folder / "hub.toml").open("a", encoding="utf-8") as file:
        file.write(poll)
    with open_hub(load_config(folder, {})) as hub:
        thread = GatewayThread(hub.gateway, lambda error: None)
        thread.start()
        try:
            yield hub
        finally:
            thread.stop()


def until(true: Any, wait: float = 15.0) -> bool:
    end = time.monotonic() + wait
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def metric(hub: Hub, name: str, **labels: str) -> float:
    return hub.metrics.registry.get_sample_value(f"dianhuan_gateway_{name}", labels) or 0.0


@pytest.fixture
def modbus_port() -> Iterator[int]:
    """A pymodbus server with one meter, unit 7."""
    from pymodbus.server import ModbusTcpServer
    from pymodbus.simulator import DataType, SimData, SimDevice

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    ready, loop = threading.Event(), asyncio.new_event_loop()

    async def main() -> None:
        data = SimData(0, values=[1.5] * 200, datatype=DataType.FLOAT32)
        server = ModbusTcpServer(SimDevice(id=7, simdata=[data]), address=("127.0.0.1", port))
        await server.serve_forever(background=True)
        ready.set()
        await stop.wait()
        await server.shutdown()

    stop = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    assert ready.wait(10)
    yield port
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


def test_a_modbus_meter_is_read_every_interval_and_a_missing_one_holds_up_nobody(
    tmp_path: Path, modbus_port: int
) -> None:
    settings = "[plugins.modbus.modbus]\ntimeout_s = 0.3\nretries = 0\n"
    with served(tmp_path, "modbus", modbus_port, settings) as hub:
        hub.devices.approve(
            "roof-7", Decision(protocol="modbus", address="7", line="roof", profile="eastron-sdm630"), "test"
        )
        assert until(lambda: len(hub.store.readings.latest("roof-7")) >= 10)
        assert {r["value"] for r in hub.store.readings.latest("roof-7")} <= {1.5, 0.0015}
        hub.devices.approve(
            "roof-9", Decision(protocol="modbus", address="9", line="roof", profile="eastron-sdm630"), "test"
        )
        # pymodbus answers for a unit that is not there with an exception
        assert until(lambda: metric(hub, "deviations_total", line="roof", code="exception"))
        before = hub.store.readings.count()
        assert until(lambda: hub.store.readings.count() > before + 20)


class Meter(threading.Thread):
    """A DL/T 645 meter on a transparent TCP line; written from the standard's frame, not with the codec."""

    def __init__(self) -> None:
        super().__init__()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections = 0

    def run(self) -> None:
        while True:
            try:
                line, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            with line, contextlib.suppress(OSError):
                self.serve(line)

    def serve(self, line: socket.socket) -> None:
        while data := line.recv(256):
            start = data.index(0x68)
            frame = data[start:]
            di = bytes((b - 0x33) & 0xFF for b in frame[10:14])
            if di == bytes.fromhex("02030000")[::-1]:
                answer = bytes((0x91, 7)) + bytes((b + 0x33) & 0xFF for b in di + bytes.fromhex("452301"))
            else:
                answer = bytes((0xD1, 1, 0x33 + 2))
            body = frame[:8] + answer
            line.sendall(b"\xfe\xfe" + body + bytes((sum(body) & 0xFF, 0x16)))
            if di == bytes.fromhex("00010000")[::-1] and self.connections == 1:
                return  # the line breaks once


def test_a_dlt645_meter_is_read_and_a_broken_line_is_made_anew(tmp_path: Path) -> None:
    meter = Meter()
    meter.start()
    try:
        with served(tmp_path, "dlt645", meter.port) as hub:
            hub.devices.approve("meter-a", Decision(protocol="dlt645", address="1234", line="roof"), "test")
            assert until(lambda: meter.connections >= 2 and hub.store.readings.count() >= 3)
            (latest,) = hub.store.readings.latest("meter-a")
            assert (latest["channel_id"], latest["value"]) == ("meter-a/02030000-rtd", pytest.approx(1.2345))
            assert any(e["kind"] == "line" for e in hub.gateway.status()["events"])
    finally:
        meter.listener.shutdown(socket.SHUT_RDWR)
        meter.listener.close()
        meter.join()
