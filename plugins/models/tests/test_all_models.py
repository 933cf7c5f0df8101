"""What holds for every model: no future, no order, no repetition, no numpy in the evidence."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import pyarrow as pa
import pytest

from dianhuan_models.m05 import NightConfig, NightOnly
from dianhuan_models.m06 import HiddenConfig, HiddenWorkshop
from dianhuan_models.m09 import Rebound, ReboundConfig
from dianhuan_models.m10 import PeerConfig, PeerOutlier
from dianhuan_models.specs import SPECS
from dianhuan_sdk import InputError

MODELS = {
    "m05": lambda: NightOnly(NightConfig()),
    "m06": lambda: HiddenWorkshop(HiddenConfig()),
    "m09": lambda: Rebound(ReboundConfig()),
    "m10": lambda: PeerOutlier(PeerConfig()),
}
EXTRA = 7
"""Days that lie after as_of in the poisoned history."""


def mixed_town(new_town):
    """A fresh copy of the town; building it takes longer than scoring it."""
    return deepcopy(built(new_town))


@cache
def built(new_town):
    """Something for every model to find, with a week after as_of that the models must not see."""
    town = new_town(days=28 + EXTRA)
    town.background(450)
    for _ in range(220):
        town.add("shop", town.two_shift(float(np.exp(town.rng.normal(2.0, 0.5)))), industry="F5212",
                 tariff_class="commercial")  # fmt: skip
    late = (np.arange(town.days) >= 28 - 8)[:, None]
    plant = town.day_plant(150.0)
    town.add("workshop", town.night_workshop(60.0))
    town.add("hidden", town.day_plant(250.0), industry=None, tariff_class="commercial")
    town.add("tripled", np.where(late, 3 * plant, plant), contract_kva=200.0)
    town.add("closed", np.where(late, 0.5 * plant, 1.0))
    rows = [r["entity_id"] for r, k in zip(town.rows, town.kinds, strict=True) if k == "closed"]
    town.orders = orders(rows, town.window[10])
    return town


def orders(entities, day):
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    instant = pa.timestamp("us", "UTC")
    return pa.table(
        {
            "order_id": [f"o{i}" for i in range(len(entities))],
            "entity_id": entities,
            "kind": ["closure"] * len(entities),
            "starts_at": pa.array([start] * len(entities), instant),
            "ends_at": pa.array([None] * len(entities), instant),
        }
    )


def until(block, context, days):
    """The first `days` days of a block."""
    cut = replace(block, window=block.window[:days], kw=block.kw[:, :days], valley=block.valley[:days], _kept={})
    return cut, replace(
        context, as_of=block.window[days - 1], calendar=context.calendar[:days], tariff=context.tariff[:days]
    )


@pytest.mark.parametrize("name", MODELS)
def test_every_model_finds_something_in_json_and_two_languages(new_town, name):
    town = mixed_town(new_town)
    block, context = until(town.block(), town.context(order=town.orders), 28)
    findings = MODELS[name]().score(block, context)
    assert findings
    for f in findings:
        assert 0 <= f.score <= 1
        assert f.day == context.as_of
        assert f.reasons
        assert f.counter
        assert all(t.zh and t.en for t in (*f.reasons, *f.counter))
        assert json.loads(json.dumps(dict(f.evidence))) == dict(f.evidence)
        assert not re.search(r"\bnan\b", " ".join(t.en for t in (*f.reasons, *f.counter)))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("poison", [np.nan, 1e5, -1e5])
def test_the_future_does_not_matter(new_town, name, poison):
    town = mixed_town(new_town)
    block, context = town.block(), town.context(order=town.orders)
    plain = MODELS[name]().score(*until(block, context, 28))
    block.kw[:, 28:] = poison
    tomorrow = context.calendar[28].day
    later = orders([r["entity_id"] for r in town.rows[:50]], tomorrow + timedelta(days=1))
    poisoned_context = replace(context, tables={"order": pa.concat_tables([town.orders, later])})
    assert MODELS[name]().score(*until(block, poisoned_context, 28)) == plain


@pytest.mark.parametrize("name", MODELS)
def test_a_block_that_ends_elsewhere_is_refused(new_town, name):
    town = mixed_town(new_town)
    block, context = town.block(), town.context(order=town.orders)
    with pytest.raises(InputError, match="as_of"):
        MODELS[name]().score(block, replace(context, as_of=context.as_of - timedelta(days=1)))
    with pytest.raises(InputError, match="calendar"):
        MODELS[name]().score(block, replace(context, calendar=context.calendar[1:]))


@pytest.mark.parametrize("name", MODELS)
def test_repetition_and_row_order_do_not_matter(new_town, name):
    town = mixed_town(new_town)
    block, context = until(town.block(), town.context(order=town.orders), 28)
    first = MODELS[name]().score(block, context)
    assert first == MODELS[name]().score(block, context)
    order = np.random.default_rng(4).permutation(len(town.rows))
    shuffled = replace(block, table=block.table.take(pa.array(order)), kw=block.kw[order], _kept={})
    second = MODELS[name]().score(shuffled, context)
    assert {f.entity_id: f.rule for f in first} == {f.entity_id: f.rule for f in second}
    scores = {f.entity_id: f.score for f in second}
    assert [f.score for f in first] == pytest.approx([scores[f.entity_id] for f in first], abs=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_a_city_without_any_data_is_silent(new_town, name):
    town = mixed_town(new_town)
    block, context = until(town.block(), town.context(order=town.orders), 28)
    block.kw[:] = np.nan
    findings = MODELS[name]().score(block, context)
    assert {f.verdict for f in findings} <= {"cannot_tell"}
    assert {f.entity_id for f in findings} <= (town.ids("closed") if name == "m09" else set())


class Strict:
    """A block that gives only the features that a model declares, and few raw curves."""

    def __init__(self, block, features):
        self.block, self.features, self.read = block, features, 0
        self.entities, self.days = block.entities, block.days

    def feature(self, name):
        assert name in self.features, f"{name} is not declared"
        return self.block.feature(name)

    def curves(self, rows):
        self.read += len(rows)
        return self.block.curves(rows)


@pytest.mark.parametrize("spec", [s for s in SPECS if s.id[:3] in MODELS], ids=lambda s: s.id)
def test_models_read_only_what_they_declare(new_town, spec):
    town = mixed_town(new_town)
    block, context = until(town.block(), town.context(order=town.orders), 28)
    strict = Strict(block, spec.features)
    declared = {name: table for name, table in context.tables.items() if name in spec.reads}
    found = MODELS[spec.id[:3]]().score(strict, replace(context, tables=declared))
    assert found == MODELS[spec.id[:3]]().score(block, context)
    assert strict.read < 0.05 * len(town.rows)
