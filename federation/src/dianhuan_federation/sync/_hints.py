"""MQTT hints: a peer says that there is something new. A hint is never believed; it only brings a pull forward.

Topic `fed/<hub>/checkpoint`, QoS 0. What a message holds is not even read: who may write to the broker could write
anything, and where to pull from stands in the settings and the signed trust data.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator

from dianhuan_sdk import ConfigError

TOPIC = re.compile(r"fed/([0-9]{6})/checkpoint")
GATHER = 2.0
"""Seconds in which further hints join the first."""


async def hints(broker: str) -> AsyncGenerator[frozenset[str], None]:
    """Hub ids of which a broker says that there is something new, gathered.

    Args:
        broker: `host[:port]`, from the settings.

    Raises:
        ConfigError: the optional package is missing, or the address is none.
        aiomqtt.MqttError: the broker cannot be reached or went away; pulls by the clock go on without it.
    """
    try:
        import aiomqtt
    except ImportError:
        raise ConfigError("MQTT hints need a package more", hint="pip install 'dianhuan-federation[mqtt]'") from None
    host, _, port = broker.partition(":")
    if not host or not (port or "1883").isdecimal():
        raise ConfigError(f"broker {broker!r}", expected="host or host:port")
    async with aiomqtt.Client(host, int(port or 1883)) as client:
        await client.subscribe("fed/+/checkpoint")
        messages = aiter(client.messages)
        while True:
            first = await anext(messages)
            named = {_hub(str(first.topic))}
            try:
                async with asyncio.timeout(GATHER):
                    async for message in client.messages:
                        named.add(_hub(str(message.topic)))
            except TimeoutError:
                pass
            yield frozenset(named - {""})


async def hint(broker: str, hub: str) -> None:
    """Tell a broker that this hub has something new.

    Args:
        broker: `host[:port]`.
        hub: hub id.
    """
    import aiomqtt

    host, _, port = broker.partition(":")
    async with aiomqtt.Client(host, int(port or 1883)) as client:
        await client.publish(f"fed/{hub}/checkpoint", b"")


def _hub(topic: str) -> str:
    match = TOPIC.fullmatch(topic)
    return "" if match is None else match[1]
