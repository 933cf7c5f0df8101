"""The city as a plain export: one wide UTF-8 file a day, all registers beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from dianhuan_simulator._files import Written, write_aside, write_registers

if TYPE_CHECKING:
    from dianhuan_simulator.city import City

REGISTER_FILES = (
    "entity",
    "metering_point",
    "account_link",
    "permit",
    "acceptance",
    "filed_report",
    "order",
    "outage",
    "weather",
)
POINT_COLUMNS = tuple(f"T{i * 15 // 60:02d}{i * 15 % 60:02d}" for i in range(1, 97))
"""T0015 … T2400: the name is the end of the interval."""

SCHEMA = pa.schema(
    [("metering_point_id", pa.string()), ("day", pa.date32()), *((name, pa.float64()) for name in POINT_COLUMNS)]
)


def write_generic(
    city: City,
    out: Path,
    days: Sequence[date] | None = None,
    progress: Callable[[date], None] | None = None,
    parquet: bool = False,
) -> Written:
    """Write days of the city, after all corrections, as `curves/load_YYYYMMDD.csv` (or `.parquet`), primary-side kW.

    Rows without a single reading are left out; an empty cell is a missing point.

    Raises:
        InputError: a day is not of the city's run.
    """
    folder = out / "curves"
    folder.mkdir(parents=True, exist_ok=True)
    tables = city.registers()
    written = write_registers(city, out, {name: tables[name] for name in REGISTER_FILES})
    for day in city.days if days is None else days:
        path = folder / f"load_{day:%Y%m%d}.{'parquet' if parquet else 'csv'}"
        ids, at = city.point_ids, 0
        with write_aside(path) as file:
            sink = (
                pa.parquet.ParquetWriter(file, SCHEMA, compression="zstd")
                if parquet
                else pa.csv.CSVWriter(file, SCHEMA, write_options=pa.csv.WriteOptions(quoting_style="none"))
            )
            with sink:
                for kw in city.day_blocks(day):
                    sink.write_table(_table(ids[at : at + len(kw)], day, kw))
                    at += len(kw)
        written.add(path)
        if progress is not None:
            progress(day)
    return written


def _table(ids: np.ndarray, day: date, kw: np.ndarray) -> pa.Table:
    rows = np.flatnonzero(~np.isnan(kw).all(axis=1))
    values = np.round(kw[rows].astype(np.float64), 4)
    columns = [pa.array(values[:, i], from_pandas=True) for i in range(96)]
    points = pa.array(ids[rows], pa.int64()).cast(pa.string())
    return pa.table([points, pa.array([day] * len(rows), pa.date32()), *columns], schema=SCHEMA)
