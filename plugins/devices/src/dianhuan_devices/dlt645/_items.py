"""Data identifiers (DI) of DL/T 645 and their BCD values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from dianhuan_devices._tables import rows


@dataclass(frozen=True, slots=True)
class Item:
    """One data identifier.

    Args:
        di: hexadecimal, high byte first: eight digits (2007) or four (1997).
        size: bytes of its value.
        decimals: decimal places of the BCD number; -1 for a date or time.
        signed: the top bit of the highest byte is the sign.
        parts: the identifiers whose values a block holds, in order; empty for a single value.
    """

    di: str
    zh: str
    en: str
    quantity: str
    unit: str
    phase: str
    size: int
    decimals: int
    signed: bool
    parts: tuple[str, ...]


@cache
def items() -> Mapping[str, Item]:
    """Items by DI, of both editions."""
    return {
        r["di"]: Item(
            di=r["di"],
            zh=r["zh"],
            en=r["en"],
            quantity=r["quantity"],
            unit=r["unit"],
            phase=r["phase"],
            size=int(r["bytes"]),
            decimals=int(r["decimals"] or -1),
            signed=r["signed"] == "1",
            parts=tuple(r["parts"].split()),
        )
        for r in rows("dianhuan_devices.dlt645", "dis.tsv")
    }


def from_bcd(data: bytes, decimals: int, signed: bool) -> float | None:
    """Number of BCD bytes, low byte first; None where a digit is none (meters fill missing values with FF)."""
    value = bytearray(reversed(data))
    negative = signed and bool(value) and value[0] & 0x80 != 0
    if negative:
        value[0] &= 0x7F
    digits = value.hex()
    if not digits.isdigit():
        return None
    number: float = int(digits) / 10**decimals
    return -number if negative else number


def to_bcd(number: float, size: int, decimals: int, signed: bool) -> bytes:
    """BCD bytes, low byte first, of a number.

    Raises:
        ValueError: the number does not fit into `size` bytes, or is negative where there is no sign.
    """
    digits = str(round(abs(number) * 10**decimals)).rjust(2 * size, "0")
    if len(digits) > 2 * size or (number < 0 and not signed):
        raise ValueError(f"{number} does not fit into {size} bytes of BCD with {decimals} decimals")
    value = bytearray.fromhex(digits)
    if signed:
        if value[0] & 0x80:
            raise ValueError(f"{number} leaves no room for the sign")
        if number < 0:
            value[0] |= 0x80
    return bytes(reversed(value))
