"""Any grid company export by a mapping file."""

from collections.abc import Iterable

from dianhuan_sdk import GridAdapterSpec, hookimpl


@hookimpl
def dianhuan_grid_adapters() -> Iterable[GridAdapterSpec]:
    """The adapter `grid_generic`."""
    from dianhuan_grid_generic._adapter import SPEC

    return (SPEC,)


__all__ = ["dianhuan_grid_adapters"]
