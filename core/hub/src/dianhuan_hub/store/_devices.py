"""The register of devices: who may report, for whom, and who waits to be let in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

import duckdb

from dianhuan_hub.store._engine import one

DEVICE_STATES: tuple[str, ...] = ("pending", "approved", "refused")


@dataclass(frozen=True)
class DeviceRow:
    """One device.

    Args:
        device_id: its address in the frames, e.g. the MN.
        state: pending, approved or refused.
        key_refs: where its secret keys are kept (`env:NAME`, `file:PATH`), the present one first.
        peer: network address from which it was first seen.
    """

    device_id: str
    protocol: str
    state: str
    peer: str
    first_seen: datetime
    profile: str = ""
    key_refs: tuple[str, ...] = ()
    entity_id: str | None = None
    decided_at: datetime | None = None
    decided_by: str | None = None
    frames_kept: int = 0


def read_devices(con: duckdb.DuckDBPyConnection) -> list[DeviceRow]:
    """All devices, those that wait first; `frames_kept` counts frames held for approval."""
    rows = con.execute(
        """SELECT device_id, protocol, state, peer, first_seen, profile, key_refs, entity_id, decided_at, decided_by,
            coalesce(n, 0)
        FROM device LEFT JOIN (
            SELECT device_id, count(*) AS n FROM raw_frame WHERE state = 'held' GROUP BY device_id) USING (device_id)
        ORDER BY state <> 'pending', first_seen, device_id"""
    ).fetchall()
    return [
        DeviceRow(
            device_id=r[0],
            protocol=r[1],
            state=r[2],
            peer=r[3],
            first_seen=r[4],
            profile=r[5],
            key_refs=tuple(json.loads(r[6])),
            entity_id=r[7],
            decided_at=r[8],
            decided_by=r[9],
            frames_kept=r[10],
        )
        for r in rows
    ]


def put_device(con: duckdb.DuckDBPyConnection, row: DeviceRow) -> None:
    """Write a device, or replace it."""
    con.execute(
        "INSERT OR REPLACE INTO device BY NAME SELECT ? AS device_id, ? AS protocol, ? AS profile, ? AS key_refs, "
        "? AS entity_id, ? AS state, ? AS peer, ?::TIMESTAMPTZ AS first_seen, ?::TIMESTAMPTZ AS decided_at, "
        "? AS decided_by",
        [
            row.device_id,
            row.protocol,
            row.profile,
            json.dumps(row.key_refs),
            row.entity_id,
            row.state,
            row.peer,
            row.first_seen,
            row.decided_at,
            row.decided_by,
        ],
    )


def held_frames(con: duckdb.DuckDBPyConnection, device_id: str) -> list[bytes]:
    """Frames of a device that wait for its approval, oldest first."""
    rows = con.execute(
        "SELECT raw FROM raw_frame WHERE device_id = ? AND state = 'held' ORDER BY frame_id", [device_id]
    ).fetchall()
    return [bytes(r[0]) for r in rows]


def part_frames(con: duckdb.DuckDBPyConnection, since: datetime) -> dict[tuple[str, str], list[bytes]]:
    """Frames since an instant that were parts of messages not yet whole, by (device, protocol), oldest first."""
    found: dict[tuple[str, str], list[bytes]] = {}
    for device, protocol, raw in con.execute(
        "SELECT device_id, protocol, raw FROM raw_frame WHERE state = 'part' AND received_at >= ? ORDER BY frame_id",
        [since],
    ).fetchall():
        found.setdefault((device, protocol), []).append(bytes(raw))
    return found


def settle_held(con: duckdb.DuckDBPyConnection, device_id: str) -> None:
    """Mark held frames of a device as read."""
    con.execute("UPDATE raw_frame SET state = 'read' WHERE device_id = ? AND state = 'held'", [device_id])


def trim_held(con: duckdb.DuckDBPyConnection, device_id: str, most: int) -> None:
    """Keep the last frames only of a device that waits."""
    con.execute(
        """DELETE FROM raw_frame WHERE device_id = $1 AND state = 'held' AND frame_id NOT IN (
            SELECT frame_id FROM raw_frame WHERE device_id = $1 AND state = 'held' ORDER BY frame_id DESC LIMIT $2)""",
        [device_id, most],
    )


def drop_raw_frames(con: duckdb.DuckDBPyConnection, before: datetime) -> int:
    """Delete raw frames received before an instant, held ones excepted; answers how many."""
    found = one(con, "SELECT count(*) FROM raw_frame WHERE received_at < ? AND state <> 'held'", [before])
    con.execute("DELETE FROM raw_frame WHERE received_at < ? AND state <> 'held'", [before])
    return int(found[0]) if found else 0
