"""Whole publications, judged by the verifier as a stranger would."""

from __future__ import annotations

from datetime import date
from typing import Any

from dianhuan_federation.core import State

City = Any
ROWS = "warnings-to-grantees"


def test_everything_that_is_due_is_accepted(city: City, today: date) -> None:
    city.start(ROWS, "outcomes-to-grantees", "warning-counts", "outcome-counts", "verified-counts")
    report = city.publisher.publish(today)
    assert report.refused == []
    assert report.witnessed.quorum
    assert report.witnessed.names == ("w43", "w44", "w45")
    verdict = city.verified()
    assert verdict.verdict.state is State.ACCEPTED
    assert [(e.index, str(e.verdict.state), e.verdict.detail) for e in verdict.entries if e.verdict.code] == []
    kinds = [e.kind.split(":")[-2] for e in verdict.entries]
    assert kinds.count("share-policy") == 5
    assert kinds.count("grant") == 2
    assert kinds.count("result-batch") == 2
    assert kinds.count("statistic-batch") == 9
