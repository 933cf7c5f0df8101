"""Real publishing and syncing processes are killed with SIGKILL at random moments; a restart ends as if nothing was."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dianhuan_federation.log_store import fsck

FEW = 3
"""Kills of each of the two commands."""

MANY = 25
OWN = {"received_at", "digest", "last_pull_at", "last_ok_at", "via", "witnessed_at", "checkpoint_size"}


def command(party: Any, *words: str) -> list[str]:
    main = "from dianhuan_hub.cli import main; main()"
    return [sys.executable, "-c", main, "--hub", str(party.folder), "federation", *words]


def whole(party: Any, *words: str) -> float:
    """Run a command to its end; how long it took."""
    began = time.monotonic()
    done = subprocess.run(command(party, *words), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return time.monotonic() - began


def killed(party: Any, after: float, *words: str) -> bool:
    """Run a command and kill it after some seconds; false where it had ended."""
    child = subprocess.Popen(command(party, *words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(after)
    if child.poll() is None:
        os.kill(child.pid, signal.SIGKILL)
    child.wait()
    return child.returncode == -signal.SIGKILL


def tables(agency: Any) -> dict[str, list[dict[str, Any]]]:
    """The replica, without what depends on when a delivery came."""
    found = {}
    for table in ("federated_warning", "federated_outcome", "federated_statistic", "federated_statement"):
        rows = [{k: v for k, v in row.items() if k not in OWN} for row in agency.rows(table)]
        found[table] = sorted(rows, key=lambda row: (row["origin"], row["index"], row.get("record_id", "")))
    return found


def sweep(federation: ModuleType, folder: Path, kills: int, seed: int) -> None:
    stage = federation.Stage(folder, cities=("430200",))
    rng = random.Random(seed)
    try:
        federation.begin_agency(stage)
        (city,) = stage.cities
        city.open(serve=False)
        stage.fill(city)
        stage.begin(city)
        city.close()
        usual, done, rounds = 2.0, 0, 0
        while done < kills:
            # A correction and a retraction are due in every round, so that there is always something to write.
            city.open(serve=False)
            rows = sorted(city.rows("warning"), key=lambda row: str(row["warning_id"]))
            city.put("warning", [{**rows[rounds % len(rows)], "score": 0.25 + rounds / 1024}])
            city.close()
            rounds += 1
            for _ in range(2):
                done += killed(city, rng.uniform(0.4, 1.0) * usual, "publish", "--json")
            usual = whole(city, "publish", "--json")
        whole(city, "self-check")
        fsck(city.public / "log")
        expected = {row["warning_id"]: f"{row['score']:.4f}" for row in _warnings(city)}
        city.open()
        stage.agency.close()
        usual, done = 2.0, 0
        while done < kills:
            done += killed(stage.agency, rng.uniform(0.4, 1.0) * usual, "sync")
            if rng.random() < 0.5:
                usual = whole(stage.agency, "sync")
        whole(stage.agency, "sync")
        stage.agency.open()
        after = tables(stage.agency)
        current = [row for row in after["federated_warning"] if row["state"] == "current"]
        assert len(current) == len({row["record_id"] for row in current}) == len(expected), "a row is lost or doubled"
        assert sorted(f"{row['score']:.4f}" for row in current) == sorted(expected.values())
        assert {row["state"] for row in after["federated_statement"]} == {"ACCEPTED"}
        assert stage.agency.subscriber.rebuild().ok
        assert tables(stage.agency) == after, "a replay from entry 0 gives something else"
    finally:
        stage.close()


def _warnings(city: Any) -> list[dict[str, Any]]:
    city.open(serve=False)
    rows: list[dict[str, Any]] = city.rows("warning")
    city.close()
    return rows


@pytest.mark.timeout(300)
def test_killed_at_random_moments_the_federation_converges(federation: ModuleType, tmp_path: Path) -> None:
    sweep(federation, tmp_path, FEW, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_many_random_moments_the_federation_converges(federation: ModuleType, tmp_path: Path) -> None:
    sweep(federation, tmp_path, MANY, seed=2)
