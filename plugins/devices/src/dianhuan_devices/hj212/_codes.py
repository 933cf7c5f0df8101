"""What the codes of HJ 212 mean: systems (ST), commands (CN), factors, electricity, vendors' private names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Literal

from pydantic import BaseModel, ConfigDict

from dianhuan_devices._tables import document, rows
from dianhuan_sdk import ConfigError

PACKAGE = "dianhuan_devices.hj212"


@dataclass(frozen=True, slots=True)
class System:
    """One ST code."""

    st: str
    zh: str
    en: str
    since: int


@dataclass(frozen=True, slots=True)
class Command:
    """One CN code.

    Args:
        group: `request` (9011, then 9012), `notice` (9013), `data` (9014), `answer` (none).
        interval: interval of the readings that it carries, or empty.
    """

    cn: str
    zh: str
    en: str
    since: int
    group: str
    interval: str


@dataclass(frozen=True, slots=True)
class Factor:
    """What one code measures.

    Args:
        unit_sum: unit of `-Cou` over an interval.
        inferred: true where it was read out of examples, or continued from them, and not out of a table.
    """

    zh: str
    en: str = ""
    quantity: str = "other"
    unit: str = ""
    unit_sum: str = ""
    phase: str = ""
    role: str = ""
    facility: str = ""
    inferred: bool = False


class VendorCode(BaseModel):
    """A private name: a regular expression over the whole code, and what it measures."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    code: str
    zh: str
    en: str
    quantity: str
    unit: str = ""
    phase: str = ""
    role: str = ""


class Profile(BaseModel):
    """How a kind of station speaks."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    zh: str
    en: str
    edition: Literal[2005, 2017, 2025]
    codes: tuple[VendorCode, ...] = ()


@cache
def systems() -> Mapping[str, System]:
    """ST codes by code."""
    return {r["st"]: System(r["st"], r["zh"], r["en"], int(r["since"])) for r in rows(PACKAGE, "systems.tsv")}


@cache
def commands() -> Mapping[str, Command]:
    """CN codes by code."""
    return {
        r["cn"]: Command(r["cn"], r["zh"], r["en"], int(r["since"]), r["group"], r["interval"])
        for r in rows(PACKAGE, "commands.tsv")
    }


@cache
def profiles() -> Mapping[str, Profile]:
    """The profiles shipped with the plugin, by name."""
    return {name: Profile.model_validate(p) for name, p in document(PACKAGE, "profiles.yaml")["profiles"].items()}


def profile(name: str) -> Profile:
    """A profile by name.

    Raises:
        ConfigError: there is none of that name.
    """
    try:
        return profiles()[name]
    except KeyError:
        raise ConfigError(
            f"no HJ 212 profile {name!r}", expected=", ".join(profiles()), hint="correct the device's profile"
        ) from None


_UNITS = {
    "安 培": "A",
    "伏特": "V",
    "毫伏特": "mV",
    "千瓦特小时": "kWh",
    "无量纲": "",
    "毫克/升": "mg/L",
    "微克/升": "µg/L",
    "纳克/升": "ng/L",
    "毫克/立方米": "mg/m³",
    "微克/立方米": "µg/m³",
    "纳克/立方米": "ng/m³",
    "克/立方米": "g/m³",
    "升/秒": "L/s",
    "立方米/小时": "m³/h",
    "立方米/秒": "m³/s",
    "立方米": "m³",
    "千克": "kg",
    "克": "g",
    "毫克": "mg",
    "吨": "t",
    "摄氏度": "°C",
    "千帕": "kPa",
    "帕": "Pa",
    "米": "m",
    "米/秒": "m/s",
    "分钟": "min",
    "秒": "s",
    "分贝": "dB",
}
_BY_UNIT = {"A": "current", "V": "voltage", "kWh": "energy", "L/s": "flow", "m³/h": "flow", "m³/s": "flow"}


def _quantity(name: str, unit: str) -> str:
    if "状态" in name or "转态" in name:
        return "state"
    if unit in _BY_UNIT:
        return _BY_UNIT[unit]
    return "concentration" if unit.endswith(("g/L", "g/m³")) else "other"


@cache
def _factors() -> tuple[Mapping[str, Factor], Mapping[str, Factor]]:
    """Factors by code of 2017 (with `xx` for the facility's number) and by code of 2005."""
    by_code: dict[str, Factor] = {}
    by_old: dict[str, Factor] = {}
    for r in rows(PACKAGE, "factors_2017.tsv"):
        name = r["name_zh"]
        unit = _UNITS.get(r["unit"], r["unit"])
        factor = Factor(
            zh=name, quantity=_quantity(name, unit), unit=unit, unit_sum=_UNITS.get(r["unit_mass"], r["unit_mass"])
        )
        by_code.setdefault(r["code"], factor)
        if r["code_2005"]:
            by_old.setdefault(r["code_2005"], factor)
    return by_code, by_old


@cache
def _electric() -> tuple[Mapping[str, dict[str, str]], Mapping[str, dict[str, str]]]:
    table = rows(PACKAGE, "electric_2025.tsv")
    return (
        {r["digits"]: r for r in table if r["part"] == "group"},
        {r["digits"]: r for r in table if r["part"] == "item"},
    )


_ELECTRIC = re.compile(r"d(\d)(\d\d)(\d\d)")
_EQUIPMENT = re.compile(r"SB(\d+)", re.IGNORECASE)
_CONDITION = re.compile(r"p(\d{3})(\d\d)")


@lru_cache(maxsize=8192)
def factor(code: str, vendor: Profile | None = None) -> Factor:
    """What a code measures; for an unknown one only the code itself, never an error."""
    if vendor is not None:
        for rule in vendor.codes:
            if found := re.fullmatch(rule.code, code):
                return Factor(
                    zh=rule.zh,
                    en=rule.en,
                    quantity=rule.quantity,
                    unit=rule.unit,
                    phase=rule.phase,
                    role=rule.role,
                    facility=(found.groupdict().get("facility") or ""),
                )
    if found := _ELECTRIC.fullmatch(code):
        groups, items = _electric()
        group, item = groups.get(found[1]), items.get(found[2])
        return Factor(
            zh=(group["zh"] if group else "设施") + (item["zh"] if item else f"电参数{found[2]}"),
            en=(f"{item['en'] if item else 'electrical quantity ' + found[2]}, {group['en'] if group else 'facility'}"),
            quantity=item["quantity"] if item else "other",
            unit=item["unit"] if item else "",
            phase=item["phase"] if item else "",
            role=group["role"] if group else "",
            facility=found[3],
            inferred=True,
        )
    if found := _EQUIPMENT.fullmatch(code):
        return Factor(
            zh=f"治理设施{found[1]}", en=f"treatment equipment {found[1]}", quantity="state", facility=found[1]
        )
    if found := _CONDITION.fullmatch(code):
        return Factor(
            zh="关键工况标记",
            en="mark of a production condition",
            quantity="condition",
            facility=found[2],
            inferred=True,
        )
    by_code, by_old = _factors()
    if code in by_code:
        return by_code[code]
    for digits in (2, 1):
        general = by_code.get(code[:-digits] + "x" * digits) if code[-digits:].isdigit() else None
        if general is not None:
            return replace(general, zh=f"{general.zh}{code[-digits:]}", facility=code[-digits:])
    return by_old.get(code, Factor(zh=code, inferred=True))


def unit_of(meaning: Factor, statistic: str) -> str:
    """Unit of one statistic of a factor."""
    if statistic == "cou":
        return meaning.unit_sum
    if statistic == "rt":
        return "h"
    return "" if statistic in _UNITLESS else meaning.unit


_UNITLESS = frozenset({"rs", "info", "sn"})


def quantity_of(meaning: Factor, statistic: str) -> str:
    """What one statistic of a factor measures, as in the contract of `channel`."""
    return {"rs": "state", "rt": "run_time"}.get(statistic, meaning.quantity)
