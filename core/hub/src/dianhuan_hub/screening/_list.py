"""Today's list: cases ranked for the officers there are, with a protected random share."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

from dianhuan_hub.store import Query, Store, read_page

BOUND_UNKNOWN = (
    "尚无核查结果,无法给出误跑上限",
    "no bound yet: no outcomes of visits are on file",
)

_ALL = 1_000_000

WAITS = timedelta(days=30)
"""How long a case that nobody was sent to stays on the list."""


@dataclass(frozen=True)
class ListLine:
    """One visit.

    Args:
        arm: `ranked` by priority, or `random` from the cases below the cut.
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
            "warnings": list(self.warnings),
        }


def todays_list(
    store: Store, day: date, k: int, random_share: float, divisions: tuple[str | None, ...] | None = None
) -> list[ListLine]:
    """The visits of a day: its cases, and those of earlier days that nobody has been sent to yet.

    Args:
        store: the city's store.
        day: the day that was screened.
        k: visits that can be made.
        random_share: part of them drawn at random from the cases that the ranking leaves out; without such a share
            nobody would ever learn what lies below the cut. The draw depends on the day only.
        divisions: prefixes of the districts wanted, see `Query`.
    """
    end = day + timedelta(days=1)
    order = [("priority", True), ("case_id", False)]
    new = Query("case", start=day, end=end, division=divisions)
    waiting = Query("case", start=day - WAITS, end=day, division=divisions, equals={"state": ["found", "assessed"]})
    cases = [c for q in (new, waiting) for c in read_page(store.engine, q, order=order, limit=_ALL).rows]
    cases.sort(key=lambda c: (-c["priority"], c["case_id"]))
    drawn = min(round(k * random_share), max(len(cases) - k, 0))
    top, rest = cases[: k - drawn], cases[k - drawn :]
    lot = sorted(rest, key=lambda c: hashlib.sha256(f"{day}|{c['case_id']}".encode()).digest())[:drawn]
    chosen = [*((c, "ranked") for c in top), *((c, "random") for c in lot)]
    ids = [c["entity_id"] for c, _ in chosen]
    entities = {e["entity_id"]: e for e in _rows(store, Query("entity", equals={"entity_id": ids}), "entity_id")}
    findings: dict[tuple[str, date], list[dict[str, Any]]] = {}
    first = min((c["day"] for c, _ in chosen), default=day)
    wanted = Query("finding", equals={"entity_id": ids, "passed": True}, start=first, end=end)
    for f in _rows(store, wanted, "finding_id"):
        findings.setdefault((f["entity_id"], f["day"]), []).append(evidence_of(f))
    lines = []
    for rank, (case, arm) in enumerate(chosen, 1):
        entity = entities.get(case["entity_id"], {})
        lines.append(
            ListLine(
                rank=rank,
                arm="ranked" if arm == "ranked" else "random",
                case_id=case["case_id"],
                day=case["day"],
                state=case["state"],
                entity_id=case["entity_id"],
                name=entity.get("name"),
                division=entity.get("division"),
                industry=entity.get("industry"),
                priority=case["priority"],
                warnings=tuple(
                    sorted(findings.get((case["entity_id"], case["day"]), []), key=lambda w: -float(w["score"]))
                ),
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
