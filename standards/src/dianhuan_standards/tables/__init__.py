"""The standard tables: one contract each, versioned, with units, labels and rules."""

from collections.abc import Mapping

from dianhuan_sdk import TableContract
from dianhuan_standards.tables._context import CALENDAR, OUTAGE, WEATHER
from dianhuan_standards.tables._devices import CHANNEL, READING
from dianhuan_standards.tables._load import LOAD_CURVE
from dianhuan_standards.tables._registers import ACCOUNT_LINK, ENTITY, METERING_POINT
from dianhuan_standards.tables._results import CASE, FINDING, MODEL_CARD, OUTCOME, OUTCOMES, STATES, WARNING
from dianhuan_standards.tables._rights import ACCEPTANCE, FILED_REPORT, ORDER, PERMIT

TABLES: Mapping[str, TableContract] = {
    contract.name: contract
    for contract in (
        ENTITY,
        METERING_POINT,
        ACCOUNT_LINK,
        LOAD_CURVE,
        CHANNEL,
        READING,
        PERMIT,
        ACCEPTANCE,
        FILED_REPORT,
        ORDER,
        OUTAGE,
        WEATHER,
        CALENDAR,
        FINDING,
        WARNING,
        CASE,
        OUTCOME,
        MODEL_CARD,
    )
}
"""Contract by table name."""

REGISTERS: tuple[str, ...] = (
    "entity",
    "metering_point",
    "account_link",
    "permit",
    "acceptance",
    "filed_report",
    "order",
    "outage",
    "weather",
    "calendar",
)
"""Tables that cities load beside curves, in an order in which no row refers to a later table."""

__all__ = ["OUTCOMES", "REGISTERS", "STATES", "TABLES"]
