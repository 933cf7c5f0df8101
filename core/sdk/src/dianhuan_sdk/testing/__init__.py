"""The conformance kit: what a plugin must do to be one, tried and reported.

A vendor's test file::

    from dianhuan_sdk.testing import Scenario, conformance
    from dianhuan_standards import TABLES

    test_conformance = conformance("grid_acme", Scenario(contracts=TABLES, grid={"acme": …}))

The same checks stand behind `dianhuan plugin test ID`.
"""

from dianhuan_sdk.testing._city import city, context_of
from dianhuan_sdk.testing._context import KitClock, KitMetrics, KitStorage, kit_context
from dianhuan_sdk.testing._grid import GridScenario
from dianhuan_sdk.testing._kit import LEVELS, Scenario, check_adapter, check_model, check_plugin, check_stream_model
from dianhuan_sdk.testing._plants import Plants, plants
from dianhuan_sdk.testing._pytest import conformance
from dianhuan_sdk.testing._report import Level, Report, Result, Status

__all__ = [
    "LEVELS",
    "GridScenario",
    "KitClock",
    "KitMetrics",
    "KitStorage",
    "Level",
    "Plants",
    "Report",
    "Result",
    "Scenario",
    "Status",
    "check_adapter",
    "check_model",
    "check_plugin",
    "check_stream_model",
    "city",
    "conformance",
    "context_of",
    "kit_context",
    "plants",
]
