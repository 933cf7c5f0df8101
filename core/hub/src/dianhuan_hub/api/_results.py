"""What screening and the field produce: findings, warnings, cases with events and outcomes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import strawberry
from strawberry.scalars import JSON

from dianhuan_hub.api._context import Info
from dianhuan_hub.api._paging import Connection
from dianhuan_hub.api._words import CaseState, Node, OutcomeCode, Problem, Verdict, Words, described, global_id
from dianhuan_hub.cases import STATE_WORDS

if TYPE_CHECKING:
    from dianhuan_hub.api._entities import Entity

LazyEntity = Annotated["Entity", strawberry.lazy("dianhuan_hub.api._entities")]


async def _entity(info: Info, entity_id: str) -> Entity | None:
    from dianhuan_hub.api._entities import Entity

    row = await info.context.reader.entities.load(entity_id)
    return None if row is None else Entity.of(row)


@strawberry.type(description="What one gate said of a finding.")
class GateAnswer:
    gate: str
    passed: bool
    words: Words


@strawberry.type(description="What to draw: the days that show it and the slots [start, end) of a day that matter.")
class Exhibit:
    days: list[date]
    slots: list[int] = strawberry.field(description="two numbers 0 … 96; the span may wrap midnight")


@strawberry.type(description="线索: a model's claim about one enterprise on one day, with what every gate said.")
class Finding(Node):
    finding_id: str
    run_id: str
    model_id: str
    model_version: str
    rule: str
    entity_id: str
    day: date
    verdict: Verdict
    score: float
    passed: bool
    evidence: list[Words]
    counter: list[Words] = strawberry.field(description="what speaks against it")
    gates: list[GateAnswer]
    figures: JSON = strawberry.field(description="the numbers behind the evidence")
    exhibit: Exhibit | None
    context: list[str] = strawberry.field(description="gaps in context that lowered the score")

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Finding:
        """From a stored row."""
        exhibit = None if row["exhibit"] is None else json.loads(row["exhibit"])
        return cls(
            id=global_id("Finding", row["finding_id"]),
            verdict=Verdict(row["verdict"]),
            evidence=[Words(**w) for w in json.loads(row["reasons"])],
            counter=[Words(**w) for w in json.loads(row["counter"])],
            gates=[
                GateAnswer(gate=g["gate"], passed=g["passed"], words=Words(zh=g["zh"], en=g["en"]))
                for g in json.loads(row["gates"])
            ],
            figures=JSON(json.loads(row["evidence"])),
            exhibit=exhibit
            and Exhibit(days=[date.fromisoformat(d) for d in exhibit["days"]], slots=list(exhibit["slots"])),
            context=json.loads(row["context"]),
            **{
                name: row[name]
                for name in (
                    "finding_id",
                    "run_id",
                    "model_id",
                    "model_version",
                    "rule",
                    "entity_id",
                    "day",
                    "score",
                    "passed",
                )
            },
        )

    @strawberry.field
    async def entity(self, info: Info) -> LazyEntity | None:
        return await _entity(info, self.entity_id)


@strawberry.type(description="预警: a finding that passed its gates.")
class Warning(Node):
    warning_id: str
    finding_id: str
    case_id: str
    entity_id: str
    day: date
    model_id: str
    score: float
    raised_at: datetime

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Warning:
        """From a stored row."""
        return cls(id=global_id("Warning", row["warning_id"]), **row)

    @strawberry.field
    async def entity(self, info: Info) -> LazyEntity | None:
        return await _entity(info, self.entity_id)

    @described("The finding behind it.")
    async def finding(self, info: Info) -> Finding | None:
        rows = await info.context.reader.findings.load((self.entity_id, self.day))
        return next((Finding.of(r) for r in rows if r["finding_id"] == self.finding_id), None)


@strawberry.type(description="One step of a case.")
class CaseEvent:
    seq: int
    at: datetime
    actor: str | None = strawberry.field(description="null where the key has no right to personal data")
    state: CaseState
    note: str | None


@strawberry.type(description="核查结果: what a visit found.")
class Outcome:
    at: datetime
    code: OutcomeCode
    actor: str | None
    note: str | None


@strawberry.type(description="案件: one per enterprise and day, the warnings about it fused.")
class Case(Node):
    case_id: str
    entity_id: str
    day: date
    state: CaseState
    state_zh: str
    priority: float
    opened_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Case:
        """From a stored row."""
        return cls(
            id=global_id("Case", row["case_id"]),
            case_id=row["case_id"],
            entity_id=row["entity_id"],
            day=row["day"],
            state=CaseState(row["state"]),
            state_zh=STATE_WORDS[row["state"]],
            priority=row["priority"],
            opened_at=row["opened_at"],
            updated_at=row["updated_at"],
        )

    @strawberry.field
    async def entity(self, info: Info) -> LazyEntity | None:
        return await _entity(info, self.entity_id)

    @described("Its steps in order.")
    async def events(self, info: Info) -> list[CaseEvent]:
        rows = await info.context.reader.events.load(self.case_id)
        return [
            CaseEvent(seq=r["seq"], at=r["at"], actor=r["actor"], state=CaseState(r["state"]), note=r["note"])
            for r in rows
        ]

    @strawberry.field
    async def outcomes(self, info: Info) -> list[Outcome]:
        rows = await info.context.reader.outcomes.load(self.case_id)
        return [Outcome(at=r["at"], code=OutcomeCode(r["code"]), actor=r["actor"], note=r["note"]) for r in rows]

    @described("All findings about the enterprise on that day, strongest first.")
    async def findings(self, info: Info) -> list[Finding]:
        return [Finding.of(r) for r in await info.context.reader.findings.load((self.entity_id, self.day))]

    @strawberry.field
    async def warnings(self, info: Info) -> list[Warning]:
        return [Warning.of(r) for r in await info.context.reader.warnings.load(self.case_id)]


@strawberry.type
class FindingConnection(Connection[Finding]):
    pass


@strawberry.type
class WarningConnection(Connection[Warning]):
    pass


@strawberry.type
class CaseConnection(Connection[Case]):
    pass


FindingsResult = Annotated[FindingConnection | Problem, strawberry.union("FindingsResult")]
WarningsResult = Annotated[WarningConnection | Problem, strawberry.union("WarningsResult")]
CasesResult = Annotated[CaseConnection | Problem, strawberry.union("CasesResult")]
CaseResult = Annotated[Case | Problem, strawberry.union("CaseResult")]
