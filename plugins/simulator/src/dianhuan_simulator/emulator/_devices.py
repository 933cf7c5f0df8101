"""The devices of emulated plants: addresses, channels, keys; what a hub's registry would say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from dianhuan_sdk import InputError, channel_id
from dianhuan_simulator._protocols import Protocol
from dianhuan_simulator.emulator.world import Emulation

_MIX = (("hj212-2017", 0.6), ("hj212-2005", 0.1), ("hj212-2025", 0.15), ("hj212-2025-sm4", 0.15))
PROFILES = {
    "hj212-2017": "private-phase",
    "hj212-2005": "hj212-2005",
    "hj212-2025": "hj212-2025",
    "dlt645": "2007",
    "modbus": "eastron-sdm630",
    "mqtt": "",
}
UNITS = {"active_power": "kW", "current": "A", "voltage": "V", "energy": "kWh", "concentration": ""}
MOST_UNITS = 247
"""Unit numbers of one Modbus line."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One series of a device.

    Args:
        code: in the protocol's own code.
        quantity: of the standard table `channel`.
        phase: A, B, C, total, or empty.
        row: row of the circuit in the samples, or of the factor where `quantity` is concentration.
        scale: value × scale is sent.
    """

    code: str
    quantity: str
    phase: str
    row: int
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """A device of a plant.

    Args:
        device_id: MN, meter address, or `MODBUS-…`.
        protocol: plugin id: hj212, dlt645, modbus, mqtt.
        form: key of `PROFILES`.
        plant: number of the plant.
        entity_id: 统一社会信用代码.
        address: MN, meter address, unit number, topic.
        key: SM4 key where its data areas are encrypted.
        ahead: minutes that its clock is ahead.
        chunked: its network cuts frames into pieces.
        channels: its series.
    """

    device_id: str
    protocol: str
    form: str
    plant: int
    entity_id: str
    address: str
    channels: tuple[Channel, ...]
    key: bytes | None = None
    ahead: int = 0
    chunked: bool = False

    @property
    def edition(self) -> int:
        """Edition of HJ 212, 0 for other protocols."""
        return int(self.form.removeprefix("hj212-")) if self.protocol == "hj212" else 0

    def channel_id(self, channel: Channel) -> str:
        """Key of the standard table `channel`."""
        return channel_id(self.device_id, channel.code, "rtd", "moment")


def _draw(seed: int, *words: object) -> bytes:
    return sha256("/".join(map(str, (seed, *words))).encode()).digest()


def _form(seed: int, plant: int, protocol: Protocol) -> tuple[str, bool]:
    """Form and whether its data areas are encrypted."""
    draw = int.from_bytes(_draw(seed, "form", plant)[:4], "big") / 2**32
    if protocol is Protocol.hj212_2025:
        return "hj212-2025", draw < 0.5
    if protocol is not Protocol.mixed:
        return str(protocol), False
    for name, share in _MIX:
        if draw < share:
            return name.removesuffix("-sm4"), name.endswith("-sm4")
        draw -= share
    return "hj212-2017", False


def devices(world: Emulation, protocol: Protocol) -> list[DeviceSpec]:
    """The devices of all plants.

    Raises:
        InputError: more Modbus meters than one line has unit numbers.
    """
    circuits = world.circuits().to_pylist()
    factors = world.factors().to_pylist()
    by_plant: dict[int, list[dict[str, object]]] = {}
    for c in circuits:
        by_plant.setdefault(c["plant"], []).append(c)
    found: list[DeviceSpec] = []
    for plant, mine in by_plant.items():
        entity = str(mine[0]["entity_id"])
        rows = [int(str(c["circuit"])) for c in mine]
        form, secret = _form(world.seed, plant, protocol)
        if form in ("dlt645", "modbus"):
            found += [_meter(form, plant, entity, row, len(found) + i + 1) for i, row in enumerate(rows)]
            continue
        mn = _draw(world.seed, "mn", entity).hex()[: 14 if form == "hj212-2005" else 24].upper()
        key = _draw(world.seed, "key", entity)[:16] if secret else None
        chunked = _draw(world.seed, "chunked", entity)[0] < 64
        roles = [str(c["role"]) for c in mine]
        channels = _by_facility(rows, roles) if form == "hj212-2025" else _by_number(rows)
        gases = {f["code"]: int(f["factor"]) for f in reversed(factors) if f["plant"] == plant}
        gas = tuple(Channel(code, "concentration", "", row) for code, row in gases.items())
        ahead = world.clock_ahead(plant)
        treatment = {r for r, role in zip(rows, roles, strict=True) if role == "treatment"}
        if form == "mqtt":
            spec = DeviceSpec(mn, "mqtt", form, plant, entity, f"plants/{mn}/up", channels + gas)
            found.append(spec)
            continue
        apart = treatment if ahead else set()
        main = tuple(c for c in channels if c.row not in apart) + gas
        found.append(DeviceSpec(mn, "hj212", form, plant, entity, mn, main, key, 0, chunked))
        if apart:
            other = _draw(world.seed, "mn2", entity).hex()[: len(mn)].upper()
            late = tuple(c for c in channels if c.row in apart)
            found.append(DeviceSpec(other, "hj212", form, plant, entity, other, late, key, ahead, chunked))
    if protocol is Protocol.modbus and len(found) > MOST_UNITS:
        raise InputError(
            f"{len(found)} Modbus meters", expected=f"at most {MOST_UNITS} on one line", hint="ask for fewer plants"
        )
    return found


def _meter(form: str, plant: int, entity: str, row: int, number: int) -> DeviceSpec:
    if form == "modbus":
        codes = (("p", "active_power", "total"), ("ep", "energy", "total"), ("ia", "current", "A"))
        device, address = f"MODBUS-{number}", str(number)
    else:
        codes = (("02030000", "active_power", "total"), ("00010000", "energy", "total"), ("02020100", "current", "A"))
        device = address = f"4302{number:08d}"
    channels = tuple(Channel(code, quantity, phase, row) for code, quantity, phase in codes)
    return DeviceSpec(device, form, form, plant, entity, address, channels)


def _by_number(rows: Sequence[int]) -> tuple[Channel, ...]:
    """Private names of electricity loggers: P1, EP1, Ia1 … by circuit."""
    found = []
    for number, row in enumerate(rows, 1):
        found += [
            Channel(f"P{number}", "active_power", "total", row),
            Channel(f"EP{number}", "energy", "", row),
            Channel(f"Ia{number}", "current", "A", row),
        ]
    return tuple(found)


def _by_facility(rows: Sequence[int], roles: Sequence[str]) -> tuple[Channel, ...]:
    """HJ 212-2025: dCPPNN with C 2 = production, 3 = treatment; PP 01 a voltage, 04–06 the currents; NN facility.

    The edition's examples name no group for totals, combined and indirect circuits: they are not sent.
    """
    found: list[Channel] = []
    counts = {"production": 0, "treatment": 0}
    for row, role in zip(rows, roles, strict=True):
        if role not in counts:
            continue
        counts[role] += 1
        group, number = (2 if role == "production" else 3), counts[role]
        found.append(Channel(f"d{group}01{number:02d}", "voltage", "A", row))
        found += [
            Channel(f"d{group}{4 + i:02d}{number:02d}", "current", phase, row, scale)
            for i, (phase, scale) in enumerate((("A", 1.0), ("B", 0.99), ("C", 1.01)))
        ]
    return tuple(found)
