"""From a model's finding to warning, case and list: gates, reruns, broken models, open cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import BaseModel

from dianhuan_hub.kernel.clock import FixedClock
from dianhuan_hub.kernel.guard import Guard
from dianhuan_hub.kernel.loader import PluginRecord, Registered
from dianhuan_hub.ranking import Costs, ListLine, Lists
from dianhuan_hub.screening import Screening
from dianhuan_hub.store import (
    QUARANTINE_SCHEMA,
    RAW_SCHEMA,
    LoadInfo,
    Query,
    ReadingLoad,
    ReadingUnit,
    Store,
    horizon,
    read_page,
)
from dianhuan_sdk import Exhibit, Finding, InputError, ModelCard, ModelSpec, Text
from dianhuan_standards.tables import TABLES
from dianhuan_standards.tariffs import TariffBook

LAST = date(2026, 3, 20)
CLOCK = FixedClock.on(date(2026, 3, 21))
ALL_GATES = ("G1", "G2", "G3", "G5", "G6", "G7")


class NoConfig(BaseModel):
    """No parameters."""


class Scripted:
    """A model that answers what it was told to."""

    def __init__(self, answer: Callable[[Any, Any], Sequence[Finding]]) -> None:
        self.answer = answer

    def score(self, block: Any, context: Any) -> Sequence[Finding]:
        return self.answer(block, context)


def finding(
    entity: str, day: date = LAST, score: float = 0.8, night: bool = False, verdict: Any = "suspect"
) -> Finding:
    return Finding(
        entity_id=entity,
        day=day,
        rule="rule",
        verdict=verdict,
        score=score,
        reasons=(Text("证据", "evidence"),),
        counter=(Text("反证", "counter"),),
        evidence={"kw": 1.0},
        exhibit=Exhibit((day,), (88, 24) if night else (32, 72)),
    )


@pytest.fixture
def filled(city: Store, curve_rows: Any, put: Any) -> Store:
    for i in range(28):
        put(city, curve_rows(LAST - timedelta(days=i), {m: 1.0 + m for m in range(4)}))
    return city


@pytest.fixture
def screening(filled: Store) -> Callable[..., Screening]:
    def make(answer: Any, model: str = "m90-test", gates: Any = ALL_GATES, reads: Any = ()) -> Screening:
        spec = ModelSpec(
            model, "1", "试", "test", "daily", 28, ("kwh",), reads, gates, 0.1, NoConfig, lambda _: Scripted(answer),
            ModelCard(Text("", ""), Text("", ""), Text("", ""), "", (), ()),
        )  # fmt: skip
        record = PluginRecord("test", "dist", "1", Guard("test", CLOCK))
        return Screening(
            filled,
            CLOCK,
            {model: Registered(spec, record, NoConfig())},
            lambda _: None,
            TariffBook.load(None),
            "430200",
        )

    return make


def gates_of(store: Store, entity: str) -> dict[str, bool]:
    import json

    rows = read_page(
        store.engine, Query("finding", equals={"entity_id": entity}), order=[("finding_id", False)], limit=5
    )
    return {g["gate"]: g["passed"] for g in json.loads(rows.rows[0]["gates"])}


def todays_list(store: Store, day: date, k: int, random_share: float) -> list[ListLine]:
    return Lists(store, CLOCK, [], Costs(), k, random_share).todays(day).lines


def instant(day: date, hour: int) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def test_finding_that_passes_is_a_warning_and_a_case_on_the_list(screening, filled):
    report = screening(lambda *_: [finding("E1"), finding("E2", score=0.5)]).run(LAST)
    assert (report.findings, report.warnings, report.cases, dict(report.failed)) == (2, 2, 2, {})
    lines = todays_list(filled, LAST, 10, 0.1)
    assert [(line.rank, line.entity_id, line.arm) for line in lines] == [(1, "E1", "ranked"), (2, "E2", "ranked")]
    assert lines[0].warnings[0]["reasons"] == [{"zh": "证据", "en": "evidence"}]
    assert all(gates_of(filled, "E1").values())


def test_cannot_tell_is_kept_but_warns_nobody(screening):
    report = screening(lambda *_: [finding("E1", verdict="cannot_tell")]).run(LAST)
    assert (report.findings, report.warnings, report.cases) == (1, 0, 0)


def test_gates_object(screening, filled, put, rows, curve_rows):
    put(
        filled,
        registers=[
            rows("filed_report", report_id=["R1"], entity_id=["E1"], kind=["maintenance"],
                 starts_at=[instant(LAST, 0)], ends_at=[None], filed_at=[instant(LAST, 0)]),
            rows("metering_point", metering_point_id=["M3"], account_no=["A3"], feeder_id=["F1"]),
            rows("outage", outage_id=["O1"], feeder_id=["F1"],
                 starts_at=[instant(LAST, 1)], ends_at=[instant(LAST, 4)]),
        ],
    )  # fmt: skip
    screening(lambda *_: [finding("E1"), finding("E2"), finding("E3")]).run(LAST)
    assert gates_of(filled, "E1") == {g: g != "G3" for g in ALL_GATES}
    assert gates_of(filled, "E2") == {g: g != "G2" for g in ALL_GATES}
    assert gates_of(filled, "E3")["G1"]  # E3 has data since 10 March: eleven days


def test_telemetry_gate_wants_the_day_and_enough_days(screening, filled, put, curve_rows):
    later = LAST + timedelta(days=1)
    gap = np.full(96, 1.0, np.float32)
    gap[:40] = np.nan
    put(filled, curve_rows(later, {0: gap, 1: 1.0, 2: 1.0, 3: 1.0}))
    screening(lambda *_: [finding("E1", later), finding("E2", later)]).run(later)
    assert (gates_of(filled, "E1")["G1"], gates_of(filled, "E2")["G1"]) == (False, True)


def test_night_finding_under_pv_or_a_night_permit_does_not_pass(screening, filled, put, rows):
    put(
        filled,
        registers=[
            rows("metering_point", metering_point_id=["M1"], account_no=["A1"], net_metering=[True]),
            rows("permit", permit_no=["P1"], entity_id=["E2"], permit_class=["key"], valid_from=[date(2020, 1, 1)],
                 night_permitted=[True]),
        ],
    )  # fmt: skip
    screening(lambda *_: [finding(e, night=True) for e in ("E1", "E2", "E3")]).run(LAST)
    assert [gates_of(filled, e)["G6"] for e in ("E1", "E2", "E3")] == [False, False, True]


def test_open_case_takes_no_second_one(screening, filled, put, curve_rows):
    screening(lambda *_: [finding("E1")]).run(LAST)
    later = LAST + timedelta(days=1)
    put(filled, curve_rows(later, dict.fromkeys(range(4), 1.0)))
    report = screening(lambda *_: [finding("E1", later)]).run(later)
    assert (report.findings, report.warnings, report.cases) == (1, 0, 0)


def test_running_a_day_again_replaces_what_nobody_touched(screening, filled):
    from dianhuan_hub.cases import CaseDesk

    screening(lambda *_: [finding("E1"), finding("E2")]).run(LAST)
    touched = next(line for line in todays_list(filled, LAST, 9, 0) if line.entity_id == "E1")
    CaseDesk(filled, CLOCK).move(touched.case_id, "assessed", "li")
    screening(lambda *_: [finding("E3")]).run(LAST)
    states = {line.entity_id: line.state for line in todays_list(filled, LAST, 9, 0)}
    assert states == {"E1": "assessed", "E3": "found"}


def test_one_model_alone_leaves_the_cases_of_the_others(screening, filled):
    screening(lambda *_: [finding("E1", score=0.5)], "m91-one").run(LAST)
    screening(lambda *_: [finding("E1", score=0.5), finding("E2")], "m92-two").run(LAST)
    priorities = {line.entity_id: line.priority for line in todays_list(filled, LAST, 9, 0)}
    assert priorities == pytest.approx({"E1": 0.75, "E2": 0.8})
    screening(lambda *_: [], "m92-two").run(LAST)
    assert {line.entity_id: line.priority for line in todays_list(filled, LAST, 9, 0)} == pytest.approx({"E1": 0.5})


def test_case_that_nobody_was_sent_to_stays_on_the_list(screening, filled, put, curve_rows):
    from dianhuan_hub.cases import CaseDesk

    screening(lambda *_: [finding("E1")]).run(LAST)
    later = LAST + timedelta(days=1)
    put(filled, curve_rows(later, dict.fromkeys(range(4), 1.0)))
    screening(lambda *_: [finding("E1", later), finding("E2", later, score=0.3)]).run(later)
    lines = todays_list(filled, later, 9, 0)
    assert [(line.entity_id, line.day) for line in lines] == [("E1", LAST), ("E2", later)]
    assert lines[0].warnings
    for state in ("assessed", "assigned"):
        CaseDesk(filled, CLOCK).move(lines[0].case_id, state, "li")
    assert [line.entity_id for line in todays_list(filled, later, 9, 0)] == ["E2"]


@pytest.mark.parametrize(
    "answer",
    [
        lambda *_: 1 / 0,
        lambda *_: [finding("E1", LAST - timedelta(days=1))],
        lambda *_: [finding("nobody")],
    ],
    ids=["raises", "another day", "unknown enterprise"],
)
def test_broken_model_is_left_out_and_named(screening, answer):
    report = screening(answer).run(LAST)
    assert list(report.failed) == ["m90-test"]
    assert "m90-test" in report.failed["m90-test"].message
    assert report.findings == 0


def test_tables_hold_nothing_from_after_the_day(screening, filled, put, rows):
    put(
        filled,
        registers=[
            rows("filed_report", report_id=["R1", "R2"], entity_id=["E1", "E1"], kind=["other"] * 2,
                 starts_at=[instant(LAST, 0)] * 2, filed_at=[instant(LAST, 0), instant(LAST + timedelta(days=1), 0)])
        ],
    )  # fmt: skip
    seen: list[Any] = []

    def look(block: Any, context: Any) -> list[Finding]:
        seen.append(context)
        return []

    screening(look, reads=("filed_report",)).run(LAST)
    assert seen[0].tables["filed_report"].column("report_id").to_pylist() == ["R1"]
    assert (seen[0].as_of, len(seen[0].calendar), len(seen[0].tariff)) == (LAST, 28, 28)


def test_random_share_is_drawn_from_below_the_cut_and_stays_the_same(screening, filled, put, rows, curve_rows):
    ids = [f"X{i:02d}" for i in range(30)]
    put(filled, registers=[rows("entity", entity_id=ids, name=ids)])
    screening(lambda *_: [finding(e, score=0.9 - i / 100) for i, e in enumerate(ids)], gates=()).run(LAST)
    lines = todays_list(filled, LAST, 10, 0.2)
    assert [line.entity_id for line in lines[:8]] == ids[:8]
    drawn = [line.entity_id for line in lines if line.arm == "random"]
    assert len(drawn) == 2
    assert not set(drawn) & set(ids[:8])
    assert [line.entity_id for line in todays_list(filled, LAST, 10, 0.2)] == [line.entity_id for line in lines]


def test_day_without_curves_or_unknown_model_is_told(screening):
    with pytest.raises(InputError, match="no load curves"):
        screening(lambda *_: []).run(date(2026, 5, 1))
    with pytest.raises(InputError, match="no model"):
        screening(lambda *_: []).run(LAST, ["m77"])


def test_models_that_look_further_back_share_a_block_of_their_own(filled, monkeypatch):
    """Two features of 60 days are read beside the features of 28, not all features of 60."""
    seen, read = {}, []
    plain = Store.city

    def spy(self: Store, last: date, days: int, features: Any) -> Any:
        read.append((days, set(features)))
        return plain(self, last, days, features)

    monkeypatch.setattr(Store, "city", spy)

    def model(name: str, window: int, features: tuple[str, ...]) -> Registered[ModelSpec]:
        def answer(block: Any, context: Any) -> list[Finding]:
            assert len(block.days) == len(context.calendar) == window
            seen[name] = {f: block.feature(f).shape for f in features}
            return [finding("E1")] if name == "m91-short" else [finding("E2")]

        spec = ModelSpec(
            name, "1", "试", "test", "daily", window, features, (), ALL_GATES, 0.1, NoConfig,
            lambda _: Scripted(answer),
            ModelCard(Text("", ""), Text("", ""), Text("", ""), "", (), ()),
        )  # fmt: skip
        return Registered(spec, PluginRecord("test", "dist", "1", Guard("test", CLOCK)), NoConfig())

    models = {
        "m91-short": model("m91-short", 14, ("kwh", "night_kw")),
        "m92-long": model("m92-long", 60, ("kwh",)),
        "m93-month": model("m93-month", 28, ("max_kw",)),
    }
    run = Screening(filled, CLOCK, models, lambda _: None, TariffBook.load(None), "430200").run(LAST)
    assert not run.failed
    assert read == [(28, {"points", "kwh", "night_kw", "max_kw"}), (60, {"points", "kwh"})]
    assert {n: set(s.values()) for n, s in seen.items()} == dict(
        zip(models, ({(3, 14)}, {(3, 60)}, {(3, 28)}), strict=True)
    )
    assert (run.warnings, run.cases) == (3, 2)


def test_of_readings_only_means_of_circuits_known_on_the_day_are_handed_over(screening, filled):
    names = ["D1/a-avg.hour", "D1/a-rtd", "D1/b-avg.day", "D1/c-avg.hour"]
    kinds = zip(names, ("hour", "moment", "day", "hour"), ("production", "production", "treatment", None), strict=True)
    channels = [
        {"channel_id": n, "device_id": "D1", "protocol": "hj212", "code": n[3], "statistic": "avg", "interval": i,
         "role": r} for n, i, r in kinds
    ]  # fmt: skip
    at = [(n, instant(LAST, 3)) for n in names] + [(names[0], instant(LAST, 20))]  # 20:00 UTC is the day after, here
    rows = [{"channel_id": n, "device_at": t, "at": t, "received_at": t, "value": 1.0} for n, t in at]
    now = instant(LAST, 22)
    unit = ReadingUnit(
        rows=pa.RecordBatch.from_pylist(rows, schema=TABLES["reading"].schema),
        channels=pa.RecordBatch.from_pylist(channels, schema=TABLES["channel"].schema),
        raw=RAW_SCHEMA.empty_table(),
        refused=QUARANTINE_SCHEMA.empty_table(),
        horizon=horizon(now, 30, 600),
    )
    filled.readings.commit(unit, ReadingLoad(LoadInfo("hj212", "1", "reading", "line", "", "", now)), now)
    got = []
    screening(lambda _, c: got.append(c.tables) or [], reads=("channel", "reading")).run(LAST)
    assert sorted(got[0]["reading"].column("channel_id").to_pylist()) == [names[0], names[2]]
    assert got[0]["reading"].schema.names == [f.name for f in TABLES["reading"].fields]
    assert got[0]["channel"].num_rows == 4


def test_whatever_standard_table_a_model_reads_comes_with_the_columns_of_its_contract(screening):
    names = ("acceptance", "case", "channel", "filed_report", "order", "outage", "outcome", "permit", "reading",
             "warning", "weather")  # fmt: skip
    got = []
    report = screening(lambda _, c: got.append(c.tables) or [], reads=names).run(LAST)
    assert not report.failed
    for name in names:
        assert {f.name for f in TABLES[name].fields} <= set(got[0][name].schema.names), name
