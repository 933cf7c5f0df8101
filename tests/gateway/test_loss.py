"""Nothing acknowledged is lost: SIGKILL between receive and commit, a full disk, a writer that stalls."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dianhuan_hub.app import open_hub
from dianhuan_hub.gateway import Decision
from dianhuan_hub.kernel.config import load_config

NOW = datetime.now(UTC).replace(microsecond=0)
MINUTE = timedelta(minutes=1)


def stored(folder: Path) -> tuple[set[str], int]:
    """QNs of the raw frames in a hub that does not run, and the number of its readings."""
    with open_hub(load_config(folder, {})) as hub, hub.store.engine.cursor() as con:
        raws = [bytes(r[0]) for r in con.execute("SELECT raw FROM raw_frame").fetchall()]
        return {raw[9:26].decode() for raw in raws}, hub.store.readings.count()


@pytest.mark.parametrize("rounds", [1, pytest.param(25, marks=pytest.mark.slow)])
def test_sigkill_of_a_serving_hub_loses_no_answered_frame(tmp_path: Path, helpers: Any, rounds: int) -> None:
    helpers.write_hub(tmp_path, frames_per_s=100_000, flush_ms=20)
    with open_hub(load_config(tmp_path, {})) as hub:
        for number in range(4):
            hub.devices.approve(helpers.mn(number), Decision(protocol="hj212"), "test")
    rng = random.Random(7)
    answered: set[str] = set()
    place = 0
    for _ in range(rounds):
        child = subprocess.Popen(
            [str(Path(sys.executable).with_name("dianhuan")), "--hub", str(tmp_path), "serve", "--port", "0", "--json"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        host, port = json.loads(child.stdout.readline())["gateway"]["loggers"].rsplit(":", 1)
        lines = [helpers.dial((host, int(port)), n) for n in range(4)]
        stop = threading.Event()

        def send(line: Any, first: int, stop: threading.Event = stop) -> None:
            n = first
            while not stop.is_set() and n < first + 5000:
                try:
                    line.send(*line.upload(NOW - timedelta(seconds=n)))
                except OSError:
                    return
                n += 1

        threads = [threading.Thread(target=send, args=(line, place)) for line in lines]
        for thread in threads:
            thread.start()
        first = {f"{line.number} {qn}" for line in lines for qn in line.answers(1)}
        time.sleep(rng.uniform(0.0, 0.4))
        os.kill(child.pid, signal.SIGKILL)
        stop.set()
        child.communicate()
        for thread in threads:
            thread.join()
        answered |= {entry.split()[1] for entry in first}
        for line in lines:
            answered |= set(line.answers(1 << 30, wait=2.0))
            line.close()
        place += 5000
    kept, readings = stored(tmp_path)
    assert len(answered) > 4
    assert answered <= kept
    assert readings >= len(kept)


@pytest.mark.skipif(os.geteuid() != 0 or not Path("/proc/mounts").exists(), reason="needs root to mount a small disk")
def test_full_disk_makes_devices_wait_and_goes_on_when_there_is_room(tmp_path: Path, helpers: Any) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(small)], check=False).returncode:
        pytest.skip("no right to mount a small disk here")
    try:
        with helpers.running(small, frames_per_s=1e6, queue_bytes=1 << 20) as city:
            city.approve(0)
            ballast = small / "ballast"
            line = city.dial(0)
            line.send(*line.upload(NOW))
            assert len(line.answers(1)) == 1
            with ballast.open("wb") as file:
                room = os.statvfs(small)
                file.write(b"\0" * (room.f_bavail * room.f_frsize - (600 << 10)))
            frames = [f for n in range(1, 4000) for f in line.upload(NOW - n * MINUTE)]
            sender = threading.Thread(target=lambda: line.send(*frames))
            sender.start()
            assert city.until(lambda: city.metric("commit_failures_total") >= 2, 30)
            assert any("disk is full" in text for text in city.said("store"))
            ballast.unlink()
            answered = set(line.answers(len(frames), wait=60))
            sender.join()
            assert len(answered) == len(frames)
            assert city.hub.store.readings.count() == len(frames) + 1
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


@pytest.mark.parametrize("seconds", [1.5, pytest.param(30.0, marks=pytest.mark.slow)])
def test_stalled_writer_makes_devices_wait_and_loses_nothing(start: Callable[..., Any], seconds: float) -> None:
    city = start(frames_per_s=1e6, queue_bytes=1 << 18, buffered_bytes=1 << 16)
    city.approve(0, 1)
    lines = [city.dial(n) for n in range(2)]
    city.hub.store.engine.submit(lambda con: time.sleep(seconds))
    sent: dict[int, int] = {}

    def send(line: Any) -> None:
        frames = [f for n in range(6000) for f in line.upload(NOW - n * MINUTE)]
        line.send(*frames)
        sent[line.number] = len(frames)

    threads = [threading.Thread(target=send, args=(line,)) for line in lines]
    for thread in threads:
        thread.start()
    deepest = 0
    began = time.monotonic()
    while time.monotonic() - began < seconds * 0.8:
        deepest = max(deepest, city.hub.gateway.status()["queue_bytes"])
        time.sleep(0.05)
    assert 0 < deepest <= (1 << 18) + 2 * (1 << 16)  # one read of each connection more than the limit
    assert city.metric("paused_total", reason="buffered") + city.metric("paused_total", reason="queue") >= 1
    for line in lines:
        assert len(set(line.answers(6000, wait=seconds + 60))) == 6000
    for thread in threads:
        thread.join()
    assert city.hub.store.readings.count() == 12_000


def test_a_hub_that_stops_while_the_store_is_stuck_answers_nobody(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import dianhuan_hub.gateway._gateway as gateway

    monkeypatch.setattr(gateway, "DRAIN_S", 0.3)
    city = start()
    city.approve(0)
    line = city.dial(0)
    release = threading.Event()
    city.hub.store.engine.submit(lambda con: release.wait(20))
    line.send(*line.upload(NOW))
    assert city.until(lambda: city.hub.gateway.status()["queue_bytes"] > 0)
    stopper = threading.Thread(target=city.thread.stop)
    stopper.start()
    assert line.answers(1, wait=1.0) == []
    assert line.closed()
    release.set()
    stopper.join()
    assert city.said("store")
