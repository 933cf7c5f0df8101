"""`dianhuan grid inspect FILE`: look at an unknown file, propose its mapping, show what it would give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from dianhuan_sdk import DianhuanError, InputError

app = typer.Typer(no_args_is_help=True, help="电网文件 · grid files")

_BARS = " ▁▂▃▄▅▆▇█"
_HEIGHT = 6


@app.callback()
def _grid() -> None:
    """电网文件 · grid files."""


@app.command("inspect")
def inspect(
    file: Annotated[Path, typer.Argument(help="文件 · the unknown file")],
    as_json: Annotated[bool, typer.Option("--json", help="JSON 输出 · JSON for machines")] = False,
    save: Annotated[Path | None, typer.Option(help="写入映射文件 · write the proposed mapping here")] = None,
) -> None:
    """识别未知文件并给出映射建议 · Look at an unknown file and propose its mapping."""
    from dianhuan_grid_generic._look import look

    try:
        report = look(file)
        if save is not None:
            _save(report, save)
    except DianhuanError as error:
        typer.echo(json.dumps(error.as_dict(), ensure_ascii=False) if as_json else str(error), err=not as_json)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps(report.as_dict(), ensure_ascii=False, default=str))
    else:
        typer.echo("\n".join(_lines(report)))
        if save is not None:
            typer.echo(f"\n已写入 · written: {save}")


def mapping_text(report: Any) -> str:
    """The proposed mapping as YAML, with reasons and doubts as comments.

    Raises:
        InputError: there is none to write.
    """
    import yaml

    if report.mapping is None:
        raise InputError(
            f"{report.file} needs no mapping"
            if report.kind == "green_button"
            else f"no form of {report.file} was found",
            expected="a table with a header",
            hint="; ".join(report.doubts) or "read it without a mapping",
        )
    comments = [f"# {report.file}: proposed by `dianhuan grid inspect`; correct it and keep it."]
    for label in ("unit", "stamp", "zone"):
        guess = getattr(report, label)
        if guess is not None:
            comments.append(f"# {label} = {guess.value}: {guess.reason}")
    comments += [f"# verify: {doubt}" for doubt in report.doubts]
    return "\n".join(comments) + "\n" + yaml.safe_dump(report.mapping, allow_unicode=True, sort_keys=False)


def _save(report: Any, path: Path) -> None:
    text = mapping_text(report)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(
            f"{path} is there already",
            expected="a new file",
            hint="name another file; a kept mapping is not overwritten",
        ) from None


def _lines(report: Any) -> list[str]:
    out = [f"{report.file}"]

    def say(zh: str, en: str, value: object, reason: str = "") -> None:
        if value not in (None, "", []):
            out.append(f"  {zh} {en}: {value}" + (f"  ({reason})" if reason else ""))

    say("格式", "format", report.kind + (f", {report.compression}" if report.compression != "none" else ""))
    say("编码", "encoding", report.encoding)
    say("分隔符", "delimiter", repr(report.delimiter) if report.delimiter else "")
    say("表头行", "header line", report.header_row if report.header_row > 1 else "")
    say("数据表", "table", report.table)
    say("布局", "layout", report.layout)
    for zh, en in (("单位", "unit"), ("时标", "stamp"), ("时区", "zone")):
        guess = getattr(report, en)
        if guess is not None:
            say(zh, en, guess.value, guess.reason)
    say("每日点数", "points a day", report.points)
    say("计量点", "metering points", report.meters)
    say("天数", "days", report.days)
    say("已读行", "rows read", report.rows_read, "" if report.whole else "the first rows of the file")
    say("拒收行", "rejected rows", report.rejects or "")
    out += [f"    第{r['row']}行 row {r['row']}: {r['code']}: {r['detail']}" for r in report.first_rejects]
    if report.doubts:
        out.append("  请核实 · verify:")
        out += [f"    - {doubt}" for doubt in report.doubts]
    if report.preview:
        out.append("  预览 · preview:")
        out += [f"    {json.dumps(row, ensure_ascii=False)}" for row in report.preview]
    if report.mean_day:
        out += ["  平均日 · mean day (kW):", *plot(report.mean_day)]
    if report.mapping is not None:
        out += ["", mapping_text(report).rstrip()]
    return out


def plot(values: list[float | None]) -> list[str]:
    """A day of 96 values as lines of block characters, with its scale and hours."""
    given = [v for v in values if v is not None]
    low, high = min(0.0, *given), max(given)
    span = (high - low) or 1.0
    levels = [0 if v is None else round((v - low) / span * _HEIGHT * 8) for v in values]
    lines = []
    for row in range(_HEIGHT - 1, -1, -1):
        label = f"{high:.4g}" if row == _HEIGHT - 1 else f"{low:.4g}" if row == 0 else ""
        lines.append(f"{label:>10} │" + "".join(_BARS[min(max(level - row * 8, 0), 8)] for level in levels))
    return [*lines, " " * 11 + "└" + "".join(f"{h:<12}" for h in ("00", "03", "06", "09", "12", "15", "18", "21"))]
