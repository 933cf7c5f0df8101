"""M9: closed plants that run again are found; caretakers, dismantlers and new legal tenants are not."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from dianhuan_models.m09 import Rebound, ReboundConfig

CLOSED = date(2026, 3, 9)
"""Day 8 of the window of 28."""


def orders(rows):
    names = ("order_id", "entity_id", "kind", "starts_at", "ends_at")
    instant = pa.timestamp("us", "UTC")
    types = (pa.string(), pa.string(), pa.string(), instant, instant)
    return pa.table({n: pa.array([r[i] for r in rows], t) for i, (n, t) in enumerate(zip(names, types, strict=True))})


def at(day: date) -> datetime:
    """01:00 in Shanghai on that day, in UTC: still the day before there."""
    return datetime(day.year, day.month, day.day, 1, tzinfo=UTC) - timedelta(hours=8)


def closed_town(new_town):
    """Kinds of closed plants, 20 each, and the order table."""
    town = new_town()
    town.background(100)
    rows = []

    def add(kind, kw, start=CLOSED, end=None, order="closure", **columns):
        town.add(kind, kw, **columns)
        rows.append((f"o{len(rows)}", town.rows[-1]["entity_id"], order, at(start), end and at(end)))

    long_ago = date(2025, 11, 1)
    for _ in range(20):
        peak = float(np.exp(town.rng.normal(4.5, 0.4)))
        old, idle = town.day_plant(peak), 0.012 * peak * town.noise()
        after = np.array(town.window) > CLOSED
        shut = np.where(after[:, None], idle, old)
        back = np.array(town.window) >= date(2026, 3, 22)

        def since(kw, day=back, base=shut):
            return np.where(day[:, None], kw, base)

        add("rebound", since(0.4 * old))
        add("rebound_by_night", since(0.4 * town.night_workshop(peak, 1.0)))
        add("never_stopped", old)
        add("long_closed_back", since(0.5 * old, base=idle), start=long_ago)
        add("long_closed_never_stopped", 0.5 * old, start=long_ago)
        add("obeys", shut)
        add("caretaker", shut + 0.02 * peak)
        add("dismantling", since(0.12 * peak * (np.roll(old, 0, axis=1) > 0.5 * peak) + idle))
        add("lifted", since(old), end=date(2026, 3, 20))
        add("future_order", old, start=town.as_of + timedelta(days=1))
        add("limited_only", since(old), order="limit")
    return town, orders(rows)


def findings(town, table, **tables):
    return Rebound(ReboundConfig()).score(town.block(), town.context(order=table, **tables))


def test_rebounds_are_found_and_twins_are_not(new_town):
    town, table = closed_town(new_town)
    found = findings(town, table)
    kinds = Counter(town.kind_of()[f.entity_id] for f in found if f.verdict == "suspect")
    print("M9:", dict(kinds))
    guilty = {"rebound", "rebound_by_night", "never_stopped", "long_closed_back", "long_closed_never_stopped"}
    assert set(kinds) - guilty <= {"dismantling"}
    assert kinds["dismantling"] <= 2
    for kind in guilty:
        assert kinds[kind] >= 19, kind
    assert not [f for f in found if f.verdict == "cannot_tell"]


def test_found_within_three_days_of_the_return(new_town):
    town, table = closed_town(new_town)
    town.as_of, town.days = date(2026, 3, 25), 24
    town.window, town.kw = town.window[:24], [kw[:24] for kw in town.kw]
    town.workday = town.workday[:24]
    kinds = Counter(town.kind_of()[f.entity_id] for f in findings(town, table) if f.verdict == "suspect")
    assert kinds["rebound"] >= 18
    town.as_of, town.days = date(2026, 3, 23), 22
    town.window, town.kw = town.window[:22], [kw[:22] for kw in town.kw]
    town.workday = town.workday[:22]
    kinds = Counter(town.kind_of()[f.entity_id] for f in findings(town, table) if f.verdict == "suspect")
    assert kinds["rebound"] == 0


def test_missing_days_are_cannot_tell_not_idle(new_town):
    town, table = closed_town(new_town)
    blind = sorted(town.ids("obeys"))[0]
    for row, kw in zip(town.rows, town.kw, strict=True):
        if row["entity_id"] == blind:
            kw[-4:] = np.nan
    (finding,) = [f for f in findings(town, table) if f.entity_id == blind]
    assert finding.verdict == "cannot_tell"
    assert "缺数不等于停产" in finding.counter[0].zh


def test_load_without_anything_to_compare_with_is_cannot_tell(new_town):
    town, table = closed_town(new_town)
    for row in town.rows:
        row["contract_kva"] = None
    kinds = {(town.kind_of()[f.entity_id], f.verdict) for f in findings(town, table)}
    assert ("long_closed_never_stopped", "cannot_tell") in kinds
    assert ("long_closed_never_stopped", "suspect") not in kinds
    assert ("rebound", "suspect") in kinds


def test_a_new_permit_or_tenant_is_counter_evidence(new_town):
    town, table = closed_town(new_town)
    first, second = sorted(town.ids("rebound"))[:2]
    permit = pa.table({"entity_id": [first], "valid_from": pa.array([date(2026, 3, 20)], pa.date32())})
    for row in town.rows:
        if row["entity_id"] == second:
            row["opened_on"] = date(2026, 3, 18)
    plain = {f.entity_id: f.score for f in findings(*closed_town(new_town))}
    known = {f.entity_id: f.score for f in findings(town, table, permit=permit)}
    assert known.get(first, 0.0) < 0.6 * plain[first]
    assert known.get(second, 0.0) < 0.7 * plain[second]


def test_closed_on_of_the_register_counts_without_an_order(new_town):
    town, _ = closed_town(new_town)
    for row, kind in zip(town.rows, town.kinds, strict=True):
        if kind == "rebound":
            row["closed_on"] = CLOSED
    found = Rebound(ReboundConfig()).score(town.block(), town.context())
    assert {town.kind_of()[f.entity_id] for f in found} == {"rebound"}
    assert f"{CLOSED}" in found[0].reasons[0].zh


def test_load_that_moved_next_door(new_town):
    town = new_town()
    town.background(200)
    rows = []
    after = (np.array(town.window) > CLOSED)[:, None]
    for k in range(10):
        place = {"lon": 113.1 + k / 100, "lat": 27.8}
        next_door = {"lon": 113.1 + k / 100 + 0.001, "lat": 27.8005}
        old = town.day_plant(120)
        town.add("closed", np.where(after, 1.0, old), **place)
        rows.append((f"o{k}", town.rows[-1]["entity_id"], "closure", at(CLOSED), None))
        own = town.two_shift(30)
        town.add("took_it_over", own + np.where(after, 0.8 * town.day_plant(120), 0), **next_door)
        town.add("chain_shop", town.day_plant(120), **next_door)
        town.add("other_growth", own + np.where(after, 60 * town.noise(), 0), **next_door)
        town.add("far_away", own + np.where(after, 0.8 * town.day_plant(120), 0), lon=114.5, lat=27.8)
        town.add("nowhere", own + np.where(after, 0.8 * town.day_plant(120), 0))
    found = Rebound(ReboundConfig()).score(town.block(), town.context(order=orders(rows)))
    kinds = Counter(town.kind_of()[f.entity_id] for f in found)
    assert kinds == {"took_it_over": 10}
    assert {f.rule for f in found} == {"relocated"}
    assert found[0].evidence["distance_m"] == pytest.approx(113, abs=5)
