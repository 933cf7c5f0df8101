"""MQTT with JSON payloads: readings by a mapping that is data.

The entry point `mqtt` of the group `dianhuan.plugins` is this module.
"""

from __future__ import annotations

from collections.abc import Iterable

from dianhuan_devices.mqtt._codec import MqttCodec, MqttConfig, MqttFrame, pack
from dianhuan_devices.mqtt._mapping import ListRule, ReadingRule, TimeRule, TopicRule
from dianhuan_sdk import DeviceProtocolSpec, Directory, PluginContext, PluginError, hookimpl

__all__ = [
    "ListRule",
    "MqttCodec",
    "MqttConfig",
    "MqttFrame",
    "ReadingRule",
    "TimeRule",
    "TopicRule",
    "pack",
]


def _codec(context: PluginContext, directory: Directory) -> MqttCodec:
    if not isinstance(context.config, MqttConfig):
        raise PluginError("MQTT was given another plugin's config", expected="MqttConfig")
    return MqttCodec(context.config, directory)


@hookimpl
def dianhuan_device_protocols() -> Iterable[DeviceProtocolSpec]:
    """MQTT."""
    return [
        DeviceProtocolSpec(
            id="mqtt",
            zh="MQTT JSON 映射",
            en="MQTT JSON by mapping",
            transport="mqtt",
            config_model=MqttConfig,
            factory=_codec,
            default_port=1883,
        )
    ]
