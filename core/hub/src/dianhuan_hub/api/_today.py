"""Today's list as GraphQL."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

import strawberry

from dianhuan_hub.api._access import Right
from dianhuan_hub.api._paging import MAX_FIRST
from dianhuan_hub.api._reader import Reader
from dianhuan_hub.api._results import GateAnswer
from dianhuan_hub.api._words import CaseState, Problem, Verdict, Words
from dianhuan_hub.ranking import ListLine
from dianhuan_sdk import InputError


@strawberry.type(description="One warning behind a visit, with what speaks for and against it.")
class ListedWarning:
    finding_id: str
    model_id: str
    rule: str
    verdict: Verdict
    score: float
    evidence: list[Words]
    counter: list[Words]
    gates: list[GateAnswer]


@strawberry.type(description="One visit.")
class Visit:
    rank: int
    arm: str = strawberry.field(description="ranked by priority, or random from the cases below the cut")
    case_id: str
    state: CaseState
    entity_id: str
    name: str | None
    division: str | None
    industry: str | None
    priority: float
    probability: float = strawberry.field(description="that the visit holds, as the ranking in force sees it")
    at_most_wasted: int | None = strawberry.field(
        description="of the ranked visits up to this one, with 95 %; null without a bound"
    )
    warnings: list[ListedWarning]


@strawberry.type(description="今日清单: the visits of a day.")
class TodaysList:
    day: date
    visits: list[Visit]
    bound: Words = strawberry.field(description="what is known of wasted trips among these visits")
    ranking: str = strawberry.field(description="version of the ranking that made it")
    published_at: datetime | None = strawberry.field(description="when it was fixed; null while it may change")
    sha256: str | None = strawberry.field(description="digest of the published lines")


ListResult = Annotated[TodaysList | Problem, strawberry.union("ListResult")]


async def todays_list(reader: Reader, day: date, k: int | None) -> TodaysList:
    """The visits of a day in the key's districts.

    Raises:
        AccessError: the role does not see sealed cases.
        InputError: `k` is out of range.
    """
    reader.grant.need(Right.SEALED)
    if k is not None and not 1 <= k <= MAX_FIRST:
        raise InputError(f"k: {k}", expected=f"1 … {MAX_FIRST}", hint="leave it out for the city's own capacity")
    await reader.audit("read list", day.isoformat())
    found = await reader.run(reader.hub.lists.todays, day, k, reader.grant.scope())
    zh, en = found.words
    return TodaysList(
        day=day,
        visits=[_visit(line) for line in found.lines],
        bound=Words(zh=zh, en=en),
        ranking=found.ranking,
        published_at=found.published_at,
        sha256=found.sha256 or None,
    )


def _visit(line: ListLine) -> Visit:
    return Visit(
        rank=line.rank,
        arm=line.arm,
        case_id=line.case_id,
        state=CaseState(line.state),
        entity_id=line.entity_id,
        name=line.name,
        division=line.division,
        industry=line.industry,
        priority=line.priority,
        probability=line.probability,
        at_most_wasted=line.at_most_wasted,
        warnings=[
            ListedWarning(
                finding_id=w["finding"],
                model_id=w["model"],
                rule=w["rule"],
                verdict=Verdict(w["verdict"]),
                score=w["score"],
                evidence=[Words(**t) for t in w["reasons"]],
                counter=[Words(**t) for t in w["counter"]],
                gates=[
                    GateAnswer(gate=g["gate"], passed=g["passed"], words=Words(zh=g["zh"], en=g["en"]))
                    for g in w["gates"]
                ],
            )
            for w in line.warnings
        ],
    )
