"""Named rankings that every model stands beside: simple rules, what running systems use, anomaly detectors."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from dianhuan_models.baselines import BASELINES as RULES
from dianhuan_sdk import Block
from dianhuan_sdk.features import FloatArray

Array = np.ndarray[Any, np.dtype[np.float64]]
PATTERN = ("night_kw", "day_kw", "noon_kw", "late_kw", "max_kw", "min_kw", "base_kw", "rough", "night_rough", "repeat")
"""Features that the detectors see, as mean and spread over the window, sizes divided by the mean load."""
_SIZES = frozenset({"night_kw", "day_kw", "noon_kw", "late_kw", "max_kw", "min_kw", "base_kw"})
NEEDED = ("kwh", *PATTERN)
"""Daily features that the baselines read."""


def baselines(block: Block, seed: int, earlier: Array | None = None) -> tuple[dict[str, Array], dict[str, str]]:
    """Scores by name, above zero where the baseline lists an enterprise; and why others are left out.

    Args:
        block: the city.
        seed: of the random ranking and of the isolation forest.
        earlier: shape (enterprises,): times that an earlier visit found something; without it recidivists are left out.
    """
    rng = np.random.default_rng(seed)
    size = block.entities.num_rows
    out: dict[str, Array] = {"random": rng.random(size) + 1e-9}
    for name, rule in RULES.items():
        score = np.nan_to_num(np.asarray(rule(block), np.float64), nan=0.0, posinf=1e9)
        out[name] = score if name == "largest_kwh" else np.where(score >= 1, score, 0.0)
    table = pattern_table(block)
    out["ecod"] = ecod(table)
    out["sub_pca"] = sub_pca(block)
    skipped = {"matrix_profile": "left out: 32 ms a series at least, hours for a city; see the models' own evidence"}
    if importlib.util.find_spec("sklearn") is None:
        skipped["isolation_forest"] = "scikit-learn is not installed (dianhuan-bench[peers])"
    else:
        out["isolation_forest"] = isolation_forest(table, seed)
    if earlier is None:
        skipped["recidivists_first"] = "no earlier visits in this run"
    else:
        out["recidivists_first"] = np.where(earlier > 0, earlier + 0.5 * rng.random(size), 0.0)
    return out, skipped


def pattern_table(block: Block) -> Array:
    """Shape (enterprises, features): mean and spread of the pattern over the window; 0 where unknown."""
    level = _mean(block.feature("kwh")) / 24
    columns = []
    for name in PATTERN:
        values = block.feature(name)
        centre = _mean(values)
        spread = np.sqrt(_mean((values - centre[:, None]) ** 2))
        scale = np.maximum(np.abs(level), 1e-3) if name in _SIZES else 1.0
        columns += [centre / scale, spread / scale]
    columns.append(np.log1p(np.maximum(level, 0)))
    return np.nan_to_num(np.stack(columns, axis=1), posinf=0.0, neginf=0.0)


def ecod(table: Array) -> Array:
    """Empirical cumulative outlier detection (Li et al., IEEE TKDE 2022): sums of tail log-probabilities."""
    n = len(table)
    left, right, skewed = np.zeros(n), np.zeros(n), np.zeros(n)
    for column in table.T:
        ordered = np.sort(column)
        low = -np.log(np.searchsorted(ordered, column, side="right") / n)
        high = -np.log((n - np.searchsorted(ordered, column, side="left")) / n)
        centred = column - column.mean()
        skew = float((centred**3).mean())
        left, right = left + low, right + high
        skewed = skewed + (low if skew < 0 else high)
    return np.asarray(np.maximum(np.maximum(left, right), skewed))


def isolation_forest(table: Array, seed: int) -> Array:
    """Isolation forest (Liu, Ting & Zhou 2008), 100 trees of 256."""
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(n_estimators=100, max_samples=min(256, len(table)), random_state=seed)
    return np.asarray(-forest.fit(table).score_samples(table))


def sub_pca(block: Block, kept: int = 6) -> Array:
    """Reconstruction error of the three-hourly week in the space of the city's first principal components."""
    bins = np.stack([block.feature(f"h{start:02d}_kw")[:, -7:] for start in range(0, 24, 3)], axis=2)
    rows = np.nan_to_num(bins.reshape(len(bins), -1).astype(np.float64))
    rows = rows / np.maximum(np.abs(rows).mean(axis=1, keepdims=True), 1e-3)
    rows = np.clip(rows - rows.mean(axis=0), -20, 20)
    _, axes = np.linalg.eigh(rows.T @ rows)
    main = axes[:, -kept:]
    return np.asarray(np.sqrt(((rows - rows @ main @ main.T) ** 2).sum(axis=1)) + 1e-9)


def _mean(values: FloatArray | Array) -> Array:
    known = ~np.isnan(values)
    return np.asarray(np.where(known, values, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1), np.float64)


def read() -> tuple[str, ...]:
    """Daily features that all baselines together read."""
    return (*NEEDED, *(f"h{start:02d}_kw" for start in range(0, 24, 3)))
