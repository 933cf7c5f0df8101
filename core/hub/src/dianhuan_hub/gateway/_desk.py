"""The device desk: who may report and for whom; unknown devices wait with their last frames until a person decides."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from dianhuan_hub.kernel.secrets import Vault
from dianhuan_hub.store import (
    DeviceRow,
    Store,
    bind_channels,
    forget_waiting,
    held_frames,
    hold_frames,
    put_audit,
    put_device,
    read_devices,
)
from dianhuan_sdk import Clock, ConfigError, Device, Directory, InputError, Secret, SecretRef

_ADDRESS = re.compile(r"[A-Za-z0-9][\w.:-]{0,63}", re.ASCII)
PURPOSE = "设备接入管理 · provisioning of devices"


@dataclass
class _Waiting:
    row: DeviceRow
    frames: deque[tuple[datetime, bytes]]
    changed: bool = True


@dataclass(frozen=True)
class Decision:
    """What a person decides about a device; None leaves a setting as it is.

    Args:
        entity_id: the enterprise that it reports for.
        profile: profile of its protocol.
        keys: where its secret keys are kept, the present one first.
        password: where its access password is kept; empty for none.
        options: settings of the protocol for it.
        protocol, address, line: for a device that has not been seen yet.
        note: why.
    """

    entity_id: str | None = None
    profile: str | None = None
    keys: Sequence[str] | None = None
    password: str | None = None
    options: Mapping[str, Any] | None = None
    protocol: str = ""
    address: str = ""
    line: str = ""
    note: str = ""


@dataclass
class _Tables:
    """Approved devices of one protocol: by address for codecs, by id for the gateway; addresses that are refused."""

    by_address: dict[str, Device] = field(default_factory=dict)
    by_id: dict[str, Device] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)


class DeviceDesk:
    """The register of devices.

    Args:
        store: the city's store.
        clock: the hub's clock.
        vault: resolves references to keys and passwords.
        protocols: profiles of each protocol that is loaded, empty where they are free.
        waiting_most: unknown devices that wait, at most.
        frames_most: frames kept of each.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        vault: Vault,
        protocols: Mapping[str, Sequence[str]],
        *,
        waiting_most: int = 1000,
        frames_most: int = 10,
    ) -> None:
        self._store = store
        self._clock = clock
        self._vault = vault
        self._protocols = protocols
        self._waiting_most = waiting_most
        self._frames_most = frames_most
        self._lock = threading.Lock()
        self._rows: dict[str, DeviceRow] = {}
        self._waiting: dict[str, _Waiting] = {}
        self._tables: dict[str, _Tables] = {}
        self.problems: dict[str, str] = {}
        with store.engine.cursor() as con:
            for row in read_devices(con):
                if row.state == "waiting":
                    frames = deque(held_frames(con, row.device_id), maxlen=frames_most)
                    self._waiting[row.device_id] = _Waiting(row, frames, changed=False)
                else:
                    self._enter(row)

    # what the gateway asks, from its own threads

    def directory(self, protocol: str) -> Directory:
        """Finds approved devices of a protocol by address; always of the present state."""
        return self._of(protocol).by_address.get

    def approved(self, protocol: str) -> Mapping[str, Device]:
        """Approved devices of a protocol by id."""
        return self._of(protocol).by_id

    def row(self, device_id: str) -> DeviceRow | None:
        """What a person has decided about a device, None for one that waits or is unknown."""
        return self._rows.get(device_id)

    def secret(self, ref: str) -> Secret:
        """What a reference names.

        Raises:
            ConfigError: there is nothing where it says.
        """
        return self._vault.resolve(_ref(ref))

    def on_line(self, line: str) -> list[Device]:
        """Approved devices that are reached by a poller or broker."""
        rows = [r for r in self._rows.values() if r.line == line and r.state == "approved"]
        return [d for r in rows if (d := self._of(r.protocol).by_id.get(r.device_id)) is not None]

    def waiting_count(self) -> int:
        """How many devices wait."""
        return len(self._waiting)

    def unknown(self, protocol: str, address: str, peer: str, raw: bytes, at: datetime) -> str:
        """A valid frame of a device that is not approved: keep it for whoever decides.

        Returns:
            what became of it: `waiting`, `refused` (a person has refused the device), `waiting_full`,
            `address_unusable`.
        """
        if address in self._of(protocol).refused:
            return "refused"
        if not _ADDRESS.fullmatch(address) or address in self._rows:
            return "address_unusable"  # or the address is the id of a device of another protocol
        with self._lock:
            waiting = self._waiting.get(address)
            if waiting is None:
                if len(self._waiting) >= self._waiting_most:
                    return "waiting_full"
                row = DeviceRow(address, protocol, address, "waiting", peer, at)
                waiting = self._waiting[address] = _Waiting(row, deque(maxlen=self._frames_most))
            waiting.frames.append((at, raw))
            waiting.changed = True
        return "waiting"

    def changed(self) -> list[tuple[DeviceRow, list[tuple[datetime, bytes]]]]:
        """Waiting devices whose frames are not stored yet, for the next transaction."""
        with self._lock:
            mine = [w for w in self._waiting.values() if w.changed]
            for waiting in mine:
                waiting.changed = False
            return [(w.row, list(w.frames)) for w in mine]

    def not_stored(self, devices: Sequence[tuple[DeviceRow, Sequence[tuple[datetime, bytes]]]]) -> None:
        """The transaction with these devices has failed: they go into the next one."""
        with self._lock:
            for row, _ in devices:
                if row.device_id in self._waiting:
                    self._waiting[row.device_id].changed = True

    # what people do

    def devices(self, state: str = "") -> list[DeviceRow]:
        """Devices, those that wait first.

        Args:
            state: waiting, approved, refused; empty for all.
        """
        with self._lock:
            waiting = [replace(w.row, frames_kept=len(w.frames)) for w in self._waiting.values()]
            rows = [*waiting, *sorted(self._rows.values(), key=lambda r: r.device_id)]
        return [r for r in rows if not state or r.state == state]

    def get(self, device_id: str) -> DeviceRow:
        """One device.

        Raises:
            InputError: there is none of that id.
        """
        for row in self.devices():
            if row.device_id == device_id:
                return row
        raise InputError(
            f"no device {device_id!r}", expected="a device that has reported", hint="dianhuan gateway devices"
        )

    def frames(self, device_id: str) -> list[tuple[datetime, bytes]]:
        """The last frames of a device that waits, with their instants of reception."""
        with self._lock:
            waiting = self._waiting.get(device_id)
            return list(waiting.frames) if waiting is not None else []

    def approve(self, device_id: str, decision: Decision, actor: str) -> DeviceRow:
        """Let a device in, or change what is known of one that is in; the audit log says who did.

        Raises:
            InputError: unknown device, and no protocol is given; an unknown protocol, profile or enterprise.
            ConfigError: a key or password cannot be found where the reference says.
        """
        row = self._decided(device_id, decision, actor, "approved")
        self._device(row)
        self._check_entity(row.entity_id)
        self._put(row, actor, "approve device")
        return row

    def refuse(self, device_id: str, actor: str, note: str = "") -> DeviceRow:
        """Keep a device out; what it sends is counted and not kept.

        Raises:
            InputError: there is no such device.
        """
        self.get(device_id)
        row = self._decided(device_id, Decision(note=note), actor, "refused")
        self._put(row, actor, "refuse device")
        return row

    def forget(self, before: datetime) -> None:
        """Drop devices that have waited since before an instant."""
        self._store.write(lambda con: forget_waiting(con, before))
        with self._lock:
            self._waiting = {d: w for d, w in self._waiting.items() if w.row.first_seen >= before}

    def _decided(self, device_id: str, decision: Decision, actor: str, state: str) -> DeviceRow:
        with self._lock:
            waiting = self._waiting.get(device_id)
            row = waiting.row if waiting is not None else self._rows.get(device_id)
        now = self._clock.now()
        if row is None:
            if not decision.protocol:
                raise InputError(
                    f"no device {device_id!r} has reported",
                    expected="a device of the waiting list, or its protocol",
                    hint="dianhuan gateway devices; name --protocol to register a device before it reports",
                )
            address = decision.address or device_id
            row = DeviceRow(device_id, decision.protocol, address, state, "", now, line=decision.line)
        if row.protocol not in self._protocols:
            raise InputError(
                f"protocol {row.protocol!r} is not loaded",
                expected=f"one of {', '.join(self._protocols) or '(none)'}",
                hint="dianhuan plugin list",
            )
        if not row.line and (row.address != row.device_id or not _ADDRESS.fullmatch(device_id)):
            raise InputError(
                f"device {device_id!r} with the address {row.address!r}",
                expected="the address as id, of letters, digits and . : - _",
                hint="only devices on a polled line have an id of their own",
            )
        changes: dict[str, Any] = {"state": state, "decided_at": now, "decided_by": actor, "note": decision.note}
        given = {
            "entity_id": decision.entity_id,
            "profile": decision.profile,
            "key_refs": None if decision.keys is None else tuple(decision.keys),
            "password_ref": decision.password,
            "options": decision.options,
        }
        changes |= {name: value for name, value in given.items() if value is not None}
        return replace(row, **changes)

    def _check_entity(self, entity_id: str | None) -> None:
        if entity_id is None:
            return
        with self._store.engine.cursor() as con:
            known = con.execute("SELECT 1 FROM entity WHERE entity_id = ? LIMIT 1", [entity_id]).fetchall()
        if not known:
            raise InputError(
                f"no enterprise {entity_id!r}", expected="an entity_id of the register", hint="dianhuan ingest entity"
            )

    def _put(self, row: DeviceRow, actor: str, action: str) -> None:
        detail = ", ".join(
            f"{name}={value}"
            for name, value in asdict(row).items()
            if name in ("entity_id", "profile", "key_refs", "password_ref", "note") and value
        )

        def work(con: Any) -> None:
            put_device(con, row)
            hold_frames(con, row.device_id, ())
            bind_channels(con, row.device_id, row.entity_id)
            put_audit(con, self._clock.now(), actor, PURPOSE, action, row.device_id, detail)

        self._store.write(work)
        with self._lock:
            self._waiting.pop(row.device_id, None)
            self._enter(row)

    def _enter(self, row: DeviceRow) -> None:
        tables = self._of(row.protocol)
        self._rows[row.device_id] = row
        tables.refused.discard(row.address)
        tables.by_address.pop(row.address, None)
        tables.by_id.pop(row.device_id, None)
        if row.state == "refused":
            tables.refused.add(row.address)
            return
        try:
            device = self._device(row)
        except (ConfigError, InputError) as error:
            # Without its keys it would be taken for a device without credentials.
            self.problems[row.device_id] = str(error)
            tables.refused.add(row.address)
            return
        self.problems.pop(row.device_id, None)
        tables.by_address[row.address] = tables.by_id[row.device_id] = device

    def _device(self, row: DeviceRow) -> Device:
        profiles = self._protocols.get(row.protocol, ())
        if row.profile and profiles and row.profile not in profiles:
            raise InputError(f"profile {row.profile!r} of {row.protocol}", expected=f"one of {', '.join(profiles)}")
        secrets = [self.secret(ref) for ref in (*row.key_refs, *filter(None, [row.password_ref]))]
        keys = tuple(secrets[: len(row.key_refs)])
        password = secrets[-1] if row.password_ref else None
        return Device(row.device_id, row.address, row.profile, keys, password, dict(row.options))

    def _of(self, protocol: str) -> _Tables:
        return self._tables.setdefault(protocol, _Tables())


def _ref(ref: str) -> SecretRef:
    if not ref.startswith(("env:", "file:")) or ref.endswith(":"):
        raise InputError(
            "a key or password itself", expected="where it is kept: env:NAME or file:PATH", hint="never type a secret"
        )
    return SecretRef(ref=ref)
