"""The codec of one DL/T 645 line over transparent TCP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict

from dianhuan_devices._batches import channel_batch, channel_row, reading_batch
from dianhuan_devices.dlt645._frame import (
    ALL,
    ANSWER,
    FOLLOWS,
    READ,
    READ_MORE,
    SET_CLOCK,
    Cutter645,
    Dlt645Frame,
    build,
    parse,
    read_request,
)
from dianhuan_devices.dlt645._items import items
from dianhuan_sdk import LOCAL_ZONE, Batch, Deviation, Device, Directory, Due, Frame, Request

DEFAULT_DIS = ("02030000", "0202FF00", "0201FF00", "02060000", "00010000")
DEFAULT_DIS_1997 = ("B630", "B621", "B622", "B623", "B611", "B612", "B613", "9010")


class Dlt645Config(BaseModel):
    """Settings of DL/T 645 in a hub.

    Args:
        timeout_s: seconds to wait for an answer.
        retries: how often a request is sent again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    timeout_s: float = 2.0
    retries: int = 2


class Dlt645Codec:
    """`DeviceCodec` for DL/T 645: the centre asks, meters answer.

    Options of a device: `dis`, the identifiers to read. Profiles: `2007` (default), `1997`.
    """

    __slots__ = ("_config", "_cutter", "_directory")

    def __init__(self, config: Dlt645Config, directory: Directory) -> None:
        self._config = config
        self._directory = directory
        self._cutter = Cutter645()

    @property
    def kept(self) -> int:
        """Bytes kept of an unfinished frame."""
        return self._cutter.kept

    @property
    def pending(self) -> bool:
        """See `DeviceCodec.pending`."""
        return self._cutter.kept > 0

    def feed(self, data: bytes) -> list[Dlt645Frame | Deviation]:
        """See `DeviceCodec.feed`."""
        return self._found(data, end=False)

    def settle(self, *, end: bool = False) -> list[Dlt645Frame | Deviation]:
        """See `DeviceCodec.settle`; a pause says nothing here: a frame with a lying length has no right check sum."""
        return self._found(b"", end=True) if end else []

    def _found(self, data: bytes, *, end: bool) -> list[Dlt645Frame | Deviation]:
        frames, lost = self._cutter.feed(data, end=end)
        found: list[Dlt645Frame | Deviation] = []
        if lost:
            found.append(Deviation("garbage", f"{lost} bytes are no frame"))
        for raw, valid in frames:
            frame = parse(raw, valid)
            device = self._directory(frame.address) or self._directory(frame.address.lstrip("0"))
            if device is not None:
                frame.device_id = device.device_id
            found.append(frame)
        return found

    def reply(self, frame: Frame) -> bytes | None:
        """Asks for the rest where an answer says that more follows; meters want no acknowledgement."""
        if not isinstance(frame, Dlt645Frame) or not frame.valid or not frame.control & FOLLOWS or not frame.di:
            return None
        if not frame.control & ANSWER or frame.control & 0x1F not in (READ, READ_MORE):
            return None
        sequence = frame.data[-1] + 1 if frame.control & 0x1F == READ_MORE else 1
        if sequence > 255:
            return None
        return build(frame.address, READ_MORE, frame.data[:4] + bytes((sequence,)))

    def plan(self, device: Device, due: Due) -> list[Request]:
        """`poll` reads the device's identifiers; `time` broadcasts the time (meters take it within ± 5 min)."""
        if due.task == "time":
            civil = due.now.astimezone(LOCAL_ZONE)
            clock = bytes.fromhex(civil.strftime("%y%m%d%H%M%S"))[::-1]
            return [Request(build(ALL, SET_CLOCK, clock), "", "broadcast the time", 0.0, 0)]
        if due.task != "poll":
            return []
        default = DEFAULT_DIS_1997 if device.profile == "1997" else DEFAULT_DIS
        requests = []
        for di in device.options.get("dis", default):
            answer = f"{ANSWER | (READ if len(di) == 8 else 1):02X}/{di}"
            note = items()[di].en if di in items() else di
            requests.append(
                Request(read_request(device.address, di), answer, note, self._config.timeout_s, self._config.retries)
            )
        return requests

    def sent(self, request: Request) -> None:
        """See `DeviceCodec.sent`; answers of DL/T 645 name their identifier."""

    def to_batch(
        self, frames: Sequence[Frame], *, received_at: datetime, offsets: Mapping[str, timedelta] | None = None
    ) -> Batch:
        """See `DeviceCodec.to_batch`; a meter's answer holds no time: the instant of reception is its time."""
        return reading_batch("dlt645", frames, received_at, offsets, frozenset({"checksum_wrong"}), polled=True)

    def channels(self, frames: Sequence[Frame]) -> Batch:
        """See `DeviceCodec.channels`."""
        return channel_batch(
            "dlt645",
            [
                channel_row(
                    frame.device_id,
                    reading,
                    name=items()[reading.code].zh,
                    quantity=items()[reading.code].quantity,
                    phase=items()[reading.code].phase,
                    inferred=False,
                )
                for frame in frames
                for reading in frame.readings
            ],
        )
