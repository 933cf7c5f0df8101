"""M11: a slow fall of treatment over production is forecast; seasons, steps and busy weeks are not (V9)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from dianhuan_models.m11 import DriftConfig, RatioDrift

WINDOW = 84


def tables_of(plants, window, quality="N"):
    """Tables `channel` and `reading` of daily means: plants = entity → (treatment, production)."""
    channels, readings = [], []
    for entity, (treatment, production) in plants.items():
        for role, code, values in (("treatment", "d30106", treatment), ("production", "d20105", production)):
            channel = f"{entity}/{code}-avg.day"
            channels.append(
                {"channel_id": channel, "device_id": f"D{entity}", "protocol": "hj212", "code": code,
                 "statistic": "avg", "interval": "day", "quantity": "active_power", "role": role,
                 "phase": "total", "entity_id": entity, "multiplier": None, "valid_to": None}
            )  # fmt: skip
            for day, value in zip(window, values, strict=True):
                at = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=8)
                known = None if np.isnan(value) else float(value)
                readings.append({"channel_id": channel, "at": at, "value": known, "quality": quality})
    schema = pa.schema(
        [("channel_id", pa.string()), ("at", pa.timestamp("us", "UTC")), ("value", pa.float64()),
         ("quality", pa.string())]
    )  # fmt: skip
    channel = pa.Table.from_pylist(channels).set_column(11, "valid_to", pa.nulls(len(channels), pa.date32()))
    return {"channel": channel, "reading": pa.Table.from_pylist(readings, schema)}


def metered_town(new_town, seed, each=15):
    town = new_town(seed=seed, days=WINDOW)
    rng, days = town.rng, np.arange(WINDOW)
    season = 0.06 * np.sin(days / 25)
    plants = {}

    def add(kind, drift=0.0, step=0.0, constant=False, busier=0.0):
        town.add(kind, np.full((WINDOW, 96), 100.0))
        noise = rng.normal(0, 0.08, WINDOW)
        production = 100 * np.exp(noise + busier * days / 7) * np.where(town.workday, 1.0, 0.9)
        fan = 15 * np.exp(season + drift * np.maximum(days - 21, 0) / 7 + rng.normal(0, 0.06, WINDOW))
        treatment = fan * (1.0 if constant else production / 100) * np.where(days >= 50, np.exp(step), 1)
        plants[town.rows[-1]["entity_id"]] = (treatment, production)

    for _ in range(each * 2):
        add("steady")
    for _ in range(each):
        add("drifting", drift=-rng.uniform(0.03, 0.045))
        add("slowly", drift=-0.01)
        add("filter_step", step=-0.12)
        add("constant_fan", constant=True)
        add("busier", busier=0.015, constant=False)
    return town, plants


def judged(town, plants, **more):
    found = RatioDrift(DriftConfig()).score(town.block(), town.context(**tables_of(plants, town.window, **more)))
    kinds = town.kind_of()
    return Counter((kinds[f.entity_id], f.verdict) for f in found), found


def test_drifts_are_forecast_and_twins_are_not(new_town):
    total, ahead = Counter(), []
    for seed in (421, 422, 423):
        town, plants = metered_town(new_town, seed)
        count, found = judged(town, plants)
        total += count
        for f in found:
            day = date.fromisoformat(f.evidence["crossing_day"])
            ahead.append((day - town.as_of).days)
    print("M11:", dict(total), "days ahead", sorted(ahead))
    n = 45
    assert total["drifting", "suspect"] >= 0.8 * n
    assert sum(v for (k, s), v in total.items() if s == "suspect" and k != "drifting") <= 2


def test_the_crossing_is_forecast_ten_days_ahead(new_town):
    """The same plants week by week: median lead between the first finding and the true crossing."""
    lead = []
    for seed in (424, 425):
        town, _ = metered_town(new_town, seed)
        rng = np.random.default_rng(seed)
        slope = -0.025
        long = [town.window[0] + timedelta(days=d) for d in range(WINDOW + 112)]
        days = np.arange(len(long))
        plants = {}
        for row in town.rows[:20]:
            production = 100 * np.exp(rng.normal(0, 0.08, len(long)))
            drift = slope * np.maximum(days - 56, 0) / 7
            plants[row["entity_id"]] = (production * 0.15 * np.exp(drift + rng.normal(0, 0.05, len(long))), production)
        crossing = 56 + 7 * np.log(0.7) / slope
        town.rows, town.kw, town.kinds = town.rows[:20], town.kw[:20], town.kinds[:20]
        first = {}
        for end in range(WINDOW, len(long), 7):
            town.as_of, town.window = long[end - 1], long[end - WINDOW : end]
            cut = {e: (t[:end], p[:end]) for e, (t, p) in plants.items()}
            config = DriftConfig(min_peers=999)  # all of these plants drift: nothing common may be taken off
            for f in RatioDrift(config).score(town.block(), town.context(**tables_of(cut, long[:end]))):
                if f.verdict == "suspect":
                    first.setdefault(f.entity_id, end)
        lead += [crossing - day for day in first.values()]
        assert len(first) >= 18
    print("M11: median lead", float(np.median(lead)), "days")
    assert np.median(lead) >= 10


def test_without_circuits_or_good_readings_it_is_silent(new_town):
    town, plants = metered_town(new_town, 416, each=4)
    model = RatioDrift(DriftConfig())
    assert model.score(town.block(), town.context()) == []
    assert not judged(town, plants, quality="M")[0]
    gone = {e: (np.where(np.arange(WINDOW) > 55, np.nan, t), p) for e, (t, p) in plants.items()}
    assert not judged(town, gone)[0]


def test_gaps_lower_the_score(new_town):
    town, plants = metered_town(new_town, 417)
    tables = tables_of(plants, town.window)
    context, model = town.context(**tables), RatioDrift(DriftConfig())
    before = {f.entity_id: f for f in model.score(town.block(), context)}
    calendar = [replace(c, provisional=True) for c in context.calendar]
    after = model.score(town.block(), replace(context, calendar=calendar))
    assert {f.entity_id for f in after} == before.keys()
    for f in after:
        assert f.score == pytest.approx(0.9 * before[f.entity_id].score)
        assert {"calendar_provisional", "minimum_unknown"} <= set(f.context)
    blinking = {e: (np.where(np.arange(WINDOW) % 5 == 0, np.nan, t), p) for e, (t, p) in plants.items()}
    assert all("missing_data" in f.context for f in judged(town, blinking)[1])


def test_the_coarsest_interval_of_a_code_counts_once(new_town):
    town, plants = metered_town(new_town, 418)
    tables = tables_of(plants, town.window)
    plain = RatioDrift(DriftConfig()).score(town.block(), town.context(**tables))
    finer = tables["channel"].set_column(
        0, "channel_id", pa.array([c.replace(".day", ".hour") for c in tables["channel"]["channel_id"].to_pylist()])
    )
    place = finer.column_names.index("interval")
    finer = finer.set_column(place, "interval", pa.array(["hour"] * finer.num_rows))
    noise = tables["reading"].set_column(
        0, "channel_id", pa.array([c.replace(".day", ".hour") for c in tables["reading"]["channel_id"].to_pylist()])
    )
    both = {"channel": pa.concat_tables([finer, tables["channel"]]),
            "reading": pa.concat_tables([noise, tables["reading"]])}  # fmt: skip
    assert plain
    assert RatioDrift(DriftConfig()).score(town.block(), town.context(**both)) == plain
