"""Numbers in words, and the findings' order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dianhuan_models._peers import LEVELS, Placement
from dianhuan_sdk import Finding, Text

GAP_WORDS: Mapping[str, Text] = {
    "calendar_provisional": Text("工作日历为暂定", "the work calendar is provisional"),
    "spring_festival": Text("窗口含春节前后", "the window touches the Spring Festival weeks"),
    "tariff_provisional": Text("电价时段为暂定", "the tariff periods are provisional"),
    "permit_unknown": Text("许可证登记未接入,许可情况不明", "the permit register is not loaded: permission unknown"),
    "shared_meter": Text("电表为多户共用(转供电),负荷可能属于他人", "the meter also feeds others: load may be theirs"),
    "missing_data": Text("窗口内有缺数", "points are missing in the window"),
    "night_permission_unknown": Text("有排污许可但未载明夜间生产", "holds a permit that does not state night work"),
    "trial_unknown": Text("调试期未登记", "no commissioning period is on file"),
    "weather_missing": Text(
        "无气象数据,未作温度或降雨修正", "no weather data: temperature or rain is not corrected for"
    ),
    "weather_gap": Text("气象数据有缺口", "the weather data has gaps"),
    "no_controls": Text("无足够未受影响的同业可比", "too few unaffected peers to compare with"),
    "tariff_changed": Text("窗口内电价时段方案改变", "the tariff's periods changed inside the window"),
    "minimum_unknown": Text(
        "许可的最低治污比未登记,以自身基准的一定比例代替",
        "no permitted minimum on file: a share of the own level stands in",
    ),
    "no_grid_data": Text("总表在窗口内无数据,不知是否在生产", "no grid data in the window: not known whether it works"),
    "cold_start": Text("核查结果不足,按规则打分而非学习", "too few outcomes to learn from: scored by rules"),
    "response_unknown": Text(
        "无自身响应管控的记录,借用全市响应", "no own response to orders on record: the city's stands in"
    ),
}


def percent(value: float) -> str:
    """0.834 → `83 %`."""
    return f"{100 * value:.0f} %"


def peers(placement: Placement, i: int) -> Text:
    """The peer group of one candidate, with its size."""
    level, count = int(placement.level[i]), int(placement.count[i])
    if level < 0:
        return Text("无足够同业", "no large enough peer group")
    return Text(f"{LEVELS[level].zh} {count} 家", f"{count} peers, {LEVELS[level].en}")


def gap_words(codes: Iterable[str]) -> list[Text]:
    """Words for the gaps in context, as counter-evidence."""
    return [GAP_WORDS[code] for code in codes]


def or_nothing_found(counter: list[Text], looked_for: Text) -> tuple[Text, ...]:
    """Counter-evidence, or the statement that it was looked for and not found."""
    if counter:
        return tuple(counter)
    return (Text(f"未见反证(已查:{looked_for.zh})", f"no counter-evidence found; looked for {looked_for.en}"),)


def numbers(**values: float | int | str | None) -> dict[str, Any]:
    """Evidence as JSON values: floats rounded to 4 digits, NaN as None."""
    plain: dict[str, Any] = {}
    for key, value in values.items():
        if value is None or isinstance(value, str):
            plain[key] = value
        elif isinstance(value, int):
            plain[key] = int(value)
        else:
            plain[key] = None if value != value else round(float(value), 4)
    return plain


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Strongest first; entity id breaks ties, so that the order of rows does not matter."""
    return sorted(findings, key=lambda f: (-f.score, f.entity_id, f.rule))
