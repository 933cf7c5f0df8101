"""What an injection gives, and the windows and levels that recipes share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Curve = np.ndarray[Any, np.dtype[np.float32]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]
Rng = np.random.Generator

SLOTS = np.arange(96)
NIGHT: Bools = (SLOTS >= 88) | (SLOTS < 20)
"""22–05, the window of V3."""
WORK: Bools = (SLOTS >= 32) & (SLOTS < 72)
"""08–18."""


@dataclass(frozen=True)
class Injected:
    """A curve with a violation, or with its benign twin.

    Args:
        kw: shape (days, 96), kW; NaN where the source was NaN.
        label: shape (days, 96): points that the violation changed; all false for a twin.
        parameters: what was drawn, with `recipe`, `seed`, `first_day` and, for a twin, `twin`.
        beside: what lies beside the curve: `production` (the circuit that the treatment serves), `sub_meters`,
            `neighbour`, each of shape (days, 96); `ordered`, `wet` as masks of that shape; `closed` as one of (days,).
    """

    kw: Curve
    label: Bools
    parameters: Mapping[str, Any]
    beside: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)


@dataclass
class Draft:
    """A curve under injection.

    Args:
        source: the curve as it was.
        rng: of this injection.
        first: first day that may change; the part before it stays as history.
    """

    source: Curve
    rng: Rng
    first: int
    kw: Curve = field(init=False)
    drawn: dict[str, Any] = field(default_factory=dict)
    beside: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.kw = self.source.copy()
        self.drawn["first_day"] = self.first

    @property
    def days(self) -> int:
        """Length of the curve."""
        return len(self.source)

    @property
    def later(self) -> range:
        """The days that may change."""
        return range(self.first, self.days)

    @property
    def idle(self) -> float:
        """The level of a plant that stands still: the 5 % quantile of its load."""
        return _quantile(self.source, 0.05)

    @property
    def peak(self) -> float:
        """The level of a plant at work: the 95 % quantile of its load."""
        return _quantile(self.source, 0.95)

    @property
    def working(self) -> Bools:
        """Shape (days, 96): above the middle between idle and work."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.source > (self.idle + self.peak) / 2)

    def draw(self, name: str, low: float, high: float) -> float:
        """A uniform number that the parameters keep."""
        value = float(self.rng.uniform(low, high))
        self.drawn[name] = value
        return value

    def whole(self, name: str, low: int, high: int) -> int:
        """A uniform whole number, both ends in."""
        value = int(self.rng.integers(low, high + 1))
        self.drawn[name] = value
        return value


Recipe = Callable[[Draft], None]
"""Changes `Draft.kw` in place."""


def _quantile(kw: Curve, share: float) -> float:
    seen = kw[~np.isnan(kw)]
    return float(np.quantile(seen, share)) if len(seen) else 0.0
