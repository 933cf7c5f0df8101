"""Intake: contract → ok │ quarantine, one transaction a checkpoint, lineage, replay, backfill."""

from dianhuan_hub.intake._check import Checked, check_batch, contract_of
from dianhuan_hub.intake._intake import Intake, Progress, Source, Summary
from dianhuan_hub.intake._port import HubStorage
from dianhuan_hub.intake._replay import replay_quarantine

__all__ = [
    "Checked",
    "HubStorage",
    "Intake",
    "Progress",
    "Source",
    "Summary",
    "check_batch",
    "contract_of",
    "replay_quarantine",
]
