"""Clocks and gaps, by themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dianhuan_hub.gateway._streams import Clocks, Gaps, instant, micros

NOW = datetime(2026, 3, 1, 4, tzinfo=UTC)
MINUTE = 60_000_000
BASE = micros(NOW)


def test_instants_and_microseconds() -> None:
    assert instant(BASE) == NOW
    assert micros(NOW + timedelta(microseconds=7)) == BASE + 7


@pytest.mark.parametrize("behind_s", [-3600, -20, 0, 3, 20, 3600])
def test_the_median_is_the_drift_and_small_ones_count_as_none(behind_s: int) -> None:
    clocks = Clocks()
    for n in range(9):
        received = BASE + n * MINUTE
        jitter = (n % 3) * 400_000
        clocks.note("d", received, received - behind_s * 1_000_000 - jitter)
    drift = clocks.drift("d")
    assert drift is not None
    assert drift == pytest.approx(behind_s if abs(behind_s) > 5 else 0, abs=1)
    assert ("d" in clocks.offsets) == (abs(behind_s) > 5)


def test_nothing_is_said_after_few_samples_and_absurd_ones_do_not_count() -> None:
    clocks = Clocks()
    for n in range(4):
        clocks.note("d", BASE + n * MINUTE, BASE + n * MINUTE - 60_000_000)
    assert clocks.drift("d") is None
    for n in range(50):
        clocks.note("d", BASE + n * MINUTE, BASE - 400 * 86_400_000_000)
    assert clocks.drift("d") is None
    assert clocks.offsets == {}


def test_backfill_of_an_outage_is_no_drift() -> None:
    clocks = Clocks()
    for n in range(5):
        clocks.note("d", BASE + n * MINUTE, BASE + n * MINUTE)
    for n in range(4):  # a minute of data a second, from an outage of an hour
        clocks.note("d", BASE + 10 * MINUTE + n, BASE - (60 - n) * MINUTE)
    assert clocks.drift("d") == 0


def feed(gaps: Gaps, minutes: list[int], before: int | None = None) -> list[tuple[int, int]]:
    """Gaps found in a stream with values at these minutes, in minutes."""
    found = []
    for n, minute in enumerate(minutes):
        at = BASE + minute * MINUTE
        if n == 0:
            gaps.begin("d", "2051", at, None if before is None else BASE + before * MINUTE)
            continue
        gap = gaps.note("d", "2051", at)
        if gap is not None:
            found.append(((micros(gap.start) - BASE) // MINUTE, (micros(gap.end) - BASE) // MINUTE))
    return found


@pytest.mark.parametrize(
    ("minutes", "before", "gaps"),
    [
        ([0, 1, 2, 3, 4], None, []),
        ([0, 1, 2, 3, 8, 9, 10], None, [(4, 7)]),
        ([0, 1, 2, 3, 5, 6], None, [(4, 4)]),
        ([0, 1, 2, 8, 3, 4, 5, 6, 7, 9], None, [(3, 7)]),  # the history that fills it is no gap
        ([0, 1, 2, 12, 22, 32], None, [(3, 11)]),  # the interval was set to ten minutes
        ([0, 10, 20, 21, 22, 23, 25], None, [(24, 24)]),  # and to one
        ([10, 11, 12, 13], 5, [(6, 9)]),  # while the hub was away
        ([10, 11, 12, 13], 9, []),
        ([5, 5, 5], None, []),
    ],
)
def test_gaps(minutes: list[int], before: int | None, gaps: list[tuple[int, int]]) -> None:
    assert feed(Gaps(timedelta(days=30)), minutes, before) == gaps


def test_a_gap_reaches_back_no_longer_than_readings_are_taken() -> None:
    assert feed(Gaps(timedelta(minutes=10)), [0, 1, 2, 1000]) == [(989, 999)]


@given(st.lists(st.integers(0, 300), min_size=3, max_size=60))
def test_no_gap_covers_a_minute_that_came_just_before_or_after_it(minutes: list[int]) -> None:
    for first, last in feed(Gaps(timedelta(days=30)), minutes):
        assert first <= last
        assert any(m < first for m in minutes)
        assert any(m > last for m in minutes)
