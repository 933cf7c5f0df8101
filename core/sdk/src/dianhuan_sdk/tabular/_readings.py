"""Readings gathered into civil days of 96 quarter hours, with summer time folded and energy kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from dianhuan_sdk.contracts import POINTS_PER_DAY
from dianhuan_sdk.errors import InputError
from dianhuan_sdk.tabular._civil import DAY_SECONDS, civil_zone, day_seconds, is_ambiguous, local_seconds, to_instants
from dianhuan_sdk.tabular._curve import curve_batches, kilo_factor
from dianhuan_sdk.tabular._frame import Bools, IntArray, Rejects
from dianhuan_sdk.tabular._mapping import Curve
from dianhuan_sdk.tabular._values import zone_of

Doubles = np.ndarray[Any, np.dtype[np.float64]]
Codes = np.ndarray[Any, np.dtype[np.int32]]

STEPS = (1, 5, 10, 15, 30, 60)
_QUARTER = 900
_CHUNK = 2_000_000
_BATCH_ROWS = 65_536


@dataclass
class _Part:
    codes: Codes
    seconds: IntArray
    absolute: Bools
    values: Doubles
    rows: IntArray

    def pick(self, which: Any) -> _Part:
        return _Part(*(a[which] for a in (self.codes, self.seconds, self.absolute, self.values, self.rows)))


class Readings:
    """Collects readings of many meters, then gives them out as days.

    A reading is (meter, stamp, value in the mapping's unit, row). Stamps may come in any order; an hour that comes
    twice on the wall clock is told apart by the order in the file. The same reading again replaces the earlier one.
    """

    def __init__(self, curve: Curve) -> None:
        self._curve = curve
        self._zone = zone_of(curve.zone)
        self._civil = civil_zone(self._zone, zone_of(curve.civil_zone) if curve.civil_zone else None)
        self._names: dict[str, int] = {}
        self._parts: list[_Part] = []

    def codes(self, meters: pa.Array) -> Codes:
        """A number for each meter name."""
        distinct = meters.dictionary_encode()
        own = [self._names.setdefault(name, len(self._names)) for name in distinct.dictionary.to_pylist()]
        codes: Codes = np.asarray(own, dtype=np.int32)[distinct.indices.to_numpy(zero_copy_only=False)]
        return codes

    def add(self, codes: Codes, seconds: IntArray, absolute: Bools, values: Doubles, rows: IntArray) -> None:
        """Readings: stamps are seconds of the epoch where `absolute`, else of the wall clock."""
        self._parts.append(_Part(codes, seconds, absolute, values, rows))

    def days(self, rejects: Rejects) -> Iterator[pa.RecordBatch]:
        """The days, in order of meters as they came and of days; readings that fit no day go to `rejects`."""
        if not self._parts:
            return
        parts, self._parts = self._parts, []
        whole = _Part(*(np.concatenate(c) for c in zip(*(vars(p).values() for p in parts), strict=True)))
        parts.clear()
        if not len(whole.codes):
            return
        step = self._curve.interval_minutes or _common_step(whole)
        order = np.argsort(whole.codes, kind="stable")
        starts = np.flatnonzero(np.diff(whole.codes[order], prepend=-1))
        names = list(self._names)
        begin = 0
        for end in (*starts[1:], len(order)):
            # Whole meters only; as many as make a chunk.
            if end - begin < _CHUNK and end != len(order):
                continue
            yield from self._chunk(whole.pick(order[begin:end]), step, names, rejects)
            begin = end

    def _chunk(self, part: _Part, step: int, names: list[str], rejects: Rejects) -> Iterator[pa.RecordBatch]:
        part = self._instants(part, rejects)
        order = np.lexsort((part.seconds, part.codes))
        part = part.pick(order)
        steps = np.full(len(names), step) if self._curve.interval_minutes else _steps(part, step, len(names))
        minutes = steps[part.codes]
        if self._curve.stamp != "interval_start":
            part.seconds = part.seconds - minutes * 60
        part = self._last_of_each(part, rejects)
        minutes = steps[part.codes]
        factors = np.array([kilo_factor(self._curve.unit, m) for m in STEPS])
        part.values = part.values * factors[np.searchsorted(STEPS, minutes)]
        yield from self._fold(part, minutes, names)

    def _instants(self, part: _Part, rejects: Rejects) -> _Part:
        walls = part.seconds.copy()
        if self._curve.stamp == "interval_end_same_day":
            walls[(walls % DAY_SECONDS == 0) & ~part.absolute] += DAY_SECONDS
        ambiguous = is_ambiguous(walls, self._zone) & ~part.absolute
        second: Bools = np.zeros(len(walls), dtype=bool)
        if ambiguous.any():
            at = np.flatnonzero(ambiguous)
            at = at[np.lexsort((at, walls[at], part.codes[at]))]
            same = (np.diff(walls[at], prepend=-1) == 0) & (np.diff(part.codes[at], prepend=-1) == 0)
            second[at] = same
        instants, skipped = to_instants(walls, self._zone, second, self._curve.stamp != "interval_start")
        skipped &= ~part.absolute
        for i in np.flatnonzero(skipped):
            words = f"the clock of {self._curve.zone} skips this time; state the zone that the stamps are written in"
            rejects.add(int(part.rows[i]), "nonexistent_time", words, _raw(walls[i], part.values[i]))
        part.seconds = np.where(part.absolute, part.seconds, instants)
        return part.pick(~skipped) if skipped.any() else part

    @staticmethod
    def _last_of_each(part: _Part, rejects: Rejects) -> _Part:
        again = (np.diff(part.seconds) == 0) & (np.diff(part.codes) == 0)
        if not again.any():
            return part
        replaced = np.append(again, False)
        for i in np.flatnonzero(replaced & (part.values != np.append(part.values[1:], 0.0)) & ~np.isnan(part.values)):
            words = "another reading of the same meter and time stands further down and counts instead"
            rejects.add(int(part.rows[i]), "duplicate_reading", words, _raw(part.seconds[i], part.values[i]))
        return part.pick(~replaced)

    def _fold(self, part: _Part, minutes: IntArray, names: list[str]) -> Iterator[pa.RecordBatch]:
        local = local_seconds(part.seconds, self._civil)
        day = local // DAY_SECONDS
        pair = part.codes.astype(np.int64) * (1 << 32) + (day + (1 << 31))
        keys, first, at = np.unique(pair, return_index=True, return_inverse=True)
        codes, days = keys >> 32, (keys & ((1 << 32) - 1)) - (1 << 31)
        rows = np.full(len(keys), np.iinfo(np.int64).max)
        np.minimum.at(rows, at, part.rows)
        values = _slots(part, minutes, at, len(keys), self._civil)
        lengths = day_seconds(days, self._civil)
        points = lengths // (np.maximum(minutes[first], 15) * 60)
        meters = np.array(names, dtype=object)
        for start in range(0, len(keys), _BATCH_ROWS):
            cut = slice(start, start + _BATCH_ROWS)
            yield from curve_batches(
                pa.array(meters[codes[cut]], pa.string()),
                pa.array(days[cut].astype(np.int32), pa.date32()),
                values[cut].astype(np.float32),
                pa.array(points[cut].astype(np.int32)),
                pa.nulls(len(keys[cut]), pa.float64()),
                pa.array(rows[cut]),
            )


def _slots(part: _Part, minutes: IntArray, at: IntArray, count: int, zone: Any) -> Doubles:
    """kW of (days, 96): readings shorter than a quarter hour are averaged, longer ones hold for their whole time,
    and quarter hours that come twice on a day are added up, so that the sum of the slots is the day's energy."""
    given = ~np.isnan(part.values)
    value, at, step = part.values[given], at[given], minutes[given]
    repeats = np.maximum(step // 15, 1)
    instants = np.repeat(part.seconds[given], repeats)
    offsets = np.arange(len(instants)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    instants = instants + offsets * _QUARTER
    value, at = np.repeat(value, repeats), np.repeat(at, repeats)
    quarter = instants // _QUARTER
    if (step < 15).any():
        order = np.lexsort((quarter, at))
        quarter, at, value = quarter[order], at[order], value[order]
        new = np.flatnonzero((np.diff(quarter, prepend=-1) != 0) | (np.diff(at, prepend=-1) != 0))
        counts = np.diff(np.append(new, len(value)))
        value = np.add.reduceat(value, new) / counts if len(new) else value
        quarter, at = quarter[new], at[new]
    slot = local_seconds(quarter * _QUARTER, zone) % DAY_SECONDS // _QUARTER
    cell = at * POINTS_PER_DAY + slot
    size = count * POINTS_PER_DAY
    total: Doubles = np.bincount(cell, weights=value, minlength=size).astype(np.float64)
    total[np.bincount(cell, minlength=size) == 0] = np.nan
    return total.reshape(count, POINTS_PER_DAY)


def _steps(part: _Part, common: int, meters: int) -> IntArray:
    """Minutes between the readings of each meter: its own most frequent step, else the file's."""
    same = np.diff(part.codes) == 0
    gaps = np.diff(part.seconds)[same] // 60
    owner = part.codes[1:][same]
    counts = np.stack([np.bincount(owner[gaps == s], minlength=meters) for s in STEPS], axis=1)
    return np.where(counts.any(axis=1), np.array(STEPS)[counts.argmax(axis=1)], common)


def _common_step(part: _Part) -> int:
    order = np.lexsort((part.seconds, part.codes))[: 4 * _CHUNK]
    gaps = np.diff(part.seconds[order])[np.diff(part.codes[order]) == 0] // 60
    counts = [(gaps == s).sum() for s in STEPS]
    if not any(counts):
        shown = f"{int(np.median(gaps))} min" if len(gaps) else "one reading a meter"
        raise InputError(
            f"no interval between readings can be told ({shown})",
            expected="readings every 1, 5, 10, 15, 30 or 60 min",
            hint="set curve.interval_minutes",
        )
    return STEPS[int(np.argmax(counts))]


def _raw(seconds: int, value: float) -> str:
    stamp = np.datetime64(int(seconds), "s")
    return f'{{"stamp": "{stamp}", "value": {"null" if np.isnan(value) else repr(float(value))}}}'
