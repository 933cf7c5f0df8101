"""The city as State Grid Hunan would hand it over: GB18030 files a day, registers beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from dianhuan_simulator._block import Block, Surroundings
from dianhuan_simulator._digits import lines
from dianhuan_simulator._files import Written, write_aside, write_registers
from dianhuan_simulator._meters import PV_FULL, PV_SURPLUS
from dianhuan_simulator._people import NEVER
from dianhuan_simulator._random import Ints, Purpose, stream
from dianhuan_simulator._registers import (
    addresses,
    asset_numbers,
    contract_on,
    entity_names,
    grid_names,
    industries,
    outage_rows,
)

if TYPE_CHECKING:
    from dianhuan_simulator.city import City

ENCODING = "gb18030"
ARCHIVE_COLUMNS = (
    "户号,户名,统一社会信用代码,用电地址,区县代码,行业分类,用电类别,合同容量,运行容量,电压等级,计量点编号,电表资产号,"
    "综合倍率,所属线路,所属台区,上网方式,立户日期,销户日期,状态,关联生效日期,关联失效日期"
)
CURVE_COLUMNS = "户号,计量点编号,电表资产号,日期,综合倍率,数据类型," + ",".join(f"P{i}" for i in range(1, 97))
OUTAGE_COLUMNS = "停电编号,线路编号,台区编号,停电类型,停电时间,复电时间,停电原因"
LONGEST_LAG = 4
"""Days after which no correction of a day comes."""

REGISTER_FILES = ("entity", "permit", "acceptance", "filed_report", "order", "weather")
_CATEGORIES = {"commercial": ("一般工商业", "商业"), "agricultural": ("农业生产",), "residential": ("居民生活",)}
_PV_WORDS = {PV_SURPLUS: "余额上网", PV_FULL: "全额上网"}
_VOLTAGES = {0.22: "交流220V", 0.38: "交流380V", 10.0: "交流10kV", 35.0: "交流35kV"}


@dataclass
class _DayLines:
    """One block's part of a day: lines of the curve file, and of later correction files by lag."""

    curve: bytes
    corrections: dict[int, bytes] = field(default_factory=dict)


def _block_day(city: City, block: Block, around: Surroundings) -> _DayLines:
    report = block.report(around)
    if city.inside(block) < len(block.folk.kw):
        mine = city.rows_inside(block, report.rows)
    else:
        mine = np.ones(len(report.rows), dtype=bool)
    prefix = block.prefixes(report.rows, around.offset)
    first = report.cells.copy()
    first[report.first_rows] = report.first_cells
    sent = np.flatnonzero(mine & ~report.absent)
    again = report.repeated[mine[report.repeated] & ~report.absent[report.repeated]]
    sent = np.concatenate([sent, again]) if len(again) else sent
    out = _DayLines(lines(prefix[sent], first[sent]))
    for lag in range(1, LONGEST_LAG + 1):
        rows = np.flatnonzero(mine & (report.lag == lag))
        if len(rows):
            out.corrections[lag] = lines(prefix[rows], report.cells[rows])
    return out


def _parts(city: City, day: date) -> Iterator[_DayLines]:
    """The blocks of a day in order, made by two threads with at most four waiting."""
    around, blocks = city.around(day), city.blocks
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(_block_day, city, b, around) for b in blocks[:4]]
        for number in range(len(blocks)):
            part = waiting.pop(0).result()
            if number + 4 < len(blocks):
                waiting.append(pool.submit(_block_day, city, blocks[number + 4], around))
            yield part


def write_hunan(
    city: City, out: Path, days: Sequence[date] | None = None, progress: Callable[[date], None] | None = None
) -> Written:
    """Write days of the city in the Hunan form, with registers and truth.

    The first day's archive is whole, later ones hold the rows that changed that day. A day alone has the same bytes
    as in a run: the days whose corrections reach it are made again without being written.

    Args:
        city: the city.
        out: folder, made where it is missing: `grid/`, `registers/`, `truth.csv`.
        days: days in ascending order, all of the run if None.
        progress: called after each day.

    Raises:
        InputError: a day is not of the city's run.
    """
    wanted = list(city.days if days is None else days)
    grid = out / "grid"
    grid.mkdir(parents=True, exist_ok=True)
    tables = city.registers()
    links = tables["account_link"]
    shared = {"account_link": links.filter(pc.is_valid(links["share"]))}
    written = write_registers(city, out, {name: tables[name] for name in REGISTER_FILES} | shared)
    pending: dict[date, list[bytes]] = {}
    for day in _with_lead(city, wanted):
        tag = f"{day:%Y%m%d}"
        if day in wanted:
            with write_aside(grid / f"curve_{tag}.csv") as file:
                file.write((CURVE_COLUMNS + "\n").encode(ENCODING))
                for part in _parts(city, day):
                    file.write(part.curve)
                    _keep(pending, day, part)
            written.add(grid / f"curve_{tag}.csv")
            _write_small(city, grid, day, pending.pop(day, []), written)
            if progress is not None:
                progress(day)
        else:
            for part in _parts(city, day):
                _keep(pending, day, part)
            pending.pop(day, None)
    return written


def _with_lead(city: City, wanted: list[date]) -> list[date]:
    lead = {day - timedelta(days=lag) for day in wanted for lag in range(LONGEST_LAG + 1)}
    for day in wanted:
        city.offset(day)
    return sorted(day for day in lead if day >= city.config.start)


def _keep(pending: dict[date, list[bytes]], day: date, part: _DayLines) -> None:
    for lag, text in part.corrections.items():
        pending.setdefault(day + timedelta(days=lag), []).append(text)


def _write_small(city: City, grid: Path, day: date, corrections: list[bytes], written: Written) -> None:
    tag, offset = f"{day:%Y%m%d}", city.offset(day)
    archive = [line for block in city.blocks for line in archive_lines(city, block, offset)]
    if archive:
        written.text(grid / f"archive_{tag}.csv", [ARCHIVE_COLUMNS, *archive], ENCODING)
    if corrections:
        with write_aside(grid / f"correct_{tag}.csv") as file:
            file.write((CURVE_COLUMNS + "\n").encode(ENCODING))
            file.writelines(corrections)
        written.add(grid / f"correct_{tag}.csv")
    outages = [
        f"{row['outage_id']},{row['feeder_id']},,{'计划停电' if row['kind'] == 'planned' else '故障停电'},"
        f"{row['starts_at']:%Y-%m-%d %H:%M},{row['ends_at']:%Y-%m-%d %H:%M},{row['reason']}"
        for block in city.blocks
        for row in outage_rows(city, block, [day])
    ]
    written.text(grid / f"outage_{tag}.csv", [OUTAGE_COLUMNS, *outages], ENCODING)


def archive_lines(city: City, block: Block, offset: int) -> list[str]:
    """Archive rows of a block on a day: all on the first day, afterwards those that changed; as known that day."""
    p = block.points
    known = city.rows_inside(block, np.arange(len(p.owner))) & ~p.unlisted & (p.listed <= offset)
    moving = (
        p.moved
        if city.inside(block) == len(block.folk.kw)
        else np.where(p.next_owner < city.inside(block), p.moved, NEVER)
    )
    left = np.minimum(p.moved, p.closed)
    if offset == 0:
        current = known & (p.moved > 0) & (p.closed > -30)
        passed = np.flatnonzero(known & (moving <= 0))
        rows = np.flatnonzero(current)
    else:
        changed = (p.listed == offset) | (left == offset) | (p.swapped == offset) | (p.raised == offset)
        rows = np.flatnonzero(known & changed)
        passed = np.flatnonzero(known & ((moving == offset) | (changed & (moving < offset))))
        still = p.moved[rows] >= offset
        rows = rows[still]
    out = _archive_rows(city, block, rows, offset, p.owner[rows], p.opened[rows])
    out += _archive_rows(city, block, passed, offset, p.next_owner[passed], p.moved[passed])
    if offset == 0 and out:
        rng = stream(city.seed, Purpose.REGISTER, block.number, 1)
        out += [out[i] for i in np.flatnonzero(rng.random(len(out)) < city.knobs.dirty.repeated_archive_row).tolist()]
    return out


def _archive_rows(city: City, block: Block, rows: Ints, offset: int, owner: Ints, since: Ints) -> list[str]:
    if len(rows) == 0:
        return []
    p, start = block.points, city.config.start

    def day(value: int) -> str:
        return (start + timedelta(days=value)).isoformat() if value <= offset else ""

    feeders, areas = grid_names(city, block, rows)
    contract = contract_on(p, rows, offset)
    leaves = np.where(owner == p.owner[rows], np.minimum(p.moved[rows], p.closed[rows]), p.closed[rows])
    fields = zip(
        p.account[rows].tolist(),
        _file_names(city.knobs.place.city, entity_names(city, block, owner), p.mismatch[rows].tolist()),
        np.where(p.no_code[rows], b"", block.folk.uscc[owner]).astype(str).tolist(),
        addresses(city, block, owner),
        [city.divisions[d] for d in block.folk.division[owner].tolist()],
        industries(city, block, owner),
        _categories(city, block, rows, contract.tolist()),
        [f"{c:g}" for c in contract.tolist()],
        [_VOLTAGES[round(v, 2)] for v in p.voltage[rows].tolist()],
        p.point[rows].tolist(),
        asset_numbers(p, rows, offset),
        p.multiplier_on(offset)[rows].tolist(),
        feeders,
        areas,
        [_PV_WORDS.get(m, "无") for m in p.pv[rows].tolist()],
        [(start + timedelta(days=o)).isoformat() for o in p.opened[rows].tolist()],
        [day(c) for c in p.closed[rows].tolist()],
        ["销户" if c <= offset else "在用" for c in p.closed[rows].tolist()],
        [(start + timedelta(days=s)).isoformat() for s in since.tolist()],
        [day(e) for e in leaves.tolist()],
        strict=True,
    )
    return [
        f"{account},{name},{code},{address},{division},{industry},{category},{kva},{kva},{volt},{point},{asset},{mult},"
        f"{feeder},{area},{pv},{opened},{closed},{state},{valid_from},{valid_to}"
        for (
            account, name, code, address, division, industry, category, kva, volt, point, asset, mult,
            feeder, area, pv, opened, closed, state, valid_from, valid_to,
        ) in fields
    ]  # fmt: skip


def _file_names(place: str, right: list[str], mismatch: list[bool]) -> list[str]:
    """Names as the grid company has them: some without the city's name, some with a suffix of their own."""
    return [
        (name.removeprefix(place) if len(name) % 2 else name + "(老厂)") if wrong else name
        for name, wrong in zip(right, mismatch, strict=True)
    ]


def _categories(city: City, block: Block, rows: Ints, contract: list[float]) -> list[str]:
    p = block.points
    tariffs = [city.profiles[n].tariff for n in block.folk.profile[p.owner[rows]].tolist()]
    out = []
    for tariff, kva, point in zip(tariffs, contract, p.point[rows].tolist(), strict=True):
        if tariff == "industrial":
            out.append("大工业用电" if kva >= 315 else "非普工业")
        elif tariff == "ev":
            out.append("电动汽车充电")
        else:
            words = _CATEGORIES[tariff]
            out.append(words[point % len(words)])
    return out
