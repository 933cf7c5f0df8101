"""Raw never leaves: canaries in every raw and personal column of the standard tables, through every shipped policy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from dianhuan_federation.cli import app
from dianhuan_federation.core import canonical, lines_of
from dianhuan_federation.policy import NEEDS, SHIPPED, EgressGate, compile_rows, flatten, shipped_terms
from dianhuan_sdk import InputError
from dianhuan_standards.tables import TABLES

NOW = datetime(2026, 11, 24, tzinfo=UTC)
DAY = date(2026, 11, 16)
KEY = b"a key of the city, random"
VALID = ("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z")
SHARED = {
    "entity": {"uscc": "91430100MA4L16JK8X", "division": "430201", "industry": "C2614"},
    "warning": {"model_id": "m05-night-only"},
    "finding": {"model_version": "1.2"},
    "outcome": {"code": "verified"},
}
"""The only text columns whose values may come out as they are."""

Tables = Mapping[str, list[dict[str, Any]]]


def planted(rows: int = 12) -> tuple[Tables, list[str]]:
    """Every standard table with a canary in every column that is not shared, and the canaries."""
    canaries: list[str] = []

    def value(table: str, name: str, kind: pa.DataType, number: int) -> Any:
        if name in SHARED.get(table, {}):
            return SHARED[table][name]
        if pa.types.is_string(kind):
            canaries.append(f"CANARY-{table}-{name}-{number}-5d81c3")
            return canaries[-1]
        if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
            return [77123.125 + number] * 96
        if pa.types.is_date(kind):
            return DAY
        if pa.types.is_timestamp(kind):
            return datetime(2026, 11, 17, 3, tzinfo=UTC)
        if pa.types.is_boolean(kind):
            return True
        if name == "score":
            return 0.5
        return 7712345 if pa.types.is_integer(kind) else 77123.125

    tables = {
        name: [{f.name: value(name, f.name, f.type, i) for f in contract.fields} for i in range(rows)]
        for name, contract in TABLES.items()
    }
    for i in range(rows):  # the references between tables hold, and are canaries themselves
        tables["warning"][i]["entity_id"] = tables["entity"][i]["entity_id"]
        tables["warning"][i]["finding_id"] = tables["finding"][i]["finding_id"]
        tables["warning"][i]["case_id"] = tables["outcome"][i]["case_id"]
        credit = f"91430100MA4L16J{i:02d}X"
        tables["entity"][i]["uscc"] = credit
    return tables, canaries


@pytest.mark.parametrize("id", SHIPPED)
def test_hostile_canaries_never_come_out(id: str) -> None:
    tables, canaries = planted()
    assignee = ["440100"] if SHIPPED[id]["class"] == "conditional" else []
    terms = shipped_terms(id, "430200", assignee, VALID)
    rows, left_out = flatten(terms.source, tables, KEY)
    assert (len(rows), left_out) == (12, 0)
    compiled = compile_rows(terms, rows, DAY, DAY + timedelta(7), NOW)
    EgressGate(canaries=tuple(canaries)).check(compiled.schema, compiled.rows.payload, assignee, DAY)
    text = compiled.rows.payload.decode()
    assert compiled.rows.count > 0
    assert "CANARY" not in text
    assert "77123" not in text
    assert "7712345" not in text
    if compiled.terms.aggregation is None:
        assert compiled.rows.count == 12
    else:
        assert any(json.loads(line)["value"] == "12.000" for line in lines_of(compiled.rows.payload))


@pytest.mark.parametrize("column", ["division", "industry", "model_id"])
def test_hostile_canary_in_a_shared_column_is_stopped(column: str) -> None:
    """Where a person's number was typed into a column that is shared, the row schema stops the batch."""
    tables, _ = planted()
    table = "warning" if column == "model_id" else "entity"
    tables[table][3][column] = "13812345678-5d81c3"
    terms = shipped_terms("warnings-to-grantees", "430200", ["440100"], VALID)
    rows, _ = flatten("warnings", tables, KEY)
    with pytest.raises(InputError, match=column):
        compile_rows(terms, rows, DAY, DAY + timedelta(7), NOW)


def test_hostile_canary_that_the_schema_lets_through_is_stopped_by_the_gate() -> None:
    tables, _ = planted()
    tables["warning"][3]["model_id"] = "m05-canary-5d81c3"
    terms = shipped_terms("warnings-to-grantees", "430200", ["440100"], VALID)
    rows, _ = flatten("warnings", tables, KEY)
    compiled = compile_rows(terms, rows, DAY, DAY + timedelta(7), NOW)
    EgressGate().check(compiled.schema, compiled.rows.payload, ["440100"], DAY)
    with pytest.raises(InputError, match="canary"):
        EgressGate(canaries=("m05-CANARY-5d81c3",)).check(compiled.schema, compiled.rows.payload, ["440100"], DAY)


@pytest.mark.parametrize("id", ["warning-counts", "verified-counts"])
def test_what_is_compiled_passes_the_verifier(world: ModuleType, id: str) -> None:
    """The logged policy and the compiled batch are accepted by a stranger, V1 to V10."""
    valid = (world.iso(world.NOW - 30 * world.DAY), world.iso(world.NOW + 30 * world.DAY))
    terms = shipped_terms(id, world.HUB, (), valid)
    tables, _ = planted()
    rows, _ = flatten(terms.source, tables, KEY)
    compiled = compile_rows(terms, rows, DAY, DAY + timedelta(7), datetime.fromtimestamp(world.NOW, UTC))
    log = world.Log()
    fields = terms.statement_fields()
    log.add_policy(
        **{("class" if k == "klass" else k): msgspec.to_builtins(v) for k, v in fields.items()},
    )
    batch = log.batch_fields(
        compiled.rows.payload,
        compiled.rows.count,
        compiled.rows.root,
        schema=fields["schema"],
        policy=0,
        disclosure=msgspec.to_builtins(compiled.disclosure),
    )
    batch["policy"] = {"id": terms.id, "digest": log.digests[0]}
    log.add(log.statement("statistic-batch", terms.target, batch, compiled.rows.payload))
    log.publish()
    report = world.verifier().verify(log.submission())
    assert [str(e.verdict.state) for e in report.entries] == ["accepted", "accepted"], report.entries[1].verdict
    assert terms.matches(report.entries[0].predicate)
    assert not shipped_terms("outcome-counts", world.HUB, (), valid).matches(report.entries[0].predicate)


def test_only_shareable_columns_are_read() -> None:
    for table, columns in NEEDS.items():
        for column in columns:
            assert not TABLES[table].field(column).personal
    assert not NEEDS.keys() & {"load_curve", "reading", "channel", "metering_point", "account_link"}


def test_rows_that_cannot_be_shared_are_counted() -> None:
    tables, _ = planted()
    tables["entity"][0]["uscc"] = None
    tables["entity"][1]["division"] = None
    tables["finding"][2]["finding_id"] = "another"
    rows, left_out = flatten("warnings", tables, KEY)
    assert (len(rows), left_out) == (9, 3)
    tables["outcome"].append({**tables["outcome"][5], "code": "not_found", "at": NOW})
    results = [row["result"] for row in flatten("outcomes", tables, KEY)[0]]
    assert results.count("not_found") == 1
    with pytest.raises(InputError, match="key"):
        flatten("warnings", tables, b"short")


def test_policy_check_command(tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    document = {
        "id": "counts",
        "version": 1,
        "assigner": "430200",
        "assignee": [],
        "target": "counts",
        "purpose": "joint enforcement",
        "onward": False,
        "fields": [c.name for c in shipped_terms("warning-counts", "430200", (), VALID).of.schemas[1].columns],
        "validFrom": VALID[0],
        "validUntil": VALID[1],
        **SHIPPED["warning-counts"],
    }
    file.write_bytes(canonical(document))
    result = CliRunner().invoke(app, ["policy", "check", str(file)])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["stream"] == "counts"
    file.write_bytes(canonical({**document, "fields": ["account_no"]}))
    result = CliRunner().invoke(app, ["policy", "check", str(file)])
    assert result.exit_code == 2
    assert "account_no" in json.loads(result.stderr)["message"]
