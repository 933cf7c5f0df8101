"""J1–J6: under-reported or rearranged energy, on the days from the first one on."""

from __future__ import annotations

import numpy as np

from dianhuan_bench.injection._types import Draft


def j1(d: Draft) -> None:
    """a · x with one a."""
    d.kw[d.first :] *= np.float32(d.draw("factor", 0.1, 0.8))


def j2(d: Draft) -> None:
    """Zero in a window of at least 4 hours, another one each day."""
    hours = d.draw("hours", 4, 10)
    for day in d.later:
        start = int(d.rng.integers(0, 96 - int(hours * 4) + 1))
        d.kw[day, start : start + int(hours * 4)] *= 0


def j3(d: Draft) -> None:
    """g(t) · x with another factor at each point."""
    d.kw[d.first :] *= d.rng.uniform(0.1, 0.8, (d.days - d.first, 96)).astype(np.float32)


def j4(d: Draft) -> None:
    """g(t) · mean of the day."""
    factor = d.rng.uniform(0.1, 0.8, (d.days - d.first, 96)).astype(np.float32)
    d.kw[d.first :] = _flat(d) * factor


def j5(d: Draft) -> None:
    """The mean of the day at each point: the energy stays, the dear hours vanish."""
    d.kw[d.first :] = _flat(d)


def j6(d: Draft) -> None:
    """The day turned round: the energy stays, peak becomes valley."""
    d.kw[d.first :] = d.source[d.first :, ::-1]


def _flat(d: Draft) -> np.ndarray:
    """Mean of each later day at its valid points, NaN at the others."""
    part = d.source[d.first :]
    valid = ~np.isnan(part)
    mean = np.where(valid, part, 0).sum(axis=1) / np.maximum(valid.sum(axis=1), 1)
    return np.where(valid, mean[:, None], np.nan).astype(np.float32)
