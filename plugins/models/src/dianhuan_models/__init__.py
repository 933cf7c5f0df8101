"""The warning models of Dianhuan, daily and real-time, and ways of fusing what they find.

Registered under the entry point `models` of the group `dianhuan.plugins`.
"""

from __future__ import annotations

from collections.abc import Iterable

from dianhuan_sdk import FusionSpec, ModelSpec, StreamModelSpec, hookimpl

__all__ = ["dianhuan_fusions", "dianhuan_models", "dianhuan_stream_models"]


@hookimpl
def dianhuan_models() -> Iterable[ModelSpec]:
    """The curve models of this plugin."""
    from dianhuan_models.specs import SPECS

    return SPECS


@hookimpl
def dianhuan_stream_models() -> Iterable[StreamModelSpec]:
    """The real-time models of this plugin."""
    from dianhuan_models.stream_specs import STREAM_SPECS

    return STREAM_SPECS


@hookimpl
def dianhuan_fusions() -> Iterable[FusionSpec]:
    """Ways of fusing findings."""
    from dianhuan_models.fusion import FUSIONS

    return FUSIONS
