"""The publisher of a city hub (federation.md 3.2, 3.6, 3.7, 3.9): over the SDK's storage port and nothing else."""

from __future__ import annotations

from dianhuan_federation.publish._commitments import check_commitment
from dianhuan_federation.publish._ledger import Ledger
from dianhuan_federation.publish._open import publisher_of
from dianhuan_federation.publish._publisher import Publisher
from dianhuan_federation.publish._report import PublishReport
from dianhuan_federation.publish._settings import Settings
from dianhuan_federation.publish._witnesses import WitnessClient, Witnessing

__all__ = [
    "Ledger",
    "PublishReport",
    "Publisher",
    "Settings",
    "WitnessClient",
    "Witnessing",
    "check_commitment",
    "publisher_of",
]
