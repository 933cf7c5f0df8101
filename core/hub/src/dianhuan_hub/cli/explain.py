"""`dianhuan explain CASE`: the evidence in words and drawn."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from dianhuan_hub.cli._hub import Json, actor, opened
from dianhuan_hub.cli._output import emit

_DAYS = 28


def command(
    case: Annotated[str, typer.Argument(help="案件编号 · id of the case")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="图片文件 .png/.svg · picture file")] = None,
    as_json: Json = False,
) -> None:
    """Why an enterprise is on the list: evidence, counter-evidence, gates, and its load drawn."""
    from dianhuan_hub.ranking import evidence_of

    with opened() as hub:
        file = hub.cases.open(case, actor(), "case work")
        findings = [evidence_of(f) for f in file.findings]
        day: date = file.case["day"]
        days, kw = hub.store.entity_curves(file.case["entity_id"], day - timedelta(days=_DAYS - 1), day)
    exhibit = next((f["exhibit"] for f in findings if f["exhibit"]), None)
    if out is not None:
        from dianhuan_hub.cli._draw import draw_picture

        draw_picture(out, case, days, kw, exhibit, findings)
    if as_json:
        emit({**file.case, "findings": findings, "picture": out}, as_json=True)
        return
    print(f"{case} · {file.case['entity_id']} · {day} · {file.case['state']}")
    for f in findings:
        _print_finding(f)
    from dianhuan_hub.cli._draw import draw_terminal

    draw_terminal(days, kw, exhibit)
    if out is not None:
        print(f"图片 picture: {out}")


def _print_finding(f: dict[str, Any]) -> None:
    mark = "✓" if f["passed"] else "✗"
    print(f"\n{mark} {f['model']} {f['rule']}  得分 score {f['score']:.2f}  {f['verdict']}")
    for title, key in (("证据 evidence", "reasons"), ("反证 counter-evidence", "counter")):
        for text in f[key]:
            print(f"  {title}: {text['zh']} | {text['en']}")
    for gate in f["gates"]:
        print(f"  {'✓' if gate['passed'] else '✗'} {gate['gate']}: {gate['zh']} | {gate['en']}")
    if f["context"]:
        print(f"  背景缺口 gaps in context: {', '.join(f['context'])}")
