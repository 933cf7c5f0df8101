"""Proposes which production circuits belong to which treatment, from how they move together. A person confirms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dianhuan_sdk.features import FloatArray
from dianhuan_sdk.stream import Circuit

MAX_LAG_MINUTES = 30
ON_SHARE = 0.35
"""A circuit is active above this part of its own 95 % quantile."""

LEAST_ACTIVE = 0.03
"""A circuit that is active, or idle, for less of the time has nothing to compare."""

COMBINED_BOTH = 0.9
"""Agreement at which a treatment without activity of its own may be fed by the production's circuit."""


@dataclass(frozen=True, slots=True)
class ProposedLink:
    """One production circuit that may belong to one treatment circuit.

    Args:
        treatment, production: circuit ids of one plant.
        confidence: 0 … 1: agreement of activity beyond chance (Cohen's kappa) at the best lag.
        lag_minutes: treatment follows production by so much (below 0: it starts before).
        minutes: samples in minutes that both were known.
        combined: the production circuit looks as if it fed the treatment too (产治一体): its idle and active levels
            differ by the treatment's whole load at the same minute.
    """

    treatment: str
    production: str
    confidence: float
    lag_minutes: int
    minutes: int
    combined: bool


def propose_links(
    circuits: Sequence[Circuit], kw: FloatArray, step_s: int = 300, *, least: float = 0.4
) -> list[ProposedLink]:
    """Links that the data suggest, best first within a treatment circuit.

    Activity (above .35 of the own 95 % quantile) is compared, not load: a fan of constant speed follows its line's
    hours, not its load. Agreement is Cohen's kappa, so that two circuits that are nearly always on do not agree by
    that alone.

    Args:
        circuits: circuits of any number of plants.
        kw: shape (circuits, samples): loads of some weeks, NaN = missing.
        step_s: seconds between samples.
        least: least confidence of a proposal.
    """
    found: list[ProposedLink] = []
    plants: dict[str, list[int]] = {}
    for i, c in enumerate(circuits):
        plants.setdefault(c.entity_id, []).append(i)
    lags = range(-MAX_LAG_MINUTES * 60 // step_s, MAX_LAG_MINUTES * 60 // step_s + 1)
    for members in plants.values():
        lines = [i for i in members if circuits[i].role in ("production", "combined")]
        states = {i: _activity(kw[i]) for i in members}
        for fan in (i for i in members if circuits[i].role == "treatment"):
            tried = [(_best(states[fan], states[line], lags), line) for line in lines]
            mine = sorted(((k, lag, n, line) for (k, lag, n), line in tried), key=lambda x: (-x[0], x[3]))
            for kappa, lag, n, line in mine:
                if kappa < least:
                    continue
                found.append(
                    ProposedLink(
                        treatment=circuits[fan].circuit_id,
                        production=circuits[line].circuit_id,
                        confidence=round(float(np.clip(kappa, 0, 1)), 3),
                        lag_minutes=lag * step_s // 60,
                        minutes=n * step_s // 60,
                        combined=circuits[line].role == "combined" or _swallows(kw[line], kw[fan]),
                    )
                )
    return found


def _activity(x: FloatArray) -> Any:
    """1 active, 0 idle, NaN unknown; all NaN where the circuit never changes between the two."""
    known = ~np.isnan(x)
    out = np.full(len(x), np.nan, np.float32)
    if not known.any():
        return out
    on = x[known] > ON_SHARE * np.quantile(x[known], 0.95)
    share = on.mean()
    if LEAST_ACTIVE < share < 1 - LEAST_ACTIVE:
        out[known] = on
    return out


def _best(fan: Any, line: Any, lags: range) -> tuple[float, int, int]:
    """Largest kappa over the lags, its lag in samples, and how many samples both were known."""
    best = (0.0, 0, 0)
    n = len(fan)
    for lag in sorted(lags, key=abs):
        a = fan[max(lag, 0) : n + min(lag, 0)]
        b = line[max(-lag, 0) : n - max(lag, 0)]
        both = ~np.isnan(a) & ~np.isnan(b)
        count = int(both.sum())
        if count < n // 10 or not count:
            continue
        x, y = a[both], b[both]
        agree, px, py = float((x == y).mean()), float(x.mean()), float(y.mean())
        chance = px * py + (1 - px) * (1 - py)
        kappa = (agree - chance) / (1 - chance) if chance < 1 else 0.0
        if kappa > best[0] + 1e-9:
            best = (kappa, lag, count)
    return best


def _swallows(line: FloatArray, fan: FloatArray) -> bool:
    """Does the line's load step by the fan's load whenever the fan starts or stops?"""
    step_fan, step_line = np.diff(fan), np.diff(line)
    size = np.nanquantile(np.abs(fan), 0.95) if np.isfinite(fan).any() else np.nan
    edges = (np.abs(step_fan) > 0.5 * size) & np.isfinite(step_line)
    if edges.sum() < 6 or not np.isfinite(size):
        return False
    close = np.abs(step_line[edges] - step_fan[edges]) < 0.15 * size
    return bool(close.mean() > COMBINED_BOTH)
