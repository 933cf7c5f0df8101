"""Cases as lines of a list: with the enterprise, the evidence and the counter-evidence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

from dianhuan_hub.store import Query, Store, notice_only, read_page

WAITS = timedelta(days=30)
"""How long a case that nobody was sent to stays on the list."""

_ALL = 1_000_000


@dataclass(frozen=True)
class ListLine:
    """One visit.

    Args:
        arm: `ranked` by value per officer-hour, or `random` from the cases below the cut.
        probability: that the visit holds, as the ranking in force sees it.
        at_most_wasted: of the ranked visits up to this one; None without a bound, and in the random arm.
        warnings: one dict a warning: model, rule, score, reasons, counter, gates.
    """

    rank: int
    arm: Literal["ranked", "random"]
    case_id: str
    day: date
    state: str
    entity_id: str
    name: str | None
    division: str | None
    industry: str | None
    priority: float
    probability: float
    at_most_wasted: int | None
    warnings: tuple[dict[str, Any], ...]

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "rank": self.rank,
            "arm": self.arm,
            "case": self.case_id,
            "day": self.day.isoformat(),
            "state": self.state,
            "entity": self.entity_id,
            "name": self.name,
            "division": self.division,
            "industry": self.industry,
            "priority": round(self.priority, 4),
            "probability": round(self.probability, 4),
            "at_most_wasted": self.at_most_wasted,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class Place:
    """A case that was chosen, with its probability and its chance of being chosen."""

    case: Mapping[str, Any]
    arm: Literal["ranked", "random"]
    probability: float
    propensity: float


def waiting_cases(store: Store, day: date, divisions: tuple[str | None, ...] | None) -> list[dict[str, Any]]:
    """Cases of a day, and those of earlier days that nobody has been sent to yet; by priority, then by their ids.

    A case that is only a notice is the plant's to answer first: it comes here when it is raised to a dispatch.
    """
    order = [("priority", True), ("case_id", False)]
    new = Query("case", start=day, end=day + timedelta(days=1), division=divisions)
    open_states = {"state": ["found", "assessed"]}
    waiting = Query("case", start=day - WAITS, end=day, division=divisions, equals=open_states)
    cases = [c for q in (new, waiting) for c in read_page(store.engine, q, order=order, limit=_ALL).rows]
    with store.engine.cursor() as con:
        notices = notice_only(con, day - WAITS, day)
    return sorted((c for c in cases if c["case_id"] not in notices), key=lambda c: (-c["priority"], c["case_id"]))


def scores_of(store: Store, cases: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Model → strongest score of its warnings, for each case."""
    if not cases:
        return []
    days = [c["day"] for c in cases]
    query = Query("warning", start=min(days), end=max(days) + timedelta(days=1))
    columns = ("warning_id", "case_id", "model_id", "score")
    by_case: dict[str, dict[str, float]] = {c["case_id"]: {} for c in cases}
    for row in read_page(store.engine, query, order=[("warning_id", False)], limit=_ALL, columns=columns).rows:
        mine = by_case.get(row["case_id"])
        if mine is not None:
            mine[row["model_id"]] = max(mine.get(row["model_id"], 0.0), row["score"])
    return [by_case[c["case_id"]] for c in cases]


def enterprises(store: Store, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Enterprises by id."""
    return {e["entity_id"]: e for e in _rows(store, Query("entity", equals={"entity_id": list(ids)}), "entity_id")}


def permit_classes(store: Store, ids: Sequence[str], day: date) -> dict[str, str]:
    """Enterprise → class of the permit in force on a day."""
    found = _rows(store, Query("permit", equals={"entity_id": list(ids)}), "permit_no")
    return {
        p["entity_id"]: p["permit_class"]
        for p in found
        if p["valid_from"] <= day and (p["valid_to"] is None or day <= p["valid_to"])
    }


def lines_of(store: Store, places: Sequence[Place], wasted: Sequence[int] | None) -> list[ListLine]:
    """Chosen cases as lines.

    Args:
        store: the city's store.
        places: in order, the ranked ones first.
        wasted: the bound for each number of ranked visits, or None.
    """
    ids = [p.case["entity_id"] for p in places]
    known = enterprises(store, ids)
    findings: dict[tuple[str, date], list[dict[str, Any]]] = {}
    if places:
        days = [p.case["day"] for p in places]
        wanted = Query(
            "finding",
            equals={"entity_id": ids, "passed": True},
            start=min(days),
            end=max(days) + timedelta(days=1),
        )
        for f in _rows(store, wanted, "finding_id"):
            findings.setdefault((f["entity_id"], f["day"]), []).append(evidence_of(f))
    lines = []
    for number, place in enumerate(places):
        case = place.case
        entity = known.get(case["entity_id"], {})
        warnings = sorted(findings.get((case["entity_id"], case["day"]), []), key=lambda w: -float(w["score"]))
        bounded = place.arm == "ranked" and wasted is not None and number < len(wasted)
        lines.append(
            ListLine(
                rank=number + 1,
                arm=place.arm,
                case_id=case["case_id"],
                day=case["day"],
                state=case["state"],
                entity_id=case["entity_id"],
                name=entity.get("name"),
                division=entity.get("division"),
                industry=entity.get("industry"),
                priority=case["priority"],
                probability=place.probability,
                at_most_wasted=int(wasted[number]) if bounded and wasted is not None else None,
                warnings=tuple(warnings),
            )
        )
    return lines


def evidence_of(finding: dict[str, Any]) -> dict[str, Any]:
    """A stored finding with its JSON columns opened."""
    return {
        "finding": finding["finding_id"],
        "model": finding["model_id"],
        "version": finding["model_version"],
        "rule": finding["rule"],
        "verdict": finding["verdict"],
        "score": finding["score"],
        "passed": finding["passed"],
        **{
            name: None if finding[name] is None else json.loads(finding[name])
            for name in ("reasons", "counter", "evidence", "exhibit", "context", "gates")
        },
    }


def _rows(store: Store, query: Query, key: str) -> list[dict[str, Any]]:
    return read_page(store.engine, query, order=[(key, False)], limit=_ALL).rows
