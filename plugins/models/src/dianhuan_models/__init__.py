"""The warning models of Dianhuan: M5 night-only production.

Registered under the entry point `models` of the group `dianhuan.plugins`.
"""

from __future__ import annotations

from collections.abc import Iterable

from dianhuan_sdk import ModelSpec, hookimpl

__all__ = ["dianhuan_models"]


@hookimpl
def dianhuan_models() -> Iterable[ModelSpec]:
    """The models of this plugin."""
    from dianhuan_models.specs import SPECS

    return SPECS
