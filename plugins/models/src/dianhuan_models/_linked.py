"""What M1 and M2 see of each link at a sample: does production run, is the treatment known, what stands in the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dianhuan_models._levels import known
from dianhuan_models._samples import Sample
from dianhuan_sdk import StateField, StreamWindow, Text
from dianhuan_sdk.features import BoolArray, FloatArray

Columns = dict[str, np.ndarray[Any, Any]]
EXCUSES = ("maintenance", "stoppage", "commissioning", "fault", "other")
"""Filed reports that explain a treatment that does not run; permission for night work does not."""


@dataclass(frozen=True)
class Links:
    """Shape (links,) each.

    Args:
        producing: a production circuit is known to be on.
        idle: all production circuits are known to be off.
        load: sum of the production circuits; NaN where one is unknown.
        relative: load ÷ sum of their q95.
        settled: minutes since the latest start from cold of a production circuit.
        treatment: sum of the treatment circuits; NaN where one is unknown.
        low: all treatment circuits are known, and their sum is below the level of off.
        running: treatment circuits are known to draw more than that.
        dead: a treatment circuit shows zeros that are not its own standstill.
        usual: level of the largest treatment circuit while on.
        reported: a filed report explains it.
        dark: an outage, a changed meter: nothing is said.
        changed: a meter of the link was changed.
    """

    producing: BoolArray
    idle: BoolArray
    load: FloatArray
    relative: FloatArray
    settled: FloatArray
    treatment: FloatArray
    low: BoolArray
    running: BoolArray
    dead: BoolArray
    usual: FloatArray
    reported: BoolArray
    dark: BoolArray
    changed: BoolArray


ZERO_FIELDS: tuple[StateField, ...] = (
    StateField("zero_run", "i1", 0),
    StateField("zero_minutes", "f4", 0.0),
    StateField("low_minutes", "f4", 0.0),
)
"""Columns of the state table `circuit`: is exact zero this circuit's own standstill?"""

ZERO_MINUTES = 60.0
"""Exact zeros at standstill that prove zero to be usual."""


def look(c: Columns, window: StreamWindow, sample: Sample) -> Links:
    """All links at a sample; moves the columns of `ZERO_FIELDS`."""
    top, n = window.topology, len(window.topology.circuits)
    seen = known(c, sample)
    pair, start, unit, begin = top.pair_circuit, top.pair_start, top.unit_circuit, top.unit_start
    on = np.logical_or.reduceat((c["on"] & seen)[pair], start)
    unknown = np.logical_or.reduceat(~seen[pair], start)
    idle = ~on & ~unknown
    load = np.add.reduceat(np.where(seen, sample.x, np.float32(np.nan))[pair], start)
    top_load = np.add.reduceat(c["q95"][pair], start)
    context = window.context
    outage = context.outages.covered(sample.second, n)
    reported = context.reports.covered(sample.second, n, EXCUSES)
    dead = _dead(c, window, sample, idle, outage)
    good = seen & ~dead
    complete = np.logical_and.reduceat(good[unit], begin)
    partial = np.add.reduceat(np.where(good, sample.x, np.float32(0))[unit], begin)
    least = np.fmax.reduceat(c["off_below"][unit], begin)
    changed = np.logical_or.reduceat(sample.changed[pair], start) | np.logical_or.reduceat(sample.changed[unit], begin)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = load / top_load
        running = partial >= least
        low = complete & (partial < least)
    return Links(
        producing=on,
        idle=idle,
        load=load,
        relative=np.asarray(relative, np.float32),
        settled=np.minimum.reduceat(np.where(c["on"], c["settled"], np.float32(1e6))[pair], start),
        treatment=np.where(complete, partial, np.float32(np.nan)),
        low=low,
        running=running,
        dead=np.logical_or.reduceat(dead[unit], begin),
        usual=np.fmax.reduceat(c["on_level"][unit], begin),
        reported=np.logical_or.reduceat(reported[unit], begin),
        dark=np.logical_or.reduceat(outage[unit], begin) | changed,
        changed=changed,
    )


def _dead(c: Columns, window: StreamWindow, sample: Sample, idle: BoolArray, outage: BoolArray) -> BoolArray:
    """Shape (circuits,): exact zeros of a treatment circuit whose own standstill is not zero, or not seen yet.

    Zeros teach only if they began while production stood still: a channel that dies while production runs never
    proves its own zeros; nor do those of an outage.
    """
    top = window.topology
    still = np.zeros(len(top.circuits), bool)
    still[top.unit_circuit[idle[top.unit_link]]] = True
    still &= ~outage
    zero = sample.x == 0
    run = c["zero_run"]
    run[~zero & ~np.isnan(sample.x)] = 0
    begins = zero & (run == 0)
    run[begins] = np.where(still[begins], 1, 2)
    with np.errstate(invalid="ignore"):
        low = sample.x < c["off_below"]
    c["zero_minutes"][zero & (run == 1) & still] += sample.minutes
    c["low_minutes"][low & ~zero & still] += sample.minutes
    proven = (c["zero_minutes"] >= ZERO_MINUTES) & (c["zero_minutes"] > 0.5 * c["low_minutes"])
    return np.asarray(zero & ~proven)


def officer_mute(window: StreamWindow, keys: tuple[str, ...], second: int) -> BoolArray:
    """Shape (keys,): muted by an officer now."""
    mute = np.zeros(len(keys), bool)
    muted = window.context.muted
    if muted:
        for row, key in enumerate(keys):
            until = muted.get(key)
            mute[row] = until is not None and until.timestamp() > second
    return mute


def kw(value: float) -> str:
    """A load in words."""
    return f"{value:.3g}"


NO_DATA = Text("治污回路没有可信数据,不能判定", "no trustworthy data of the treatment circuit: cannot tell")
DEAD = Text(
    "治污回路恰为零,而平时停机并非零:通道可能失效,不能判定",
    "the treatment circuit shows exactly zero, unlike its own standstill: the channel may be dead, cannot tell",
)
COMBINED = Text(
    "产治一体回路,不能区分治污是否停运",
    "one circuit feeds production and treatment: off cannot be told",
)
