"""The activity index 0 … 100 of every enterprise of a block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_sdk import Block, InputError, ModelContext

Array = np.ndarray[Any, np.dtype[np.float64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]

RECENT_DAYS = 28
MIN_POINTS = 72
MIN_RECENT, MIN_PAST = 10, 20
MIN_PEERS = 30
ACTIVE_SHARE = 0.2
"""A day is active above this part of the own usual level."""


@dataclass(frozen=True)
class Activity:
    """Activity of every enterprise; arrays of shape (entities,), NaN where it cannot be told.

    Args:
        index: 100 = as active as before, net of what the peers did; 0 = nothing left.
        level: recent over past energy of like days, not corrected.
        peers: the same for the peers' median; 1 where they are too few.
        active_days: part of the recent usual working days that were active.
        now_kw, past_kw: mean load of both.
        known_recent, known_past: valid days of both.
    """

    index: Array
    level: Array
    peers: Array
    active_days: Array
    now_kw: Array
    past_kw: Array
    known_recent: Array
    known_past: Array


def activity(block: Block, context: ModelContext) -> Activity:
    """The index over a block: the last 28 days against the days before.

    index = 100 · min(1, level ÷ peers' level) · √(share of usual working days that were active). Workdays are compared
    with workdays and weekends with weekends; holidays and the weeks around the Spring Festival are left out.

    Raises:
        InputError: calendar and block differ in length.
    """
    days = len(block.days)
    if len(context.calendar) != days:
        raise InputError(
            f"{len(context.calendar)} days of calendar for {days} days",
            expected="one calendar entry per day of the block",
        )
    kinds = np.array([c.kind for c in context.calendar])
    usual = np.array([c.spring_offset is None for c in context.calendar], dtype=bool)
    work, rest = np.isin(kinds, ("workday", "makeup")) & usual, (kinds == "weekend") & usual
    points = block.feature("points")
    valid = np.asarray(points >= MIN_POINTS)
    kw = np.where(valid, np.maximum(block.feature("kwh"), 0) * 4 / np.maximum(points, 1), np.nan).astype(np.float64)
    recent = np.arange(days) >= days - RECENT_DAYS
    normal = work | rest
    known_recent, known_past = (valid & normal & recent).sum(axis=1), (valid & normal & ~recent).sum(axis=1)
    past_work, past_rest = _median(kw[:, work & ~recent]), _median(kw[:, rest & ~recent])
    now_work, now_rest = _median(kw[:, work & recent]), _median(kw[:, rest & recent])
    past = (5 * past_work + 2 * np.where(np.isnan(past_rest), past_work, past_rest)) / 7
    now = (5 * now_work + 2 * np.where(np.isnan(now_rest), now_work, now_rest)) / 7
    able = (known_recent >= MIN_RECENT) & (known_past >= MIN_PAST)
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.where(able & (past > 0), now / past, np.nan)
        peers = _peer_level(block.entities, level)
        used = kw[:, work & recent] > ACTIVE_SHARE * past_work[:, None]
        active = np.where(able, used.sum(axis=1) / np.maximum(valid[:, work & recent].sum(axis=1), 1), np.nan)
        index = 100 * np.minimum(1.0, level / peers) * np.sqrt(active)
    return Activity(
        index,
        level,
        peers,
        active,
        np.where(able, now, np.nan),
        past,
        known_recent.astype(float),
        known_past.astype(float),
    )


def _median(values: Array) -> Array:
    """Median along the days; NaN where nothing is valid."""
    ordered = np.sort(values, axis=1)
    n = (~np.isnan(ordered)).sum(axis=1)
    if not ordered.shape[1]:
        return np.full(len(values), np.nan)
    low = np.take_along_axis(ordered, np.maximum((n - 1) // 2, 0)[:, None], 1)[:, 0]
    high = np.take_along_axis(ordered, np.minimum(n // 2, ordered.shape[1] - 1)[:, None], 1)[:, 0]
    answer: Array = np.where(n > 0, (low + high) / 2, np.nan)
    return answer


def _peer_level(entities: pa.Table, level: Array) -> Array:
    """Median change of the industry division (three characters), kept between ½ and 2; 1 where it has few members."""
    if not len(level):
        return level
    industry = entities.column("industry").combine_chunks()
    division = pc.utf8_slice_codeunits(pc.fill_null(pc.cast(industry, pa.string()), ""), 0, 3).dictionary_encode()
    code = division.indices.to_numpy(zero_copy_only=False)
    out = np.ones(len(level))
    for group in range(len(division.dictionary)):
        rows = code == group
        known = level[rows][~np.isnan(level[rows])]
        if len(known) >= MIN_PEERS and division.dictionary[group].as_py():
            out[rows] = np.clip(np.median(known), 0.5, 2.0)
    return out
