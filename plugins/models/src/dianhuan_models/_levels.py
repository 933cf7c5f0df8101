"""What is usual for a circuit: quantiles of weeks of samples in a decaying histogram of the logarithm.

128 bins from 0.01 to 100,000 (kW or A), 13 % apart, interpolated inside a bin; the quantiles that models use are drawn
anew once an hour, each circuit in its own minute of the hour. 512 bytes a circuit hold what 30 days of samples say.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import Any

import numpy as np

from dianhuan_models._samples import Sample
from dianhuan_sdk import StateField, Topology
from dianhuan_sdk.features import BoolArray, FloatArray

BINS = 128
LOW, HIGH = np.log(0.01), np.log(100_000.0)
STEP = (HIGH - LOW) / (BINS - 1)
MEMORY_DAYS = 20.0
LONG_REST = 60.0
"""Minutes off after which a start is one from cold: `settled` counts from it, pauses between charges do not matter."""
READY_MINUTES = 1440.0
"""Samples of a day before own levels are believed."""

ON_SHARE, LOW_FACTOR, OFF_SHARE = 0.35, 2.0, 0.15
"""Production is on above max(.35·q95, 2·q05); treatment is off below .15·its median while on (recipe of M1)."""

STEADY_SHARE = 0.6
"""2·q05 counts up to .6·q95 only: a line that runs round the clock has no low level of its own."""

HYSTERESIS = 0.9
LEAST_OF_RATED = 0.3
"""An equipment that hardly ever runs must not make its standby the level it is judged by."""

LEVEL_FIELDS: tuple[StateField, ...] = (
    StateField("hist", "f4", 0.0, BINS),
    StateField("seen", "f4", 0.0),
    StateField("q95", "f4", np.nan),
    StateField("on_level", "f4", np.nan),
    StateField("on_above", "f4", np.nan),
    StateField("off_below", "f4", np.nan),
    StateField("idle", "f4", np.nan),
    StateField("on", "?", False),
    StateField("rest", "f4", 0.0),
    StateField("settled", "f4", 1e6),
)
"""Columns of the state table `circuit`."""

Columns = dict[str, np.ndarray[Any, Any]]


def learn(c: Columns, topology: Topology, sample: Sample, usual: BoolArray) -> None:
    """Take a sample into the histograms, draw due quantiles, and move the on/off state of every circuit.

    Args:
        c: the state table `circuit`.
        topology: the circuits.
        sample: the sample.
        usual: shape (circuits,): true where the sample may teach.
    """
    c["hist"][sample.changed] = 0.0
    c["seen"][sample.changed] = 0.0
    rows = np.flatnonzero(usual & ~np.isnan(sample.x) & ~sample.changed)
    with np.errstate(divide="ignore", invalid="ignore"):
        place = (np.log(np.maximum(sample.x[rows], 0.01)) - LOW) / STEP
    c["hist"][rows, np.clip(np.rint(place), 0, BINS - 1).astype(np.intp)] += sample.minutes
    c["seen"][rows] += sample.minutes
    start = (sample.second // 60) % 60
    slots = _slots(topology)
    due = np.flatnonzero((slots >= start - sample.minutes) & (slots < start) if start else slots >= 60 - sample.minutes)
    if due.size:
        _draw(c, due, topology.rated)
    _cold(c, topology)
    x, on, m = sample.x, c["on"], np.float32(sample.minutes)
    with np.errstate(invalid="ignore"):
        on |= x > c["on_above"]
        on &= ~(x < HYSTERESIS * c["on_above"])
    c["settled"] = np.where(on & (c["rest"] >= LONG_REST), 0, np.minimum(c["settled"] + m, 1e6)).astype(np.float32)
    c["rest"] = np.where(on, 0, np.minimum(c["rest"] + m, 1e6)).astype(np.float32)


def known(c: Columns, sample: Sample) -> BoolArray:
    """Shape (circuits,): there is a value and there are levels to judge it by."""
    return np.asarray(~np.isnan(sample.x) & ~np.isnan(c["on_above"]))


def _draw(c: Columns, rows: np.ndarray[Any, np.dtype[np.intp]], rated: FloatArray) -> None:
    """Quantiles of some circuits, and an hour's forgetting."""
    rows = rows[c["seen"][rows] >= READY_MINUTES]
    if not rows.size:
        return
    hist = c["hist"][rows] * np.float32(np.exp(-1 / (24 * MEMORY_DAYS)))
    c["hist"][rows] = hist
    total = np.cumsum(hist, axis=1, dtype=np.float32)
    q95, q05 = _quantile(total, hist, 0.95), _quantile(total, hist, 0.05)
    on_above = np.maximum(ON_SHARE * q95, np.minimum(LOW_FACTOR * q05, STEADY_SHARE * q95))
    upper = _below(total, hist, on_above)
    whole = total[:, -1]
    on_level = _quantile(total, hist, (upper + 0.5 * (whole - upper)) / whole)
    idle = _quantile(total, hist, 0.99 * _below(total, hist, HYSTERESIS * on_above) / whole)
    c["q95"][rows], c["on_level"][rows], c["on_above"][rows] = q95, on_level, on_above
    c["off_below"][rows], c["idle"][rows] = OFF_SHARE * np.fmax(on_level, LEAST_OF_RATED * rated[rows]), idle


def _cold(c: Columns, topology: Topology) -> None:
    """Rated load stands in until a day has been seen."""
    rows = np.flatnonzero((c["seen"] < READY_MINUTES) & ~np.isnan(topology.rated))
    rated = topology.rated[rows]
    c["q95"][rows], c["on_level"][rows], c["on_above"][rows] = 0.8 * rated, 0.7 * rated, ON_SHARE * 0.8 * rated
    c["off_below"][rows] = OFF_SHARE * 0.7 * rated
    none = (c["seen"] < READY_MINUTES) & np.isnan(topology.rated)
    for name in ("q95", "on_level", "on_above", "off_below", "idle"):
        c[name][none] = np.nan


def _quantile(total: FloatArray, hist: FloatArray, q: float | np.ndarray[Any, Any]) -> FloatArray:
    """Value below which the share q of each row lies."""
    want = (np.asarray(q, np.float32) * total[:, -1]).astype(np.float32)
    column = np.minimum((total < want[:, None]).sum(axis=1), BINS - 1)
    row = np.arange(len(total))
    inside = hist[row, column]
    part = np.where(inside > 0, (want - (total[row, column] - inside)) / np.maximum(inside, 1e-9), 0.5)
    return np.asarray(np.exp(LOW + STEP * (column - 0.5 + np.clip(part, 0, 1))), np.float32)


def _below(total: FloatArray, hist: FloatArray, value: FloatArray) -> FloatArray:
    """Weight of each row below a value."""
    place = (np.log(value) - LOW) / STEP + 0.5
    column = np.clip(place.astype(np.intp), 0, BINS - 1)
    row = np.arange(len(total))
    inside = hist[row, column]
    return np.asarray(total[row, column] - inside + inside * np.clip(place - column, 0, 1), np.float32)


@lru_cache(maxsize=4)
def _slots(topology: Topology) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Minute of the hour in which a circuit's quantiles are drawn: from its key, not from its row."""
    return np.array([zlib.crc32(c.circuit_id.encode()) % 60 for c in topology.circuits], np.uint8)
