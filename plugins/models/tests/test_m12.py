"""M12: the hazard of a verified violation in the next week, learnt forward in time; rules where visits are few."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from dianhuan_models._city import City
from dianhuan_models._history import FEATURES, history
from dianhuan_models.m12 import ComingConfig, ComingViolation, calibrated, fit

WEEKS = 34
INSTANT = pa.timestamp("us", "UTC")


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 4, tzinfo=UTC)


def told_town(new_town, seed, plants=250, weeks=WEEKS):
    """A hidden weekly hazard that follows a slow personal state; warnings are noisy signs of it; visits see the truth.

    Recidivists alone are a weak guide: states move.
    """
    town = new_town(seed=seed, days=28)
    rng = town.rng
    for _ in range(plants):
        town.add("plant", np.full((28, 96), 50.0))
    ids = [r["entity_id"] for r in town.rows]
    state = rng.normal(-1, 1.2, plants)
    warnings, cases, outcomes, truth = [], [], [], {}
    for w in range(weeks + 1):
        first = town.as_of - timedelta(days=7 * (weeks - w) - 1)
        state = -1 + 0.9 * (state + 1) + rng.normal(0, 0.55, plants)
        offends = rng.random(plants) < 1 / (1 + np.exp(2.2 - 1.5 * state))
        if w == weeks:
            truth = dict(zip(ids, offends.tolist(), strict=True))
            break
        sign = rng.poisson(np.exp(np.minimum(state, 2.5)) * 0.5)
        for i in np.flatnonzero(sign):
            for k in range(min(int(sign[i]), 4)):
                day = first + timedelta(days=int(rng.integers(0, 7)))
                number = f"C{w}-{i}-{k}"
                warnings.append((number, ids[i], day, f"m{int(rng.integers(1, 6)):02d}-x", float(rng.uniform(0.5, 1))))
                cases.append((number, ids[i]))
        for i in np.flatnonzero(rng.random(plants) < np.where(sign > 0, 0.6, 0.1)):
            number = f"V{w}-{i}"
            cases.append((number, ids[i]))
            outcomes.append(
                (
                    number,
                    "verified" if offends[i] else "not_found",
                    noon(first + timedelta(days=int(rng.integers(0, 7)))),
                )
            )
    tables = {
        "warning": pa.table({
            "case_id": [r[0] for r in warnings], "entity_id": [r[1] for r in warnings],
            "day": pa.array([r[2] for r in warnings], pa.date32()), "model_id": [r[3] for r in warnings],
            "score": [r[4] for r in warnings]}),
        "case": pa.table({"case_id": [r[0] for r in cases], "entity_id": [r[1] for r in cases]}),
        "outcome": pa.table({"case_id": [r[0] for r in outcomes], "code": [r[1] for r in outcomes],
                             "at": pa.array([r[2] for r in outcomes], INSTANT)}),
    }  # fmt: skip
    return town, tables, truth


def test_forecasts_beat_recidivists_first(new_town):
    mine, theirs, base, skill, events = [], [], [], [], 0
    for seed in (521, 522, 523):
        town, tables, truth = told_town(new_town, seed)
        context = town.context(**tables)
        city = City(town.block(), context)
        past = history(city, "m12-")
        hazard = fit(past, context.as_of.toordinal(), ComingConfig())
        assert hazard.learnt
        assert (hazard.weights >= 0).all()
        hit = np.array([truth[city.entity_id(int(r))] for r in past.rows])
        now = past.features(past.rows, context.as_of.toordinal())
        k = 25
        mine.append(hit[np.argsort(-hazard.raw, kind="stable")[:k]].mean())
        theirs.append(hit[np.argsort(-now[:, FEATURES.index("verified_recently")], kind="stable")[:k]].mean())
        base.append(np.mean(list(truth.values())))
        skill.append(hazard.skill)
        events += hazard.events
    lift = np.mean(mine) / np.mean(base)
    print(f"M12: precision@25 {np.mean(mine):.2f}, recidivists first {np.mean(theirs):.2f}, base {np.mean(base):.3f}, "
          f"top-decile lift {lift:.1f}, Brier skill {np.mean(skill):.2f}, {events} events")  # fmt: skip
    assert np.mean(mine) > np.mean(theirs)
    assert lift > 2
    assert min(skill) > 0


def test_few_visits_are_a_cold_start_with_less_confidence(new_town):
    town, tables, _ = told_town(new_town, 510)
    few = tables | {"outcome": tables["outcome"].slice(0, 20)}
    model = ComingViolation(ComingConfig())
    learnt = model.score(town.block(), town.context(**tables))
    cold = model.score(town.block(), town.context(**few))
    assert learnt
    assert all("cold_start" not in f.context for f in learnt)
    assert all("cold_start" in f.context and "规则" in f.reasons[0].zh for f in cold)
    assert max((f.score for f in cold), default=0) <= 0.7


def test_no_history_no_forecast(new_town):
    town, tables, _ = told_town(new_town, 506, plants=20, weeks=12)
    model = ComingViolation(ComingConfig())
    assert model.score(town.block(), town.context()) == []
    empty = {name: table.slice(0, 0) for name, table in tables.items()}
    assert model.score(town.block(), town.context(**empty)) == []


def test_later_warnings_and_visits_change_nothing(new_town):
    town, tables, _ = told_town(new_town, 507, plants=120)
    model = ComingViolation(ComingConfig())
    plain = model.score(town.block(), town.context(**tables))
    ids = [r["entity_id"] for r in town.rows]
    day = town.as_of + timedelta(days=2)
    later = {
        "warning": pa.table({"case_id": [f"L{i}" for i in ids], "entity_id": ids,
                             "day": pa.array([day] * len(ids), pa.date32()), "model_id": ["m05-x"] * len(ids),
                             "score": [0.9] * len(ids)}),
        "case": pa.table({"case_id": [f"L{i}" for i in ids], "entity_id": ids}),
        "outcome": pa.table({"case_id": [f"L{i}" for i in ids], "code": ["verified"] * len(ids),
                             "at": pa.array([noon(day)] * len(ids), INSTANT)}),
    }  # fmt: skip
    both = {name: pa.concat_tables([tables[name], later[name]]) for name in tables}
    assert plain
    assert model.score(town.block(), town.context(**both)) == plain


def test_own_warnings_are_not_fed_back(new_town):
    town, tables, _ = told_town(new_town, 508, plants=120)
    model = ComingViolation(ComingConfig())
    plain = model.score(town.block(), town.context(**tables))
    names = pa.array(["m12-coming-violation"] * tables["warning"].num_rows)
    own = tables["warning"].set_column(3, "model_id", names)
    both = tables | {"warning": pa.concat_tables([tables["warning"], own])}
    assert model.score(town.block(), town.context(**both)) == plain


def test_calibration_is_monotone_and_near_the_truth():
    rng = np.random.default_rng(509)
    p = rng.uniform(0, 0.6, 4000)
    truth = p**2
    y = (rng.random(4000) < truth).astype(float)
    grid = np.linspace(0.05, 0.55, 11)
    out = calibrated(p, y, grid)
    assert (np.diff(out) >= 0).all()
    assert np.abs(out - grid**2).mean() < 0.05
    assert out[-1] == pytest.approx(0.55**2, abs=0.12)
