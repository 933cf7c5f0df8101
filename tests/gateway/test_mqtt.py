"""MQTT against a real Mosquitto with the shipped settings: acknowledged after the commit, kept over restarts."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest

from dianhuan_hub.app import Hub, open_hub
from dianhuan_hub.gateway import Decision, GatewayThread
from dianhuan_hub.kernel.config import load_config, write_template

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="no mosquitto on this machine: apt-get install mosquitto")
NOW = datetime.now(UTC).replace(microsecond=0)
TOPICS = """
[plugins.mqtt.mqtt]
[[plugins.mqtt.mqtt.topics]]
topic = "plants/+/circuits/+"
device = "{2}.{4}"
time = {path = "ts", form = "epoch_ms"}
readings = [{path = "ia", code = "ia", quantity = "current", unit = "A", phase = "A", role = "production"}]
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """A Mosquitto with the shipped settings."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        shipped = (files("dianhuan_hub.gateway") / "mosquitto.conf").read_text("utf-8")
        self.conf = folder / "mosquitto.conf"
        text = shipped.replace("listener 1883 127.0.0.1", f"listener {self.port} 127.0.0.1")
        self.conf.write_text(text + f"\npersistence_location {folder}/\nuser root\n", "utf-8")
        self.start()

    def start(self) -> None:
        assert MOSQUITTO is not None
        self.process = subprocess.Popen([MOSQUITTO, "-c", str(self.conf)], stderr=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.05)
        raise AssertionError("mosquitto did not start")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    folder = tmp_path / "broker"
    folder.mkdir()
    made = Broker(folder)
    yield made
    if made.process.poll() is None:
        made.stop()


def write_hub(folder: Path, port: int) -> None:
    write_template(folder / "hub.toml", "株洲市", "430200")
    text = (folder / "hub.toml").read_text("utf-8")
    text += f'\n[gateway.brokers.site]\nhost = "127.0.0.1"\nport = {port}\n{TOPICS}'
    (folder / "hub.toml").write_text(text, "utf-8")


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Hub]:
    with open_hub(load_config(folder, {})) as hub:
        if hub.devices.row("p1.c1") is None:
            hub.devices.approve("p1.c1", Decision(protocol="mqtt", line="site"), "test")
        thread = GatewayThread(hub.gateway, lambda error: None)
        thread.start()
        try:
            yield hub
        finally:
            thread.stop()


def publish(port: int, first: int, count: int, device: str = "p1/circuits/c1", payload: bytes | None = None) -> int:
    """Publish with QoS 1; how many the broker has acknowledged."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
    client.max_queued_messages_set(0)
    client.connect("127.0.0.1", port)
    client.loop_start()
    infos = []
    for n in range(first, first + count):
        at = int((NOW - timedelta(seconds=n)).timestamp() * 1000)
        body = payload if payload is not None else json.dumps({"ts": at, "ia": n + 0.5}).encode()
        infos.append(client.publish(f"plants/{device}", body, qos=1))
    done = 0
    for info in infos:
        with contextlib.suppress(RuntimeError, ValueError):
            info.wait_for_publish(10)
            done += info.is_published()
    client.disconnect()
    client.loop_stop()
    return done


def connected(hub: Hub) -> bool:
    """Is the hub subscribed?"""
    return hub.metrics.registry.get_sample_value("dianhuan_gateway_connections", {"line": "site"}) == 1


def refused(hub: Hub) -> list[tuple[str]]:
    """Codes in quarantine."""
    with hub.store.engine.cursor() as con:
        return con.execute("SELECT code FROM quarantine").fetchall()


def until(true: Any, wait: float = 20.0) -> bool:
    end = time.monotonic() + wait
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_messages_are_committed_and_unknown_devices_wait(tmp_path: Path, broker: Broker) -> None:
    write_hub(tmp_path, broker.port)
    with served(tmp_path) as hub:
        assert until(lambda: connected(hub))
        assert publish(broker.port, 0, 500) == 500
        assert publish(broker.port, 0, 3, "p9/circuits/c1") == 3
        assert publish(broker.port, 0, 1, payload=b"{not json \x00\xff") == 1
        assert until(lambda: hub.store.readings.count() == 500)
        assert until(lambda: hub.devices.waiting_count() == 1)
        assert hub.devices.devices("waiting")[0].device_id == "p9.c1"
        assert until(lambda: refused(hub) == [("json_wrong",)])
        with hub.store.engine.cursor() as con:
            assert con.execute("SELECT quantity, role, unit FROM channel").fetchall() == [
                ("current", "production", "A")
            ]
        assert [r["value"] for r in hub.store.readings.latest("p1.c1")] == [0.5]


def test_a_writer_that_stalls_holds_acknowledgements_back_and_loses_nothing(tmp_path: Path, broker: Broker) -> None:
    write_hub(tmp_path, broker.port)
    with served(tmp_path) as hub:
        assert until(lambda: connected(hub))
        release = threading.Event()
        hub.store.engine.submit(lambda con: release.wait(20))
        assert publish(broker.port, 0, 3000) == 3000
        assert hub.store.readings.count() == 0
        release.set()
        assert until(lambda: hub.store.readings.count() == 3000)


def test_a_restart_of_the_broker_keeps_everything(tmp_path: Path, broker: Broker) -> None:
    write_hub(tmp_path, broker.port)
    with served(tmp_path) as hub:
        assert until(lambda: connected(hub))
        release = threading.Event()
        hub.store.engine.submit(lambda con: release.wait(20))
        assert publish(broker.port, 0, 2000) == 2000  # received by the hub, none of them acknowledged
        broker.stop()
        broker.start()
        release.set()
        assert publish(broker.port, 2000, 1000) == 1000
        assert until(lambda: hub.store.readings.count() == 3000)
        assert any(e["kind"] == "broker" for e in hub.gateway.status()["events"])


def test_sigkill_of_the_hub_between_receive_and_commit_loses_nothing(tmp_path: Path, broker: Broker) -> None:
    write_hub(tmp_path, broker.port)
    with served(tmp_path) as hub:  # the device is approved, and the broker knows the subscription
        assert until(lambda: connected(hub))
    for place in range(2):
        child = subprocess.Popen(
            [str(Path(sys.executable).with_name("dianhuan")), "--hub", str(tmp_path), "serve", "--port", "0", "--json"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        assert child.stdout.readline()
        sender = threading.Thread(target=publish, args=(broker.port, place * 2000, 2000))
        sender.start()
        time.sleep(0.15 + 0.2 * place)
        child.kill()
        child.communicate()
        sender.join()
    with served(tmp_path) as hub:
        assert until(lambda: hub.store.readings.count() == 4000)
