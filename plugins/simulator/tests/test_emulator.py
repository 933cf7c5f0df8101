"""The emulated plants: truth against samples, twins, determinism, memory, answers to notices."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from dianhuan_sdk import ConfigError, InputError
from dianhuan_simulator.emulator import Emulation, PlantDay, emulate, load_plants_knobs

DAY = 1440
PLANTS, DAYS = 384, 14


@pytest.fixture(scope="session")
def offending() -> Emulation:
    """A third of the plants offends."""
    return emulate(PLANTS, DAYS, seed=5, offenders_share=0.33)


@pytest.fixture(scope="session")
def seen(offending: Emulation) -> np.ndarray:
    """Its samples, shape (circuits, minutes)."""
    return np.concatenate([d.kw for d in offending], axis=1)


@pytest.fixture(scope="session")
def honest() -> np.ndarray:
    """The samples of the same plants if none offended."""
    return np.concatenate([d.kw for d in emulate(PLANTS, DAYS, seed=5, offenders_share=0.0)], axis=1)


@pytest.fixture(scope="session")
def rows(offending: Emulation) -> Callable[..., list[dict]]:
    """Rows of the truth by kind."""
    told = offending.truth().to_pylist()

    def pick(*kinds: str) -> list[dict]:
        found = [r for r in told if r["kind"] in kinds]
        assert found, kinds
        return found

    return pick


@pytest.fixture(scope="session")
def sides(offending: Emulation) -> list[dict]:
    return offending.links().to_pylist()


def test_treatment_off_shows_while_production_runs(offending, seen, rows, sides):
    rated = np.array(offending.circuits()["rated_kw"].to_pylist())
    drift = {r["plant"] for r in rows("clock_drift")}
    effects = {
        (p, s.start): [e for e in s.effects if e.kind == "treatment_off"]
        for p, s in offending.stories()
        if s.kind == "treatment_off"
    }
    checked = 0
    for row in rows("treatment_off"):
        if row["plant"] in drift:
            continue
        link = sides[row["link"]]
        line = max(link["production"], key=lambda r: rated[r])
        for e in effects[row["plant"], row["start"]]:
            span = slice(e.start, e.end)
            for unit in link["treatment"]:
                assert np.nanmax(seen[unit, span]) <= 0.06 * rated[unit] + 0.1, row
            assert np.nanquantile(seen[line, span], 0.75) > 0.3 * np.nanquantile(seen[line], 0.95), row
            checked += 1
    assert checked > 40


def test_under_load_shows_as_a_lower_ratio(offending, seen, honest, rows):
    for row in rows("under_load"):
        span = slice(row["start"] + 6, row["end"] - 6)
        now = np.nansum(seen[row["circuits"], span])
        usual = np.nansum(honest[row["circuits"], span])
        assert 0.15 < now / usual < 0.72, row


def test_start_under_order_shows_as_production(offending, seen, rows):
    rated = np.array(offending.circuits()["rated_kw"].to_pylist())
    orders = offending.context("order").to_pylist()
    for row in rows("start_under_order"):
        (line,) = row["circuits"]
        assert np.nanmedian(seen[line, row["start"] : row["end"]]) > 0.3 * rated[line]
        assert any(
            o["plant"] == row["plant"] and o["kind"] == "stop" and o["start"] <= row["start"] and row["end"] <= o["end"]
            for o in orders
        )


def test_obeyed_stop_orders_show_no_production(offending, seen, rows, sides):
    rated = np.array(offending.circuits()["rated_kw"].to_pylist())
    for row in rows("order_stop_obeyed"):
        for link in (s for s in sides if s["plant"] == row["plant"]):
            for line in link["production"]:
                inside = seen[line, row["start"] : row["end"]]
                assert np.isnan(inside).all() or np.nanmax(inside) < 0.15 * rated[line] + 0.1


def test_frozen_replayed_and_forged_series_are_what_the_truth_says(seen, rows):
    for row in rows("frozen"):
        for circuit in row["circuits"]:
            held = seen[circuit, row["start"] : row["end"]]
            assert len(np.unique(held[~np.isnan(held)])) == 1
    exact = 0
    for row in rows("replay"):
        for circuit in row["circuits"]:
            now = seen[circuit, row["start"] : row["end"]]
            then = seen[circuit, row["start"] - 7 * DAY : row["end"] - 7 * DAY]
            both = ~np.isnan(now) & ~np.isnan(then)
            assert both.mean() > 0.9
            assert np.allclose(now[both], then[both], rtol=0.08, atol=0.2)
            exact += bool((now[both] == then[both]).all())
    assert exact


def test_forged_ratio_is_constant(offending, seen, rows, sides):
    for row in rows("forged_ratio"):
        produced = seen[sides[row["link"]]["production"], row["start"] : row["end"]].sum(axis=0)
        for circuit in row["circuits"]:
            forged = seen[circuit, row["start"] : row["end"]]
            works = (produced > 0.5 * np.nanmax(produced)) & ~np.isnan(forged)
            ratio = forged[works] / produced[works]
            assert ratio.std() / ratio.mean() < 0.02


def test_bypass_breaks_the_energy_balance(offending, seen, honest, rows):
    for row in rows("bypass"):
        (line,) = row["circuits"]
        inside = slice(row["start"], row["end"])
        total = int(np.flatnonzero(offending.circuit_plant == row["plant"])[0])
        assert 0.25 < np.nansum(seen[line, inside]) / np.nansum(honest[line, inside]) < 0.85
        assert np.nansum(seen[total, inside]) == pytest.approx(np.nansum(honest[total, inside]), rel=1e-3)


def test_without_offences_nothing_differs(offending, seen, honest):
    """Where no offence is told, the offending world is the honest one, sample by sample."""
    touched = np.zeros((PLANTS, DAYS * DAY), dtype=bool)
    for plant, story in offending.stories():
        if story.offence:
            touched[plant, max(story.start - 10, 0) : story.end + 10] = True
    by_order = {p for p, s in offending.stories() if s.strategy == "under_order"}
    strategies = [s for plot in offending.plots for s in plot.strategies][:PLANTS]
    spared = {p for p in range(PLANTS) if strategies[p]}  # some twins are dropped where a plant offends
    for circuit, plant in enumerate(offending.circuit_plant.tolist()):
        if plant in by_order or plant in spared:
            continue
        quiet = ~touched[plant]
        assert np.array_equal(seen[circuit, quiet], honest[circuit, quiet], equal_nan=True)


def test_plant_total_is_the_sum_of_its_circuits(offending):
    day = offending.day(3)
    circuits = offending.circuits().to_pylist()
    bypassed = {p for p, s in offending.stories() if any(e.kind in ("scale", "zero") for e in s.effects)}
    drift = {p for p, s in offending.stories() if s.kind == "clock_drift"}
    for plant in set(range(PLANTS)) - bypassed - drift:
        mine = np.flatnonzero(day.circuit_plant == plant)
        total, parts = day.metered[mine[0]], day.metered[mine[1:]].sum(axis=0)
        assert circuits[int(mine[0])]["role"] == "plant_total"
        assert (total >= 0.999 * parts).all()
        assert total.mean() < 1.25 * parts.mean() + 0.1 * circuits[int(mine[0])]["rated_kw"]


def test_twins_are_no_offences(offending, seen, rows):
    told = offending.truth().to_pylist()
    assert all(r["is_violation"] == (r["strategy"] != "") for r in told)
    assert {r["kind"] for r in told if r["is_violation"]}.isdisjoint(r["kind"] for r in told if not r["is_violation"])
    for row in rows("dead_ct"):
        values = seen[row["circuits"][0], row["start"] : row["end"]]
        assert np.nanmax(values) == 0
    for row in rows("comm_loss"):
        assert np.isnan(seen[row["circuits"], row["start"] : row["end"]]).all()


def test_offences_are_not_hidden_by_twins(offending):
    masks = ("dead_ct", "comm_loss", "comm_loss_backfilled", "outage", "maintenance_filed", "maintenance_unfiled")
    told = list(offending.stories())
    hiding = [(p, s) for p, s in told if s.kind in masks]
    for plant, offence in told:
        if offence.offence:
            assert not any(p == plant and s.meets(offence.start, offence.end) for p, s in hiding)


def test_back_fill_is_missing_live_and_there_later(offending):
    found = 0
    for day in offending:
        base = day.offset * DAY
        live = day.live()
        for plant, start, end, arrives in day.late:
            assert arrives > end
            inside = slice(max(start - base, 0), min(end - base, DAY))
            mine = day.circuit_plant == plant
            assert np.isnan(live[mine, inside]).all()
            found += int((~np.isnan(day.kw[mine, inside])).any())
        if day.offset == 2:
            break
    assert found > 5


def test_filed_maintenance_is_filed_before_and_late_after(offending):
    kinds = set()
    for _, story in offending.stories():
        if story.kind.startswith("maintenance"):
            kinds.add(story.kind)
            assert (story.report is None) == (story.kind == "maintenance_unfiled")
            if story.report is not None:
                assert (story.report.filed < story.start) == (story.kind == "maintenance_filed")
                assert story.report.start <= story.start
                assert story.end <= story.report.end
    assert {"maintenance_filed", "maintenance_filed_late"} <= kinds


def test_same_seed_same_plants_and_first_plants_do_not_depend_on_the_number():
    one, two = emulate(200, 3, seed=9, offenders_share=0.1), emulate(60, 3, seed=9, offenders_share=0.1)
    other = emulate(60, 3, seed=10, offenders_share=0.1)
    again = emulate(200, 3, seed=9, offenders_share=0.1)
    n = len(two.circuit_plant)
    for offset in range(3):
        day: PlantDay = one.day(offset)
        assert np.array_equal(day.kw, again.day(offset).kw, equal_nan=True)
        assert np.array_equal(day.kw[:n], two.day(offset).kw, equal_nan=True)
    assert one.truth().equals(again.truth())
    assert one.truth().slice(0, two.truth().num_rows).equals(two.truth())
    assert other.circuits()["rated_kw"].to_pylist() != two.circuits()["rated_kw"].to_pylist()


def test_a_day_made_alone_is_the_day_of_the_run():
    in_order = list(emulate(40, 9, seed=11, offenders_share=1.0))
    alone = emulate(40, 9, seed=11, offenders_share=1.0).day(8)
    assert np.array_equal(alone.kw, in_order[8].kw, equal_nan=True)
    assert np.array_equal(alone.registers, in_order[8].registers)


def test_larger_share_keeps_the_offenders():
    few, many = (emulate(600, 5, seed=2, offenders_share=s) for s in (0.02, 0.2))
    small, large = ({p for p, s in w.stories() if s.offence} for w in (few, many))
    assert small
    assert small < large
    assert len(large) < 0.3 * 600


def test_registers_grow_by_the_energy_and_follow_one_another():
    world = emulate(20, 2, seed=1, offenders_share=0.0)
    first, second = world
    registers = first.energy(slice(None))
    grown = np.diff(registers, axis=1) % 1_000_000
    assert (grown < 1e5).all()
    assert np.allclose(grown.sum(axis=1), first.metered[:, 1:].sum(axis=1) / 60, atol=0.05)
    assert np.allclose(registers[:, -1], second.registers, atol=0.011)
    volts = first.kw / (first.current() * 3**0.5 * first.power_factor[:, None])
    assert np.nanmean(volts) == pytest.approx(0.38, rel=1e-3)


def test_offences_begin_after_the_quiet_time():
    world = emulate(300, 12, seed=4, offenders_share=0.5, first_offence_day=8)
    starts = [s.start for _, s in world.stories() if s.offence]
    assert starts
    assert min(starts) >= 8 * DAY


def test_notices_are_answered_and_change_what_comes(offending):
    def world() -> Emulation:
        return emulate(256, 20, seed=6, offenders_share=0.5)

    told, untold = world(), world()
    before = {(p, s.start) for p, s in untold.stories() if s.offence}
    first: dict[int, int] = {}
    for plant, story in untold.stories():
        if story.offence:
            first.setdefault(plant, story.start + 45)
    answers = [told.notice(plant, min(minute, 20 * DAY - 1)) for plant, minute in first.items()]
    assert {a.kind for a in answers} == {"none", "filed_report", "fault", "explanation"}
    assert any(not a.honest for a in answers)
    assert all(a.at > first[p] for (p, a) in zip(first, answers, strict=True) if a.kind != "none")
    after = {(p, s.start) for p, s in told.stories() if s.offence}
    assert after < before
    filed = [r for r in told.context("filed_report").to_pylist() if r["note"].startswith("检修")]
    assert len(filed) == sum(a.kind == "filed_report" for a in answers)
    again = world()
    assert [again.notice(p, min(m, 20 * DAY - 1)) for p, m in first.items()] == answers


def test_honest_plants_answer_honestly():
    world = emulate(256, 6, seed=6, offenders_share=0.0)
    answers = [world.notice(p, 3000) for p in range(256)]
    assert all(a.honest for a in answers)
    assert 0.8 < np.mean([a.kind != "none" for a in answers]) < 0.97
    assert any(a.at - 3000 > 90 for a in answers)


def test_bad_choices_are_said(tmp_path):
    for choice in ({"plants": 0}, {"days": 0}, {"offenders_share": 2.0}, {"first_offence_day": 99}):
        with pytest.raises(InputError):
            emulate(**{"plants": 3, "days": 3, **choice})
    world = emulate(3, 2)
    with pytest.raises(InputError, match="day 2"):
        world.day(2)
    with pytest.raises(InputError, match="plant 3"):
        world.notice(3, 5)
    with pytest.raises(InputError, match="weather"):
        world.context("weather")
    own = tmp_path / "own.yaml"
    own.write_text("twins: {dead_ct: 2.5}\n", "utf-8")
    assert load_plants_knobs(own).twins.dead_ct == 2.5
    own.write_text("twins: {dead_cat: 2.5}\n", "utf-8")
    with pytest.raises(ConfigError, match="dead_cat"):
        load_plants_knobs(own)


MEMORY = r"""
import re, sys
from pathlib import Path
from dianhuan_simulator.emulator import emulate
for day in emulate(400, int(sys.argv[1]), seed=2, offenders_share=0.05):
    pass
print(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
"""


def test_memory_does_not_grow_with_days():
    peak = {}
    for days in (3, 25):
        run = [sys.executable, "-c", MEMORY, str(days)]
        peak[days] = int(subprocess.run(run, check=True, capture_output=True, text=True).stdout) / 1024
    assert peak[25] < 1.1 * peak[3] + 20
    assert peak[25] < 400


def test_concentrations_rise_when_treatment_is_off_and_stay_when_only_its_channel_is_dead(offending, rows):
    table = offending.factors().to_pylist()
    of_link = {r["link"]: r["factor"] for r in table}
    values = np.concatenate([d.factors for d in offending], axis=1)
    assert len(values) == len(table)
    risen = []
    for row in rows("treatment_off"):
        if row["link"] in of_link and row["strategy"] != "adaptive" and row["end"] - row["start"] > 60:
            series = values[of_link[row["link"]]]
            before = np.nanmedian(series[row["start"] - 30 : row["start"]])
            risen.append(np.nanmedian(series[row["start"] + 15 : row["end"]]) / before)
    assert len(risen) > 5
    assert np.median(risen) > 4
    still = [
        np.nanquantile(values[of_link[r["link"]], r["start"] : r["end"]], 0.75)
        / np.nanquantile(values[of_link[r["link"]]], 0.75)
        for r in rows("dead_ct")
        if r["link"] in of_link
    ]
    assert still
    assert np.median(still) < 2
