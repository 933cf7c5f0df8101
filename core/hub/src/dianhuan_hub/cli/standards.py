"""`dianhuan standards`: the standard tables, their fields, and whether a file keeps to them."""

from __future__ import annotations

from typing import Annotated

import typer

from dianhuan_hub.cli._output import emit
from dianhuan_sdk import InputError, TableContract
from dianhuan_standards import REGISTERS, TABLES

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


def _contract(name: str) -> TableContract:
    if name not in TABLES:
        raise InputError(
            f"no standard table {name}", expected=f"one of {', '.join(TABLES)}", hint="see `dianhuan standards list`"
        )
    return TABLES[name]
