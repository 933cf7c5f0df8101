"""What commands print: JSON Lines for machines with nothing else on stdout, tables for people, progress on stderr."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

Row = Mapping[str, Any]
_WIDE = 200  # where stdout is no terminal, lines are cut for nobody


def console() -> Console:
    """A console on stdout, wide where stdout is no terminal."""
    narrow = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(file=sys.stdout, width=None if narrow else _WIDE, highlight=False, soft_wrap=False)


def emit(
    data: Row | Iterable[Row],
    *,
    as_json: bool,
    columns: Mapping[str, str] | None = None,
    title: str = "",
) -> None:
    """Print one object, or any number of rows.

    Args:
        data: a mapping is one object; anything else is rows.
        as_json: one JSON object a line; otherwise a table.
        columns: key → heading of the table's columns, in order; all keys of the first row by default.
        title: stands above the table.
    """
    if isinstance(data, Mapping):
        if as_json:
            print(to_json(data))
        else:
            console().print(_object(data, columns, title))
        return
    if as_json:
        for row in data:
            print(to_json(row))
        return
    rows = list(data)
    console().print(_table(rows, columns or {key: key for key in (rows[0] if rows else ())}, title))


def to_json(value: object) -> str:
    """One line of JSON: dates in ISO 8601, no number that is not one (NaN is null), Chinese as it is."""
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)


@contextlib.contextmanager
def progress(label: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
    """A progress bar on stderr for work that may take above two seconds; silent where stderr is no terminal.

    Args:
        label: words beside the bar.
        total: how much there is, None where nobody knows.

    Yields:
        a function that takes how much more is done.
    """
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    bar = Progress(
        *columns,
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task(label, total=total)
        yield lambda amount: bar.advance(task, amount)


def _table(rows: list[Row], columns: Mapping[str, str], title: str) -> Table:
    table = Table(title=title or None, title_justify="left", show_edge=False, pad_edge=False)
    for heading in columns.values():
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(key)) for key in columns))
    return table


def _object(data: Row, columns: Mapping[str, str] | None, title: str) -> Table:
    table = Table(title=title or None, title_justify="left", show_header=False, show_edge=False, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")
    for key, heading in (columns or {key: key for key in data}).items():
        table.add_row(heading, _cell(data.get(key)))
    return table


def _cell(value: object) -> Any:
    from rich.text import Text

    if value is None:
        words = ""
    elif isinstance(value, bool):
        words = "✓" if value else "–"
    elif isinstance(value, (list, tuple)) and not any(isinstance(v, (Mapping, list, tuple)) for v in value):
        words = ", ".join(str(v) for v in value)
    elif isinstance(value, (Mapping, list, tuple)):
        words = json.dumps(_plain(value), ensure_ascii=False, indent=1)
    else:
        words = str(_plain(value))
    return Text(words)  # never markup: a name may hold square brackets


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v) for v in value]
    if isinstance(value, bool) or value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return _plain(value.tolist())
    return str(value)
