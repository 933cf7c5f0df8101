"""What a Dianhuan plugin author needs, and nothing else.

Plugins import from here; everything not in `__all__` or in a documented submodule may change without notice.
"""

from dianhuan_sdk.batches import REJECT_SCHEMA, ROW_COLUMN, Batch, Checkpoint, Cursor, SourceRef, Window
from dianhuan_sdk.context import (
    LOCAL_ZONE,
    Clock,
    Metrics,
    PluginContext,
    Receipt,
    Secret,
    SecretRef,
    StoragePort,
)
from dianhuan_sdk.contracts import CURVE_TYPE, POINTS_PER_DAY, Field, Refusal, Rule, TableContract, in_order
from dianhuan_sdk.errors import (
    AuthError,
    ConfigError,
    DianhuanError,
    InputError,
    PluginError,
    RateLimitedError,
    SourceError,
    TerminalError,
    TransientError,
)
from dianhuan_sdk.features import FEATURES, FEATURES_VERSION, Feature, daily_features
from dianhuan_sdk.grid import CheckReport, GridAdapter, GridAdapterSpec, StreamInfo
from dianhuan_sdk.hooks import hookimpl
from dianhuan_sdk.manifest import Capabilities, Command, Manifest
from dianhuan_sdk.models import (
    ENTITY_COLUMNS,
    ArrayBlock,
    Block,
    CalendarDay,
    CurveModel,
    Exhibit,
    Finding,
    ModelCard,
    ModelContext,
    ModelSpec,
    TariffDay,
    Text,
)

API_VERSION = (1, 0)
"""Version of everything exported here; manifests state the range they were written for."""

__all__ = [
    "API_VERSION",
    "CURVE_TYPE",
    "ENTITY_COLUMNS",
    "FEATURES",
    "FEATURES_VERSION",
    "LOCAL_ZONE",
    "POINTS_PER_DAY",
    "REJECT_SCHEMA",
    "ROW_COLUMN",
    "ArrayBlock",
    "AuthError",
    "Batch",
    "Block",
    "CalendarDay",
    "Capabilities",
    "CheckReport",
    "Checkpoint",
    "Clock",
    "Command",
    "ConfigError",
    "Cursor",
    "CurveModel",
    "DianhuanError",
    "Exhibit",
    "Feature",
    "Field",
    "Finding",
    "GridAdapter",
    "GridAdapterSpec",
    "InputError",
    "Manifest",
    "Metrics",
    "ModelCard",
    "ModelContext",
    "ModelSpec",
    "PluginContext",
    "PluginError",
    "RateLimitedError",
    "Receipt",
    "Refusal",
    "Rule",
    "Secret",
    "SecretRef",
    "SourceError",
    "SourceRef",
    "StoragePort",
    "StreamInfo",
    "TableContract",
    "TariffDay",
    "TerminalError",
    "Text",
    "TransientError",
    "Window",
    "daily_features",
    "hookimpl",
    "in_order",
]
