"""Rows of `reading` and `channel` from the frames of any protocol."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_sdk import REJECT_SCHEMA, Batch, Deviation, Frame, Reading, SourceRef
from dianhuan_standards import TABLES

READING = TABLES["reading"].schema
CHANNEL = TABLES["channel"].schema
_INSTANT = pa.timestamp("us", tz="UTC")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONE = timedelta(microseconds=1)


def micros(at: datetime) -> int:
    """Microseconds since 1970 UTC of an aware instant."""
    return (at - _EPOCH) // _ONE


class ReadingColumns:
    """Columns of `reading` while they grow, run by run; frames that do not count become rejects.

    A run is the readings of one frame at one time. The ids of a series are one tuple from frame to frame, so a run
    costs its values and a few numbers; the columns are spread out by Arrow and numpy at the end.
    """

    __slots__ = ("_at", "_flags", "_ids", "_places", "_rejects", "_resent", "_runs", "_sizes", "_texts", "_values")

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._places: dict[int, tuple[tuple[str, ...], np.ndarray[Any, np.dtype[np.int64]]]] = {}
        self._runs: list[np.ndarray[Any, np.dtype[np.int64]]] = []
        self._sizes: list[int] = []
        self._at: list[tuple[int, int]] = []
        self._values: list[float | None] = []
        self._flags: list[str] = []
        self._texts: dict[int, str] = {}
        self._resent: list[bool] = []
        self._rejects: list[dict[str, Any]] = []

    def add(
        self,
        ids: tuple[str, ...],
        device_at: int,
        at: int,
        values: Sequence[float | None],
        flags: Sequence[str],
        texts: Sequence[str | None] = (),
        resent: bool = False,
    ) -> None:
        """A run: channel ids, the device's and the corrected time in microseconds, values, flags ('' = none), texts."""
        known = self._places.get(id(ids))
        if known is None:
            start = len(self._ids)
            self._ids += ids
            # The tuple is kept, so its id stays its own.
            known = self._places[id(ids)] = (ids, np.arange(start, len(self._ids), dtype=np.int64))
        if texts:
            first = len(self._values)
            self._texts |= {first + n: text for n, text in enumerate(texts) if text is not None}
        self._runs.append(known[1])
        self._sizes.append(len(ids))
        self._at.append((device_at, at))
        self._values += values
        self._flags += flags
        self._resent.append(resent)

    def reject(self, row: int, deviation: Deviation, raw: bytes) -> None:
        """A frame, or a reading of one, that does not count, with the frame's bytes for a person to look at."""
        self._rejects.append(
            {
                "row": row,
                "code": deviation.code,
                "detail": deviation.detail,
                "raw": json.dumps({"frame": raw.decode("latin-1")}),
            }
        )

    def batch(self, protocol: str, received_at: datetime) -> Batch:
        """The batch; every row carries the instant at which the host received it."""
        size = len(self._values)
        sizes = np.array(self._sizes, dtype=np.int64)
        times = np.repeat(np.array(self._at, dtype=np.int64).reshape(-1, 2), sizes, axis=0)
        places = np.concatenate(self._runs) if self._runs else np.zeros(0, np.int64)
        texts = [self._texts.get(n) for n in range(size)] if self._texts else None
        rows = pa.record_batch(
            {
                "channel_id": pa.array(self._ids, pa.string()).take(pa.array(places)),
                "device_at": pa.array(times[:, 0], pa.int64()).cast(_INSTANT),
                "at": pa.array(times[:, 1], pa.int64()).cast(_INSTANT),
                "received_at": pa.repeat(pa.scalar(received_at.astimezone(UTC), _INSTANT), size),
                "value": pa.array(self._values, pa.float64()),
                "text": pa.array(texts, pa.string()) if texts is not None else pa.nulls(size, pa.string()),
                "quality": _flags(self._flags),
                "resent": pa.array(np.repeat(np.array(self._resent, dtype=bool), sizes)),
            },
            schema=READING,
        )
        rejects = pa.RecordBatch.from_pylist(self._rejects, schema=REJECT_SCHEMA) if self._rejects else None
        return Batch("reading", rows, SourceRef(f"device:{protocol}"), rejects)


def _flags(flags: list[str]) -> pa.Array:
    column = pa.array(flags, pa.string())
    return pc.if_else(pc.equal(column, ""), None, column)


def reading_batch(
    protocol: str,
    frames: Sequence[Frame],
    received_at: datetime,
    offsets: Mapping[str, timedelta] | None,
    refuse: frozenset[str] = frozenset(),
    *,
    polled: bool = False,
) -> Batch:
    """Rows of `reading` from frames of any codec.

    Args:
        refuse: codes of deviations whose frames do not count.
        polled: a reading without a time was read just now: the instant of reception is its time.
    """
    columns = ReadingColumns()
    now = micros(received_at)
    for row, frame in enumerate(frames, 1):
        bad = next((d for d in frame.deviations if d.code in refuse), None)
        if bad is not None:
            columns.reject(row, bad, frame.raw)
            continue
        offset = (offsets or {}).get(frame.device_id, timedelta()) // _ONE
        for reading in frame.readings:
            if reading.at is not None:
                at = micros(reading.at)
                corrected = at + offset
            elif polled:
                at = corrected = now  # it states no time: nothing to correct
            else:
                columns.reject(row, Deviation("time_missing", f"{reading.code} has no time"), frame.raw)
                continue
            ids = (reading.channel_id(frame.device_id),)
            columns.add(ids, at, corrected, (reading.value,), (reading.quality,), (reading.text,))
    return columns.batch(protocol, received_at)


def channel_batch(protocol: str, rows: Iterable[Mapping[str, Any]]) -> Batch:
    """Rows of `channel`; one for each id, columns that are not named are null."""
    unique = {row["channel_id"]: {"protocol": protocol, **row} for row in rows}
    return Batch(
        "channel", pa.RecordBatch.from_pylist(list(unique.values()), schema=CHANNEL), SourceRef(f"device:{protocol}")
    )


def channel_row(device_id: str, reading: Reading, **known: Any) -> dict[str, Any]:
    """The row of one reading's channel; empty texts become null."""
    return {
        "channel_id": reading.channel_id(device_id),
        "device_id": device_id,
        "code": reading.code,
        "statistic": reading.statistic,
        "interval": reading.interval,
        "unit": reading.unit or None,
        **{name: value if value != "" else None for name, value in known.items()},
    }
