"""Daily load shapes: for each kind of use a library of persons × variants × 96 points in 0 … 1.

Times are local hours; slot i covers [i/4, (i+1)/4). A person is one way of running a day (when it opens, how deep
its lunch dip is); a variant is a day of that person (some minutes earlier, another rhythm).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dianhuan_simulator._random import Bools, Floats, Purpose, stream

PERSONS = 48
VARIANTS = 4
HOURS = (np.arange(96) + 0.5) / 4

Random = np.random.Generator
Curve = np.ndarray[Any, np.dtype[np.float64]]
Maker = Callable[[Random, Bools], Curve]


def window(start: float, end: float, ramp: float = 0.25) -> Curve:
    """A trapezoid from `start` to `end` (may wrap midnight) that rises and falls within `ramp` hours."""
    length = (end - start) % 24 or 24.0
    into = (HOURS - start) % 24
    edge = np.clip(np.minimum(into / ramp + 0.5, (length - into) / ramp + 0.5), 0, 1)
    return np.asarray(edge * (into <= length + ramp / 2))


def largest(*parts: Any) -> Curve:
    """Point by point the largest of several curves or numbers."""
    out = np.zeros(96)
    for part in parts:
        np.maximum(out, part, out=out)
    return out


def _u(rng: Random, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _shop(r: Random, _: Bools) -> Curve:
    opens, closes = _u(r, 7.5, 9.5), _u(r, 19.5, 22.0)
    return 0.7 * window(opens, closes, 0.7) + 0.3 * window(17.5, closes, 0.7)


def _restaurant(r: Random, _: Bools) -> Curve:
    lunch, dinner = window(_u(r, 10, 11), _u(r, 13, 14), 0.8), window(_u(r, 16.2, 17.2), _u(r, 20, 22), 0.8)
    return largest(0.85 * lunch, dinner, _u(r, 0.2, 0.4) * window(9.5, 21.5, 1))


def _bakery(r: Random, _: Bools) -> Curve:
    return largest(window(_u(r, 2.0, 3.5), _u(r, 8, 9.5), 0.5), _u(r, 0.25, 0.4) * window(8, 19, 1))


def _night_food(r: Random, _: Bools) -> Curve:
    """Slaughter, bean curd, noodles: before the morning market."""
    return largest(window(_u(r, 22.5, 26) % 24, _u(r, 5.5, 7.5), 0.5), _u(r, 0.1, 0.3) * window(8, 16, 1))


def _nightlife(r: Random, _: Bools) -> Curve:
    return window(_u(r, 18.5, 20), _u(r, 1.5, 3.5), 0.8)


def _hotel(r: Random, _: Bools) -> Curve:
    return 0.35 + 0.65 * largest(window(_u(r, 18, 19), _u(r, 23, 24), 1.5), 0.6 * window(6.5, 9, 1))


def _office(r: Random, _: Bools) -> Curve:
    day = window(_u(r, 8, 9), _u(r, 17, 18.5), 0.7)
    return day * (1 - _u(r, 0.1, 0.3) * window(12, 13.5, 0.3))


def _school(r: Random, _: Bools) -> Curve:
    return largest(0.8 * window(_u(r, 6.8, 7.6), 17, 0.6), window(_u(r, 17, 18), _u(r, 21, 22), 0.5))


def _hospital(r: Random, _: Bools) -> Curve:
    return 0.45 + 0.55 * window(_u(r, 7.2, 8), _u(r, 17, 18), 1.2)


def _home(r: Random, _: Bools) -> Curve:
    morning, noon = window(_u(r, 6, 7), _u(r, 8, 9), 0.7), window(_u(r, 11, 12), _u(r, 13, 14.5), 0.7)
    evening = window(_u(r, 17.5, 19), _u(r, 22, 23.7), 1.2)
    return 0.12 + 0.88 * largest(_u(r, 0.3, 0.6) * morning, _u(r, 0.3, 0.7) * noon, evening)


def _home_ev(r: Random, _: Bools) -> Curve:
    starts = 23 + _u(r, 0, 0.4)
    return largest(window(starts, starts + _u(r, 2, 7), 0.25), 0.25 * _home(r, _))


def _farm(r: Random, _: Bools) -> Curve:
    starts = _u(r, 5.5, 9)
    return largest(window(starts, starts + _u(r, 2, 6), 0.4), 0.5 * window(_u(r, 14, 16), 18, 0.4))


def _livestock(r: Random, _: Bools) -> Curve:
    return 0.5 + 0.5 * window(_u(r, 8, 10), _u(r, 17, 20), 3)


def _construction(r: Random, _: Bools) -> Curve:
    work = window(_u(r, 6.3, 7.5), 11.7, 0.3) + window(_u(r, 13, 14), _u(r, 17.8, 19), 0.3)
    late = window(19, _u(r, 21, 23.5), 0.3) if r.random() < 0.15 else 0
    return largest(work * (0.6 + 0.4 * np.repeat(r.random(24), 4)), 0.6 * late)


def _logistics(r: Random, _: Bools) -> Curve:
    return largest(window(_u(r, 18, 20.5), _u(r, 1, 4.5), 0.6), _u(r, 0.25, 0.5) * window(8, 18, 0.8))


def _cold_store(r: Random, valley: Bools) -> Curve:
    cycle = (np.arange(96) + r.integers(0, 8)) % int(r.integers(5, 9)) < 3
    return largest(0.35 + 0.3 * cycle, np.where(valley, _u(r, 0.85, 1), 0))


def _telecom(r: Random, _: Bools) -> Curve:
    return 0.85 + 0.15 * window(8, 24, 3)


def _lighting(r: Random, _: Bools) -> Curve:
    night = window(18.6 + _u(r, -0.1, 0.1), 6.2 + _u(r, -0.1, 0.1), 0.1)
    return night * (1 - 0.5 * window(0.02, 5.0, 0.05)) if r.random() < 0.5 else night


def _ev_depot(r: Random, valley: Bools) -> Curve:
    night = window(_u(r, 22, 23.8), _u(r, 4.5, 6.5), 0.7)
    return largest(night, _u(r, 0.2, 0.6) * window(_u(r, 11.5, 12.2), _u(r, 13.5, 14.5), 0.5))


def _ev_station(r: Random, valley: Bools) -> Curve:
    level = np.clip(0.15 + np.where(valley, 0.7, 0.2) + 0.25 * window(17, 22, 1), 0, 1)
    return np.asarray(level * (0.6 + 0.4 * r.random(96)))


def _pump(r: Random, _: Bools) -> Curve:
    out = np.zeros(96)
    for _i in range(int(r.integers(2, 7))):
        out = largest(out, window(_u(r, 0, 24), _u(r, 0, 24), 0.1) if r.random() < 0.1 else 0)
        starts = _u(r, 0, 24)
        out = largest(out, window(starts, starts + _u(r, 0.7, 3), 0.1))
    return out


def _single(r: Random, _: Bools) -> Curve:
    day = window(_u(r, 7.3, 8.6), _u(r, 17, 18.5), 0.4)
    overtime = 0.5 * window(18.5, 21, 0.4) if r.random() < 0.15 else 0
    return largest(day * (1 - _u(r, 0.35, 0.75) * window(_u(r, 11.7, 12.1), _u(r, 13, 13.6), 0.3)), overtime)


def _two_shift(r: Random, _: Bools) -> Curve:
    day = window(_u(r, 6.5, 7.8), _u(r, 22, 23.8), 0.4)
    return day * (1 - _u(r, 0.2, 0.5) * window(12, 12.8, 0.3)) * (1 - _u(r, 0.2, 0.5) * window(17.5, 18.2, 0.3))


def _three_shift(r: Random, _: Bools) -> Curve:
    change = window(7.8, 8.3, 0.2) + window(15.8, 16.3, 0.2) + window(23.8, 0.3, 0.2)
    return (0.85 + 0.15 * window(8, 20, 1)) * (1 - _u(r, 0.1, 0.35) * change)


def _continuous(r: Random, _: Bools) -> Curve:
    return 0.94 + 0.06 * np.repeat(r.random(24), 4)


def _valley(r: Random, valley: Bools) -> Curve:
    """Starts and stops with the tariff, to the quarter hour; some use the midday valley too."""
    on = valley.copy() if r.random() < 0.35 else valley & ((HOURS < 8) | (HOURS > 22))
    early = int(r.integers(0, 3))
    on = on | np.roll(on, -early)
    return np.asarray(np.where(on, 1.0, _u(r, 0.0, 0.12)))


SHAPES: dict[str, Maker] = {
    "shop": _shop,
    "restaurant": _restaurant,
    "bakery": _bakery,
    "night_food": _night_food,
    "nightlife": _nightlife,
    "hotel": _hotel,
    "office": _office,
    "school": _school,
    "hospital": _hospital,
    "home": _home,
    "home_ev": _home_ev,
    "farm": _farm,
    "livestock": _livestock,
    "construction": _construction,
    "logistics": _logistics,
    "cold_store": _cold_store,
    "telecom": _telecom,
    "lighting": _lighting,
    "ev_depot": _ev_depot,
    "ev_station": _ev_station,
    "pump": _pump,
    "single": _single,
    "two_shift": _two_shift,
    "three_shift": _three_shift,
    "continuous": _continuous,
    "valley": _valley,
}
"""Maker by name."""

_NAMES = tuple(SHAPES)
IRREGULAR = frozenset({"pump", "construction", "farm", "ev_station"})
"""Shapes whose days differ: each variant is drawn anew instead of being moved by some minutes."""


def shape_index(name: str) -> int:
    """Number of a shape in the library."""
    return _NAMES.index(name)


def library(seed: int, valley: Bools) -> Floats:
    """All shapes under one tariff.

    Args:
        seed: of the city.
        valley: shape (96,), true in valley slots.

    Returns:
        Shape (shapes × PERSONS × VARIANTS, 96), float32; row = (shape · PERSONS + person) · VARIANTS + variant.
    """
    rows: list[Curve] = []
    for number, (name, maker) in enumerate(SHAPES.items()):
        rng = stream(seed, Purpose.SHAPES, number)
        for _person in range(PERSONS):
            rows.extend(_person_rows(name, maker, rng, valley))
    return np.asarray(np.stack(rows), dtype=np.float32)


def _person_rows(name: str, maker: Maker, rng: Random, valley: Bools) -> Sequence[Curve]:
    if name in IRREGULAR:
        return [maker(rng, valley) for _ in range(VARIANTS)]
    day = maker(rng, valley)
    if name in {"valley", "telecom", "lighting", "continuous"}:
        return [day] * VARIANTS
    early, late = 0.75 * day + 0.25 * np.roll(day, -1), 0.75 * day + 0.25 * np.roll(day, 1)
    return [day, early, late, np.roll(day, int(rng.integers(-1, 2)))]
