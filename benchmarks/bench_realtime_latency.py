"""From the minute's end that completes persistence to the warning on a stream: all circuits of a city, one at a minute.

    python -m benchmarks realtime_latency [--links 2000] [--minutes 90] [--share 0.02] [--quick]

A hub on disk, its readings committed minute by minute (two circuits a link), its API on loopback with one client of
`/events`. Treatment of a share of the links goes off, each at a minute of its own, so that warnings open in many
minutes. Two times are taken: the tick (window read, four models, one transaction), and for each warning the time from
the minute's end
(the last reading of the minute is committed) to its arrival at the client. What is not in it: `realtime.lag_s`
(2 s by default) that a running hub leaves for a minute's readings to arrive, and the minute's grid itself.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import socket
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks._report import write

START = datetime(2026, 6, 2, 2, 0, tzinfo=UTC)
PERSIST = 46


def run(links: int, minutes: int, share: float) -> dict[str, Any]:
    """Figures of one run."""
    import httpx
    import numpy as np
    import pyarrow as pa
    import uvicorn

    from dianhuan_hub.api import create_app
    from dianhuan_hub.app import open_hub
    from dianhuan_hub.kernel.config import load_config, write_template
    from dianhuan_hub.store import (
        QUARANTINE_SCHEMA,
        RAW_SCHEMA,
        LinkRow,
        LoadInfo,
        ReadingLoad,
        ReadingUnit,
        horizon,
        put_link,
    )
    from dianhuan_standards import TABLES

    names = [f"d{n // 10}/p{n}{kind}-rtd" for n in range(links) for kind in "ab"]
    channels = [
        {
            "channel_id": c, "device_id": c.partition("/")[0], "protocol": "hj212", "code": c.partition("/")[2][:-4],
            "statistic": "rtd", "interval": "moment", "quantity": "active_power", "unit": "kW",
            "entity_id": f"E{k // 2}",
            "role": "treatment" if k % 2 else "production", "rated": 20.0 if k % 2 else 100.0,
        }
        for k, c in enumerate(names)
    ]  # fmt: skip
    rng = np.random.default_rng(5)
    off_at = rng.integers(1, max(minutes - PERSIST, 2), links)
    off_at[rng.random(links) >= share] = minutes
    arrived: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        digest = hashlib.sha256(b"secret").hexdigest()
        write_template(Path(folder) / "hub.toml", "株洲市", "430200")
        with (Path(folder) / "hub.toml").open("a", encoding="utf-8") as file:
            file.write(f'\n[keys.k]\nsha256 = "{digest}"\nrole = "admin"\ndivisions = ["4302"]\npurpose = "bench"\n')
        with open_hub(load_config(Path(folder), {})) as hub, socket.create_server(("127.0.0.1", 0)) as listener:
            info = LoadInfo("bench", "1", "s", "f", "", "", START)
            load = ReadingLoad(info)

            def commit(minute: int) -> None:
                at = START + timedelta(minutes=minute)
                on = np.repeat(minute < off_at, 2)
                kw = np.where(np.arange(2 * links) % 2, np.where(on, 12.0, 0.4), 60.0)
                kw *= 1 + 0.03 * rng.standard_normal(2 * links)
                times = pa.array([at] * len(names), pa.timestamp("us", tz="UTC"))
                columns = {"channel_id": names, "device_at": times, "at": times, "received_at": times, "value": kw}
                schema = TABLES["reading"].schema
                rows = pa.RecordBatch.from_arrays(
                    [
                        pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(len(names), f.type)
                        for f in schema
                    ],
                    schema=schema,
                )
                known = channels if minute == 0 else []
                unit = ReadingUnit(
                    rows=rows,
                    channels=pa.RecordBatch.from_pylist(known, schema=TABLES["channel"].schema),
                    raw=RAW_SCHEMA.empty_table(),
                    refused=QUARANTINE_SCHEMA.empty_table(),
                    horizon=horizon(at, 30, 600),
                )
                hub.store.readings.commit(unit, load, at)

            commit(0)

            def confirm(con: Any) -> None:
                for n in range(links):
                    fan, line = names[2 * n + 1], names[2 * n]
                    put_link(
                        con, LinkRow(f"L{n}", f"E{n}", (fan,), (line,), (), "confirmed", None, None, START, "bench")
                    )

            hub.store.write(confirm)
            server = uvicorn.Server(uvicorn.Config(create_app(hub), log_level="warning", lifespan="off"))
            serving = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            serving.start()
            ready = threading.Event()

            def listen() -> None:
                address = f"http://127.0.0.1:{listener.getsockname()[1]}/events"
                headers = {"Authorization": "Bearer secret", "Last-Event-ID": "0"}
                with (
                    httpx.Client(trust_env=False, timeout=None) as client,
                    client.stream("GET", address, headers=headers) as answer,
                ):
                    for line in answer.iter_lines():
                        ready.set()
                        if line.startswith("data: "):
                            told = json.loads(line[6:])
                            arrived.setdefault(f"{told['event_id']} {told['change']}", time.perf_counter())

            client = threading.Thread(target=listen)
            client.start()
            ready.wait(30)
            ticks, opened = [], {}
            for minute in range(1, minutes):
                commit(minute)
                begin = time.perf_counter()
                report = hub.realtime.runner.tick(START + timedelta(minutes=minute + 1))
                ticks.append(time.perf_counter() - begin)
                for _, finding in report.findings if report is not None else ():
                    opened[f"{finding.event_id} {finding.change}"] = begin
            end = time.monotonic() + 30
            while set(opened) - set(arrived) and time.monotonic() < end:
                time.sleep(0.05)
            hub.realtime.feed.close()
            server.should_exit = True
            serving.join()
            client.join()
    waits = np.array([arrived[k] - begin for k, begin in opened.items() if k in arrived])
    return {
        "links": links,
        "share_off": share,
        "circuits": 2 * links,
        "ticks": len(ticks),
        "tick_p50_s": round(float(np.median(ticks)), 3),
        "tick_p99_s": round(float(np.quantile(ticks, 0.99)), 3),
        "warnings": len(opened),
        "not_arrived": len(opened) - len(waits),
        "warning_p50_s": round(float(np.median(waits)), 3),
        "warning_p99_s": round(float(np.quantile(waits, 0.99)), 3),
    }


def main() -> None:
    """Run and write the report."""
    parser = argparse.ArgumentParser(prog="realtime_latency")
    parser.add_argument("--links", type=int, default=2000)
    parser.add_argument("--minutes", type=int, default=90)
    parser.add_argument("--share", type=float, default=0.02)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    links, minutes, share = (200, 60, 0.5) if given.quick else (given.links, given.minutes, given.share)
    write("realtime_latency", run(links, minutes, share))


if __name__ == "__main__":
    main()
