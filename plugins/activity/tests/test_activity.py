"""Who stopped or shrank is found; slumps of a whole industry, PV, gaps and closed enterprises are not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from dianhuan_activity._index import activity
from dianhuan_activity._model import SPEC, ActivityConfig, BusinessActivity
from dianhuan_sdk import ENTITY_COLUMNS, ArrayBlock, ConfigError, InputError
from dianhuan_sdk.testing import Scenario, conformance, context_of, kit_context

WINDOW, LAST = 84, date(2026, 6, 14)
TYPES = {"pv": pa.bool_(), "shared_meter": pa.bool_(), "closed_on": pa.date32(), "accounts": pa.int32()}


def town(seed: int = 1, each: int = 15, days: int = WINDOW):
    """Kinds of enterprises of three industries; the slump is the third's."""
    rng = np.random.default_rng(seed)
    window = [LAST - timedelta(days=days - 1 - d) for d in range(days)]
    workday = np.array([d.weekday() < 5 for d in window])
    late = np.arange(days) >= days - 20
    rows, kw, kinds = [], [], []

    def add(kind, change=None, rest=0.3, industry="C2231", **columns):
        level = float(rng.uniform(10, 300)) * np.where(workday, 1.0, rest) * np.exp(rng.normal(0, 0.1, days))
        slots = np.arange(96)
        curve = level[:, None] * np.where((slots >= 32) & (slots < 72), 2.0, 0.1)
        kinds.append(kind)
        kw.append(curve * (1 if change is None else np.where(late, change, 1)[:, None]))
        rows.append({"entity_id": f"B{len(rows):04d}", "name": "x", "division": "430211", "industry": industry,
                     "accounts": 1, "pv": False, "shared_meter": False} | columns)  # fmt: skip

    for _ in range(160):
        add("steady")
    for _ in range(40):
        add("slump", 0.5, industry="F5212")
    for _ in range(each):
        add("ceased", 0.01)
        add("shrunk", 0.25)
        add("weekend_closer", rest=0.02)
        add("pv", 0.01, pv=True)
        add("shared", 0.01, shared_meter=True)
        add("gaps")
        kw[-1][-22:] = np.nan
        add("closed", 0.0, closed_on=LAST - timedelta(days=30))
        add("grew", 1.8)
    table = pa.table({n: pa.array([r.get(n) for r in rows], TYPES.get(n, pa.string())) for n in ENTITY_COLUMNS})
    block = ArrayBlock(table, window, np.stack(kw).astype(np.float32), np.zeros((days, 96), bool))
    return block, dict(zip([r["entity_id"] for r in rows], kinds, strict=True))


def found_in(block, **context):
    return BusinessActivity(ActivityConfig()).score(block, replace(context_of(block, {}), **context))


def test_who_stopped_is_found_and_twins_are_not():
    total = Counter()
    for seed in (11, 12, 13):
        block, kinds = town(seed)
        total += Counter((kinds[f.entity_id], f.rule, f.verdict) for f in found_in(block))
    print("activity:", dict(total))
    assert total["ceased", "ceased", "suspect"] == 45
    assert total["shrunk", "sharp_decline", "suspect"] >= 43
    assert {k[0] for k in total if k[2] == "suspect"} == {"ceased", "shrunk"}
    assert total["pv", "ceased", "cannot_tell"] == 45
    assert total["shared", "ceased", "cannot_tell"] == 45
    assert total["gaps", "ceased", "cannot_tell"] == 45


def test_the_index_is_a_hundred_for_the_steady_and_nan_without_data():
    block, kinds = town(14)
    index = activity(block, context_of(block, {})).index
    kind = np.array(list(kinds.values()))
    assert np.nanmedian(index[kind == "steady"]) > 90
    assert np.nanmedian(index[kind == "slump"]) > 85
    assert np.nanmax(index[kind == "ceased"]) < 10
    assert np.isnan(index[kind == "gaps"]).all()


def test_missing_data_never_flags():
    block, _ = town(15)
    block.kw[:, -28:] = np.nan
    assert found_in(block) == []


def test_context_gaps_lower_the_score():
    block, _ = town(16)
    plain = {f.entity_id: f.score for f in found_in(block) if f.verdict == "suspect"}
    calendar = [replace(c, provisional=True) for c in context_of(block, {}).calendar]
    dim = {f.entity_id: f for f in found_in(block, calendar=calendar) if f.verdict == "suspect"}
    assert dim.keys() == plain.keys()
    for entity, finding in dim.items():
        assert finding.score == pytest.approx(0.9 * plain[entity])
        assert "calendar_provisional" in finding.context


def test_bad_input_is_named(tmp_path):
    block, _ = town(17, each=1)
    with pytest.raises(InputError, match="calendar"):
        found_in(block, calendar=context_of(block, {}).calendar[1:])
    with pytest.raises(ConfigError, match="ActivityConfig"):
        SPEC.factory(kit_context("activity", Scenario(), tmp_path))


test_conformance = conformance(
    "activity", Scenario(blocks={"b01-business-activity": lambda days, seed: town(seed, 3, days)[0]})
)
