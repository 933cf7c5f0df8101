"""Table contracts, code lists, identifiers, calendars and tariff rules, usable without the hub."""

from dianhuan_standards.tables import REGISTERS, TABLES

__all__ = ["REGISTERS", "TABLES"]
