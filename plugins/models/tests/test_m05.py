"""M5: night-only workshops found, their benign twins left alone, nothing said about what cannot be known."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import replace
from datetime import date, timedelta
from functools import cache

import numpy as np
import pyarrow as pa
import pytest

from dianhuan_models.m05 import NightConfig, NightOnly
from dianhuan_sdk import InputError

AS_OF = date(2026, 3, 29)
DAYS = 28


def night_town(make, **options):
    """A fresh copy of the town; building it takes longer than scoring it."""
    return deepcopy(built(make, **options))


@cache
def built(make, **options):
    town = make(**options)
    town.background(900)
    for _ in range(30):
        peak = float(np.exp(town.rng.normal(4.2, 0.5)))
        town.add("workshop", town.night_workshop(peak))
        town.add("new_workshop", town.night_workshop(peak, 0.9, since=14))
        town.add("furnace", town.night_furnace(peak))
        town.add("irregular_furnace", town.irregular_furnace(peak))
        town.add("registered_furnace", town.night_furnace(peak), permit_class="registered")
        town.add("permitted", town.night_workshop(peak), permit_class="key", night_permitted=True)
        town.add("declared_pv", town.sunny_shop(peak, 1.1 * peak, net=True), pv=True)
        town.add("hidden_pv", town.sunny_shop(peak, 1.0 * peak, net=False))
        town.add("lights", town.street_lights(peak), industry="N7810", tariff_class="commercial")
        town.add("unlisted_lights", town.street_lights(peak), industry="L7291", tariff_class="commercial")
        town.add("cold_store", town.cold_store(peak), industry="G5930")
        town.add("depot", town.bus_depot(peak), industry="G5411", tariff_class="commercial")
        town.add("ev", town.bus_depot(peak), industry="F5266", tariff_class="ev")
        town.add("small", town.night_workshop(3.0))
    return town


BENIGN = (
    *("ordinary", "furnace", "irregular_furnace", "registered_furnace", "permitted", "declared_pv", "hidden_pv"),
    *("lights", "unlisted_lights", "cold_store", "depot", "ev", "small"),
)
MARGIN = {"irregular_furnace": 0.15}
"""Most of a benign kind that may be flagged; irregular work that keeps to cheap hours is the known weak spot."""


def flagged(town, rule="night_only", config=None, **tables):
    model = NightOnly(config or NightConfig())
    findings = model.score(town.block(), town.context(**tables))
    return [f for f in findings if f.rule == rule and f.verdict == "suspect"]


@pytest.mark.parametrize("regime", ["new", "old"])
def test_workshops_are_found_and_benign_twins_are_not(new_town, old_tariff, regime):
    town = night_town(new_town, **({"tariff": old_tariff} if regime == "old" else {}))
    kinds = town.kind_of()
    found = Counter(kinds[f.entity_id] for f in flagged(town))
    total = Counter(town.kinds)
    print(f"M5 {regime}:", {k: f"{found[k]}/{total[k]}" for k in total})
    assert found["workshop"] >= 0.9 * total["workshop"]
    assert found["new_workshop"] >= 0.85 * total["new_workshop"]
    for kind in BENIGN:
        assert found[kind] <= MARGIN.get(kind, 0.0) * total[kind], kind


def test_words_and_numbers_of_a_finding(new_town):
    town = night_town(new_town)
    best = next(f for f in flagged(town) if f.entity_id in town.ids("workshop"))
    share = best.evidence["night_share"]
    assert 0.6 < share <= 1
    assert f"占 {share * 100:.0f} %" in best.reasons[0].zh
    assert "peers' median" in best.reasons[0].en
    assert best.counter
    assert best.day == town.as_of
    assert set(best.exhibit.days) <= set(town.window)
    assert best.exhibit.slots == (88, 24)
    assert 0 <= best.score <= 1


def test_row_order_and_repetition_do_not_matter(new_town):
    town = night_town(new_town)
    model = NightOnly(NightConfig())
    first = model.score(town.block(), town.context())
    assert first == model.score(town.block(), town.context())
    order = np.random.default_rng(5).permutation(len(town.rows))
    town.rows, town.kw = [town.rows[i] for i in order], [town.kw[i] for i in order]
    second = model.score(town.block(), town.context())
    assert [f.entity_id for f in first] == [f.entity_id for f in second]
    assert [f.score for f in first] == pytest.approx([f.score for f in second], abs=1e-5)


def test_days_after_as_of_are_refused_and_later_acceptance_is_not_seen(new_town):
    town = night_town(new_town)
    context = town.context()
    late = type(context)(town.as_of - timedelta(days=1), context.calendar, context.tariff, {})
    with pytest.raises(InputError, match="as_of"):
        NightOnly(NightConfig()).score(town.block(), late)


def test_gaps_in_context_lower_the_score_and_are_named(new_town):
    town = night_town(new_town)
    plain = {f.entity_id: f for f in flagged(town)}
    ids = sorted(town.ids("workshop"))
    for row in town.rows:
        if row["entity_id"] == ids[0]:
            row["permit_class"] = None
        if row["entity_id"] == ids[1]:
            row["shared_meter"] = True
        if row["entity_id"] == ids[2]:
            row["permit_class"] = "registered"
    gapped = {f.entity_id: f for f in flagged(town, config=NightConfig(threshold=0.1))}
    for entity, code in zip(ids, ("permit_unknown", "shared_meter", "night_permission_unknown"), strict=False):
        assert code in gapped[entity].context
        assert code not in plain[entity].context
        assert gapped[entity].score < plain[entity].score
        assert len(gapped[entity].counter) >= 1


def test_provisional_calendar_and_tariff_are_named(new_town):
    town = night_town(new_town)
    context = town.context()
    calendar = [replace(c, provisional=True) for c in context.calendar]
    tariff = [replace(t, provisional=True) for t in context.tariff]
    model = NightOnly(NightConfig())
    plain = model.score(town.block(), context)
    provisional = model.score(town.block(), replace(context, calendar=calendar, tariff=tariff))
    assert {"calendar_provisional", "tariff_provisional"} <= set(provisional[0].context)
    assert provisional[0].score < plain[0].score


def test_few_valid_days_end_in_cannot_tell_and_fewer_in_silence(new_town):
    town = night_town(new_town)
    some, none = sorted(town.ids("workshop"))[:2]
    for row, kw in zip(town.rows, town.kw, strict=True):
        if row["entity_id"] == some:
            kw[: DAYS - 8] = np.nan
        if row["entity_id"] == none:
            kw[: DAYS - 4] = np.nan
    findings = {f.entity_id: f for f in NightOnly(NightConfig(threshold=0.3)).score(town.block(), town.context())}
    assert findings[some].verdict == "cannot_tell"
    assert "8" in findings[some].counter[0].zh
    assert "missing_data" in findings[some].context
    assert none not in findings


def test_a_lost_connection_does_not_clear_a_suspect(new_town):
    town = night_town(new_town)
    lost = sorted(town.ids("workshop"))[0]
    for row, kw in zip(town.rows, town.kw, strict=True):
        if row["entity_id"] == lost:
            kw[-4:] = np.nan
    findings = {f.entity_id: f for f in NightOnly(NightConfig()).score(town.block(), town.context())}
    assert findings[lost].verdict == "cannot_tell"
    assert "最近 3 日无有效数据" in findings[lost].counter[0].zh


def test_missing_points_neither_flag_nor_clear(new_town):
    town = night_town(new_town)
    before = {f.entity_id for f in flagged(town)}
    holes = np.random.default_rng(11)
    for kw in town.kw:
        kw[holes.random(kw.shape) < 0.05] = np.nan
    after = {f.entity_id for f in flagged(town)}
    assert len(before & after) >= 0.95 * len(before)
    assert not {town.kind_of()[e] for e in after} & set(BENIGN)


def test_a_workshop_that_stopped_is_not_found(new_town):
    town = night_town(new_town)
    for kw, kind in zip(town.kw, town.kinds, strict=True):
        if kind == "workshop":
            kw[-4:] = 0.5
    assert not {f.entity_id for f in flagged(town)} & town.ids("workshop")


def test_a_small_block_backs_off_to_wider_peers_and_says_so(new_town):
    town = night_town(new_town)
    whole = next(f for f in flagged(town) if f.entity_id in town.ids("workshop"))
    keep = [i for i, r in enumerate(town.rows) if r["entity_id"] == whole.entity_id or i % 40 == 0]
    town.rows, town.kw = [town.rows[i] for i in keep], [town.kw[i] for i in keep]
    part = next(f for f in flagged(town) if f.entity_id == whole.entity_id)
    assert part.evidence["peers"] < whole.evidence["peers"]
    assert part.evidence["night_share"] == pytest.approx(whole.evidence["night_share"], abs=1e-4)


def acceptance(*rows):
    names = ("acceptance_id", "entity_id", "project", "approved_on", "accepted_on", "trial_until")
    types = (pa.string(), pa.string(), pa.string(), pa.date32(), pa.date32(), pa.date32())
    return pa.table({n: pa.array([r[i] for r in rows], t) for i, (n, t) in enumerate(zip(names, types, strict=True))})


def test_load_before_acceptance_and_its_twins(new_town):
    town = new_town()
    town.background(200)
    long_ago, tomorrow = date(2025, 9, 1), AS_OF + timedelta(days=1)
    rows = []
    cases = {
        "violator": (long_ago, None, None, 0.5),
        "accepted_later": (long_ago, tomorrow, None, 0.5),
        "accepted": (long_ago, date(2026, 1, 5), None, 0.5),
        "on_trial": (long_ago, None, tomorrow, 0.5),
        "construction": (long_ago, None, None, 0.03),
        "approved_today": (AS_OF, None, None, 0.5),
    }
    for kind, (approved, accepted, trial, share) in cases.items():
        for _ in range(20):
            town.add(kind, town.day_plant(1000 * share), contract_kva=1000.0)
            rows.append((f"a{len(rows)}", town.rows[-1]["entity_id"], "一期", approved, accepted, trial))
    found = flagged(town, "load_before_acceptance", acceptance=acceptance(*rows))
    kinds = Counter(town.kind_of()[f.entity_id] for f in found)
    assert kinds["violator"] >= 19
    assert kinds["accepted_later"] == kinds["violator"]
    assert set(kinds) == {"violator", "accepted_later"}
    assert "未见验收" in found[0].reasons[0].zh
    assert not flagged(town, "load_before_acceptance")


def test_an_extension_of_an_accepted_plant_is_left_alone(new_town):
    town = new_town()
    town.background(50)
    town.add("plant", town.day_plant(500), contract_kva=1000.0)
    entity = town.rows[-1]["entity_id"]
    table = acceptance(
        ("a1", entity, "一期", date(2019, 1, 1), date(2020, 1, 1), None),
        ("a2", entity, "扩建", date(2025, 9, 1), None, None),
    )
    assert not flagged(town, "load_before_acceptance", acceptance=table)


def test_a_lost_connection_before_acceptance_is_cannot_tell(new_town):
    town = new_town()
    town.background(50)
    town.add("plant", town.day_plant(500), contract_kva=1000.0)
    town.kw[-1][-4:] = np.nan
    table = acceptance(("a1", town.rows[-1]["entity_id"], "一期", date(2025, 9, 1), None, None))
    (finding,) = NightOnly(NightConfig()).score(town.block(), town.context(acceptance=table))
    assert (finding.rule, finding.verdict) == ("load_before_acceptance", "cannot_tell")


def test_capacity_unknown_falls_back_to_the_peers(new_town):
    town = new_town()
    town.background(200)
    town.add("plant", town.day_plant(300), contract_kva=None)
    table = acceptance(("a1", town.rows[-1]["entity_id"], "一期", date(2025, 9, 1), None, None))
    found = flagged(town, "load_before_acceptance", acceptance=table)
    assert [f.evidence["contract_kva"] for f in found] == [None]
    assert "同业中位数" in found[0].reasons[0].zh


def test_an_empty_block_has_no_findings(new_town):
    town = new_town()
    town.background(1)
    block = town.block()
    empty = type(block)(block.table.slice(0, 0), block.window, block.kw[:0], block.valley)
    assert NightOnly(NightConfig()).score(empty, town.context()) == []


def test_the_week_of_a_tariff_change_does_not_flag_the_furnaces(new_town, old_tariff):
    """Half of the window under valley 23–07, then under 00–06: legal night work moves along."""
    town = new_town()
    town.background(400)
    for _ in range(20):
        furnace = town.night_furnace(80.0)
        before = new_town(tariff=old_tariff, seed=int(town.rng.integers(1000))).night_furnace(80.0)
        town.add("furnace", np.concatenate([before[:20], furnace[20:]]))
        town.add("workshop", town.night_workshop(80.0))
    context, block = town.context(), town.block()
    tariff = [replace(t, periods=old_tariff) if d < 20 else t for d, t in enumerate(context.tariff)]
    block = replace(block, valley=np.stack([t.valley for t in tariff]), _kept={})
    kinds = Counter(
        town.kind_of()[f.entity_id] for f in NightOnly(NightConfig()).score(block, replace(context, tariff=tariff))
    )
    assert kinds["furnace"] == 0
    assert kinds["workshop"] >= 18


def test_holidays_do_not_count_and_makeup_days_do(new_town):
    town = night_town(new_town)
    context = town.context()
    model = NightOnly(NightConfig(threshold=0.1))
    holidays = [replace(c, kind="holiday") if d >= 18 else c for d, c in enumerate(context.calendar)]
    makeup = [replace(c, kind="makeup") if c.kind == "weekend" else c for c in context.calendar]
    plain = {f.entity_id: f for f in model.score(town.block(), context)}
    rest = {f.entity_id: f for f in model.score(town.block(), replace(context, calendar=holidays))}
    worked = {f.entity_id: f for f in model.score(town.block(), replace(context, calendar=makeup))}
    entity = sorted(town.ids("workshop") & set(rest))[0]
    assert plain[entity].evidence["valid_days"] == 28
    assert rest[entity].evidence["valid_days"] == 18
    assert rest[entity].verdict == "suspect"
    assert worked[entity].evidence["valid_days"] == 28
