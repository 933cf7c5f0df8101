"""Replayed days: half-hour means that agree with those of an earlier day for longer than chance allows."""

from __future__ import annotations

from typing import Any

import numpy as np

from dianhuan_models._samples import Sample
from dianhuan_sdk import StateField
from dianhuan_sdk.features import BoolArray

Columns = dict[str, np.ndarray[Any, Any]]
SLOT_S = 1800
PER_DAY = 48
LAGS = 7
RING = (LAGS + 1) * PER_DAY
AGREE = 0.015
"""Half-hour means within 1.5 % agree: a copy with 1 % of noise stays inside, production rarely does."""

CHANCE_FLOOR, CHANCE_TOP = 0.02, 0.95

REPLAY_FIELDS: tuple[StateField, ...] = (
    StateField("ring", "f4", np.nan, RING),
    StateField("sum", "f4", 0.0),
    StateField("count", "f4", 0.0),
    StateField("agrees", "i2", 0, LAGS),
    StateField("chance", "f4", 0.2),
    StateField("replay_since", "i8", 0, LAGS),
)
"""Columns of the state table `circuit`: eight days of half-hour means, and what agreed with the days before."""


def run_needed(chance: np.ndarray[Any, Any], eps: float, trials: float, least: int) -> np.ndarray[Any, Any]:
    """Length of a run that chance brings less than `eps` times in `trials`: ceil(ln(eps ÷ trials) ÷ ln chance)."""
    return np.asarray(np.maximum(np.ceil(np.log(eps / trials) / np.log(chance)), least))


def follow(c: Columns, s: Sample, busy: BoolArray, eps: float, least: int) -> BoolArray:
    """Take a sample; at the end of each half hour compare with the seven days before.

    Args:
        c: the state table.
        s: the sample.
        busy: shape (circuits,): under load, so that agreement means something.
        eps: wrong findings a month and circuit that are put up with.
        least: shortest run, half hours.

    Returns:
        Shape (circuits,): a run beyond chance goes on.
    """
    good = ~np.isnan(s.x) & ~s.changed
    c["sum"][good] += s.x[good]
    c["count"][good] += s.minutes
    need = run_needed(c["chance"], eps, 30.0 * PER_DAY * LAGS, least)
    if s.second % SLOT_S == 0:
        _close(c, s, busy, need)
    return np.asarray(c["agrees"].max(axis=1) >= need)


def _close(c: Columns, s: Sample, busy: BoolArray, need: np.ndarray[Any, Any]) -> None:
    enough = c["count"] * 60 >= SLOT_S / 2
    mean = np.where(enough, c["sum"] * s.minutes / np.maximum(c["count"], s.minutes), np.float32(np.nan))
    slot = (s.second // SLOT_S - 1) % RING
    before = (slot - PER_DAY * np.arange(1, LAGS + 1)) % RING
    old = c["ring"][:, before]
    with np.errstate(invalid="ignore"):
        close = np.abs(mean[:, None] - old) <= AGREE * np.abs(old)
        counts = (busy & enough)[:, None] & ~np.isnan(old)
    starts = counts & close & (c["agrees"] == 0)
    c["replay_since"][starts] = s.second - SLOT_S
    c["agrees"] = np.where(counts, np.where(close, c["agrees"] + 1, 0), c["agrees"]).astype(np.int16)
    longest = c["agrees"].max(axis=1)
    c["agrees"][~enough & busy] = 0
    share = close.sum(axis=1) / np.maximum(counts.sum(axis=1), 1)
    learn = counts.any(axis=1) & (longest < need / 2)  # a copy must not teach that copies are usual
    c["chance"][learn] += 0.02 * (share - c["chance"])[learn]
    np.clip(c["chance"], CHANCE_FLOOR, CHANCE_TOP, out=c["chance"])
    c["ring"][:, slot] = mean
    c["sum"][:] = 0
    c["count"][:] = 0
