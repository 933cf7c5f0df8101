"""Signed, witnessed sharing of standardized results between city hubs and provinces."""

from __future__ import annotations

from collections.abc import Iterable

from dianhuan_sdk import ServiceSpec, hookimpl

__all__ = ["dianhuan_services"]


@hookimpl
def dianhuan_services() -> Iterable[ServiceSpec]:
    """The federation's part of a hub."""
    from dianhuan_federation.service import SERVICE

    return [SERVICE]
