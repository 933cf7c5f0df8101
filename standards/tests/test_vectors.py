"""The conformance vectors that are shipped as data, run against this implementation."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from dianhuan_standards import TABLES
from dianhuan_standards.calendar import WorkCalendar
from dianhuan_standards.identifiers import CHECKS
from dianhuan_standards.schema import json_schema, schema_text
from dianhuan_standards.tariffs import TariffBook
from dianhuan_standards.validate import validate_rows
from dianhuan_standards.words import REASONS

HOME = Path(__file__).parents[1]
SCHEMA_CODES = {"missing_value", "unknown_code", "bad_form", "below_range", "above_range", "unreadable_value"}


def _vectors(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HOME / "vectors" / name).read_text(encoding="utf-8"))
    return found


def test_identifiers() -> None:
    vectors = _vectors("identifiers.json")
    assert set(vectors) - {"about"} == set(CHECKS)
    for kind, check in CHECKS.items():
        for vector in vectors[kind]:
            assert check(vector["value"]) == vector["problem"], (kind, vector)


def test_calendar_days() -> None:
    calendar = WorkCalendar()
    for vector in _vectors("calendar.json")["days"]:
        day = calendar.day(date.fromisoformat(vector["day"]))
        found = {"day": day.day.isoformat(), "kind": day.kind, "name": day.name}
        assert {**found, "spring_offset": day.spring_offset, "provisional": day.provisional} == vector


def test_tariff_days() -> None:
    book = TariffBook.load()
    for vector in _vectors("tariffs.json")["days"]:
        tariff = book.day(vector["division"], date.fromisoformat(vector["day"]))
        expected: list[str] = []
        for span in vector["periods"]:
            (h0, m0), (h1, m1) = (map(int, span[end].split(":")) for end in ("from", "to"))
            assert len(expected) == h0 * 4 + m0 // 15
            expected += [span["period"]] * ((h1 * 60 + m1 - h0 * 60 - m0) // 15)
        assert (list(tariff.periods), tariff.provisional) == (expected, vector["provisional"]), vector


def _cases() -> list[Any]:
    tables = _vectors("tables.json")["tables"]
    return [pytest.param(name, tables[name], id=name) for name in tables]


@pytest.mark.parametrize(("table", "vectors"), _cases())
def test_table_rows(table: str, vectors: dict[str, Any]) -> None:
    report = validate_rows(vectors["valid"], table)
    assert report.ok, report.as_dict()
    for vector in vectors["invalid"]:
        # A second row carries every column, so that a column the first one lacks is still there.
        report = validate_rows([vector["row"], vectors["valid"][0]], table)
        assert [(r.row, r.column, r.code) for r in report.refusals] == [(1, vector["column"], vector["code"])], vector
        assert vector["code"] in REASONS


@pytest.mark.parametrize(("table", "vectors"), _cases())
def test_json_schema_agrees_on_what_it_can_say(table: str, vectors: dict[str, Any]) -> None:
    schema = jsonschema_rs.validator_for(json_schema(TABLES[table]), validate_formats=True)
    for row in vectors["valid"]:
        assert schema.is_valid(row), (row, [e.message for e in schema.iter_errors(row)])
    for vector in vectors["invalid"]:
        by_rule = {(rule.columns[0], rule.code) for rule in TABLES[table].rules}
        if vector["code"] in SCHEMA_CODES and (vector["column"], vector["code"]) not in by_rule:
            assert not schema.is_valid(vector["row"]), vector


def test_every_table_with_vectors_and_a_schema_is_a_standard_table() -> None:
    assert set(_vectors("tables.json")["tables"]) == set(TABLES)
    assert {path.stem for path in (HOME / "schemas").glob("*.json")} == set(TABLES)


@pytest.mark.parametrize("table", list(TABLES))
def test_the_shipped_schema_is_up_to_date(table: str) -> None:
    """Where this fails: `python -m dianhuan_standards.schema standards/schemas`."""
    shipped = (HOME / "schemas" / f"{table}.json").read_text(encoding="utf-8")
    assert shipped == schema_text(TABLES[table])


def test_every_reason_of_every_rule_has_words_in_both_languages() -> None:
    codes = {rule.code for contract in TABLES.values() for rule in contract.rules}
    assert codes <= set(REASONS)
    assert all(text.zh and text.en and text.zh != text.en for text in REASONS.values())
