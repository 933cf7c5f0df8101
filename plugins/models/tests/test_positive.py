"""The positive score: earned by what was observed, never by what is missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dianhuan_models.positive import Month, positive_score
from dianhuan_sdk import InputError

GOOD = Month(1.0, device_online=1.0)


def test_a_spotless_year_is_a_hundred_and_quarter_of_the_visits():
    best = positive_score([GOOD] * 12, 0)
    assert best.score == 100
    assert best.visit_factor == 0.25
    assert "60/60" in best.reasons[0].zh
    assert positive_score([GOOD] * 12, 0, "key").visit_factor == 0.5


def test_nothing_known_earns_nothing():
    none = positive_score([], 0)
    assert (none.score, none.visit_factor, none.observed) == (0, 1.0, 0)
    assert "12 个月" in none.reasons[1].zh
    assert positive_score([None] * 12, 0).score == 0


BLEMISHES = ("upheld", "contradicted", "unfiled", "device_fault_open")


@pytest.mark.parametrize("worse", [*({b: True} for b in BLEMISHES), {"device_online": 0.5}])
def test_every_blemish_costs(worse):
    assert positive_score([*[GOOD] * 11, replace(GOOD, **worse)], 0).score < 100


def test_verified_violations_cap_it_and_say_so():
    one, two = (positive_score([GOOD] * 12, n) for n in (1, 2))
    assert (one.score, two.score) == (55, 30)
    assert one.visit_factor == 1.0
    assert "查实 1 次" in one.reasons[1].zh


def test_losing_data_never_raises_it():
    rng = np.random.default_rng(701)
    for _ in range(400):
        months = [
            Month(float(rng.uniform(0.5, 1)), *(bool(b) for b in rng.random(3) < 0.2),
                  None if rng.random() < 0.3 else float(rng.random()), bool(rng.random() < 0.2))
            for _ in range(12)
        ]  # fmt: skip
        verified = int(rng.integers(0, 3))
        whole = positive_score(months, verified)
        k = int(rng.integers(0, 12))
        less = replace(months[k], coverage=months[k].coverage * float(rng.random()))
        for lost in (None, less):
            part = positive_score([*months[:k], lost, *months[k + 1 :]], verified)
            assert part.score <= whole.score
            assert part.visit_factor >= whole.visit_factor


@pytest.mark.parametrize(
    ("months", "verified"), [([GOOD] * 13, 0), ([GOOD], -1), ([Month(1.2)], 0), ([Month(float("nan"))], 0)]
)
def test_bad_input_is_refused(months, verified):
    with pytest.raises(InputError):
        positive_score(months, verified)
