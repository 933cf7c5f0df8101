"""Check a file against a table contract and say in words what is wrong, row by row."""

from dianhuan_standards.validate._check import validate_file, validate_rows
from dianhuan_standards.validate._report import Count, RowRefusal, ValidationReport

__all__ = ["Count", "RowRefusal", "ValidationReport", "validate_file", "validate_rows"]
