"""Identifiers: GB 32100 enterprises, GB/T 2260 divisions, GB/T 4754 industries, permits, HJ 608 facilities."""

from dianhuan_standards.identifiers._codes import (
    CHECKS,
    DIVISION_PATTERN,
    INDUSTRY_PATTERN,
    PERMIT_PATTERN,
    division_name,
    divisions,
    facility_kind,
    industries,
    industry_code,
    industry_path,
)
from dianhuan_standards.identifiers._uscc import USCC_PATTERN, uscc_check_digit, uscc_problem, valid_usccs

__all__ = [
    "CHECKS",
    "DIVISION_PATTERN",
    "INDUSTRY_PATTERN",
    "PERMIT_PATTERN",
    "USCC_PATTERN",
    "division_name",
    "divisions",
    "facility_kind",
    "industries",
    "industry_code",
    "industry_path",
    "uscc_check_digit",
    "uscc_problem",
    "valid_usccs",
]
