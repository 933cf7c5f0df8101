"""The real-time tier's book: samples of circuits, states of models, what they said, and notices to plants."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from dianhuan_hub.store import _loads
from dianhuan_hub.store._engine import Connection, arrow, one
from dianhuan_hub.store._loads import LoadInfo
from dianhuan_hub.store._registers import RegisterRows, put_register
from dianhuan_standards import TABLES

Ordinals = np.ndarray[Any, np.dtype[np.int32]]
_SKEW = timedelta(hours=2)
_INSTANT = pa.timestamp("us", tz="UTC")


def read_samples(con: Connection, ch: Ordinals, start: datetime, end: datetime, step_s: int) -> pa.Table:
    """Means of the readings of channels by sample, of the corrected time in [start, end).

    Columns: `ch`, `sample` (0 = the first), `value` (null where nothing valid came), `valid_at` (seconds since 1970
    UTC of the newest valid reading), `any_at` (of the newest reading), `quality` (of the newest reading).
    """
    con.register("wanted_channels", pa.table({"ch": ch}))
    found = arrow(
        con,
        """SELECT r.ch, ((epoch_us(r."at") - $first) // $step)::INTEGER AS sample,
            avg(r.value) FILTER (good) AS value, max(epoch_us(r."at") / 1e6) FILTER (good) AS valid_at,
            max(epoch_us(r."at") / 1e6) AS any_at, arg_max(coalesce(r.quality, ''), r."at") AS quality
        FROM (SELECT *, value IS NOT NULL AND coalesce(quality, 'N') NOT IN ('F', 'M', 'D', 'C', 'B') AS good
            FROM reading WHERE device_at >= $early AND device_at < $late AND "at" >= $start AND "at" < $end) r
        SEMI JOIN wanted_channels USING (ch) GROUP BY ALL""",
        {
            "first": round(start.timestamp() * 1e6),
            "step": step_s * 1_000_000,
            "early": start - _SKEW,
            "late": end + _SKEW,
            "start": start,
            "end": end,
        },
    )
    con.unregister("wanted_channels")
    return found


def read_spans(con: Connection, table: str, since: datetime) -> list[dict[str, Any]]:
    """Rows of `filed_report` or `order` that are not over at an instant."""
    rows = arrow(con, f'SELECT * FROM "{table}" WHERE ends_at IS NULL OR ends_at > ?', [since]).to_pylist()
    return [dict(r) for r in rows]


def read_outages(con: Connection, since: datetime) -> list[dict[str, Any]]:
    """Outages that are not over at an instant, by the plants that they cut off; the narrowest place named counts."""
    rows = arrow(
        con,
        """SELECT DISTINCT l.entity_id, coalesce(o.kind, '') AS kind, o.starts_at, o.ends_at FROM outage o, (
            SELECT a.entity_id, a.account_no, p.transformer_id, p.feeder_id
            FROM account_link a LEFT JOIN metering_point p USING (account_no)
            WHERE (a.valid_to IS NULL OR a.valid_to > CAST($since AS DATE))
                AND a.entity_id IN (SELECT entity_id FROM channel WHERE role IS NOT NULL)) l
        WHERE (o.ends_at IS NULL OR o.ends_at > $since) AND CASE
            WHEN o.account_no IS NOT NULL THEN o.account_no = l.account_no
            WHEN o.transformer_id IS NOT NULL THEN o.transformer_id = l.transformer_id
            ELSE o.feeder_id = l.feeder_id END""",
        {"since": since},
    ).to_pylist()
    return [dict(r) for r in rows]


def put_stream_state(con: Connection, model_id: str, version: str, tables: Mapping[str, bytes]) -> None:
    """Keep a model's state (Arrow IPC by table) in place of the one before."""
    con.execute("DELETE FROM stream_state WHERE model_id = ?", [model_id])
    for name, data in tables.items():
        con.execute("INSERT INTO stream_state VALUES (?, ?, ?, ?)", [model_id, version, name, data])


def read_stream_state(con: Connection, model_id: str, version: str) -> dict[str, bytes]:
    """A model's state by table, empty where there is none of that version."""
    rows = con.execute(
        "SELECT table_name, data FROM stream_state WHERE model_id = ? AND version = ?", [model_id, version]
    ).fetchall()
    return {name: bytes(data) for name, data in rows}


@dataclass(frozen=True)
class StreamEvent:
    """One thing that was said about one event, as it goes out.

    Args:
        seq: order in which things were said; 0 before it is stored.
        told_at: by the hub's clock.
        change: opened, again, raised, ended; or answered (by the plant).
        day: of the case.
        warning_id, case_id: None for `cannot_tell`.
        body: JSON: circuits, reasons, counter, evidence, expected_end.
    """

    told_at: datetime
    event_id: str
    change: str
    level: str
    verdict: str
    model_id: str
    rule: str
    entity_id: str
    link_id: str
    day: Any
    finding_id: str
    warning_id: str | None
    case_id: str | None
    since: datetime
    at: datetime
    score: float
    body: str
    seq: int = 0


STREAM_EVENT_COLUMNS: tuple[str, ...] = tuple(f.name for f in fields(StreamEvent))
_EVENT_SQL = ", ".join(f't."{name}"' for name in STREAM_EVENT_COLUMNS)


_EVENT_SCHEMA = pa.schema(
    [
        (name, {"told_at": _INSTANT, "since": _INSTANT, "at": _INSTANT, "day": pa.date32(), "score": pa.float64()}.get(
            name, pa.string()
        ))
        for name in STREAM_EVENT_COLUMNS[:-1]
    ]
)  # fmt: skip


def put_stream_events(con: Connection, events: Sequence[StreamEvent]) -> None:
    """Append; their numbers follow their order."""
    if not events:
        return
    rows = [{name: getattr(e, name) for name in _EVENT_SCHEMA.names} for e in events]
    con.register("said_rows", pa.Table.from_pylist(rows, schema=_EVENT_SCHEMA))
    con.execute("INSERT INTO stream_event BY NAME SELECT * FROM said_rows")
    con.unregister("said_rows")


def first_of_events(con: Connection, event_ids: Sequence[str]) -> dict[str, tuple[Any, datetime]]:
    """Day and instant at which each event was first told, of those that were."""
    rows = con.execute(
        """SELECT event_id, arg_min(day, seq), min(told_at) FROM stream_event
        WHERE event_id IN (SELECT unnest(?)) GROUP BY event_id""",
        [list(event_ids)],
    ).fetchall()
    return {event: (day, at) for event, day, at in rows}


def last_of_event(con: Connection, event_id: str) -> StreamEvent | None:
    """The last thing that was said about an event, or None."""
    row = one(con, f"SELECT {_EVENT_SQL} FROM stream_event t WHERE event_id = ? ORDER BY seq DESC LIMIT 1", [event_id])
    return None if row is None else StreamEvent(*row)


def newest_stream_event(con: Connection) -> int:
    """Number of the newest, 0 where there is none."""
    row = one(con, "SELECT coalesce(max(seq), 0) FROM stream_event")
    return int(row[0]) if row else 0


def case_scores(con: Connection, case_ids: Sequence[str]) -> dict[str, list[float]]:
    """Case → the scores of its warnings."""
    rows = con.execute(
        "SELECT case_id, list(score) FROM warning WHERE case_id IN (SELECT unnest(?)) GROUP BY case_id",
        [list(case_ids)],
    ).fetchall()
    return dict(rows)


@dataclass(frozen=True)
class NoticeRow:
    """One notice to a plant. The token of its page is kept as its SHA-256 only."""

    event_id: str
    entity_id: str
    facility: str
    since: datetime
    opened_at: datetime
    body: str
    token_sha256: str
    expires_at: datetime
    delivered_at: datetime | None = None
    attempts: int = 0
    due_at: datetime | None = None
    failure: str = ""
    answered_at: datetime | None = None
    answer: str | None = None
    answer_text: str | None = None
    report_id: str | None = None
    accepted: bool | None = None
    reviewed_by: str | None = None


_NOTICE = tuple(f.name for f in fields(NoticeRow))


_TIMES = frozenset({"since", "opened_at", "expires_at", "delivered_at", "due_at", "answered_at"})
_NOTICE_SCHEMA = pa.schema(
    [
        (n, _INSTANT if n in _TIMES else {"attempts": pa.int32(), "accepted": pa.bool_()}.get(n, pa.string()))
        for n in _NOTICE
    ]
)


def put_notices(con: Connection, rows: Sequence[NoticeRow]) -> None:
    """Write notices, or replace them."""
    if not rows:
        return
    table = pa.Table.from_pylist([{n: getattr(r, n) for n in _NOTICE} for r in rows], schema=_NOTICE_SCHEMA)
    con.register("notice_rows", table)
    con.execute("DELETE FROM notice WHERE event_id IN (SELECT event_id FROM notice_rows)")
    con.execute("INSERT INTO notice BY NAME SELECT * FROM notice_rows")
    con.unregister("notice_rows")


def read_notices(con: Connection, where: str, values: Sequence[object] = (), limit: int = 10_000) -> list[NoticeRow]:
    """Notices that fulfil a condition on the table's columns, oldest first."""
    rows = con.execute(
        f"SELECT {', '.join(_NOTICE)} FROM notice WHERE {where} ORDER BY opened_at, event_id LIMIT {limit}", values
    ).fetchall()
    return [NoticeRow(*row) for row in rows]


def file_report(con: Connection, row: Mapping[str, Any], info: LoadInfo, at: datetime) -> None:
    """Take a filed report (报备) into its register, with a load of its own."""
    contract = TABLES["filed_report"]
    load_id = _loads.next_load(con)
    table = pa.Table.from_pylist([dict(row)], schema=contract.schema)
    put_register(con, RegisterRows(contract, table, tuple(contract.schema.names)), load_id)
    _loads.close_load(con, load_id, info, at, accepted=1, quarantined=0, unchanged=0, corrected=0)


def events_after(con: Connection, query: tuple[str, list[Any]], after: int, limit: int) -> list[dict[str, Any]]:
    """Stream events behind a number that fulfil a query (`Query("stream_event").sql()`), in order."""
    where, values = query
    sign = "AND" if " WHERE " in where else "WHERE"
    rows = arrow(con, f"SELECT {_EVENT_SQL} {where} {sign} t.seq > ? ORDER BY t.seq LIMIT {limit}", [*values, after])
    return [{**dict(r), "body": json.loads(r["body"])} for r in rows.to_pylist()]
