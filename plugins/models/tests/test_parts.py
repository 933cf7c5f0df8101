"""Quantiles and peer placement against slow, obvious twins."""

from __future__ import annotations

import numpy as np
import pytest

from dianhuan_models._city import City
from dianhuan_models._night import night_industry
from dianhuan_models._peers import MIN_PEERS, Peers
from dianhuan_models._stats import MAD_TO_SIGMA, mean, median, quantile, sigma


@pytest.mark.parametrize("q", [0.0, 0.2, 0.5, 0.99, 1.0])
def test_quantiles_skip_missing_values(q):
    values = np.random.default_rng(1).normal(size=(50, 9))
    values[np.random.default_rng(2).random(values.shape) < 0.3] = np.nan
    values[0] = np.nan
    assert quantile(values, q)[1:] == pytest.approx(np.nanquantile(values[1:], q, axis=1))
    assert np.isnan(quantile(values, q)[0])


def test_mean_and_sigma_skip_missing_values():
    values = np.array([[1.0, np.nan, 3.0, 8.0], [np.nan] * 4])
    assert mean(values)[0] == 4.0
    assert np.isnan(mean(values)[1])
    assert sigma(values, median(values))[0] == pytest.approx(MAD_TO_SIGMA * 2.0)


def test_peer_placement_equals_the_slow_twin_at_every_level(new_town):
    town = new_town(days=2)
    rng = np.random.default_rng(8)
    sizes = {"C2231": 80, "C2239": 20, "C3011": 8, "C1752": 6, "F5212": 40, "H6110": 3}
    for industry, count in sizes.items():
        for _ in range(count):
            tariff = "commercial" if industry[0] in "FH" else "industrial"
            town.add("x", np.ones((2, 96)), industry=industry, tariff_class=tariff, contract_kva=200.0)
    town.add("x", np.ones((2, 96)), industry=None, tariff_class=None, contract_kva=None)
    n = len(town.rows)
    values = rng.normal(size=n).round(1)  # rounded: ties, and a negative zero
    values[::7] = np.nan
    values[3] = -0.0
    rows = np.arange(n)
    placed = Peers(City(town.block(), town.context())).place(values, rows)
    seen = set()
    for row in rows:
        me = town.rows[row]
        widest = [
            lambda r: (r["industry"] or "", r["tariff_class"], r["contract_kva"]),
            lambda r: ((r["industry"] or "")[:3], r["tariff_class"]),
            lambda r: ((r["industry"] or "")[:1], r["tariff_class"]),
            lambda r: r["tariff_class"],
            lambda r: True,
        ]
        if np.isnan(values[row]):
            assert placed.level[row] == -1
            continue
        for level, key in enumerate(widest):  # noqa: B007 - the level where the search ended is compared below
            group = np.array(
                [
                    np.float32(values[i])
                    for i, r in enumerate(town.rows)
                    if key(r) == key(me) and not np.isnan(values[i])
                ]
            )
            if len(group) >= MIN_PEERS:
                break
        seen.add(level)
        assert placed.level[row] == level
        assert placed.count[row] == len(group)
        assert placed.rank[row] == pytest.approx((group < np.float32(values[row])).mean())
        assert placed.middle[row] == pytest.approx(np.median(group), abs=1e-6)
        assert placed.high[row] == pytest.approx(np.sort(group)[int(0.99 * (len(group) - 1))], abs=1e-6)
    assert seen == {0, 1, 2, 3, 4}


def test_no_group_is_large_enough(new_town):
    town = new_town(days=2)
    town.background(10)
    placed = Peers(City(town.block(), town.context())).place(np.arange(10.0), np.arange(10))
    assert set(placed.level) == {-1}
    assert np.isnan(placed.rank).all()


@pytest.mark.parametrize(
    ("code", "ordinary"),
    [
        ("G5930", True),
        ("C1411", True),
        ("C1421", False),
        ("N7810", True),
        ("N7721", False),
        ("C2231", False),
        ("", False),
    ],
)
def test_industries_with_ordinary_night_load(code, ordinary):
    assert (night_industry(code) is not None) is ordinary
