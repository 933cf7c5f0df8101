"""Devices on site: channels (one series of one device) and their readings."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_sdk import Field, Rule, TableContract, in_order
from dianhuan_standards.tables._types import DAY, FLAG, ID, INSTANT, NUMBER, TEXT, entity_id, text

ROLES: tuple[str, ...] = ("plant_total", "production", "treatment", "combined", "indirect")
"""企业总电, 产污设施, 治污设施, 产治一体 (one circuit feeds both: nothing can be said about "off"), 间接用电."""

QUALITY_FLAGS: tuple[str, ...] = ("N", "F", "M", "S", "D", "C", "T", "B")
"""HJ 212 data flags: normal, instrument stopped, maintenance, manual, fault, calibration, above range,
communication fault."""

QUANTITIES: tuple[str, ...] = (
    "active_power",
    "reactive_power",
    "apparent_power",
    "current",
    "voltage",
    "power_factor",
    "frequency",
    "energy",
    "reactive_energy",
    "state",
    "run_time",
    "condition",
    "concentration",
    "flow",
    "other",
)
"""What a channel measures."""

INTERVALS: tuple[str, ...] = ("moment", "minute", "five_minutes", "hour", "day", "check")
"""`check` = reading of a standard sample: never a process value."""


def _some_content(batch: pa.RecordBatch) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.asarray(
        pc.or_(pc.is_valid(batch.column("value")), pc.is_valid(batch.column("text"))).to_numpy(zero_copy_only=False)
    )


def _finite(batch: pa.RecordBatch) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.asarray(pc.fill_null(pc.is_finite(batch.column("value")), True).to_numpy(zero_copy_only=False))


CHANNEL = TableContract(
    name="channel",
    version="1.0",
    zh="监测通道",
    doc=(
        "One series of one device: a code with a statistic and an interval. Role and facility are bound by a person or "
        "by a profile; what a codec read out of examples and not out of the standard's table is marked `inferred`."
    ),
    key=("channel_id",),
    fields=(
        text("channel_id", "通道编号", "DEVICE/CODE-STATISTIC[.INTERVAL]", required=True, pattern=r"\S{1,160}"),
        text("device_id", "设备编号", required=True, pattern=ID, aliases=("MN", "设备唯一标识")),
        text("protocol", "协议", "plugin id, e.g. hj212", required=True),
        text("code", "因子编码", "the protocol's own code, e.g. d20405", required=True),
        text("statistic", "统计类型", "rtd, min, avg, max, cou, rs, …", required=True),
        Field("interval", TEXT, "时间粒度", required=True, codes=INTERVALS),
        text("name", "名称"),
        Field("quantity", TEXT, "物理量", codes=QUANTITIES),
        text("unit", "单位"),
        Field("phase", TEXT, "相别", codes=("A", "B", "C", "N", "total")),
        Field("role", TEXT, "用电类型", "企业总电, 产污, 治污, 产治一体, 间接", codes=ROLES, aliases=("回路类型",)),
        text("facility", "设施编号", "HJ 608 code such as MF0001, TA001, or the device's own number"),
        entity_id(required=False),
        Field("multiplier", NUMBER, "倍率", "CT × PT still to be applied; null = values are primary", low=0),
        Field("rated", NUMBER, "额定值", "in `unit`", low=0),
        Field("inferred", FLAG, "推断", "true where meaning or unit was inferred from examples"),
        Field("valid_from", DAY, "启用日期"),
        Field("valid_to", DAY, "停用日期"),
    ),
    rules=(in_order("valid_from", "valid_to"),),
)

READING = TableContract(
    name="reading",
    version="1.0",
    zh="监测数据",
    doc=(
        "One value of one channel. `device_at` is the time the device states and identifies the row, so that a "
        "re-sent reading is the same row whatever is known of its clock; `at` is that time corrected by the drift of "
        "the device's clock. For an interval both are its start. null = missing, never 0."
    ),
    key=("channel_id", "device_at"),
    fields=(
        text("channel_id", "通道编号", required=True, pattern=r"\S{1,160}"),
        Field("device_at", INSTANT, "设备时间", required=True),
        Field("at", INSTANT, "校正时间", "device time corrected by the clock's drift", required=True),
        Field("received_at", INSTANT, "接收时间"),
        Field("value", NUMBER, "数值", "in the channel's unit"),
        text("text", "文本值", "states and marks that are not numbers"),
        Field("quality", TEXT, "数据标记", "HJ 212 flag; null = the device gives none", codes=QUALITY_FLAGS),
        Field("resent", FLAG, "补传", "true where the device sent it again or it was fetched after a gap"),
    ),
    rules=(
        Rule("nothing_given", ("value", "text"), _some_content, "a value or a text is given"),
        Rule("not_finite", ("value",), _finite, "value is a finite number"),
    ),
)
