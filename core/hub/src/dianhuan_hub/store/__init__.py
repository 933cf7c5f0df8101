"""The only room that knows DuckDB: one file per city, one writer, load curves, registers, features, results."""

from dianhuan_hub.store._backup import backup, restore
from dianhuan_hub.store._block import CityBlock
from dianhuan_hub.store._cold import COLD_SCHEMA, ColdTier, dequantize, quantize
from dianhuan_hub.store._curves import CurveRows, curve_days, gather
from dianhuan_hub.store._engine import Connection, Engine, StoreError
from dianhuan_hub.store._loads import (
    QUARANTINE_SCHEMA,
    LoadInfo,
    open_quarantine,
    payload_json,
    put_audit,
    read_cursor,
    read_state,
)
from dianhuan_hub.store._missing import FloatArray, curves_to_nan, nan_to_contract, nan_to_store, store_to_nan
from dianhuan_hub.store._reads import (
    Page,
    Query,
    columns_of,
    count_by,
    newest_day,
    read_count,
    read_groups,
    read_page,
    read_stream,
)
from dianhuan_hub.store._registers import RegisterRows
from dianhuan_hub.store._results import (
    RunInfo,
    cases_of,
    drop_cases,
    forget_findings,
    open_cases,
    put_case_event,
    put_results,
    put_run,
    recent_days,
    screened_days,
    warned_on,
)
from dianhuan_hub.store._store import Store, Unit, UnitReceipt
from dianhuan_hub.store._topology import Topology, day_number

__all__ = [
    "COLD_SCHEMA",
    "QUARANTINE_SCHEMA",
    "CityBlock",
    "ColdTier",
    "Connection",
    "CurveRows",
    "Engine",
    "FloatArray",
    "LoadInfo",
    "Page",
    "Query",
    "RegisterRows",
    "RunInfo",
    "Store",
    "StoreError",
    "Topology",
    "Unit",
    "UnitReceipt",
    "backup",
    "cases_of",
    "columns_of",
    "count_by",
    "curve_days",
    "curves_to_nan",
    "day_number",
    "dequantize",
    "drop_cases",
    "forget_findings",
    "gather",
    "nan_to_contract",
    "nan_to_store",
    "newest_day",
    "open_cases",
    "open_quarantine",
    "payload_json",
    "put_audit",
    "put_case_event",
    "put_results",
    "put_run",
    "quantize",
    "read_count",
    "read_cursor",
    "read_groups",
    "read_page",
    "read_state",
    "read_stream",
    "recent_days",
    "restore",
    "screened_days",
    "store_to_nan",
    "warned_on",
]
