"""What a validation found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dianhuan_sdk import Text


@dataclass(frozen=True, slots=True)
class RowRefusal:
    """One refused row.

    Args:
        row: its number in the source, 1 = first data row.
        column: field of the contract, or empty for the whole row.
        code: reason code, as in `dianhuan_standards.words.REASONS`.
        value: what the source says there, shortened.
        text: words in Chinese and English.
    """

    row: int
    column: str
    code: str
    value: str
    text: Text


@dataclass(frozen=True, slots=True)
class Count:
    """How many rows were refused for one reason."""

    column: str
    code: str
    rows: int
    text: Text


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """Result of a validation.

    Args:
        source: file path, or words for rows in memory.
        table: contract name.
        version: contract version.
        rows: data rows that were read, the refused ones included.
        refused: rows that were refused; each is counted once, under its first reason.
        refusals: the refused rows in order, up to the limit asked for.
        counts: refused rows by reason, most frequent first.
        columns: header that each field was read from.
        ignored: headers that no field of the contract uses.
        repeated: good rows whose key comes again later: the later row replaces them.
    """

    source: str
    table: str
    version: str
    rows: int
    refused: int
    refusals: tuple[RowRefusal, ...]
    counts: tuple[Count, ...]
    columns: dict[str, str]
    ignored: tuple[str, ...]
    repeated: int

    @property
    def ok(self) -> bool:
        """Whether every row passes."""
        return self.refused == 0

    def as_dict(self) -> dict[str, Any]:
        """The report for machines, JSON values only."""
        return {
            "source": self.source,
            "table": self.table,
            "version": self.version,
            "ok": self.ok,
            "rows": self.rows,
            "refused": self.refused,
            "repeated": self.repeated,
            "columns": self.columns,
            "ignored": list(self.ignored),
            "counts": [
                {"column": c.column, "code": c.code, "rows": c.rows, "zh": c.text.zh, "en": c.text.en}
                for c in self.counts
            ],
            "refusals": [
                {"row": r.row, "column": r.column, "code": r.code, "value": r.value, "zh": r.text.zh, "en": r.text.en}
                for r in self.refusals
            ],
        }
