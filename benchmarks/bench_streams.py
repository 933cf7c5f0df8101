"""One tick of the real-time models over 20,000 links, beside plain rules in the same run.

50,000 circuits (20,000 treatments, 25,000 production lines, 5,000 total meters), 4,000 pollutant series, one-minute
grid, one of twenty devices reports every five minutes, 1 % of samples missing. The models start with full histories;
two hours are ticked through (quantiles of every circuit, half-hour and hour ends included). Compared: the instant off
rule of running systems (production ≥ .2 × rated and treatment < .1 × rated) and a three-sigma rule on the ratio over
the same window. Also: dump and load of the state through Arrow IPC.

`--quick`: a tenth of the links.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks._report import summary, table, write
from dianhuan_models._levels import LOW, STEP
from dianhuan_models.stream_specs import STREAM_SPECS
from dianhuan_sdk import (
    Circuit,
    Factor,
    Link,
    Spans,
    StreamContext,
    StreamModelSpec,
    StreamState,
    StreamWindow,
    Topology,
)
from dianhuan_sdk.testing import kit_context

SAMPLES = 30
TICKS = 120
START = datetime(2026, 6, 1, 1, 30, tzinfo=UTC)


def topology(links: int) -> Topology:
    """Plants of four treatments, five production lines and one total meter."""
    circuits: list[Circuit] = []
    chosen: list[Link] = []
    factors: list[Factor] = []
    for p in range(links // 4):
        plant = f"E{p:05d}"
        circuits.append(Circuit(f"{plant}/T", plant, "plant_total", rated=500.0, station=plant))
        circuits += [Circuit(f"{plant}/P{i}", plant, "production", rated=100.0, station=plant) for i in range(5)]
        circuits += [Circuit(f"{plant}/F{i}", plant, "treatment", rated=20.0, station=plant) for i in range(4)]
        chosen += [Link(f"{plant}/L{i}", (f"{plant}/F{i}",), (f"{plant}/P{i}", f"{plant}/P{i + 1}")) for i in range(4)]
        if p % 5 == 0:
            factors += [Factor(f"{plant}/G{i}", f"{plant}/L{i}", "a24088") for i in range(4)]
    return Topology.of(circuits, chosen, factors)


def windows(top: Topology, seed: int) -> Iterator[StreamWindow]:
    """Two hours of working load, one sample more at every tick."""
    rng = np.random.default_rng(seed)
    n = len(top.circuits)
    level = (top.rated * rng.uniform(0.5, 0.9, n)).astype(np.float32)
    total = SAMPLES + TICKS
    noise = rng.lognormal(0, 0.05, (n, total)).astype(np.float32)
    kw = level[:, None] * noise
    kw[rng.random((n, total), np.float32) < 0.01] = np.nan
    slow = np.flatnonzero(rng.random(n) < 0.05)
    kw[np.ix_(slow, np.flatnonzero(np.arange(total) % 5))] = np.nan
    off = top.unit_circuit[rng.random(len(top.links)) < 0.002]
    kw[off, SAMPLES + 20 :] = 0.05
    gas = rng.lognormal(2, 0.1, (len(top.factors), total)).astype(np.float32)
    rows = [
        {"entity_id": e, "kind": "maintenance", "starts_at": START, "ends_at": START + timedelta(hours=1)}
        for e in top.entity_ids[::100]
    ]
    context = StreamContext(reports=Spans.of(rows, top), orders=Spans.of([{**r, "kind": "stop"} for r in rows], top))
    for tick in range(TICKS):
        part = slice(tick + 1, tick + 1 + SAMPLES)
        yield StreamWindow(
            at=START + timedelta(minutes=tick),
            topology=top,
            values=kw[:, part],
            age_s=np.zeros(n, np.float32),
            health=np.zeros(n, np.uint8),
            factors=gas[:, part],
            context=context,
        )


def warm(state: StreamState, state_rated: Any, seed: int) -> None:
    """A history of weeks: a working level and a standby in every histogram, and full rings."""
    c = state["circuit"]
    rng = np.random.default_rng(seed)
    place = np.rint((np.log(0.7 * state_rated) - LOW) / STEP).astype(int)
    rows = np.arange(len(c["hist"]))
    for step in range(-2, 3):
        c["hist"][rows, place + step] = rng.uniform(1000, 3000, len(rows)).astype(np.float32)
        c["hist"][rows, place - 28 + step] = 2000.0
    c["seen"][:] = 20_000
    if "ring" in c:
        c["ring"][:] = rng.uniform(20, 90, c["ring"].shape).astype(np.float32)
    if "link" in state.tables and "seen" in state["link"]:
        state["link"]["seen"][:] = 500.0
        state["link"]["usual"][:] = np.log(0.1)


def run(spec: StreamModelSpec, top: Topology, first: StreamWindow) -> tuple[dict[str, Any], list[float]]:
    """Ticks of one model, in ms, and the size and time of its dump."""
    model = spec.factory(kit_context("bench", spec.config_model(), None))  # type: ignore[arg-type]
    state = StreamState(model.layout)
    state.align(replace(first, at=first.at - timedelta(minutes=1)))
    warm(state, top.rated, 3)
    spent, found = [], 0
    for window in windows(top, 7):
        began = time.perf_counter()
        found += len(model.step(state, window))
        spent.append((time.perf_counter() - began) * 1e3)
    began = time.perf_counter()
    size = 0
    kept = {}
    for name, batch in state.dump().items():
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as out:
            out.write_batch(batch)
        buffer = sink.getvalue()
        size += buffer.size
        kept[name] = pa.ipc.open_stream(buffer).read_next_batch()
    StreamState.load(model.layout, kept)
    dumped = time.perf_counter() - began
    facts = {"findings": found, "state_mb": round(size / 1e6, 1), "dump_and_load_s": round(dumped, 2)}
    return facts, spent


def rules(top: Topology) -> dict[str, list[float]]:
    """Ticks of the plain rules, in ms."""

    def instant(w: StreamWindow) -> Any:
        x = w.values[:, -1]
        producing = np.logical_or.reduceat((x >= 0.2 * top.rated)[top.pair_circuit], top.pair_start)
        return producing & (x[top.unit_circuit] < 0.1 * top.rated[top.unit_circuit])

    def three_sigma(w: StreamWindow) -> Any:
        load = np.add.reduceat(w.values[top.pair_circuit], top.pair_start, axis=0)
        ratio = w.values[top.unit_circuit] / load
        mean, sd = np.nanmean(ratio[:, :-1], axis=1), np.nanstd(ratio[:, :-1], axis=1)
        return ratio[:, -1] < mean - 3 * sd

    named: dict[str, Callable[[StreamWindow], Any]] = {"instant off rule": instant, "three-sigma ratio": three_sigma}
    spent: dict[str, list[float]] = {name: [] for name in named}
    for number, window in enumerate(windows(top, 7)):
        if number % 10 == 0:
            for name, rule in named.items():
                began = time.perf_counter()
                rule(window)
                spent[name].append((time.perf_counter() - began) * 1e3)
    return spent


def main(argv: list[str]) -> None:
    """Run and write the figures."""
    np.seterr(invalid="ignore")
    links = 2_000 if "--quick" in argv else 20_000
    top = topology(links)
    first = next(windows(top, 7))
    rows: list[dict[str, Any]] = []
    whole = np.zeros(TICKS)
    for spec in STREAM_SPECS:
        facts, spent = run(spec, top, first)
        whole += spent
        rows.append({"what": spec.id, **_ms(spent), **facts})
    rows.append({"what": "M1–M4 together", **_ms(whole.tolist())})
    rows += [{"what": name, **_ms(spent)} for name, spent in rules(top).items()]
    write(
        "streams",
        {
            "links": links,
            "circuits": len(top.circuits),
            "factors": len(top.factors),
            "ticks": TICKS,
            "tick_ms": rows,
            "target": "a tick of M1–M4 over 20,000 links < 200 ms on one core",
            "met": bool(np.percentile(whole, 95) < 200) if links == 20_000 else None,
        },
    )
    keys = ("what", "median_ms", "p95_ms", "max_ms")
    print(table([{k: r[k] for k in keys} for r in rows]))


def _ms(spent: list[float]) -> dict[str, float]:
    return {
        "median_ms": round(summary(spent)["median"], 1),
        "p95_ms": round(float(np.percentile(spent, 95)), 1),
        "max_ms": round(max(spent), 1),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
