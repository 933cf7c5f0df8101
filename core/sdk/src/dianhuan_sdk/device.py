"""Devices on site: a codec turns bytes into frames and readings, without I/O.

The host owns sockets, TLS, time-outs and limits; one codec serves one connection. A codec is tolerant: it gives
the usable part of what it was fed *and* the list of deviations; whether a deviating frame counts is a policy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, Protocol

from pydantic import BaseModel

from dianhuan_sdk.batches import Batch
from dianhuan_sdk.context import PluginContext, Secret


class Deviation(NamedTuple):
    """One way in which bytes differ from the protocol's text.

    Args:
        code: stable code, e.g. `crc_wrong`; a protocol documents its codes.
        detail: what was found, in words.
    """

    code: str
    detail: str = ""


class Reading(NamedTuple):
    """One value of one channel of a device.

    Args:
        code: the quantity in the protocol's own code, e.g. `d20405`, `w01018`, `02030000`.
        statistic: `rtd` (at a moment), `min`, `avg`, `max`, `cou` (sum over the interval), `rs` (state), …
        interval: `moment`, `minute`, `hour`, `day`, … ; for an interval `at` is its start.
        at: the instant as the device states it, aware, UTC; None where it states none.
        value: the number, or None.
        text: the text of a value that is not a number, or None.
        unit: unit of `value`, empty where unknown.
        quality: the device's own mark: N normal, F stopped, M maintenance, S manual, D fault, C calibration,
            T above range, B communication fault; empty where it gives none.
    """

    code: str
    statistic: str
    interval: str
    at: datetime | None
    value: float | None
    text: str | None
    unit: str
    quality: str

    def channel_id(self, device_id: str) -> str:
        """Key of `channel`: one series of one device."""
        return channel_id(device_id, self.code, self.statistic, self.interval)


def channel_id(device_id: str, code: str, statistic: str, interval: str) -> str:
    """Key of `channel`: `DEVICE/CODE-STATISTIC`, with `.INTERVAL` where it is not a moment."""
    return f"{device_id}/{code}-{statistic}" + ("" if interval == "moment" else f".{interval}")


class Frame(Protocol):
    """One message of a device; codecs return their own classes with more fields."""

    @property
    def raw(self) -> bytes:
        """The bytes as received, for replay."""
        ...

    @property
    def device_id(self) -> str:
        """Who sent it: the id in the directory, or the address in the frame where it is not registered."""
        ...

    @property
    def kind(self) -> str:
        """What it is, in the protocol's own code, e.g. `2011`."""
        ...

    @property
    def valid(self) -> bool:
        """Are length and check sum right?"""
        ...

    @property
    def deviations(self) -> Sequence[Deviation]:
        """Everything irregular about it."""
        ...

    @property
    def readings(self) -> Sequence[Reading]:
        """Its readings; empty for commands and answers."""
        ...

    @property
    def at(self) -> int | None:
        """The newest instant of its readings as the device states it, in microseconds since 1970 UTC, or None."""
        ...

    @property
    def whole(self) -> bool:
        """False for a packet of a split message whose readings come with a later packet: until then they exist only in
        the raw packets, which a host therefore keeps before it answers."""
        ...


@dataclass(frozen=True, slots=True)
class Device:
    """A registered device as a codec needs it.

    Args:
        device_id: id in the hub, unique over all protocols.
        address: address in the frames: MN, meter address, unit number, topic.
        profile: name of a profile of the protocol (edition, register map, mapping); empty for its default.
        keys: secret keys in hex, the present one first, then the previous one.
        password: access password, where the protocol has one.
        options: further settings of the protocol for this device.
    """

    device_id: str
    address: str
    profile: str = ""
    keys: tuple[Secret, ...] = ()
    password: Secret | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


CREDENTIAL_DEVIATIONS = frozenset({"password_wrong", "key_wrong", "not_encrypted"})
"""Codes of deviations after which a frame may come from somebody else than the registered device: it does not prove
that a new connection is the device's."""

Directory = Callable[[str], Device | None]
"""Finds a registered device by the address in a frame; None for an unknown one."""


@dataclass(frozen=True, slots=True)
class Due:
    """A task that is due with a device.

    Args:
        task: `hello` (first contact), `time` (set its clock), `poll` (read the present values), `history`
            (fetch the interval again after a gap), `key` (change its session key).
        now: the present instant, aware.
        start, end: the gap [start, end] of `history`, aware.
        stream: what to fetch again: the protocol's own code, e.g. `2051`, or the interval of its readings, e.g.
            `minute`; empty for its main stream.
        new_key: the key to hand over with `key`.
    """

    task: Literal["hello", "time", "poll", "history", "key"]
    now: datetime
    start: datetime | None = None
    end: datetime | None = None
    stream: str = ""
    new_key: Secret | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """Bytes to send to a device, one after the other.

    Args:
        data: the bytes.
        expects: the `kind` of the frame that answers it.
        note: words for the log.
        timeout_s: seconds to wait for the answer.
        retries: how often to send it again.
    """

    data: bytes
    expects: str
    note: str = ""
    timeout_s: float = 10.0
    retries: int = 3


class DeviceCodec(Protocol):
    """One connection's state of one protocol; no I/O, no clock."""

    def feed(self, data: bytes) -> Sequence[Frame | Deviation]:
        """Take bytes as they come; the frames that are complete now, and what was irregular between them.

        Never raises for any input, and keeps a bounded number of bytes. Any chunking of the same bytes, with
        `settle(end=True)` at the end, gives the same frames in the same order.
        """
        ...

    @property
    def pending(self) -> bool:
        """Does it keep something that later bytes may need? A host may drop the codec of a quiet connection that keeps
        nothing, and make a new one with the next bytes."""
        ...

    def settle(self, *, end: bool = False) -> Sequence[Frame | Deviation]:
        """Decide about what is still kept, without waiting for more bytes.

        The host calls it when a connection is idle, so that a frame with a wrong length is not held back. With
        `end` (the connection is closed) nothing is kept.
        """
        ...

    def reply(self, frame: Frame) -> bytes | None:
        """The answer that the protocol wants for a frame, to be sent after its readings are committed; or None."""
        ...

    def plan(self, device: Device, due: Due) -> Sequence[Request]:
        """What to send for a task; empty where the protocol has nothing for it."""
        ...

    def sent(self, request: Request) -> None:
        """The host has written a request of `plan`: where answers name no request, the next one belongs to it."""
        ...

    def to_batch(
        self, frames: Sequence[Frame], *, received_at: datetime, offsets: Mapping[str, timedelta] | None = None
    ) -> Batch:
        """Rows of `reading` from frames of this codec; what may not count by policy is among the rejects.

        Args:
            frames: frames of `feed`.
            received_at: when the host received them, aware.
            offsets: correction of each device's clock by device id; added to the device's time.
        """
        ...

    def channels(self, frames: Sequence[Frame]) -> Batch:
        """Rows of `channel` for every series that these frames speak of."""
        ...


class MessageCodec(DeviceCodec, Protocol):
    """A codec of whole messages (transport `mqtt`); its bytes are messages of `pack_message`."""

    @property
    def subscriptions(self) -> Sequence[str]:
        """Topic filters to subscribe to."""
        ...


def pack_message(topic: str, payload: bytes) -> bytes:
    """A message as bytes for `MessageCodec.feed`, and for replay: length of the topic (2 bytes), length of the payload
    (4 bytes), topic, payload; lengths big-endian."""
    name = topic.encode("utf-8")
    return len(name).to_bytes(2, "big") + len(payload).to_bytes(4, "big") + name + payload


@dataclass(frozen=True, slots=True)
class DeviceProtocolSpec:
    """Descriptor that a plugin registers for one protocol.

    Args:
        id: stable id, e.g. `hj212`.
        zh, en: labels.
        transport: `tcp` (the device connects to us), `tcp_poll` (we connect and ask), `mqtt`.
        config_model: pydantic model of the protocol's settings in a hub.
        factory: makes the codec of one connection; `context.config` is a `config_model`.
        profiles: names that `Device.profile` may take; empty where they are free.
        default_port: port that is usual, 0 where there is none.
    """

    id: str
    zh: str
    en: str
    transport: Literal["tcp", "tcp_poll", "mqtt"]
    config_model: type[BaseModel]
    factory: Callable[[PluginContext, Directory], DeviceCodec]
    profiles: tuple[str, ...] = ()
    default_port: int = 0
