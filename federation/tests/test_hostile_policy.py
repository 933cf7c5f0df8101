"""Hostile policies and payloads: nothing that a policy says, or a compiler lets through, brings raw data out."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dianhuan_federation.core import (
    NAMELESS_WARNING_ROWS,
    STATISTIC_ROWS,
    WARNING_ROWS,
    Column,
    RowSchema,
    canonical,
    lines_of,
)
from dianhuan_federation.policy import (
    BANNED,
    SHIPPED,
    SOURCES,
    DisclosureRule,
    EgressGate,
    GateRules,
    Sent,
    SharingTerms,
    compile_rows,
    is_safe,
    read_terms,
    shipped_terms,
)
from dianhuan_sdk import InputError
from dianhuan_standards.tables import TABLES

NOW = datetime(2026, 11, 24, tzinfo=UTC)
DAY = date(2026, 11, 16)
VALID = ("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z")
USCC = "91430100MA4L16JK8X"
RULE = DisclosureRule(rule="p-percent")

Row = dict[str, Any]


def terms(id: str = "warning-counts", **changes: Any) -> SharingTerms:
    """A shipped policy, with changes in its JSON."""
    return read_terms(canonical({**document(id), **changes}))


def document(id: str = "warning-counts") -> dict[str, Any]:
    """The JSON of a shipped policy."""
    schema = SHIPPED[id]["schema"]
    columns = SOURCES[SHIPPED[id]["source"]].schema_of(schema["id"], schema["version"]).columns
    return {
        "id": id,
        "version": 1,
        "assigner": "430200",
        "assignee": ["440100"] if SHIPPED[id]["class"] == "conditional" else [],
        "target": id,
        "purpose": "joint enforcement",
        "onward": False,
        "fields": [c.name for c in columns],
        "validFrom": VALID[0],
        "validUntil": VALID[1],
        **SHIPPED[id],
    }


def row(number: int, who: str = "", industry: str | None = "C2614", day: date = DAY, division: str = "430201") -> Row:
    """A row of source `warnings`."""
    return {
        "record_id": f"r{number:04d}",
        "contributor": who or f"e{number}",
        "enterprise": USCC,
        "division": division,
        "industry": industry,
        "day": day.isoformat(),
        "model_id": "m05-night-only",
        "model_version": "1.2",
        "score": "0.5000",
        "raised_at": "2026-11-24T06:30:00Z",
    }


def rows(count: int, industry: str = "C2614", first: int = 0, **more: Any) -> list[Row]:
    """Rows of so many enterprises."""
    return [row(i, industry=industry, **more) for i in range(first, first + count)]


def table(given: Sequence[Mapping[str, object]], policy: SharingTerms | None = None, **more: Any) -> dict[str, Any]:
    """Industry (or `all`) → value, None where suppressed."""
    compiled = compile_rows(policy or terms(), given, DAY, DAY + timedelta(7), NOW, **more)
    parsed = [json.loads(line) for line in lines_of(compiled.rows.payload)]
    return {r["industry"] or "all": r["value"] and int(float(r["value"])) for r in parsed}


TERMS: dict[str, dict[str, Any]] = {
    "field outside the schema": {"fields": [*document()["fields"], "account_no"]},
    "field left out": {"fields": document()["fields"][1:]},
    "field twice": {"fields": [*document()["fields"], document()["fields"][0]]},
    "unknown term": {"prohibition": []},
    "unknown class": {"class": "public"},
    "source of raw load": {"source": "load_curve"},
    "schema of rows for a table": {"schema": {"id": "warning", "version": "1.1"}},
    "schema with names": {"schema": {"id": "warning", "version": "1.0"}},
    "k below five": {"disclosure": {"rule": "p-percent", "k": 4}},
    "p below ten": {"disclosure": {"rule": "p-percent", "p": 9}},
    "dominance that allows all": {"disclosure": {"rule": "dominance", "share": 100}},
    "no disclosure control": {"disclosure": None},
    "no aggregation": {"aggregation": None},
    "daily statistic": {"aggregation": {"measure": "w", "unit": "1", "by": "division", "minDays": 1}},
    "cells by enterprise": {"aggregation": {"measure": "w", "unit": "1", "by": "enterprise"}},
    "sum of a text": {"aggregation": {"measure": "w", "unit": "1", "by": "division", "value": "score"}},
    "filter on a hidden field": {"constraint": [{"leftOperand": "contributor", "operator": "eq", "rightOperand": "e"}]},
    "filter with a list for eq": {"constraint": [{"leftOperand": "division", "operator": "eq", "rightOperand": ["1"]}]},
    "filter operator": {"constraint": [{"leftOperand": "division", "operator": "like", "rightOperand": "4"}]},
    "ends before it begins": {"validUntil": "2025-01-01T00:00:00Z"},
    "time without zone": {"validFrom": "2026-01-01T00:00:00"},
    "conditional for everyone": {"class": "conditional"},
    "unconditional with an assignee": {"assignee": ["440100"]},
    "assignee that is no hub": {"assignee": ["*"], "class": "conditional"},
    "version 0": {"version": 0},
    "stream with a path": {"target": "../../trust"},
}


@pytest.mark.parametrize("name", TERMS)
def test_hostile_terms_are_refused(name: str) -> None:
    assert terms()  # unchanged they are good
    with pytest.raises(InputError):
        terms(**TERMS[name])


def test_hostile_single_rows_for_everyone_are_refused() -> None:
    with pytest.raises(InputError, match="single rows"):
        terms("warnings-to-grantees", **{"class": "unconditional", "assignee": []})


def test_hostile_policy_bytes() -> None:
    for data in (b"", b"[]", b"null", b'{"id":"a","id":"b"}', b"\xff", canonical(document())[:-1]):
        with pytest.raises(InputError):
            read_terms(data)


@pytest.mark.parametrize(
    ("changes", "now"),
    [
        ({"class": "withheld"}, NOW),
        ({}, datetime(2025, 12, 31, tzinfo=UTC)),
        ({}, datetime(2027, 1, 1, tzinfo=UTC)),
    ],
    ids=["withheld", "not yet", "expired"],
)
def test_hostile_release_out_of_force(changes: dict[str, Any], now: datetime) -> None:
    with pytest.raises(InputError):
        compile_rows(terms(**changes), rows(9), DAY, DAY + timedelta(7), now)


def test_hostile_unknown_field_in_a_row_is_refused() -> None:
    for extra in ({"kw": [1.0] * 96}, {"account_no": "1"}):
        with pytest.raises(InputError, match="exactly"):
            compile_rows(terms(), [{**row(1), **extra}], DAY, DAY + timedelta(7), NOW)
    short = row(1)
    del short["industry"]
    with pytest.raises(InputError, match="industry"):
        compile_rows(terms(), [short], DAY, DAY + timedelta(7), NOW)


def test_hostile_record_counted_twice() -> None:
    with pytest.raises(InputError, match="twice"):
        table([row(1, "a"), row(1, "b")])


def test_hostile_short_period() -> None:
    with pytest.raises(InputError, match="days"):
        compile_rows(terms(), rows(9), DAY, DAY + timedelta(6), NOW)


def test_only_the_period_and_the_filter_are_counted() -> None:
    only = terms(constraint=[{"leftOperand": "industry", "operator": "isAnyOf", "rightOperand": ["C3011"]}])
    given = [*rows(7, "C3011"), *rows(7, first=20), *rows(7, "C3011", first=40, day=DAY + timedelta(7))]
    assert table(given, only) == {"C3011": 7, "all": 7}


def test_hostile_k_below_threshold() -> None:
    assert table([*rows(4), *rows(4, "C3011", first=10)]) == {"C2614": None, "C3011": None, "all": 8}
    # Forty warnings of four enterprises are still four contributors.
    assert table([row(i, f"e{i % 4}") for i in range(40)]) == {"C2614": None, "all": None}


def test_hostile_dominance() -> None:
    big = [row(i, "big") for i in range(100)]
    assert table([*big, *rows(6, first=200)]) == {"C2614": None, "all": None}
    assert not is_safe([("a", 1000), ("b", 500), *((f"s{i}", 10) for i in range(9))], RULE)
    assert is_safe([("a", 1000), ("b", 500), *((f"s{i}", 10) for i in range(10))], RULE)
    rule = DisclosureRule(rule="dominance", n=2, share=85)
    assert is_safe([("a", 50), ("b", 35), ("c", 5), ("d", 5), ("e", 5)], rule)
    assert not is_safe([("a", 50), ("b", 36), ("c", 5), ("d", 5), ("e", 5)], rule)
    # Signs do not hide a giant.
    assert not is_safe([("a", 1000), ("a", -2000), *((f"s{i}", 1) for i in range(9))], RULE)


def test_hostile_total_minus_cells() -> None:
    """One small cell beside its total would be the difference: another is suppressed with it, or the total."""
    assert table([*rows(3), *rows(6, "C3011", first=10), *rows(20, "C3120", first=20)]) == {
        "C2614": None,
        "C3011": None,
        "C3120": 20,
        "all": 29,
    }
    assert table([*rows(3), *rows(4, "C3011", first=10)]) == {"C2614": None, "C3011": None, "all": 7}
    assert table([*rows(1), *rows(2, "C3011", first=10), *rows(20, "C3120", first=20)]) == {
        "C2614": None,
        "C3011": None,
        "C3120": None,
        "all": 23,
    }


def test_hostile_rows_without_an_industry_do_not_come_out_by_subtraction() -> None:
    assert table([*rows(9), row(50, industry=None)]) == {"C2614": 9}


def test_hostile_difference_of_two_releases() -> None:
    """The same week again with one plant more, one less, or other amounts: refused; with five more: released."""
    first = compile_rows(terms(), rows(9), DAY, DAY + timedelta(7), NOW)
    assert len(first.released) == 2
    earlier = first.released
    assert table(rows(9), earlier=earlier) == {"C2614": 9, "all": 9}
    assert table(rows(10), earlier=earlier) == {"C2614": None, "all": None}
    assert table(rows(8), earlier=earlier) == {"C2614": None, "all": None}
    swapped = [*rows(8), row(99)]
    assert table(swapped, earlier=earlier) == {"C2614": None, "all": None}
    assert table(rows(14), earlier=earlier) == {"C2614": 14, "all": 14}


def test_hostile_difference_by_another_filter() -> None:
    both = compile_rows(terms(), [*rows(9), *rows(1, "C3011", first=50)], DAY, DAY + timedelta(7), NOW)
    assert [len(cell) for cell in both.released] == [10]
    wide = compile_rows(terms(aggregation=_by_division()), [*rows(9), row(50, industry="C3011")], *_week())
    assert [len(cell) for cell in wide.released] == [10]
    narrow = terms(constraint=[{"leftOperand": "industry", "operator": "eq", "rightOperand": "C2614"}])
    assert table([*rows(9), row(50, industry="C3011")], narrow, earlier=wide.released) == {"C2614": None, "all": None}


def test_hostile_cells_that_add_up_to_a_hidden_total() -> None:
    """The total differs by one plant from an earlier one; cells that are all shown would still give it."""
    before = [*rows(6), *rows(5, "C3011", first=10)]
    wide = compile_rows(terms(aggregation=_by_division()), before, *_week())
    assert [len(cell) for cell in wide.released] == [11]
    assert table([*before, row(50, industry="C3011")], earlier=wide.released) == {
        "C2614": None,
        "C3011": 6,
        "all": None,
    }


def test_hostile_weeks_subtracted_from_their_month() -> None:
    weeks = [rows(6, first=10 * i, day=DAY + timedelta(i)) for i in range(3)]
    earlier = [{r["record_id"]: (r["contributor"], 1) for r in week} for week in weeks]
    late = rows(3, first=90, day=DAY + timedelta(5))
    assert table([r for week in weeks for r in week], earlier=earlier) == {"C2614": 18, "all": 18}
    assert table([*(r for week in weeks for r in week), *late], earlier=earlier) == {"C2614": None, "all": None}


def _by_division() -> dict[str, Any]:
    return {"measure": "warnings", "unit": "1", "by": "division", "minDays": 7}


def _week() -> tuple[date, date, datetime]:
    return DAY, DAY + timedelta(7), NOW


def test_counts_say_how_exact_they_are() -> None:
    rounded = terms(disclosure={"rule": "p-percent", "roundTo": 5})
    given = [*rows(3), *rows(4, "C3011", first=10), *rows(21, "C3120", first=20)]
    compiled = compile_rows(rounded, given, *_week())
    parsed = [json.loads(line) for line in lines_of(compiled.rows.payload)]
    assert {(r["industry"], r["value"], r["contributors"], r["count_precision"]) for r in parsed} == {
        ("C2614", None, None, "suppressed"),
        ("C3011", None, None, "suppressed"),
        ("C3120", "20.000", 20, "rounded"),
        (None, "30.000", 30, "rounded"),
    }
    assert (compiled.disclosure.suppressed, compiled.disclosure.precision) == (2, "rounded")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.sampled_from(["C26", "C30", "C31", "C32"]), st.integers(0, 2)), max_size=60
    )
)
def test_hostile_property_no_line_reveals_an_unsafe_sum(raw: list[tuple[int, str, int]]) -> None:
    given_rows = [row(i, f"e{who}", industry, division=f"43020{d}") for i, (who, industry, d) in enumerate(raw)]
    compiled = compile_rows(terms(), given_rows, *_week())
    for division in {r["division"] for r in given_rows}:
        here = [json.loads(line) for line in lines_of(compiled.rows.payload)]
        here = [r for r in here if r["division"] == division]
        hidden = {r["industry"] for r in here if r["value"] is None and r["industry"]}
        for r in here:
            if r["value"] is not None:
                parts = [
                    (x["contributor"], 1)
                    for x in given_rows
                    if x["division"] == division and r["industry"] in (None, x["industry"])
                ]
                assert is_safe(parts, RULE)
                assert float(r["value"]) == len(parts)
        total = next(r for r in here if r["industry"] is None)
        if total["value"] is not None and hidden:
            assert len(hidden) > 1
            assert is_safe(
                [(x["contributor"], 1) for x in given_rows if x["division"] == division and x["industry"] in hidden],
                RULE,
            )


def schema_with(name: str, kind: Any = "text", **more: Any) -> RowSchema:
    """A schema of one more column."""
    return RowSchema("x", "1.0", (Column(name, kind, **more),))


def line(**fields: Any) -> bytes:
    """A payload of one row."""
    return canonical({"record_id": "a", **fields}) + b"\n"


def good_statistic(**changes: Any) -> dict[str, Any]:
    """A row of a statistic."""
    return {
        "record_id": "a",
        "division": "430201",
        "industry": "C2614",
        "period_start": "2026-11-01",
        "period_end": "2026-11-08",
        "measure": "warnings",
        "unit": "1",
        "value": "9.000",
        "contributors": 9,
        "count_precision": "exact",
        **changes,
    }


def statistic(**changes: Any) -> bytes:
    """One line of it."""
    return canonical(good_statistic(**changes)) + b"\n"


PERSONAL = sorted({f.name for t in TABLES.values() for f in t.fields if f.personal})


@pytest.mark.parametrize("name", [*PERSONAL, "kw", "kwh", "device_at", "channel_id", "meter_no", "entity_id"])
def test_hostile_banned_column(name: str) -> None:
    with pytest.raises(InputError, match="never leaves"):
        EgressGate().check(schema_with(name), line(**{name: "1"}), (), DAY)


def test_every_personal_column_is_banned_by_name() -> None:
    assert {name.casefold() for name in PERSONAL} <= BANNED
    assert "kw" in BANNED
    assert all(c.name not in BANNED for s in (NAMELESS_WARNING_ROWS, STATISTIC_ROWS) for c in s.columns)
    with pytest.raises(InputError, match="enterprise_name"):
        EgressGate().check(WARNING_ROWS, b"", (), DAY)


SERIES: dict[str, Any] = {
    "list of numbers": [1, 2, 3],
    "empty list": [],
    "object": {"a": 1},
    "numbers with commas": "1.2,3.4,5.6,7.8",
    "numbers with blanks": "12 13 14 15 16",
    "list as text": "[1, 2, 3, 4]",
    "numbers with slashes": "x 1/2/3/4",
    "telephone": "call 13812345678",
    "mail": "someone@example.com",
}


@pytest.mark.parametrize("name", SERIES)
def test_hostile_value(name: str) -> None:
    EgressGate().check(schema_with("word"), line(word="steel"), (), DAY)
    with pytest.raises(InputError, match="egress gate"):
        EgressGate().check(schema_with("word"), line(word=SERIES[name]), (), DAY)
    if isinstance(SERIES[name], str):
        with pytest.raises(InputError, match="egress gate"):
            EgressGate().check_text(SERIES[name])


CANARY = "CANARY-7f3a9c51e2"


@pytest.mark.parametrize(
    "form",
    [
        CANARY,
        CANARY.lower(),
        f"x{CANARY}y",
        CANARY.encode().hex(),
        base64.b64encode(CANARY.encode()).decode(),
        base64.b64encode(b"a" + CANARY.encode() + b"zz").decode(),
        base64.b64encode(b"ab" + CANARY.encode()).decode(),
        "".join(chr(ord(c) + 0xFEE0) for c in CANARY),
    ],
    ids=["plain", "lower", "inside", "hex", "base64", "base64+1", "base64+2", "full width"],
)
def test_hostile_canary_in_output(form: str) -> None:
    gate = EgressGate(canaries=(CANARY,))
    gate.check(schema_with("word"), line(word="steel"), (), DAY)
    with pytest.raises(InputError, match="canary"):
        gate.check(schema_with("word"), line(word=form), (), DAY)


def test_hostile_row_that_is_not_its_schema() -> None:
    for payload in (line(), line(word="a", other="b"), b"[]\n", b'{"record_id":"a","word":1.5}\n'):
        with pytest.raises(InputError):
            EgressGate().check(schema_with("word"), payload, (), DAY)


def test_hostile_grain_and_density() -> None:
    gate = EgressGate()
    gate.check(STATISTIC_ROWS, statistic(), (), DAY)
    with pytest.raises(InputError, match="period of 6 days"):
        gate.check(STATISTIC_ROWS, statistic(period_end="2026-11-07"), (), DAY)
    with pytest.raises(InputError, match="twice"):
        gate.check(STATISTIC_ROWS, statistic() + statistic(record_id="b"), (), DAY)
    warning = {k: v for k, v in row(1).items() if k != "contributor"}
    many = b"".join(canonical({**warning, "record_id": f"r{i:02d}", "score": f"0.{i:04d}"}) + b"\n" for i in range(96))
    with pytest.raises(InputError, match="96 rows about one enterprise"):
        gate.check(NAMELESS_WARNING_ROWS, many, ("440100",), DAY)
    with pytest.raises(InputError, match="at most 95"):
        EgressGate(GateRules(rows=95)).check(NAMELESS_WARNING_ROWS, many, ("440100",), DAY)


def test_hostile_budget() -> None:
    """Each recipient's budget counts what everyone got too; a window that moved on is free again."""
    gate = EgressGate(GateRules(budget_batches=2, budget_rows=100))
    ask: Callable[..., None] = lambda who, sent: gate.check(STATISTIC_ROWS, statistic(), who, DAY, sent)  # noqa: E731
    ask(("440100",), [Sent(DAY, ("440100",), 1)])
    with pytest.raises(InputError, match="budget of 440100"):
        ask(("450100", "440100"), [Sent(DAY, ("440100",), 1), Sent(DAY, (), 1)])
    with pytest.raises(InputError, match="budget"):
        ask(("440100",), [Sent(DAY, ("440100",), 100)])
    with pytest.raises(InputError, match="budget"):
        ask((), [Sent(DAY, ("440100",), 100)])
    ask(("440100",), [Sent(DAY - timedelta(30), ("440100",), 100)])
    with pytest.raises(InputError, match="budget"):  # a clock set back does not give a new budget
        ask(("440100",), [Sent(DAY + timedelta(400), ("440100",), 100)])


@pytest.mark.parametrize(
    "limits", [{"min_days": 1}, {"entity_rows": 96}, {"rows": 10**9}, {"budget_days": 1}, {"budget_rows": 10**12}]
)
def test_hostile_wider_gate(limits: dict[str, int]) -> None:
    with pytest.raises(InputError, match="wider"):
        GateRules(**limits)


def test_no_source_reads_a_personal_or_raw_column() -> None:
    for source in SOURCES.values():
        for origin in source.fields.values():
            table_name, _, column = origin.partition(".")
            field = TABLES[table_name].field(column)
            assert not field.personal
            assert not pa.types.is_nested(field.type)
            assert table_name in ("entity", "warning", "finding", "outcome")


def test_shipped_policies_hold_together() -> None:
    for id in SHIPPED:
        assignee = ["440100"] if SHIPPED[id]["class"] == "conditional" else []
        assert shipped_terms(id, "430200", assignee, VALID).statement_fields()["id"] == id


def test_hostile_log_of_policies_takes_memory_only_for_what_it_says(world: ModuleType) -> None:
    log = world.Log()
    for n in range(1500):
        log.add_policy(id=f"policy-{n}")
    log.publish()
    submission, verifier = log.submission(), world.verifier()
    tracemalloc.start()
    try:
        report = verifier.verify(submission)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(report.state.book.policies) == 1500
    assert peak < 40 * 1024 * 1024
