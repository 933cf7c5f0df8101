"""DL/T 645-2007 (and the reading of 1997) over transparent TCP: multi-function energy meters.

The entry point `dlt645` of the group `dianhuan.plugins` is this module.
"""

from __future__ import annotations

from collections.abc import Iterable

from dianhuan_devices.dlt645._codec import Dlt645Codec, Dlt645Config
from dianhuan_devices.dlt645._frame import (
    ANSWER,
    READ,
    Cutter645,
    Dlt645Frame,
    build,
    frame_object,
    frame_words,
    parse,
    read_all,
    read_request,
)
from dianhuan_devices.dlt645._items import Item, from_bcd, items, to_bcd
from dianhuan_sdk import DeviceProtocolSpec, Directory, PluginContext, PluginError, hookimpl

__all__ = [
    "ANSWER",
    "READ",
    "Cutter645",
    "Dlt645Codec",
    "Dlt645Config",
    "Dlt645Frame",
    "Item",
    "build",
    "frame_object",
    "frame_words",
    "from_bcd",
    "items",
    "parse",
    "read_all",
    "read_request",
    "to_bcd",
]


def _codec(context: PluginContext, directory: Directory) -> Dlt645Codec:
    if not isinstance(context.config, Dlt645Config):
        raise PluginError("DL/T 645 was given another plugin's config", expected="Dlt645Config")
    return Dlt645Codec(context.config, directory)


@hookimpl
def dianhuan_device_protocols() -> Iterable[DeviceProtocolSpec]:
    """DL/T 645."""
    return [
        DeviceProtocolSpec(
            id="dlt645",
            zh="DL/T 645 多功能电能表",
            en="DL/T 645 multi-function energy meters",
            transport="tcp_poll",
            config_model=Dlt645Config,
            factory=_codec,
            profiles=("2007", "1997"),
        )
    ]
