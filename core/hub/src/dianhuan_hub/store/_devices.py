"""The register of devices: who may report, for whom, and who waits to be let in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import duckdb

from dianhuan_hub.store._engine import one

DEVICE_STATES: tuple[str, ...] = ("waiting", "approved", "refused")


@dataclass(frozen=True)
class DeviceRow:
    """One device.

    Args:
        device_id: its id in the hub; the MN for HJ 212.
        protocol: id of its protocol.
        address: its address in the frames.
        state: waiting, approved or refused.
        peer: network address from which it was first seen; empty where a person registered it.
        profile: profile of the protocol.
        key_refs: where its secret keys are kept (`env:NAME`, `file:PATH`), the present one first.
        password_ref: where its access password is kept, empty for none.
        options: further settings of the protocol for it.
        line: the poller or broker of hub.toml by which it is reached, empty where it connects by itself.
        frames_kept: frames held for approval.
    """

    device_id: str
    protocol: str
    address: str
    state: str
    peer: str
    first_seen: datetime
    profile: str = ""
    key_refs: tuple[str, ...] = ()
    password_ref: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    line: str = ""
    entity_id: str | None = None
    decided_at: datetime | None = None
    decided_by: str | None = None
    note: str = ""
    frames_kept: int = 0


_COLUMNS = (
    "device_id",
    "protocol",
    "address",
    "state",
    "peer",
    "first_seen",
    "profile",
    "key_refs",
    "password_ref",
    "options",
    "line",
    "entity_id",
    "decided_at",
    "decided_by",
    "note",
)


def read_devices(con: duckdb.DuckDBPyConnection) -> list[DeviceRow]:
    """All devices, those that wait first."""
    rows = con.execute(
        f"""SELECT {", ".join(_COLUMNS)}, coalesce(n, 0) AS frames_kept
        FROM device LEFT JOIN (SELECT device_id, count(*) AS n FROM held_frame GROUP BY device_id) USING (device_id)
        ORDER BY state <> 'waiting', first_seen, device_id"""
    ).fetchall()
    found = []
    for row in rows:
        values = dict(zip((*_COLUMNS, "frames_kept"), row, strict=True))
        values |= {"key_refs": tuple(json.loads(values["key_refs"])), "options": json.loads(values["options"])}
        found.append(DeviceRow(**values))
    return found


def put_device(con: duckdb.DuckDBPyConnection, row: DeviceRow) -> None:
    """Write a device, or replace it."""
    values = [getattr(row, name) for name in _COLUMNS]
    values[_COLUMNS.index("key_refs")] = json.dumps(row.key_refs)
    values[_COLUMNS.index("options")] = json.dumps(dict(row.options), ensure_ascii=False, sort_keys=True)
    con.execute(
        f"INSERT OR REPLACE INTO device ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(values))})", values
    )


def forget_waiting(con: duckdb.DuckDBPyConnection, before: datetime) -> int:
    """Drop devices that have waited since before an instant, with their frames; answers how many."""
    found = one(con, "SELECT count(*) FROM device WHERE state = 'waiting' AND first_seen < ?", [before])
    con.execute("DELETE FROM device WHERE state = 'waiting' AND first_seen < ?", [before])
    con.execute("DELETE FROM held_frame WHERE device_id NOT IN (SELECT device_id FROM device)")
    return int(found[0]) if found else 0


def bind_channels(con: duckdb.DuckDBPyConnection, device_id: str, entity_id: str | None) -> None:
    """The channels of a device belong to an enterprise from now on."""
    con.execute("UPDATE channel SET entity_id = ? WHERE device_id = ?", [entity_id, device_id])


def hold_frames(con: duckdb.DuckDBPyConnection, device_id: str, frames: Sequence[tuple[datetime, bytes]]) -> None:
    """The last frames of a device that waits, in place of those that were kept."""
    con.execute("DELETE FROM held_frame WHERE device_id = ?", [device_id])
    if frames:
        con.executemany(
            "INSERT INTO held_frame VALUES (?, ?, ?, ?)",
            [[device_id, number, at, raw] for number, (at, raw) in enumerate(frames)],
        )


def put_waiting(con: duckdb.DuckDBPyConnection, row: DeviceRow, frames: Sequence[tuple[datetime, bytes]]) -> None:
    """A device that waits, with its last frames; one that somebody has decided about is left alone."""
    known = one(con, "SELECT state FROM device WHERE device_id = ?", [row.device_id])
    if known is None:
        put_device(con, row)
    if known is None or known[0] == "waiting":
        hold_frames(con, row.device_id, frames)


def held_frames(con: duckdb.DuckDBPyConnection, device_id: str) -> list[tuple[datetime, bytes]]:
    """Frames of a device that wait for its approval, oldest first, with their instants of reception."""
    rows = con.execute(
        "SELECT received_at, raw FROM held_frame WHERE device_id = ? ORDER BY place", [device_id]
    ).fetchall()
    return [(at, bytes(raw)) for at, raw in rows]


def part_frames(con: duckdb.DuckDBPyConnection, since: datetime) -> dict[str, list[bytes]]:
    """Frames since an instant that were parts of messages not yet whole, by device, oldest first."""
    found: dict[str, list[bytes]] = {}
    for device, raw in con.execute(
        "SELECT device_id, raw FROM raw_frame WHERE state = 'part' AND received_at >= ? ORDER BY frame_id", [since]
    ).fetchall():
        found.setdefault(device, []).append(bytes(raw))
    return found


def raw_frames(
    con: duckdb.DuckDBPyConnection, device_id: str, start: datetime, end: datetime
) -> list[tuple[datetime, bytes]]:
    """Frames kept of a device, received in [start, end), in order, with their instants of reception."""
    rows = con.execute(
        "SELECT received_at, raw FROM raw_frame WHERE device_id = ? AND received_at >= ? AND received_at < ? "
        "ORDER BY frame_id",
        [device_id, start, end],
    ).fetchall()
    return [(at, bytes(raw)) for at, raw in rows]


def drop_raw_frames(con: duckdb.DuckDBPyConnection, before: datetime) -> int:
    """Delete raw frames received before an instant; answers how many."""
    found = one(con, "SELECT count(*) FROM raw_frame WHERE received_at < ?", [before])
    con.execute("DELETE FROM raw_frame WHERE received_at < ?", [before])
    return int(found[0]) if found else 0
