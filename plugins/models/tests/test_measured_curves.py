"""M7 and M8 over measured curves (T1: true shapes, no city's base rate): recipes V6 and V8 and their benign twins."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

import numpy as np
import pytest

from dianhuan_models.m07 import RainConfig, RainOpportunism
from dianhuan_models.m08 import Curtailment, CurtailmentConfig

WORKS = ("BL-H", "WB-H", "G3-A", "G3-H", "G3-M")
PRODUCERS = (*WORKS, "G0-A", "G0-M", "G1-A", "G1-B", "G1-C", "G4-A", "G4-B", "G5-A", "G6-A")
"""Businesses and works; households, farms and heaters are no producers under an order."""


def cut_out(simbench, last, days):
    """The last `days` whole days up to `last`; the two days of the clock change are not there and are stepped over."""
    dates, series = simbench
    end = dates.index(last) + 1
    if dates[end - 1] - dates[end - days] != timedelta(days=days - 1):
        pytest.fail("the window holds a day of the clock change")
    return {n: kw[end - days : end] for n, kw in series.items() if n in PRODUCERS}


@pytest.mark.parametrize(("days", "least"), [(1, 0.3), (3, 0.5), (7, 0.6)])
def test_curtailment_on_measured_curves(new_town, simbench, order_table, days, least):
    total, rng = Counter(), np.random.default_rng(611)
    for last in (date(2016, 3, 11), date(2016, 7, 15), date(2016, 9, 30)):
        town = new_town(as_of=last, days=60)
        first, rows = last - timedelta(days=days - 1), []
        late = (np.array(town.window) >= first)[:, None]
        curves = cut_out(simbench, last, 60)
        assert len(curves) >= 8
        for name in sorted(curves):
            kw = curves[name] * 200 / max(float(np.nanmean(curves[name])), 1e-9)
            for _ in range(3):
                town.add("free", kw * np.exp(rng.normal(0, 0.03, (60, 1))))
            for kind, low, high in (("fake", 0, 0.12), ("true", 0.3, 0.4)):
                town.add(kind, kw * np.where(late, 1 - rng.uniform(low, high), 1))
                rows.append((town.rows[-1]["entity_id"], "limit", first, None, 70.0))
        found = Curtailment(CurtailmentConfig()).score(town.block(), town.context(order=order_table(rows)))
        kinds = town.kind_of()
        total += Counter((kinds[f.entity_id], f.verdict) for f in found)
        total["each"] += len(curves)
    print(f"M8 measured, {days} d:", dict(total))
    n = total["each"]
    assert total["true", "suspect"] <= 0.05 * n + 1
    assert total["fake", "suspect"] >= least * n


def test_rain_on_measured_curves(new_town, simbench, weather_table):
    total, rng = Counter(), np.random.default_rng(612)
    for last in (date(2016, 7, 15), date(2016, 9, 30)):
        town = new_town(as_of=last, days=108)
        rain = np.zeros((108, 24))
        for d in [*np.flatnonzero(rng.random(108) < 0.25), 106]:
            start = int(rng.integers(6, 15))
            rain[d, start : start + int(rng.integers(4, 9))] = rng.gamma(1.5, 2.0) + 0.5
        wet = np.repeat(rain > 0, 4, axis=1)
        curves = cut_out(simbench, last, 108)
        for name in sorted(curves):
            kw = curves[name] * 100 / max(float(np.nanmean(curves[name])), 1e-9)
            for _ in range(10):
                town.add("ordinary", kw * np.exp(rng.normal(0, 0.05, (108, 1))))
            town.add("opportunist", kw * np.where(wet, 2.0, 1))
        kinds = town.kind_of()
        context = town.context(weather=weather_table(town.window, rain_mm=rain))
        found = RainOpportunism(RainConfig()).score(town.block(), context)
        total += Counter(kinds[f.entity_id] for f in found if f.verdict == "suspect")
        total["each"] += len(curves)
    print("M7 measured:", dict(total))
    assert total["ordinary"] <= 0.005 * 10 * total["each"]
    assert total["opportunist"] >= 0.7 * total["each"]
