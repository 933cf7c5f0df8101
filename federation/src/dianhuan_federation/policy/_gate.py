"""The egress gate: it looks at the bytes about to leave, knows nothing of policies, and can only refuse."""

from __future__ import annotations

import base64
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pyarrow as pa

from dianhuan_federation.core import RowSchema, lines_of, parse
from dianhuan_sdk import InputError
from dianhuan_standards.tables import TABLES

_EXTRA = (
    "meter_no",
    "meter_number",
    "account",
    "account_number",
    "户号",
    "表号",
    "entity_id",
    "contributor",
    "enterprise_name",
)
"""Names under which the same things are known elsewhere."""

_NUMBERS = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[\s,;|/]+[-+]?\d+(?:\.\d+)?){3,}")
"""Four numbers or more in a row within one text: a series in disguise."""

_PHONE = re.compile(r"(?<!\d)1[3-9]\d{9}(?!\d)")
_MAIL = re.compile(r"[^\s@]+@[^\s@]+\.[A-Za-z]{2,}")


def _banned_names() -> frozenset[str]:
    """Names of personal columns, of list columns, and of every column of load and readings that only they have."""
    names: set[str] = set(_EXTRA)
    shareable = {f.name for table in ("warning", "case", "outcome", "entity") for f in TABLES[table].fields}
    for table in TABLES.values():
        raw = table.name in ("load_curve", "reading", "channel", "metering_point", "account_link")
        for f in table.fields:
            if f.personal:
                names.update((f.name, *f.aliases))
            elif pa.types.is_list(f.type) or pa.types.is_fixed_size_list(f.type) or (raw and f.name not in shareable):
                names.add(f.name)
    return frozenset(name.casefold() for name in names) - {"value", "unit", "code"}


BANNED = _banned_names()
"""Column names that never leave, folded to lower case. `value`, `unit` and `code` are words of statistics too."""


@dataclass(frozen=True, slots=True)
class GateRules:
    """Limits of the gate; a hub may only tighten them.

    Args:
        min_days: shortest period of a statistic.
        entity_rows: most rows about one enterprise on one day, and of one cell of a statistic in one period.
        rows: most rows in one batch.
        budget_batches, budget_rows: most batches and rows to one recipient within `budget_days`.
        budget_days: that window.
    """

    min_days: int = 7
    entity_rows: int = 24
    rows: int = 100_000
    budget_batches: int = 400
    budget_rows: int = 1_000_000
    budget_days: int = 30

    def __post_init__(self) -> None:
        loose = (
            self.min_days < 7
            or not 1 <= self.entity_rows <= 24
            or not 1 <= self.rows <= 100_000
            or not 1 <= self.budget_batches <= 400
            or not 1 <= self.budget_rows <= 1_000_000
            or self.budget_days < 30
        )
        if loose:
            raise InputError("a gate wider than the built-in one", expected="limits that are the same or tighter")


@dataclass(frozen=True, slots=True)
class Sent:
    """One earlier release: when, to whom (empty = everyone), and how many rows."""

    day: date
    recipients: tuple[str, ...]
    rows: int


@dataclass(frozen=True, slots=True)
class EgressGate:
    """Refuses what must not leave.

    Args:
        rules: limits.
        canaries: values planted in raw and personal columns; they never appear in what is sent.
    """

    rules: GateRules = field(default_factory=GateRules)
    canaries: tuple[str, ...] = ()

    def check(
        self, schema: RowSchema, payload: bytes, recipients: Sequence[str], today: date, sent: Iterable[Sent] = ()
    ) -> None:
        """Pass or refuse a payload.

        Args:
            schema: what the payload claims to be.
            payload: canonical rows, uncompressed.
            recipients: hub ids; empty for everyone.
            today: civil day.
            sent: earlier releases.

        Raises:
            InputError: the first reason why it must not leave.
        """
        names = [column.name for column in schema.all_columns]
        for name in names:
            self._name(name)
        rows = [self._row(line, names) for line in lines_of(payload)]
        free = [column.name for column in schema.all_columns if column.kind == "text" and not column.pattern]
        for row in rows:
            for name, value in row.items():
                self._value(name, value, name in free)
        self._canaries(payload)
        self._density(rows)
        self._budget(len(rows), recipients, today, sent)

    def check_text(self, words: str) -> None:
        """The same for words of a statement that people write: reasons, legal bases.

        Raises:
            InputError: they hold what must not leave.
        """
        self._value("text", words, True)
        self._canaries(words.encode())

    def _name(self, name: str) -> None:
        if unicodedata.normalize("NFKC", name).casefold() in BANNED:
            raise InputError(f"egress gate: column {name} never leaves the city", expected="standardized results")

    def _row(self, line: bytes, names: Sequence[str]) -> Mapping[str, Any]:
        row = parse(line)
        if not isinstance(row, dict) or sorted(row) != sorted(names):
            raise InputError("egress gate: a row with other columns than its schema", expected=", ".join(names))
        return row

    def _value(self, name: str, value: object, free: bool) -> None:
        if isinstance(value, (list, dict)):
            raise InputError(f"egress gate: {name} holds a series or an object", expected="single values")
        if not isinstance(value, str):
            return
        if _NUMBERS.search(value):
            raise InputError(f"egress gate: {name} holds a row of numbers", expected="no series, in no disguise")
        if free and (_PHONE.search(value) or _MAIL.search(value)):
            raise InputError(f"egress gate: {name} holds a telephone number or mail address", expected="no persons")

    def _canaries(self, payload: bytes) -> None:
        text = unicodedata.normalize("NFKC", payload.decode("utf-8")).casefold()
        for canary in self.canaries:
            raw = canary.encode()
            # Base64 of a value depends on where it begins; the inner characters at each of three offsets do not lie.
            inner = [
                base64.b64encode(bytes(shift) + raw).decode()[4 if shift else 0 : len(raw) * 4 // 3 - 2].casefold()
                for shift in (0, 1, 2)
            ]
            forms = [unicodedata.normalize("NFKC", canary).casefold(), raw.hex(), *inner]
            if any(len(form) >= 8 and form in text for form in forms):
                raise InputError(
                    "egress gate: a planted canary is in what would leave", hint="find out how it got there"
                )

    def _density(self, rows: Sequence[Mapping[str, Any]]) -> None:
        if len(rows) > self.rules.rows:
            raise InputError(f"egress gate: {len(rows)} rows", expected=f"at most {self.rules.rows} in one batch")
        count: Counter[tuple[object, ...]] = Counter()
        for row in rows:
            if "period_start" in row:
                days = (date.fromisoformat(row["period_end"]) - date.fromisoformat(row["period_start"])).days
                if days < self.rules.min_days:
                    raise InputError(
                        f"egress gate: a period of {days} days", expected=f"at least {self.rules.min_days}"
                    )
                key = tuple(row.get(n) for n in ("division", "industry", "measure", "period_start"))
                count[key] += 1
                if count[key] > 1:
                    raise InputError("egress gate: one cell twice", expected="each cell once a period")
            elif "enterprise" in row or "warning_id" in row:
                who = row.get("enterprise", row.get("warning_id"))
                count[who, str(row.get("day", row.get("closed_at")))[:10]] += 1
        if count and max(count.values()) > self.rules.entity_rows:
            raise InputError(
                f"egress gate: {max(count.values())} rows about one enterprise on one day",
                expected=f"at most {self.rules.entity_rows}",
            )

    def _budget(self, rows: int, recipients: Sequence[str], today: date, sent: Iterable[Sent]) -> None:
        recent = [s for s in sent if 0 <= (today - s.day).days < self.rules.budget_days or s.day > today]
        for who in recipients or ("",):
            mine = [s for s in recent if not s.recipients or not who or who in s.recipients]
            if len(mine) + 1 > self.rules.budget_batches or rows + sum(s.rows for s in mine) > self.rules.budget_rows:
                raise InputError(
                    f"egress gate: the release budget of {who or 'everyone'} is used up",
                    expected=f"{self.rules.budget_batches} batches, {self.rules.budget_rows} rows in "
                    f"{self.rules.budget_days} days",
                )
