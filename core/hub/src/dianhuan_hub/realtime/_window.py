"""The window of a tick: readings of the store as samples of circuits, with what is known of their devices."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np

from dianhuan_hub.realtime._topology import Known
from dianhuan_hub.store import (
    Connection,
    Store,
    read_notices,
    read_outages,
    read_samples,
    read_spans,
)
from dianhuan_sdk import Answer, Health, Spans, StreamContext, StreamWindow

SILENT_S = 600.0
"""A circuit that has sent nothing for so long counts as silent (COMM_LOSS)."""

ANSWERS = timedelta(days=3)
"""Answers of the last days are handed on; notices are raised within a day and an hour."""

_MARKS = {"F": Health.FAULT, "D": Health.FAULT, "M": Health.MAINTENANCE, "C": Health.CALIBRATION, "B": Health.COMM_LOSS}


def make_window(store: Store, known: Known, at: datetime, samples: int) -> StreamWindow:
    """The window that ends at an instant.

    Args:
        store: the city's store.
        known: the topology and its channels.
        at: end, aware, a whole minute.
        samples: minutes.
    """
    step = 60
    start = at - timedelta(seconds=step * samples)
    top, end_s = known.topology, at.timestamp()
    size, wanted = len(known.ch), known.ch >= 0
    row_of = np.full(int(known.ch.max(initial=-1)) + 1, -1, np.int64)
    row_of[known.ch[wanted]] = np.flatnonzero(wanted)
    values = np.full((size, samples), np.nan, np.float32)
    age = np.full(size, np.inf, np.float32)
    silent = np.full(size, np.inf, np.float64)
    health = np.zeros(size, np.uint8)
    with store.engine.cursor() as con:
        if wanted.any():
            found = read_samples(con, known.ch[wanted], start, at, step)
            rows = row_of[found.column("ch").to_numpy()]
            sample = found.column("sample").to_numpy()
            value = found.column("value").to_numpy(zero_copy_only=False).astype(np.float32)
            values[rows, sample] = value * known.scale[rows]
            valid = found.column("valid_at").to_numpy(zero_copy_only=False).astype(np.float64)
            heard = ~np.isnan(valid)
            np.minimum.at(age, rows[heard], (end_s - valid[heard]).astype(np.float32))
            np.minimum.at(silent, rows, end_s - found.column("any_at").to_numpy())
            order = np.argsort(sample, kind="stable")
            newest = np.full(size, -1, np.int64)
            newest[rows[order]] = order  # the last one written is the newest sample
            quality = found.column("quality").to_pylist()
            for row in np.flatnonzero(newest >= 0):
                mark = _MARKS.get(quality[newest[row]])
                if mark is not None:
                    health[row] |= np.uint8(mark)
        context = _context(con, known, at)
    circuits = len(top.circuits)
    health[silent > SILENT_S] |= np.uint8(Health.COMM_LOSS)
    return StreamWindow(
        at=at,
        topology=top,
        values=values[:circuits],
        age_s=age[:circuits],
        health=health[:circuits],
        factors=values[circuits:],
        context=context,
        step_s=step,
    )


def _context(con: Connection, known: Known, at: datetime) -> StreamContext:
    top, since = known.topology, at - timedelta(days=1)
    reports: list[dict[str, Any]] = read_spans(con, "filed_report", since)
    answered = read_notices(con, "answered_at IS NOT NULL AND opened_at >= ?", [at - ANSWERS])
    answers = {
        n.event_id: Answer(n.answer, n.answered_at, n.accepted)  # type: ignore[arg-type]
        for n in answered
        if n.answered_at is not None
    }
    return StreamContext(
        reports=Spans.of(reports, top, "filed_at"),
        orders=Spans.of(read_spans(con, "order", since), top),
        outages=Spans.of(read_outages(con, since), top, "starts_at"),
        answers=answers,
        muted={r.link_id: r.muted_until for r in known.links if r.muted_until is not None},
        rearmed={r.link_id: r.rearmed_at for r in known.links if r.rearmed_at is not None},
    )
