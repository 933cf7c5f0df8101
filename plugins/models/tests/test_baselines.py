"""Baselines against hand-made cases, and against M5 on the same town."""

from __future__ import annotations

import numpy as np
import pytest

from dianhuan_models.baselines import BASELINES, colour_flag, largest_kwh, night_rule, three_sigma_both, three_sigma_own
from dianhuan_models.m05 import NightConfig, NightOnly


def flat_town(new_town, last=1.0):
    """Ten constant plants of 10 … 100 kW with a little noise; the last day times `last`."""
    town = new_town()
    for k in range(10):
        kw = 10.0 * (k + 1) * (1 + 0.02 * np.sin(np.arange(town.days))[:, None] * np.ones(96))
        kw[-1] *= last if k == 0 else 1.0
        town.add("flat", kw)
    return town


def test_night_rule_fires_above_one_and_a_half(new_town):
    town = new_town()
    for ratio in (1.4, 1.6):
        kw = np.ones((town.days, 96))
        kw[:, :24] = kw[:, 88:] = ratio
        town.add("x", kw)
    town.add("night_only", np.where((np.arange(96) < 24) | (np.arange(96) >= 88), 5.0, 0.0) * np.ones((town.days, 1)))
    town.add("missing", np.full((town.days, 96), np.nan))
    scores = night_rule(town.block())
    assert scores[:2] == pytest.approx([1.4 / 1.5, 1.6 / 1.5], rel=1e-4)
    assert scores[2] == np.inf
    assert np.isnan(scores[3])


def test_own_three_sigma_and_colour_flag_see_the_last_day(new_town):
    block = flat_town(new_town, last=1.8).block()
    assert three_sigma_own(block)[0] > 1 > three_sigma_own(block)[1:].max()
    assert colour_flag(block)[0] == pytest.approx(1.6, abs=0.1)
    assert three_sigma_both(block)[0] < 1
    assert largest_kwh(block).argmax() == 9


def test_m5_raises_fewer_false_alarms_than_every_baseline_at_the_same_recall(new_town):
    town = new_town()
    town.background(400)
    for _ in range(15):
        peak = float(np.exp(town.rng.normal(4.2, 0.5)))
        town.add("workshop", town.night_workshop(peak))
        town.add("furnace", town.night_furnace(peak))
        town.add("hidden_pv", town.sunny_shop(peak, peak, net=False))
        town.add("lights", town.street_lights(peak), industry="N7810")
    guilty = np.array([k == "workshop" for k in town.kinds])
    block = town.block()
    found = {f.entity_id for f in NightOnly(NightConfig()).score(block, town.context())}
    flagged = np.array([r["entity_id"] in found for r in town.rows])
    recall, false = flagged[guilty].mean(), flagged[~guilty].sum()
    assert recall >= 0.9
    for name, rule in BASELINES.items():
        scores = np.nan_to_num(rule(block), nan=-1.0)
        limit = np.sort(scores[guilty])[int((1 - recall) * guilty.sum())]
        assert (scores[~guilty] >= limit).sum() > false, name
