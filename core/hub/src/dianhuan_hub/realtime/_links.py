"""The link desk: which circuit feeds what, and which production belongs to which treatment; a person confirms."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from dianhuan_hub.realtime._topology import circuit_of
from dianhuan_hub.store import (
    Connection,
    LinkRow,
    Store,
    bind_circuit,
    channel_of,
    put_audit,
    put_link,
    read_circuits,
    read_links,
    read_samples,
)
from dianhuan_sdk import CIRCUIT_ROLES, Clock, InputError, Topology
from dianhuan_sdk.links import propose_links
from dianhuan_sdk.stream import Link

PURPOSE = "回路关系管理 · links of circuits"
STEP_S = 300


class LinkDesk:
    """Circuits and links.

    Args:
        store, clock: of the hub.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def links(self, state: str = "") -> list[LinkRow]:
        """Links of a state (proposed, confirmed, refused), or all."""
        with self._store.engine.cursor() as con:
            return read_links(con, state)

    def set_role(
        self, channel_id: str, role: str, actor: str, *, rated: float | None = None, facility: str | None = None
    ) -> dict[str, Any]:
        """Say what a circuit feeds; answers the channel.

        Raises:
            InputError: no such channel or role, or the rated load is wrong.
        """
        if role not in CIRCUIT_ROLES:
            raise InputError(f"no role {role!r}", expected=", ".join(CIRCUIT_ROLES))
        if rated is not None and not 0 < rated < 1e9:
            raise InputError(f"a rated load of {rated}", expected="a number above 0, in the channel's unit")

        def work(con: Connection) -> dict[str, Any]:
            if channel_of(con, channel_id) is None:
                raise InputError(f"no channel {channel_id!r}", hint="a channel is known once its device has reported")
            bind_circuit(con, channel_id, role, rated, facility)
            put_audit(con, self._clock.now(), actor, PURPOSE, f"role {role}", channel_id)
            return channel_of(con, channel_id) or {}

        return self._store.write(work)

    def propose(self, days: int, actor: str, entity_id: str | None = None, least: float = 0.4) -> list[LinkRow]:
        """Propose links from the readings of the last days; one that a person has decided about stays as it is.

        Raises:
            InputError: there are no circuits with readings.
        """
        now = self._clock.now()
        end = datetime.fromtimestamp(int(now.timestamp()) // STEP_S * STEP_S, UTC)
        start, samples = end - timedelta(days=days), days * 86400 // STEP_S
        with self._store.engine.cursor() as con:
            rows = [r for r in read_circuits(con).to_pylist() if entity_id in (None, r["entity_id"])]
            rows = [r for r in rows if r["ch"] is not None and r["role"] in ("treatment", "production", "combined")]
            if not rows:
                raise InputError(
                    "no circuits with readings", expected="channels with a role", hint="dianhuan link role CHANNEL ROLE"
                )
            ch = np.array([r["ch"] for r in rows], np.int32)
            found = read_samples(con, ch, start, end, STEP_S)
        at = np.full(int(ch.max()) + 1, -1, np.int64)
        at[ch] = np.arange(len(ch))
        kw = np.full((len(rows), samples), np.nan, np.float32)
        kw[at[found.column("ch").to_numpy()], found.column("sample").to_numpy()] = found.column("value").to_numpy(
            zero_copy_only=False
        )
        circuits = [circuit_of(r) for r in rows]
        plant = {c.circuit_id: c.entity_id for c in circuits}
        grouped: dict[str, list[Any]] = {}
        for proposed in propose_links(circuits, kw, STEP_S, least=least):
            grouped.setdefault(proposed.treatment, []).append(proposed)

        def work(con: Connection) -> list[LinkRow]:
            held = {row.link_id: row for row in read_links(con)}
            taken = {t for row in held.values() if row.state == "confirmed" for t in row.treatment}
            out = []
            for treatment, pairs in grouped.items():
                link = link_id((treatment,))
                if treatment in taken or (link in held and held[link].state != "proposed"):
                    continue
                note = "可能产治一体 · may be combined" if any(p.combined for p in pairs) else ""
                row = LinkRow(
                    link_id=link,
                    entity_id=plant[treatment],
                    treatment=(treatment,),
                    production=tuple(p.production for p in pairs),
                    factors=(),
                    state="proposed",
                    confidence=pairs[0].confidence,
                    lag_minutes=pairs[0].lag_minutes,
                    proposed_at=now,
                    proposed_by=actor,
                    note=note,
                )
                put_link(con, row)
                put_audit(con, now, actor, PURPOSE, "propose link", link)
                out.append(row)
            return out

        return self._store.write(work)

    def add(
        self, treatment: Sequence[str], production: Sequence[str], actor: str, *, factors: Sequence[str] = (),
        note: str = ""
    ) -> LinkRow:  # fmt: skip
        """A link that a person knows; it is confirmed at once.

        Raises:
            InputError: a channel is no circuit, a role does not fit, or the link crosses plants.
        """
        now = self._clock.now()
        plant = self._fitting(treatment, production)
        row = LinkRow(
            link_id=link_id(treatment),
            entity_id=plant,
            treatment=tuple(treatment),
            production=tuple(production),
            factors=tuple(factors),
            state="confirmed",
            confidence=None,
            lag_minutes=None,
            proposed_at=now,
            proposed_by=actor,
            decided_at=now,
            decided_by=actor,
            note=note,
        )
        return self._put(row, "confirm link", actor)

    def confirm(
        self, link: str, actor: str, *, production: Sequence[str] | None = None, factors: Sequence[str] | None = None,
        note: str = ""
    ) -> LinkRow:  # fmt: skip
        """Confirm a link, with other production circuits or factors than proposed if need be.

        Raises:
            InputError: no such link, or its circuits do not fit.
        """
        row = self._get(link)
        row = replace(
            row,
            production=row.production if production is None else tuple(production),
            factors=row.factors if factors is None else tuple(factors),
        )
        self._fitting(row.treatment, row.production)
        return self._decide(row, "confirmed", "confirm link", actor, note)

    def refuse(self, link: str, actor: str, note: str = "") -> LinkRow:
        """Refuse a link, or take a confirmed one back; data will not propose it again.

        Raises:
            InputError: no such link.
        """
        return self._decide(self._get(link), "refused", "refuse link", actor, note)

    def mute(self, link: str, hours: float, actor: str, note: str = "") -> LinkRow:
        """Say nothing about a link for some hours.

        Raises:
            InputError: no such link, or the hours are wrong.
        """
        if not 0 < hours <= 24 * 30:
            raise InputError(f"mute for {hours} hours", expected="more than 0, at most 720")
        until = self._clock.now() + timedelta(hours=hours)
        row = replace(self._get(link), muted_until=until, note=note or self._get(link).note)
        return self._put(row, "mute link", actor)

    def rearm(self, link: str, actor: str) -> LinkRow:
        """End every mute of a link.

        Raises:
            InputError: no such link.
        """
        return self._put(replace(self._get(link), muted_until=None, rearmed_at=self._clock.now()), "re-arm link", actor)

    def _decide(self, row: LinkRow, state: str, action: str, actor: str, note: str) -> LinkRow:
        now = self._clock.now()
        decided = replace(row, state=state, decided_at=now, decided_by=actor, note=note or row.note)
        return self._put(decided, action, actor)

    def _put(self, row: LinkRow, action: str, actor: str) -> LinkRow:
        def work(con: Connection) -> None:
            put_link(con, row)
            put_audit(con, self._clock.now(), actor, PURPOSE, action, row.link_id, row.note)

        self._store.write(work)
        return row

    def _get(self, link: str) -> LinkRow:
        found = next((row for row in self.links() if row.link_id == link), None)
        if found is None:
            raise InputError(f"no link {link!r}", hint="dianhuan link list")
        return found

    def _fitting(self, treatment: Sequence[str], production: Sequence[str]) -> str:
        with self._store.engine.cursor() as con:
            circuits = [circuit_of(r) for r in read_circuits(con).to_pylist()]
        named = [c for c in circuits if c.circuit_id in (*treatment, *production)]
        topology = Topology.of(named, [Link("new", tuple(treatment), tuple(production))])
        return str(topology.entity_ids[topology.link_entity[0]])


def link_id(treatment: Sequence[str]) -> str:
    """The id of the link of these treatment circuits."""
    return "L" + hashlib.sha256("|".join(sorted(treatment)).encode()).hexdigest()[:12]
