"""What the tests of the SDK share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dianhuan_sdk import Batch, InputError, TableContract
from dianhuan_sdk.tabular import Mapping, parse_mapping, read_file
from dianhuan_standards import TABLES


@dataclass
class Outcome:
    """All that a file gave: rows of all batches, rejects, and the error that ended it."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    rejects: list[dict[str, Any]] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    error: InputError | None = None

    @property
    def codes(self) -> list[tuple[int, str]]:
        return [(r["row"], r["code"]) for r in self.rejects]

    def curves(self) -> dict[tuple[str, str], np.ndarray]:
        """(metering point, day) → 96 kW, NaN = missing."""
        return {
            (row["metering_point_id"], str(row["day"])): np.array(row["kw"] or [None] * 96, dtype=float)
            for row in self.rows
        }


def gather(batches: Iterator[Batch]) -> Outcome:
    out = Outcome()
    try:
        for batch in batches:
            out.batches.append(batch)
            out.rows += batch.rows.to_pylist()
            if batch.rejects is not None:
                out.rejects += batch.rejects.to_pylist()
    except InputError as error:
        out.error = error
    return out


@pytest.fixture
def load_curve() -> TableContract:
    return TABLES["load_curve"]


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Outcome]:
    """Write bytes or text under a name and read them back by a mapping."""

    def run(
        content: bytes | str | Path,
        mapping: dict[str, Any] | Mapping | None = None,
        table: str = "load_curve",
        name: str = "file.csv",
        encoding: str = "utf-8",
    ) -> Outcome:
        if isinstance(content, Path):
            path = content
        else:
            path = tmp_path / name
            path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        form = parse_mapping(mapping, "the test") if isinstance(mapping, dict) else mapping
        return gather(read_file(path, form, TABLES[table]))

    return run


@pytest.fixture
def wide_text() -> Callable[..., str]:
    """A wide file: `rows` are (metering point, day, values)."""

    def make(rows: list[tuple[str, str, list[Any]]], delimiter: str = ",", names: list[str] | None = None) -> str:
        names = names or [f"P{i}" for i in range(1, 97)]
        lines = [delimiter.join(["计量点编号", "日期", *names])]
        lines += [delimiter.join([m, d, *("" if v is None else str(v) for v in vs)]) for m, d, vs in rows]
        return "\n".join(lines) + "\n"

    return make


@pytest.fixture
def measured() -> Callable[[str], Path]:
    """A measured data set; skips where the shared data is absent."""

    def find(name: str) -> Path:
        root = Path(__file__).resolve().parents[3]
        path = root.parent / "shared" / "data" / name
        if not path.exists():
            pytest.skip(f"measured data not here: ../shared/data/{name}")
        return path

    return find
