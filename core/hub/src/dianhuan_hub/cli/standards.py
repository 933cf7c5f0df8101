"""`dianhuan standards`: the standard tables, their fields, and whether a file keeps to them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dianhuan_hub.cli._output import emit, progress
from dianhuan_sdk import InputError, TableContract
from dianhuan_standards import REGISTERS, TABLES
from dianhuan_standards.validate import ValidationReport, validate_file

_LIMIT = 200

app = typer.Typer(no_args_is_help=True, add_completion=False, help="数据标准 · standard tables")

Json = Annotated[bool, typer.Option("--json", help="输出 JSON（每行一个） · print JSON Lines")]


@app.command("list", help="列出标准表 · list the standard tables")
def list_tables(as_json: Json = False) -> None:
    rows = [
        {
            "table": c.name,
            "zh": c.zh,
            "version": c.version,
            "key": c.key,
            "fields": len(c.fields),
            "register": c.name in REGISTERS,
            "doc": c.doc,
        }
        for c in TABLES.values()
    ]
    headings = {
        "table": "表 table",
        "zh": "名称",
        "version": "版本 version",
        "key": "主键 key",
        "fields": "字段数 fields",
        "doc": "含义 meaning",
    }
    emit(rows, as_json=as_json, columns=headings)


@app.command(help="一张表的字段、单位和规则 · fields, units and rules of a table")
def show(table: Annotated[str, typer.Argument(help="表名 · name of the table")], as_json: Json = False) -> None:
    contract = _contract(table)
    fields = [
        {
            "name": f.name,
            "zh": f.zh,
            "type": str(f.type),
            "unit": f.unit,
            "required": f.required,
            "low": f.low,
            "high": f.high,
            "codes": f.codes,
            "pattern": f.pattern,
            "personal": f.personal,
            "aliases": f.aliases,
            "doc": f.doc,
        }
        for f in contract.fields
    ]
    rules = [{"code": r.code, "columns": r.columns, "words": r.words} for r in contract.rules]
    if as_json:
        head = {"table": contract.name, "zh": contract.zh, "version": contract.version, "key": contract.key}
        emit({**head, "doc": contract.doc, "fields": fields, "rules": rules}, as_json=True)
        return
    headings = {
        "name": "字段 field",
        "zh": "名称",
        "type": "类型 type",
        "unit": "单位 unit",
        "required": "必填 required",
        "codes": "代码 codes",
        "doc": "含义 meaning",
    }
    emit(fields, as_json=False, columns=headings, title=f"{contract.name} {contract.zh} {contract.version}")
    if rules:
        emit(rules, as_json=False, columns={"code": "规则 rule", "columns": "字段 fields", "words": "应为 expected"})


@app.command(help="校验文件并逐行说明问题 · say row by row what is wrong with a file")
def validate(
    file: Annotated[Path, typer.Argument(help="CSV 或 Parquet 文件 · CSV or Parquet file")],
    table: Annotated[
        str | None, typer.Option(help="标准表，默认按表头判断 · table, by default the one the header fits")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="列出的问题行数 · refused rows to list")] = _LIMIT,
    as_json: Json = False,
) -> None:
    with progress(f"{file.name}"):
        report = validate_file(file, table, limit=limit)
    if as_json:
        emit(report.as_dict(), as_json=True)
    else:
        _explain(report)
    if not report.ok:
        raise typer.Exit(1)


def _explain(report: ValidationReport) -> None:
    verdict = "符合 · keeps to it" if report.ok else f"{report.refused} 行不符合 · rows do not keep to it"
    print(f"{report.source} → {report.table} {report.version}: {report.rows} 行 rows, {verdict}")
    if report.ignored:
        print(f"未使用的列 columns not used: {', '.join(report.ignored)}")
    if report.repeated:
        print(f"主键重复，后行替换前行 rows whose key comes again, the later one counts: {report.repeated}")
    if report.counts:
        counts = [{"rows": c.rows, "column": c.column, "code": c.code} for c in report.counts]
        emit(counts, as_json=False, columns={"rows": "行数 rows", "column": "字段 field", "code": "原因 reason"})
    for r in report.refusals:
        print(f"第 {r.row} 行 row {r.row}: {r.column} {r.value!r}: {r.text.zh} · {r.text.en}")
    if report.refused > len(report.refusals):
        print(f"… 另有 {report.refused - len(report.refusals)} 行 more rows; --limit 可调 lists more")


def _contract(name: str) -> TableContract:
    if name not in TABLES:
        raise InputError(
            f"no standard table {name}", expected=f"one of {', '.join(TABLES)}", hint="see `dianhuan standards list`"
        )
    return TABLES[name]
