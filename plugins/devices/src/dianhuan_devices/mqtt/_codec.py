"""The codec of MQTT messages with JSON payloads.

MQTT hands over whole messages; they come packed as bytes, see `dianhuan_sdk.pack_message`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from pydantic import BaseModel, ConfigDict

from dianhuan_devices._batches import channel_batch, channel_row, micros, reading_batch
from dianhuan_devices.mqtt._mapping import TopicRule
from dianhuan_sdk import Batch, Deviation, Device, Directory, Due, Frame, InputError, Reading, Request, pack_message

LONGEST_TOPIC = 1024
LONGEST_PAYLOAD = 1 << 18
_json = msgspec.json.Decoder().decode


class MqttConfig(BaseModel):
    """Settings of MQTT in a hub.

    Args:
        topics: rules; the first one whose filter fits a topic counts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    topics: tuple[TopicRule, ...] = ()


def pack(topic: str, payload: bytes) -> bytes:
    """A message as bytes for `MqttCodec.feed`.

    Raises:
        InputError: topic or payload are longer than the codec takes.
    """
    name = topic.encode("utf-8")
    if len(name) > LONGEST_TOPIC or len(payload) > LONGEST_PAYLOAD:
        raise InputError(
            f"a message of {len(name)} + {len(payload)} bytes",
            expected=f"at most {LONGEST_TOPIC} + {LONGEST_PAYLOAD}",
            hint="limit the broker's message size",
        )
    return pack_message(topic, payload)


class MqttFrame:
    """One message.

    Args:
        raw: the packed message.
        topic: its topic.
        device_id: the device that the mapping finds.
        rule: the mapping's rule, None where no filter fits.
    """

    __slots__ = ("deviations", "device_id", "raw", "readings", "rule", "topic", "valid", "whole")

    def __init__(self, raw: bytes, topic: str, rule: TopicRule | None) -> None:
        self.raw = raw
        self.topic = topic
        self.rule = rule
        self.device_id = ""
        self.valid = True
        self.whole = True
        self.readings: tuple[Reading, ...] = ()
        self.deviations: tuple[Deviation, ...] = ()

    @property
    def at(self) -> int | None:
        """See `Frame.at`."""
        return max((micros(r.at) for r in self.readings if r.at is not None), default=None)

    @property
    def kind(self) -> str:
        """The filter that the topic fits, or the topic."""
        return self.rule.topic if self.rule is not None else self.topic


class MqttCodec:
    """`DeviceCodec` for MQTT; the host subscribes, and acknowledges after its commit."""

    __slots__ = ("_config", "_directory", "_kept")

    def __init__(self, config: MqttConfig, directory: Directory) -> None:
        self._config = config
        self._directory = directory
        self._kept = b""

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """Topic filters to subscribe to."""
        return tuple(dict.fromkeys(rule.topic for rule in self._config.topics))

    @property
    def kept(self) -> int:
        """Bytes kept of an unfinished message."""
        return len(self._kept)

    @property
    def pending(self) -> bool:
        """See `DeviceCodec.pending`."""
        return bool(self._kept)

    def feed(self, data: bytes) -> list[MqttFrame | Deviation]:
        """See `DeviceCodec.feed`; the bytes are messages of `pack`."""
        data = self._kept + data
        found: list[MqttFrame | Deviation] = []
        at = 0
        while len(data) >= at + 6:
            topic, payload = int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 2 : at + 6], "big")
            if topic > LONGEST_TOPIC or payload > LONGEST_PAYLOAD:
                found.append(Deviation("garbage", f"{len(data) - at} bytes are no packed messages"))
                at = len(data)
                break
            stop = at + 6 + topic + payload
            if len(data) < stop:
                break
            found.append(self._read(data[at:stop], data[at + 6 : at + 6 + topic], data[at + 6 + topic : stop]))
            at = stop
        self._kept = data[at:]
        return found

    def settle(self, *, end: bool = False) -> list[MqttFrame | Deviation]:
        """See `DeviceCodec.settle`."""
        if not end or not self._kept:
            return []
        lost, self._kept = len(self._kept), b""
        return [Deviation("garbage", f"{lost} bytes are no whole message")]

    def _read(self, raw: bytes, name: bytes, payload: bytes) -> MqttFrame:
        topic = name.decode("utf-8", "replace")
        rule = next((r for r in self._config.topics if r.pattern.fullmatch(topic)), None)
        frame = MqttFrame(raw, topic, rule)
        if rule is None:
            frame.deviations = (Deviation("topic_unknown", f"no rule for {topic[:80]!r}"),)
            return frame
        try:
            document: Any = _json(payload)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            frame.valid = False
            frame.deviations = (Deviation("json_wrong", str(error)[:120]),)
            return frame
        address = rule.address(topic, document)
        device = self._directory(address) if address else None
        frame.device_id = device.device_id if device is not None else address
        if not address:
            frame.deviations = (Deviation("device_unknown", f"no device at {rule.device!r}"),)
            return frame
        readings, deviations = [], []
        for item in rule.read(document):
            if isinstance(item, Reading):
                readings.append(item)
            else:
                deviations.append(item)
        frame.readings, frame.deviations = tuple(readings), tuple(deviations)
        return frame

    def reply(self, frame: Frame) -> bytes | None:
        """None: the host acknowledges in MQTT itself."""
        return None

    def plan(self, device: Device, due: Due) -> list[Request]:
        """Nothing: devices publish by themselves."""
        return []

    def sent(self, request: Request) -> None:
        """See `DeviceCodec.sent`; nothing is sent."""

    def to_batch(
        self, frames: Sequence[Frame], *, received_at: datetime, offsets: Mapping[str, timedelta] | None = None
    ) -> Batch:
        """See `DeviceCodec.to_batch`; a payload without a time rule has the instant of reception."""
        refuse = frozenset({"topic_unknown", "json_wrong", "device_unknown"})
        return reading_batch("mqtt", frames, received_at, offsets, refuse, polled=True)

    def channels(self, frames: Sequence[Frame]) -> Batch:
        """See `DeviceCodec.channels`."""
        rows = []
        for frame in frames:
            if isinstance(frame, MqttFrame) and frame.rule is not None:
                known = {rule.code: rule for rule in frame.rule.readings}
                for reading in frame.readings:
                    rule = known.get(reading.code)
                    rows.append(
                        channel_row(
                            frame.device_id,
                            reading,
                            name=rule.zh if rule else "",
                            quantity=("state" if reading.statistic == "rs" else rule.quantity if rule else "other"),
                            phase=rule.phase if rule else "",
                            role=rule.role if rule else "",
                            facility=rule.facility if rule else "",
                            inferred=rule is None,
                        )
                    )
        return channel_batch("mqtt", rows)
