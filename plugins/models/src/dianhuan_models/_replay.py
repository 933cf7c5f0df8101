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
NEAR, EXACT = 0.006, 1e-4
"""Half-hour means this close agree: a copy with 1 % of noise a minute stays inside .6 %, one without inside .01 %."""

NEW_MINUTES = 10 * 1440
OWN_FACTOR = 2.0
"""A run has to be so many times the longest own one."""

CHANCE_FLOOR, CHANCE_TOP = 0.005, 0.95
TELLING = 0.7
"""Where days agree more often than this by themselves (a pump of constant speed), agreement tells nothing."""

REPLAY_FIELDS: tuple[StateField, ...] = (
    StateField("ring", "f4", np.nan, RING),
    StateField("sum", "f4", 0.0),
    StateField("count", "f4", 0.0),
    StateField("near", "i2", 0, LAGS),
    StateField("near_chance", "f4", 0.2),
    StateField("near_since", "i8", 0, LAGS),
    StateField("near_longest", "f4", 0.0),
    StateField("exact", "i2", 0, LAGS),
    StateField("exact_chance", "f4", 0.02),
    StateField("exact_since", "i8", 0, LAGS),
    StateField("exact_longest", "f4", 0.0),
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
        least: shortest run of half hours that are near; a third of it for those that are exact.

    Returns:
        Shape (circuits,): a run beyond chance goes on.
    """
    good = ~np.isnan(s.x) & ~s.changed
    c["sum"][good] += s.x[good]
    c["count"][good] += s.minutes
    needs = {
        kind: np.maximum(
            run_needed(c[f"{kind}_chance"], eps, 30.0 * PER_DAY * LAGS, shortest), OWN_FACTOR * c[f"{kind}_longest"]
        )
        + np.where(c[f"{kind}_chance"] > TELLING, np.inf, 0)
        for kind, shortest in (("near", least), ("exact", max(least // 3, 2)))
    }
    if s.second % SLOT_S == 0:
        _close(c, s, busy, needs)
    return np.asarray((c["near"].max(axis=1) >= needs["near"]) | (c["exact"].max(axis=1) >= needs["exact"]), bool)


def longest(c: Columns, row: int) -> tuple[int, int, int]:
    """Days before, half hours, and beginning (seconds) of a circuit's longest run."""
    kind = "exact" if c["exact"][row].max() >= c["near"][row].max() else "near"
    lag = int(c[kind][row].argmax())
    return lag + 1, int(c[kind][row, lag]), int(c[f"{kind}_since"][row, lag])


def _close(c: Columns, s: Sample, busy: BoolArray, needs: dict[str, np.ndarray[Any, Any]]) -> None:
    enough = c["count"] * 60 >= SLOT_S / 2
    mean = np.where(enough, c["sum"] * s.minutes / np.maximum(c["count"], s.minutes), np.float32(np.nan))
    slot = (s.second // SLOT_S - 1) % RING
    before = (slot - PER_DAY * np.arange(1, LAGS + 1)) % RING
    old = c["ring"][:, before]
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = np.abs(mean[:, None] - old) / np.abs(old)
    counts = (busy & enough)[:, None] & ~np.isnan(apart)
    any_, many = counts.any(axis=1), np.maximum(counts.sum(axis=1), 1)
    for kind, within in (("near", NEAR), ("exact", EXACT)):
        close = counts & (apart <= within)
        runs, chance = c[kind], c[f"{kind}_chance"]
        c[f"{kind}_since"][close & (runs == 0)] = s.second - SLOT_S
        longest_run = runs.max(axis=1)
        runs[:] = np.where(counts, np.where(close, runs + 1, 0), runs)
        ended = longest_run > runs.max(axis=1)
        own = c[f"{kind}_longest"]
        learn = any_ & ((longest_run < needs[kind] / 2) | (c["seen"] < NEW_MINUTES))  # a copy must not teach more
        mine = ended & (longest_run < 3 * needs[kind])
        own[mine] = np.maximum(own[mine] * np.float32(0.99), longest_run[mine])
        chance[learn] += 0.02 * ((close.sum(axis=1) / many) - chance)[learn]
        np.clip(chance, CHANCE_FLOOR, CHANCE_TOP, out=chance)
    c["ring"][:, slot] = mean
    c["sum"][:] = 0
    c["count"][:] = 0
