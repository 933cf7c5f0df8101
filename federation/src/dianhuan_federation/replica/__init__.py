"""The verified replica: its tables, and the merge of what was verified into them."""

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
    "FEDERATED_DISPUTE",
    "FEDERATED_LOG",
    "FEDERATED_MODEL",
    "FEDERATED_OUTCOME",
    "FEDERATED_RECEIPT",
    "FEDERATED_STATEMENT",
    "FEDERATED_STATISTIC",
    "FEDERATED_TABLES",
    "FEDERATED_WARNING",
]
