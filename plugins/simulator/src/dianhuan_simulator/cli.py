"""`dianhuan sim`: make cities, run the devices of plants."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from dianhuan_sdk import DianhuanError
from dianhuan_simulator._protocols import Protocol

app = typer.Typer(name="sim", help="模拟城市 / A simulated city with known truth.", no_args_is_help=True)


class Form(StrEnum):
    """Form of the files."""

    hunan = "hunan"
    generic = "generic"


@app.callback()
def main() -> None:
    """模拟城市 / A simulated city with known truth."""


@app.command()
def city(
    out: Annotated[Path, typer.Argument(help="目标文件夹 / folder to write into")],
    entities: Annotated[int, typer.Option(min=1, help="市场主体数 / number of entities")] = 3000,
    days: Annotated[int, typer.Option(min=1, help="天数 / number of days")] = 30,
    start: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="首日 / first day")] = datetime(2026, 3, 2),  # noqa: DTZ001
    seed: Annotated[int, typer.Option(min=0, help="随机种子 / seed")] = 1,
    form: Annotated[Form, typer.Option("--format", help="文件形式 / form of the files")] = Form.hunan,
    base_rate: Annotated[float | None, typer.Option(help="违法比例 / share of violators, e.g. .002")] = None,
    knobs: Annotated[Path | None, typer.Option(help="参数文件 / YAML that overrides the knobs")] = None,
    parquet: Annotated[bool, typer.Option(help="通用形式写 Parquet / Parquet for the generic form")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="机器可读 / one JSON object on stdout")] = False,
) -> None:
    """生成一座城市的文件、台账与真值 / Write a city's files, registers and truth."""
    from rich.console import Console
    from rich.progress import Progress

    from dianhuan_simulator import City, CityConfig, write_generic, write_hunan

    began = time.monotonic()
    console = Console(stderr=True)
    try:
        config = CityConfig(entities=entities, days=days, start=start.date(), base_rate=base_rate, knobs=knobs)
        made = City(config, seed)
        with Progress(console=console, disable=as_json) as bar:
            task = bar.add_task("模拟城市 / city", total=days)

            def advance(_: object) -> None:
                bar.advance(task)

            if form is Form.hunan:
                written = write_hunan(made, out, progress=advance)
            else:
                written = write_generic(made, out, progress=advance, parquet=parquet)
        truth = made.truth()
    except DianhuanError as error:
        _fail(error, as_json)
    violators = sum(truth["is_violation"].to_pylist())
    answer = {
        "out": str(out),
        "format": form.value,
        "entities": entities,
        "days": days,
        "metering_points": len(made.point_ids),
        "files": len(written.files),
        "bytes": written.bytes,
        "violations": violators,
        "twins": truth.num_rows - violators,
        "seconds": round(time.monotonic() - began, 2),
    }
    _say(answer, as_json)


_PLANTS = typer.Option(min=1, max=20000, help="企业数 / number of plants")
_SEED = typer.Option(min=0, help="随机种子 / seed")
_OFFENDERS = typer.Option(min=0, max=1, help="违规企业比例 / share of offending plants")
_PROTOCOL = typer.Option(help="协议 / what the devices speak")
_START = typer.Option(formats=["%Y-%m-%dT%H:%M"], help="首分钟, 当地时间 / first minute, local time; default: ends now")
_JSON = typer.Option("--json", help="机器可读 / JSON on stdout")


def _local(start: datetime | None) -> datetime | None:
    from dianhuan_sdk import LOCAL_ZONE

    return start.replace(tzinfo=LOCAL_ZONE) if start is not None else None


@app.command()
def run(
    plants: Annotated[int, _PLANTS] = 300,
    speed: Annotated[float, typer.Option(min=0.1, help="倍速 / simulated seconds in a second")] = 60.0,
    host: Annotated[str, typer.Option(help="中心或监听地址 / of the hub; for meters to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="端口 / port")] = 9212,
    protocol: Annotated[Protocol, _PROTOCOL] = Protocol.mixed,
    hours: Annotated[float, typer.Option(min=0.01, max=168, help="模拟时长 / simulated hours")] = 1.0,
    seed: Annotated[int, _SEED] = 1,
    offenders: Annotated[float, _OFFENDERS] = 0.05,
    timeout: Annotated[float, typer.Option(min=0.1, help="等待应答秒数 / seconds to wait for an answer")] = 10.0,
    start: Annotated[datetime | None, _START] = None,
    truth: Annotated[Path, typer.Option(help="真值文件 / file for the truth")] = Path("truth.ndjson"),
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """模拟现场设备接入中心 / Devices of emulated plants speak to a hub (or, as meters, wait to be asked)."""
    import asyncio

    from rich.console import Console

    from dianhuan_simulator.emulator._run import Run, RunConfig
    from dianhuan_simulator.emulator._station import Tally

    console = Console(stderr=True)
    began = time.monotonic()

    async def whole() -> tuple[Run, int]:
        made = Run(RunConfig(plants, hours, speed, host, port, protocol, seed, offenders, timeout, _local(start)))
        told = made.write_truth(truth)
        with console.status("…") as line:

            def show(passed: float, tally: Tally) -> None:
                line.update(
                    f"{passed:4.0%}  已发 sent {tally.sent}  已应答 acknowledged {tally.acknowledged}  "
                    f"重发 resent {tally.resent}  命令 commands {tally.commands}"
                )

            await made.run(show)
        return made, told

    try:
        done, stories = asyncio.run(whole())
    except (DianhuanError, OSError) as error:
        _fail(error, as_json)
    answer = {
        "plants": plants,
        "devices": len(done.specs),
        "protocol": protocol.value,
        "truth": str(truth),
        "stories": stories,
        "from": done.world.instant(done.first).isoformat(),
        "to": done.world.instant(done.last).isoformat(),
        **done.tally.as_dict(),
        "seconds": round(time.monotonic() - began, 2),
    }
    _say(answer, as_json)


@app.command()
def registry(
    out: Annotated[Path, typer.Argument(help="目标文件夹 / folder to write into")],
    plants: Annotated[int, _PLANTS] = 300,
    protocol: Annotated[Protocol, _PROTOCOL] = Protocol.mixed,
    seed: Annotated[int, _SEED] = 1,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """写出模拟设备的台账 / Write the registry of the devices, channels and links that `sim run` speaks for."""
    from dianhuan_simulator.emulator import Emulation
    from dianhuan_simulator.emulator._devices import devices
    from dianhuan_simulator.emulator._registry import write_registry

    try:
        world = Emulation(plants, 1, seed, 0.0)
        written = write_registry(world, devices(world, protocol), out)
    except (DianhuanError, OSError) as error:
        _fail(error, as_json)
    _say({"out": str(out), **written}, as_json)


def _fail(error: DianhuanError | OSError, as_json: bool) -> NoReturn:
    if as_json:
        told = error.as_dict() if isinstance(error, DianhuanError) else {"error": "OSError", "message": str(error)}
        typer.echo(json.dumps(told, ensure_ascii=False))
    else:
        typer.echo(str(error), err=True)
    raise typer.Exit(1) from None


def _say(answer: Mapping[str, object], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
    else:
        typer.echo("  ".join(f"{key}={value}" for key, value in answer.items()), err=True)
