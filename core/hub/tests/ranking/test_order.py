"""The order of visits: value per hour, packed by district."""

from __future__ import annotations

import numpy as np

from dianhuan_hub.ranking import Costs, visit_order

ONE = np.ones(4)
NEW = np.zeros(4)


def test_value_decides_where_travel_is_the_same() -> None:
    p = np.array([0.2, 0.9, 0.5, 0.9])
    assert visit_order(p, ONE, NEW, [None] * 4, Costs(), 4) == [1, 3, 2, 0]
    assert visit_order(p, np.array([1, 1, 2.0, 1]), NEW, [None] * 4, Costs(), 2) == [2, 1]


def test_old_evidence_is_worth_less() -> None:
    p = np.array([0.8, 0.7])
    assert visit_order(p, ONE[:2], np.array([14.0, 0.0]), [None, None], Costs(half_life_days=14), 2) == [1, 0]


def test_a_district_that_is_gone_to_anyway_costs_less() -> None:
    p = np.array([0.9, 0.72, 0.75, 0.4])
    districts = ["430203", "430203", "430204", "430203"]
    assert visit_order(p, ONE, NEW, districts, Costs(visit_hours=2, travel_hours=1, next_hours=0.3), 4) == [0, 1, 2, 3]
    far = Costs(visit_hours=2, travel_hours=0.3, next_hours=0.3)
    assert visit_order(p, ONE, NEW, districts, far, 4) == [0, 2, 1, 3]


def test_no_more_than_there_are() -> None:
    assert visit_order(np.zeros(0), np.zeros(0), np.zeros(0), [], Costs(), 5) == []
    assert visit_order(np.ones(2), np.ones(2), np.zeros(2), ["a", "a"], Costs(), 5) == [0, 1]
