"""Small plants on the minute grid for trying real-time models: known events, known gaps, any order of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from dianhuan_sdk import Circuit, Factor, Health, Link, Spans, StreamContext, StreamWindow, Topology
from dianhuan_sdk.features import BoolArray, FloatArray
from dianhuan_sdk.stream import Marks

SAMPLES = 24
_ZONE = ZoneInfo("Asia/Shanghai")


@dataclass(frozen=True, eq=False)
class Plants:
    """Series of all circuits and factors, from which windows are cut.

    Args:
        topology: circuits, links, factors.
        start: beginning of the first sample, aware.
        step_s: seconds between samples.
        kw: shape (circuits, n), NaN = missing.
        factors: shape (factors, n).
        health: shape (circuits, n).
        context: handed on with every window.
    """

    topology: Topology
    start: datetime
    step_s: int
    kw: FloatArray
    factors: FloatArray
    health: Marks
    context: StreamContext

    @property
    def ticks(self) -> int:
        """Samples of the series."""
        return int(self.kw.shape[1])

    def tick(self, local: datetime) -> int:
        """Sample in which a local wall-clock instant lies."""
        return int((local.replace(tzinfo=_ZONE) - self.start).total_seconds()) // self.step_s

    def window(self, tick: int, samples: int = SAMPLES) -> StreamWindow:
        """The window that ends with a sample; what lies before the series is missing."""
        first = tick + 1 - samples
        kw, factors = (
            np.concatenate(
                [np.full((len(a), max(-first, 0)), np.nan, np.float32), a[:, max(first, 0) : tick + 1]], axis=1
            )
            for a in (self.kw, self.factors)
        )
        seen = ~np.isnan(kw)
        back = np.where(seen.any(axis=1), seen[:, ::-1].argmax(axis=1) * float(self.step_s), np.inf)
        return StreamWindow(
            at=(self.start + timedelta(seconds=(tick + 1) * self.step_s)).astimezone(ZoneInfo("UTC")),
            topology=self.topology,
            values=kw,
            age_s=back.astype(np.float32),
            health=self.health[:, tick].copy(),
            factors=factors,
            context=self.context,
            step_s=self.step_s,
        )

    def windows(self, first: int = 0, last: int | None = None, samples: int = SAMPLES) -> Iterator[StreamWindow]:
        """Windows that end with the samples first … last − 1."""
        for tick in range(first, self.ticks if last is None else last):
            yield self.window(tick, samples)

    def reordered(self, seed: int) -> Plants:
        """The same plants with circuits in random order, links and factors from last to first."""
        rng, t = np.random.default_rng(seed), self.topology
        order = rng.permutation(len(t.circuits))
        links, factors = np.arange(len(t.links))[::-1], np.arange(len(t.factors))[::-1]
        topology = Topology.of(
            [t.circuits[i] for i in order], [t.links[i] for i in links], [t.factors[i] for i in factors]
        )
        where = np.empty(len(order), np.int32)
        where[order] = np.arange(len(order))
        context = replace(
            self.context,
            **{
                name: replace(spans, circuit=where[spans.circuit].astype(np.int32))
                for name in ("reports", "orders", "outages")
                for spans in (getattr(self.context, name),)
            },
        )
        return replace(
            self,
            topology=topology,
            kw=self.kw[order],
            factors=self.factors[factors],
            health=self.health[order],
            context=context,
        )


def plants(days: int = 4, seed: int = 1, step_s: int = 600, start: date = date(2026, 6, 1)) -> Plants:
    """Eight day-shift plants with two production lines, a treatment that follows them, a total meter and a pollutant.

    On the last day, 10:00 to 16:00: P0 treatment off, P1 treatment at 45 %, P2 produces under a stop order, P3 has a
    frozen production channel, P4 loses all its data, P5 has one circuit for both, P6 and P7 are as always.
    """
    begin = datetime.combine(start, time(), _ZONE)
    per_day = 86_400 // step_s
    n = days * per_day
    hour = (np.arange(n) % per_day) * (24 / per_day)
    event = (np.arange(n) // per_day == days - 1) & (hour >= 10) & (hour < 16)
    circuits: list[Circuit] = []
    links: list[Link] = []
    kw: list[FloatArray] = []
    factors: list[FloatArray] = []
    lost = np.zeros((0, n), bool)
    for p in range(8):
        rng = np.random.default_rng([seed, p])
        shift = (hour >= 7.5 + 0.1 * p) & (hour < 18 + 0.1 * p)
        lines = [_line(rng, shift, 60.0 + 20 * k + 5 * p) for k in range(2)]
        smooth = lines[0] + lines[1]
        treatment = np.where(shift, 4 + 0.15 * smooth, 0.4) * rng.lognormal(0, 0.02, n)
        if p == 0:
            treatment[event] = 0.4 * rng.lognormal(0, 0.05, int(event.sum()))
        if p == 1:
            treatment[event] *= 0.45
        total = smooth + treatment + 8 * rng.lognormal(0, 0.05, n)
        gas = np.where(shift, 12.0, 3.0) * rng.lognormal(0, 0.1, n) * np.where(event & (p == 0), 4.0, 1.0)
        if p == 3:
            lines[1] = np.where(event, lines[1][event.argmax()], lines[1])
        role = "combined" if p == 5 else "production"
        circuits += [
            Circuit(f"P{p}/total", f"P{p}", "plant_total", station=f"S{p}"),
            Circuit(f"P{p}/line1", f"P{p}", role, station=f"S{p}", facility="MF0001"),  # type: ignore[arg-type]
            Circuit(f"P{p}/line2", f"P{p}", "production", station=f"S{p}", facility="MF0002"),
            Circuit(f"P{p}/fan", f"P{p}", "treatment", station=f"S{p}", facility="TA001"),
        ]
        links.append(Link(f"P{p}/TA001", (f"P{p}/fan",), (f"P{p}/line1", f"P{p}/line2")))
        kw += [np.asarray(a, np.float32).round(2) for a in (total, *lines, treatment)]
        factors.append(gas.astype(np.float32))
        lost = np.concatenate([lost, np.repeat((event & (p == 4))[None], 4, axis=0)])
    topology = Topology.of(circuits, links, [Factor(f"P{p}/a24088", f"P{p}/TA001", "a24088") for p in range(8)])
    values, marks = np.stack(kw), np.where(lost, Health.COMM_LOSS, 0).astype(np.uint8)
    values[lost] = np.nan
    end = begin + timedelta(days=days)
    order = {"entity_id": "P2", "kind": "stop", "starts_at": end - timedelta(days=1), "ends_at": None}
    context = StreamContext(orders=Spans.of([order], topology))
    return Plants(topology, begin, step_s, values, np.stack(factors), marks, context)


def _line(rng: np.random.Generator, shift: BoolArray, top: float) -> FloatArray:
    """A production line: level with slow and quick movement in the shift, standby outside."""
    slow = np.cumsum(rng.normal(0, 0.02, len(shift)))
    slow -= np.linspace(slow[0], slow[-1], len(shift))
    level = top * np.exp(np.clip(slow, -0.25, 0.25)) * rng.lognormal(0, 0.05, len(shift))
    return np.asarray(np.where(shift, level, 0.04 * top * rng.lognormal(0, 0.1, len(shift))))
