"""Filters of lists, and their check."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from datetime import date
from enum import Enum
from typing import Any

import strawberry

from dianhuan_hub.api._words import CaseState, Verdict
from dianhuan_sdk import InputError

MAX_VALUES = 200

_FORMS = {
    "division": (re.compile(r"[0-9]{1,12}"), "digits of GB/T 2260, e.g. 430202 or 4302"),
    "industry": (re.compile(r"[A-T][0-9]{0,4}"), "a code of GB/T 4754 or its beginning, e.g. C30"),
}
_COLUMNS = {"model": "model_id", "entity": "entity_id", "case": "case_id", "table": "table_name", "load": "load_id"}


@strawberry.input(description="Enterprises. Lists mean any of their values.")
class EntityFilter:
    division: list[str] | None = strawberry.field(default=None, description="beginnings of GB/T 2260 codes")
    industry: list[str] | None = strawberry.field(default=None, description="beginnings of GB/T 4754 codes")
    name: str | None = strawberry.field(default=None, description="part of the name; needs the right to personal data")


@strawberry.input(description="Warnings. Lists mean any of their values; days are [start, end).")
class WarningFilter:
    division: list[str] | None = None
    industry: list[str] | None = None
    start: date | None = None
    end: date | None = None
    model: list[str] | None = None
    entity: list[strawberry.ID] | None = None
    case: list[strawberry.ID] | None = None


@strawberry.input(description="Findings. Lists mean any of their values; days are [start, end).")
class FindingFilter:
    division: list[str] | None = None
    industry: list[str] | None = None
    start: date | None = None
    end: date | None = None
    model: list[str] | None = None
    rule: list[str] | None = None
    entity: list[strawberry.ID] | None = None
    verdict: Verdict | None = None
    passed: bool | None = strawberry.field(default=None, description="passed its gates")


@strawberry.input(description="Cases. Lists mean any of their values; days are [start, end).")
class CaseFilter:
    division: list[str] | None = None
    industry: list[str] | None = None
    start: date | None = None
    end: date | None = None
    state: list[CaseState] | None = None
    entity: list[strawberry.ID] | None = None


@strawberry.input(description="Quarantined rows. Lists mean any of their values.")
class QuarantineFilter:
    table: list[str] | None = None
    code: list[str] | None = None
    state: list[str] | None = strawberry.field(default=None, description="open or replayed")
    load: list[int] | None = None


@strawberry.input(description="Loads. Lists mean any of their values.")
class LoadFilter:
    plugin: list[str] | None = None
    stream: list[str] | None = None
    source: list[str] | None = None


@strawberry.input(description="What to count. Lists mean any of their values; days are [start, end).")
class CountFilter:
    division: list[str] | None = None
    industry: list[str] | None = None
    start: date | None = None
    end: date | None = None
    model: list[str] | None = None
    state: list[CaseState] | None = None


@dataclasses.dataclass(frozen=True)
class Conditions:
    """A checked filter, in the words of the store's `Query`."""

    equals: Mapping[str, object] = dataclasses.field(default_factory=dict)
    contains: Mapping[str, str] = dataclasses.field(default_factory=dict)
    start: date | None = None
    end: date | None = None
    division: Sequence[str] | None = None
    industry: Sequence[str] | None = None


def conditions(given: Any, **more: object) -> Conditions:
    """Check a filter.

    Args:
        given: one of the filters of this module, or None.
        more: further columns and their values.

    Raises:
        InputError: a code has a wrong form, a list is too long, or no day lies between start and end.
    """
    equals: dict[str, object] = dict(more)
    other: dict[str, Any] = {}
    for item in dataclasses.fields(given) if given is not None else ():
        value = getattr(given, item.name)
        if value is None:
            continue
        if isinstance(value, list) and len(value) > MAX_VALUES:
            raise InputError(f"filter.{item.name} holds {len(value)} values", expected=f"at most {MAX_VALUES}")
        if item.name in _FORMS:
            form, words = _FORMS[item.name]
            for code in value:
                if not form.fullmatch(code):
                    raise InputError(f"filter.{item.name}: {code[:40]!r}", expected=words)
            other[item.name] = value
        elif item.name in ("start", "end"):
            other[item.name] = value
        elif item.name == "name":
            other["contains"] = {"name": value}
        else:
            equals[_COLUMNS.get(item.name, item.name)] = _plain(value)
    if "start" in other and "end" in other and other["start"] >= other["end"]:
        raise InputError(
            f"filter: no day in [{other['start']}, {other['end']})",
            expected="start before end; the day of end is left out",
        )
    return Conditions(equals=equals, **other)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value.value if isinstance(value, Enum) else value
