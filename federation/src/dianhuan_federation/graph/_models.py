"""Models that hubs shared: passports, what visits found by province, and what to do here."""

from __future__ import annotations

import asyncio
import statistics
from collections import defaultdict

import strawberry

from dianhuan_federation.evaluation import Counts, Estimate, advise, counts_by_model, estimate, read_passport
from dianhuan_federation.graph._pages import Scope
from dianhuan_federation.graph._words import FederatedFilter, RecordState
from dianhuan_sdk import InputError

_CURRENT = RecordState.CURRENT.value


@strawberry.type(description="Precision of a model's warnings: mean, and the ends of the central 90 % interval.")
class FederatedPrecision:
    province: str | None = strawberry.field(description="null = a province that has no verified case of it yet")
    found: int = strawberry.field(description="visits that found what the warning said")
    wasted: int = strawberry.field(description="visits that did not")
    mean: float
    low: float = strawberry.field(description="one-sided 95 % lower bound")
    high: float


@strawberry.type(description="What to do with it in a province.")
class FederatedAdvice:
    province: str
    action: str = strawberry.field(description="use, trial or withdraw")
    zh: str
    en: str


@strawberry.type(description="A model that hubs shared or that shared warnings name.")
class FederatedModel:
    model_id: str
    model_version: str
    publishers: list[str] = strawberry.field(description="hubs that published its definition")
    digests: list[str] = strawberry.field(description="digests of its definition; more than one is a disagreement")
    floor: float | None = strawberry.field(
        description="precision that its passports promise, the median of them; null without one"
    )
    passports: list[str] = strawberry.field(description="passports as JSON texts")
    precision: list[FederatedPrecision]
    newcomer: FederatedPrecision
    advice: list[FederatedAdvice] = strawberry.field(description="empty without a promised precision")


async def models(scope: Scope, wanted: FederatedFilter | None) -> list[FederatedModel]:
    """Every model with its evidence: outcomes in the replica, and for provinces without any those of passports."""
    prefix = scope.prefix(wanted)
    equals: dict[str, object] = {"state": _CURRENT}
    if wanted is not None and wanted.models is not None:
        equals["model_id"] = list(wanted.models)
    of_models = ["hub", "province", "record_id", "model_id", "model_version"]
    definitions, warnings, outcomes = await asyncio.gather(
        scope.rows("federated_model", equals=equals, prefix=prefix),
        scope.rows("federated_warning", columns=of_models, equals=equals, prefix=prefix),
        scope.rows(
            "federated_outcome", columns=["hub", "warning_id", "result"], equals={"state": _CURRENT}, prefix=prefix
        ),
    )
    counted = counts_by_model(warnings, outcomes)
    published = defaultdict(list)
    for row in definitions:
        published[row["model_id"], row["model_version"]].append(row)
    return [
        await asyncio.to_thread(_model, key, published[key], counted.get(key, []))
        for key in sorted(published.keys() | counted.keys())
    ]


def _model(key: tuple[str, str], definitions: list[dict[str, str]], counted: list[Counts]) -> FederatedModel:
    floors: list[float] = []
    texts = [row["passport"] for row in definitions if row["passport"]]
    own = {c.province: c for c in counted}
    for row in definitions:
        try:
            passport = read_passport(row["passport"] or "")
        except InputError:
            continue  # shown as it is; what it claims does not count
        floors.append(passport.floor)
        for counts in passport.counts:
            # A hub speaks for its own province; cases verified row by row count before what a passport sums up.
            if counts.province == row["province"]:
                own.setdefault(counts.province, counts)
    known = estimate(list(own.values()))
    rows = [
        FederatedPrecision(
            province=p,
            found=own[p].found,
            wasted=own[p].wasted,
            mean=known.of(p).mean,
            low=known.of(p).low,
            high=known.of(p).high,
        )
        for p in sorted(own)
    ]
    new = known.newcomer
    floor = statistics.median_low(floors) if floors else None
    return FederatedModel(
        model_id=key[0],
        model_version=key[1],
        publishers=sorted({row["hub"] for row in definitions}),
        digests=sorted({row["model_digest"] for row in definitions}),
        floor=floor,
        passports=texts,
        precision=rows,
        newcomer=FederatedPrecision(province=None, found=0, wasted=0, mean=new.mean, low=new.low, high=new.high),
        advice=[] if floor is None else [_advice(known, p, floor, own[p].judged) for p in sorted(own)],
    )


def _advice(known: Estimate, province: str, floor: float, judged: int) -> FederatedAdvice:
    given = advise(known, province, floor, judged)
    return FederatedAdvice(province=province, action=given.action, zh=given.zh, en=given.en)
