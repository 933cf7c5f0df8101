"""`dianhuan screen` and `dianhuan list`: the night's run, and today's list."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dianhuan_hub.cli._hub import Day, Json, actor, day_or_newest, opened
from dianhuan_hub.cli._output import emit, progress

_RUN = {
    "day": "日期 day",
    "entities": "主体 entities",
    "findings": "线索 findings",
    "warnings": "预警 warnings",
    "cases": "案件 cases",
    "seconds": "耗时(秒) seconds",
}
_LIST = {
    "rank": "序 #",
    "case": "案件 case",
    "name": "企业 enterprise",
    "division": "区划 district",
    "priority": "优先级 priority",
    "models": "模型 models",
    "reason": "证据 evidence",
    "counter": "反证 counter-evidence",
}


def command(
    day: Day = None,
    model: Annotated[list[str] | None, typer.Option("--model", help="只运行这些模型 · only these models")] = None,
    as_json: Json = False,
) -> None:
    """Screen the whole city as it stood at the end of a day."""
    with opened() as hub, progress("筛查 screening") as advance:
        report = hub.screening.run(day_or_newest(hub, day), model, lambda _: advance(0))
    emit(report.as_dict(), as_json=as_json, columns=_RUN)
    for name, error in report.failed.items():
        if not as_json:
            print(f"{name}: {error}")
    if report.failed:
        raise typer.Exit(1)


def todays(
    day: Day = None,
    k: Annotated[int | None, typer.Option("-k", min=1, help="核查户数 · visits that can be made")] = None,
    division: Annotated[list[str] | None, typer.Option(help="区划前缀 · prefixes of districts")] = None,
    as_json: Json = False,
) -> None:
    """Today's list: ranked cases with evidence, counter-evidence and what was ruled out."""
    from dianhuan_hub.screening import BOUND_UNKNOWN

    with opened() as hub:
        chosen = day_or_newest(hub, day)
        lines = [line.as_dict() for line in hub.todays_list(chosen, k, tuple(division) if division else None)]
        hub.cases.seen(actor(), "case work", f"list {chosen}", [str(line["case"]) for line in lines])
    if as_json:
        emit(({**line, "bound": None} for line in lines), as_json=True)
        return
    emit([_shown(line) for line in lines], as_json=False, columns=_LIST, title=f"{chosen} 今日清单 today's list")
    print(f"{len(lines)} 户 visits · {BOUND_UNKNOWN[0]} · {BOUND_UNKNOWN[1]}")


def _shown(line: dict[str, Any]) -> dict[str, Any]:
    first = line["warnings"][0] if line["warnings"] else None
    return {
        **line,
        "case": line["case"] + (" (随机 random)" if line["arm"] == "random" else ""),
        "priority": f"{line['priority']:.2f}",
        "models": ", ".join(w["model"] for w in line["warnings"]),
        "reason": ";".join(t["zh"] for t in first["reasons"]) if first else "",
        "counter": ";".join(t["zh"] for t in first["counter"]) if first else "",
    }
