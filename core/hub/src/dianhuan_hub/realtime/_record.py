"""What models said, as findings, warnings and cases: those of the daily tier, one warning for one event."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from dianhuan_hub.screening import case_id, priority
from dianhuan_hub.store import (
    Connection,
    StreamEvent,
    case_scores,
    cases_of,
    first_of_event,
    put_case_event,
    put_results,
    put_stream_event,
)
from dianhuan_sdk import LOCAL_ZONE, StreamFinding, StreamModelSpec

RUN = "realtime"
_OVER = ("answered", "archived")


def record(con: Connection, spec: StreamModelSpec, finding: StreamFinding, now: datetime) -> StreamEvent:
    """Write one finding inside the caller's transaction; answers the event as it goes out.

    The first finding of an event makes finding, warning and case; later ones bring them up to date. What cannot be
    told stays a finding.
    """
    first = first_of_event(con, finding.event_id)
    day = first.day if first is not None else finding.at.astimezone(LOCAL_ZONE).date()
    key = hashlib.sha256(f"{spec.id}|{finding.event_id}".encode()).hexdigest()[:16]
    suspect = finding.verdict == "suspect"
    event = StreamEvent(
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
    put_results(con, "finding", [_finding_row(spec, finding, event)])
    if suspect:
        put_results(con, "warning", [_warning_row(event, first.told_at if first is not None else now)])
        _case(con, event, now)
    put_stream_event(con, event)
    return event


def _case(con: Connection, event: StreamEvent, now: datetime) -> None:
    case = event.case_id
    assert case is not None
    state, opened = cases_of(con, event.day).get(case, ("", now))
    news = event.change in ("opened", "raised")
    words = f"{event.model_id} {event.change}: {event.level} ({event.event_id})"
    if not state or (state in _OVER and news):
        state = "found"  # a case that was closed is open again when something new is said
    if news:
        put_case_event(con, case, now, "hub", state, words)
    row = {
        "case_id": case,
        "entity_id": event.entity_id,
        "day": event.day,
        "state": state,
        "priority": priority(case_scores(con, case)),
        "opened_at": opened,
        "updated_at": max(now, opened),
    }
    put_results(con, "case", [row])


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
