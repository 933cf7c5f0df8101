"""M10: a jump that is also far from the peers is found; one without the other is not."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from functools import cache

import numpy as np

from dianhuan_models.m10 import PeerConfig, PeerOutlier


def jump_town(new_town):
    """A fresh copy of the town; building it takes longer than scoring it."""
    return deepcopy(built(new_town))


@cache
def built(new_town):
    town = new_town()
    for _ in range(1500):
        town.add("ordinary", town.day_plant(float(np.exp(town.rng.normal(4.2, 0.5)))))
    late = (np.arange(town.days) >= town.days - 9)[:, None]
    for _ in range(3):
        peak = float(np.exp(town.rng.normal(4.2, 0.5)))
        plant = town.day_plant(peak)
        town.add("tripled", np.where(late, 3 * plant, plant), contract_kva=1.4 * peak)
        town.add("night_shift_added", np.where(late, np.maximum(plant, town.night_workshop(peak, 1.0)), plant))
        town.add("always_high", 3 * plant, contract_kva=1.4 * peak)
        town.add("small_growth", np.where(late, 1.25 * plant, plant))
        town.add("from_low_to_ordinary", np.where(late, plant, 0.3 * plant))
        town.add("stopped", np.where(late, 0.01 * plant, plant))
        town.add("erratic", plant * np.exp(town.rng.normal(0, 0.6, (town.days, 1))))
        town.add("tiny", np.where(late, 3 * town.day_plant(2.0), town.day_plant(2.0)), contract_kva=3.0)
    return town


def found_kinds(town):
    findings = PeerOutlier(PeerConfig()).score(town.block(), town.context())
    return Counter(town.kind_of()[f.entity_id] for f in findings), findings


def test_own_and_peer_evidence_must_agree(new_town):
    town = jump_town(new_town)
    kinds, findings = found_kinds(town)
    print("M10:", dict(kinds))
    assert kinds["tripled"] >= 2
    assert kinds["night_shift_added"] >= 2
    assert set(kinds) <= {"tripled", "night_shift_added", "erratic"}
    assert kinds["erratic"] <= 1
    assert {f.rule for f in findings} == {"load_per_capacity", "night_share_jump"}


def test_a_finding_names_both_comparisons(new_town):
    town = jump_town(new_town)
    _, findings = found_kinds(town)
    first = next(f for f in findings if f.rule == "load_per_capacity")
    assert first.evidence["own_z"] > 4
    assert first.evidence["peer_rank"] >= 0.995
    assert first.evidence["peers"] >= 200
    assert "自身此前" in first.reasons[0].zh
    assert "同业中位数" in first.reasons[1].zh
    assert first.counter


def test_a_boom_of_the_whole_industry_is_no_outlier(new_town):
    town = jump_town(new_town)
    for kw in town.kw:
        kw[-9:] *= 2.5
    kinds, _ = found_kinds(town)
    assert kinds["ordinary"] == 0
    assert kinds["tripled"] >= 2


def test_few_peers_or_few_days_end_in_silence(new_town):
    town = jump_town(new_town)
    town.rows, town.kw, town.kinds = town.rows[1360:], town.kw[1360:], town.kinds[1360:]
    assert not found_kinds(town)[1]
    town = jump_town(new_town)
    for kw in town.kw:
        kw[:14] = np.nan
    assert not found_kinds(town)[1]
