"""A hub that is killed in the middle of an event says the same when it comes back: once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dianhuan_hub.app import open_hub
from dianhuan_hub.kernel.config import load_config


def command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-c", "from dianhuan_hub.cli import main; main()", "--hub", str(folder), *words]


def serve(folder: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        command(folder, "serve", "--port", "0", "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line, child.communicate()[1]
    return child


@pytest.mark.parametrize("pauses", [(0.05, 0.4, 1.0)])
def test_killed_in_the_middle_of_an_event(off_for_an_hour: Path, pauses: tuple[float, ...]) -> None:
    for pause in pauses:
        child = serve(off_for_an_hour)
        time.sleep(pause)  # before, in, or after the tick that makes up for the hour: it must not matter
        child.kill()
        child.communicate()
    child = serve(off_for_an_hour)
    try:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            asked = subprocess.run(
                command(off_for_an_hour, "realtime", "status", "--json"), capture_output=True, text=True, check=True
            )
            status = json.loads(asked.stdout)
            if status["last_tick"] is not None:
                break
        assert status["links_by_state"] == {"confirmed": 1, "proposed": 0, "refused": 0}
        assert status["failed"] == status["problems"] == {}
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0
    finally:
        child.kill()
        _, errors = child.communicate()
    assert "Traceback" not in errors
    with open_hub(load_config(off_for_an_hour, {})) as hub, hub.store.engine.cursor() as con:
        off = con.execute("SELECT change, level FROM stream_event WHERE rule = 'treatment_off'").fetchall()
        assert off == [("opened", "notice")]
        for table in ("warning", "notice", '"case"', "finding"):
            assert con.execute(f"SELECT count(*) FROM {table}").fetchall() == [(1,)], table
