"""Orders, meter faults, inspectors, reactions, complaints, the second province."""

from __future__ import annotations

from collections import Counter
from datetime import date

import numpy as np
import pytest

from dianhuan_sdk import ConfigError
from dianhuan_simulator import inspect, province_knobs, react, tip_offs
from dianhuan_standards import TABLES


def rows_of(city, entities):
    """Metering points (places in `day()`) of each entity that has a single owner."""
    block = city.blocks[0]
    ids = block.folk.uscc.astype(str)
    owner = ids[block.points.owner]
    return {e: np.flatnonzero(owner == e) for e in entities}


def active(city, day, kind=None):
    return {
        t["entity_id"]
        for t in city.truth().to_pylist()
        if t["from"] <= day
        and (t["to"] is None or t["to"] > day)
        and (t["kind"] == kind if kind else t["is_violation"])
    }


@pytest.fixture(scope="module")
def ordered(make_city, tmp_path_factory):
    """A city of a block with many episodes and many who fake."""
    file = tmp_path_factory.mktemp("knobs") / "k.yaml"
    file.write_text("curtailment: {per_year: 40}\n", "utf-8")
    return make_city(entities=4096, days=60, base_rate=0.02, start=date(2026, 3, 9), knobs=file)


def test_orders_have_a_scope_for_each_plant_and_keep_the_contract(ordered):
    table = ordered.registers()["order"]
    assert table.schema == TABLES["order"].schema
    rows = [r for r in table.to_pylist() if r["kind"] != "closure"]
    assert len({r["order_id"] for r in rows}) == len(rows)
    assert {r["kind"] for r in rows} == {"limit", "stop"}
    assert all((r["limit_percent"] is None) == (r["kind"] == "stop") for r in rows)
    assert len({r["limit_percent"] for r in rows}) >= 3
    by_window = Counter((r["starts_at"], r["level"]) for r in rows)
    classes = ordered.registers()["permit"]["permit_class"].to_pylist()
    holders = sum(c != "registered" for c in classes)
    assert all(count < holders for count in by_window.values())


def test_obeyed_orders_cut_the_load_and_faked_ones_do_not(ordered):
    truth = [t for t in ordered.truth().to_pylist() if t["kind"].startswith("curtailment")]
    kept: dict[str, list[float]] = {}
    for t in truth:
        first = (t["from"] - ordered.config.start).days
        if t["to"] is None or first < 8 or t["from"].weekday() > 3:
            continue
        points = rows_of(ordered, [t["entity_id"]])[t["entity_id"]]
        before = ordered.day(ordered.days[first - 7])[points]
        within = ordered.day(ordered.days[first])[points]
        if np.isnan(before).any() or np.isnan(within).any() or before.sum() < 96:
            continue
        kept.setdefault(t["kind"], []).append(float(within.sum() / before.sum()))
    assert np.median(kept["curtailment_obeyed"]) < 0.85
    assert np.median(kept["curtailment_ignored"]) > 0.85


def test_without_violators_nobody_fakes(make_city):
    city = make_city(entities=4096, days=60, base_rate=0.0)
    kinds = Counter(t["kind"] for t in city.truth().to_pylist() if t["is_violation"])
    assert not kinds
    assert any(t["kind"] == "curtailment_obeyed" for t in city.truth().to_pylist())


def test_a_wrong_ratio_multiplies_what_the_meter_tells(make_city, tmp_path):
    file = tmp_path / "k.yaml"
    file.write_text("meter_faults: {ratio_error: 0.05, ratio_days: [200, 300]}\n", "utf-8")
    right = tmp_path / "r.yaml"
    right.write_text("meter_faults: {ratio_error: 0.0}\n", "utf-8")
    wrong, plain = (make_city(entities=2000, days=30, knobs=k) for k in (file, right))
    day = wrong.days[20]
    found = [t for t in wrong.truth().to_pylist() if t["kind"] == "ct_ratio_error" and t["from"] <= day]
    assert len(found) > 20
    assert not any(t["is_violation"] for t in found)
    faults, a, b = wrong.blocks[0].faults, wrong.day(day), plain.day(day)
    rows = np.flatnonzero((faults.since[: len(a)] <= 20) & (faults.until[: len(a)] > 20))
    checked = 0
    for row in rows.tolist():
        if np.nanmax(b[row]) > 1 and not np.isnan(b[row]).any() and not np.isnan(a[row]).any() and b[row].min() >= 0:
            assert a[row].sum() == pytest.approx(faults.factor[row] * b[row].sum(), rel=0.1)
            checked += 1
    assert checked > 10
    others = np.setdiff1d(np.arange(len(a)), rows)
    assert np.array_equal(a[others], b[others], equal_nan=True)


def test_inspectors_err_as_often_as_the_knobs_say(violators):
    city, _ = violators
    day = city.days[-1]
    bad = sorted(active(city, day)) * 40
    codes = Counter(inspect(city, bad, day, np.random.default_rng(1)))
    judged = codes["verified"] + codes["not_found"]
    assert 0.09 < codes["not_found"] / judged < 0.16
    assert codes["could_not_inspect"] / len(bad) == pytest.approx(0.03, abs=0.01)
    everybody = set(city.registers()["entity"]["entity_id"].to_pylist())
    good = sorted(everybody - active(city, day))
    codes = Counter(inspect(city, good, day, np.random.default_rng(2)))
    assert codes["verified"] / len(good) == pytest.approx(0.01, abs=0.006)
    assert codes["benign_explained"] > 200
    assert codes["device_fault"] > 2
    assert inspect(city, good[:50], day, np.random.default_rng(3)) == inspect(
        city, good[:50], day, np.random.default_rng(3)
    )


def test_violators_react_from_the_next_day_on(make_city):
    still, city = (make_city(entities=4096, days=30, base_rate=0.02, seed=9) for _ in range(2))
    day, later = city.days[12], city.days[14]
    visited = sorted(active(city, day, "night_only"))
    before = active(city, later)
    changed = react(city, visited, ["verified"] * len(visited), day, np.random.default_rng(4))
    assert len(set(changed) & set(visited)) > 0.8 * len(visited)
    quiet = set(changed)
    assert active(city, day) == active(still, day)
    assert active(city, later) == before - quiet
    assert np.array_equal(city.day(day), still.day(day), equal_nan=True)
    points = rows_of(city, sorted(quiet & set(visited)))
    nights = np.r_[0:20, 88:96]
    ours, theirs = (np.concatenate([c.day(d)[:, nights] for d in c.days[14:17]], axis=1) for c in (city, still))
    fell = [np.nansum(ours[p]) < 0.7 * np.nansum(theirs[p]) for p in points.values()]
    assert np.mean(fell) > 0.7
    others = np.setdiff1d(np.arange(len(ours)), np.concatenate(list(rows_of(city, quiet).values())))
    assert np.array_equal(ours[others], theirs[others], equal_nan=True)
    end = active(city, city.days[-1])
    assert len(end & quiet) < len(quiet)


def test_complaints_are_mostly_about_the_guilty(violators):
    city, _ = violators
    rng = np.random.default_rng(5)
    bad = active(city, city.days[20])
    told = [e for _ in range(200) for e in tip_offs(city, city.days[20], rng)]
    assert len(told) > 30
    assert sum(e in bad for e in told) > 0.8 * len(told)
    assert set(told) <= set(city.registers()["entity"]["entity_id"].to_pylist())


def test_second_province_has_other_places_and_tariff(make_city):
    city = make_city(entities=1500, days=3, knobs=province_knobs("jiangxi"))
    home = make_city(entities=1500, days=3)
    tables = city.registers()
    assert {d[:2] for d in tables["entity"]["division"].to_pylist()} == {"36"}
    assert city.knobs.tariff != home.knobs.tariff
    shares = [sum(c.startswith("C") for c in t["entity"]["industry"].to_pylist()) for t in (tables, home.registers())]
    assert shares[0] > 1.2 * shares[1]
    assert all(t.schema == TABLES[name].schema for name, t in tables.items())
    with pytest.raises(ConfigError, match="jiangxi"):
        province_knobs("atlantis")


def test_the_whole_period_scheme_changes_inside_a_history(make_city):
    city = make_city(entities=4096, days=40, start=date(2025, 8, 11))
    block = city.blocks[0]
    works = block.folk.profile[block.points.owner] == list(city.knobs.profiles).index("valley_works")
    works &= block.points.pv == 0
    before, after = (np.nanmean(city.day(date(2025, *d))[works], axis=0) for d in ((8, 20), (9, 10)))
    noon = slice(48, 56)
    assert after[noon].mean() / after.mean() > 1.5 * before[noon].mean() / before.mean()
    assert after[93:].mean() / after.mean() < 0.8 * before[93:].mean() / before.mean()
