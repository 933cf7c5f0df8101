"""The codec of one HJ 212 connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict

from dianhuan_devices._batches import ReadingColumns, channel_batch, channel_row
from dianhuan_devices.hj212._centre import Answers, Centre
from dianhuan_devices.hj212._cipher import Sm4, key_bytes
from dianhuan_devices.hj212._codes import factor, profile, quantity_of
from dianhuan_devices.hj212._decode import Decoder
from dianhuan_devices.hj212._encode import Station, numbered
from dianhuan_devices.hj212._frame import Hj212Frame
from dianhuan_devices.hj212._framing import Cut, Cutter, cut_again
from dianhuan_devices.hj212._packets import Packets
from dianhuan_devices.hj212._time import Times
from dianhuan_sdk import Batch, Deviation, Device, Directory, Due, Frame, InputError, Request, channel_id

_ONE = timedelta(microseconds=1)
_KNOWN_CHANNELS = 4096
_STREAMS = {"moment": "2011", "minute": "2051", "hour": "2061", "day": "2031"}


class Hj212Config(BaseModel):
    """Settings of HJ 212 in a hub.

    Args:
        refuse: deviations whose frames do not count: their readings go to quarantine and the station gets no
            answer, so that it sends again. A station's own list stands in its options under `refuse`.
        timeout_s: seconds to wait for an answer (10; 5 on a fixed line).
        resends: how often a request is sent again.
        rtd_interval_s: real-time interval that first contact sets, 30 … 3600 s.
        minute_interval: minute-data interval that first contact sets.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    refuse: tuple[str, ...] = ("crc_wrong", "password_wrong")
    timeout_s: float = 10.0
    resends: int = 3
    rtd_interval_s: int = 60
    minute_interval: int = 10


class Hj212Codec:
    """`DeviceCodec` for HJ 212 in its 2005, 2017 and 2025 editions.

    Args:
        config: policy.
        directory: finds a station by its MN.
    """

    __slots__ = (
        *("_answers", "_channels", "_config", "_cutter", "_decoder", "_directory", "_packets"),
        *("_refuse", "_times"),
    )

    def __init__(self, config: Hj212Config, directory: Directory) -> None:
        self._config = config
        self._directory = directory
        self._refuse = frozenset(config.refuse)
        self._cutter = Cutter()
        self._decoder = Decoder(directory)
        self._packets = Packets(self._decoder.reader)
        self._times = Times()
        self._answers = Answers()
        self._channels: dict[tuple[str, str, int, int], tuple[Any, Any, tuple[str, ...]]] = {}

    @property
    def kept(self) -> int:
        """Bytes kept of an unfinished frame."""
        return self._cutter.kept

    @property
    def pending(self) -> bool:
        """See `DeviceCodec.pending`."""
        return self._cutter.kept > 0 or self._packets.open > 0

    def feed(self, data: bytes) -> list[Hj212Frame | Deviation]:
        """See `DeviceCodec.feed`."""
        return self._frames(self._cutter.feed(data))

    def settle(self, *, end: bool = False) -> list[Hj212Frame | Deviation]:
        """See `DeviceCodec.settle`. A packet of a split message that is given up comes once more, with what could
        be read of the message."""
        found = self._frames(self._cutter.settle(end=end))
        if end:
            found += self._packets.drain()
        return found

    def _frames(self, cuts: Iterable[Cut | Deviation]) -> list[Hj212Frame | Deviation]:
        found: list[Hj212Frame | Deviation] = []
        decode = self._decoder.decode
        for cut in cuts:
            if isinstance(cut, Deviation):
                found.append(cut)
                continue
            frame = decode(cut)
            if frame.valid and isinstance(frame.content.at, int):
                found.append(frame)  # readings with their time: nothing to wait for, nothing to add
            elif not frame.valid and (inner := cut_again(cut)):
                for part in inner:
                    self._finish(decode(part), found)
            else:
                self._finish(frame, found)
        return found

    def _finish(self, frame: Hj212Frame, found: list[Hj212Frame | Deviation]) -> None:
        if frame.header.pnum > 1 and frame.legible and not _has(frame, "crc_wrong"):
            found += self._packets.add(frame)
        content = frame.content
        if content.at is None and content.codes and frame.interval == "moment":
            at = self._times.regular(frame.header.qn[:14])
            frame.content = content._replace(at=at)
            words = "no time at all" if at is None else "the time of the QN is taken"
            frame.deviations += (Deviation("datatime_missing", words),)
        found.append(frame)

    def reply(self, frame: Frame) -> bytes | None:
        """See `DeviceCodec.reply`: 9013 or 9014 where the Flag asks for it.

        Every packet of a split message is answered, or a logger would not send the next; until the message is
        whole its readings exist only in the raw frames, which a host keeps before it answers.
        """
        if not isinstance(frame, Hj212Frame) or not frame.legible or self._refusal(frame) is not None:
            return None
        return self._answers.to(frame.header)

    def plan(self, device: Device, due: Due) -> list[Request]:
        """See `DeviceCodec.plan`. Options of a device: `st` (system code, 32), `refuse`.

        Raises:
            InputError: `history` without its interval, `key` without a key.
        """
        edition = profile(device.profile).edition if device.profile else 2017
        station = Station(
            mn=device.address,
            password=device.password.reveal() if device.password is not None else "123456",
            st=str(device.options.get("st", "32")),
            edition=edition,
            key=Sm4(key_bytes(device.keys[0])) if device.keys else None,
        )
        centre, config, at = Centre(station), self._config, numbered(due.now)
        if due.task == "time":
            return [self._request(centre.set_time(next(at)), "9012", "set the clock")]
        if due.task == "hello":
            steps = [
                self._request(centre.set_time(next(at)), "9012", "set the clock"),
                self._request(
                    centre.set_timeout(next(at), int(config.timeout_s), config.resends), "9012", "time-out, resends"
                ),
                self._request(centre.fetch("2011", next(at)), "9011", "start real-time data"),
            ]
            if edition >= 2017:
                steps[2:2] = [
                    self._request(centre.set_interval(next(at), config.rtd_interval_s), "9012", "real-time interval"),
                    self._request(centre.set_minutes(next(at), config.minute_interval), "9012", "minute interval"),
                ]
            return steps
        if due.task == "history":
            if due.start is None or due.end is None:
                raise InputError("a history query without its interval", expected="start and end", hint="pass both")
            cn = _STREAMS.get(due.stream, due.stream) or "2051"
            if cn == "2011" and edition < 2025:
                return []  # real-time data has no history before the 2025 edition
            return [self._request(centre.fetch(cn, next(at), due.start, due.end), "9012", f"history of {cn}")]
        if due.task == "key":
            if due.new_key is None:
                raise InputError("a change of keys without a key", expected="new_key", hint="make a key of 16 bytes")
            key = key_bytes(due.new_key).hex().upper()
            return [self._request(centre.new_key(next(at), key), "9012", "new session key")]
        return []  # loggers push; there is nothing to poll

    def sent(self, request: Request) -> None:
        """See `DeviceCodec.sent`; answers of HJ 212 echo the QN of their request."""

    def _request(self, data: bytes, expects: str, note: str) -> Request:
        return Request(data, expects, note, self._config.timeout_s, self._config.resends)

    def _refusal(self, frame: Hj212Frame) -> Deviation | None:
        if not frame.deviations:
            return None
        refuse = self._refuse
        device = self._directory(frame.header.mn)
        if device is not None and "refuse" in device.options:
            refuse = frozenset(device.options["refuse"])
        return next((d for d in frame.deviations if d.code in refuse), None)

    def to_batch(
        self, frames: Sequence[Frame], *, received_at: datetime, offsets: Mapping[str, timedelta] | None = None
    ) -> Batch:
        """See `DeviceCodec.to_batch`."""
        columns = ReadingColumns()
        for row, frame in enumerate(frames, 1):
            if isinstance(frame, Hj212Frame):
                self._add(columns, row, frame, offsets)
        return columns.batch("hj212", received_at)

    def _add(
        self, columns: ReadingColumns, row: int, frame: Hj212Frame, offsets: Mapping[str, timedelta] | None
    ) -> None:
        refused = self._refusal(frame)
        if refused is None and not frame.legible:
            refused = Deviation("key_wrong", "the data area could not be decrypted")
        if refused is not None:
            columns.reject(row, refused, frame.raw)
            return
        content, interval = frame.content, frame.interval
        if not content.codes or not interval:
            return
        offset = 0 if offsets is None else offsets.get(frame.device_id, timedelta()) // _ONE
        ids = self._ids(frame.device_id, interval, content.codes, content.statistics)
        at, resent = content.at, frame.header.resent
        if isinstance(at, int):
            columns.add(ids, at, at + offset, content.values, content.flags, content.texts, resent)
            return
        many = at if at is not None else [None] * len(ids)
        texts = content.texts or (None,) * len(ids)
        for name, micros, value, flag, text in zip(ids, many, content.values, content.flags, texts, strict=True):
            if micros is None:
                columns.reject(row, Deviation("time_missing", f"{name} has no time"), frame.raw)
            else:
                columns.add((name,), micros, micros + offset, (value,), (flag,), (text,), resent)

    def _ids(self, device_id: str, interval: str, codes: Sequence[str], statistics: Sequence[str]) -> tuple[str, ...]:
        if not isinstance(codes, tuple):
            return tuple(channel_id(device_id, c, s, interval) for c, s in zip(codes, statistics, strict=True))
        # Codes of a regular data area are one object for all its frames; the entry keeps it, so its id stays its own.
        key = (device_id, interval, id(codes), id(statistics))
        known = self._channels.get(key)
        if known is None:
            if len(self._channels) >= _KNOWN_CHANNELS:
                self._channels.clear()
            ids = tuple(channel_id(device_id, c, s, interval) for c, s in zip(codes, statistics, strict=True))
            known = self._channels[key] = (codes, statistics, ids)
        return known[2]

    def channels(self, frames: Sequence[Frame]) -> Batch:
        """See `DeviceCodec.channels`."""
        rows = []
        for frame in frames:
            if isinstance(frame, Hj212Frame):
                for reading in frame.readings:
                    known = factor(reading.code, frame.profile)
                    rows.append(
                        channel_row(
                            frame.device_id,
                            reading,
                            name=known.zh,
                            quantity=quantity_of(known, reading.statistic),
                            phase=known.phase,
                            role=known.role,
                            facility=known.facility,
                            inferred=known.inferred,
                        )
                    )
        return channel_batch("hj212", rows)


def _has(frame: Hj212Frame, code: str) -> bool:
    return any(d.code == code for d in frame.deviations)
