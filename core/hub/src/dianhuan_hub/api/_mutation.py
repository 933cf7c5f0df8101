"""The root of changes: the flow of cases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Annotated, Any

import strawberry

from dianhuan_hub.api._access import Right
from dianhuan_hub.api._context import Info
from dianhuan_hub.api._results import Case, CaseResult
from dianhuan_hub.api._words import CaseState, NotFoundError, OutcomeCode, Problem, attempt, described
from dianhuan_hub.cases import CaseDesk
from dianhuan_sdk import InputError

MAX_NOTE = 2000
MAX_FACILITY = 64


@strawberry.enum(description="What is filed (报备).")
class ReportKind(Enum):
    MAINTENANCE = strawberry.enum_value("maintenance", description="检修")
    STOPPAGE = strawberry.enum_value("stoppage", description="停产")
    COMMISSIONING = strawberry.enum_value("commissioning", description="调试")
    FAULT = strawberry.enum_value("fault", description="故障")
    NIGHT_WORK = strawberry.enum_value("night_work", description="夜间作业")
    OTHER = strawberry.enum_value("other", description="其他")


@strawberry.type(description="A filed report (报备) that is effective.")
class FiledReport:
    report_id: str
    entity_id: str


FileReportResult = Annotated[FiledReport | Problem, strawberry.union("FileReportResult")]


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

    @described("File a report (报备) for a plant: maintenance, stoppage and the like; effective at once.")
    async def file_report(
        self,
        info: Info,
        entity_id: strawberry.ID,
        kind: ReportKind,
        starts_at: datetime,
        ends_at: datetime,
        facility: str = "",
        note: str = "",
    ) -> FileReportResult:
        return await attempt(_file(info, entity_id, str(kind.value), starts_at, ends_at, facility, note))


async def _file(
    info: Info, entity_id: str, kind: str, starts_at: datetime, ends_at: datetime, facility: str, note: str
) -> FiledReport:
    reader = info.context.reader
    reader.grant.need(Right.CASE_FLOW)
    if starts_at.tzinfo is None or ends_at.tzinfo is None:
        raise InputError("a time without a zone", expected="ISO 8601 with an offset, e.g. 2026-03-01T08:00+08:00")
    if len(facility) > MAX_FACILITY:
        raise InputError(f"a facility of {len(facility)} characters", expected=f"at most {MAX_FACILITY}")
    if await reader.one("entity", "entity_id", entity_id) is None:
        raise NotFoundError("entity", entity_id[:80])
    desk, grant = reader.hub.realtime.notices, reader.grant
    report = await reader.run(
        desk.file_report, entity_id, kind, starts_at, ends_at, facility, note, actor=grant.actor, purpose=grant.purpose
    )
    return FiledReport(report_id=report, entity_id=entity_id)


async def _change(info: Info, case_id: str, note: str, work: Callable[[CaseDesk], dict[str, Any]]) -> Case:
    reader = info.context.reader
    reader.grant.need(Right.CASE_FLOW)
    if len(note) > MAX_NOTE:
        raise InputError(f"a note of {len(note)} characters", expected=f"at most {MAX_NOTE}")
    if await reader.one("case", "case_id", case_id) is None:
        raise NotFoundError("case", case_id[:80])
    return Case.of(await reader.run(work, reader.hub.cases))
