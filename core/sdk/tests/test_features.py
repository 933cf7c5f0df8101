"""Daily features against a slow twin that reads like their definitions."""

from __future__ import annotations

import math
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from dianhuan_sdk import FEATURES, ArrayBlock, daily_features

VALLEY = np.array([slot < 24 or 48 <= slot < 56 for slot in range(96)])


def mean(values: list[float]) -> float:
    valid = [v for v in values if not math.isnan(v)]
    return sum(valid) / len(valid) if valid else math.nan


def rough(pairs: list[tuple[float, float]], load: list[float]) -> float:
    step = mean([abs(a - b) for a, b in pairs])
    size = mean([abs(v) for v in load])
    return step / size if size else math.nan


def slow_twin(day: list[float], valley: list[bool]) -> dict[str, float]:
    valid = [v for v in day if not math.isnan(v)]
    if not valid:
        return {f.name: 0.0 if f.name == "points" else math.nan for f in FEATURES}
    night = [*day[88:], *day[:24]]
    clock_night = [i >= 88 or i < 24 for i in range(96)]
    pairs = [(day[i], day[i + 1]) for i in range(95)]
    known = [(a, b) for a, b in pairs if not math.isnan(a - b)]
    top = max(valid)
    limit = float(np.float32(0.35) * np.float32(max(top, 0.0)))
    edges = [abs(day[i] - day[i + 1]) for i in range(95) if clock_night[i] or clock_night[i + 1]]
    edge = max([e for e in edges if not math.isnan(e)], default=0.0)
    on = [math.nan if math.isnan(v) else float(v > limit) for v in day]
    answer = {
        "kwh": sum(valid) / 4,
        "points": float(len(valid)),
        "night_kw": mean(night),
        "day_kw": mean(day[32:72]),
        "noon_kw": mean(day[44:56]),
        "late_kw": mean(day[88:]),
        "valley_kwh": sum(v for v, low in zip(day, valley, strict=True) if low and not math.isnan(v)) / 4,
        "max_kw": top,
        "min_kw": min(valid),
        "base_kw": min(m for m in (mean(day[h * 4 : h * 4 + 4]) for h in range(24)) if not math.isnan(m)),
        "night_on": mean([*on[88:], *on[:24]]),
        "day_on": mean(on[32:72]),
        "night_edge": edge / top if top > 0 else 0.0,
        "night_rough": rough([pairs[i] for i in range(95) if clock_night[i] and clock_night[i + 1]], night),
        "rough": rough(pairs, day),
        "repeat": sum(a == b != 0 for a, b in known) / len(known) if known else math.nan,
    }
    return answer | {f"h{h:02d}_kw": mean(day[h * 4 : h * 4 + 12]) for h in range(0, 24, 3)}


def days() -> np.ndarray:
    """Ordinary, missing, negative, constant and zero days, more than one chunk of the kernel."""
    rng = np.random.default_rng(7)
    kw = rng.gamma(2.0, 20.0, (2300, 96)).astype(np.float32).round(1)
    kw[2060:] = np.where(rng.random((240, 96)) < 0.1, np.nan, kw[2060:])
    kw[0] = np.nan
    kw[1] = 0
    kw[2] = -3
    kw[3] = 5
    kw[4, 1:] = np.nan
    kw[5, ::2] = np.nan
    kw[6, :24] = np.nan
    kw[6, 88:] = np.nan
    kw[7, 40:60] -= 200
    kw[2100] = np.nan
    return kw


CHECKED = [*range(12), 2047, 2048, *range(2060, 2110), 2299]


def test_features_equal_the_slow_twin() -> None:
    kw = days()
    fast = daily_features(kw, VALLEY)
    assert list(fast) == [f.name for f in FEATURES]
    for row in CHECKED:
        twin = slow_twin([float(v) for v in kw[row]], [bool(v) for v in VALLEY])
        for name, expected in twin.items():
            assert fast[name].dtype == np.float32
            assert fast[name][row] == pytest.approx(expected, rel=2e-5, abs=2e-4, nan_ok=True), (row, name)


def test_an_empty_day_has_no_points_and_no_features() -> None:
    fast = daily_features(np.full((3, 96), np.nan, np.float32), VALLEY)
    assert (fast.pop("points") == 0).all()
    assert all(np.isnan(values).all() for values in fast.values())


def test_no_rows_give_empty_features() -> None:
    fast = daily_features(np.empty((0, 96), np.float32), VALLEY)
    assert {len(v) for v in fast.values()} == {0}


def test_missing_points_do_not_count_as_zero() -> None:
    whole = np.full((1, 96), 8, np.float32)
    holed = whole.copy()
    holed[0, 30:50] = np.nan
    a, b = daily_features(whole, VALLEY), daily_features(holed, VALLEY)
    for name in ("night_kw", "day_kw", "noon_kw", "max_kw", "min_kw", "base_kw", "rough", "day_on", "h06_kw"):
        assert a[name][0] == b[name][0], name
    assert (b["points"][0], b["kwh"][0]) == (76, 152)


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    kw = days()
    together = daily_features(kw, VALLEY)
    order = np.random.default_rng(1).permutation(len(kw))
    shuffled = daily_features(kw[order], VALLEY)
    for name, values in together.items():
        np.testing.assert_allclose(shuffled[name], values[order], rtol=2e-5, atol=2e-4)


def test_array_block_gives_the_same_features_by_day() -> None:
    kw = days()[:60].reshape(20, 3, 96)
    window = [date(2026, 3, 2) + timedelta(days=d) for d in range(3)]
    valley = np.stack([VALLEY, ~VALLEY, np.zeros(96, bool)])
    block = ArrayBlock(pa.table({"entity_id": [str(i) for i in range(20)]}), window, kw, valley)
    assert block.feature("kwh").shape == (20, 3)
    for name in (f.name for f in FEATURES):
        for entity in range(20):
            for day in range(3):
                twin = slow_twin([float(v) for v in kw[entity, day]], [bool(v) for v in valley[day]])
                got = block.feature(name)[entity, day]
                assert got == pytest.approx(twin[name], rel=2e-5, abs=2e-4, nan_ok=True), (entity, day, name)
