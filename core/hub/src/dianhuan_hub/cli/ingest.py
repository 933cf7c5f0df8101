"""`dianhuan ingest` and `dianhuan backfill`: sources and files into the store."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dianhuan_hub.cli._hub import Json, next_day, opened, parsed_day
from dianhuan_hub.cli._output import emit, progress

if TYPE_CHECKING:
    from dianhuan_hub.app import Hub
    from dianhuan_hub.intake import Source, Summary
    from dianhuan_sdk import Window

_COLUMNS = {
    "source": "来源 source",
    "stream": "数据流 stream",
    "accepted": "入库 accepted",
    "corrected": "更正 corrected",
    "unchanged": "未变 unchanged",
    "quarantined": "隔离 quarantined",
    "error": "问题 what is wrong",
}


def command(
    table: Annotated[
        str | None,
        typer.Argument(help="标准表或数据流，如 load_curve · table or stream; none: all sources of hub.toml"),
    ] = None,
    files: Annotated[list[Path] | None, typer.Argument(help="文件 · files")] = None,
    mapping: Annotated[Path | None, typer.Option("--mapping", "-m", help="映射文件 · mapping file (YAML)")] = None,
    adapter: Annotated[str, typer.Option(help="适配器 · adapter that reads the files")] = "grid_generic",
    source: Annotated[str | None, typer.Option(help="hub.toml 中的来源 · a source of hub.toml")] = None,
    as_json: Json = False,
) -> None:
    """Read files into a standard table, or the sources of hub.toml."""
    if table is not None and not files:
        raise typer.BadParameter("给出文件 · give at least one file after the table")
    with opened() as hub:
        summaries = asyncio.run(_read(hub, table, files or [], mapping, adapter, source))
    _report(summaries, as_json)


async def _read(
    hub: Hub, table: str | None, files: list[Path], mapping: Path | None, adapter: str, source: str | None
) -> list[Summary]:
    if table is not None:
        sources = [hub.file_source(adapter, table, file, mapping) for file in files]
        return [await run_shown(hub, s) for s in sources]
    names = [source] if source else list(hub.config.sources)
    if not names:
        from dianhuan_sdk import ConfigError

        raise ConfigError(f"{hub.config.file} has no source", hint="add [sources.NAME], or give a table and files")
    return [await run_shown(hub, s) for name in names for s in await hub.sources(name)]


def backfill(
    source: Annotated[str, typer.Argument(help="hub.toml 中的来源 · a source of hub.toml")],
    start: Annotated[str, typer.Option(help="首日（含） · first day")],
    end: Annotated[str, typer.Option(help="末日（含） · last day")],
    as_json: Json = False,
) -> None:
    """Read a window of days again without touching the live cursor."""
    from dianhuan_sdk import Window

    window = Window(parsed_day(start), next_day(parsed_day(end)))
    with opened() as hub:

        async def read() -> list[Summary]:
            return [await run_shown(hub, s, window) for s in await hub.sources(source)]

        summaries = asyncio.run(read())
    _report(summaries, as_json)


async def run_shown(hub: Hub, source: Source, window: Window | None = None) -> Summary:
    """Read a source with a progress bar on stderr."""
    with progress(f"{source.name} {source.stream}") as advance:
        seen = 0

        def tell(_note: str, rows: int) -> None:
            nonlocal seen
            advance(rows - seen)
            seen = rows

        return await hub.intake.run(source, window=window, progress=tell)


def _report(summaries: list[Summary], as_json: bool) -> None:
    rows = [s.as_dict() for s in summaries]
    if not as_json:
        for row, summary in zip(rows, summaries, strict=True):
            row["error"] = str(summary.error) if summary.error else ""
    emit(rows, as_json=as_json, columns=_COLUMNS)
    if not as_json and any(s.quarantined for s in summaries):
        print("隔离的行及原因 refused rows and why: dianhuan quarantine list")
    if any(s.error for s in summaries):
        raise typer.Exit(1)
