"""M7: production raised in rain is found; pumps, ventilation of the whole city and dry weather are not (recipe V8)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from dianhuan_models.m07 import RainConfig, RainOpportunism

WINDOW = 112


def rainy_town(new_town, weather_table, seed, everybody=1.0, each=12, ratio=2.0):
    town = new_town(seed=seed, days=WINDOW)
    rng = town.rng
    rain = np.zeros((WINDOW, 24))
    for d in [*np.flatnonzero(rng.random(WINDOW) < 0.22), WINDOW - 2]:
        first, length = int(rng.integers(0, 18)), int(rng.integers(3, 9))
        rain[d, first : first + length] = rng.gamma(1.5, 2.0, min(length, 24 - first)) + 0.5
    wet = np.repeat(rain > 0, 4, axis=1)
    amount = np.repeat(rain, 4, axis=1)

    def plant():
        wobble = np.exp(rng.normal(0, 0.1, (WINDOW, 1)))
        return town.two_shift(float(rng.uniform(60, 300))) * wobble * np.where(wet, everybody, 1)

    for _ in range(140):
        town.add("ordinary", plant())
    for _ in range(each):
        bold = np.repeat((rng.random((WINDOW, 1)) < 0.85), 96, axis=1)
        town.add("opportunist", plant() * np.where(wet & bold, ratio, 1))
        base = plant()
        town.add("pumps", base + base.mean() * 0.08 * amount)
        town.add("dry_raiser", plant() * np.where(rng.random((WINDOW, 1)) < 0.2, 1.6, 1))
    return town, {"weather": weather_table(town.window, rain_mm=rain)}


def judged(town, tables):
    found = RainOpportunism(RainConfig()).score(town.block(), town.context(**tables))
    kinds = town.kind_of()
    return Counter(kinds[f.entity_id] for f in found if f.verdict == "suspect"), found


@pytest.mark.parametrize("everybody", [1.0, 1.25])
def test_opportunists_are_found_and_twins_are_not(new_town, weather_table, everybody):
    total = Counter()
    for seed in (211, 212, 213):
        total += judged(*rainy_town(new_town, weather_table, seed, everybody))[0]
    print(f"M7, city × {everybody} in rain:", dict(total))
    assert total["opportunist"] >= 0.8 * 36
    assert total["ordinary"] == 0
    assert total["dry_raiser"] == 0
    assert total["pumps"] <= 0.2 * 36


def test_placebo_weather_finds_nothing(new_town, weather_table):
    """The rain of another year: dates are shuffled, so wet hours mean nothing."""
    total = Counter()
    for seed in (214, 215, 216):
        town, _ = rainy_town(new_town, weather_table, seed)
        _, other = rainy_town(new_town, weather_table, seed + 50)
        total += judged(town, other)[0]
    assert sum(total.values()) <= 1


def test_words_name_the_city_and_the_episodes(new_town, weather_table):
    _, found = judged(*rainy_town(new_town, weather_table, 207))
    assert "参照" in found[0].reasons[1].zh
    assert "matched days" in found[0].reasons[0].en
    assert found[0].evidence["rate_ratio_net"] == pytest.approx(1.9, abs=0.35)


def test_missing_data_never_flag_and_missing_weather_lowers(new_town, weather_table):
    town, tables = rainy_town(new_town, weather_table, 208)
    _, whole = judged(town, tables)
    context = town.context(**tables)
    model = RainOpportunism(RainConfig())
    assert model.score(town.block(), replace(context, tables={})) == []
    holes = tables["weather"].filter(np.random.default_rng(1).random(tables["weather"].num_rows) > 0.15)
    dim = model.score(town.block(), replace(context, tables={"weather": holes}))
    assert dim
    assert all("weather_gap" in f.context for f in dim)
    assert max(f.score for f in dim) < max(f.score for f in whole)
    rain = np.zeros((WINDOW, 24))
    for kw in town.kw:
        kw[-30:] = np.nan
    late = weather_table(town.window, rain_mm=rain)
    assert model.score(town.block(), replace(context, tables={"weather": late})) == []
    # no curve at all on the last days: the latest episode cannot be seen, so nothing new is claimed
    assert model.score(town.block(), context) == []
