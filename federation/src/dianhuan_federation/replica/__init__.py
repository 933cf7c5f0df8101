"""The verified replica: its tables, and the merge of what was verified into them."""

from dianhuan_federation.replica._files import BLOBS, Layered, ReplicaLog
from dianhuan_federation.replica._merge import SILENCE, Delivery, Merge, Merged, freshness
from dianhuan_federation.replica._statements import read_entry, wanted_blobs
from dianhuan_federation.replica._states import Stored, load_state
from dianhuan_federation.replica._tables import (
    FEDERATED_DISPUTE,
    FEDERATED_LOG,
    FEDERATED_MODEL,
    FEDERATED_OUTCOME,
    FEDERATED_RECEIPT,
    FEDERATED_STATEMENT,
    FEDERATED_STATISTIC,
    FEDERATED_TABLES,
    FEDERATED_WARNING,
)

__all__ = [
    "BLOBS",
    "FEDERATED_DISPUTE",
    "FEDERATED_LOG",
    "FEDERATED_MODEL",
    "FEDERATED_OUTCOME",
    "FEDERATED_RECEIPT",
    "FEDERATED_STATEMENT",
    "FEDERATED_STATISTIC",
    "FEDERATED_TABLES",
    "FEDERATED_WARNING",
    "SILENCE",
    "Delivery",
    "Layered",
    "Merge",
    "Merged",
    "ReplicaLog",
    "Stored",
    "freshness",
    "load_state",
    "read_entry",
    "wanted_blobs",
]
