"""Injections keep their energy books, twins are twins, and a kept seed makes the same curve again."""

from __future__ import annotations

import numpy as np
import pytest

from dianhuan_bench.injection import RECIPES, TWINS, again, inject, twin
from dianhuan_sdk import InputError

DAYS = 28
SLOTS = np.arange(96)


@pytest.fixture
def kw():
    """A day worker with weekends, noise and some gaps."""
    rng = np.random.default_rng(5)
    shape = 10 + 90 * ((SLOTS >= 32) & (SLOTS < 72))
    level = np.where(np.arange(DAYS) % 7 < 5, 1.0, 0.9)[:, None]
    out = (shape * level * rng.normal(1, 0.05, (DAYS, 96))).astype(np.float32)
    out[rng.random(out.shape) < 0.005] = np.nan
    return out


def total(kw):
    return float(np.nansum(kw, dtype=np.float64))


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("seed", range(6))
def test_only_the_later_part_changes_and_the_source_stays(kw, recipe, seed):
    before = kw.copy()
    made = inject(recipe, kw, np.random.default_rng(seed))
    assert np.array_equal(kw, before, equal_nan=True)
    first = made.parameters["first_day"]
    rest = made.beside["neighbour"] if recipe == "V10" else made.kw
    assert made.kw.shape == kw.shape
    assert made.kw.dtype == np.float32
    early = first - 1 if recipe == "V6" else first  # work that is done before the window
    assert not made.label[:early].any()
    assert made.label[early:].any()
    assert np.array_equal(made.kw[~made.label], kw[~made.label], equal_nan=True)
    assert np.isfinite(rest[~np.isnan(kw)]).mean() > 0.98


@pytest.mark.parametrize("seed", range(6))
def test_energy_books(kw, seed):
    def made(recipe):
        got = inject(recipe, kw, np.random.default_rng(seed))
        return got, got.kw[got.label], kw[got.label]

    for recipe in ("J1", "V2", "V4"):
        got, new, old = made(recipe)
        assert total(new) == pytest.approx(got.parameters["factor"] * total(old), rel=1e-4)
    got, _, _ = made("V3")
    idle = np.nanquantile(kw, 0.05)
    work = np.nansum(np.maximum(kw[got.parameters["moved_days"], 32:72] - idle, 0))
    outside = (SLOTS < 32) | (SLOTS >= 72)
    assert total(got.kw[:, outside]) - total(kw[:, outside]) == pytest.approx(work, rel=1e-3)
    for recipe in ("J5", "J6"):
        got, _, _ = made(recipe)
        assert total(got.kw) == pytest.approx(total(kw), rel=1e-4)
    got, new, _ = made("J2")
    assert new.max() == 0
    assert got.label.sum(axis=1)[got.parameters["first_day"] + 1 :].min() >= 14  # 4 h less a few gaps
    for recipe in ("J3", "J4"):
        got, new, old = made(recipe)
        assert 0.38 * total(old) < total(new) < 0.52 * total(old)
    got, new, old = made("V1")
    assert total(new) < 0.1 * total(old)
    got, new, old = made("V9")
    left = (1 - got.parameters["percent_a_week"] / 100) ** ((DAYS - 1 - got.parameters["first_day"]) / 7)
    assert total(got.kw[-1]) == pytest.approx(left * total(kw[-1]), rel=1e-4)
    got, new, old = made("V8")
    assert total(new) == pytest.approx(got.parameters["ratio"] * total(old), rel=1e-4)
    got, new, old = made("V6")
    window = got.beside["ordered"]
    kept = total(got.kw[window]) / total(kw[window])
    if got.parameters["form"] == "ignored":
        assert kept >= 0.87
    else:
        assert kept == pytest.approx(0.7, rel=1e-3)
        assert total(got.kw) == pytest.approx(total(kw), rel=1e-3)
    got, _, _ = made("V7")
    back = got.kw[got.beside["closed"]]
    assert total(back) > 0.01 * total(kw[got.beside["closed"]])
    got, _, _ = made("V10")
    first = got.parameters["first_day"]
    gained = total(got.beside["neighbour"][first:]) / total(kw[first:])
    assert gained > got.parameters["level"]
    assert total(got.kw[first:]) < 0.2 * total(kw[first:])
    got, _, _ = made("V11")
    on = 1 / 3 + 2 / 3 * got.parameters["idling"]
    hours = np.repeat(got.label.reshape(DAYS, 24, 4).any(axis=2), 4, axis=1)
    assert total(got.kw[hours]) == pytest.approx(on * total(kw[hours]), rel=0.05)
    lowest = got.kw.reshape(-1)[got.label.reshape(-1)]
    assert lowest.min() > 0


def test_v5_freezes_or_repeats(kw):
    seen = set()
    for seed in range(12):
        got = inject("V5", kw, np.random.default_rng(seed))
        form, first = got.parameters["form"], got.parameters["first_day"]
        seen.add(form)
        day = got.kw[first]
        if form == "freeze":
            assert np.nanstd(day) < 1e-3
        elif form == "replay":
            assert np.array_equal(day, kw[first - 7], equal_nan=True)
        else:
            valid = ~np.isnan(kw[first - 7])
            assert np.abs(day[valid] / kw[first - 7][valid] - 1).max() < 0.06
    assert seen == {"freeze", "replay", "noisy_replay"}


def test_v3_moves_work_to_the_night(kw):
    got = inject("V3", kw, np.random.default_rng(2))
    after = got.kw[got.parameters["first_day"] + 1 :]
    night = np.nanmean(after[:, (SLOTS >= 88) | (SLOTS < 20)])
    assert night > 1.5 * np.nanmean(after[:, 32:72])
    assert night > 3 * np.nanmean(kw[:, (SLOTS >= 88) | (SLOTS < 20)])


@pytest.mark.parametrize(("recipe", "name"), [(r, n) for r, names in TWINS.items() for n in names])
def test_twins_change_the_curve_and_violate_nothing(kw, recipe, name):
    made = twin(recipe, kw, np.random.default_rng(3), name)
    assert not made.label.any()
    assert made.parameters["twin"] == name
    changed = not np.array_equal(made.kw, kw, equal_nan=True)
    assert changed or name == "franchise"  # nothing is closed there: the twin is the neighbour
    first = made.parameters["first_day"]
    assert np.array_equal(made.kw[: first - 3], kw[: first - 3], equal_nan=True)


def test_twins_look_like_their_violation(kw):
    night = (SLOTS >= 88) | (SLOTS < 20)
    for name in ("valley_furnace", "cold_store", "security_light", "ev_depot", "pv_net"):
        made = twin("V3", kw, np.random.default_rng(1), name)
        after = made.kw[made.parameters["first_day"] + 1 :]
        assert np.nanmean(after[:, night]) / np.nanmean(after[:, 32:72]) > 1.4 * 0.11
    for seed in range(4):
        obeyed = twin("V6", kw, np.random.default_rng(seed), "true_cut")
        window = obeyed.beside["ordered"]
        assert total(obeyed.kw[window]) <= 0.7001 * total(kw[window])
        changed = twin("V4", kw, np.random.default_rng(seed))
        assert np.array_equal(changed.beside["sub_meters"], changed.kw, equal_nan=True)
        follows = twin("V2", kw, np.random.default_rng(seed), "vfd_following")
        assert np.array_equal(follows.beside["production"], follows.kw, equal_nan=True)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_kept_seed_makes_the_same_again(kw, recipe):
    made = inject(recipe, kw, np.random.default_rng(11))
    other = inject(recipe, kw, np.random.default_rng(12))
    once_more = again(kw, made.parameters)
    assert np.array_equal(made.kw, once_more.kw, equal_nan=True)
    assert made.parameters == once_more.parameters
    assert made.parameters["seed"] != other.parameters["seed"]
    if recipe in TWINS:
        benign = twin(recipe, kw, np.random.default_rng(11))
        assert np.array_equal(benign.kw, again(kw, benign.parameters).kw, equal_nan=True)


def test_what_cannot_be_made_is_said(kw):
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="V12"):
        inject("V12", kw, rng)
    with pytest.raises(InputError, match="V11"):
        twin("V11", kw, rng)
    with pytest.raises(InputError, match="shape"):
        inject("J1", kw[:, :48], rng)
    with pytest.raises(InputError, match="shape"):
        inject("J1", kw[:3], rng)
