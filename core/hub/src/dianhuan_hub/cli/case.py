"""`dianhuan case`: one case, its steps and its outcome."""

from __future__ import annotations

from typing import Annotated

import typer

from dianhuan_hub.cli._hub import Json, actor, opened
from dianhuan_hub.cli._output import emit

app = typer.Typer(no_args_is_help=True, help="案件 · cases")

Case = Annotated[str, typer.Argument(help="案件编号 · id of the case")]
Note = Annotated[str, typer.Option(help="说明 · note")]


@app.command(help="一个案件的全部 · all about a case")
def show(case: Case, as_json: Json = False) -> None:
    from dianhuan_hub.ranking import evidence_of

    with opened() as hub:
        file = hub.cases.open(case, actor(), "case work")
    emit(
        {
            **file.case,
            "events": file.events,
            "outcomes": file.outcomes,
            "findings": [evidence_of(f) for f in file.findings],
        },
        as_json=as_json,
    )


@app.command(help="推进一步:assessed 研判, assigned 交办, handled 处置, answered 反馈, archived 归档 · one step on")
def move(
    case: Case, state: Annotated[str, typer.Argument(help="状态 · state")], note: Note = "", as_json: Json = False
) -> None:
    with opened() as hub:
        moved = hub.cases.move(case, state, actor(), note)
    emit(moved, as_json=as_json)


@app.command(
    help="登记现场核查结果 · record what a visit found: verified, benign_explained, device_fault, not_found, "
    "could_not_inspect"
)
def outcome(
    case: Case, code: Annotated[str, typer.Argument(help="结果 · outcome")], note: Note = "", as_json: Json = False
) -> None:
    with opened() as hub:
        moved = hub.cases.outcome(case, code, actor(), note)
    emit(moved, as_json=as_json)
