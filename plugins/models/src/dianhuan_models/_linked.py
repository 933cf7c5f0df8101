"""What M1 and M2 see of each link at a sample: does production run, is the treatment known, what stands in the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dianhuan_models._levels import known
from dianhuan_models._samples import Sample
from dianhuan_sdk import StreamWindow, Text
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
        treatment: held value of the treatment circuit, NaN unknown.
        judged: the treatment circuit is known and has levels.
        reported: a filed report explains it.
        dark: an outage, a changed meter: nothing is said.
    """

    producing: BoolArray
    idle: BoolArray
    load: FloatArray
    relative: FloatArray
    treatment: FloatArray
    judged: BoolArray
    reported: BoolArray
    dark: BoolArray


def look(c: Columns, window: StreamWindow, sample: Sample) -> Links:
    """All links at a sample."""
    top, n = window.topology, len(window.topology.circuits)
    seen = known(c, sample)
    pair, start = top.pair_circuit, top.pair_start
    on = np.logical_or.reduceat((c["on"] & seen)[pair], start)
    unknown = np.logical_or.reduceat(~seen[pair], start)
    load = np.add.reduceat(np.where(seen, sample.x, np.float32(np.nan))[pair], start)
    usual = np.add.reduceat(c["q95"][pair], start)
    context = window.context
    outage = context.outages.covered(sample.second, n)
    reported = context.reports.covered(sample.second, n, EXCUSES)
    disturbed = outage | sample.changed
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = load / usual
    return Links(
        producing=on,
        idle=~on & ~unknown,
        load=load,
        relative=np.asarray(relative, np.float32),
        treatment=sample.x[top.treatment],
        judged=seen[top.treatment],
        reported=reported[top.treatment],
        dark=disturbed[top.treatment],
    )


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
