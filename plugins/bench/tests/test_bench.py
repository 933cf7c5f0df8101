"""The bench: figures against hand-made ones, the city as a block, budgets, leaks, the report and its command."""

from __future__ import annotations

import importlib.metadata
import json
import re
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from dianhuan_bench import CityWindow, confounder_suite, full, future_poison, installed_models, measured, page, report
from dianhuan_bench._baselines import ecod, read, sub_pca
from dianhuan_bench._measured import sites
from dianhuan_bench._metrics import clopper_pearson, figures
from dianhuan_bench.cli import app
from dianhuan_sdk import InputError
from dianhuan_sdk.features import daily_features
from dianhuan_simulator import City, CityConfig

START = date(2026, 3, 2)
DATA = Path(__file__).parents[4] / "shared" / "data"


def test_figures_of_hand_made_lists():
    truth = np.zeros(10_000, bool)
    truth[:100] = True
    perfect = figures(np.linspace(1, 0.01, 10_000) * truth, truth, 1)
    assert (perfect["P@65"]["value"], perfect["R-precision"]["value"], perfect["PR-AUC"]) == (1.0, 1.0, 1.0)
    assert perfect["listed"] == 100
    assert (perfect["P@65"]["k"], perfect["P@130"]["k"]) == (65, 100)
    assert perfect["P@65"]["low"] == pytest.approx(0.0249 ** (1 / 65), abs=0.002)  # no miss in 65 is no proof of 1
    half = np.zeros(10_000)
    half[[*range(65), *range(200, 265)]] = np.linspace(1, 0.5, 130)  # 65 guilty, then 65 innocent
    got = figures(half, truth, 1)
    assert got["P@65"]["value"] == 1.0
    assert got["P@130"]["value"] == 0.5
    assert got["P@130"]["low"] < 0.5 < got["P@130"]["high"]
    assert got["R-precision"]["value"] == 0.65
    assert got["PR-AUC"] == 0.65
    assert got["lift@65"] == 100
    assert figures(half, truth, 1) == got
    assert "P@65" not in figures(np.zeros(10_000), truth, 1)
    rng = np.random.default_rng(3)
    chance = figures(rng.random(10_000), truth, 1)
    assert chance["P@130"]["value"] < 0.06


def test_bootstrap_interval_has_the_width_of_the_binomial():
    rng = np.random.default_rng(0)
    truth = rng.random(2_000) < 0.3
    got = figures(np.linspace(1, 0.1, 2_000), truth, 2)["P@130"]
    assert got["high"] - got["low"] == pytest.approx(2 * 1.96 * np.sqrt(0.3 * 0.7 / 130), rel=0.2)


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"), [(0, 10, 0.0, 0.3085), (29, 29, 0.8806, 1.0), (8, 64, 0.0555, 0.2315)]
)
def test_clopper_pearson_known_values(hits, trials, low, high):
    assert clopper_pearson(hits, trials) == pytest.approx((low, high), abs=2e-4)


def test_clopper_pearson_covers_large_trials():
    low, high = clopper_pearson(150, 313_000)
    assert low < 150 / 313_000 < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(150) / 313_000, rel=0.05)
    assert clopper_pearson(0, 0) == (0.0, 1.0)


@pytest.fixture(scope="module")
def city():
    return City(CityConfig(entities=900, days=12, start=START, base_rate=0.01), 5)


def test_a_window_sums_accounts_and_advances(city):
    window = CityWindow(city, city.days[9], 7)
    total = np.nansum(window.curves(np.arange(900))[:, -1])
    points = city.day(city.days[9])
    assert 0.9 * np.nansum(points) < total <= np.nansum(points) * 1.001
    single = np.flatnonzero(np.array(window.entities["accounts"].to_pylist()) == 1)[:200]
    kw = window.curves(single)
    assert np.allclose(
        daily_features(kw[:, -1], window.valley[-1])["night_kw"],
        window.feature("night_kw")[single, -1],
        equal_nan=True,
        rtol=1e-4,
    )
    window.advance()
    later = CityWindow(city, city.days[10], 7)
    for name in ("kwh", "night_kw", "points"):
        assert np.array_equal(window.feature(name), later.feature(name), equal_nan=True)
    assert np.array_equal(window.curves(single), later.curves(single), equal_nan=True)
    assert window.entities.equals(later.entities)
    assert window.context.as_of == city.days[10]
    reports = window.context.tables["filed_report"]["filed_at"].to_pylist()
    assert max(reports).date() <= city.days[10]
    for w in (window, later):
        w.close()


def test_entity_columns_agree_with_the_registers(city):
    window = CityWindow(city, city.days[9], 2, ("kwh",))
    rows = {r["entity_id"]: r for r in window.entities.to_pylist()}
    closures = [o for o in window.tables["order"].to_pylist() if o["kind"] == "closure"]
    assert {o["entity_id"] for o in closures} >= {e for e, r in rows.items() if r["closed_on"]}
    permitted = {p["entity_id"] for p in window.tables["permit"].to_pylist()}
    assert {e for e, r in rows.items() if r["permit_class"] != "none"} == permitted
    assert {r["tariff_class"] for r in rows.values()} >= {"industrial", "commercial", "residential"}
    window.close()


def test_detectors_rank_what_stands_apart(city):
    table = np.random.default_rng(1).normal(size=(500, 4))
    table[7] = 8
    assert int(np.argmax(ecod(table))) == 7
    window = CityWindow(city, city.days[9], 7, read())
    score = sub_pca(window)
    assert score.shape == (900,)
    assert np.isfinite(score).all()
    window.close()


def test_a_model_that_cries_wolf_exceeds_its_budget(wolf):
    (row,) = confounder_suite([wolf()], 1500, 3)
    assert row["state"] == "exceeded"
    assert row["low"] > row["budget"]
    (generous,) = confounder_suite([wolf(0.5)], 1500, 3)
    assert generous["state"] == "held"
    assert generous["false_alarms"] == row["false_alarms"] > 30


def test_future_poison_sees_a_model_that_peeks(wolf):
    assert future_poison(wolf(), 1200, 4) == []
    changed = future_poison(wolf(peeks=True), 1200, 4)
    assert changed
    assert all(line.endswith(" wolf") for line in changed)


@pytest.mark.slow
@pytest.mark.parametrize("spec", installed_models(), ids=lambda s: s.id)
def test_installed_models_do_not_read_the_future(spec):
    assert future_poison(spec, 1500, 6) == []


def test_the_report_comes_again_from_its_seed(wolf):
    specs = [wolf()]
    one, two = (report(specs, ("T1", "T2"), 11, 1500, (0.01,)) for _ in range(2))
    for made in (one, two):
        for c in made["T2"]:
            c["seconds"] = {}
    assert one == two
    assert "no folder" in one["skipped"]["T1"]
    assert [line.split(":")[0] for line in one["exceeded"]] == ["x01-wolf"]
    names = one["T2"][0]["rows"]
    assert {"fused", "random", "largest_kwh", "night_1.5x", "3sigma_own", "ecod", "sub_pca"} <= set(names)
    assert {c["kind"] for c in one["T2"][0]["confounders"]} >= {"valley_night_works", "ordinary"}
    text = page(one)
    assert "告警预算超出" in text
    assert "<svg" in text
    assert not re.search(r"https?://|<script|@import|url\(", text)
    assert json.loads(json.dumps(one)) == one


@pytest.mark.slow
def test_another_seed_is_another_city(wolf):
    one, two = (full([wolf()], 1000, 0.01, seed)["rows"]["fused"] for seed in (1, 2))
    assert one != two


def test_command_says_what_is_missing_and_ends_with_the_budget(tmp_path):
    runner = CliRunner()
    done = runner.invoke(app, ["models", "--tier", "T1", "--data", str(tmp_path), "--json"])
    made = json.loads(done.stdout)
    assert done.exit_code == 0
    assert "simbench" in made["skipped"]["T1"]
    done = runner.invoke(app, ["models", "--model", "nothing", "--json"])
    assert done.exit_code == 2
    assert "model" in json.loads(done.stdout)["message"]
    out = tmp_path / "r.html"
    done = runner.invoke(
        app, ["models", "--tier", "T2", "--entities", "800", "--base-rate", "0.01", "--model", "m05", "--out", str(out)]
    )
    assert done.exit_code == 0
    assert json.loads(out.with_suffix(".json").read_text("utf-8"))["T2"][0]["base_rate"] == 0.01
    assert "模型评测" in out.read_text("utf-8")


def test_conformance_command_fails_nobody_who_keeps_the_rules():
    done = CliRunner().invoke(app, ["conform", "--model", "m09", "--entities", "800", "--json"])
    assert done.exit_code == 0
    made = json.loads(done.stdout)
    assert made["future_poison"] == {"m09-rebound": []}
    assert made["confounders"][0]["state"] in ("held", "unclear")


def test_manifest_names_the_command():
    from dianhuan_sdk.manifest import read_manifests

    (entry,) = [e for e in importlib.metadata.entry_points(group="dianhuan.plugins") if e.name == "bench"]
    import dianhuan_bench

    manifest = read_manifests(Path(dianhuan_bench.__file__).parent / "plugin.toml")[entry.name]
    assert manifest.commands[0].name == "bench"
    assert all(hasattr(dianhuan_bench, name) for name in dianhuan_bench.__all__)


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="measured curves are not on this machine")
def test_measured_sites_and_rates():
    places = sites(DATA, 1)
    assert len(places) == 64
    assert all(p.kw.shape == (42, 96) for p in places)
    steel = places[-1].kw
    assert 5 < np.nanmean(steel) < 200
    got = measured(installed_models(("m09",)), DATA, 1, entities=600)
    v7 = next(r for r in got["rows"] if r["recipe"] == "V7" and r["model"] == "m09-rebound")
    assert v7["violation"]["warned"] > 40
    assert v7["violation"]["warned"] > 2 * v7["twin"]["warned"]
    assert v7["clean"]["warned"] == 0


def test_measured_curves_that_are_not_there_are_said(tmp_path):
    with pytest.raises(InputError, match="missing"):
        sites(tmp_path, 1)
