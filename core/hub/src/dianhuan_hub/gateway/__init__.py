"""Devices on site: ports, pollers and brokers; frames in, committed readings, then the answers; the device desk."""

from dianhuan_hub.gateway._desk import Decision, DeviceDesk
from dianhuan_hub.gateway._door import call, device_object, run
from dianhuan_hub.gateway._gateway import Gateway
from dianhuan_hub.gateway._thread import GatewayThread, own_process

__all__ = ["Decision", "DeviceDesk", "Gateway", "GatewayThread", "call", "device_object", "own_process", "run"]
