"""From the socket to the committed reading to the 9014: frames a second, memory, idle connections, MQTT.

    python -m benchmarks gateway [--seconds 10] [--devices 500] [--connections 50] [--idle 2000] [--quick]

The hub runs in a process of its own (`dianhuan serve`'s gateway, a real store on disk); loggers are a second process
that sends 370-byte frames with ten readings (and their flags) over loopback and counts 9014. Only answered frames
count, and at the end every one of them must be in the store. `per CPU second` divides by the processor time of the
hub's process, all its threads: what one core carries, whatever else the machine does meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

from benchmarks._report import write

SIZE = 370
TARGET = 45_000
TARGET_MQTT = 9_000
LISTENER = """[gateway.listeners.loggers]
host = "127.0.0.1"
port = 0
hello = false
frames_per_s = 1e6
buffered_bytes = 4194304
connections_per_peer = 100000
"""
TOPICS = """[plugins.mqtt.mqtt]
[[plugins.mqtt.mqtt.topics]]
topic = "plants/+/circuits/+"
device = "{2}.{4}"
time = {path = "ts", form = "epoch_ms"}
""" + "readings = [{}]\n".format(
    ", ".join(f'{{path = "i{k}", code = "i{k}", quantity = "current", unit = "A"}}' for k in range(10))
)


def mn(number: int) -> str:
    return f"010000A8900016F0{number:08X}"


# the hub's process


def serve(folder: str, devices: int, protocol: str) -> None:
    """Run a hub's gateway; answers commands on stdin with one JSON line each."""
    from dianhuan_hub.app import open_hub
    from dianhuan_hub.gateway import Decision, GatewayThread, own_process
    from dianhuan_hub.kernel.config import load_config

    own_process()
    with open_hub(load_config(Path(folder), {})) as hub:
        for number in range(devices):
            hub.devices.approve(mn(number), Decision(protocol="hj212"), "bench")
        for number in range(500 if protocol == "mqtt" and not hub.devices.devices() else 0):
            hub.devices.approve(f"p{number}.c1", Decision(protocol="mqtt", line="site"), "bench")
        thread = GatewayThread(hub.gateway, lambda error: print(error, file=sys.stderr))
        print(json.dumps(dict(thread.start())), flush=True)
        for line in sys.stdin:
            if line.strip() == "end":
                break
            print(json.dumps(_facts(hub)), flush=True)
        thread.stop()


def _facts(hub: Any) -> dict[str, float]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    with hub.store.engine.cursor() as con:
        readings = con.execute("SELECT count(*) FROM reading").fetchall()[0][0]
        frames = con.execute("SELECT count(*) FROM raw_frame").fetchall()[0][0]
    return {
        "cpu": usage.ru_utime + usage.ru_stime,
        "rss": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
        "readings": readings,
        "frames": frames,
    }


class Hub:
    """The hub's process."""

    def __init__(self, folder: Path, devices: int, cpu: int | None, protocol: str = "hj212") -> None:
        command = [sys.executable, "-m", "benchmarks.bench_gateway", "--serve", str(folder), "--devices", str(devices)]
        command += ["--protocol", protocol]
        if cpu is not None:
            command = ["taskset", "-c", str(cpu), *command]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addresses: dict[str, str] = self._read()

    def facts(self) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write("facts\n")
        self.process.stdin.flush()
        return self._read()

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("end\n")
        self.process.stdin.close()
        self.process.wait()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found


# the loggers' process


def wires(number: int, start: datetime) -> Iterator[bytes]:
    """Frames of one device, a minute apart in its time: three currents by Min, Avg, Max and a voltage, with flags."""
    from dianhuan_devices.hj212 import encode_segment

    minute = 0
    while True:
        at = f"{start + timedelta(hours=8, minutes=minute):%Y%m%d%H%M%S}"
        low = 1 + (number * 7 + minute) % 400 / 10
        groups = [
            f"{code}-Min={low:.3f},{code}-Avg={low * 1.1:.3f},{code}-Max={low * 1.2:.3f},{code}-Flag=N"
            for code in ("e30101", "e30102", "e30103")
        ]
        groups.append(f"i33202-Avg={380 + minute % 7:.2f},i33202-Flag=N")
        area = f"DataTime={at};" + ";".join(groups)
        fields = [("QN", at + "123"), ("ST", "52"), ("CN", "2051"), ("PW", "123456"), ("MN", mn(number)), ("Flag", "9")]
        short = SIZE - 12 - len("".join(f"{n}={v};" for n, v in fields)) - len("CP=&&&&") - len(area)
        yield encode_segment(fields, area.replace("i33202-Avg=", "i33202-Avg=" + "1" * short).encode("ascii"))
        minute += 1


def load(address: str, devices: int, connections: int, seconds: float, window: int) -> None:
    """Keep `window` frames unanswered on every connection; prints sent, answered, seconds.

    The frames are made before the clock starts: the loggers must not be what is measured.
    """
    makers = [wires(n, datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(days=20)) for n in range(devices)]
    each = max(200, int(seconds * 40_000 / devices))
    blocks = []
    for connection in range(connections):
        mine = makers[connection::connections]
        blocks.append([b"".join(next(m) for m in mine) for _ in range(each)])
    size = devices // connections
    host, port = address.rsplit(":", 1)
    sent = answered = 0

    async def logger(rows: list[bytes]) -> None:
        nonlocal sent, answered
        reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 20)
        open_frames, place = 0, 0
        while time.perf_counter() < end or open_frames:
            while open_frames < window and place < len(rows) and time.perf_counter() < end:
                writer.write(rows[place])
                place += 1
                open_frames += size
                sent += size
            if not open_frames:
                break
            data = await reader.read(1 << 18)
            if not data:
                break
            found = data.count(b"##")  # an answer of 9014 may be cut between the two signs: counted by its next read
            open_frames -= found
            answered += found
        writer.close()

    async def run() -> None:
        await asyncio.gather(*(logger(rows) for rows in blocks))

    print("ready", flush=True)
    sys.stdin.readline()
    start = time.perf_counter()
    end = start + seconds
    asyncio.run(run())
    print(json.dumps({"sent": sent, "answered": answered, "seconds": time.perf_counter() - start}), flush=True)


def measure_tcp(folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Socket → committed → 9014."""
    hub_file(folder, LISTENER)
    hub = Hub(folder, chosen.devices, chosen.cpu)
    before = hub.facts()
    command = [sys.executable, "-m", "benchmarks.bench_gateway", "--load", hub.addresses["loggers"]]
    for name in ("devices", "connections", "seconds", "window"):
        command += [f"--{name}", str(getattr(chosen, name))]
    loggers = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert loggers.stdin is not None
    assert loggers.stdout is not None
    loggers.stdout.readline()
    before = hub.facts()
    loggers.stdin.write("go\n")
    loggers.stdin.flush()
    memory = []
    while loggers.poll() is None:
        time.sleep(min(5.0, chosen.seconds / 5))
        memory.append(hub.facts()["rss"] >> 20)
    told = json.loads(loggers.stdout.readline())
    after = hub.facts()
    hub.end()
    cpu = after["cpu"] - before["cpu"]
    frames = told["answered"]
    assert after["frames"] >= frames, "an answered frame is not in the store"
    assert after["readings"] == 10 * after["frames"]
    return {
        "frames": frames,
        "frames_per_s": round(frames / told["seconds"]),
        "frames_per_cpu_s": round(frames / cpu),
        "cores": round(cpu / told["seconds"], 2),
        "memory_mb": memory,
    }


def parse_only(chosen: argparse.Namespace) -> float:
    """Frames per CPU second of the codec alone, in the same run: as many codecs, ten frames a read."""
    from dianhuan_devices.hj212 import Hj212Codec, Hj212Config

    start = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(days=20)
    makers = [wires(n, start) for n in range(chosen.devices)]
    codecs = [Hj212Codec(Hj212Config(), lambda _: None) for _ in range(chosen.connections)]
    reads = [
        (codec, b"".join(next(m) for m in makers[n :: chosen.connections]))
        for _ in range(20)
        for n, codec in enumerate(codecs)
    ]
    for codec, data in reads[: len(reads) // 10]:
        codec.feed(data)
    began, frames = time.process_time(), 0
    for codec, data in reads[len(reads) // 10 :]:
        frames += len(codec.feed(data))
    return frames / (time.process_time() - began)


def measure_idle(folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Resident bytes of a connection that has sent nothing, and of one with a new device that has sent one frame: its
    ten channels, in the register and the store, are in that."""
    hub_file(folder, LISTENER)
    hub = Hub(folder, chosen.idle, chosen.cpu)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    host, port = hub.addresses["loggers"].rsplit(":", 1)
    frames = [next(wires(n, datetime.now(UTC) - timedelta(days=1))) for n in range(chosen.idle)]
    found: dict[str, Any] = {"connections": chosen.idle}
    for name, spoke in (("silent", False), ("new_device_with_ten_channels", True)):
        before = hub.facts()["rss"]
        lines = [socket.create_connection((host, int(port))) for _ in range(chosen.idle)]
        for line, frame in zip(lines, frames, strict=True) if spoke else ():
            line.sendall(frame)
        for line in lines if spoke else ():
            line.recv(4096)
        time.sleep(5.0)  # quiet connections let their codecs go
        found[f"bytes_each_{name}"] = (hub.facts()["rss"] - before) // chosen.idle
        for line in lines:
            line.close()
        time.sleep(1.0)
    hub.end()
    return found


def measure_mqtt(folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """QoS 1 publish → Mosquitto → committed → acknowledged. The messages are queued at the broker first, so that
    neither the publisher nor the broker's way in is what is measured."""
    import paho.mqtt.client as paho

    broker = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if broker is None:
        return {"skipped": "no mosquitto on this machine"}
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = (files("dianhuan_hub.gateway") / "mosquitto.conf").read_text("utf-8")
    conf = folder / "mosquitto.conf"
    conf.write_text(
        text.replace("listener 1883", f"listener {port}") + f"\npersistence_location {folder}/\nuser root\n"
    )
    process = subprocess.Popen([broker, "-c", str(conf)], stderr=subprocess.DEVNULL)
    try:
        time.sleep(1.0)
        hub_file(folder, f"[gateway.brokers.site]\nhost = '127.0.0.1'\nport = {port}\n" + TOPICS)
        hub = Hub(folder, 0, chosen.cpu, "mqtt")
        time.sleep(1.0)
        hub.end()  # the broker knows the subscription now and keeps what comes
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
        client.max_queued_messages_set(0)
        client.max_inflight_messages_set(2000)
        client.connect("127.0.0.1", port)
        client.loop_start()
        base = int(datetime.now(UTC).timestamp()) * 1000
        count = chosen.messages
        for n in range(count):
            device = f"plants/p{n % 500}/circuits/c1"
            values = ", ".join(f'"i{k}": {1 + n % 97 / 10 + k}' for k in range(10))
            payload = f'{{"ts": {base - (n // 500) * 60_000}, {values}}}'
            info = client.publish(device, payload, qos=1)
        info.wait_for_publish(120)
        client.disconnect()
        client.loop_stop()
        hub = Hub(folder, 0, chosen.cpu, "mqtt")
        before, began = hub.facts(), time.perf_counter()
        while (after := hub.facts())["frames"] < count and time.perf_counter() - began < 120:
            time.sleep(0.1)
        seconds = time.perf_counter() - began
        hub.end()
    finally:
        process.terminate()
        process.wait()
    done = after["frames"] - before["frames"]
    return {
        "messages": count,
        "missing": count - after["frames"],
        "messages_per_s": round(done / seconds),
        "messages_per_cpu_s": round(done / (after["cpu"] - before["cpu"])),
    }


def hub_file(folder: Path, more: str) -> None:
    from dianhuan_hub.kernel.config import write_template

    write_template(folder / "hub.toml", "株洲市", "430200")
    with (folder / "hub.toml").open("a", encoding="utf-8") as file:
        file.write("\n" + more)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=10.0)
    options.add_argument("--devices", type=int, default=500)
    options.add_argument("--connections", type=int, default=50)
    options.add_argument("--window", type=int, default=1000, help="unanswered frames of one connection")
    options.add_argument("--idle", type=int, default=2000)
    options.add_argument("--cpu", type=int, help="pin the hub to this processor")
    options.add_argument("--quick", action="store_true")
    options.add_argument("--messages", type=int, default=30_000, help="MQTT messages")
    options.add_argument("--protocol", default="hj212", help=argparse.SUPPRESS)
    options.add_argument("--serve", help=argparse.SUPPRESS)
    options.add_argument("--load", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.quick:
        chosen.seconds, chosen.idle, chosen.messages = 3.0, 1000, 5_000
    if chosen.serve:
        serve(chosen.serve, chosen.devices, chosen.protocol)
        return
    if chosen.load:
        load(chosen.load, chosen.devices, chosen.connections, chosen.seconds, chosen.window)
        return
    with tempfile.TemporaryDirectory() as folder:
        parse = parse_only(chosen)
        tcp = measure_tcp(Path(folder) / "tcp", chosen)
        parse = (parse + parse_only(chosen)) / 2
        idle = measure_idle(Path(folder) / "idle", chosen)
        mqtt = measure_mqtt(Path(folder) / "mqtt", chosen)
    tcp |= {"parse_only_per_cpu_s": round(parse), "ratio_to_parse_only": round(tcp["frames_per_cpu_s"] / parse, 2)}
    print(
        f"HJ 212, socket → committed → 9014: {tcp['frames_per_s']:,} frames/s, {tcp['frames_per_cpu_s']:,} per CPU s "
        f"({tcp['cores']} cores busy); the codec alone {parse:,.0f} per CPU s in the same run"
    )
    print(f"memory during the run, MiB: {tcp['memory_mb']}")
    print(f"idle connections: {idle}")
    print(f"MQTT QoS 1: {mqtt}")
    met = {"tcp": tcp["frames_per_cpu_s"] >= TARGET, "mqtt": mqtt.get("messages_per_s", 0) >= TARGET_MQTT}
    write("gateway", {"tcp": tcp, "idle": idle, "mqtt": mqtt, "targets": [TARGET, TARGET_MQTT], "met": met})


if __name__ == "__main__":
    main()
