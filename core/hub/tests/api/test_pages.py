"""Pages over a long history are the pages of the whole, whatever window of days the store looks at first."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from dianhuan_hub.store import Query, Store, put_results, read_page

ORDER = (("day", True), ("score", True), ("warning_id", False))
FIRST = date(2025, 1, 1)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """400 warnings over a year with gaps, many with equal scores, in page order."""
    rng = random.Random(3)
    made = [
        {
            "warning_id": f"W{i:03}",
            "finding_id": f"F{i:03}",
            "case_id": f"C{i:03}",
            "entity_id": f"E{i % 7}",
            "day": FIRST + timedelta(days=rng.choice([rng.randrange(365), 300, 301])),
            "model_id": rng.choice(["m05", "m09"]),
            "score": rng.choice([0.25, 0.5, rng.random()]),
            "raised_at": NOW,
        }
        for i in range(400)
    ]
    return sorted(made, key=lambda r: (-r["day"].toordinal(), -r["score"], r["warning_id"]))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> Iterator[Store]:
    """A store that holds them."""
    store = Store(tmp_path_factory.mktemp("store"), lambda kw, day: {}, lambda: NOW)
    store.write(lambda con: put_results(con, "warning", rows))
    yield store
    store.close()


@pytest.mark.parametrize("limit", [1, 7, 50, 399, 400, 401])
def test_pages_follow_each_other_without_gap_or_repeat(store: Store, rows: list[dict[str, Any]], limit: int) -> None:
    seen: list[str] = []
    after: list[Any] | None = None
    while True:
        page = read_page(store.engine, Query("warning"), order=ORDER, limit=limit, after=after)
        seen += [r["warning_id"] for r in page.rows]
        if not page.more:
            break
        assert len(page.rows) == limit
        after = [page.rows[-1][c] for c, _ in ORDER]
    assert seen == [r["warning_id"] for r in rows]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (None, None),
        (FIRST + timedelta(days=299), None),
        (None, FIRST + timedelta(days=100)),
        (FIRST + timedelta(days=50), FIRST + timedelta(days=60)),
        (date(1, 1, 1), date(1, 1, 2)),
        (date(9999, 12, 30), date(9999, 12, 31)),
    ],
)
@pytest.mark.parametrize("equals", [{}, {"model_id": ["m09"]}, {"entity_id": ["E3", "E4"]}, {"model_id": "none"}])
def test_filters_hold_in_every_window(
    store: Store, rows: list[dict[str, Any]], start: date | None, end: date | None, equals: dict[str, Any]
) -> None:
    expected = [
        r["warning_id"]
        for r in rows
        if (start is None or r["day"] >= start)
        and (end is None or r["day"] < end)
        and all(r[c] in v for c, v in equals.items())
    ]
    page = read_page(
        store.engine,
        Query("warning", equals=equals, start=start, end=end),
        order=ORDER,
        limit=40,
        columns=["warning_id"],
    )
    assert [r["warning_id"] for r in page.rows] == expected[:40]
    assert page.more == (len(expected) > 40)
