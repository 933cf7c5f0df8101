"""The State Grid Hunan profile."""

from collections.abc import Iterable

from dianhuan_sdk import GridAdapterSpec, hookimpl


@hookimpl
def dianhuan_grid_adapters() -> Iterable[GridAdapterSpec]:
    """The adapter `grid_hunan`."""
    from dianhuan_grid_hunan._adapter import SPEC

    return (SPEC,)


__all__ = ["dianhuan_grid_adapters"]
