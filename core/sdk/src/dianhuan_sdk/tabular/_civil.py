"""Time stamps onto the civil day: zones, summer time, interval ends."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_sdk.tabular._frame import Bools, IntArray

DAY_SECONDS = 86_400
_SECONDS = pa.timestamp("s")


def civil_zone(zone: tzinfo, stated: tzinfo | None) -> tzinfo:
    """The zone that cuts the days: as stated, else a place's own, else Asia/Shanghai."""
    return stated or (zone if isinstance(zone, ZoneInfo) else ZoneInfo("Asia/Shanghai"))


def _fixed_offset(zone: tzinfo) -> int | None:
    if isinstance(zone, ZoneInfo):
        return None
    offset = zone.utcoffset(datetime(2000, 1, 1, tzinfo=UTC))
    return int(offset.total_seconds()) if offset is not None else 0


def to_instants(walls: IntArray, zone: tzinfo, second: Bools, is_end: bool) -> tuple[IntArray, Bools]:
    """Wall-clock seconds as instants.

    Args:
        walls: seconds of the wall clock since 1970-01-01 00:00 on it.
        zone: whose wall clock.
        second: rows that are the later one of an hour that comes twice.
        is_end: stamps name interval ends: an end at the start of a skipped hour is that instant.

    Returns:
        Seconds of the epoch, and the rows whose wall time does not exist there.
    """
    offset = _fixed_offset(zone)
    if offset is not None:
        return walls - offset, np.zeros(len(walls), dtype=bool)
    distinct, at = np.unique(walls, return_inverse=True)
    early, late = _both(distinct, zone)
    # Arrow names a skipped time by the seconds on both sides of the gap.
    skipped = late - early == 1
    if is_end and skipped.any():
        skipped &= local_seconds(early, zone) + 1 != distinct
    instants = np.where(second, late[at], np.where(late - early == 1, late, early)[at])
    return instants, skipped[at]


def is_ambiguous(walls: IntArray, zone: tzinfo) -> Bools:
    """Which wall times come twice."""
    if _fixed_offset(zone) is not None:
        return np.zeros(len(walls), dtype=bool)
    distinct, at = np.unique(walls, return_inverse=True)
    early, late = _both(distinct, zone)
    return np.asarray((late - early > 1)[at], dtype=bool)


def _both(walls: IntArray, zone: tzinfo) -> tuple[IntArray, IntArray]:
    stamps = pa.array(walls).cast(_SECONDS)
    early, late = (
        pc.assume_timezone(stamps, str(zone), ambiguous=side, nonexistent=side).cast(pa.int64()).to_numpy()
        for side in ("earliest", "latest")
    )
    return early, late


def local_seconds(instants: IntArray, zone: tzinfo) -> IntArray:
    """Wall-clock seconds of instants."""
    offset = _fixed_offset(zone)
    if offset is not None:
        return instants + offset
    stamps = pa.array(instants).cast(pa.timestamp("s", tz="UTC")).cast(pa.timestamp("s", tz=str(zone)))
    local: Any = pc.local_timestamp(stamps).cast(pa.int64()).to_numpy()
    return np.asarray(local, dtype=np.int64)


def day_seconds(days: IntArray, zone: tzinfo) -> IntArray:
    """Length of civil days (numbers since 1970-01-01): 86,400, or an hour less or more where the clock changes."""
    none = np.zeros(len(days), dtype=bool)
    start, _ = to_instants(days * DAY_SECONDS, zone, none, is_end=False)
    end, _ = to_instants((days + 1) * DAY_SECONDS, zone, none, is_end=False)
    return end - start
