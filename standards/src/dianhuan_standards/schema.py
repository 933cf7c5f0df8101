"""JSON Schema of the tables, so that others can check rows in another language.

`python -m dianhuan_standards.schema FOLDER` writes one file per standard table.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa

from dianhuan_sdk import CURVE_TYPE, POINTS_PER_DAY, Field, TableContract
from dianhuan_standards.tables import TABLES

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(contract: TableContract) -> dict[str, Any]:
    """Schema of one row as a JSON object (draft 2020-12).

    Conditions over several columns have no place in JSON Schema; they stand in words under `x-rules`. Days are
    `date`, instants `date-time` with offset; a missing value is null or left out, never 0.
    """
    return {
        "$schema": DIALECT,
        "title": contract.name,
        "description": contract.doc,
        "x-zh": contract.zh,
        "x-version": contract.version,
        "x-key": list(contract.key),
        "x-rules": [{"code": r.code, "columns": list(r.columns), "words": r.words} for r in contract.rules],
        "type": "object",
        "properties": {f.name: _property(f) for f in contract.fields},
        "required": [f.name for f in contract.fields if f.required],
        "additionalProperties": False,
    }


def schema_text(contract: TableContract) -> str:
    """The schema as it is shipped."""
    return json.dumps(json_schema(contract), ensure_ascii=False, indent=2) + "\n"


def write_schemas(folder: Path) -> None:
    """Write the schema of every standard table and remove those of tables that are gone."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.json"):
        if old.stem not in TABLES:
            old.unlink()
    for name, contract in TABLES.items():
        (folder / f"{name}.json").write_text(schema_text(contract), encoding="utf-8")


def _property(f: Field) -> dict[str, Any]:
    found = _type(f.type)
    if f.codes is not None:
        found["enum"] = list(f.codes)
    if f.pattern is not None:
        found["pattern"] = f"^(?:{f.pattern})$"
    if f.low is not None:
        found["minimum"] = f.low
    if f.high is not None:
        found["maximum"] = f.high
    if not f.required:
        found["type"] = [found["type"], "null"]
        if f.codes is not None:
            found["enum"].append(None)
    notes = {"description": f.doc, "x-zh": f.zh, "x-unit": f.unit, "x-aliases": list(f.aliases)}
    found.update({key: value for key, value in notes.items() if value})
    if f.personal:
        found["x-personal"] = True
    return found


def _type(kind: pa.DataType) -> dict[str, Any]:
    if kind == CURVE_TYPE:
        items = {"type": ["number", "null"]}
        return {"type": "array", "items": items, "minItems": POINTS_PER_DAY, "maxItems": POINTS_PER_DAY}
    if pa.types.is_date(kind):
        return {"type": "string", "format": "date"}
    if pa.types.is_timestamp(kind):
        return {"type": "string", "format": "date-time"}
    if pa.types.is_boolean(kind):
        return {"type": "boolean"}
    if pa.types.is_integer(kind):
        return {"type": "integer"}
    if pa.types.is_floating(kind):
        return {"type": "number"}
    if pa.types.is_string(kind):
        return {"type": "string"}
    raise TypeError(f"no JSON form for {kind}: give the table's column one of the types of the standard tables")


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))
