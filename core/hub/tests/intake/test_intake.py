"""From an adapter's batches to rows, quarantine, lineage and cursors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dianhuan_hub.intake import Intake, Source, replay_quarantine
from dianhuan_hub.kernel.clock import FixedClock
from dianhuan_hub.store import Query, nan_to_contract, read_count, read_cursor, read_groups, read_page, read_stream
from dianhuan_sdk import REJECT_SCHEMA, Batch, Checkpoint, Discard, InputError, SourceRef, Window

DAY = date(2026, 3, 5)
CLOCK = FixedClock.on(date(2026, 3, 31))


class Scripted:
    """An adapter that yields what it was given; exceptions are raised where they stand."""

    def __init__(self, *items: Any) -> None:
        self.items = items
        self.asked: list[tuple[Window | None, Any]] = []

    async def read(self, stream: str, window: Any = None, cursor: Any = None) -> AsyncIterator[Batch | Checkpoint]:
        self.asked.append((window, cursor))
        for item in self.items:
            if isinstance(item, Exception):
                raise item
            yield item


def curve_batch(ids: list[str], values: list[Any], day: date = DAY, **more: Any) -> Batch:
    kw = np.stack([np.broadcast_to(np.asarray(v, np.float32), 96) for v in values])
    rows = pa.record_batch(
        {
            "metering_point_id": pa.array(ids),
            "day": pa.array([day] * len(ids), pa.date32()),
            "kw": nan_to_contract(kw),
            "points": pa.array([96] * len(ids), pa.int32()),
        }
    )
    return Batch("load_curve", rows, SourceRef("memory"), **more)


def register_batch(table: str, **columns: Any) -> Batch:
    return Batch(table, pa.record_batch({k: pa.array(v) for k, v in columns.items()}), SourceRef("memory"))


@pytest.fixture
def intake(city: Any) -> Intake:
    return Intake(city, CLOCK)


def run(intake: Intake, *items: Any, **more: Any) -> Any:
    return asyncio.run(intake.run(Source("grid", "test", "1", "curve", Scripted(*items)), **more))


def codes(city: Any) -> dict[str | None, int]:
    return dict(read_groups(city.engine, Query("quarantine", equals={"state": "open"}), "code"))


def test_every_row_ends_in_the_store_or_in_quarantine(city: Any, intake: Intake) -> None:
    summary = run(
        intake,
        curve_batch(["M1", "M2", "M9", "M3"], [1.0, 2.0, 3.0, -4.0]),
        curve_batch(["M4"], [1.0], day=date(2026, 4, 1)),
        curve_batch(["M4"], [5e6]),
        Checkpoint({"file": 1}),
    )
    assert (summary.accepted, summary.quarantined, summary.error) == (2, 4, None)
    assert codes(city) == {"unknown_metering_point": 1, "negative_value": 1, "future_day": 1, "absurd_value": 1}
    assert summary.days == {DAY}


def test_negative_values_pass_where_net_metering_is_declared(city: Any, intake: Intake) -> None:
    run(intake, register_batch("metering_point", metering_point_id=["M3"], account_no=["A3"], net_metering=[True]))
    assert run(intake, curve_batch(["M3"], [-4.0]), Checkpoint({})).accepted == 1


def test_quarantined_rows_go_in_after_the_register_is_completed(city: Any, intake: Intake) -> None:
    gap = np.full(96, 2.5, np.float32)
    gap[7] = np.nan
    run(intake, curve_batch(["M9"], [gap]), Checkpoint({}))
    assert replay_quarantine(city, intake).quarantined == 1  # still unknown: refused anew, not lost
    run(intake, register_batch("metering_point", metering_point_id=["M9"], account_no=["A9"]))
    run(intake, register_batch("account_link", account_no=["A9"], entity_id=["E9"], valid_from=[date(2026, 1, 1)]))
    done = replay_quarantine(city, intake, codes=["unknown_metering_point"])
    assert (done.accepted, done.quarantined) == (1, 0)
    assert codes(city) == {}
    _, kw = city.entity_curves("E9", DAY, DAY)
    np.testing.assert_array_equal(kw[0], gap)
    states = dict(read_groups(city.engine, Query("quarantine"), "state"))
    assert states == {"replayed": 2}


def test_rejects_of_the_adapter_are_kept_with_their_raw_text(city: Any, intake: Intake) -> None:
    rejects = pa.RecordBatch.from_pylist(
        [{"row": 3, "code": "not_a_number", "detail": "P7 is 'abc'", "raw": '{"P7": "abc"}'}], schema=REJECT_SCHEMA
    )
    run(intake, curve_batch(["M1"], [1.0], rejects=rejects), Checkpoint({}))
    row = read_page(city.engine, Query("quarantine"), order=[("quarantine_id", False)], limit=5).rows[0]
    assert (row["row_no"], row["code"], row["payload"]) == (3, "not_a_number", '{"P7": "abc"}')
    assert not row["in_contract_form"]


def test_same_row_twice_in_one_file_is_taken_once(city: Any, intake: Intake) -> None:
    summary = run(intake, curve_batch(["M1", "M1"], [1.0, 1.0]), curve_batch(["M1"], [1.0]), Checkpoint({}))
    assert (summary.accepted, summary.quarantined) == (1, 0)


def test_two_different_rows_for_one_day_in_one_file_are_both_refused(city: Any, intake: Intake) -> None:
    summary = run(intake, curve_batch(["M1", "M2", "M1"], [1.0, 2.0, 3.0]), Checkpoint({}))
    assert (summary.accepted, summary.quarantined) == (1, 2)
    assert codes(city) == {"conflicting_duplicate": 2}


def test_conflicting_register_rows_keep_the_first(city: Any, intake: Intake) -> None:
    batch = register_batch("entity", entity_id=["E7", "E7", "E7"], name=["甲", "甲", "乙"])
    summary = run(intake, batch, Checkpoint({}))
    assert (summary.accepted, summary.quarantined) == (1, 1)
    rows = read_page(city.engine, Query("entity", equals={"entity_id": "E7"}), order=[("entity_id", False)], limit=5)
    assert [r["name"] for r in rows.rows] == ["甲"]


def test_only_a_checkpoint_moves_the_cursor(city: Any, intake: Intake) -> None:
    def position() -> Any:
        with city.engine.cursor() as con:
            return read_cursor(con, "grid", "curve")

    run(intake, curve_batch(["M1"], [1.0]))
    assert position() is None
    assert read_count(city.engine, Query("load_curve")) == 1
    run(intake, curve_batch(["M2"], [1.0]), Checkpoint({"file": "a"}), curve_batch(["M3"], [1.0]))
    assert position() == {"file": "a"}
    adapter = Scripted()
    asyncio.run(intake.run(Source("grid", "test", "1", "curve", adapter)))
    assert adapter.asked == [(None, {"file": "a"})]


def test_backfill_neither_reads_nor_moves_the_live_cursor(city: Any, intake: Intake) -> None:
    run(intake, Checkpoint({"file": "live"}))
    window = Window(DAY, date(2026, 3, 6))
    adapter = Scripted(curve_batch(["M1"], [1.0]), Checkpoint({"file": "old"}))
    summary = asyncio.run(intake.run(Source("grid", "test", "1", "curve", adapter), window=window))
    assert summary.accepted == 1
    assert adapter.asked == [(window, None)]
    with city.engine.cursor() as con:
        assert read_cursor(con, "grid", "curve") == {"file": "live"}


def test_error_of_the_source_ends_the_run_but_keeps_what_came_before(city: Any, intake: Intake) -> None:
    broken = InputError("truncated.gz ends early", expected="a whole file", hint="deliver it again")
    summary = run(intake, curve_batch(["M1"], [1.0]), Checkpoint({"n": 1}), curve_batch(["M2"], [2.0]), broken)
    assert summary.error is broken
    assert summary.accepted == 2
    assert codes(city) == {"source_error": 1}
    row = read_page(city.engine, Query("quarantine"), order=[("quarantine_id", False)], limit=1).rows[0]
    assert "deliver it again" in row["detail"]


def test_every_load_has_its_lineage(city: Any, intake: Intake, tmp_path: Any) -> None:
    raw = tmp_path / "curve.csv"
    raw.write_bytes(b"content")
    batch = curve_batch(["M1"], [1.0])
    batch = Batch(batch.table, batch.rows, SourceRef(str(raw)))
    load_id = run(intake, batch, Checkpoint({})).loads[0]
    row = read_page(city.engine, Query("load", equals={"load_id": load_id}), order=[("load_id", False)], limit=1).rows[
        0
    ]
    assert (row["plugin"], row["plugin_version"], row["source"]) == ("test", "1", str(raw))
    assert (city.data / "raw" / row["raw_ref"]).read_bytes() == b"content"
    assert len(row["sha256"]) == 64


def test_wrong_column_type_is_a_clear_error(city: Any, intake: Intake) -> None:
    rows = pa.record_batch({"metering_point_id": pa.array(["M1"]), "day": pa.array(["not a day"])})
    summary = run(intake, Batch("load_curve", rows, SourceRef("memory")), Checkpoint({}))
    assert summary.error is not None
    assert "column day of load_curve" in summary.error.message


def test_unknown_table_is_a_clear_error(city: Any, intake: Intake) -> None:
    summary = run(intake, register_batch("nonsense", a=[1]), Checkpoint({}))
    assert summary.error is not None
    assert "load_curve" in summary.error.expected


def test_a_source_that_knows_less_leaves_the_register_alone(city: Any, intake: Intake) -> None:
    batch = register_batch("entity", entity_id=["E1", "E8"], name=["别名", "新"])
    summary = run(intake, Batch(batch.table, batch.rows, batch.source, only_new=True), Checkpoint({}))
    assert (summary.accepted, summary.unchanged) == (1, 1)
    rows = read_page(city.engine, Query("entity"), order=[("entity_id", False)], limit=9).rows
    assert {r["entity_id"]: (r["name"], r["division"]) for r in rows if r["entity_id"] in ("E1", "E8")} == {
        "E1": ("一", "430202"),
        "E8": ("新", None),
    }


def test_a_unit_that_cannot_be_checked_never_moves_the_cursor(city: Any, intake: Intake) -> None:
    rows = pa.record_batch({"metering_point_id": pa.array(["M1"]), "day": pa.array(["not a day"])})
    broken = Batch("load_curve", rows, SourceRef("memory"))
    summary = run(
        intake, Checkpoint({"n": 1}), broken, Checkpoint({"n": 2}), curve_batch(["M1"], [1.0]), Checkpoint({"n": 3})
    )
    assert summary.error is not None
    with city.engine.cursor() as con:
        assert read_cursor(con, "grid", "curve") == {"n": 1}
    assert read_count(city.engine, Query("load_curve")) == 0


def test_a_column_that_a_source_does_not_have_keeps_its_value(city: Any, intake: Intake) -> None:
    batch = register_batch("entity", entity_id=["E1"], name=["改名"])
    assert run(intake, batch, Checkpoint({})).corrected == 1
    rows = read_page(
        city.engine, Query("entity", equals={"entity_id": "E1"}), order=[("entity_id", False)], limit=9
    ).rows
    assert (rows[0]["name"], rows[0]["division"]) == ("改名", "430202")
    again = run(intake, batch, Checkpoint({}))
    assert (again.corrected, again.unchanged) == (0, 1)


def test_replay_never_takes_the_place_of_what_came_later(city: Any, intake: Intake) -> None:
    run(intake, curve_batch(["M9"], [10.0]), Checkpoint({}))
    run(intake, register_batch("metering_point", metering_point_id=["M9"], account_no=["A9"]))
    run(intake, register_batch("account_link", account_no=["A9"], entity_id=["E9"], valid_from=[date(2026, 1, 1)]))
    run(intake, curve_batch(["M9"], [99.0]), Checkpoint({}))
    done = replay_quarantine(city, intake)
    assert (done.accepted, done.unchanged) == (0, 1)
    assert (city.entity_curves("E9", DAY, DAY)[1] == 99).all()
    assert codes(city) == {}


def test_row_and_its_correction_both_refused_go_in_one_after_the_other(city: Any, intake: Intake) -> None:
    run(intake, curve_batch(["M9"], [10.0]), Checkpoint({}))
    run(intake, curve_batch(["M9"], [99.0]), Checkpoint({}))
    run(intake, register_batch("metering_point", metering_point_id=["M9"], account_no=["A9"]))
    run(intake, register_batch("account_link", account_no=["A9"], entity_id=["E9"], valid_from=[date(2026, 1, 1)]))
    done = replay_quarantine(city, intake)
    assert (done.accepted, done.corrected, done.quarantined) == (2, 1, 0)
    assert (city.entity_curves("E9", DAY, DAY)[1] == 99).all()


def test_replay_leaves_conflicts_alone_and_wipes_no_column(city: Any, intake: Intake) -> None:
    first = register_batch("entity", entity_id=["E1", "E1"], name=["甲", "乙"])
    run(intake, first, Checkpoint({}))
    assert replay_quarantine(city, intake).loads == []
    replay_quarantine(city, intake, codes=["conflicting_duplicate"])
    rows = read_page(
        city.engine, Query("entity", equals={"entity_id": "E1"}), order=[("entity_id", False)], limit=9
    ).rows
    assert (rows[0]["name"], rows[0]["division"]) == ("乙", "430202")


def test_discarded_unit_counts_for_nothing(city: Any, intake: Intake) -> None:
    summary = run(
        intake,
        curve_batch(["M1"], [1.0]),
        Checkpoint({"n": 1}),
        curve_batch(["M2"], [2.0]),
        Discard("changed while it was read"),
        curve_batch(["M3"], [3.0]),
        Checkpoint({"n": 2}),
    )
    assert summary.accepted == 2
    ids = [r["metering_point_id"] for r in read_stream(city.engine, Query("load_curve")).read_all().to_pylist()]
    assert sorted(ids) == ["M1", "M3"]


def test_raw_file_that_cannot_be_kept_is_a_clear_error(city: Any, intake: Intake, tmp_path: Any) -> None:
    raw = tmp_path / "curve.csv"
    raw.write_bytes(b"content")
    (city.data / "raw").write_text("a file where the folder should be")
    batch = curve_batch(["M1"], [1.0])
    summary = run(intake, Batch(batch.table, batch.rows, SourceRef(str(raw))), Checkpoint({"n": 1}))
    assert summary.error is not None
    assert "nothing of this load was committed" in summary.error.message
    assert read_count(city.engine, Query("load_curve")) == 0
