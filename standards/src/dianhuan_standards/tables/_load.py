"""Load curves: one metering point on one local civil day."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_sdk import CURVE_TYPE, POINTS_PER_DAY, Field, Rule, TableContract
from dianhuan_sdk.contracts import BoolArray
from dianhuan_standards.tables._types import COUNT, DAY, ID, NUMBER, TEXT

ABSURD_KW = 1_000_000.0
"""No metering point of a city carries a gigawatt: a larger value is a unit or multiplier error."""


def _plausible(batch: pa.RecordBatch) -> BoolArray:
    curves = batch.column("kw")
    points = curves.flatten()  # leaves out the points of rows without a curve
    plausible: BoolArray = np.ones(batch.num_rows, dtype=bool)
    if len(points) == 0:
        return plausible
    # What lies under a null is arbitrary, so the bare buffer can only clear a batch: 10 times faster than min_max.
    bare = np.frombuffer(points.buffers()[1], np.float32, len(points), points.offset * 4)
    if np.fmin.reduce(bare) >= -ABSURD_KW and np.fmax.reduce(bare) <= ABSURD_KW:
        return plausible
    values = points.to_numpy(zero_copy_only=False).reshape(-1, POINTS_PER_DAY)
    given = np.asarray(pc.is_valid(curves).to_numpy(zero_copy_only=False), dtype=bool)
    with np.errstate(invalid="ignore"):
        plausible[given] = ~(np.abs(values) > ABSURD_KW).any(axis=1)
    return plausible


def _missing_is_null(batch: pa.RecordBatch) -> BoolArray:
    curves = batch.column("kw")
    broken = pc.is_nan(curves.flatten())
    right: BoolArray = np.ones(batch.num_rows, dtype=bool)
    if pc.any(broken).as_py():
        points = np.asarray(pc.fill_null(broken, False).to_numpy(zero_copy_only=False), dtype=bool)
        given = np.asarray(pc.is_valid(curves).to_numpy(zero_copy_only=False), dtype=bool)
        right[given] = ~points.reshape(-1, POINTS_PER_DAY).any(axis=1)
    return right


def _some_content(batch: pa.RecordBatch) -> BoolArray:
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
        Rule("not_a_number", ("kw",), _missing_is_null, "a missing point is null, not NaN"),
        Rule("absurd_value", ("kw",), _plausible, f"|kW| ≤ {ABSURD_KW:g}: check unit and multiplier"),
    ),
)
