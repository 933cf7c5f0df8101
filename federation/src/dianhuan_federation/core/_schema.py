"""Row schemas: which columns a stream of rows has, how each is spelled, and the digest that names the schema."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from hashlib import sha256
from itertools import filterfalse
from typing import Annotated, Any, Literal

import msgspec

from dianhuan_federation.core._json import MAX_INTEGER, canonical
from dianhuan_sdk import ConfigError

Kind = Literal["text", "code", "integer", "decimal", "day", "instant", "flag"]

RECORD_ID = "record_id"
# Classes that are not negated, and outside of them what may match any character or look over the end of a line.
_CLASS = re.compile(r"\[[^\^\\\[\]][^\\\[\]]*\]")
_BEYOND = re.compile(r"[.\\\[$^]|\(\?")

RECORD_ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of shared rows.

    Args:
        name: snake case, ASCII.
        kind: `text`; `code` (one of `codes`); `integer` within ±(2^53-1); `decimal`, a text with exactly `scale`
            digits after the point; `day` (2026-11-24); `instant` (RFC 3339 in UTC, ending in Z); `flag`.
        unit: of a number, e.g. `kWh`.
        nullable: null is allowed; it is always written out.
        low, high: inclusive bounds; of a decimal, in units of its last digit.
        scale: digits after the point of a decimal.
        codes: the allowed values of a code.
        pattern: regular expression that a whole text matches.
        longest: most characters of a text.
    """

    name: str
    kind: Kind
    unit: str = ""
    nullable: bool = False
    low: int | None = None
    high: int | None = None
    scale: int = 0
    codes: tuple[str, ...] = ()
    pattern: str = ""
    longest: int = 256

    def describe(self) -> dict[str, object]:
        """The column as it enters the schema's digest."""
        return {
            "name": self.name,
            "kind": self.kind,
            "unit": self.unit,
            "nullable": self.nullable,
            "low": self.low,
            "high": self.high,
            "scale": self.scale,
            "codes": list(self.codes),
            "pattern": self.pattern,
            "longest": self.longest,
        }

    def misfit(self, values: Collection[Any]) -> object | None:
        """The first of some texts, decimals or instants that breaks the column's form or bounds; None if none does.

        Args:
            values: texts without line feeds.
        """
        if self.kind == "instant":
            return next((value for value in values if value.tzinfo is not UTC), None)
        form = self._form()
        lines = "\n".join(values) + "\n"
        if not ((self.plain or self.kind == "decimal") and re.fullmatch(rf"(?>(?:{form})\n)*+", lines)):
            wrong: str | None = next(filterfalse(re.compile(form).fullmatch, values), None)
            if wrong is not None:
                return wrong
        if self.kind != "decimal" or not values or (self.low is None and self.high is None):
            return None
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        numbers = list(map(int, lines.replace(".", "").split()))
        if low <= min(numbers) and max(numbers) <= high:
            return None
        return lines.split()[next(i for i, number in enumerate(numbers) if not low <= number <= high)]

    @property
    def plain(self) -> bool:
        """Does the form allow printable ASCII only, as far as a glance can tell?"""
        form = self.pattern
        return bool(form) and form.isascii() and form.isprintable() and not _BEYOND.search(_CLASS.sub("", form))

    def _form(self) -> str:
        if self.kind != "decimal":
            return self.pattern
        point = rf"\.[0-9]{{{self.scale}}}" if self.scale else ""
        return rf"(?!-0(?:\.0*)?(?![0-9.]))-?(?:0|[1-9][0-9]{{0,14}}){point}"

    def annotation(self) -> Any:
        """The type by which `msgspec` decodes the column strictly."""
        plain = self._plain()
        return plain | None if self.nullable else plain

    def _plain(self) -> Any:
        if self.kind == "code":
            return Literal[self.codes]
        if self.kind == "integer":
            low = -MAX_INTEGER if self.low is None else self.low
            high = MAX_INTEGER if self.high is None else self.high
            return Annotated[int, msgspec.Meta(ge=low, le=high)]
        if self.kind == "decimal":
            return Annotated[str, msgspec.Meta(max_length=32)]
        if self.kind == "day":
            return date
        if self.kind == "instant":
            return Annotated[datetime, msgspec.Meta(tz=True)]
        if self.kind == "flag":
            return bool
        return Annotated[str, msgspec.Meta(max_length=self.longest)]


@dataclass(frozen=True)
class RowSchema:
    """A versioned row schema; `record_id` is always there and is not listed.

    Args:
        id: stable name.
        version: `major.minor`.
        columns: the columns beside `record_id`.
        salted: rows carry a random `salt` of 32 hex digits, for streams whose rows could be guessed from a hash.

    Raises:
        ConfigError: two columns of one name, or a column that cannot be.
    """

    id: str
    version: str
    columns: tuple[Column, ...] = field(default=())
    salted: bool = False

    def __post_init__(self) -> None:
        names = [column.name for column in self.all_columns]
        if len(set(names)) != len(names):
            raise ConfigError(f"schema {self.id}: a column stands twice")
        for column in self.columns:
            if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", column.name):
                raise ConfigError(f"schema {self.id}: column name {column.name!r}", expected="snake case, ASCII")
            if (column.kind == "code") != bool(column.codes):
                raise ConfigError(f"schema {self.id}: {column.name}", expected="codes for a code column, only there")

    @cached_property
    def all_columns(self) -> tuple[Column, ...]:
        """Every column in canonical (JCS) order."""
        fixed = [Column(RECORD_ID, "text", pattern=RECORD_ID_PATTERN, longest=64)]
        if self.salted:
            fixed.append(Column("salt", "text", pattern="[0-9a-f]{32}", longest=32))
        return tuple(sorted((*fixed, *self.columns), key=lambda column: column.name))

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hex over the canonical description."""
        columns = [column.describe() for column in self.all_columns]
        return sha256(canonical({"id": self.id, "version": self.version, "columns": columns})).hexdigest()

    @cached_property
    def row_type(self) -> type[msgspec.Struct]:
        """Struct of one row, its fields in canonical order, so that encoding it gives canonical JSON."""
        return msgspec.defstruct(
            "Row",
            [(column.name, column.annotation()) for column in self.all_columns],
            forbid_unknown_fields=True,
            frozen=True,
            gc=False,
        )

    @cached_property
    def texts(self) -> tuple[Column, ...]:
        """The columns that arrive as texts of any characters."""
        return tuple(column for column in self.all_columns if column.kind in ("text", "code", "decimal"))

    @cached_property
    def free_texts(self) -> tuple[Column, ...]:
        """Those whose form does not already keep them to printable ASCII."""
        return tuple(column for column in self.texts if column.kind != "decimal" and not column.plain)

    @cached_property
    def formed(self) -> tuple[Column, ...]:
        """The columns whose values have a form of their own."""
        return tuple(column for column in self.all_columns if column.kind in ("decimal", "instant") or column.pattern)


Schemas = Mapping[tuple[str, str], RowSchema]
"""Known schemas by (id, version)."""
