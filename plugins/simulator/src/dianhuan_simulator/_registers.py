"""The city's registers in the form of the standard tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dianhuan_sdk import LOCAL_ZONE
from dianhuan_simulator._block import Block
from dianhuan_simulator._identity import ROADS, names, persons
from dianhuan_simulator._meters import PV_FULL, PV_SURPLUS, Meters
from dianhuan_simulator._people import NEVER
from dianhuan_simulator._random import Bools, Floats, Ints, Purpose, stream
from dianhuan_standards import TABLES

if TYPE_CHECKING:
    from dianhuan_simulator.city import City

PERMIT_CLASSES = ("none", "key", "simplified", "registered")


def registers(city: City) -> dict[str, pa.Table]:
    """All register tables; the rows of metering points leave the unlisted ones out."""
    parts: dict[str, list[pa.Table]] = {}
    for block in city.blocks:
        for name, table in _block_registers(city, block).items():
            parts.setdefault(name, []).append(table)
    return {name: pa.concat_tables(tables) for name, tables in parts.items()} | {"weather": weather_table(city)}


def _table(name: str, columns: dict[str, Any]) -> pa.Table:
    schema = TABLES[name].schema
    count = len(next(iter(columns.values())))
    arrays = [pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(count, f.type) for f in schema]
    return pa.table(arrays, schema=schema)


def days_from(start: date, offsets: Ints, limit: int = NEVER) -> pa.Array:
    """Day offsets as dates; offsets of `limit` or more are null."""
    epoch = (start - date(1970, 1, 1)).days
    return pa.array((offsets + epoch).astype(np.int32), pa.int32(), mask=offsets >= limit).cast(pa.date32())


def instant(start: date, offset: int, at: time = time(0)) -> datetime:
    """A local moment of a day offset, in UTC."""
    return datetime.combine(start + timedelta(days=offset), at, LOCAL_ZONE).astimezone(UTC)


def entity_names(city: City, block: Block, rows: Ints) -> list[str]:
    """Names of these entities as the register has them."""
    f = block.folk
    places = [d.name for d in city.knobs.divisions.values()]
    nouns = [p.noun for p in city.profiles]
    return names(
        [
            city.knobs.place.city if c and n % 3 else places[d]
            for c, n, d in zip(f.company[rows].tolist(), f.code[rows].tolist(), f.division[rows].tolist(), strict=True)
        ],
        [nouns[p] for p in f.profile[rows].tolist()],
        f.company[rows].tolist(),
        f.name_picks[rows],
    )


def industries(city: City, block: Block, rows: Ints) -> list[str]:
    """GB/T 4754 codes of these entities."""
    codes = [p.codes for p in city.profiles]
    f = block.folk
    picked = zip(f.profile[rows].tolist(), f.code[rows].tolist(), strict=True)
    return [codes[p][c % len(codes[p])] for p, c in picked]


def addresses(city: City, block: Block, rows: Ints) -> list[str]:
    """Addresses of these entities."""
    f = block.folk
    places = [d.name for d in city.knobs.divisions.values()]
    where = city.knobs.place.province + city.knobs.place.city
    return [
        f"{where}{places[d]}{ROADS[c % len(ROADS)]}{c // 11 % 999 + 1}号"
        for d, c in zip(f.division[rows].tolist(), f.code[rows].tolist(), strict=True)
    ]


def _size(kw: Floats) -> list[str]:
    return [("micro", "small", "medium", "large")[i] for i in np.searchsorted([15, 150, 1500], kw).tolist()]


def _block_registers(city: City, block: Block) -> dict[str, pa.Table]:
    start, f = city.config.start, block.folk
    rows = np.arange(city.inside(block))
    ids = f.uscc.astype(str)
    division = np.array(city.divisions)[f.division[rows]]
    rng = stream(city.seed, Purpose.REGISTER, block.number)
    known = rng.random(len(f.kw)) < 0.9
    entity = _table(
        "entity",
        {
            "entity_id": ids[rows],
            "uscc": ids[rows],
            "name": entity_names(city, block, rows),
            "division": division,
            "industry": industries(city, block, rows),
            "size": _size(f.kw[rows]),
            "opened_on": days_from(start, f.opened[rows]),
            "closed_on": days_from(start, f.closed[rows], city.config.days),
            "lon": pa.array(f.lon[rows].astype(float), mask=~known[rows]),
            "lat": pa.array(f.lat[rows].astype(float), mask=~known[rows]),
            "datum": ["cgcs2000"] * len(rows),
            "address": addresses(city, block, rows),
            "contact": persons(f.contact[rows]),
            "phone": [str(p) for p in f.phone[rows].tolist()],
        },
    )
    p = block.points
    points = np.flatnonzero(
        city.rows_inside(block, np.arange(len(p.owner))) & ~p.unlisted & (p.opened < city.config.days)
    )
    return {
        "entity": entity,
        "metering_point": _metering_points(city, block, points, city.config.days - 1),
        "account_link": _links(city, block, points),
        "permit": _permits(city, block),
        "acceptance": _acceptances(city, block),
        "filed_report": _reports(city, block),
        "order": _orders(city, block),
        "outage": _outages(city, block),
    }


def grid_names(city: City, block: Block, rows: Ints) -> tuple[list[str], list[str]]:
    """Feeder and transformer ids of these metering points."""
    p = block.points
    feeder = [feeder_id(block, n) for n in p.feeder[rows].tolist()]
    return feeder, [f"T{block.number:03d}{n:04d}" for n in p.area[rows].tolist()]


def feeder_id(block: Block, number: int) -> str:
    """Id of a block's feeder."""
    return f"L{block.number:03d}{number:03d}"


def asset_numbers(p: Meters, rows: Ints, day: int) -> list[str]:
    """Meter asset numbers of these points on a day."""
    return [str(n) for n in (43_000_000_000_000 + p.point[rows] % 10**10 * 10 + (p.swapped[rows] <= day)).tolist()]


def tariff_classes(city: City, block: Block, rows: Ints) -> list[str]:
    """Tariff class of these points, by the profile of the entity that opened them."""
    classes = [q.tariff for q in city.profiles]
    return [classes[n] for n in block.folk.profile[block.points.owner[rows]].tolist()]


def contract_on(p: Meters, rows: Ints, day: int) -> Floats:
    """Contract capacity of these points on a day, kVA."""
    return np.where(p.raised[rows] <= day, p.next_contract[rows], p.contract[rows])


def _metering_points(city: City, block: Block, rows: Ints, day: int) -> pa.Table:
    p, start = block.points, city.config.start
    feeder, area = grid_names(city, block, rows)
    return _table(
        "metering_point",
        {
            "metering_point_id": [str(n) for n in p.point[rows].tolist()],
            "account_no": [str(n) for n in p.account[rows].tolist()],
            "meter_asset_no": asset_numbers(p, rows, day),
            "multiplier": p.multiplier_on(day)[rows].astype(float),
            "voltage_kv": np.round(p.voltage[rows].astype(float), 2),
            "contract_kva": contract_on(p, rows, day).astype(float),
            "tariff_class": tariff_classes(city, block, rows),
            "net_metering": np.isin(p.pv[rows], (PV_SURPLUS, PV_FULL)),
            "points_per_day": np.full(len(rows), 96, dtype=np.int32),
            "feeder_id": feeder,
            "transformer_id": area,
            "opened_on": days_from(start, p.opened[rows]),
            "closed_on": days_from(start, p.closed[rows], city.config.days),
        },
    )


def _links(city: City, block: Block, rows: Ints) -> pa.Table:
    p, start, inside = block.points, city.config.start, city.inside(block)
    ids = block.folk.uscc.astype(str)
    _, firsts = np.unique(p.account[rows], return_index=True)
    rows = rows[np.sort(firsts)]
    last = city.config.days
    own = _table(
        "account_link",
        {
            "account_no": [str(n) for n in p.account[rows].tolist()],
            "entity_id": ids[p.owner[rows]],
            "valid_from": days_from(start, p.opened[rows]),
            "valid_to": days_from(start, np.minimum(p.moved[rows], p.closed[rows]), last),
        },
    )
    passed = rows[(p.moved[rows] < last) & (p.next_owner[rows] < inside)]
    later = _table(
        "account_link",
        {
            "account_no": [str(n) for n in p.account[passed].tolist()],
            "entity_id": ids[p.next_owner[passed]],
            "valid_from": days_from(start, p.moved[passed]),
        },
    )
    return _shared(city, block, pa.concat_tables([own, later]))


def _shared(city: City, block: Block, links: pa.Table) -> pa.Table:
    """Links with the shares of landlords' accounts: half the landlord's, a quarter each of two tenants."""
    p, inside, ids = block.points, city.inside(block), block.folk.uscc.astype(str)
    share_of: dict[tuple[str, str], float] = {}
    extra: list[tuple[str, str, int]] = []
    for host, guest, _ in block.told.shares:
        if host < inside:
            row = int(p.first_of[host])
            account = str(int(p.account[row]))
            share_of[account, str(ids[host])] = 0.5
            if guest < inside:
                extra.append((account, str(ids[guest]), int(p.opened[row])))
    keys = zip(links["account_no"].to_pylist(), links["entity_id"].to_pylist(), strict=True)
    shares = pa.array([share_of.get(key) for key in keys], pa.float64())
    links = links.set_column(links.schema.get_field_index("share"), links.schema.field("share"), shares)
    if not extra:
        return links
    accounts, entities, opened = zip(*extra, strict=True)
    tenants = _table(
        "account_link",
        {
            "account_no": list(accounts),
            "entity_id": list(entities),
            "valid_from": days_from(city.config.start, np.array(opened)),
            "share": [0.25] * len(extra),
        },
    )
    return pa.concat_tables([links, tenants])


def _permits(city: City, block: Block) -> pa.Table:
    f, start = block.folk, city.config.start
    rows = np.flatnonzero(f.permit[: city.inside(block)] > 0)
    ids = f.uscc[rows].astype(str)
    since = np.minimum(-(f.code[rows] % 900) - 30, np.maximum(f.opened[rows], -1500))
    night = f.night_permit[rows]
    hours = [None if n < 0 else "00:00-24:00" if n else "08:00-18:00" for n in night.tolist()]
    return _table(
        "permit",
        {
            "permit_no": [f"{i}001{'PQRX'[c]}" for i, c in zip(ids, f.permit[rows].tolist(), strict=True)],
            "entity_id": ids,
            "permit_class": [PERMIT_CLASSES[c] for c in f.permit[rows].tolist()],
            "valid_from": days_from(start, since),
            "valid_to": days_from(start, since + 1826),
            "night_permitted": pa.array(night > 0, pa.bool_(), mask=night < 0),
            "hours": hours,
        },
    )


def _acceptances(city: City, block: Block) -> pa.Table:
    start, last = city.config.start, city.config.days
    rows = [a for a in block.told.acceptances if a.entity < city.inside(block)]
    ids = block.folk.uscc.astype(str)
    number: dict[int, int] = {}
    keys = []
    for a in rows:
        number[a.entity] = number.get(a.entity, 0) + 1
        keys.append(f"YS{ids[a.entity]}-{number[a.entity]}")
    return _table(
        "acceptance",
        {
            "acceptance_id": keys,
            "entity_id": [str(ids[a.entity]) for a in rows],
            "project": ["建设项目" for _ in rows],
            "approved_on": days_from(start, np.array([a.approved for a in rows], dtype=np.int64)),
            "accepted_on": days_from(start, np.array([a.accepted for a in rows], dtype=np.int64), last),
            "trial_until": days_from(start, np.array([a.trial_until for a in rows], dtype=np.int64)),
        },
    )


def _reports(city: City, block: Block) -> pa.Table:
    start = city.config.start
    inside, last = city.inside(block), city.config.days
    rows = [r for r in block.told.reports if r.entity < inside and r.start < last]
    ids = block.folk.uscc.astype(str)
    return _table(
        "filed_report",
        {
            "report_id": [f"BB{ids[r.entity]}{n:04d}" for n, r in enumerate(rows)],
            "entity_id": [str(ids[r.entity]) for r in rows],
            "kind": [r.kind for r in rows],
            "starts_at": [instant(start, r.start) for r in rows],
            "ends_at": [instant(start, r.end) for r in rows],
            "filed_at": [instant(start, r.start - 1, time(15)) for r in rows],
            "note": [r.note or None for r in rows],
        },
    )


def _orders(city: City, block: Block) -> pa.Table:
    start, last = city.config.start, city.config.days
    rows = [(e, d) for e, d in block.told.closures if e < city.inside(block) and d < last]
    ids = block.folk.uscc.astype(str)
    cuts = [o for o in block.told.curtailed if o.entity < city.inside(block) and o.start < last and o.end > -60]
    curtailed = _table(
        "order",
        {
            "order_id": [f"YJ{start + timedelta(days=o.start):%Y%m%d}{ids[o.entity]}" for o in cuts],
            "entity_id": [str(ids[o.entity]) for o in cuts],
            "kind": ["stop" if o.percent is None else "limit" for o in cuts],
            "level": [o.level for o in cuts],
            "limit_percent": [o.percent for o in cuts],
            "starts_at": [instant(start, o.start) for o in cuts],
            "ends_at": [instant(start, o.end) for o in cuts],
            "basis": ["重污染天气应急减排" for _ in cuts],
        },
    )
    closed = _table(
        "order",
        {
            "order_id": [f"GB{ids[e]}" for e, _ in rows],
            "entity_id": [str(ids[e]) for e, _ in rows],
            "kind": ["closure" for _ in rows],
            "starts_at": [instant(start, d) for _, d in rows],
            "basis": ["散乱污企业关闭取缔" for _ in rows],
        },
    )
    return pa.concat_tables([closed, curtailed])


def outage_rows(city: City, block: Block, days: Sequence[date]) -> list[dict[str, Any]]:
    """Outages of a block's feeders on these days, rows of the standard table."""
    p = block.points
    here: Bools = city.rows_inside(block, np.arange(len(p.owner)))
    feeders = set(p.feeder[here].tolist())
    out: list[dict[str, Any]] = []
    for day in days:
        for o in block.outages(day):
            if o.feeder in feeders:
                midnight = datetime.combine(day, time(0), LOCAL_ZONE)
                out.append(
                    {
                        "outage_id": f"TD{day:%Y%m%d}{feeder_id(block, o.feeder)}",
                        "feeder_id": feeder_id(block, o.feeder),
                        "kind": "planned" if o.planned else "fault",
                        "starts_at": midnight + timedelta(minutes=o.start),
                        "ends_at": midnight + timedelta(minutes=o.end),
                        "reason": "计划检修" if o.planned else "线路故障",
                    }
                )
    return out


def _outages(city: City, block: Block) -> pa.Table:
    rows = outage_rows(city, block, city.days)
    schema = TABLES["outage"].schema
    return pa.table([pa.array([row.get(f.name) for row in rows], f.type) for f in schema], schema=schema)


def weather_table(city: City) -> pa.Table:
    """Hourly weather of all districts over the run."""
    parts = []
    for day in city.days:
        w = city.weather(day)
        midnight = datetime.combine(day, time(0), LOCAL_ZONE).astimezone(UTC)
        hours = [midnight + timedelta(hours=h) for h in range(24)]
        calm = (w.wind_ms < 1.2) & (w.cloud < 0.4) & ((np.arange(24) < 7) | (np.arange(24) > 20))
        parts.append(
            _table(
                "weather",
                {
                    "division": np.repeat(np.array(city.divisions), 24),
                    "at": hours * len(city.divisions),
                    "temp_c": w.temp_c.round(1).ravel(),
                    "rain_mm": w.rain_mm.round(1).ravel(),
                    "wind_ms": w.wind_ms.round(1).ravel(),
                    "humidity": w.humidity.round(0).ravel(),
                    "inversion": calm.ravel(),
                },
            )
        )
    return pa.concat_tables(parts)
