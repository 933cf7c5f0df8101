"""M6: workshops behind other tariffs are found; large lawful users of those tariffs are not."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from functools import cache

import numpy as np
import pytest

from dianhuan_models.m06 import HiddenConfig, HiddenWorkshop


def hidden_town(new_town):
    """A fresh copy of the town; building it takes longer than scoring it."""
    return deepcopy(built(new_town))


@cache
def built(new_town):
    town = new_town()
    hours = np.arange(96) / 4

    def shop(peak):
        """09:30–21:30, stronger on weekends."""
        open_ = 1 / (1 + np.exp(-(hours - 9.5) * 3)) - 1 / (1 + np.exp(-(hours - 21.5) * 3))
        return peak * (open_ + 0.15) * np.where(town.workday, 1.0, 1.25)[:, None] * town.noise(0.02)

    def home(peak):
        """Morning and evening peaks."""
        day = 0.2 + 0.4 * np.exp(-((hours - 7.5) ** 2) / 2) + np.exp(-((hours - 20) ** 2) / 5)
        return peak * day * np.where(town.workday, 1.0, 1.15)[:, None] * town.noise(0.06)

    def farm(peak):
        """Smooth pumps and fans, every day alike."""
        return peak * (0.7 + 0.2 * np.sin((hours - 9) / 24 * 2 * np.pi)) * np.ones((town.days, 1)) * town.noise(0.015)

    for _ in range(600):
        peak = float(np.exp(town.rng.normal(5.0, 0.8)))
        rest = float(town.rng.uniform(0, 1))
        town.add("plant", town.day_plant(peak, rest) if town.rng.random() < 0.7 else town.two_shift(peak))
    shops = {"industry": "F5212", "tariff_class": "commercial"}
    homes = {"industry": None, "tariff_class": "residential"}
    farms = {"industry": "A0311", "tariff_class": "agricultural"}
    for make, size, columns in ((shop, 2.5, shops), (home, 1.8, homes), (farm, 2.2, farms)):
        for _ in range(900):
            town.add("lawful", make(float(np.exp(town.rng.normal(size, 0.5)))), **columns)
    for columns in (shops, homes, farms):
        for _ in range(3):
            town.add("hidden", town.day_plant(250.0, rest=0.8), **columns)
        town.add("small_hidden", town.day_plant(8.0), **columns)
        town.add("registered", town.day_plant(250.0), permit_class="registered", **columns)
    for _ in range(2):
        town.add("hypermarket", shop(300.0), **shops)
        town.add("block_of_flats", home(150.0), **homes)
        town.add("big_farm", farm(200.0), **farms)
        town.add("plant_on_shop_tariff", town.day_plant(250.0), industry="C2231", tariff_class="commercial")
    return town


def score(town):
    findings = HiddenWorkshop(HiddenConfig()).score(town.block(), town.context())
    return Counter(town.kind_of()[f.entity_id] for f in findings), findings


def test_hidden_workshops_are_found_and_large_lawful_users_are_not(new_town):
    town = hidden_town(new_town)
    kinds, findings = score(town)
    print("M6:", dict(kinds))
    assert kinds["hidden"] >= 7
    assert set(kinds) == {"hidden"}
    assert findings[0].evidence["posterior"] >= 0.9
    assert "工业" in findings[0].reasons[0].zh
    assert findings[0].counter


def test_nothing_is_said_where_nothing_can_be_learnt(new_town):
    town = hidden_town(new_town)
    for row in town.rows:
        if row["tariff_class"] == "industrial":
            row["tariff_class"] = None
    assert score(town)[1] == []


def test_missing_days_end_in_silence(new_town):
    town = hidden_town(new_town)
    for kw, kind in zip(town.kw, town.kinds, strict=True):
        if kind == "hidden":
            kw[: town.days - 9] = np.nan
    assert score(town)[0]["hidden"] == 0


def test_gaps_lower_the_score(new_town):
    town = hidden_town(new_town)
    plain = {f.entity_id: f.score for f in score(town)[1]}
    entity = max(plain, key=lambda e: plain[e])
    for row in town.rows:
        if row["entity_id"] == entity:
            row["shared_meter"] = True
    gapped = {f.entity_id: f for f in score(town)[1]}
    if entity in gapped:
        assert gapped[entity].score == pytest.approx(0.6 * plain[entity], rel=0.01)
        assert "shared_meter" in gapped[entity].context
    else:
        assert 0.6 * plain[entity] < HiddenConfig().threshold
