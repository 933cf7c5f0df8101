"""The root of changes: the flow of cases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import strawberry

from dianhuan_hub.api._access import Right
from dianhuan_hub.api._context import Info
from dianhuan_hub.api._results import Case, CaseResult
from dianhuan_hub.api._words import CaseState, NotFoundError, OutcomeCode, attempt, described
from dianhuan_hub.cases import CaseDesk
from dianhuan_sdk import InputError

MAX_NOTE = 2000


@strawberry.type(description="All changes; each is logged with the key's name and purpose.")
class Mutation:
    @described("Take a case one step on.")
    async def move_case(self, info: Info, case_id: strawberry.ID, state: CaseState, note: str = "") -> CaseResult:
        actor = info.context.reader.grant.actor
        return await attempt(_change(info, case_id, note, lambda d: d.move(case_id, str(state.value), actor, note)))

    @described("Record what a visit found; takes the case to INSPECTED.")
    async def record_outcome(self, info: Info, case_id: strawberry.ID, code: OutcomeCode, note: str = "") -> CaseResult:
        actor = info.context.reader.grant.actor
        return await attempt(_change(info, case_id, note, lambda d: d.outcome(case_id, str(code.value), actor, note)))


async def _change(info: Info, case_id: str, note: str, work: Callable[[CaseDesk], dict[str, Any]]) -> Case:
    reader = info.context.reader
    reader.grant.need(Right.CASE_FLOW)
    if len(note) > MAX_NOTE:
        raise InputError(f"a note of {len(note)} characters", expected=f"at most {MAX_NOTE}")
    if await reader.one("case", "case_id", case_id) is None:
        raise NotFoundError("case", case_id[:80])
    return Case.of(await reader.run(work, reader.hub.cases))
