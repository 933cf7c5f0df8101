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
    "probability": "把握 chance",
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
    publish: Annotated[
        bool, typer.Option("--publish", help="固定当日清单并记录摘要 · fix the list before anybody goes out")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="按留存版本重算已发布清单 · make a published list again and compare")
    ] = False,
    as_json: Json = False,
) -> None:
    """Today's list: ranked cases with evidence, counter-evidence and what was ruled out."""
    with opened() as hub:
        chosen = day_or_newest(hub, day)
        if check:
            wrong = hub.lists.check(chosen)
            emit({"day": chosen.isoformat(), "same": not wrong, "differs": wrong}, as_json=as_json)
            raise typer.Exit(1 if wrong else 0)
        if publish:
            hub.lists.publish(chosen)
        found = hub.lists.todays(chosen, k, tuple(division) if division else None)
        lines = [line.as_dict() for line in found.lines]
        hub.cases.seen(actor(), "case work", f"list {chosen}", [str(line["case"]) for line in lines])
    if as_json:
        emit(({**line, "list": found.as_dict()} for line in lines), as_json=True)
        return
    emit([_shown(line) for line in lines], as_json=False, columns=_LIST, title=f"{chosen} 今日清单 today's list")
    print(f"{len(lines)} 户 visits · {found.words.zh} · {found.words.en}")
    if found.published_at is not None:
        print(f"已发布 published {found.published_at:%Y-%m-%d %H:%M} UTC · {found.fusion} · SHA-256 {found.sha256}")


def _shown(line: dict[str, Any]) -> dict[str, Any]:
    first = line["warnings"][0] if line["warnings"] else None
    return {
        **line,
        "case": line["case"] + (" (随机 random)" if line["arm"] == "random" else ""),
        "probability": f"{line['probability']:.2f}",
        "models": ", ".join(w["model"] for w in line["warnings"]),
        "reason": ";".join(t["zh"] for t in first["reasons"]) if first else "",
        "counter": ";".join(t["zh"] for t in first["counter"]) if first else "",
    }
