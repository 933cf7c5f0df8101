"""Lists as they were published, the rankings that made them, and the visits they led to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from dianhuan_hub.store._engine import Connection, arrow, one


@dataclass(frozen=True)
class StoredRanking:
    """A version of the ranking. `trial`: way → log loss; empty where nothing was tried."""

    version: str
    made_at: datetime
    fusion: str
    columns: tuple[str, ...]
    state: bytes
    visits: int
    trial: Mapping[str, float]


@dataclass(frozen=True)
class PublishedList:
    """A day's list as it was fixed before anybody went out.

    Args:
        lines: `place`, `arm`, `case_id`, `entity_id`, `propensity`, `probability`, `scores` (JSON).
        sha256: digest of the lines.
    """

    day: date
    published_at: datetime
    ranking: str
    sha256: str
    lines: Sequence[Mapping[str, Any]]


_LINE = pa.schema(
    [
        ("place", pa.int32()),
        ("arm", pa.string()),
        ("case_id", pa.string()),
        ("entity_id", pa.string()),
        ("propensity", pa.float64()),
        ("probability", pa.float64()),
        ("scores", pa.string()),
    ]
)


def put_ranking(con: Connection, ranking: StoredRanking) -> None:
    """Keep a version; the same version twice is one."""
    con.execute(
        "INSERT OR IGNORE INTO ranking VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            ranking.version,
            ranking.made_at,
            ranking.fusion,
            json.dumps(list(ranking.columns)),
            ranking.state,
            ranking.visits,
            json.dumps(dict(ranking.trial)),
        ],
    )


def newest_ranking(con: Connection) -> StoredRanking | None:
    """The version made last, or None."""
    return _ranking(one(con, "SELECT * FROM ranking ORDER BY made_at DESC, version LIMIT 1"))


def read_ranking(con: Connection, version: str) -> StoredRanking | None:
    """A version, or None."""
    return _ranking(one(con, "SELECT * FROM ranking WHERE version = ?", [version]))


def _ranking(row: tuple[Any, ...] | None) -> StoredRanking | None:
    if row is None:
        return None
    version, made_at, fusion, columns, state, visits, trial = row
    return StoredRanking(version, made_at, fusion, tuple(json.loads(columns)), state, visits, json.loads(trial))


def put_list(con: Connection, published: PublishedList) -> None:
    """Keep a day's list; a list that is there already stays as it is."""
    if one(con, "SELECT 1 FROM list_day WHERE day = ?", [published.day]) is not None:
        return
    con.execute(
        "INSERT INTO list_day VALUES (?, ?, ?, ?)",
        [published.day, published.published_at, published.ranking, published.sha256],
    )
    con.register("list_rows", pa.Table.from_pylist([dict(line) for line in published.lines], schema=_LINE))
    con.execute("INSERT INTO listed BY NAME SELECT ?::DATE AS day, * FROM list_rows", [published.day])
    con.unregister("list_rows")


def read_list(con: Connection, day: date) -> PublishedList | None:
    """A day's published list, or None."""
    row = one(con, "SELECT published_at, ranking, sha256 FROM list_day WHERE day = ?", [day])
    if row is None:
        return None
    columns = ", ".join(_LINE.names)
    lines = arrow(con, f"SELECT {columns} FROM listed WHERE day = ? ORDER BY place", [day]).to_pylist()
    return PublishedList(day, row[0], row[1], row[2], lines)


def notice_only(con: Connection, first: date, last: date) -> set[str]:
    """Cases of the days first … last that are notices to the plant: real-time warnings, none at dispatch level."""
    rows = con.execute(
        """SELECT case_id FROM warning WHERE day BETWEEN ? AND ? GROUP BY case_id
        HAVING bool_and(finding_id IN (SELECT finding_id FROM stream_event))
        EXCEPT SELECT case_id FROM stream_event WHERE level = 'dispatch' AND case_id IS NOT NULL""",
        [first, last],
    ).fetchall()
    return {case for (case,) in rows}


def visits_until(con: Connection, moment: datetime) -> list[dict[str, Any]]:
    """Outcomes that were known at a moment, each with the line of the last list before it that named its case."""
    rows = arrow(
        con,
        """SELECT l.day, l.place, l.arm, l.propensity, l.probability, l.case_id, l.entity_id, l.scores, o.code, o."at"
        FROM outcome o JOIN listed l USING (case_id) JOIN list_day d USING (day)
        WHERE d.published_at <= o."at" AND o."at" <= ?
        QUALIFY row_number() OVER (PARTITION BY o.case_id, o."at" ORDER BY d.published_at DESC) = 1
        ORDER BY o."at", l.case_id""",
        [moment],
    )
    found: list[dict[str, Any]] = rows.to_pylist()
    return found
