"""`dianhuan quarantine` and `dianhuan replay`: what was refused and why, and trying again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from dianhuan_hub.cli._hub import Json, opened
from dianhuan_hub.cli._output import emit

app = typer.Typer(no_args_is_help=True, help="隔离区 · refused rows")

Table = Annotated[str | None, typer.Option(help="表 · table")]
Code = Annotated[str | None, typer.Option(help="原因代码 · reason code")]
Load = Annotated[int | None, typer.Option(help="批次 · load id")]

_COLUMNS = {
    "quarantine_id": "编号 id",
    "load_id": "批次 load",
    "table_name": "表 table",
    "row_no": "行 row",
    "code": "原因 code",
    "detail": "说明 detail",
    "state": "状态 state",
}


@app.command("list", help="列出被拒的行 · list refused rows")
def list_rows(
    table: Table = None,
    code: Code = None,
    load: Load = None,
    every: Annotated[bool, typer.Option("--all", help="包括已重放的 · replayed ones too")] = False,
    limit: Annotated[int, typer.Option(min=1, help="最多行数 · rows at most")] = 50,
    as_json: Json = False,
) -> None:
    from dianhuan_hub.store import Query, read_page

    equals: dict[str, object] = {
        k: v for k, v in {"table_name": table, "code": code, "load_id": load}.items() if v is not None
    }
    if not every:
        equals["state"] = "open"
    with opened() as hub:
        page = read_page(
            hub.store.engine, Query("quarantine", equals=equals), order=[("quarantine_id", False)], limit=limit
        )
    emit(page.rows, as_json=as_json, columns=_COLUMNS)
    if page.more and not as_json:
        print(f"还有更多,用 --limit 查看 · there are more, see --limit (now {limit})")


@app.command(help="各原因的行数 · counts by reason")
def summary(as_json: Json = False) -> None:
    from dianhuan_hub.store import Query, read_groups

    with opened() as hub:
        groups = read_groups(hub.store.engine, Query("quarantine", equals={"state": "open"}), "code")
    emit(
        [{"code": code, "rows": rows} for code, rows in groups],
        as_json=as_json,
        columns={"code": "原因 code", "rows": "行数 rows"},
    )


@app.command(help="登记表更正后重新检查 · check refused rows again, e.g. after the register was completed")
def replay(table: Table = None, code: Code = None, load: Load = None, as_json: Json = False) -> None:
    from dianhuan_hub.intake import replay_quarantine

    with opened() as hub:
        done = replay_quarantine(hub.store, hub.intake, table=table, codes=[code] if code else None, load_id=load)
    emit(done.as_dict(), as_json=as_json)


def replay_load(
    load: Annotated[int, typer.Argument(help="批次 · load id, see `dianhuan quarantine list`")],
    mapping: Annotated[Path | None, typer.Option("--mapping", "-m", help="映射文件 · corrected mapping file")] = None,
    as_json: Json = False,
) -> None:
    """Read the kept raw file of a load again, with the adapter or mapping as it is now."""
    with opened() as hub:
        summary = asyncio.run(hub.replay_load(load, mapping))
    emit(summary.as_dict(), as_json=as_json)
    if summary.error:
        raise typer.Exit(1)
