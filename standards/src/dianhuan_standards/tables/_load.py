"""Load curves: one metering point on one local civil day."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_sdk import CURVE_TYPE, POINTS_PER_DAY, Field, Rule, TableContract
from dianhuan_standards.tables._types import COUNT, DAY, ID, NUMBER, TEXT

ABSURD_KW = 1_000_000.0
"""No metering point of a city carries a gigawatt: a larger value is a unit or multiplier error."""


def _plausible(batch: pa.RecordBatch) -> np.ndarray[Any, np.dtype[np.bool_]]:
    curves = batch.column("kw")
    flat = curves.flatten()
    if len(flat) == 0 or len(flat) != batch.num_rows * POINTS_PER_DAY:
        return np.ones(batch.num_rows, dtype=bool)
    extremes = pc.min_max(flat)
    low, high = extremes["min"].as_py(), extremes["max"].as_py()
    if low is None or (low >= -ABSURD_KW and high <= ABSURD_KW):
        return np.ones(batch.num_rows, dtype=bool)
    values = flat.to_numpy(zero_copy_only=False).reshape(batch.num_rows, POINTS_PER_DAY)
    with np.errstate(invalid="ignore"):
        return np.asarray(~(np.abs(values) > ABSURD_KW).any(axis=1))


def _some_content(batch: pa.RecordBatch) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.asarray(
        pc.or_(pc.is_valid(batch.column("kw")), pc.is_valid(batch.column("kwh"))).to_numpy(zero_copy_only=False)
    )


LOAD_CURVE = TableContract(
    name="load_curve",
    version="1.0",
    zh="负荷曲线",
    doc=(
        "Mean active power of one metering point in the 96 quarter hours of one local civil day (Asia/Shanghai). "
        "Element i covers [15·i, 15·(i+1)) minutes after local midnight; null = missing, never 0. Days of 23 or 25 "
        "hours of imported data are folded onto 96 slots with their energy kept."
    ),
    key=("metering_point_id", "day"),
    fields=(
        Field(
            "metering_point_id",
            TEXT,
            "计量点编号",
            required=True,
            pattern=ID,
            personal=True,
            aliases=("计量点", "mp_no"),
        ),
        Field("day", DAY, "日期", "local civil day", required=True, aliases=("数据日期", "data_date")),
        Field("kw", CURVE_TYPE, "96点功率", "primary-side kW: the multiplier is applied", unit="kW"),
        Field(
            "points",
            COUNT,
            "采集点数",
            "points delivered: 96, 48, 24, or 1 (daily energy only)",
            low=1,
            high=100,
        ),
        Field(
            "kwh",
            NUMBER,
            "日电量",
            "energy of the day as the source states it, for reconciliation",
            unit="kWh",
            low=-24 * ABSURD_KW,
            high=24 * ABSURD_KW,
            aliases=("电量", "日用电量"),
        ),
    ),
    rules=(
        Rule("no_content", ("kw",), _some_content, "a curve or a daily energy is given"),
        Rule("absurd_value", ("kw",), _plausible, f"|kW| ≤ {ABSURD_KW:g}: check unit and multiplier"),
    ),
)
