"""The way of a case: allowed steps only, every step on record, outcomes only after somebody was sent."""

from datetime import date, timedelta

import pytest

from dianhuan_hub.cases import CaseDesk
from dianhuan_hub.kernel.clock import FixedClock
from dianhuan_hub.store import Query, put_results, read_page
from dianhuan_sdk import InputError


class Ticking:
    """A clock that goes on by a second whenever it is asked."""

    def __init__(self):
        self.at = CLOCK.now()

    def now(self):
        self.at += timedelta(seconds=1)
        return self.at

    def today(self):
        return CLOCK.today()


CLOCK = FixedClock.on(date(2026, 3, 10))


@pytest.fixture
def desk(city):
    row = {
        "case_id": "C1",
        "entity_id": "E1",
        "day": date(2026, 3, 9),
        "state": "found",
        "priority": 0.9,
        "opened_at": CLOCK.now(),
        "updated_at": CLOCK.now(),
    }
    city.write(lambda con: put_results(con, "case", [row]))
    return CaseDesk(city, Ticking())


def test_a_case_goes_its_way_and_every_step_is_kept(desk, city):
    for state in ("assessed", "assigned"):
        desk.move("C1", state, "li", f"to {state}")
    desk.outcome("C1", "verified", "wang", "kiln ran")
    for state in ("handled", "answered", "archived"):
        desk.move("C1", state, "li")
    file = desk.open("C1", "zhao", "audit")
    assert file.case["state"] == "archived"
    assert [e["state"] for e in file.events] == ["assessed", "assigned", "inspected", "handled", "answered", "archived"]
    assert [e["actor"] for e in file.events][:3] == ["li", "li", "wang"]
    assert [(o["code"], o["actor"]) for o in file.outcomes] == [("verified", "wang")]
    audit = read_page(city.engine, Query("audit"), order=[("action", False)], limit=20).rows
    assert ("read case", "zhao", "audit") in {(a["action"], a["actor"], a["purpose"]) for a in audit}
    assert len(audit) == 7


@pytest.mark.parametrize(
    ("states", "words"),
    [
        (["inspected"], "inspected by its outcome"),
        (["assigned"], "cannot go"),
        (["nonsense"], "no state"),
        (["archived", "found"], "cannot go"),
    ],
)
def test_forbidden_steps_change_nothing(desk, states, words):
    *allowed, forbidden = states
    for state in allowed:
        desk.move("C1", state, "li")
    before = desk.open("C1", "li", "test")
    with pytest.raises(InputError, match=words):
        desk.move("C1", forbidden, "li")
    after = desk.open("C1", "li", "test")
    assert (after.case, after.events) == (before.case, before.events)


def test_outcome_needs_a_known_code_and_somebody_sent(desk):
    with pytest.raises(InputError, match="no outcome"):
        desk.outcome("C1", "fine", "li")
    with pytest.raises(InputError, match="cannot go to inspected"):
        desk.outcome("C1", "verified", "li")
    assert desk.open("C1", "li", "test").outcomes == []


def test_a_visit_that_could_not_inspect_is_made_again(desk):
    for state in ("assessed", "assigned"):
        desk.move("C1", state, "li")
    assert desk.outcome("C1", "could_not_inspect", "wang", "gate closed")["state"] == "assigned"
    assert desk.outcome("C1", "not_found", "wang")["state"] == "inspected"
    assert [o["code"] for o in desk.open("C1", "li", "test").outcomes] == ["could_not_inspect", "not_found"]


def test_unknown_case_is_told(desk):
    with pytest.raises(InputError, match="no case"):
        desk.open("C2", "li", "test")
