"""Words for refused rows in Chinese and English: what a reason code means, for one column of one table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dianhuan_sdk import Field, TableContract, Text

REASONS: Mapping[str, Text] = MappingProxyType(
    {
        "missing_value": Text("必填项为空", "a required value is missing"),
        "unknown_code": Text("取值不在允许范围内", "the value is none of the allowed ones"),
        "bad_form": Text("格式不符", "the value has not the required form"),
        "bad_check_digit": Text("校验码错误", "the check digit is wrong"),
        "below_range": Text("低于下限", "the value is below its range"),
        "above_range": Text("高于上限", "the value is above its range"),
        "wrong_order": Text("先后顺序颠倒", "two values are in the wrong order"),
        "incomplete_pair": Text("须成对填写", "two values are given together or not at all"),
        "nothing_given": Text("几项中至少填一项", "at least one of several values is needed"),
        "contradiction": Text("与其他列矛盾", "the value contradicts another column"),
        "no_content": Text("曲线与日电量均为空", "neither a curve nor a daily energy is given"),
        "not_a_number": Text("含有 NaN,缺测点应为空值", "the curve holds NaN where a missing point should be null"),
        "not_finite": Text("数值为无穷或 NaN", "the value is infinite or NaN"),
        "absurd_value": Text("数值明显不合理,请核对单位与倍率", "the value is absurd: check unit and multiplier"),
        "unreadable_value": Text("无法按该列类型读取", "the text cannot be read as the column's type"),
        "wrong_columns": Text("该行列数与表头不符", "the row has more or fewer columns than the header"),
        "bad_number": Text("不是数字", "the text is not a number"),
        "unreadable_date": Text("日期或时间无法识别", "the date or time cannot be read"),
        "nonexistent_time": Text("该时刻不存在(夏令时拨快)", "there is no such local time (clocks went forward)"),
        "duplicate_reading": Text("同一时刻重复且数值不同", "the same moment comes twice with different values"),
        "clash": Text("同一主键的多行互相矛盾", "rows with the same key differ"),
        "no_multiplier": Text("缺少有效倍率", "there is no valid multiplier"),
    }
)
"""Meaning of the reason codes of contracts and file readers. A plugin's own code that is not here is named as it is."""


def explain(contract: TableContract, code: str, column: str = "") -> Text:
    """Words for a refusal: the column with its Chinese label, the reason, and what would have been right.

    Args:
        contract: the table.
        code: reason code; one that is not in `REASONS` is named as it is.
        column: the column it was reported under, or empty for the whole row.
    """
    reason = REASONS.get(code, Text(f"未通过规则 {code}", f"rule {code} is not met"))
    field = next((f for f in contract.fields if f.name == column), None)
    if field is None:
        return reason
    zh, en = _expected(contract, code, field)
    return Text(
        f"{field.zh}({field.name}):{reason.zh}" + (f";应为:{zh}" if zh else ""),
        f"{field.name} ({field.zh}): {reason.en}" + (f"; expected: {en}" if en else ""),
    )


def _expected(contract: TableContract, code: str, field: Field) -> tuple[str, str]:
    rule = next((r for r in contract.rules if r.code == code and r.columns[0] == field.name), None)
    if rule is not None:
        labels = [contract.field(name).zh for name in rule.columns]
        forms = {"wrong_order": "{0}不晚于{1}", "incomplete_pair": "{0}与{1}同时填写"}
        zh = forms.get(code, "").format(*labels) if code in forms else "、".join(labels) if len(labels) > 2 else ""
        return zh, rule.words
    unit = f" {field.unit}" if field.unit else ""
    if code == "unknown_code" and field.codes:
        listed = ", ".join(field.codes)
        return listed, listed
    if code == "bad_form" and field.pattern:
        return field.pattern, field.pattern
    if code == "below_range" and field.low is not None:
        return f"不小于 {field.low:g}{unit}", f"at least {field.low:g}{unit}"
    if code == "above_range" and field.high is not None:
        return f"不大于 {field.high:g}{unit}", f"at most {field.high:g}{unit}"
    return "", ""
