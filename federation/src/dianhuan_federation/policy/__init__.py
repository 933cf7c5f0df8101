"""What may leave a city: terms, compiler, disclosure control, and the gate behind them. Pure, no I/O, no clock."""

from __future__ import annotations

from dianhuan_federation.policy._compile import Compiled, cells_of, compile_rows
from dianhuan_federation.policy._disclosure import Cell, Part, Released, is_safe, protect
from dianhuan_federation.policy._flatten import NEEDS, flatten, pseudonym
from dianhuan_federation.policy._gate import BANNED, EgressGate, GateRules, Sent
from dianhuan_federation.policy._shipped import SHIPPED, shipped_document, shipped_terms
from dianhuan_federation.policy._sources import CONTRIBUTOR, KEY, SOURCES, Source
from dianhuan_federation.policy._terms import (
    LEAST_K,
    Aggregation,
    Constraint,
    DisclosureRule,
    SharingTerms,
    read_terms,
)

__all__ = [
    "BANNED",
    "CONTRIBUTOR",
    "KEY",
    "LEAST_K",
    "NEEDS",
    "SHIPPED",
    "SOURCES",
    "Aggregation",
    "Cell",
    "Compiled",
    "Constraint",
    "DisclosureRule",
    "EgressGate",
    "GateRules",
    "Part",
    "Released",
    "Sent",
    "SharingTerms",
    "Source",
    "cells_of",
    "compile_rows",
    "flatten",
    "is_safe",
    "protect",
    "pseudonym",
    "read_terms",
    "shipped_document",
    "shipped_terms",
]
