"""`dianhuan realtime`: what the real-time tier does, and what plants answered; also while `dianhuan serve` runs."""

from __future__ import annotations

from typing import Annotated

import typer

from dianhuan_hub.cli._hub import Json, actor, ask
from dianhuan_hub.cli._output import emit

app = typer.Typer(no_args_is_help=True, help="实时监测 · real-time tier")

Event = Annotated[str, typer.Argument(help="事件编号 · id of the event")]
Note = Annotated[str, typer.Option(help="说明 · note")]

_COLUMNS = {
    "event_id": "事件 event",
    "entity_id": "企业 enterprise",
    "since": "起 since",
    "opened_at": "通知 told",
    "delivered_at": "送达 delivered",
    "answer": "答复 answer",
    "answer_text": "说明 words",
    "accepted": "认可 accepted",
}


@app.command(help="运行状态 · models, last tick, links, notices")
def status(as_json: Json = False) -> None:
    emit(ask({"do": "realtime", "what": "status"}), as_json=as_json)


@app.command(help="近期通知及答复 · notices of the last days and what plants answered")
def notices(as_json: Json = False) -> None:
    emit(ask({"do": "realtime", "what": "notices"}), as_json=as_json, columns=_COLUMNS)


@app.command(help="认可企业答复 · accept what a plant answered")
def accept(event: Event, note: Note = "", as_json: Json = False) -> None:
    _review(event, True, note, as_json)


@app.command(help="不认可企业答复 · refuse what a plant answered")
def refuse(event: Event, note: Note = "", as_json: Json = False) -> None:
    _review(event, False, note, as_json)


def _review(event: str, accepted: bool, note: str, as_json: bool) -> None:
    asked = {"do": "realtime", "what": "review", "event_id": event, "accepted": accepted, "actor": actor()}
    emit(ask({**asked, "note": note}), as_json=as_json)
