"""Rules of the table contracts that vectors in JSON cannot show: batches, slices, labels."""

from datetime import date

import numpy as np
import pyarrow as pa

from dianhuan_sdk import CURVE_TYPE
from dianhuan_standards import REGISTERS, TABLES

DAY = date(2026, 11, 23)


def _curves(curves: list[list[float | None] | None], kwh: list[float | None]) -> pa.RecordBatch:
    count = len(curves)
    return pa.RecordBatch.from_pydict(
        {
            "metering_point_id": [f"m{i}" for i in range(count)],
            "day": [DAY] * count,
            "kw": pa.array(curves, CURVE_TYPE),
            "points": [96] * count,
            "kwh": kwh,
        },
        schema=TABLES["load_curve"].schema,
    )


def test_an_absurd_curve_is_found_beside_rows_without_a_curve() -> None:
    flat: list[float | None] = [1.0] * 96
    absurd: list[float | None] = [*flat[1:], -2e6]
    holes: list[float | None] = [None] * 95 + [5.0]
    batch = _curves([None, flat, absurd, holes, None], [10.0, None, None, None, None])
    found = {r.code: r.rows.tolist() for r in TABLES["load_curve"].check(batch)}
    assert found == {"no_content": [4], "absurd_value": [2]}
    assert [r.rows.tolist() for r in TABLES["load_curve"].check(batch[2:4])] == [[0]]


def test_what_lies_under_a_null_is_not_looked_at() -> None:
    values = np.full(2 * 96, 1.0, dtype=np.float32)
    values[5] = 9e9
    values[100] = -9e9
    kw = pa.FixedSizeListArray.from_arrays(pa.array(values, mask=np.arange(192) == 5), 96)
    batch = _curves([None, None], [None, None]).set_column(2, "kw", kw)
    assert [(r.code, r.rows.tolist()) for r in TABLES["load_curve"].check(batch)] == [("absurd_value", [1])]
    assert TABLES["load_curve"].check(batch[:1]) == []


def test_a_missing_point_is_null_and_nan_is_refused() -> None:
    nan: list[float | None] = [1.0] * 95 + [float("nan")]
    batch = _curves([None, [1.0] * 95 + [None], nan], [10.0, None, None])
    assert [(r.code, r.rows.tolist()) for r in TABLES["load_curve"].check(batch)] == [("not_a_number", [2])]


def test_an_empty_batch_passes_every_table() -> None:
    for contract in TABLES.values():
        assert contract.check(pa.RecordBatch.from_pylist([], schema=contract.schema)) == []


def test_no_alias_of_a_table_names_two_columns_unless_both_hold_the_credit_code() -> None:
    for contract in TABLES.values():
        seen: dict[str, str] = {}
        for field in contract.fields:
            for name in {n.casefold() for n in (field.name, field.zh, *field.aliases)}:
                other = seen.setdefault(name, field.name)
                assert {other, field.name} <= {"entity_id", "uscc"} or other == field.name, (contract.name, name)


def test_registers_are_tables_and_every_table_has_labels_and_a_key() -> None:
    assert set(REGISTERS) <= set(TABLES)
    for contract in TABLES.values():
        assert contract.zh
        assert contract.doc
        assert all(field.zh for field in contract.fields)
        assert all(contract.field(name).required for name in contract.key)
