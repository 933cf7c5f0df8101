"""Circuits with their roles, and the links between treatment and production that a person confirms."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import pyarrow as pa

from dianhuan_hub.store._engine import Connection, arrow, one

LINK_STATES: tuple[str, ...] = ("proposed", "confirmed", "refused")


@dataclass(frozen=True)
class LinkRow:
    """One link.

    Args:
        link_id: key, stable over restarts.
        entity_id: the plant.
        treatment, production: channel ids.
        factors: channel ids of concentrations measured behind the treatment.
        state: proposed, confirmed or refused.
        confidence: 0 … 1, where data proposed it; lag_minutes: treatment follows production by so much.
        muted_until: an officer muted it until then.
        rearmed_at: an officer re-armed it then.
    """

    link_id: str
    entity_id: str
    treatment: tuple[str, ...]
    production: tuple[str, ...]
    factors: tuple[str, ...]
    state: str
    confidence: float | None
    lag_minutes: int | None
    proposed_at: datetime
    proposed_by: str
    decided_at: datetime | None = None
    decided_by: str | None = None
    note: str = ""
    muted_until: datetime | None = None
    rearmed_at: datetime | None = None


_NAMES = tuple(f.name for f in fields(LinkRow))


def read_links(con: Connection, state: str = "") -> list[LinkRow]:
    """Links of a state, or all, by plant."""
    rows = con.execute(
        f"SELECT {', '.join(_NAMES)} FROM link WHERE ? IN ('', state) ORDER BY entity_id, link_id", [state]
    ).fetchall()
    found = []
    for row in rows:
        values: dict[str, Any] = dict(zip(_NAMES, row, strict=True))
        values |= {name: tuple(values[name]) for name in ("treatment", "production", "factors")}
        found.append(LinkRow(**values))
    return found


def put_link(con: Connection, row: LinkRow) -> None:
    """Write a link, or replace it."""
    con.execute("DELETE FROM link WHERE link_id = ?", [row.link_id])
    values = [list(v) if isinstance(v, tuple) else v for v in (getattr(row, name) for name in _NAMES)]
    con.execute(f"INSERT INTO link ({', '.join(_NAMES)}) VALUES ({', '.join('?' * len(_NAMES))})", values)


def read_circuits(con: Connection) -> pa.Table:
    """Channels that are circuits: power or current with a role, of a plant; one series of each code of a device.

    Columns: `ch` (null before the first reading), `channel_id`, `device_id`, `entity_id`, `role`, `unit`, `quantity`,
    `rated`, `facility`, `multiplier`.
    """
    return arrow(
        con,
        """SELECT o.ch, c.channel_id, c.device_id, c.entity_id, c.role, c.unit, c.quantity, c.rated, c.facility,
            c.multiplier
        FROM channel c LEFT JOIN channel_ordinal o USING (channel_id)
        WHERE c.role IS NOT NULL AND c.entity_id IS NOT NULL AND c.quantity IN ('active_power', 'current')
            AND c.interval <> 'check' AND c.valid_to IS NULL
        QUALIFY row_number() OVER (PARTITION BY c.device_id, c.code ORDER BY c.statistic <> 'rtd', c.channel_id) = 1
        ORDER BY c.channel_id""",
    )


def topology_mark(con: Connection) -> tuple[Any, ...]:
    """Changes whenever a circuit or a confirmed link does."""
    channels = one(
        con,
        """SELECT count(*), bit_xor(hash(channel_id, entity_id, role, unit, rated, facility, multiplier, valid_to))
        FROM channel WHERE role IS NOT NULL""",
    )
    known = one(con, "SELECT count(*) FROM channel_ordinal")
    links = one(
        con,
        """SELECT count(*), bit_xor(hash(link_id, treatment, production, factors))
        FROM link WHERE state = 'confirmed'""",
    )
    return (channels, known, links)


def channel_ordinals(con: Connection, channel_ids: list[str]) -> dict[str, int]:
    """Channel → its ordinal, of those that have readings."""
    rows = con.execute(
        "SELECT channel_id, ch FROM channel_ordinal WHERE channel_id IN (SELECT unnest(?))", [channel_ids]
    ).fetchall()
    return dict(rows)


def channel_of(con: Connection, channel_id: str) -> dict[str, Any] | None:
    """The row of a channel, or None."""
    rows = arrow(con, "SELECT * FROM channel WHERE channel_id = ?", [channel_id]).to_pylist()
    return dict(rows[0]) if rows else None


def bind_circuit(con: Connection, channel_id: str, role: str | None, rated: float | None, facility: str | None) -> None:
    """Say what a channel feeds; None leaves rated load or facility as they are."""
    con.execute(
        "UPDATE channel SET role = ?, rated = coalesce(?, rated), facility = coalesce(?, facility) "
        "WHERE channel_id = ?",
        [role, rated, facility, channel_id],
    )
