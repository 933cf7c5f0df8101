"""The real process is killed with SIGKILL at random moments of the night's intake; nothing committed may be lost.

`DIANHUAN_KILLS` sets the number of kills (make bench: 200).
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dianhuan_hub.store import Engine

FEW = int(os.environ.get("DIANHUAN_KILLS", "5"))
MANY = 25

CONTENT = {
    "curves": """SELECT p.metering_point_id, c.day, c.kw, c.missing, c.points FROM curve c JOIN point_ordinal p
        USING (mp) ORDER BY ALL""",
    "features": """SELECT o.entity_id, f.* EXCLUDE (ent) FROM feature_day f JOIN entity_ordinal o USING (ent)
        ORDER BY ALL""",
    "links": "SELECT * EXCLUDE (load_id) FROM account_link ORDER BY ALL",
    "points": "SELECT * EXCLUDE (load_id) FROM metering_point ORDER BY ALL",
    "quarantine": "SELECT table_name, row_no, code, payload FROM quarantine ORDER BY ALL",
    "cursors": "SELECT source, stream, position FROM cursor ORDER BY ALL",
}


def content(hub: Any) -> dict[str, Any]:
    """Everything that an interrupted intake must end with, bit by bit."""
    engine = Engine(hub.folder / "data" / "hub.duckdb")
    with engine.cursor() as con:
        found = {name: con.sql(query).to_arrow_table() for name, query in CONTENT.items()}
        found["accepted"] = con.execute("SELECT sum(accepted) FROM load").fetchall()[0][0]
    engine.close()
    return found


def committed(hub: Any) -> tuple[int, int]:
    """Rows of curves, and rows that loads say they brought or replaced."""
    if not (hub.folder / "data" / "hub.duckdb").exists():
        return 0, 0
    engine = Engine(hub.folder / "data" / "hub.duckdb")
    with engine.cursor() as con:
        rows, keys = con.execute("SELECT count(*), count(DISTINCT (day, mp)) FROM curve").fetchall()[0]
        said = con.execute(
            "SELECT coalesce(sum(accepted - corrected), 0) FROM load WHERE stream IN ('curve', 'correction')"
        ).fetchall()[0][0]
    engine.close()
    assert rows == keys, "a metering point's day stands twice"
    return rows, int(said)


def source(city: Path) -> str:
    return (
        '\n[sources.grid]\nadapter = "grid_hunan"\n[sources.grid.config.delivery]\nkind = "folder"\n'
        f'path = "{city / "grid"}"\nsettle_seconds = 0\n'
    )


def sweep(new_hub: Callable[..., Any], tmp_path: Path, kills: int, seed: int) -> None:
    city = tmp_path / "city"
    whole = new_hub("whole")
    whole("sim", "city", city, "--entities", 1500, "--days", 12, "--seed", 3)
    with (whole.folder / "hub.toml").open("a", encoding="utf-8") as file:
        file.write(source(city))
    began = time.monotonic()
    whole("ingest")
    usual = time.monotonic() - began
    expected = content(whole)
    assert expected["curves"].num_rows > 15_000
    rng = random.Random(seed)
    done = 0
    for attempt in itertools.count():
        if done >= kills:
            break
        hub = new_hub(f"hub{attempt}", source(city))
        for _ in range(min(5, kills - done)):
            before = committed(hub)
            child = subprocess.Popen(hub.command("ingest", "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            time.sleep(rng.uniform(0.25, 0.9) * usual)
            if child.poll() is None:
                child.send_signal(signal.SIGKILL)
            child.communicate()
            # Killed while plugins start, the hub leaves one switched off until a person looks: another test's business.
            shutil.rmtree(hub.folder / "data" / "plugin-state", ignore_errors=True)
            finished = child.returncode == 0
            done += not finished  # a process that had ended was not killed
            rows, said = committed(hub)
            assert rows == said, "lineage and rows disagree"
            assert rows >= before[0], "a committed row is gone"
            if finished:
                break
        hub("ingest")
        found = content(hub)
        for name in CONTENT:
            if name == "features":
                # A sum of products depends on how many rows are multiplied at once: equal to rounding.
                for column in expected[name].column_names:
                    values, others = (t[name].column(column).to_numpy() for t in (found, expected))
                    if values.dtype.kind == "f":
                        np.testing.assert_allclose(values, others, rtol=1e-4, atol=1e-4, err_msg=column)
                    else:
                        np.testing.assert_array_equal(values, others, err_msg=column)
            else:
                assert found[name].equals(expected[name]), name
        assert found["accepted"] == expected["accepted"]
        assert list((hub.folder / "data").rglob("*.part")) == []


def test_killed_at_random_moments_loses_and_doubles_nothing(new_hub, tmp_path):
    sweep(new_hub, tmp_path, FEW, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_many_random_moments_loses_and_doubles_nothing(new_hub, tmp_path):
    sweep(new_hub, tmp_path, MANY, seed=2)
