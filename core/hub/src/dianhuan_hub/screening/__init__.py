"""Screening: models over the whole city, gates, findings, warnings, today's list."""

from dianhuan_hub.screening._gates import GateAnswer, Gates
from dianhuan_hub.screening._list import BOUND_UNKNOWN, ListLine, evidence_of, todays_list
from dianhuan_hub.screening._screening import Judged, RunReport, Screening, case_id, priority
from dianhuan_hub.screening._window import LastDays

__all__ = [
    "BOUND_UNKNOWN",
    "GateAnswer",
    "Gates",
    "Judged",
    "LastDays",
    "ListLine",
    "RunReport",
    "Screening",
    "case_id",
    "evidence_of",
    "priority",
    "todays_list",
]
