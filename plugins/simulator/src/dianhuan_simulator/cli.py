"""`dianhuan sim`: make cities."""

from __future__ import annotations

import json
import time
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dianhuan_sdk import DianhuanError

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
        if as_json:
            typer.echo(json.dumps(error.as_dict(), ensure_ascii=False))
        else:
            console.print(f"[red]{error}")
        raise typer.Exit(1) from None
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
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
    else:
        console.print("  ".join(f"{key}={value}" for key, value in answer.items()))
