"""Hourly weather of the block's days as arrays."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_models._city import City
from dianhuan_models._stats import Array, Bools, Rows
from dianhuan_sdk import LOCAL_ZONE

COMFORT_C = (10.0, 24.0)
"""Between these daily means nobody heats or cools; outside, load follows the degrees (a judgement)."""


class Weather:
    """Table `weather` by division, day and local hour; NaN where there is no row.

    A district without any row takes the mean of the districts that have one.
    """

    def __init__(self, city: City) -> None:
        self.city = city
        table = city.context.tables.get("weather")
        divisions, self._of_row = city.codes("division")
        self._place = {d: i for i, d in enumerate(divisions)}
        self.table = table if table is not None and table.num_rows else None
        if self.table is None:
            return
        at = pc.cast(self.table.column("at"), pa.timestamp("us", "UTC"))
        local = pc.local_timestamp(pc.cast(at, pa.timestamp("us", str(LOCAL_ZONE)))).combine_chunks()
        stamps = local.to_numpy(zero_copy_only=False).astype("datetime64[h]")
        first = np.datetime64(city.days[0], "h")
        self._hour = (stamps - first).astype(np.int64)
        names = self.table.column("division").to_pylist()
        self._district = np.array([self._place.get(n, -1) for n in names], dtype=np.int64)
        self._inside = (self._hour >= 0) & (self._hour < 24 * len(city.days))

    @property
    def known(self) -> bool:
        """True where the table has rows."""
        return self.table is not None

    def hourly(self, name: str) -> Array:
        """Shape (divisions, days · 24)."""
        size = 24 * len(self.city.days)
        out = np.full((max(len(self._place), 1), size), np.nan)
        if self.table is None or name not in self.table.column_names:
            return out
        values = np.asarray(
            pc.cast(self.table.column(name), pa.float64()).combine_chunks().to_numpy(zero_copy_only=False)
        )
        own = self._inside & (self._district >= 0)
        out[self._district[own], self._hour[own]] = values[own]
        seen = self._inside & ~np.isnan(values)
        count = np.bincount(self._hour[seen], minlength=size)
        total = np.bincount(self._hour[seen], values[seen], minlength=size)
        with np.errstate(invalid="ignore", divide="ignore"):
            common = np.where(count > 0, total / count, np.nan)
        empty = np.isnan(out).all(axis=1)
        out[empty] = common
        return out

    def district(self, rows: Rows) -> Rows:
        """Index into the first axis of `hourly` for some rows."""
        return np.asarray(self._of_row[rows])

    @cached_property
    def degrees(self) -> Array:
        """Shape (divisions, days, 2): degrees of the daily mean above and below comfort; NaN where unknown."""
        temp = self.hourly("temp_c").reshape(-1, len(self.city.days), 24)
        seen = ~np.isnan(temp)
        with np.errstate(invalid="ignore"):
            mean = np.where(seen, temp, 0).sum(axis=2) / seen.sum(axis=2)
        return np.stack([np.maximum(mean - COMFORT_C[1], 0), np.maximum(COMFORT_C[0] - mean, 0)], axis=2)

    def complete(self, values: Array) -> Bools:
        """Shape (divisions,): at least nine of ten hours of the window are known."""
        return np.asarray((~np.isnan(values)).mean(axis=-1) >= 0.9)
