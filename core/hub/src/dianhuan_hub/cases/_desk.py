"""The way of a case: 发现 → 研判 → 交办 → 现场核查 → 处置 → 反馈 → 归档; every step timed, by name, append-only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dianhuan_hub.store import Connection, Query, Store, put_audit, put_case_event, put_results, read_page
from dianhuan_sdk import Clock, InputError
from dianhuan_standards.tables import OUTCOMES, STATES

STATE_WORDS: dict[str, str] = dict(
    zip(STATES, ("发现", "研判", "交办", "现场核查", "处置", "反馈", "归档"), strict=True)
)

_NEXT: dict[str, tuple[str, ...]] = {
    "found": ("assessed", "archived"),
    "assessed": ("assigned", "archived"),
    "assigned": ("inspected", "assessed"),
    "inspected": ("assigned", "handled", "answered", "archived"),
    "handled": ("answered",),
    "answered": ("archived",),
    "archived": (),
}
"""Allowed steps. `inspected` is reached by an outcome only; a case may be archived before anybody is sent (nothing in
it), given back (`assigned` → `assessed`), and be visited again (`inspected` → `assigned`)."""


@dataclass(frozen=True)
class CaseFile:
    """A case with its events, outcomes and findings as stored."""

    case: dict[str, Any]
    events: list[dict[str, Any]]
    outcomes: list[dict[str, Any]]
    findings: list[dict[str, Any]]


class CaseDesk:
    """Moves cases and takes outcomes.

    Args:
        store: the city's store.
        clock: the hub's clock.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def open(self, case_id: str, actor: str, purpose: str) -> CaseFile:
        """A case as a person sees it; that it was looked at goes into the audit log first.

        Raises:
            InputError: there is no such case.
        """
        case = self._case(case_id)
        self._store.write(lambda con: put_audit(con, self._clock.now(), actor, purpose, "read case", case_id))
        engine = self._store.engine
        events = read_page(
            engine, Query("case_event", equals={"case_id": case_id}), order=[("seq", False)], limit=10_000
        )
        outcomes = read_page(engine, Query("outcome", equals={"case_id": case_id}), order=[("at", False)], limit=1_000)
        of_day = Query("finding", equals={"entity_id": case["entity_id"], "day": case["day"]})
        findings = read_page(engine, of_day, order=[("score", True), ("finding_id", False)], limit=1_000)
        return CaseFile(case, events.rows, outcomes.rows, findings.rows)

    def seen(self, actor: str, purpose: str, action: str, case_ids: Sequence[str]) -> None:
        """Put into the audit log that somebody saw these cases."""
        now = self._clock.now()

        def work(con: Connection) -> None:
            for case in case_ids:
                put_audit(con, now, actor, purpose, action, case)

        self._store.write(work)

    def move(self, case_id: str, state: str, actor: str, note: str = "") -> dict[str, Any]:
        """Take a case one step on; answers the case as it stands then.

        Raises:
            InputError: no such case or state, or the step is not allowed from where the case stands.
        """
        if state not in STATES:
            raise InputError(f"no state {state!r}", expected=", ".join(f"{s} {STATE_WORDS[s]}" for s in STATES))
        if state == "inspected":
            raise InputError(
                "a case is inspected by its outcome",
                expected=", ".join(OUTCOMES),
                hint="dianhuan case outcome CASE CODE",
            )

        return self._store.write(lambda con: self._step(con, case_id, state, actor, note))

    def _step(self, con: Connection, case_id: str, state: str, actor: str, note: str) -> dict[str, Any]:
        case = self._case(case_id)
        allowed = _NEXT[case["state"]]
        if state not in allowed:
            raise InputError(
                f"case {case_id} stands at {case['state']} ({STATE_WORDS[case['state']]}) and cannot go to {state}",
                expected=", ".join(f"{s} {STATE_WORDS[s]}" for s in allowed) or "nothing: it is archived",
            )
        now = self._clock.now()
        put_case_event(con, case_id, now, actor, state, note)
        put_audit(con, now, actor, "case flow", f"case → {state}", case_id, note)
        moved = {**case, "state": state, "updated_at": now}
        put_results(con, "case", [moved])
        return moved

    def outcome(self, case_id: str, code: str, actor: str, note: str = "") -> dict[str, Any]:
        """Record what a visit found and take the case to `inspected` (现场核查).

        After `could_not_inspect` the case stays `assigned`: somebody has to go again.

        Raises:
            InputError: no such case or code, or the case was not assigned to anyone.
        """
        if code not in OUTCOMES:
            raise InputError(f"no outcome {code!r}", expected=", ".join(OUTCOMES))

        def work(con: Connection) -> dict[str, Any]:
            said = f"outcome: {code}. {note}".strip()
            if code == "could_not_inspect":
                moved = self._stay(con, case_id, "assigned", actor, said)
            else:
                moved = self._step(con, case_id, "inspected", actor, said)
            row = {"case_id": case_id, "code": code, "at": moved["updated_at"], "actor": actor, "note": note}
            put_results(con, "outcome", [row])
            return moved

        return self._store.write(work)

    def _stay(self, con: Connection, case_id: str, state: str, actor: str, note: str) -> dict[str, Any]:
        case = self._case(case_id)
        if case["state"] != state:
            raise InputError(
                f"case {case_id} stands at {case['state']} ({STATE_WORDS[case['state']]})",
                expected=f"{state} {STATE_WORDS[state]}",
            )
        now = self._clock.now()
        put_case_event(con, case_id, now, actor, state, note)
        put_audit(con, now, actor, "case flow", f"case → {state}", case_id, note)
        return {**case, "updated_at": now}

    def _case(self, case_id: str) -> dict[str, Any]:
        page = read_page(
            self._store.engine, Query("case", equals={"case_id": case_id}), order=[("case_id", False)], limit=1
        )
        if not page.rows:
            raise InputError(f"no case {case_id!r}", hint="dianhuan list shows today's cases")
        return page.rows[0]
