"""An unknown file looked at: the proposed mapping, a preview, the mean day, and what is doubtful."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dianhuan_grid_generic import _guess as g
from dianhuan_grid_generic import green_button
from dianhuan_sdk import Batch, InputError
from dianhuan_sdk.tabular import Peek, Points, find_points, parse_mapping, peek_file, read_file
from dianhuan_standards import REGISTERS, TABLES

PREVIEW_ROWS = 5
WHOLE_BYTES = 256 << 20
"""Long and matrix files above this size are not read for the preview: their days need the whole file."""


@dataclass
class Report:
    """What was found; `mapping` is None where none is needed (Green Button) or no layout was recognized."""

    file: str
    kind: str
    encoding: str = ""
    delimiter: str = ""
    compression: str = "none"
    header_row: int = 1
    table: str = ""
    layout: str = ""
    unit: g.Guess | None = None
    stamp: g.Guess | None = None
    zone: g.Guess | None = None
    points: int | None = None
    meters: int | None = None
    days: int | None = None
    rows_read: int = 0
    whole: bool = True
    rejects: int = 0
    first_rejects: list[dict[str, Any]] = field(default_factory=list)
    mapping: dict[str, Any] | None = None
    doubts: list[str] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    preview: list[dict[str, Any]] = field(default_factory=list)
    mean_day: list[float | None] | None = None

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


def look(path: Path) -> Report:
    """Look at a file and propose its mapping.

    Raises:
        InputError: it is unreadable as a whole.
    """
    if path.is_file() and green_button.is_green_button(path):
        report = Report(path.name, "green_button", table="load_curve", layout="interval blocks")
        _preview(report, green_button.read_green_button(path, TABLES["load_curve"]))
        return report
    peek = peek_file(path)
    report = Report(
        path.name,
        peek.kind,
        peek.encoding,
        peek.delimiter,
        peek.compression,
        peek.header_row,
        headers=list(peek.headers),
    )
    try:
        points = find_points(peek.headers, None, path.name)
    except InputError as error:
        report.doubts.append(error.message)
        return report
    register = _register(peek)
    if points is not None:
        _wide(report, peek, points)
    elif register is not None:
        report.table, report.layout = register, "table"
    else:
        _stamped(report, peek)
    if report.layout:
        _finish(report, peek, path)
    else:
        report.doubts.append("no value columns, no time column and no register's columns: is the header there?")
    return report


def _register(peek: Peek) -> str | None:
    names = {h.strip().casefold() for h in peek.headers}
    best, most = None, 2
    for table in REGISTERS:
        found = [f for f in TABLES[table].fields if names & {n.casefold() for n in (f.name, f.zh, *f.aliases)}]
        lacking = [f for f in TABLES[table].fields if f.required and f not in found]
        if not lacking and len(found) > most:
            best, most = table, len(found)
    return best


def _multiplier(peek: Peek, report: Report) -> dict[str, Any]:
    at = g.named(peek.headers, g.MULTIPLIER_NAMES)
    if at is None:
        report.doubts.append("no multiplier column: are the values multiplied by CT × PT already? (multiplier_applied)")
        return {"multiplier_applied": True}
    name = peek.headers[at]
    report.doubts.append(f"column {name!r} is taken as not applied yet: verify with one meter's bill")
    return {"multiplier_applied": False, "multiplier": {"column": name}}


def _keep(peek: Peek, report: Report) -> dict[str, Any]:
    """Only total active power where a file carries several quantities (data type 1 in grid companies' exports)."""
    at = g.named(peek.headers, g.DATA_TYPE_NAMES)
    if at is None or "1" not in peek.columns[at]:
        return {}
    report.doubts.append(f"only rows with 1 (total active power) in {peek.headers[at]!r} are kept: verify the code")
    return {"keep": {peek.headers[at]: ["1"]}}


def _wide(report: Report, peek: Peek, points: Points) -> None:
    report.table, report.layout, report.points = "load_curve", "wide", len(points.positions)
    columns: dict[str, Any] = {}
    meter, day = g.named(peek.headers, g.METER_NAMES), g.named(peek.headers, g.DAY_NAMES)
    if meter is not None:
        columns["metering_point_id"] = peek.headers[meter]
        report.meters = len(set(peek.columns[meter]))
    else:
        report.doubts.append("no column of the metering point was recognized: name it under columns")
    if day is not None:
        columns["day"] = peek.headers[day]
        report.days = len(set(peek.columns[day]))
    else:
        report.doubts.append("no column of the day was recognized: name it under columns")
    sums, energy = None, g.named(peek.headers, g.ENERGY_NAMES)
    if energy is not None:
        columns["kwh"] = peek.headers[energy]
        sums = _sums(peek, points, energy)
    first, last = peek.headers[points.positions[0]], peek.headers[points.positions[-1]]
    report.unit = g.guess_unit("" if sums else first, sums)
    ends = "24" in last and ("00" in last)
    report.stamp = g.Guess(
        "interval_end" if ends else "interval_start",
        f"the columns run from {first} to {last}" + ("" if ends or ":" in first else ": P1 is taken as 00:00–00:15"),
    )
    curve = {"layout": "wide", "unit": report.unit.value, "stamp": report.stamp.value, **_multiplier(peek, report)}
    report.mapping = {**_keep(peek, report), "columns": columns, "curve": curve}


def _sums(peek: Peek, points: Points, energy: int) -> tuple[float, float] | None:
    area = stated = 0.0
    for i, text in enumerate(peek.columns[energy][:500]):
        try:
            values = [float(peek.columns[at][i] or "nan") for at in points.positions]
            day = float(text or "nan")
        except ValueError:
            continue
        if np.isfinite(values).all() and np.isfinite(day):
            area += sum(values) * points.minutes / 60
            stated += day
    return (area, stated) if stated else None


def _stamped(report: Report, peek: Peek) -> None:
    found = g.guess_time(peek.columns)
    if found is None:
        return
    at, form, stamps = found
    time = {"column": peek.headers[at]} | ({"format": form} if form else {})
    meter = g.named(peek.headers, [n for n in g.METER_NAMES if n != "id"])
    value = g.value_column(peek.headers, peek.columns, {at} | ({meter} if meter is not None else set()))
    series = stamps
    columns: dict[str, Any] = {}
    if meter is not None and value is not None:
        first = peek.columns[meter][0]
        texts = [t for t, m in zip(peek.columns[at], peek.columns[meter], strict=True) if m == first]
        series = g.parse_times(texts, form) or stamps
        report.meters = len(set(peek.columns[meter]))
        columns["metering_point_id"] = peek.headers[meter]
    curve: dict[str, Any] = {"layout": "long", "time": time}
    if value is not None:
        if meter is None:
            columns["metering_point_id"] = {"constant": Path(report.file).stem[:64]}
            report.meters = 1
            report.doubts.append("no meter column: the whole file is taken as one metering point, named by the file")
        curve["value"] = peek.headers[value]
        report.unit = g.guess_unit(peek.headers[value], None)
    else:
        curve["layout"] = "matrix"
        report.unit = g.guess_unit("", None)
        others = [h for i, h in enumerate(peek.headers) if i != at and h and g.is_numeric(peek.columns[i])]
        report.meters = len(others)
        if len(others) != len(peek.headers) - 1:
            curve["values"] = others
    report.table, report.layout = "load_curve", str(curve["layout"])
    report.stamp, report.zone = g.guess_stamp(series), g.guess_zone(series)
    report.days = len({s.date() for s in series})
    curve |= {"unit": report.unit.value, "stamp": report.stamp.value, "zone": report.zone.value}
    report.mapping = {"columns": columns, "curve": curve | _multiplier(peek, report)}


def _finish(report: Report, peek: Peek, path: Path) -> None:
    form: dict[str, Any] = {"table": report.table}
    if peek.kind == "csv":
        form |= {"encoding": peek.encoding, "delimiter": peek.delimiter}
        if peek.header_row > 1:
            form["header_row"] = peek.header_row
    report.mapping = form | (report.mapping or {})
    if report.layout in ("long", "matrix") and path.stat().st_size > WHOLE_BYTES:
        report.doubts.append("too large for a preview: days of such a file need all of it")
        return
    mapping = parse_mapping(report.mapping, "the proposed mapping")
    try:
        _preview(report, read_file(path, mapping, TABLES[report.table]), report.layout != "wide", peek.whole)
    except InputError as error:
        report.doubts.append(str(error))


def _preview(report: Report, batches: Iterator[Batch], all_of_it: bool = True, whole: bool = True) -> None:
    total, count = np.zeros(96), np.zeros(96)
    meters: set[str] = set()
    days: set[Any] = set()
    points: Counter[int] = Counter()
    for batch in batches:
        report.rows_read += batch.rows.num_rows
        if batch.rejects is not None:
            report.rejects += batch.rejects.num_rows
            report.first_rejects += batch.rejects.slice(0, PREVIEW_ROWS - len(report.first_rejects)).to_pylist()
        wanted = PREVIEW_ROWS - len(report.preview)
        report.preview += [_short(row) for row in batch.rows.slice(0, wanted).to_pylist()]
        if batch.table == "load_curve":
            meters.update(batch.rows.column("metering_point_id").to_pylist())
            days.update(batch.rows.column("day").to_pylist())
            points.update(batch.rows.column("points").to_pylist())
            if not batch.rows.column("kw").null_count:
                values = batch.rows.column("kw").values.to_numpy(zero_copy_only=False).reshape(-1, 96)
                total += np.nansum(values, axis=0)
                count += (~np.isnan(values)).sum(axis=0)
        if not all_of_it:
            report.whole = whole
            break
    if meters:
        report.meters, report.days = len(meters), len(days)
        report.points = points.most_common(1)[0][0]
    if count.any():
        mean = np.divide(total, count, out=np.full(96, np.nan), where=count > 0)
        report.mean_day = [None if np.isnan(v) else round(float(v), 4) for v in mean]


def _short(row: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, list):
            out[name] = [None if v is None else round(v, 3) for v in value[:4]] + ["…"]
        else:
            out[name] = value if isinstance(value, int | float | bool | None) else str(value)
    return out
