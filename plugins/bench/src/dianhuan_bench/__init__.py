"""Measures warning models on measured curves with injections (T1) and on cities with known truth (T2).

The names below are loaded on first use: the host imports this package at start-up and needs none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dianhuan_bench._full import confounder_suite, full, future_poison
    from dianhuan_bench._measured import measured
    from dianhuan_bench._page import page
    from dianhuan_bench._report import report
    from dianhuan_bench._run import installed_models, run
    from dianhuan_bench._window import CityWindow

__all__ = [
    "CityWindow",
    "confounder_suite",
    "full",
    "future_poison",
    "installed_models",
    "measured",
    "page",
    "report",
    "run",
]

_HOMES = {
    "CityWindow": "_window",
    "confounder_suite": "_full",
    "full": "_full",
    "future_poison": "_full",
    "installed_models": "_run",
    "measured": "_measured",
    "page": "_page",
    "report": "_report",
    "run": "_run",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"dianhuan_bench.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
