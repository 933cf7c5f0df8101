"""Passports of models: what may stand in a file that everybody reads."""

from __future__ import annotations

import json
from typing import Any

from dianhuan_federation.policy import BANNED, EgressGate
from dianhuan_sdk import InputError

MAX_PASSPORT = 256 * 1024
MAX_NUMBERS = 24
"""Numbers in one list of a passport; a longer one would be a series."""


def check_passport(data: bytes, gate: EgressGate) -> None:
    """Look at every name and value of a passport with the eyes of the gate.

    Raises:
        InputError: no JSON object, too large, or something in it must not leave.
    """
    if len(data) > MAX_PASSPORT:
        raise InputError(f"a passport of {len(data)} bytes", expected=f"at most {MAX_PASSPORT}")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise InputError("a passport that is no JSON", expected="one JSON object") from None
    if not isinstance(document, dict):
        raise InputError("a passport that is no JSON object", expected="one JSON object")
    _look(document, gate)


def _look(value: Any, gate: EgressGate) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name.casefold() in BANNED:
                raise InputError(f"egress gate: {name} never leaves the city", expected="what a model card holds")
            gate.check_text(name)
            _look(inner, gate)
    elif isinstance(value, list):
        if sum(isinstance(item, (int, float)) for item in value) > MAX_NUMBERS:
            raise InputError("egress gate: a series of numbers in a passport", expected="measured figures")
        for item in value:
            _look(item, gate)
    elif isinstance(value, str):
        gate.check_text(value)
