"""HJ 212 in its 2005, 2017 and 2025 editions (污染物自动监测监控系统数据传输技术要求).

The entry point `hj212` of the group `dianhuan.plugins` is this module.
"""

from __future__ import annotations

from collections.abc import Iterable

from dianhuan_devices.hj212._centre import MINUTE_INTERVALS, RTD_INTERVAL, Centre, answer_to
from dianhuan_devices.hj212._cipher import Sm4, key_bytes
from dianhuan_devices.hj212._codec import Hj212Codec, Hj212Config
from dianhuan_devices.hj212._codes import Command, Factor, Profile, System, commands, factor, profile, profiles, systems
from dianhuan_devices.hj212._crc import crc16, crc_text
from dianhuan_devices.hj212._encode import LONGEST_AREA, Station, area_text, encode, encode_segment
from dianhuan_devices.hj212._frame import Hj212Frame
from dianhuan_devices.hj212._framing import LONGEST, WINDOW
from dianhuan_devices.hj212._header import Header
from dianhuan_devices.hj212._logger import Logger
from dianhuan_sdk import DeviceProtocolSpec, Directory, PluginContext, PluginError, hookimpl

__all__ = [
    "LONGEST",
    "LONGEST_AREA",
    "MINUTE_INTERVALS",
    "RTD_INTERVAL",
    "WINDOW",
    "Centre",
    "Command",
    "Factor",
    "Header",
    "Hj212Codec",
    "Hj212Config",
    "Hj212Frame",
    "Logger",
    "Profile",
    "Sm4",
    "Station",
    "System",
    "answer_to",
    "area_text",
    "commands",
    "crc16",
    "crc_text",
    "encode",
    "encode_segment",
    "factor",
    "key_bytes",
    "profile",
    "profiles",
    "systems",
]


def _codec(context: PluginContext, directory: Directory) -> Hj212Codec:
    if not isinstance(context.config, Hj212Config):
        raise PluginError("HJ 212 was given another plugin's config", expected="Hj212Config")
    return Hj212Codec(context.config, directory)


@hookimpl
def dianhuan_device_protocols() -> Iterable[DeviceProtocolSpec]:
    """HJ 212."""
    return [
        DeviceProtocolSpec(
            id="hj212",
            zh="HJ 212 污染物自动监测监控系统数据传输",
            en="HJ 212 data transmission of pollutant monitoring",
            transport="tcp",
            config_model=Hj212Config,
            factory=_codec,
            profiles=tuple(profiles()),
            default_port=9212,
        )
    ]
