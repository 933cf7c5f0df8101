"""A city of two districts, one enterprise outside of it and one without a division, with keys of every role."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from fastapi import FastAPI

from dianhuan_hub.api import create_app
from dianhuan_hub.app import Hub, open_hub
from dianhuan_hub.kernel.clock import FixedClock
from dianhuan_hub.kernel.config import load_config, write_template
from dianhuan_hub.screening import case_id
from dianhuan_hub.store import (
    QUARANTINE_SCHEMA,
    Connection,
    CurveRows,
    LoadInfo,
    RegisterRows,
    Unit,
    day_number,
    put_case_event,
    put_results,
)
from dianhuan_standards import TABLES

Ask = Callable[..., Awaitable[dict[str, Any]]]

DAY = date(2026, 3, 2)
NOW = datetime(2026, 3, 3, 6, 30, tzinfo=UTC)
ROLES = ("viewer", "analyst", "dispatcher", "officer", "agency", "admin")
ENTITIES = {
    "E-A1": "430202",
    "E-A2": "430202",
    "E-B1": "430203",
    "E-B2": "430203",
    "E-OUT": "430302",
    "E-NONE": None,
}
DISPATCHED = ("E-A1", "E-B1", "E-OUT")


def _register(name: str, rows: list[dict[str, Any]]) -> RegisterRows:
    contract = TABLES[name]
    full = [{f.name: row.get(f.name) for f in contract.fields} for row in rows]
    return RegisterRows(contract, pa.Table.from_pylist(full, schema=contract.schema), tuple(contract.schema.names))


def _fill(hub: Hub) -> None:
    info = LoadInfo("grid_generic", "1", "load_curve", "grid", "ab", "", NOW)
    ids = list(ENTITIES)
    refused = pa.Table.from_pylist(
        [
            {
                "table_name": "load_curve",
                "row_no": i,
                "code": "unknown_account",
                "detail": "no such account",
                "payload": json.dumps({"account_no": f"X{i}"}),
                "in_contract_form": True,
            }
            for i in range(3)
        ],
        schema=QUARANTINE_SCHEMA,
    )
    registers = [
        _register(
            "entity",
            [
                {"entity_id": e, "name": f"{e}厂", "division": d, "industry": "C3011", "phone": f"tel {e}"}
                for e, d in ENTITIES.items()
            ],
        ),
        _register("metering_point", [{"metering_point_id": f"P-{e}", "account_no": f"N-{e}"} for e in ids]),
        _register(
            "account_link",
            [{"account_no": f"N-{e}", "entity_id": e, "valid_from": date(2020, 1, 1)} for e in ids]
            # the account of A2 fed B2 until the day before, so that day of it belongs to the other district
            + [{"account_no": "N-MOVED", "entity_id": "E-B2", "valid_from": date(2020, 1, 1), "valid_to": DAY}]
            + [{"account_no": "N-MOVED", "entity_id": "E-A2", "valid_from": DAY}],
        ),
        _register("metering_point", [{"metering_point_id": "P-MOVED", "account_no": "N-MOVED"}]),
        _register(
            "permit",
            [
                {"permit_no": f"L-{e}", "entity_id": e, "permit_class": "key", "valid_from": date(2020, 1, 1)}
                for e in ids
            ],
        ),
    ]
    hub.store.commit(Unit(info, registers=registers, refused=refused))
    points = [*(f"P-{e}" for e in ids), "P-MOVED"]
    mp = hub.store.topology().point_ordinals(pa.array(points))
    order = np.argsort(mp)
    for back in (1, 0):
        day = day_number(DAY) - back
        kw = np.arange(len(points) * 96, dtype=np.float32).reshape(-1, 96)
        kw[:, 5] = np.nan
        rows = CurveRows(
            mp[order],
            np.full(len(points), day, np.int32),
            kw[order],
            np.full(len(points), 96, np.uint8),
            np.full(len(points), np.nan),
            order,
        )
        hub.store.commit(Unit(info, curves=rows))
    hub.store.write(_fill_results)


def _fill_results(con: Connection) -> None:
    findings, warnings, cases, outcomes = [], [], [], []
    words = json.dumps([{"zh": "夜间用电", "en": "load at night"}], ensure_ascii=False)
    for i, entity in enumerate(ENTITIES):
        case = case_id(entity, DAY)
        for model in ("m05-night-only", "m10-peer-outlier"):
            finding = f"F-{entity}-{model[:3]}"
            score = 0.5 + i / 20 if model.startswith("m05") else 0.3
            findings.append(
                {
                    "finding_id": finding,
                    "run_id": "R1",
                    "model_id": model,
                    "model_version": "1",
                    "rule": "night_only",
                    "entity_id": entity,
                    "day": DAY,
                    "verdict": "suspect",
                    "score": score,
                    "reasons": words,
                    "counter": words,
                    "evidence": json.dumps({"night_kwh": 12.5}),
                    "exhibit": json.dumps({"days": [DAY.isoformat()], "slots": [88, 24]}),
                    "context": "[]",
                    "gates": json.dumps([{"gate": "G2", "passed": True, "zh": "无停电", "en": "no outage"}]),
                    "passed": model.startswith("m05"),
                }
            )
            if model.startswith("m05"):
                warnings.append(
                    {
                        "warning_id": f"W-{entity}",
                        "finding_id": finding,
                        "case_id": case,
                        "entity_id": entity,
                        "day": DAY,
                        "model_id": model,
                        "score": score,
                        "raised_at": NOW,
                    }
                )
        sent = entity in DISPATCHED
        cases.append(
            {
                "case_id": case,
                "entity_id": entity,
                "day": DAY,
                "state": "assigned" if sent else "found",
                "priority": 0.9 - i / 20,
                "opened_at": NOW,
                "updated_at": NOW,
            }
        )
        for state in ("found", "assessed", "assigned") if sent else ("found",):
            put_case_event(con, case, NOW, "hub", state, f"note about {entity}")
        if sent:
            outcomes.append({"case_id": case, "code": "verified", "at": NOW, "actor": "王", "note": f"saw {entity}"})
    for table, rows in (("finding", findings), ("warning", warnings), ("case", cases), ("outcome", outcomes)):
        put_results(con, table, rows)


def _keys() -> str:
    """One key per role and scope, named `ROLE-a` (430202), `ROLE-b` (430203) and `ROLE-city` (4302)."""
    text = ""
    for role in ROLES:
        for scope, division in (("a", "430202"), ("b", "430203"), ("city", "430200")):
            digest = hashlib.sha256(f"secret-{role}-{scope}".encode()).hexdigest()
            text += f'\n[keys.{role}-{scope}]\nsha256 = "{digest}"\nrole = "{role}"\n'
            text += f'divisions = ["{division}"]\npurpose = "执法"\n'
    return text


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A filled hub; tests of one module share it."""
    file = tmp_path_factory.mktemp("hub") / "hub.toml"
    write_template(file, "株洲市", "430200")
    file.write_text(file.read_text("utf-8") + _keys(), "utf-8")
    with open_hub(load_config(file, {}), clock=FixedClock(NOW + timedelta(hours=1))) as hub:
        _fill(hub)
        yield hub


@pytest.fixture(scope="module")
def app(hub: Hub) -> FastAPI:
    """The API over that hub."""
    return create_app(hub)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
        yield client


@pytest.fixture
def ask(client: httpx.AsyncClient) -> Ask:
    """Sends a GraphQL document: `ask("officer-a", "{ … }", variable=…)`; answers the body."""

    async def send(key: str, query: str, **variables: Any) -> dict[str, Any]:
        response = await client.post(
            "/graphql",
            json={"query": query, "variables": variables},
            headers={"Authorization": f"Bearer secret-{key}"},
        )
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    return send
