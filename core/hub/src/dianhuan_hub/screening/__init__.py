"""Screening: models over the whole city, gates, findings, warnings."""

from dianhuan_hub.screening._gates import GateAnswer, Gates
from dianhuan_hub.screening._screening import Judged, RunReport, Screening, case_id, priority
from dianhuan_hub.screening._window import LastDays

__all__ = [
    "GateAnswer",
    "Gates",
    "Judged",
    "LastDays",
    "RunReport",
    "Screening",
    "case_id",
    "priority",
]
