"""Units: the names that files and mappings use, and what turns a value into the unit of the tables.

Tables hold kW, kWh, V, A (design section 5). A value of another unit is multiplied by `to_standard(unit).factor`; an
energy per interval becomes mean power by `mean_kw_factor`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from dianhuan_sdk import ConfigError

StandardUnit = Literal["kW", "kWh", "V", "A", "kVA"]


class Unit(NamedTuple):
    """A unit of a file: the unit of the tables it becomes, and the factor."""

    standard: StandardUnit
    factor: float


UNITS: Mapping[str, Unit] = MappingProxyType(
    {
        "W": Unit("kW", 1e-3),
        "kW": Unit("kW", 1.0),
        "MW": Unit("kW", 1e3),
        "瓦": Unit("kW", 1e-3),
        "千瓦": Unit("kW", 1.0),
        "兆瓦": Unit("kW", 1e3),
        "万千瓦": Unit("kW", 1e4),
        "Wh": Unit("kWh", 1e-3),
        "kWh": Unit("kWh", 1.0),
        "MWh": Unit("kWh", 1e3),
        "瓦时": Unit("kWh", 1e-3),
        "度": Unit("kWh", 1.0),
        "千瓦时": Unit("kWh", 1.0),
        "兆瓦时": Unit("kWh", 1e3),
        "万千瓦时": Unit("kWh", 1e4),
        "万度": Unit("kWh", 1e4),
        "V": Unit("V", 1.0),
        "kV": Unit("V", 1e3),
        "伏": Unit("V", 1.0),
        "千伏": Unit("V", 1e3),
        "mA": Unit("A", 1e-3),
        "A": Unit("A", 1.0),
        "kA": Unit("A", 1e3),
        "安": Unit("A", 1.0),
        "kVA": Unit("kVA", 1.0),
        "MVA": Unit("kVA", 1e3),
        "千伏安": Unit("kVA", 1.0),
    }
)
"""Unit by its name. Letters keep their case: `mW` and `MW` are not the same, and `KWH` is accepted by `to_standard`."""

# Only these upper-case spellings are unambiguous and common in exports.
_SPELLINGS = {"KW": "kW", "KWH": "kWh", "KV": "kV", "KVA": "kVA", "MWH": "MWh", "WH": "Wh", "KA": "kA"}


def to_standard(unit: str) -> Unit:
    """The standard unit and the factor for a unit's name.

    Raises:
        ConfigError: the name is unknown.
    """
    name = unit.strip()
    found = UNITS.get(name) or UNITS.get(_SPELLINGS.get(name, ""))
    if found is None:
        raise ConfigError(
            f"unknown unit {unit!r}",
            expected=f"one of {', '.join(UNITS)}",
            hint="correct the unit in the mapping",
        )
    return found


def mean_kw_factor(unit: str, minutes: int) -> float:
    """What turns a value in `unit` into mean kW over an interval: powers by their size, energies by size and hours.

    Args:
        unit: a unit of power or energy.
        minutes: length of the interval, above 0.

    Raises:
        ConfigError: the unit is neither power nor energy, or the interval is not above 0.
    """
    found = to_standard(unit)
    if minutes <= 0 or found.standard not in ("kW", "kWh"):
        raise ConfigError(
            f"no mean power from {unit!r} over {minutes} minutes",
            expected="a unit of power or energy, over an interval longer than 0",
            hint="correct unit and interval in the mapping",
        )
    return found.factor * (60.0 / minutes if found.standard == "kWh" else 1.0)
