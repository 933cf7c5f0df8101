"""The play: a federation begins, two cities publish, an agency asks, two frauds are refused."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

demo_app = typer.Typer()


@demo_app.command("demo")
def demo(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="目录 · folder; an earlier demo in it is replaced")] = Path(
        "var/federation"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="机器可读 · answer as one JSON object")] = False,
) -> None:
    """演示联邦 · Two cities in two provinces and one agency: publish, witness, sync, query; two frauds are refused."""
    from dianhuan_federation.demo._play import Play
    from dianhuan_federation.demo._stage import Stage

    began = time.perf_counter()
    play = Play(Stage(folder, ctx.find_root().command, quiet=as_json))
    play.ceremony()
    play.cities()
    with play.provinces():
        play.publish()
    play.sync()
    facts: dict[str, Any] = {
        "rows": play.rows,
        "answer": play.query(),
        "proof": play.proof(),
        "refused": [play.tampered_copy(), play.rolled_back_log()],
    }
    facts["seconds"] = round(time.perf_counter() - began, 1)
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    typer.echo(f"\n耗时 {facts['seconds']} s · 各方文件 what each party has: {folder}")
