"""Topology, spans, state and proposed links of real-time models."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from dianhuan_sdk import Circuit, Factor, InputError, Link, Spans, StateField, StreamState, Topology
from dianhuan_sdk.links import propose_links
from dianhuan_sdk.testing import plants

AT = datetime(2026, 6, 1, tzinfo=UTC)
CIRCUITS = (
    Circuit("c1", "e", "production", facility="MF0001"),
    Circuit("c2", "e", "treatment", facility="TA001"),
    Circuit("c3", "e", "treatment", facility="TA001"),
    Circuit("c4", "other", "combined"),
)
LAYOUT = {
    "circuit": (StateField("wide", "f4", np.nan, 3), StateField("flag", "?")),
    "link": (StateField("since", "i8", -1), StateField("small", "i1", 2)),
}


def made(*links: Link) -> Topology:
    return Topology.of(CIRCUITS, links or (Link("l", ("c2", "c3"), ("c1",)),))


@pytest.mark.parametrize(
    ("links", "words"),
    [
        ((Link("l", ("c2",), ()),), "side without circuits"),
        ((Link("l", ("c9",), ("c1",)),), "names circuit c9"),
        ((Link("l", ("c1",), ("c1",)),), "has the role production"),
        ((Link("l", ("c2",), ("c4",)),), "crosses plants"),
        ((Link("l", ("c2",), ("c1",)), Link("l", ("c3",), ("c1",))), "given twice"),
    ],
)
def test_a_topology_refuses_links_that_cannot_be(links: tuple[Link, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        made(*links)


def test_a_combined_circuit_marks_its_links_and_factors_need_a_link() -> None:
    top = made(Link("l", ("c2",), ("c1",)), Link("m", ("c4",), ("c4",)))
    assert top.combined.tolist() == [False, True]
    with pytest.raises(InputError, match="names link x"):
        Topology.of(CIRCUITS, (), (Factor("f", "x", "a24088"),))


def test_spans_cover_a_facility_or_the_plant_and_only_from_when_they_are_known() -> None:
    base = {"entity_id": "e", "kind": "fault", "starts_at": AT, "ends_at": AT + timedelta(hours=2)}
    rows = [{**base, "facility": "TA001", "filed_at": AT + timedelta(hours=1)}, {**base, "entity_id": "nobody"}]
    spans = Spans.of([{"filed_at": AT, **r} for r in rows], made(), "filed_at")
    second = int(AT.timestamp())
    assert not spans.covered(second, 4).any()
    assert spans.covered(second + 3600, 4).tolist() == [False, True, True, False]
    assert not spans.covered(second + 3600, 4, ("stoppage",)).any()
    assert not spans.covered(second + 7200, 4).any()
    assert Spans.of([base], made()).covered(second, 4).tolist() == [True, True, True, False]
    assert spans.ends(second + 3600, 4).tolist() == [0, second + 7200, second + 7200, 0]


def test_state_follows_keys_and_survives_a_dump() -> None:
    given = plants(days=1)
    state = StreamState(LAYOUT)
    assert state.align(given.window(0)) == 1
    state["circuit"]["wide"][3] = [1, 2, 3]
    state["link"]["since"][:] = np.arange(8)
    again = StreamState.load(LAYOUT, state.dump())
    assert again.second == state.second
    other = given.reordered(4)
    assert again.align(other.window(3)) == 3
    place = other.topology.keys("circuit").index(given.topology.keys("circuit")[3])
    assert again["circuit"]["wide"][place].tolist() == [1, 2, 3]
    assert np.isnan(np.delete(again["circuit"]["wide"], place, axis=0)).all()
    keys = given.topology.keys("link")
    assert [keys.index(k) for k in other.topology.keys("link")] == again["link"]["since"].tolist()
    assert again["link"]["small"].dtype == np.int8
    assert again.align(other.window(3)) == 0


def test_a_dump_of_another_layout_is_refused() -> None:
    dump = StreamState(LAYOUT).dump()
    with pytest.raises(InputError, match="no column x"):
        StreamState.load({"link": (StateField("x", "f4"),)}, dump)
    with pytest.raises(InputError, match="no table factor"):
        StreamState.load({"factor": ()}, dump)
    with pytest.raises(InputError, match="of the dump is"):
        StreamState.load({"link": (StateField("since", "f4"),)}, dump)


def test_links_are_proposed_inside_a_plant_with_the_lag() -> None:
    given = plants(days=6)
    proposed = propose_links(given.topology.circuits, given.kw, given.step_s)
    fans = {p.treatment for p in proposed}
    assert {f"P{i}/fan" for i in (1, 2, 3, 5, 6, 7)} <= fans
    assert all(p.treatment[:2] == p.production[:2] and p.confidence >= 0.4 for p in proposed)
    late = np.roll(given.kw, 2, axis=1)
    rows = [i for i, c in enumerate(given.topology.circuits) if c.role == "treatment"]
    moved = given.kw.copy()
    moved[rows] = late[rows]
    lags = {p.lag_minutes for p in propose_links(given.topology.circuits, moved, given.step_s) if "P6" in p.treatment}
    assert lags == {20}


def test_circuits_that_never_change_propose_nothing() -> None:
    circuits = (Circuit("a", "e", "production"), Circuit("b", "e", "treatment"))
    assert propose_links(circuits, np.full((2, 500), 7, np.float32)) == []
    assert propose_links(circuits, np.full((2, 500), np.nan, np.float32)) == []
