"""Findings, warnings, cases and outcomes: what screening and the field produce."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from dianhuan_hub.store._engine import Connection
from dianhuan_hub.store._schema import quoted
from dianhuan_standards import TABLES


@dataclass(frozen=True)
class RunInfo:
    """One screening run."""

    run_id: str
    day: date
    started_at: datetime
    seconds: float
    entities: int
    models: str
    config: str


def put_run(con: Connection, run: RunInfo) -> None:
    """Keep a screening run."""
    con.execute(
        "INSERT INTO run VALUES (?, ?, ?, ?, ?, ?, ?)",
        [run.run_id, run.day, run.started_at, run.seconds, run.entities, run.models, run.config],
    )


def put_results(con: Connection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of a result table; one with the same key takes the place of the earlier one."""
    if not rows:
        return
    contract = TABLES[table]
    con.register("result_rows", pa.Table.from_pylist([dict(r) for r in rows], schema=contract.schema))
    same = " AND ".join(f"t.{quoted(k)} = r.{quoted(k)}" for k in contract.key)
    con.execute(f"DELETE FROM {quoted(table)} t USING result_rows r WHERE {same}")
    con.execute(f"INSERT INTO {quoted(table)} BY NAME SELECT *, 0 AS load_id FROM result_rows")
    con.unregister("result_rows")


def forget_findings(con: Connection, day: date, models: Sequence[str]) -> None:
    """Drop the findings and warnings of a day's earlier run, before the same models write theirs again."""
    for table in ("finding", "warning"):
        con.execute(
            f"DELETE FROM {table} WHERE day = ? AND model_id IN (SELECT unnest(?))",
            [day, list(models)],
        )


def put_case_event(con: Connection, case_id: str, at: datetime, actor: str, state: str, note: str) -> None:
    """Append an event to a case's record."""
    con.execute(
        """INSERT INTO case_event SELECT ?, coalesce(max(seq), 0) + 1, ?, ?, ?, ? FROM case_event WHERE case_id = ?""",
        [case_id, at, actor, state, note, case_id],
    )


def put_case_events(con: Connection, at: datetime, actor: str, events: Sequence[tuple[str, str, str]]) -> None:
    """Append events (case, state, note) of one instant, in their order."""
    if not events:
        return
    cases, states, notes = zip(*events, strict=True)
    columns = {"case_id": cases, "place": range(len(events)), "state": states, "note": notes}
    con.register("new_events", pa.table({name: pa.array(values) for name, values in columns.items()}))
    con.execute(
        """INSERT INTO case_event SELECT n.case_id,
            coalesce(m.seq, 0) + row_number() OVER (PARTITION BY n.case_id ORDER BY n.place), ?, ?, n.state, n.note
        FROM new_events n LEFT JOIN
            (SELECT case_id, max(seq) AS seq FROM case_event SEMI JOIN new_events USING (case_id) GROUP BY case_id) m
            USING (case_id)""",
        [at, actor],
    )
    con.unregister("new_events")


def open_cases(con: Connection, before: date) -> dict[str, str]:
    """Enterprise → its newest case that is neither answered nor archived, of days before a day."""
    rows = con.execute(
        """SELECT entity_id, arg_max(case_id, day) FROM "case"
        WHERE state NOT IN ('answered', 'archived') AND day < ? GROUP BY entity_id""",
        [before],
    ).fetchall()
    return dict(rows)


def cases_of(con: Connection, day: date) -> dict[str, tuple[str, datetime]]:
    """Case → its state and when it was opened, of one day."""
    rows = con.execute('SELECT case_id, state, opened_at FROM "case" WHERE day = ?', [day]).fetchall()
    return {case: (state, opened) for case, state, opened in rows}


def warned_on(con: Connection, day: date) -> list[tuple[str, list[float], str]]:
    """Enterprises with warnings on a day: id, the warnings' scores, and the models' names in one text."""
    return con.execute(
        """SELECT entity_id, list(score), string_agg(DISTINCT model_id, ', ' ORDER BY model_id) FROM warning
        WHERE day = ? GROUP BY entity_id ORDER BY entity_id""",
        [day],
    ).fetchall()


def drop_cases(con: Connection, case_ids: Sequence[str]) -> None:
    """Take cases off; their events stay on record."""
    con.execute('DELETE FROM "case" WHERE case_id IN (SELECT unnest(?))', [list(case_ids)])


def recent_days(con: Connection, reach: int) -> dict[date, int]:
    """Days of the last `reach` days of data → how many enterprises have features on them."""
    return dict(
        con.execute(
            "SELECT day, count(*) FROM feature_day WHERE day > (SELECT max(day) - ? FROM feature_day) GROUP BY day",
            [reach],
        ).fetchall()
    )


def screened_days(con: Connection) -> set[date]:
    """Days that were screened at least once."""
    return {row[0] for row in con.execute("SELECT DISTINCT day FROM run").fetchall()}
