"""A way by which frames come in (port, poller, broker) with its protocol and what it knows of devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dianhuan_hub.kernel.guard import Guard
from dianhuan_hub.store import LoadInfo, ReadingLoad
from dianhuan_sdk import Clock, Device, DeviceCodec


class Line:
    """Protocol, codecs and lineage of one listener, poller or broker.

    Args:
        name: its name in hub.toml.
        protocol, transport: id of the protocol, and how its devices are reached.
        version: of the plugin, for lineage.
        guard: calls into the plugin go through it.
        new_codec: makes the codec of a connection.
        approved: approved devices of the protocol by id, always of the present state.
        clock: of the hub.
    """

    def __init__(
        self,
        name: str,
        protocol: str,
        transport: str,
        version: str,
        guard: Guard,
        new_codec: Callable[[], DeviceCodec],
        approved: Mapping[str, Device],
        clock: Clock,
    ) -> None:
        self.name = name
        self.protocol = protocol
        self.transport = transport
        self.guard = guard
        self.approved = approved
        self._version = version
        self._new_codec = new_codec
        self._clock = clock
        self._load: ReadingLoad | None = None
        self._day = ""
        # Rows and answers of all connections are made by one codec, in the thread that commits.
        self.rows = self.make_codec()

    def make_codec(self) -> DeviceCodec:
        """A codec.

        Raises:
            PluginError: the plugin cannot make one.
        """
        return self.guard.call("factory", self._new_codec)

    def load(self) -> ReadingLoad:
        """Lineage of today's transactions: one load a line and day."""
        day = f"{self._clock.today():%Y%m%d}"
        if self._load is None or self._day != day:
            now = self._clock.now()
            source = f"gateway:{self.name}"
            self._load = ReadingLoad(LoadInfo(self.protocol, self._version, "reading", source, "", "", now))
            self._day = day
        return self._load
