"""Modbus TCP and RTU over TCP: meters polled by register maps.

The entry point `modbus` of the group `dianhuan.plugins` is this module.
"""

from __future__ import annotations

from collections.abc import Iterable

from dianhuan_devices.modbus._codec import ModbusCodec, ModbusConfig, ModbusFrame
from dianhuan_devices.modbus._framing import crc, rtu_adu, tcp_adu
from dianhuan_devices.modbus._maps import MeterMap, Register, meters
from dianhuan_sdk import DeviceProtocolSpec, Directory, PluginContext, PluginError, hookimpl

__all__ = [
    "MeterMap",
    "ModbusCodec",
    "ModbusConfig",
    "ModbusFrame",
    "Register",
    "crc",
    "meters",
    "rtu_adu",
    "tcp_adu",
]


def _codec(context: PluginContext, directory: Directory) -> ModbusCodec:
    if not isinstance(context.config, ModbusConfig):
        raise PluginError("Modbus was given another plugin's config", expected="ModbusConfig")
    return ModbusCodec(context.config)  # answers belong to what was asked: the directory is not needed


@hookimpl
def dianhuan_device_protocols() -> Iterable[DeviceProtocolSpec]:
    """Modbus."""
    return [
        DeviceProtocolSpec(
            id="modbus",
            zh="Modbus TCP、RTU over TCP",
            en="Modbus TCP, RTU over TCP",
            transport="tcp_poll",
            config_model=ModbusConfig,
            factory=_codec,
            profiles=tuple(meters()),
            default_port=502,
        )
    ]
