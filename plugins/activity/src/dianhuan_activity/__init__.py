"""A business-activity index from electricity, for credit and tax work: a model outside of pollution.

Registered under the entry point `activity` of the group `dianhuan.plugins`.
"""

from __future__ import annotations

from collections.abc import Iterable

from dianhuan_sdk import ModelSpec, hookimpl

__all__ = ["dianhuan_models"]


@hookimpl
def dianhuan_models() -> Iterable[ModelSpec]:
    """The model `b01-business-activity`."""
    from dianhuan_activity._model import SPEC

    return (SPEC,)
