"""The codec of one Modbus connection: a poller of meters by register maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict

from dianhuan_devices._batches import channel_batch, channel_row, reading_batch
from dianhuan_devices.modbus._framing import Adu, AnswerCutter, rtu_adu, tcp_adu
from dianhuan_devices.modbus._maps import MeterMap, Register, meters
from dianhuan_sdk import Batch, ConfigError, Deviation, Device, Due, Frame, Reading, Request

_EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "server device failure",
    5: "acknowledge",
    6: "server device busy",
    10: "gateway path unavailable",
    11: "gateway target failed to respond",
}


class ModbusConfig(BaseModel):
    """Settings of Modbus in a hub.

    Args:
        framing: `tcp` (Modbus TCP) or `rtu` (RTU over transparent TCP).
        maps: a city's own register maps by name, beside the shipped ones.
        timeout_s: seconds to wait for an answer.
        retries: how often a request is sent again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    framing: Literal["tcp", "rtu"] = "tcp"
    maps: Mapping[str, MeterMap] = {}
    timeout_s: float = 1.0
    retries: int = 2


class _Asked:
    __slots__ = ("block", "device", "function", "unit")

    def __init__(self, device: Device, unit: int, function: int, block: tuple[Register, ...]) -> None:
        self.device = device
        self.unit = unit
        self.function = function
        self.block = block

    @property
    def start(self) -> int:
        return self.block[0].address

    @property
    def count(self) -> int:
        return self.block[-1].address + self.block[-1].width - self.start


class ModbusFrame:
    """One answer of a meter.

    Args:
        raw: its bytes.
        device_id: the device asked, or `unit-N` for an answer nobody asked for.
        function: function code.
        data: bytes of the registers.
        registers: what the registers mean.
    """

    __slots__ = ("data", "deviations", "device_id", "function", "raw", "readings", "registers", "valid", "whole")

    def __init__(self, adu: Adu, asked: _Asked | None) -> None:
        self.raw = adu.raw
        self.device_id = asked.device.device_id if asked is not None else f"unit-{adu.unit}"
        self.function = adu.pdu[0]
        self.data = b""
        self.valid = True
        self.whole = True
        self.deviations: tuple[Deviation, ...] = ()
        self.readings: tuple[Reading, ...] = ()
        self.registers: dict[str, Register] = {}
        if self.function & 0x80:
            code = adu.pdu[1]
            self.deviations = (Deviation("exception", f"{code}: {_EXCEPTIONS.get(code, 'unknown')}"),)
        elif asked is None:
            self.deviations = (Deviation("not_asked", f"an answer of unit {adu.unit} that no request waits for"),)
        else:
            self._interpret(adu.pdu, asked)

    def _interpret(self, pdu: bytes, asked: _Asked) -> None:
        data = pdu[2:]
        if len(data) != pdu[1] or len(data) != 2 * asked.count:
            self.valid = False
            self.deviations = (
                Deviation("length_wrong", f"{len(data)} bytes, says {pdu[1]}, asked for {2 * asked.count}"),
            )
            return
        self.data = data
        readings = []
        for register in asked.block:
            place = 2 * (register.address - asked.start)
            value = register.read(data[place : place + 2 * register.width])
            if value is None:
                self.deviations += (Deviation("value_missing", f"{register.code} is no number"),)
                continue
            self.registers[register.code] = register
            readings.append(Reading(register.code, "rtd", "moment", None, value, None, register.unit, ""))
        self.readings = tuple(readings)

    @property
    def at(self) -> None:
        """None: answers hold no time."""
        return None

    @property
    def kind(self) -> str:
        """Function code as two digits."""
        return f"{self.function:02d}"


class ModbusCodec:
    """`DeviceCodec` for Modbus TCP and RTU over TCP.

    A device's address is its unit number, its profile the name of a register map.
    """

    __slots__ = ("_config", "_cutter", "_latest", "_pending", "_transaction")

    def __init__(self, config: ModbusConfig) -> None:
        self._config = config
        self._cutter = AnswerCutter(rtu=config.framing == "rtu")
        self._pending: dict[bytes, _Asked] = {}
        self._latest: bytes | None = None
        self._transaction = 0

    @property
    def kept(self) -> int:
        """Bytes kept of an unfinished answer."""
        return self._cutter.kept

    @property
    def pending(self) -> bool:
        """See `DeviceCodec.pending`."""
        return self._cutter.kept > 0 or bool(self._pending)

    def feed(self, data: bytes) -> list[ModbusFrame | Deviation]:
        """See `DeviceCodec.feed`."""
        return self._frames(*self._cutter.feed(data))

    def settle(self, *, end: bool = False) -> list[ModbusFrame | Deviation]:
        """See `DeviceCodec.settle`."""
        return self._frames(*self._cutter.feed(b"", settle=True, end=end))

    def _frames(self, adus: list[Adu], lost: int) -> list[ModbusFrame | Deviation]:
        found: list[ModbusFrame | Deviation] = []
        if lost:
            found.append(Deviation("garbage", f"{lost} bytes are no answer"))
        found += [ModbusFrame(adu, self._asked(adu)) for adu in adus]
        return found

    def _asked(self, adu: Adu) -> _Asked | None:
        """The request that an answer belongs to: by its transaction (TCP), or the one sent last (RTU)."""
        if self._config.framing == "tcp":
            key = next((k for k in self._pending if k[:2] == adu.transaction.to_bytes(2, "big")), None)
        else:
            key = self._latest
        asked = self._pending.get(key) if key is not None else None
        if key is None or asked is None or asked.unit != adu.unit or asked.function != adu.pdu[0] & 0x7F:
            return None
        del self._pending[key]
        self._latest = None
        return asked

    def reply(self, frame: Frame) -> bytes | None:
        """None: meters want no answer."""
        return None

    def plan(self, device: Device, due: Due) -> list[Request]:
        """`poll` reads all registers of the device's map; what is left of its last poll is forgotten.

        Raises:
            ConfigError: no such map, or the address is no unit number.
        """
        if due.task != "poll":
            return []
        meter = self._config.maps.get(device.profile) or meters().get(device.profile)
        if meter is None:
            raise ConfigError(
                f"no register map {device.profile!r}",
                expected=", ".join((*meters(), *self._config.maps)),
                hint="correct the device's profile, or add the map to the settings",
            )
        if not device.address.isdigit() or int(device.address) > 255:
            raise ConfigError(f"unit {device.address!r}", expected="0 … 255", hint="correct the device's address")
        unit = int(device.address)
        self._pending = {k: a for k, a in self._pending.items() if a.device.device_id != device.device_id}
        requests = []
        for block in meter.blocks():
            asked = _Asked(device, unit, meter.function, block)
            pdu = bytes((meter.function,)) + asked.start.to_bytes(2, "big") + asked.count.to_bytes(2, "big")
            if self._config.framing == "tcp":
                self._transaction = self._transaction % 0xFFFF + 1
                data = tcp_adu(self._transaction, unit, pdu)
            else:
                data = rtu_adu(unit, pdu)
            self._pending[data] = asked
            note = f"{block[0].code} … {block[-1].code}"
            requests.append(Request(data, f"{meter.function:02d}", note, self._config.timeout_s, self._config.retries))
        return requests

    def sent(self, request: Request) -> None:
        """See `DeviceCodec.sent`: an answer of RTU names neither its request nor its registers."""
        self._latest = request.data

    def to_batch(
        self, frames: Sequence[Frame], *, received_at: datetime, offsets: Mapping[str, timedelta] | None = None
    ) -> Batch:
        """See `DeviceCodec.to_batch`; answers hold no time: the instant of reception is theirs."""
        return reading_batch("modbus", frames, received_at, offsets, frozenset({"length_wrong"}), polled=True)

    def channels(self, frames: Sequence[Frame]) -> Batch:
        """See `DeviceCodec.channels`."""
        rows = []
        for frame in frames:
            if isinstance(frame, ModbusFrame):
                for reading in frame.readings:
                    known = frame.registers[reading.code]
                    rows.append(
                        channel_row(
                            frame.device_id,
                            reading,
                            name=known.zh,
                            quantity=known.quantity,
                            phase=known.phase,
                            role=known.role,
                            facility=known.facility,
                            inferred=False,
                        )
                    )
        return channel_batch("modbus", rows)
