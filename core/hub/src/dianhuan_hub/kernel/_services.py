"""What a plugin's services may claim: tables, a place in the GraphQL root; each by one plugin only."""

from __future__ import annotations

from collections.abc import Iterator

from dianhuan_hub.kernel._registry import PluginRecord
from dianhuan_sdk import PluginError, ServiceSpec
from dianhuan_standards import TABLES

HOOK = "dianhuan_services"


def check_services(record: PluginRecord) -> None:
    """Check the services of one plugin.

    Raises:
        PluginError: it has two of them, or a table that is not its own.
    """
    specs: list[ServiceSpec] = record.descriptors.get(HOOK, [])
    if len(specs) > 1:
        raise PluginError(
            f"plugin {record.id} registers {len(specs)} services", expected="one, with all its parts", hint="join them"
        )
    for spec in specs:
        for contract in spec.tables:
            if contract.owner != record.id or contract.name in TABLES or not contract.key:
                raise PluginError(
                    f"table {contract.name} of service {spec.id} has owner {contract.owner!r}, key {contract.key}",
                    expected=f"owner {record.id!r}, a key, and a name that no standard table has",
                    hint="correct the contract",
                )


def claims(record: PluginRecord) -> Iterator[tuple[str, str]]:
    """What the plugin's service claims for itself: (kind, name)."""
    for spec in record.descriptors.get(HOOK, ()):
        yield from (("table", contract.name) for contract in spec.tables)
        if spec.graphql is not None:
            yield "GraphQL field", spec.graphql.field
