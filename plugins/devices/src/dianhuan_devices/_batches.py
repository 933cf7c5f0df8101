"""Rows of `reading` and `channel` from the frames of any protocol."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

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


@dataclass(slots=True)
class ReadingColumns:
    """Columns of `reading` while they grow; frames that do not count become rejects."""

    channel_id: list[str] = field(default_factory=list)
    device_at: list[int] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    value: list[float | None] = field(default_factory=list)
    text: list[str | None] = field(default_factory=list)
    quality: list[str | None] = field(default_factory=list)
    resent: list[bool] = field(default_factory=list)
    rejects: list[dict[str, Any]] = field(default_factory=list)

    def reject(self, row: int, deviation: Deviation, raw: bytes) -> None:
        """A frame, or a reading of one, that does not count, with the frame's bytes for a person to look at."""
        self.rejects.append(
            {
                "row": row,
                "code": deviation.code,
                "detail": deviation.detail,
                "raw": json.dumps({"frame": raw.decode("latin-1")}),
            }
        )

    def batch(self, protocol: str, received_at: datetime) -> Batch:
        """The batch; every row carries the instant at which the host received it."""
        size = len(self.channel_id)
        received = pa.scalar(received_at.astimezone(UTC), _INSTANT)
        rows = pa.record_batch(
            {
                "channel_id": pa.array(self.channel_id, pa.string()),
                "device_at": pa.array(self.device_at, pa.int64()).cast(_INSTANT),
                "at": pa.array(self.at, pa.int64()).cast(_INSTANT),
                "received_at": pa.repeat(received, size),
                "value": pa.array(self.value, pa.float64()),
                "text": pa.array(self.text, pa.string()),
                "quality": pa.array(self.quality, pa.string()),
                "resent": pa.array(self.resent, pa.bool_()),
            },
            schema=READING,
        )
        rejects = pa.RecordBatch.from_pylist(self.rejects, schema=REJECT_SCHEMA) if self.rejects else None
        return Batch("reading", rows, SourceRef(f"device:{protocol}"), rejects)


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
            if reading.at is None and not polled:
                columns.reject(row, Deviation("time_missing", f"{reading.code} has no time"), frame.raw)
                continue
            at, corrected = (now, now) if reading.at is None else (micros(reading.at), micros(reading.at) + offset)
            columns.channel_id.append(reading.channel_id(frame.device_id))
            columns.device_at.append(at)
            columns.at.append(corrected)
            columns.value.append(reading.value)
            columns.text.append(reading.text)
            columns.quality.append(reading.quality or None)
            columns.resent.append(False)
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
