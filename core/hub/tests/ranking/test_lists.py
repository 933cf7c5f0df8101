"""Lists: published before anybody goes out, learnt from, made again as they were; the bound when there is enough."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from dianhuan_hub.ranking import Way
from dianhuan_hub.store import StreamEvent, put_stream_events, read_list
from dianhuan_sdk import InputError, PluginError

DAY = date(2026, 3, 1)


class Mean:
    """A fuser that has learnt the share of visits that held, raised by any score."""

    def fit(self, columns: Any, scores: Any, found: Any, weights: Any) -> bytes:
        return str(float(np.average(found, weights=weights))).encode()

    def predict(self, state: bytes, columns: Any, scores: Any) -> Any:
        base = float(state)
        return base + (1 - base) * 0.1 * np.asarray(scores).max(axis=1)


MEAN = Way("mean", "1", 20, 3, Mean())


def test_a_published_list_stays_as_it_was(city, fill, lists_on):
    fill(city, DAY, {"E1": {"m05": 0.9}, "E2": {"m05": 0.5, "m06": 0.5}})
    lists = lists_on(city, DAY)
    before = lists.todays(DAY)
    assert (before.published_at, before.sha256) == (None, "")
    published = lists.publish(DAY)
    fill(city, DAY, {"E3": {"m05": 0.99}})
    after = lists.todays(DAY)
    assert [line.entity_id for line in after.lines] == ["E1", "E2"]
    assert after.sha256 == published.sha256 == lists.publish(DAY).sha256
    assert [line.probability for line in after.lines] == pytest.approx([0.9, 0.75])
    assert lists.check(DAY) == []
    assert [line.entity_id for line in lists.todays(DAY, k=3).lines] == ["E3", "E1", "E2"]


def test_a_changed_list_is_found_out(city, fill, lists_on):
    fill(city, DAY, {"E1": {"m05": 0.9}})
    lists = lists_on(city, DAY)
    lists.publish(DAY)
    city.write(lambda con: con.execute("UPDATE listed SET probability = 0.99") and None)
    words = lists.check(DAY)
    assert len(words) == 2
    assert "another digest" in words[0]
    assert "0.990000 was printed, 0.900000 comes out" in words[1]
    with pytest.raises(InputError, match="no list of 2026-03-02"):
        lists.check(DAY + timedelta(days=1))


def history(city: Any, fill: Any, visit: Any, lists_on: Any, days: int, seed: int = 1, share: float = 0.0) -> None:
    rng = np.random.default_rng(seed)
    for d in range(days):
        day = DAY - timedelta(days=days - d)
        scores = {f"D{d}E{i}": {"m05": float(s)} for i, s in enumerate(rng.uniform(0.3, 0.95, 12))}
        fill(city, day, scores)
        lists_on(city, day, share=share).publish(day)
        with city.engine.cursor() as con:
            lines = read_list(con, day).lines
        visit(
            city, day, {ln["case_id"]: "verified" if rng.random() < ln["probability"] else "not_found" for ln in lines}
        )
        city.write(lambda con: con.execute("""UPDATE "case" SET state = 'inspected'""") and None)


def test_the_bound_comes_with_the_nineteenth_day(city, fill, visit, lists_on):
    history(city, fill, visit, lists_on, 18)
    fill(city, DAY, {f"E{i}": {"m05": 0.9} for i in range(8)})
    early = lists_on(city, DAY).todays(DAY)
    assert (early.bound, early.days) == (None, 18)
    assert "no bound yet" in early.words.en
    assert "尚无误跑上限" in early.words.zh
    assert early.judged == 180
    assert "of 180 held" in early.words.en


def test_with_a_bound_every_line_says_how_many_are_wasted_at_most(city, fill, visit, lists_on):
    history(city, fill, visit, lists_on, 21)
    fill(city, DAY, {f"E{i}": {"m05": 0.9} for i in range(8)})
    found = lists_on(city, DAY).todays(DAY)
    assert found.bound is not None
    counts = [line.at_most_wasted for line in found.lines]
    assert counts == sorted(counts)
    assert counts[-1] <= 8
    assert f"of these 8 ranked visits at most {counts[-1]} are wasted" in found.words.en


def test_outcomes_after_publication_do_not_change_what_was_said(city, fill, visit, lists_on):
    history(city, fill, visit, lists_on, 20)
    fill(city, DAY, {f"E{i}": {"m05": 0.9} for i in range(8)})
    lists_on(city, DAY).publish(DAY)
    said = lists_on(city, DAY).todays(DAY)
    visit(city, DAY, {f"C{DAY:%Y%m%d}-E{i}": "not_found" for i in range(8)})
    again = lists_on(city, DAY + timedelta(days=9)).todays(DAY)
    assert again.words == said.words
    assert [line.at_most_wasted for line in again.lines] == [line.at_most_wasted for line in said.lines]


def test_learning_makes_a_version_and_past_lists_come_out_as_they_were(city, fill, visit, lists_on):
    history(city, fill, visit, lists_on, 6)
    fill(city, DAY, {"E1": {"m05": 0.9}, "E2": {"m05": 0.2}})
    lists = lists_on(city, DAY, [MEAN])
    ranking = lists.learn()
    assert ranking.visits == 60
    assert set(ranking.trial) == {"rules", "mean"}
    lists.publish(DAY)
    assert lists.check(DAY) == []
    assert lists.check(DAY - timedelta(days=1)) == []
    assert lists.todays(DAY).ranking == ranking.version


def test_a_way_that_does_worse_on_later_visits_is_not_taken(city, fill, visit, lists_on):
    class Sure(Mean):
        def predict(self, state: bytes, columns: Any, scores: Any) -> Any:
            return np.full(len(scores), 0.999)

    history(city, fill, visit, lists_on, 6)
    ranking = lists_on(city, DAY, [Way("sure", "1", 20, 3, Sure())]).learn()
    assert ranking.fusion == "rules@1"
    assert ranking.trial["sure"] > ranking.trial["rules"]


def test_a_way_that_breaks_is_left_out(city, fill, visit, lists_on):
    class Broken(Mean):
        def fit(self, columns: Any, scores: Any, found: Any, weights: Any) -> bytes:
            raise PluginError("not installed")

    history(city, fill, visit, lists_on, 6)
    assert lists_on(city, DAY, [Way("broken", "1", 20, 3, Broken())]).learn().fusion == "rules@1"


def test_a_list_of_a_way_that_is_gone_is_told(city, fill, visit, lists_on):
    class Best(Mean):
        def predict(self, state: bytes, columns: Any, scores: Any) -> Any:
            return np.asarray(scores).max(axis=1)  # the truth of this history

    history(city, fill, visit, lists_on, 6)
    best = lists_on(city, DAY, [Way("best", "1", 20, 3, Best())])
    assert best.learn().fusion == "best@1"
    fill(city, DAY, {"E1": {"m05": 0.9}})
    best.publish(DAY)
    with pytest.raises(PluginError, match="best@1"):
        lists_on(city, DAY).check(DAY)


def test_the_random_arm_knows_its_chance_and_is_outside_of_the_bound(city, fill, visit, lists_on):
    history(city, fill, visit, lists_on, 20, share=0.2)
    fill(city, DAY, {f"E{i:02d}": {"m05": 0.9 - i / 100} for i in range(30)})
    lists = lists_on(city, DAY, share=0.2)
    lines = lists.publish(DAY).lines
    assert [line["arm"] for line in lines] == ["ranked"] * 8 + ["random"] * 2
    assert {line["propensity"] for line in lines[8:]} == {2 / 22}
    shown = lists.todays(DAY).lines
    assert [line.at_most_wasted is None for line in shown] == [False] * 8 + [True] * 2


def test_a_recidivist_is_known(city, fill, visit, lists_on):
    before = DAY - timedelta(days=3)
    fill(city, before, {"E1": {"m05": 0.5}})
    lists_on(city, before).publish(before)
    visit(city, before, {f"C{before:%Y%m%d}-E1": "verified"})
    fill(city, DAY, {"E1": {"m05": 0.5}, "E2": {"m05": 0.5}})
    lines = lists_on(city, DAY).publish(DAY).lines
    assert {(ln["case_id"][:9], ln["entity_id"]): "recidivist" in ln["scores"] for ln in lines} == {
        ("C20260226", "E1"): True,
        ("C20260301", "E1"): True,
        ("C20260301", "E2"): False,
    }


def test_an_empty_day_is_an_empty_list(city, lists_on):
    lists = lists_on(city, DAY)
    assert lists.todays(DAY).lines == []
    assert lists.publish(DAY).lines == []
    assert lists.check(DAY) == []


def test_a_notice_is_the_plants_to_answer_before_an_officer_goes(city, fill, lists_on):
    fill(city, DAY, {"E1": {"m01": 0.9}, "E2": {"m01": 0.8}, "E3": {"m01": 0.7, "m05": 0.4}})
    at = datetime(2026, 3, 1, 22, tzinfo=UTC)

    def event(entity: str, level: str) -> StreamEvent:
        case = f"C{DAY:%Y%m%d}-{entity}"
        return StreamEvent(
            told_at=at, event_id=f"{entity}-1", change="opened", level=level, verdict="suspect", model_id="m01",
            rule="treatment_off", entity_id=entity, link_id="L", day=DAY, finding_id=f"FC{DAY:%Y%m%d}-{entity}m01",
            warning_id=f"WC{DAY:%Y%m%d}-{entity}m01", case_id=case, since=at, at=at, score=0.9, body="{}",
        )  # fmt: skip

    city.write(lambda con: put_stream_events(con, [event(e, "notice") for e in ("E1", "E2", "E3")]))
    listed = [line.entity_id for line in lists_on(city, DAY).todays(DAY).lines]
    assert listed == ["E3"], "a daily model warns of E3 too"
    city.write(lambda con: put_stream_events(con, [event("E2", "dispatch")]))
    assert {line.entity_id for line in lists_on(city, DAY).todays(DAY).lines} == {"E2", "E3"}
