"""Divisions, industries, permit numbers and facility codes: their forms, and the lists that are shipped."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

from dianhuan_standards.identifiers._uscc import USCC_PATTERN, uscc_problem

DIVISION_PATTERN = r"(?:1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[12])\d{4}"
"""GB/T 2260: a known province, then city and district."""

INDUSTRY_PATTERN = r"[A-T](?:\d{2,4})?"
"""GB/T 4754: section letter, then division, group or class."""

PERMIT_PATTERN = USCC_PATTERN + r"\d{3}[A-Z]"
"""排污许可证编号: credit code, 3 digits of sequence, a letter."""

FacilityKind = Literal["production", "air_treatment", "water_treatment", "air_outlet", "water_outlet"]

_FACILITIES: Mapping[str, FacilityKind] = {
    r"MF\d{4}": "production",
    r"TA\d{3}": "air_treatment",
    r"TW\d{3}": "water_treatment",
    r"DA\d{3}": "air_outlet",
    r"DW\d{3}": "water_outlet",
}


def divisions() -> Mapping[str, str]:
    """Names by 6-digit GB/T 2260 code: provinces, prefectures, districts, as in force in 2026.

    Codes that were withdrawn (as 430221, now 430212) are not among them: an old code is of the right form and unknown.
    """
    return _table("divisions.tsv")


def division_name(code: str) -> str | None:
    """Full name, as 湖南省株洲市渌口区; None where the code is not in the list."""
    names = divisions()
    if code not in names:
        return None
    parts = dict.fromkeys((code[:2] + "0000", code[:4] + "00", code))
    return "".join(names[part] for part in parts if part in names)


def industries() -> Mapping[str, str]:
    """Names by GB/T 4754-2017 code with its section letter: 20 sections, 97 divisions, 473 groups, 1381 classes."""
    return _table("industries.tsv")


def industry_path(code: str) -> tuple[str, ...]:
    """Names from section to the code's own level; empty where the code is not in the list."""
    names = industries()
    if code not in names:
        return ()
    return tuple(names[part] for part in (code[:1], code[:3], code[:4], code[:5])[: max(1, len(code) - 1)])


def industry_code(digits: str) -> str | None:
    """The code with its section letter for one that a file gives without (`3011` → `C3011`); None where unknown."""
    return _sections().get(digits)


def facility_kind(code: str) -> FacilityKind | None:
    """What an HJ 608 code names (MF0001, TA001, TW001, DA001, DW001); None where it has none of these forms."""
    return next((kind for form, kind in _FACILITIES.items() if re.fullmatch(form, code, re.ASCII)), None)


def _in_list(pattern: str, names: Callable[[], Mapping[str, str]]) -> Callable[[str], str | None]:
    def problem(value: str) -> str | None:
        if not re.fullmatch(pattern, value, re.ASCII):
            return "bad_form"
        return None if value in names() else "unknown_code"

    return problem


def _permit_problem(value: str) -> str | None:
    if not re.fullmatch(PERMIT_PATTERN, value, re.ASCII):
        return "bad_form"
    return uscc_problem(value[:18])


CHECKS: Mapping[str, Callable[[str], str | None]] = MappingProxyType(
    {
        "uscc": uscc_problem,
        "division": _in_list(DIVISION_PATTERN, divisions),
        "industry": _in_list(INDUSTRY_PATTERN, industries),
        "permit_no": _permit_problem,
        "facility": lambda value: None if facility_kind(value) else "bad_form",
    }
)
"""For each kind of identifier: what is wrong with a value (`bad_form`, `bad_check_digit`, `unknown_code`) or None."""


@cache
def _table(file: str) -> Mapping[str, str]:
    text = (files(__package__) / "data" / file).read_text(encoding="utf-8")
    rows = (line.partition("\t") for line in text.splitlines()[1:])
    return MappingProxyType({code: name for code, _, name in rows})


@cache
def _sections() -> Mapping[str, str]:
    return {code[1:]: code for code in industries() if len(code) > 1}
