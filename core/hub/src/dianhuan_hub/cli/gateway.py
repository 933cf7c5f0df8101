"""`dianhuan gateway`: devices that wait, their approval, and what goes on; also while `dianhuan serve` runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dianhuan_hub.cli._hub import Json, actor, ask
from dianhuan_hub.cli._output import emit

app = typer.Typer(no_args_is_help=True, help="设备接入 · devices on site")

Device = Annotated[str, typer.Argument(help="设备编号（HJ 212 为 MN） · id of the device, the MN for HJ 212")]
Note = Annotated[str, typer.Option(help="说明 · note")]

_COLUMNS = {
    "device_id": "设备 device",
    "state": "状态 state",
    "protocol": "协议 protocol",
    "profile": "档案 profile",
    "entity_id": "企业 enterprise",
    "peer": "来源 from",
    "frames_kept": "留存报文 frames",
    "first_seen": "首见 first seen",
}


@app.command(help="运行状态与近期消息 · what goes on, and recent messages")
def status(as_json: Json = False) -> None:
    emit(ask({"do": "status"}), as_json=as_json)


@app.command(help="设备清单，待审批的在前 · devices, those that wait first")
def devices(
    state: Annotated[str, typer.Option(help="waiting 待审批, approved 已接入, refused 已拒绝")] = "",
    as_json: Json = False,
) -> None:
    emit(ask({"do": "devices", "state": state}), as_json=as_json, columns=_COLUMNS)


@app.command(help="一个设备的全部，含留存报文 · all about a device, with the frames that are kept of it")
def show(device: Device, as_json: Json = False) -> None:
    emit(ask({"do": "show", "device": device}), as_json=as_json)


@app.command(help="批准接入，或修改设置 · let a device in, or change its settings")
def approve(
    device: Device,
    entity: Annotated[str | None, typer.Option(help="企业 · entity_id of the enterprise")] = None,
    profile: Annotated[str | None, typer.Option(help="档案 · profile of the protocol")] = None,
    key: Annotated[
        list[str] | None, typer.Option(help="密钥位置，现用在前 · where a key is kept: env:NAME or file:PATH")
    ] = None,
    password: Annotated[
        str | None, typer.Option(help="访问密码位置 · where the password is kept: env:NAME or file:PATH")
    ] = None,
    option: Annotated[list[str] | None, typer.Option(help="协议选项 · option of the protocol: NAME=JSON")] = None,
    protocol: Annotated[str, typer.Option(help="协议（尚未上报的设备） · protocol of a device not seen yet")] = "",
    address: Annotated[str, typer.Option(help="地址（轮询设备） · address on a polled line")] = "",
    line: Annotated[str, typer.Option(help="轮询线路或代理 · name of the poll or broker in hub.toml")] = "",
    note: Note = "",
    as_json: Json = False,
) -> None:
    decision = {
        "entity_id": entity,
        "profile": profile,
        "keys": key or None,
        "password": password,
        "options": _options(option) if option else None,
        "protocol": protocol,
        "address": address,
        "line": line,
        "note": note,
    }
    emit(ask({"do": "approve", "device": device, "decision": decision, "actor": actor()}), as_json=as_json)


@app.command(help="拒绝接入 · keep a device out")
def refuse(device: Device, note: Note = "", as_json: Json = False) -> None:
    emit(ask({"do": "refuse", "device": device, "note": note, "actor": actor()}), as_json=as_json)


@app.command(help="用现有解码重读留存原始报文 · read the raw frames kept of a device again")
def replay(
    device: Device,
    since: Annotated[str, typer.Option(help="起，本地时间 · from, local time: YYYY-MM-DD[THH:MM]")],
    until: Annotated[str, typer.Option(help="止，本地时间 · to, local time; now by default")] = "",
    as_json: Json = False,
) -> None:
    emit(ask({"do": "replay", "device": device, "since": since, "until": until}), as_json=as_json)


def _options(texts: list[str]) -> dict[str, Any]:
    import json

    from dianhuan_sdk import InputError

    found = {}
    for text in texts:
        name, mark, value = text.partition("=")
        try:
            found[name] = json.loads(value)
        except ValueError:
            mark = ""
        if not mark:
            raise InputError(f"option {text!r}", expected="NAME=JSON, for example refuse=[]", hint="quote it")
    return found
