"""Registration hooks. pluggy is called when the hub starts; data flows through the objects, never through hooks.

A plugin is a module or object with functions marked `@hookimpl`, named by an entry point of the group
`dianhuan.plugins`. A hook is added only together with a released plugin that uses it.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from dianhuan_sdk.device import DeviceProtocolSpec
from dianhuan_sdk.fusion import FusionSpec
from dianhuan_sdk.grid import GridAdapterSpec
from dianhuan_sdk.models import ModelSpec
from dianhuan_sdk.service import ServiceSpec
from dianhuan_sdk.stream import StreamModelSpec

PROJECT = "dianhuan"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def dianhuan_grid_adapters() -> Iterable[GridAdapterSpec]:  # type: ignore[empty-body]
    """Adapters for grid data."""


@hookspec
def dianhuan_models() -> Iterable[ModelSpec]:  # type: ignore[empty-body]
    """Warning models of the daily and the advance tier."""


@hookspec
def dianhuan_stream_models() -> Iterable[StreamModelSpec]:  # type: ignore[empty-body]
    """Warning models of the real-time tier."""


@hookspec
def dianhuan_device_protocols() -> Iterable[DeviceProtocolSpec]:  # type: ignore[empty-body]
    """Protocols of devices on site."""


@hookspec
def dianhuan_services() -> Iterable[ServiceSpec]:  # type: ignore[empty-body]
    """Services: background work, tables, routes and GraphQL fields of a plugin."""


@hookspec
def dianhuan_fusions() -> Iterable[FusionSpec]:  # type: ignore[empty-body]
    """Ways of fusing the findings about one enterprise and day into a probability."""
