"""Writing files: beside their place first, then renamed, so that a reader never sees half of one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

if TYPE_CHECKING:
    from dianhuan_simulator.city import City


@contextmanager
def write_aside(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name when it is complete."""
    aside = path.with_name(path.name + ".part")
    with aside.open("wb") as file:
        yield file
    os.replace(aside, path)


@dataclass
class Written:
    """The files of a run and their bytes."""

    files: list[Path] = field(default_factory=list)
    bytes: int = 0

    def add(self, path: Path) -> None:
        """Count a file."""
        self.files.append(path)
        self.bytes += path.stat().st_size

    def text(self, path: Path, lines: Sequence[str], encoding: str) -> None:
        """Write lines of text."""
        with write_aside(path) as file:
            file.write(("\n".join(lines) + "\n").encode(encoding))
        self.add(path)

    def table(self, path: Path, table: pa.Table) -> None:
        """Write a table as UTF-8 CSV with the contract's names; instants with the offset of Asia/Shanghai."""
        columns = [_printable(table.column(name)) for name in table.column_names]
        with write_aside(path) as file:
            pa.csv.write_csv(
                pa.table(columns, names=table.column_names),
                file,
                pa.csv.WriteOptions(quoting_style="needed"),
            )
        self.add(path)


def _printable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_timestamp(column.type):
        return column
    return pc.strftime(column.cast(pa.timestamp("s", "Asia/Shanghai")), "%Y-%m-%dT%H:%M:%S+08:00")


def write_registers(city: City, out: Path, tables: Mapping[str, pa.Table]) -> Written:
    """`registers/TABLE.csv` for these tables, and `truth.csv`."""
    folder, written = out / "registers", Written()
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        written.table(folder / f"{name}.csv", table)
    written.table(out / "truth.csv", city.truth())
    return written
