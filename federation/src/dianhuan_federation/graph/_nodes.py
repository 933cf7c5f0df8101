"""Types of shared records; each knows who said it, who saw it, and how it stands."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any

import strawberry

from dianhuan_federation.graph._pages import Scope
from dianhuan_federation.graph._words import HubState, RecordState, described


@strawberry.type(description="Who said it, when witnesses saw it, under which model and policy.")
class FederatedProvenance:
    origin: str = strawberry.field(description="the log: <authority>/<division code>/r<epoch>")
    index: int = strawberry.field(description="place in the log")
    leaf_hash: str = strawberry.field(description="RFC 6962 leaf hash of the signed entry, hex")
    statement_digest: str | None = strawberry.field(description="SHA-256 of the statement, hex")
    checkpoint_size: int = strawberry.field(description="size of the tree head under which it was verified")
    witnesses: list[str]
    witnessed_at: datetime | None = strawberry.field(description="median time of the witnesses' cosignatures")
    issued_at: datetime | None = strawberry.field(description="the signer's own clock; proves nothing")
    key_ids: list[str]
    suites: list[str] = strawberry.field(description="signature suites of those keys")
    model: str | None = strawberry.field(description="model and version, e.g. m05-night-only@1.0")
    policy: str | None = strawberry.field(description="sharing policy under which it left its city")
    state: str = strawberry.field(description="of the statement: ACCEPTED, SOFT_FAIL, …")
    code: str | None = strawberry.field(description="reason code where it is not accepted")


@strawberry.type(description="Another party contests a record; nothing of it changes in its origin's log.")
class FederatedDispute:
    hub: str = strawberry.field(description="who contests")
    origin: str
    index: int
    reason: str | None
    witnessed_at: datetime | None


@strawberry.interface(description="A record that a hub shared.")
class FederatedRecord:
    scope: strawberry.Private[Scope]
    origin_: strawberry.Private[str]
    index_: strawberry.Private[int]
    record_id: str = strawberry.field(description="unique in its stream")
    hub: str = strawberry.field(description="GB/T 2260 code of the city that shared it")
    province: str
    state: RecordState

    @described("Who said it, who saw it, under what.")
    async def provenance(self) -> FederatedProvenance:
        s = await self.scope.statement(self.origin_, self.index_)
        model = f"{s['model_id']}@{s['model_version']}" if s.get("model_id") else None
        return FederatedProvenance(
            origin=self.origin_,
            index=self.index_,
            leaf_hash=s["leaf_hash"],
            statement_digest=s["statement_digest"],
            checkpoint_size=s["checkpoint_size"],
            witnesses=_list(s["witnesses"]),
            witnessed_at=s["witnessed_at"],
            issued_at=s["issued_at"],
            key_ids=_list(s["key_ids"]),
            suites=_list(s["suites"]),
            model=model,
            policy=s["policy_id"],
            state=s["state"],
            code=s["code"] or None,
        )

    @described("Who contests it.")
    async def disputes(self) -> list[FederatedDispute]:
        wanted = {"disputed": self.origin_, "target_index": self.index_, "state": RecordState.CURRENT.value}
        found = await self.scope.rows("federated_dispute", equals=wanted, limit=50)
        return [
            FederatedDispute(
                hub=row["hub"],
                origin=row["origin"],
                index=row["index"],
                reason=row["reason"],
                witnessed_at=row["witnessed_at"],
            )
            for row in found
            if self.record_id in (_list(row["record_ids"]) or [self.record_id])
        ]


@strawberry.type(
    description="A warning that a hub shared; enterprise is the code after GB 32100, if the policy lets it go."
)
class FederatedWarning(FederatedRecord):
    enterprise: str | None
    division: str | None
    industry: str | None
    day: date | None
    model_id: str | None
    model_version: str | None
    score: float | None


@strawberry.type(description="What a visit found. warningId is a record of the same hub.")
class FederatedCase(FederatedRecord):
    warning_id: str | None
    division: str | None
    result: str | None
    closed_at: datetime | None


@strawberry.type(description="One cell of a statistic; a suppressed cell has neither value nor contributors.")
class FederatedStatistic(FederatedRecord):
    division: str | None
    industry: str | None = strawberry.field(description="null = all industries")
    period_start: date | None
    period_end: date | None
    measure: str | None
    unit: str | None
    value: float | None
    contributors: int | None
    count_precision: str | None


@strawberry.type(description="A hub whose log is followed here.")
class FederatedHub:
    hub: str
    province: str
    name: str | None
    origin: str
    state: HubState
    size: int = strawberry.field(description="entries verified")
    root: str | None
    witnessed_at: datetime | None
    witnesses: list[str]
    last_pull_at: datetime | None
    last_ok_at: datetime | None
    code: str | None
    detail: str | None
    evidence: str | None = strawberry.field(description="file that proves a fork to third parties")

    @classmethod
    def of(cls, row: dict[str, Any]) -> FederatedHub:
        """From a row of `federated_log`."""
        same = ("hub", "province", "name", "origin", "size", "root", "witnessed_at", "last_pull_at", "last_ok_at")
        return cls(
            **{name: row[name] for name in same},
            state=HubState(row["state"]),
            witnesses=_list(row["witnesses"]),
            code=row["code"] or None,
            detail=row["detail"] or None,
            evidence=row["evidence"] or None,
        )


def record_of(kind: type[Any], scope: Scope, row: dict[str, Any]) -> Any:
    """A record of a kind from its row."""
    own = {f.name for f in kind.__dataclass_fields__.values()}
    values = {name: value for name, value in row.items() if name in own and name != "state"}
    return kind(**values, scope=scope, origin_=row["origin"], index_=row["index"], state=RecordState(row["state"]))


def _list(text: str | None) -> list[str]:
    return [str(item) for item in json.loads(text)] if text else []
