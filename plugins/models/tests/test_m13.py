"""M13: who is about to miss tomorrow's order or a month's limit; forecasts cover what they claim."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from dianhuan_models._dayahead import day_ahead
from dianhuan_models.m13 import AtRisk, AtRiskConfig

WINDOW = 42


def town_of_orders(new_town, order_table, seed, each=15):
    town = new_town(seed=seed, days=WINDOW, as_of=date(2026, 3, 26))
    rng, rows = town.rng, []
    since = town.as_of - timedelta(days=2)
    late = np.array(town.window) >= since
    early = np.array([20 <= d < 24 for d in range(WINDOW)])

    def plant():
        return town.two_shift(float(rng.uniform(80, 400))) * np.exp(rng.normal(0, 0.07, (WINDOW, 1)))

    def add(kind, kw, first, end=None, limit=70.0):
        town.add(kind, kw)
        rows.append((town.rows[-1]["entity_id"], "limit", first, end, limit))

    def again(first):
        rows.append((town.rows[-1]["entity_id"], "limit", first, None, 70.0))

    for _ in range(each):
        add("missing_it", plant() * np.where(late, rng.uniform(0.85, 1), 1)[:, None], since)
        add("meeting_it", plant() * np.where(late, rng.uniform(0.5, 0.6), 1)[:, None], since)
        tomorrow = town.as_of + timedelta(days=1)
        add("ignored_before", plant() * np.where(early, 0.95, 1)[:, None], town.window[20], town.window[23])
        again(tomorrow)
        add("obeyed_before", plant() * np.where(early, 0.55, 1)[:, None], town.window[20], town.window[23])
        again(tomorrow)
        add("first_time", plant(), tomorrow)
    return town, order_table(rows)


def judged(town, table):
    found = AtRisk(AtRiskConfig()).score(town.block(), town.context(order=table))
    kinds = town.kind_of()
    return Counter((kinds[f.entity_id], f.verdict) for f in found if f.rule == "order_at_risk"), found


def test_who_will_miss_tomorrow(new_town, order_table):
    total = Counter()
    for seed in (301, 302, 303):
        total += judged(*town_of_orders(new_town, order_table, seed))[0]
    print("M13:", dict(total))
    assert total["missing_it", "suspect"] >= 0.95 * 45
    assert total["ignored_before", "suspect"] >= 0.95 * 45
    assert total["meeting_it", "suspect"] == 0
    assert total["obeyed_before", "suspect"] == 0


def test_without_anybodys_response_it_cannot_tell(new_town, order_table):
    town = new_town(days=WINDOW)
    town.add("first_time", town.two_shift(100.0))
    tomorrow = town.as_of + timedelta(days=1)
    (finding,) = judged(town, order_table([(town.rows[0]["entity_id"], "limit", tomorrow, None, 70.0)]))[1]
    assert finding.verdict == "cannot_tell"
    assert "0 次" in finding.counter[0].zh


def test_the_citys_response_stands_in_with_less_confidence(new_town, order_table):
    town, table = town_of_orders(new_town, order_table, 304)
    _, found = judged(town, table)
    borrowed = [f for f in found if f.entity_id in town.ids("first_time")]
    own = [f for f in found if f.entity_id in town.ids("ignored_before")]
    assert all("response_unknown" in f.context for f in borrowed)
    assert max((f.score for f in borrowed), default=0.0) < min(f.score for f in own)


def test_missing_data_is_cannot_tell(new_town, order_table):
    town, table = town_of_orders(new_town, order_table, 305)
    for kw in town.kw:
        kw[:-8] = np.nan
    count, _ = judged(town, table)
    assert not [k for k in count if k[1] == "suspect"]
    assert count["missing_it", "cannot_tell"] == 15


def test_a_provisional_calendar_lowers_the_score(new_town, order_table):
    town, table = town_of_orders(new_town, order_table, 306)
    context = town.context(order=table)
    dim = replace(context, calendar=[replace(c, provisional=True) for c in context.calendar])
    model = AtRisk(AtRiskConfig())
    before = {(f.entity_id, f.rule): f.score for f in model.score(town.block(), context) if f.verdict == "suspect"}
    after = {(f.entity_id, f.rule): f for f in model.score(town.block(), dim) if f.verdict == "suspect"}
    assert after.keys() == before.keys()
    for key, finding in after.items():
        assert finding.score == pytest.approx(0.9 * before[key])
        assert "calendar_provisional" in finding.context


def test_a_month_under_a_limit(new_town, order_table):
    town = new_town(seed=307, days=WINDOW + 14, as_of=date(2026, 3, 22))
    rows, first = [], date(2026, 3, 2)
    late = (np.array(town.window) >= first)[:, None]
    for kind, share in (("over", 0.85), ("under", 0.6)):
        for _ in range(10):
            town.add(kind, town.two_shift(150.0) * np.where(late, share, 1))
            rows.append((town.rows[-1]["entity_id"], "limit", first, date(2026, 4, 30), 70.0))
    found = [f for f in judged(town, order_table(rows))[1] if f.rule == "month_limit_at_risk"]
    assert {f.entity_id for f in found} == town.ids("over")
    assert found[0].evidence["remaining_days"] == 9


def test_intervals_cover_and_beat_the_week_before():
    """Rows with drift and a weekly rhythm: 5–95 % covers 90 ± 3 %, pinball loss at least 10 % below last week's day."""
    rng = np.random.default_rng(308)
    rows, days = 1500, 57
    weekday = np.arange(days) % 7
    groups = np.where(weekday == 5, 1, np.where(weekday == 6, 2, 0))
    drift = np.cumsum(rng.normal(0, 0.02, (rows, days)), axis=1)
    logs = np.log(100) - np.where(groups > 0, 0.6, 0) + drift + rng.normal(0, 0.08, (rows, days))
    ahead = day_ahead(logs[:, :-1], np.ones((rows, days - 1), bool), groups[:-1], int(groups[-1]))
    q = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    mine = np.array([ahead.quantiles(r, q) for r in range(rows)])
    actual = logs[:, -1]
    covered = ((actual >= mine[:, 0]) & (actual <= mine[:, -1])).mean()
    weeks = logs[:, 14:-1] - logs[:, 7:-8]
    naive = logs[:, -8][:, None] + np.quantile(weeks, q, axis=1).T

    def pinball(guess):
        miss = actual[:, None] - guess
        return float(np.maximum(q * miss, (q - 1) * miss).mean())

    print(f"M13: covered {covered:.3f}, pinball {pinball(mine):.4f}, last week's day {pinball(naive):.4f}")
    assert 0.87 <= covered <= 0.93
    assert pinball(mine) < 0.9 * pinball(naive)
