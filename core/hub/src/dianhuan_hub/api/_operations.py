"""What operators look at: models with their cards, plugins, loads, quarantine."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import strawberry

from dianhuan_hub.api._paging import C, Connection, Order, connection, page_request
from dianhuan_hub.api._reader import Reader, Row
from dianhuan_hub.api._words import BigInt, Node, Problem, Words, global_id
from dianhuan_hub.kernel.loader import PluginRecord
from dianhuan_hub.store import read_page
from dianhuan_sdk import ModelSpec

_BY_ID: Order = (("id", False),)


@strawberry.type(description="A plugin, how far it came, and what to do about it.")
class Plugin(Node):
    plugin_id: str
    kind: str
    state: str = strawberry.field(description="LOADED, REFUSED, FAILED or DISABLED")
    version: str
    distribution: str
    step: str
    models: list[str]
    adapters: list[str]
    paused: bool = strawberry.field(description="its circuit breaker is open")
    last_progress: datetime | None
    error: str
    expected: str
    hint: str

    @classmethod
    def of(cls, record: PluginRecord) -> Plugin:
        """From the hub's record."""
        facts = record.as_dict()
        return cls(
            id=global_id("Plugin", record.id),
            plugin_id=record.id,
            last_progress=record.last_progress,
            **{
                name: facts[name]
                for name in (
                    "kind",
                    "state",
                    "version",
                    "distribution",
                    "step",
                    "models",
                    "adapters",
                    "paused",
                    "error",
                    "expected",
                    "hint",
                )
            },
        )


@strawberry.type(description="模型卡: what is known of a model, and whether it runs here.")
class Model(Node):
    model_id: str
    version: str
    name: Words
    tier: str
    alarm_budget: float | None = strawberry.field(description="false alarms per enterprise-month")
    purpose: Words
    inputs: Words
    algorithm: Words
    source: str
    false_positives: list[Words]
    limits: list[Words]
    gates: list[str]
    window_days: int
    features: list[str]
    plugin: str | None = strawberry.field(description="plugin that brings it; null where this version is not loaded")
    state: str = strawberry.field(description="state of that plugin, or NOT_LOADED")

    @classmethod
    def of(cls, row: Mapping[str, Any], plugin: PluginRecord | None) -> Model:
        """From a model card as the store keeps it."""
        card = row["card"]
        return cls(
            id=global_id("Model", _model_key(row)),
            model_id=row["model_id"],
            version=row["version"],
            name=Words(zh=row["zh"], en=row["en"]),
            tier=row["tier"],
            alarm_budget=row["alarm_budget"],
            purpose=Words(**card["purpose"]),
            inputs=Words(**card["inputs"]),
            algorithm=Words(**card["algorithm"]),
            source=card["source"],
            false_positives=[Words(**w) for w in card["false_positives"]],
            limits=[Words(**w) for w in card["limits"]],
            gates=card["gates"],
            window_days=card["window_days"],
            features=card["features"],
            plugin=plugin.id if plugin else None,
            state=plugin.state if plugin else "NOT_LOADED",
        )


@strawberry.type(description="One transaction of intake: who brought what, from where, and what became of it.")
class Load(Node):
    load_id: int
    plugin: str
    plugin_version: str
    stream: str
    source: str
    sha256: str
    started_at: datetime
    committed_at: datetime
    accepted: BigInt
    quarantined: BigInt
    unchanged: BigInt
    corrected: BigInt
    origin: int | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Load:
        """From a stored row."""
        facts = {k: v for k, v in row.items() if k != "raw_ref"}
        return cls(id=global_id("Load", row["load_id"]), **facts)


@strawberry.type(description="A row that was refused, why, and whether it was replayed.")
class QuarantinedRow(Node):
    quarantine_id: BigInt
    load_id: int
    table_name: str
    row_no: BigInt | None
    code: str
    detail: str
    payload: str = strawberry.field(description="the row as JSON text, as the source gave it")
    in_contract_form: bool
    state: str
    replayed_by: int | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> QuarantinedRow:
        """From a stored row."""
        return cls(id=global_id("QuarantinedRow", row["quarantine_id"]), **row)


def _model_key(row: Mapping[str, Any]) -> str:
    return f"{row['model_id']}@{row['version']}"


def _card(spec: ModelSpec) -> Row:
    card = spec.card
    return {
        "model_id": spec.id,
        "version": spec.version,
        "zh": spec.zh,
        "en": spec.en,
        "tier": spec.tier,
        "alarm_budget": spec.alarm_budget,
        "card": {
            "purpose": card.purpose._asdict(),
            "inputs": card.inputs._asdict(),
            "algorithm": card.algorithm._asdict(),
            "source": card.source,
            "false_positives": [t._asdict() for t in card.false_positives],
            "limits": [t._asdict() for t in card.limits],
            "gates": list(spec.gates),
            "window_days": spec.window_days,
            "features": list(spec.features),
        },
    }


async def all_models(reader: Reader) -> list[Model]:
    """The models that are loaded, and those of earlier runs, by id and version."""
    order = (("model_id", False), ("version", False))
    query = reader.query("model_card")
    stored = await reader.run(read_page, reader.hub.store.engine, query, order=order, limit=10_000)
    found = {_model_key(row): Model.of({**row, "card": json.loads(row["card"])}, None) for row in stored.rows}
    for registered in reader.hub.plugins.models().values():
        row = _card(registered.spec)
        found[_model_key(row)] = Model.of(row, registered.plugin)
    return [found[key] for key in sorted(found)]


def all_plugins(reader: Reader) -> list[Plugin]:
    """All plugins by id."""
    return [Plugin.of(record) for record in sorted(reader.hub.plugins.records, key=lambda r: r.id)]


def page_of(
    kind: type[C], table: str, nodes: Sequence[Any], key: Callable[[Any], str], first: int, after: str | None
) -> C:
    """A page of a list that is held in memory, sorted by its key."""
    request = page_request(table, _BY_ID, first, after)
    rest = [n for n in nodes if request.after is None or key(n) > request.after[0]]
    rows = [{"id": key(n), "node": n} for n in rest[: request.limit]]

    async def count() -> int:
        return len(nodes)

    return connection(kind, table, _BY_ID, request, rows, len(rest) > request.limit, lambda r: r["node"], count)


@strawberry.type
class PluginConnection(Connection[Plugin]):
    pass


@strawberry.type
class ModelConnection(Connection[Model]):
    pass


@strawberry.type
class LoadConnection(Connection[Load]):
    pass


@strawberry.type
class QuarantineConnection(Connection[QuarantinedRow]):
    pass


PluginsResult = Annotated[PluginConnection | Problem, strawberry.union("PluginsResult")]
ModelsResult = Annotated[ModelConnection | Problem, strawberry.union("ModelsResult")]
LoadsResult = Annotated[LoadConnection | Problem, strawberry.union("LoadsResult")]
QuarantineResult = Annotated[QuarantineConnection | Problem, strawberry.union("QuarantineResult")]

__all__ = [
    "LoadConnection",
    "LoadsResult",
    "ModelConnection",
    "ModelsResult",
    "PluginConnection",
    "PluginsResult",
    "QuarantineConnection",
    "QuarantineResult",
    "QuarantinedRow",
    "all_models",
    "all_plugins",
    "page_of",
]
