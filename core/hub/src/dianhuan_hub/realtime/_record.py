"""What models said, as findings, warnings and cases: those of the daily tier, one warning for one event."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from dianhuan_hub.screening import case_id, priority
from dianhuan_hub.store import (
    Connection,
    StreamEvent,
    case_scores,
    cases_of,
    first_of_events,
    put_case_events,
    put_results,
    put_stream_events,
)
from dianhuan_sdk import LOCAL_ZONE, StreamFinding, StreamModelSpec

RUN = "realtime"
_OVER = ("answered", "archived")


def record(con: Connection, said: Sequence[tuple[StreamModelSpec, StreamFinding]], now: datetime) -> list[StreamEvent]:
    """Write what was said in a tick inside the caller's transaction; answers the events as they go out, in order.

    The first finding of an event makes finding, warning and case; later ones bring them up to date. What cannot be
    told stays a finding.
    """
    first = first_of_events(con, [f.event_id for _, f in said])
    events: list[StreamEvent] = []
    findings: dict[str, dict[str, Any]] = {}
    warnings: dict[str, dict[str, Any]] = {}
    for spec, finding in said:
        day, raised_at = first.setdefault(finding.event_id, (finding.at.astimezone(LOCAL_ZONE).date(), now))
        event = _event(spec, finding, day, now)
        events.append(event)
        findings[event.finding_id] = _finding_row(spec, finding, event)
        if event.warning_id is not None:
            warnings[event.warning_id] = _warning_row(event, raised_at)
    put_results(con, "finding", list(findings.values()))
    put_results(con, "warning", list(warnings.values()))
    _cases(con, [e for e in events if e.case_id is not None], now)
    put_stream_events(con, events)
    return events


def _event(spec: StreamModelSpec, finding: StreamFinding, day: date, now: datetime) -> StreamEvent:
    key = hashlib.sha256(f"{spec.id}|{finding.event_id}".encode()).hexdigest()[:16]
    suspect = finding.verdict == "suspect"
    return StreamEvent(
        told_at=now,
        event_id=finding.event_id,
        change=finding.change,
        level=finding.level,
        verdict=finding.verdict,
        model_id=spec.id,
        rule=finding.rule,
        entity_id=finding.entity_id,
        link_id=finding.link_id,
        day=day,
        finding_id=f"R{day:%Y%m%d}-{key}",
        warning_id=f"V{day:%Y%m%d}-{key}" if suspect else None,
        case_id=case_id(finding.entity_id, day) if suspect else None,
        since=finding.since,
        at=finding.at,
        score=finding.score,
        body=_json(
            {
                "circuit_ids": list(finding.circuit_ids),
                "reasons": [t._asdict() for t in finding.reasons],
                "counter": [t._asdict() for t in finding.counter],
                "evidence": dict(finding.evidence),
                "expected_end": None if finding.expected_end is None else finding.expected_end.isoformat(),
            }
        ),
    )


def _cases(con: Connection, events: Sequence[StreamEvent], now: datetime) -> None:
    held = {case: known for day in {e.day for e in events} for case, known in cases_of(con, day).items()}
    scores = case_scores(con, [e.case_id for e in events if e.case_id is not None])
    rows: dict[str, dict[str, Any]] = {}
    steps: list[tuple[str, str, str]] = []
    for event in events:
        case = event.case_id
        assert case is not None
        state, opened = held.get(case, ("", now))
        news = event.change in ("opened", "raised")
        if not state or (state in _OVER and news):
            state = "found"  # a case that was closed is open again when something new is said
        if news:
            steps.append((case, state, f"{event.model_id} {event.change}: {event.level} ({event.event_id})"))
        held[case] = (state, opened)
        rows[case] = {
            "case_id": case,
            "entity_id": event.entity_id,
            "day": event.day,
            "state": state,
            "priority": priority(scores.get(case, [])),
            "opened_at": opened,
            "updated_at": max(now, opened),
        }
    put_case_events(con, now, "hub", steps)
    put_results(con, "case", list(rows.values()))


def _finding_row(spec: StreamModelSpec, f: StreamFinding, event: StreamEvent) -> dict[str, Any]:
    told = {"event_id": f.event_id, "change": f.change, "level": f.level, "link_id": f.link_id}
    times = {"since": f.since.isoformat(), "at": f.at.isoformat()}
    gates = [{"gate": g, "passed": True, "zh": "模型内判定", "en": "applied by the model"} for g in spec.gates]
    return {
        "finding_id": event.finding_id,
        "run_id": RUN,
        "model_id": spec.id,
        "model_version": spec.version,
        "rule": f.rule,
        "entity_id": f.entity_id,
        "day": event.day,
        "verdict": f.verdict,
        "score": f.score,
        "reasons": _json([t._asdict() for t in f.reasons]),
        "counter": _json([t._asdict() for t in f.counter]),
        "evidence": _json({**f.evidence, **told, **times, "circuit_ids": list(f.circuit_ids)}),
        "exhibit": None,
        "context": "[]",
        "gates": _json(gates),
        "passed": f.verdict == "suspect",
    }


def _warning_row(event: StreamEvent, raised_at: datetime) -> dict[str, Any]:
    return {
        "warning_id": event.warning_id,
        "finding_id": event.finding_id,
        "case_id": event.case_id,
        "entity_id": event.entity_id,
        "day": event.day,
        "model_id": event.model_id,
        "score": event.score,
        "raised_at": raised_at,
    }


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
