"""The mapping file: what a person says once about the form of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from dianhuan_sdk.errors import ConfigError

DEFAULT_MISSING = ("", "NULL", "null", "NaN", "nan", "N/A", "-", "--", "-9999")
"""Texts that mean *missing* where a mapping states none. 0 never does: it can be a real load."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Strict):
    """Where the values of one field come from.

    Args:
        column: header name in the file.
        constant: a value for every row, instead of a column.
        values: source text → value of the contract; `"*"` stands for every other text.
        format: one or more `strptime` forms of a day or an instant, or `epoch_s`, `epoch_ms`.
        zone: zone of naive instants of this column; the mapping's zone if empty.
        scale: factor on numbers.
        units: unit suffix in the text → factor, e.g. `{kV: 1, V: 0.001}`.
        strip: texts removed before anything else, e.g. `交流`.
        prefix: text put before the value.
        otherwise: used in the rows where this column is null.
    """

    column: str | None = None
    constant: str | float | bool | None = None
    values: dict[str, str | float | bool | None] = {}
    format: Annotated[tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)] = ()
    zone: str = ""
    scale: float = 1.0
    units: dict[str, float] = {}
    strip: tuple[str, ...] = ()
    prefix: str = ""
    otherwise: Column | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.column is None) == (self.constant is None):
            raise ValueError("give either `column` or `constant`")
        return self


def _column(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


ColumnSpec = Annotated[Column, BeforeValidator(_column)]


class Curve(_Strict):
    """How a file carries load curves.

    Args:
        layout: `wide` (a row is a meter's day), `long` (a row is one reading), `matrix` (timestamps down, one
            column per meter), `contract` (a list column `kw` as in the contract, Parquet only).
        unit: unit of the values; energies are per interval.
        multiplier_applied: are values already multiplied by CT × PT? False needs `multiplier`.
        multiplier: column or constant to multiply by.
        scale: a further factor, e.g. the peak of a normalized curve.
        stamp: what a time stamp names. `interval_end_same_day`: the end, and the row stamped 00:00 bears the day
            that it ends. For wide files it matters only where columns are named by the clock.
        zone: zone of stamps: an IANA name (with its summer time), `UTC`, or an offset such as `+08:00`.
        civil_zone: zone that cuts the days; by default `zone` where it is an IANA place, else Asia/Shanghai.
        values: wide: header names of the values in order, or a pattern `P{1..96}`; found by itself if empty.
            matrix: the meters' columns; all columns that are not mapped otherwise if empty.
        time: long, matrix: column of the stamp; `format` as in `Column`.
        clock: long: column of the clock time, or of the point's number from 1, where `time` holds the day only.
        value: long: column of the reading.
        interval_minutes: long, matrix: minutes between stamps; found by itself if None.
    """

    layout: Literal["wide", "long", "matrix", "contract"]
    unit: Literal["kW", "W", "MW", "kWh", "Wh"] = "kW"
    multiplier_applied: bool
    multiplier: ColumnSpec | float | None = None
    scale: float = 1.0
    stamp: Literal["interval_start", "interval_end", "interval_end_same_day"] = "interval_start"
    zone: str = "Asia/Shanghai"
    civil_zone: str = ""
    values: Annotated[tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)] = ()
    time: ColumnSpec | None = None
    clock: str | None = None
    value: str | None = None
    interval_minutes: Literal[1, 5, 10, 15, 30, 60] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.multiplier_applied and self.multiplier is None:
            raise ValueError("multiplier_applied is false: name the `multiplier` column or constant")
        if self.multiplier_applied and self.multiplier is not None:
            raise ValueError("multiplier_applied is true: a `multiplier` would be applied twice")
        if self.layout in ("long", "matrix") and self.time is None:
            raise ValueError(f"layout {self.layout} needs `time`")
        if self.layout == "long" and self.value is None:
            raise ValueError("layout long needs `value`")
        return self


class Mapping(_Strict):
    """A file's form: how to read it, and which column fills which field of the contract.

    Args:
        table: contract that it fills; any if empty.
        note: words for people: origin of the file, open assumptions.
        format, compression: found by the file's first bytes if `auto`.
        encoding: `auto`, `utf-8`, `gb18030`, or any codec name of Python.
        delimiter: found by the header if `auto`.
        decimal: decimal mark of numbers.
        header_row: 1 = the first line; lines above it are skipped.
        sheet: Excel sheet, the first if empty.
        control_file: suffix of the file that says this one is complete, e.g. `.ok`; none if empty.
        missing: texts that mean missing.
        columns: field → column name, or a `Column`.
        only: take only these fields; all that are found if empty.
        keep: only rows whose column holds one of these texts count, e.g. `{数据类型: ["1"]}`; others are ignored.
        unique: rows that agree on these fields become one row, rows that agree on these but not on the others
            are refused.
        only_new: rows whose key the register holds already are left as they are there.
        curve: for `load_curve`.
    """

    table: str = ""
    note: str = ""
    format: Literal["auto", "csv", "parquet", "excel"] = "auto"
    compression: Literal["auto", "none", "gz", "zip"] = "auto"
    encoding: str = "auto"
    delimiter: str = Field(default="auto", pattern=r"^(auto|[^\n\r\"])$")
    decimal: Literal[".", ","] = "."
    header_row: int = Field(default=1, ge=1)
    sheet: str = ""
    control_file: str = ""
    missing: tuple[str, ...] = DEFAULT_MISSING
    columns: dict[str, ColumnSpec] = {}
    only: tuple[str, ...] = ()
    keep: dict[str, tuple[str, ...]] = {}
    unique: tuple[str, ...] = ()
    only_new: bool = False
    curve: Curve | None = None


def parse_mapping(document: Any, origin: str) -> Mapping:
    """A mapping from the object that a YAML document holds; `origin` names it in messages.

    Raises:
        ConfigError: a key is unknown or a value is wrong; the message names origin and key.
    """
    if not isinstance(document, dict):
        raise ConfigError(
            f"{origin} holds {type(document).__name__}, not keys and values",
            expected="a YAML mapping with keys such as table, columns, curve",
            hint="let `dianhuan grid inspect FILE --save MAPPING.yaml` write a first one",
        )
    try:
        return Mapping.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        raise ConfigError(
            f"{origin}: {place}: {first['msg']}",
            expected="a key and value as documented for dianhuan_sdk.tabular.Mapping",
            hint=f"correct {place} in {origin}",
        ) from error


def load_mapping(path: Path) -> Mapping:
    """The mapping of a YAML file.

    Raises:
        ConfigError: the file is missing, is not YAML, or breaks the model; names path, key and what to do.
    """
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"no mapping file {path}", hint="correct the path, or write one with `grid inspect`"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML in UTF-8: {error}", hint="correct the file at that place") from error
    return parse_mapping(document, str(path))
