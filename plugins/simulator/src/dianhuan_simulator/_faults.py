"""Meters that count wrongly: a CT/PT ratio that is off until a work order, clocks that are some minutes wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dianhuan_simulator._knobs import Knobs
from dianhuan_simulator._meters import Meters
from dianhuan_simulator._people import NEVER
from dianhuan_simulator._random import Floats, Ints, Purpose, stream


@dataclass(frozen=True)
class Faults:
    """Arrays of shape (metering points,): days [since, until) of a wrong ratio, its factor, clock in slots."""

    since: Ints
    until: Ints
    factor: Floats
    drift: Floats

    def apply(self, kw: Floats, offset: int) -> None:
        """What these meters make of a day, in place; the edges of the day keep their value."""
        wrong = np.flatnonzero((self.since <= offset) & (offset < self.until))
        kw[wrong] *= self.factor[wrong, None]
        rows = np.flatnonzero(self.drift != 0)
        seen, part = kw[rows], np.abs(self.drift[rows])[:, None]
        late = np.where(self.drift[rows, None] > 0, np.roll(seen, 1, axis=1), np.roll(seen, -1, axis=1))
        late[:, 0], late[:, -1] = seen[:, 0], seen[:, -1]
        kw[rows] = (1 - part) * seen + part * late


def faults(knobs: Knobs, seed: int, number: int, points: Meters, busy: set[int]) -> Faults:
    """The faults of a block's meters; those of entities with a story of their own stay right."""
    k, n = knobs.meter_faults, len(points.owner)
    rng = stream(seed, Purpose.METER_FAULT, number)
    right = np.isin(points.owner, list(busy)) | (points.dead < NEVER)
    since = np.where((rng.random(n) < k.ratio_error) & ~right, rng.integers(-30, 91, n), NEVER)
    until = np.where(since < NEVER, since + rng.integers(k.ratio_days[0], k.ratio_days[1] + 1, n), NEVER)
    factor = rng.choice(np.array(k.ratio_factors), n).astype(np.float32)
    minutes = rng.uniform(-k.drift_minutes, k.drift_minutes, n)
    drift = np.where((rng.random(n) < k.clock_drift) & ~right, minutes / 15, 0).astype(np.float32)
    return Faults(since, until, factor, drift)
