"""Federated evaluation: counts, the hierarchical estimate against simulation, passports, advice."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dianhuan_federation.evaluation import Counts, advise, counts_by_model, estimate, passport_bytes, read_passport
from dianhuan_sdk import InputError


def test_counts_join_outcomes_to_the_warnings_of_the_same_hub() -> None:
    warnings = [
        {"hub": "430200", "province": "43", "record_id": "w1", "model_id": "m05", "model_version": "1"},
        {"hub": "430200", "province": "43", "record_id": "w2", "model_id": "m05", "model_version": "1"},
        {"hub": "440300", "province": "44", "record_id": "w1", "model_id": "m05", "model_version": "1"},
    ]
    outcomes = [
        {"hub": "430200", "warning_id": "w1", "result": "verified"},
        {"hub": "430200", "warning_id": "w2", "result": "benign_explained"},
        {"hub": "440300", "warning_id": "w1", "result": "could_not_inspect"},
        {"hub": "440300", "warning_id": "w2", "result": "verified"},  # of no warning that was shared
    ]
    assert counts_by_model(warnings, outcomes) == {("m05", "1"): [Counts("43", 1, 1, 0), Counts("44", 0, 0, 1)]}


def test_without_any_visit_everything_is_open() -> None:
    known = estimate([])
    assert known.judged == 0
    assert known.newcomer.mean == pytest.approx(0.5, abs=0.01)
    assert known.newcomer.low < 0.05
    assert known.newcomer.high > 0.95


def test_small_provinces_lean_on_the_others_and_large_ones_stand_alone() -> None:
    known = estimate([Counts("43", 180, 20), Counts("44", 90, 10), Counts("32", 1, 1), Counts("61", 60, 140)])
    assert known.of("43").mean == pytest.approx(0.9, abs=0.02)
    assert known.of("61").mean == pytest.approx(0.3, abs=0.03)
    assert 0.5 < known.of("32").mean < 0.85  # two visits say little: the prior pulls
    assert known.of("43").high - known.of("43").low < known.newcomer.high - known.newcomer.low


def test_lower_bounds_hold_in_simulation() -> None:
    rng = np.random.default_rng(20261124)
    missed = total = 0
    for _ in range(25):
        mean = rng.uniform(0.5, 0.95)
        strength = rng.uniform(5, 60)
        truth = rng.beta(mean * strength, (1 - mean) * strength, 12)
        visits = rng.integers(5, 80, 12)
        found = rng.binomial(visits[:-1], truth[:-1])
        counts = [Counts(str(11 + i), int(k), int(n - k)) for i, (k, n) in enumerate(zip(found, visits, strict=False))]
        known = estimate(counts)
        missed += sum(known.of(str(11 + i)).low > truth[i] for i in range(11)) + (known.newcomer.low > truth[11])
        total += 12
    assert missed / total < 0.08, "a one-sided 95 % bound is missed about once in twenty"


@pytest.mark.parametrize(("found", "wasted"), [(2 * 10**6, 0), (10**9, 0), (0, 10**9), (10**9, 10**9)])
def test_hostile_passport_of_a_billion_visits(found: int, wasted: int) -> None:
    here = estimate([Counts("43", found, wasted)]).of("43")
    truth = found / (found + wasted)
    assert here.low == pytest.approx(truth, abs=0.001)
    assert here.high == pytest.approx(truth, abs=0.001)


def test_the_order_of_provinces_and_splitting_of_counts_change_nothing() -> None:
    one = estimate([Counts("43", 8, 2), Counts("44", 3, 3)])
    other = estimate([Counts("44", 3, 3), Counts("43", 5, 1), Counts("43", 3, 1)])
    assert one.newcomer.low == other.newcomer.low
    assert one.of("43").mean == pytest.approx(other.of("43").mean, abs=1e-9)


def test_advice_withdraws_when_the_lower_bound_breaks() -> None:
    good = [Counts(str(p), 95, 5) for p in (11, 12, 13, 31, 32, 33)]
    assert advise(estimate(good), "43", 0.8, 0).action == "use"
    assert advise(estimate(good[:1]), "43", 0.8, 0).action == "trial"
    broken = estimate([*good, Counts("43", 14, 16)])
    advice = advise(broken, "43", 0.8, 30)
    assert advice.action == "withdraw"
    assert "30" in advice.zh
    assert "withdraw" in advice.en
    assert advise(broken, "31", 0.8, 100).action == "use"


def test_passports_are_canonical_and_strict() -> None:
    data = passport_bytes(
        "m05-night-only", "1.0", 0.8, ("2026-01-01", "2026-07-01"), ("夜间", "night"), [Counts("43", 9, 1)]
    )
    passport = read_passport(data)
    assert passport.floor == 0.8
    assert passport.counts == [Counts("43", 9, 1)]
    body = json.loads(data)
    for change in (
        {"kind": "other"},
        {"extra": 1},
        {"floor_permille": 1001},
        {"evidence": [*body["evidence"], *body["evidence"]]},
        {"evidence": [{**body["evidence"][0], "found": -1}]},
        {"evidence": [{**body["evidence"][0], "found": 0.5}]},
    ):
        with pytest.raises(InputError):
            read_passport(json.dumps({**body, **change}))
    with pytest.raises(InputError, match="bytes"):
        read_passport("[" * 70_000)
