"""Register maps of meters: which registers to read and what they mean."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from dianhuan_devices._tables import document

_FORMATS = {
    "u16": ">H",
    "s16": ">h",
    "u32": ">I",
    "s32": ">i",
    "f32": ">f",
    "u64": ">Q",
    "s64": ">q",
}
LONGEST_READ = 100
"""Registers of one request; the protocol allows 125, some meters less."""
_GAP = 4


class Register(BaseModel):
    """One quantity of a meter.

    Args:
        address: first register as in the request.
        type: number format, high word first.
        swap: low word first.
        scale: the number × scale gives the unit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    code: str = Field(pattern=r"^[A-Za-z]\w{0,31}$")
    address: int = Field(ge=0, le=0xFFFF)
    type: Literal["u16", "s16", "u32", "s32", "f32", "u64", "s64"]
    zh: str
    en: str
    quantity: str
    unit: str = ""
    phase: str = ""
    role: str = ""
    facility: str = ""
    scale: float = 1.0
    swap: bool = False

    @property
    def width(self) -> int:
        """Registers that it takes."""
        return struct.calcsize(_FORMATS[self.type]) // 2

    def read(self, words: bytes) -> float | None:
        """Its value from the bytes of its registers; None for a float that is no number."""
        if self.swap:
            words = b"".join(words[i : i + 2] for i in range(len(words) - 2, -1, -2))
        (number,) = struct.unpack(_FORMATS[self.type], words)
        if not math.isfinite(number):
            return None
        # A 32-bit float carries seven digits; more would only be noise of the conversion.
        value = float(f"{number:.7g}") if self.type == "f32" else float(number)
        return value if self.scale == 1.0 else round(value * self.scale, 9)


class MeterMap(BaseModel):
    """Registers of one kind of meter; `function` 3 reads holding, 4 input registers."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    zh: str
    en: str
    function: Literal[3, 4]
    registers: tuple[Register, ...] = Field(min_length=1)

    def blocks(self) -> tuple[tuple[Register, ...], ...]:
        """Registers grouped into requests: neighbours, small gaps included, at most `LONGEST_READ` registers each."""
        blocks: list[list[Register]] = []
        for register in sorted(self.registers, key=lambda r: r.address):
            if blocks:
                first, last = blocks[-1][0], blocks[-1][-1]
                gap = register.address - (last.address + last.width)
                if gap <= _GAP and register.address + register.width - first.address <= LONGEST_READ:
                    blocks[-1].append(register)
                    continue
            blocks.append([register])
        return tuple(tuple(block) for block in blocks)


@cache
def meters() -> Mapping[str, MeterMap]:
    """The maps shipped with the plugin, by name."""
    found = document("dianhuan_devices.modbus", "meters.yaml")["meters"]
    return {name: MeterMap.model_validate(meter) for name, meter in found.items()}
