"""`dianhuan device …`: frames of devices in words."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from dianhuan_devices.hj212 import Hj212Codec, Hj212Config, Hj212Frame, key_bytes, profiles
from dianhuan_devices.hj212._words import deviation_words, frame_object, frame_words
from dianhuan_sdk import ConfigError, Deviation, Device, DianhuanError, InputError, Secret

app = typer.Typer(no_args_is_help=True, add_completion=False, help="设备报文 / device frames")


@app.callback()
def _group() -> None:
    """设备报文: 解码 / device frames: decode."""


@app.command()
def decode(
    file: Annotated[str, typer.Argument(help="报文文件, - 为标准输入 / file of captured frames, - for stdin")],
    protocol: Annotated[str, typer.Option("--protocol", help="hj212, dlt645")] = "hj212",
    as_json: Annotated[bool, typer.Option("--json", help="每帧一行 JSON / one JSON object per frame and line")] = False,
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key",
            help="SM4 密钥: 32 位十六进制, 或 env:NAME, file:PATH; 可重复 (当前, 上一) / SM4 key, may be repeated",
        ),
    ] = None,
    profile: Annotated[str, typer.Option("--profile", help="站点档案 / station profile (hj212)")] = "",
) -> None:
    """解释报文 / show captured frames in words.

    Exit code 0: every frame could be decoded (irregular ones too); 1: something could not (no frame at all, a data
    area without its key, a message cut off at the end); 2: wrong use.
    """
    try:
        data = _read(file)
        if protocol == "hj212":
            whole = _decode_hj212(data, as_json, [_secret(k) for k in key or ()], profile)
        elif protocol == "dlt645":
            whole = _decode_dlt645(data, as_json)
        else:
            raise ConfigError(f"protocol {protocol!r}", expected="hj212 or dlt645", hint="correct --protocol")
    except DianhuanError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    if not whole:
        raise typer.Exit(1)


def _read(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}", expected="a file of captured frames, or -") from None


def _secret(text: str) -> Secret:
    """A key on the command line: the key itself, or where it stands."""
    kind, colon, rest = text.partition(":")
    if colon and kind == "env":
        value = os.environ.get(rest)
        if value is None:
            raise ConfigError(f"no environment variable {rest}", hint="set it, or correct --key")
        secret = Secret(value)
    elif colon and kind == "file":
        try:
            secret = Secret(Path(rest).read_text("utf-8").strip())
        except OSError as error:
            raise ConfigError(f"key file {rest}: {error.strerror}", hint="correct --key") from None
    else:
        secret = Secret(text)
    key_bytes(secret)
    return secret


def _decode_hj212(data: bytes, as_json: bool, keys: Sequence[Secret], profile: str) -> bool:
    if profile and profile not in profiles():
        raise ConfigError(f"no HJ 212 profile {profile!r}", expected=", ".join(profiles()), hint="correct --profile")

    def directory(mn: str) -> Device:
        return Device(device_id=mn, address=mn, profile=profile, keys=tuple(keys))

    codec = Hj212Codec(Hj212Config(), directory)
    found = [*codec.feed(data), *codec.settle(end=True)]
    lines: dict[int, tuple[Hj212Frame, list[Deviation]]] = {}  # a packet that is given up comes twice
    garbage: list[Deviation] = []
    for item in found:
        if isinstance(item, Deviation):
            garbage.append(item)
            typer.echo(f"{deviation_words()[item.code].zh} / {item.detail}", err=True)
        elif id(item) not in lines:
            lines[id(item)] = (item, garbage)
            garbage = []
    for frame, before in lines.values():
        frame.deviations = (*before, *frame.deviations)
        if as_json:
            typer.echo(json.dumps(frame_object(frame), ensure_ascii=False))
        else:
            typer.echo("\n".join(frame_words(frame)))
    cut_off = any(deviation.code == "cut_off" for deviation in garbage)
    return bool(lines) and not cut_off and all(frame.legible for frame, _ in lines.values())


def _decode_dlt645(data: bytes, as_json: bool) -> bool:
    from dianhuan_devices.dlt645 import frame_object as object_645
    from dianhuan_devices.dlt645 import frame_words as words_645
    from dianhuan_devices.dlt645 import read_all

    frames, garbage = read_all(data)
    for deviation in garbage:
        typer.echo(f"{deviation.code}: {deviation.detail}", err=True)
    for frame in frames:
        shown: Any = json.dumps(object_645(frame), ensure_ascii=False) if as_json else "\n".join(words_645(frame))
        typer.echo(shown)
    return bool(frames) and all(frame.valid for frame in frames)


if __name__ == "__main__":
    app()
