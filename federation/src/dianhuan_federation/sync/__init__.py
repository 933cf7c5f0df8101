"""How results of other hubs arrive: over HTTP, in folders, on a stick; always the same bytes, always verified."""

from dianhuan_federation.sync._background import follow
from dianhuan_federation.sync._export import sizes_in
from dianhuan_federation.sync._guard import AddressGuard, GuardedTransport
from dianhuan_federation.sync._hints import hint, hints
from dianhuan_federation.sync._parquet import ParquetSandbox, encode_parquet
from dianhuan_federation.sync._pull import Want, pull, pull_plain
from dianhuan_federation.sync._sources import FolderSource, HttpSource, Source
from dianhuan_federation.sync._subscriber import Subscriber, SyncReport
from dianhuan_federation.sync._trust import TrustStore

__all__ = [
    "AddressGuard",
    "FolderSource",
    "GuardedTransport",
    "HttpSource",
    "ParquetSandbox",
    "Source",
    "Subscriber",
    "SyncReport",
    "TrustStore",
    "Want",
    "encode_parquet",
    "follow",
    "hint",
    "hints",
    "pull",
    "pull_plain",
    "sizes_in",
]
