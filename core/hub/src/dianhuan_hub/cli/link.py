"""`dianhuan link`: roles of circuits and links between treatment and production; also while `dianhuan serve` runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dianhuan_hub.cli._hub import Json, actor, ask
from dianhuan_hub.cli._output import emit

app = typer.Typer(no_args_is_help=True, help="回路与产治关系 · circuits and links")

Channel = Annotated[str, typer.Argument(help="通道编号 · id of the channel")]
LinkId = Annotated[str, typer.Argument(help="关系编号 · id of the link")]
Note = Annotated[str, typer.Option(help="说明 · note")]
Production = Annotated[list[str] | None, typer.Option(help="产污回路 · production circuit, any number")]
Factors = Annotated[list[str] | None, typer.Option(help="其后的污染因子通道 · factor measured behind the treatment")]

_COLUMNS = {
    "link_id": "关系 link",
    "state": "状态 state",
    "entity_id": "企业 enterprise",
    "treatment": "治污 treatment",
    "production": "产污 production",
    "confidence": "置信 confidence",
    "lag_minutes": "滞后 lag min",
    "note": "说明 note",
}


@app.command(
    help="回路用电类型:plant_total 企业总电, production 产污, treatment 治污, combined 产治一体, indirect 间接 "
    "· what a circuit feeds"
)
def role(
    channel: Channel,
    role: Annotated[str, typer.Argument(help="用电类型 · role")],
    rated: Annotated[float | None, typer.Option(help="额定负荷,通道单位 · rated load, in the channel's unit")] = None,
    facility: Annotated[str | None, typer.Option(help="设施编号 · facility, e.g. TA001")] = None,
    as_json: Json = False,
) -> None:
    emit(_ask("role", channel_id=channel, role=role, rated=rated, facility=facility, actor=actor()), as_json=as_json)


@app.command(help="由数据提出关系,待人工确认 · propose links from the readings")
def propose(
    days: Annotated[int, typer.Option(min=1, max=60, help="用最近多少天 · days of readings")] = 14,
    entity: Annotated[str | None, typer.Option(help="只看此企业 · this enterprise only")] = None,
    as_json: Json = False,
) -> None:
    emit(_ask("propose", days=days, entity_id=entity, actor=actor()), as_json=as_json, columns=_COLUMNS)


@app.command("list", help="关系清单 · links")
def links(
    state: Annotated[str, typer.Option(help="proposed 待确认, confirmed 已确认, refused 已否定")] = "",
    as_json: Json = False,
) -> None:
    emit(_ask("links", state=state), as_json=as_json, columns=_COLUMNS)


@app.command(help="直接登记已知关系(即确认) · a link that you know")
def add(
    treatment: Annotated[list[str], typer.Option(help="治污回路 · treatment circuit, any number")],
    production: Annotated[list[str], typer.Option(help="产污回路 · production circuit, any number")],
    factor: Factors = None,
    note: Note = "",
    as_json: Json = False,
) -> None:
    given = {"treatment": treatment, "production": production, "factors": factor or []}
    emit(_ask("add", **given, note=note, actor=actor()), as_json=as_json)


@app.command(help="确认关系 · confirm a link")
def confirm(
    link: LinkId, production: Production = None, factor: Factors = None, note: Note = "", as_json: Json = False
) -> None:
    given = {"production": production or None, "factors": factor or None}
    emit(_ask("confirm", link=link, **given, note=note, actor=actor()), as_json=as_json)


@app.command(help="否定关系 · refuse a link")
def refuse(link: LinkId, note: Note = "", as_json: Json = False) -> None:
    emit(_ask("refuse", link=link, note=note, actor=actor()), as_json=as_json)


@app.command(help="静默若干小时 · say nothing about a link for some hours")
def mute(
    link: LinkId,
    hours: Annotated[float, typer.Option(help="小时 · hours")] = 24.0,
    note: Note = "",
    as_json: Json = False,
) -> None:
    emit(_ask("mute", link=link, hours=hours, note=note, actor=actor()), as_json=as_json)


@app.command(help="解除静默 · end every mute of a link")
def rearm(link: LinkId, as_json: Json = False) -> None:
    emit(_ask("rearm", link=link, actor=actor()), as_json=as_json)


def _ask(what: str, **given: Any) -> Any:
    return ask({"do": "realtime", "what": what, **given})
