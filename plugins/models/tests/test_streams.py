"""Real-time models: offences are told, their benign twins send nobody, and nothing is said without data."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from dianhuan_models.stream_specs import M01, M02, M03, M04, STREAM_SPECS
from dianhuan_sdk import LOCAL_ZONE, Answer, Health, Spans, StreamState
from dianhuan_sdk.testing import Scenario, check_stream_model, plants

DAYS = 4
LAST = datetime(2026, 6, DAYS, tzinfo=LOCAL_ZONE)
FAN, LINE1, LINE2, TOTAL = 27, 25, 26, 24
"""Rows of plant P6, which is as always."""


@pytest.mark.parametrize("spec", STREAM_SPECS, ids=lambda s: s.id)
def test_every_model_conforms(spec):
    results = check_stream_model(spec, Scenario())
    assert {r.check: r.words for r in results if r.status != "done"} == {}


def quiet():
    """Plants of which only P6 and P7 are looked at: they do nothing wrong."""
    return plants(days=DAYS)


def between(given, start, end):
    """Samples [start, end) hours of the last day."""
    first = given.tick(LAST)
    per_hour = 3600 // given.step_s
    return slice(first + round(start * per_hour), first + round(end * per_hour))


def told(spec, given, plant="P6", context=None, **config):
    """What a model says of one plant; `context(tick)` may change the context of a tick."""
    model = spec.factory(SimpleNamespace(config=spec.config_model(**config)))
    state = StreamState(model.layout)
    found = []
    for tick, window in enumerate(given.windows()):
        if context is not None:
            window = replace(window, context=context(tick, found) or window.context)
        found += [f for f in model.step(state, window) if f.entity_id == plant]
    return found


def changes(found):
    return [(f.change, f.level) for f in found if f.verdict == "suspect"]


def off(given, start, end, value=0.4):
    given.kw[FAN, between(given, start, end)] = value
    return given


def reported(given, start, end, kind="maintenance", plant="P6"):
    hours = timedelta(hours=1)
    row = {"entity_id": plant, "kind": kind, "starts_at": LAST + start * hours, "ends_at": LAST + end * hours}
    return Spans.of([row], given.topology)


def test_off_is_told_after_persistence_and_sent_when_nobody_answers():
    found = told(M01, off(quiet(), 10, 16))
    assert changes(found) == [("opened", "notice"), ("ended", "notice")]  # the pollutant has not moved
    given = off(quiet(), 10, 16)
    given.factors[6, between(given, 10, 16)] *= 4
    found = told(M01, given)
    assert changes(found) == [("opened", "notice"), ("raised", "dispatch"), ("ended", "dispatch")]
    assert timedelta(minutes=45) <= found[0].at - found[0].since <= timedelta(minutes=55)
    assert len({f.event_id for f in found}) == 1


BENIGN = {
    "pause of 30 minutes (backwash)": lambda g: (off(g, 10, 10.5), {}),
    "dead CT: exact zero": lambda g: (off(g, 10, 16, 0.0), {}),
    "no data of the fan": lambda g: (off(g, 10, 16, np.nan), {}),
    "filed maintenance": lambda g: (off(g, 10, 16), {"reports": reported(g, 9, 17)}),
    "outage": lambda g: (off(g, 10, 16), {"outages": reported(g, 9, 17, "fault")}),
}


@pytest.mark.parametrize("twin", BENIGN)
@pytest.mark.parametrize("spec", [M01, M02], ids=lambda s: s.id)
def test_benign_twins_are_no_suspects(spec, twin):
    given, context = BENIGN[twin](quiet())
    given = replace(given, context=replace(given.context, **context))
    assert changes(told(spec, given)) == []


def test_lunch_stop_of_line_and_fan_is_none():
    given = off(quiet(), 12, 13.5)
    for row in (LINE1, LINE2):
        given.kw[row, between(given, 12, 13.5)] *= 0.2
    assert changes(told(M01, given)) == []


def test_after_run_and_early_start_are_none():
    given = quiet()
    given.kw[FAN, between(given, 18.7, 20)] = 20.0
    given.kw[FAN, between(given, 6, 8)] = 20.0
    assert [changes(told(s, given)) for s in (M01, M02)] == [[], []]


def test_a_marked_device_is_never_off():
    given = off(quiet(), 10, 16)
    given.health[FAN, between(given, 9, 17)] = Health.FAULT
    assert changes(told(M01, given)) == []
    given.health[FAN, between(given, 9, 17)] = Health.CHANGED
    assert changes(told(M01, given)) == []


def test_lost_data_while_producing_gives_cannot_tell():
    found = told(M01, off(quiet(), 10, 16, np.nan))
    assert [(f.change, f.verdict, f.rule) for f in found] == [
        ("opened", "cannot_tell", "treatment_unknown"),
        ("ended", "cannot_tell", "treatment_unknown"),
    ]


def test_values_that_come_later_into_older_samples_raise_nothing():
    given = quiet()
    gap = between(given, 10, 12)
    lost = replace(given, kw=given.kw.copy())
    lost.kw[FAN, gap] = np.nan
    model = M01.factory(SimpleNamespace(config=M01.config_model()))
    state, found = StreamState(model.layout), []
    for tick in range(given.ticks):
        source = given if tick >= gap.stop + 3 else lost
        found += [f for f in model.step(state, source.window(tick)) if f.entity_id == "P6" and f.verdict == "suspect"]
    assert found == []


def test_a_clock_five_minutes_off_changes_nothing():
    given = quiet()
    given.kw[FAN] = np.roll(given.kw[FAN], 1)
    assert [changes(told(s, given)) for s in (M01, M02)] == [[], []]


def test_who_knows_the_persistence_is_told_by_the_sum():
    given = quiet()
    for hour in range(9, 16):
        off(given, hour, hour + 40 / 60)
    assert ("opened", "notice") in changes(told(M01, given))
    assert {f.rule for f in told(M01, given)} == {"treatment_off_often"}


def test_a_week_of_pulses_does_not_become_the_baseline():
    given = plants(days=8)
    for day in range(2, 8):
        first = given.tick(datetime(2026, 6, 1 + day, tzinfo=LOCAL_ZONE))
        for hour in range(9, 16):
            given.kw[FAN, first + hour * 6 : first + hour * 6 + 4] = 0.4
    found = told(M01, given)
    assert found[0].change == "opened"
    assert found[-1].change != "ended"


def test_again_within_the_own_mute_is_the_same_event_and_rearming_ends_it():
    given = off(off(quiet(), 9, 10.5), 13, 14.5)
    assert [c for c, _ in changes(told(M01, given))] == ["opened", "ended", "again", "ended"]
    link = "P6/TA001"
    noon = LAST + timedelta(hours=12)
    rearmed = replace(given.context, rearmed={link: noon})
    found = told(M01, given, context=lambda tick, _: rearmed if tick >= given.tick(LAST) + 72 else None)
    assert [c for c, _ in changes(found)] == ["opened", "ended", "opened", "ended"]
    assert len({f.event_id for f in found}) == 2


def test_muted_by_an_officer_until_the_mute_ends():
    given = off(quiet(), 9, 16)
    until = LAST + timedelta(hours=12)
    muted = replace(given, context=replace(given.context, muted={"P6/TA001": until}))
    found = told(M01, muted)
    assert [c for c, _ in changes(found)] == ["opened", "ended"]
    assert found[0].at >= until


def test_an_accepted_answer_holds_the_officer_back_and_a_refused_one_sends_him():
    def answering(accepted):
        given = off(quiet(), 9, 16)
        given.factors[:] = np.nan

        def context(tick, found):
            answers = {f.event_id: Answer("filed", f.at, accepted) for f in found}
            return replace(given.context, answers=answers)

        return changes(told(M01, given, context=context))

    assert ("raised", "dispatch") not in answering(True)
    assert ("raised", "dispatch") in answering(False)


def test_underload_is_told_within_an_hour_and_a_slight_drop_is_not():
    given = quiet()
    given.kw[FAN, between(given, 10, 16)] *= 0.5
    (first, *_) = told(M02, given)
    assert first.rule == "treatment_underload"
    assert first.at - (LAST + timedelta(hours=10)) <= timedelta(minutes=60)
    given = quiet()
    given.kw[FAN, between(given, 10, 16)] *= 0.85
    assert changes(told(M02, given)) == []


def test_production_under_an_order_and_its_excuses():
    given = quiet()
    stop = replace(given, context=replace(given.context, orders=reported(given, 0, 24, "stop")))
    assert ("opened", "notice") in changes(told(M03, stop))
    obeyed = replace(stop, kw=stop.kw.copy())
    obeyed.kw[TOTAL:FAN, between(given, 0, 24)] = 3.0
    assert changes(told(M03, obeyed)) == []
    excused = replace(stop, context=replace(stop.context, reports=reported(given, 0, 24, "commissioning")))
    assert changes(told(M03, excused)) == []
    night = replace(given, context=replace(given.context, orders=reported(given, 0, 24, "night_ban")))
    assert changes(told(M03, night)) == []


def test_frozen_values_and_copied_days_are_told():
    given = plants(days=10)
    day = given.tick(datetime(2026, 6, 10, tzinfo=LOCAL_ZONE))
    given.kw[FAN, day : day + 144] = given.kw[FAN, day - 7 * 144 : day - 6 * 144]
    given.kw[LINE1, day + 60 : day + 90] = given.kw[LINE1, day + 60]
    assert {f.rule for f in told(M04, given)} == {"replayed", "frozen"}


def test_a_plants_meter_that_shows_less_than_its_circuits_is_told():
    given = plants(days=12)
    given.kw[TOTAL, given.tick(datetime(2026, 6, 9, tzinfo=LOCAL_ZONE)) :] *= 0.7
    found = [f for f in told(M04, given) if f.rule == "energy_balance"]
    assert found
    assert found[0].circuit_ids == ("P6/total",)
    assert found[0].evidence["gap_percent"] < -8
