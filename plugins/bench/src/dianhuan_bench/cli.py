"""`dianhuan bench`: measures warning models."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from dianhuan_sdk import DianhuanError, InputError

app = typer.Typer(name="bench", help="模型评测 / Measures warning models.", no_args_is_help=True)


class Tier(StrEnum):
    """Tiers of evaluation."""

    T1 = "T1"
    T2 = "T2"


@app.callback()
def main() -> None:
    """模型评测 / Measures warning models."""


@app.command()
def models(
    tier: Annotated[list[Tier] | None, typer.Option(help="层级, 可多次 / tier, several allowed; default both")] = None,
    seed: Annotated[int, typer.Option(min=0, help="随机种子 / seed")] = 7001,
    entities: Annotated[int, typer.Option(min=500, help="城市户数 / size of the cities")] = 20_000,
    base_rate: Annotated[
        list[float] | None, typer.Option(help="违规基础率, 可多次 / base rate, several allowed")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="实测曲线文件夹 / folder of measured curves (T1)")] = None,
    province: Annotated[
        str | None, typer.Option(help="另一省份 / a second province of the simulator, run beside")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="只测这些模型 / only these models")] = None,
    out: Annotated[Path | None, typer.Option(help="HTML 报告 / HTML report")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="机器可读 / one JSON object on stdout")] = False,
) -> None:
    """评测已安装的预警模型 / Measure the installed daily and advance models; ends with 1 if a budget is exceeded."""
    from rich.console import Console

    from dianhuan_bench._page import page
    from dianhuan_bench._report import RATES, report
    from dianhuan_bench._run import installed_models
    from dianhuan_simulator import province_knobs

    console = Console(stderr=True)
    rates = base_rate or list(RATES)
    tiers = [t.value for t in tier or list(Tier)]
    words = [f"--tier {t}" for t in tiers] + [f"--base-rate {r:g}" for r in rates]
    command = f"dianhuan bench models {' '.join(words)} --seed {seed} --entities {entities}"
    command += " --data FOLDER" if data else ""
    command += f" --province {province}" if province else ""
    command += "".join(f" --model {m}" for m in model or ())
    try:
        with console.status("…") as line:
            made = report(
                installed_models(model or ()),
                tiers,
                seed,
                entities,
                rates,
                data=data,
                knobs=(None,) if province is None else (None, province_knobs(province)),
                command=command,
                say=line.update,
            )
        if out is not None:
            out.write_text(page(made), "utf-8")
            out.with_suffix(".json").write_text(json.dumps(made, ensure_ascii=False, indent=1), "utf-8")
    except (DianhuanError, OSError) as error:
        _fail(error, as_json)
    if as_json:
        typer.echo(json.dumps(made, ensure_ascii=False))
    else:
        for tier_name, why in made["skipped"].items():
            console.print(f"未运行 / not run: {tier_name}: {why}")
        for city in made["T2"]:
            best = city["rows"]["fused"].get("P@65", {"value": float("nan"), "k": 0, "low": 0, "high": 1})
            console.print(
                f"T2 {city['province']} {city['base_rate']:.2%}: P@{best['k']} {best['value']:.3f} "
                f"({best['low']:.2f}–{best['high']:.2f}), {city['rows']['fused']['listed']} listed"
            )
    for text in made["exceeded"]:
        console.print(f"[red]告警预算超出 / alarm budget exceeded: {text}[/red]")
    raise typer.Exit(1 if made["exceeded"] else 0)


@app.command()
def conform(
    model: Annotated[list[str] | None, typer.Option(help="只查这些模型 / only these models")] = None,
    seed: Annotated[int, typer.Option(min=0, help="随机种子 / seed")] = 7001,
    entities: Annotated[int, typer.Option(min=500, help="城市户数 / size of the city")] = 20_000,
    as_json: Annotated[bool, typer.Option("--json", help="机器可读 / one JSON object on stdout")] = False,
) -> None:
    """一致性检查:易混情形的告警预算、未来数据无影响 / Alarm budgets among look-alikes, blindness to the future."""
    from dianhuan_bench._full import confounder_suite, future_poison
    from dianhuan_bench._run import installed_models

    try:
        specs = installed_models(model or ())
        if not specs:
            raise InputError("no such daily or advance model is installed", hint="dianhuan plugin list")
        suite = confounder_suite(specs, entities, seed)
        changed = {s.id: future_poison(s, min(entities, 4000), seed) for s in specs}
    except (DianhuanError, OSError) as error:
        _fail(error, as_json)
    if as_json:
        typer.echo(json.dumps({"confounders": suite, "future_poison": changed}, ensure_ascii=False))
    else:
        for row in suite:
            rate = f"{row['per_enterprise_month']:.6f} ({row['low']:.6f}–{row['high']:.6f})"
            leak = f"{len(changed[row['model']])} findings change with the future"
            typer.echo(f"{row['model']}: {row['state']}, {rate}, budget {row['budget']:g}; {leak}", err=True)
    raise typer.Exit(1 if any(changed.values()) or any(row["state"] == "exceeded" for row in suite) else 0)


def _fail(error: DianhuanError | OSError, as_json: bool) -> NoReturn:
    if as_json:
        told = error.as_dict() if isinstance(error, DianhuanError) else {"error": "OSError", "message": str(error)}
        typer.echo(json.dumps(told, ensure_ascii=False))
    else:
        typer.echo(str(error), err=True)
    raise typer.Exit(2) from None
