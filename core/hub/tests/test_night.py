"""The night as a service: time of day, and that one broken source does not keep the city from being screened."""

from __future__ import annotations

from datetime import UTC, datetime, time

import pytest

from dianhuan_hub.night import seconds_until


@pytest.mark.parametrize(
    ("now", "seconds"),
    [
        (datetime(2026, 3, 1, 21, 0, tzinfo=UTC), 3600),  # 05:00 in Asia/Shanghai
        (datetime(2026, 3, 1, 22, 0, tzinfo=UTC), 86_400),  # 06:00 sharp: tomorrow's
        (datetime(2026, 3, 1, 22, 30, tzinfo=UTC), 84_600),
    ],
)
def test_seconds_until_a_local_time(now: datetime, seconds: float) -> None:
    assert seconds_until(now, time(6, 0)) == seconds
