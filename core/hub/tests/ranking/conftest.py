"""A city whose lists can be filled with cases and outcomes of any day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from dianhuan_hub.kernel.clock import FixedClock
from dianhuan_hub.ranking import Costs, Lists, Way
from dianhuan_hub.store import Store, put_results

FIRST = date(2026, 1, 1)


@pytest.fixture
def fill() -> Callable[..., None]:
    """Cases of a day: enterprise → (model → score)."""

    def put(store: Store, day: date, cases: dict[str, dict[str, float]], state: str = "found") -> None:
        at = datetime(day.year, day.month, day.day, 22, tzinfo=UTC)
        warnings, rows = [], []
        for entity, scores in cases.items():
            case = f"C{day:%Y%m%d}-{entity}"
            rows.append(
                {"case_id": case, "entity_id": entity, "day": day, "state": state, "opened_at": at, "updated_at": at,
                 "priority": 1 - float(np.prod([1 - s for s in scores.values()]))}
            )  # fmt: skip
            for model, score in scores.items():
                warnings.append(
                    {"warning_id": f"W{case}{model}", "finding_id": f"F{case}{model}", "case_id": case,
                     "entity_id": entity, "day": day, "model_id": model, "score": score, "raised_at": at}
                )  # fmt: skip

        def write(con: Any) -> None:
            put_results(con, "case", rows)
            put_results(con, "warning", warnings)

        store.write(write)

    return put


@pytest.fixture
def visit() -> Callable[..., None]:
    """Outcomes of cases, in the evening of the day after the list."""

    def put(store: Store, day: date, codes: dict[str, str]) -> None:
        at = datetime(day.year, day.month, day.day, 10, tzinfo=UTC) + timedelta(days=1)
        rows = [{"case_id": c, "code": code, "at": at, "actor": "li", "note": ""} for c, code in codes.items()]
        store.write(lambda con: put_results(con, "outcome", rows))

    return put


@pytest.fixture
def lists_on() -> Callable[..., Lists]:
    """The lists of a store as they are worked on, on the morning after a day."""

    def make(store: Store, day: date, ways: list[Way] | None = None, capacity: int = 10, share: float = 0.0) -> Lists:
        return Lists(store, FixedClock.on(day + timedelta(days=1)), ways or [], Costs(), capacity, share)

    return make
