"""What emulated devices may speak. By itself, so that the command line knows it without loading the emulator."""

from __future__ import annotations

from enum import StrEnum


class Protocol(StrEnum):
    """What the devices speak; `mixed` is HJ 212 in all its living editions."""

    mixed = "mixed"
    hj212_2017 = "hj212-2017"
    hj212_2005 = "hj212-2005"
    hj212_2025 = "hj212-2025"
    dlt645 = "dlt645"
    modbus = "modbus"
    mqtt = "mqtt"
