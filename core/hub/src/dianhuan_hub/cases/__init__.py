"""Cases: their flow, events and outcomes."""

from dianhuan_hub.cases._desk import STATE_WORDS, CaseDesk, CaseFile

__all__ = ["STATE_WORDS", "CaseDesk", "CaseFile"]
