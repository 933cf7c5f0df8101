"""Rates near the knobs, and a truth that agrees with the curves and the registers."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta

import numpy as np
import pytest

NIGHT = (np.arange(96) >= 92) | (np.arange(96) < 16)
DAY = (np.arange(96) >= 36) & (np.arange(96) < 68)
ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"


def _stories(city):
    out = defaultdict(list)
    for row in city.truth().to_pylist():
        out[row["kind"]].append(row)
    return out


def _curves_of(city, kw):
    """Entity id → its own metering points' summed load (days, 96)."""
    block, ids = city.blocks[0], city.registers()["entity"]["entity_id"].to_pylist()
    out = defaultdict(lambda: np.zeros(kw.shape[1:]))
    for row, owner in enumerate(block.points.owner[: len(kw)].tolist()):
        out[ids[owner]] += np.nan_to_num(kw[row])
    return out


def _since(city, story):
    return max((story["from"] - city.config.start).days, 0)


def test_rates_near_the_knobs(make_city):
    city = make_city(entities=40_960, days=30)
    knobs, n = city.knobs, city.config.entities
    truth = _stories(city)
    violations = sum(row["is_violation"] for rows in truth.values() for row in rows)
    assert violations / n == pytest.approx(knobs.violations.base_rate, rel=0.15)
    assert len(truth["valley_night_works"]) / n == pytest.approx(knobs.population.valley_night_share, rel=0.1)
    pv = len(truth["pv_registered"]) + len(truth["pv_unregistered"])
    assert pv / n == pytest.approx(knobs.population.pv_share, rel=0.1)
    assert len(truth["pv_unregistered"]) / pv == pytest.approx(knobs.population.pv_unregistered_share, rel=0.2)
    registers = city.registers()
    assert registers["permit"].num_rows / n == pytest.approx(knobs.permits.share, rel=0.1)
    accounts = defaultdict(set)
    for link in registers["account_link"].select(["entity_id", "account_no"]).to_pylist():
        accounts[link["entity_id"]].add(link["account_no"])
    several = sum(len(a) > 1 for a in accounts.values()) / n
    assert knobs.population.multi_account_share * 0.8 < several < knobs.population.multi_account_share * 1.6
    assert set(registers["permit"]["permit_class"].to_pylist()) == {"key", "simplified", "registered"}
    wanted = {"rebound", "relocation", "night_only", "hidden_workshop", "before_acceptance", "overload"}
    wanted |= {"caretaker", "dismantling", "new_legal_tenant", "commissioning", "construction_load", "legal_expansion"}
    wanted |= {
        "valley_switch",
        "night_food",
        "cold_store",
        "ev_depot",
        "telecom",
        "street_lighting",
        "bakery",
        "dewatering_pump",
        "dead_meter_zero",
    }
    assert wanted <= set(truth)


def test_no_violator_is_its_own_twin(violators):
    city, _ = violators
    models = defaultdict(set)
    for row in city.truth().to_pylist():
        if row["model"]:
            models[row["entity_id"], row["model"]].add(row["is_violation"])
    assert len(models) > 100
    assert all(len(kinds) == 1 for kinds in models.values())


def test_night_violators_work_at_night_and_have_no_night_permit(violators):
    city, kw = violators
    curves = _curves_of(city, kw)
    stories = _stories(city)["night_only"]
    assert len(stories) > 15
    permits = {p["entity_id"]: p["night_permitted"] for p in city.registers()["permit"].to_pylist()}
    for story in stories:
        load = curves[story["entity_id"]][_since(city, story) :][1:]
        if len(load) < 8:
            continue
        night, day = load[:, NIGHT].mean(axis=1), load[:, DAY].mean(axis=1)
        assert night.mean() > 2 * day.mean()
        on = (load[:, :14].mean(axis=1) > 0.5 * np.quantile(load, 0.97)).mean()
        assert 0.2 < on <= 1
        assert not permits.get(story["entity_id"])
        if story["from"] > city.config.start + timedelta(days=8):
            before = curves[story["entity_id"]][: _since(city, story)]
            assert before[:, DAY].mean() > before[:, :16].mean()


def test_load_before_acceptance_and_its_twins(violators):
    city, kw = violators
    curves, stories = _curves_of(city, kw), _stories(city)
    acceptance = {a["entity_id"]: a for a in city.registers()["acceptance"].to_pylist()}
    assert len(stories["before_acceptance"]) >= 5
    for story in stories["before_acceptance"]:
        row = acceptance[story["entity_id"]]
        assert row["trial_until"] is None
        assert row["accepted_on"] is None or row["accepted_on"] >= story["from"] + timedelta(days=10)
        first = _since(city, story)
        if 7 <= first <= 20:
            load = curves[story["entity_id"]]
            assert load[first + 1 :].max() > 2.5 * load[:first].max()
    for story in stories["commissioning"]:
        assert acceptance[story["entity_id"]]["trial_until"] >= story["from"] + timedelta(days=20)


def test_hidden_workshops_load_far_above_their_neighbours_on_a_cheap_tariff(violators):
    city, kw = violators
    block = city.blocks[0]
    ids = city.registers()["entity"]["entity_id"].to_pylist()
    curves, stories = _curves_of(city, kw), _stories(city)["hidden_workshop"]
    assert len(stories) > 10
    for story in stories:
        profile = city.profiles[block.folk.profile[ids.index(story["entity_id"])]]
        assert profile.tariff in {"residential", "agricultural", "commercial"}
        load = curves[story["entity_id"]][_since(city, story) + 1 :]
        if len(load) >= 7:
            assert load.max() > 1.5 * profile.kw


def test_rebounds_follow_a_closure_and_caretakers_stay_small(violators):
    city, kw = violators
    curves, stories = _curves_of(city, kw), _stories(city)
    orders = {o["entity_id"]: o["starts_at"].date() for o in city.registers()["order"].to_pylist()}
    ids = city.registers()["entity"]["entity_id"].to_pylist()
    size = dict(zip(ids, city.blocks[0].folk.kw.tolist(), strict=True))
    assert stories["rebound"]
    for story in stories["rebound"]:
        assert orders[story["entity_id"]] < story["from"]
        load = curves[story["entity_id"]][_since(city, story) :]
        if len(load) >= 6:
            assert load.max() > 0.03 * size[story["entity_id"]]
    for story in stories["caretaker"]:
        load = curves[story["entity_id"]][_since(city, story) + 1 :]
        assert load.size == 0 or load.max() < 0.15 * size[story["entity_id"]]


def test_overloads_leave_their_own_history(violators):
    city, kw = violators
    curves, stories = _curves_of(city, kw), _stories(city)["overload"]
    assert len(stories) >= 3
    for story in stories:
        first = _since(city, story)
        load = curves[story["entity_id"]]
        if first <= 22:
            assert np.quantile(load[first + 3 :], 0.98) > 1.6 * np.quantile(load[:first], 0.98)


def test_credit_codes_have_valid_check_digits(make_city):
    codes = make_city(entities=5000).registers()["entity"]["uscc"].to_pylist()
    assert len(set(codes)) == 5000
    for code in codes:
        total = sum(ALPHABET.index(c) * 3**i for i, c in enumerate(code[:17]))
        assert ALPHABET[(31 - total % 31) % 31] == code[17]
        weights = (3, 7, 9, 10, 5, 8, 4, 2)
        check = (11 - sum(int(c, 36) * w for c, w in zip(code[8:16], weights, strict=True)) % 11) % 11
        assert code[16] == "0123456789X"[check]


def test_valley_works_move_with_the_tariff(make_city):
    from datetime import date

    city = make_city(entities=2000, days=6, start=date(2025, 8, 29))
    block = city.blocks[0]
    name = list(city.knobs.profiles).index("valley_works")
    rows = np.flatnonzero(block.folk.profile[block.points.owner] == name)
    rows = rows[rows < len(city.point_ids)]
    old, new = (np.nan_to_num(city.day(d)[rows]) for d in (date(2025, 8, 29), date(2025, 9, 3)))
    late = (np.arange(96) >= 92) & (np.arange(96) < 94)
    assert old[:, late].mean() > 3 * new[:, late].mean()
    assert old[:, 25:27].mean() > 2 * new[:, 25:27].mean()


def test_spring_festival_empties_workshops(make_city):
    from datetime import date

    city = make_city(entities=2000, days=40, start=date(2026, 1, 12))
    block = city.blocks[0]
    name = list(city.knobs.profiles).index("workshop")
    rows = np.flatnonzero(block.folk.profile[block.points.owner] == name)
    rows = rows[rows < len(city.point_ids)]
    usual, festival = (np.nansum(city.day(d)[rows][:, DAY]) for d in (date(2026, 1, 14), date(2026, 2, 18)))
    assert festival < 0.35 * usual


def test_many_violators_still_fit(make_city):
    city = make_city(entities=4096, days=10, base_rate=0.1)
    truth = city.truth()
    assert sum(truth["is_violation"].to_pylist()) > 150
    assert city.day(city.days[3]).shape == (len(city.point_ids), 96)
