"""M7, M8, M11, M12, M13 under the conformance kit, on a city in which each of them finds something."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from dianhuan_models._curve_specs import CURVE_SPECS
from dianhuan_models.specs import SPECS
from dianhuan_sdk.testing import Scenario, check_model, city, context_of, kit_context
from dianhuan_standards.tables import TABLES

LAST = date(2026, 3, 1)
INSTANT = pa.timestamp("us", "UTC")
HISTORY = 190
RAIN_DAYS = tuple(range(2, HISTORY, 5))
"""Days before `LAST` on which it rained from 9 to 16."""


def instant(day: date, hour: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC) - timedelta(hours=8)


def block(days: int, seed: int):
    """The kit's city; every tenth plant doubles in the rain, every tenth never obeys, which needs no change."""
    plain = city(days, entities=150, seed=seed)
    kw = plain.kw.copy()
    for i in range(0, len(kw), 12):
        for d, day in enumerate(plain.window):
            if (LAST - day).days in RAIN_DAYS:
                kw[i, d, 36:64] *= 2.2
    return replace(plain, kw=kw, _kept={})


def tables() -> dict[str, pa.Table]:
    ids = [f"E{i:04d}" for i in range(150)]
    days = [LAST - timedelta(days=d) for d in range(HISTORY)]
    rain = [
        {"division": "430211", "at": instant(day, h), "temp_c": 15.0, "wind_ms": 3.0, "inversion": False,
         "rain_mm": 3.0 if (LAST - day).days in RAIN_DAYS and 9 <= h < 16 else 0.0}
        for day in days for h in range(24)
    ]  # fmt: skip
    orders = [
        {"order_id": f"o{e}", "entity_id": e, "kind": "limit", "level": "orange", "limit_percent": 50.0,
         "starts_at": instant(date(2026, 2, 16)), "ends_at": instant(date(2026, 3, 20))}
        for e in ids[1:13]
    ]  # fmt: skip
    rng = np.random.default_rng(7)
    channels, readings = [], []
    for e in ids[:14]:
        for role, code in (("treatment", "d30106"), ("production", "d20105")):
            name = f"{e}/{code}-avg.day"
            channels.append(
                {"channel_id": name, "device_id": e, "protocol": "hj212", "code": code, "statistic": "avg",
                 "interval": "day", "quantity": "active_power", "role": role, "entity_id": e}
            )  # fmt: skip
            for back, day in enumerate(days):
                falling = np.exp(-0.04 * max(0, 70 - back) / 7) if role == "treatment" and e in ids[:4] else 1.0
                readings.append(
                    {"channel_id": name, "device_at": instant(day), "at": instant(day), "quality": "N",
                     "value": float(100 * falling * np.exp(rng.normal(0, 0.05)))}
                )  # fmt: skip
    cases = [(e, k, LAST - timedelta(days=8 + 2 * k)) for e in ids[:3] for k in range(6)]
    name = "C{}-{}"
    made = {
        "weather": rain,
        "order": orders,
        "channel": channels,
        "reading": readings,
        "case": [
            {"case_id": name.format(e, k), "entity_id": e, "day": d, "state": "inspected", "priority": 0.9,
             "opened_at": instant(d), "updated_at": instant(d)} for e, k, d in cases],
        "warning": [
            {"warning_id": name.format(e, k), "finding_id": name.format(e, k), "case_id": name.format(e, k),
             "entity_id": e, "day": d, "model_id": f"m0{5 + k % 2}-x", "score": 0.9, "raised_at": instant(d)}
            for e, k, d in cases],
        "outcome": [
            {"case_id": name.format(e, k), "code": "verified", "at": instant(d, 12), "actor": "a"}
            for e, k, d in cases],
    }  # fmt: skip
    return {t: pa.Table.from_pylist(rows, TABLES[t].schema) for t, rows in made.items()}


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return Scenario(contracts=TABLES, tables=tables(), blocks={s.id: block for s in CURVE_SPECS})


@pytest.mark.parametrize("spec", CURVE_SPECS, ids=lambda s: s.id)
def test_conformance_to_gold(spec, scenario):
    results = check_model(spec, scenario)
    assert [str(r) for r in results if r.status != "done"] == []


class Strict:
    """A block that gives only the features that a model declares, and counts the raw curves."""

    def __init__(self, block, features):
        self.block, self.features, self.read = block, features, 0
        self.entities, self.days = block.entities, block.days

    def feature(self, name):
        assert name in self.features, f"{name} is not declared"
        return self.block.feature(name)

    def curves(self, rows):
        self.read += len(rows)
        return self.block.curves(rows)


@pytest.mark.parametrize("spec", CURVE_SPECS, ids=lambda s: s.id)
def test_declared_features_and_tables_suffice_in_any_order_of_columns(spec, scenario, tmp_path):
    whole = block(spec.window_days, 3)
    strict = Strict(whole, spec.features)
    mine = {t: scenario.tables[t] for t in spec.reads if t in scenario.tables}
    model = spec.factory(kit_context("models", spec.config_model(), tmp_path))
    found = model.score(strict, context_of(whole, mine))
    assert found
    assert strict.read == 0 or spec.id == "m07-rain-opportunism"
    turned = replace(whole, table=whole.table.select(whole.table.column_names[::-1]), _kept={})
    back = {t: table.select(table.column_names[::-1]) for t, table in mine.items()}
    assert model.score(turned, context_of(turned, back)) == found
    few = {t: table.take(pa.array(np.random.default_rng(2).permutation(table.num_rows))) for t, table in mine.items()}
    again = model.score(whole, context_of(whole, few))
    assert [(f.entity_id, f.rule, f.verdict) for f in again] == [(f.entity_id, f.rule, f.verdict) for f in found]
    assert [f.score for f in again] == pytest.approx([f.score for f in found])
    for f in found:
        assert all(t.zh and t.en and "nan" not in t.en.split() for t in (*f.reasons, *f.counter))


@pytest.mark.parametrize("spec", [s for s in CURVE_SPECS if s.id[:3] in {"m07", "m08", "m13"}], ids=lambda s: s.id)
def test_a_tariff_that_changed_inside_the_window_lowers_the_score(spec, scenario, tmp_path):
    whole = block(spec.window_days, 3)
    context = context_of(whole, {t: scenario.tables[t] for t in spec.reads})
    older = [replace(t, periods=("flat",) * 96) if d < spec.window_days // 3 else t
             for d, t in enumerate(context.tariff)]  # fmt: skip
    model = spec.factory(kit_context("models", spec.config_model(), tmp_path))
    plain = {(f.entity_id, f.rule): f for f in model.score(whole, context)}
    dim = {(f.entity_id, f.rule): f for f in model.score(whole, replace(context, tariff=older))}
    both = plain.keys() & dim.keys()
    assert both
    assert all("tariff_changed" in dim[k].context and "tariff_changed" not in plain[k].context for k in both)
    assert sum(dim[k].score for k in both) < sum(plain[k].score for k in both)


@pytest.mark.parametrize("spec", [s for s in SPECS if s.tier == "advance"], ids=lambda s: s.id)
def test_the_advance_tier_says_whom_it_helps(spec):
    assert spec.id[:3] in {"m11", "m12", "m13"}
    assert "help" in spec.card.purpose.en or "plant first" in spec.card.purpose.en
