"""A city with known truth, written as grid files and registers.

The names below are loaded on first use: the host imports this package at start-up and needs none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dianhuan_simulator._field import CODES, inspect, react, tip_offs
    from dianhuan_simulator._files import Written
    from dianhuan_simulator._generic import write_generic
    from dianhuan_simulator._hunan import write_hunan
    from dianhuan_simulator._knobs import Knobs, load_knobs, province_knobs
    from dianhuan_simulator._truth import TRUTH_SCHEMA
    from dianhuan_simulator.city import City, CityConfig

__all__ = [
    "CODES",
    "TRUTH_SCHEMA",
    "City",
    "CityConfig",
    "Knobs",
    "Written",
    "inspect",
    "load_knobs",
    "province_knobs",
    "react",
    "tip_offs",
    "write_generic",
    "write_hunan",
]

_HOMES = {
    "TRUTH_SCHEMA": "_truth",
    "CODES": "_field",
    "City": "city",
    "CityConfig": "city",
    "Knobs": "_knobs",
    "Written": "_files",
    "inspect": "_field",
    "load_knobs": "_knobs",
    "province_knobs": "_knobs",
    "react": "_field",
    "tip_offs": "_field",
    "write_generic": "_generic",
    "write_hunan": "_hunan",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"dianhuan_simulator.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
