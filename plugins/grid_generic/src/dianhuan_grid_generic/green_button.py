"""Green Button: ESPI XML (NAESB REQ.21) with interval blocks, one metering point for each UsagePoint.

Read with the standard library's parser under one rule that makes it safe: a document type declaration is refused, so
there are no entities to expand or to fetch.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow as pa

from dianhuan_sdk import Batch, InputError, SourceRef, TableContract
from dianhuan_sdk.tabular import Curve, Readings, Rejects, empty_rows, ensure_complete, ensure_unchanged, sha256_of

LARGEST_BYTES = 256 << 20
"""The whole document is held in memory: larger ones are refused."""

_ATOM = "{http://www.w3.org/2005/Atom}"
_ESPI = "{http://naesb.org/espi}"
_FORWARD = "1"  # flowDirection: delivered to the customer
_UNITS = {"72": "Wh", "38": "W"}  # uom of the quantities that a load curve can be made of
_STEPS = {m * 60: m for m in (1, 5, 10, 15, 30, 60)}


class _NoDoctype(ET.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> NoReturn:
        raise InputError(
            f"a document type declaration <!DOCTYPE {name} …> stands in the XML",
            expected="plain ESPI XML",
            hint="refuse this sender: the declaration can hide an attack",
        )


@dataclass(frozen=True)
class _ReadingType:
    unit: str
    power: int
    seconds: int
    forward: bool


def is_green_button(path: Path) -> bool:
    """Does the file begin as ESPI XML?"""
    with path.open("rb") as file:
        head = file.read(4096)
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return start.startswith(b"<") and (b"naesb.org/espi" in head or b"w3.org/2005/Atom" in head)


def read_green_button(
    path: Path, contract: TableContract, source: SourceRef | None = None, civil_zone: str = "Asia/Shanghai"
) -> Iterator[Batch]:
    """Load curves of an ESPI file: UTC seconds onto civil days, Wh or W with their power of ten into kW.

    Args:
        path: an Atom feed, or a bare IntervalBlock.
        contract: the contract `load_curve`.
        source: what the batches name as their source.
        civil_zone: zone that cuts the days.

    Raises:
        InputError: not XML, too large, a document type declaration, or no interval block.
    """
    before = ensure_complete(path)
    if before.st_size > LARGEST_BYTES:
        raise InputError(f"{path.name} has {before.st_size >> 20} MiB", expected="at most 256 MiB", hint="split it")
    try:
        root = ET.parse(path, ET.XMLParser(target=_NoDoctype())).getroot()
    except ET.ParseError as error:
        raise InputError(
            f"{path.name} is not whole XML: {error}", expected="ESPI XML", hint="fetch it again"
        ) from error
    ensure_unchanged(path, before)
    source = source or SourceRef(path.resolve().as_uri(), sha256_of(path))
    rejects = Rejects()
    groups: dict[tuple[str, int], Readings] = {}
    row = 0
    types = _reading_types(root)
    blocks = list(_blocks(root))
    if not blocks:
        raise InputError(f"{path.name} has no IntervalBlock", expected="interval readings", hint="ask for usage data")
    for meter, type_key, block in blocks:
        row = _add_block(block, meter, types.get(type_key) or _only(types), groups, rejects, row, civil_zone)
    for readings in groups.values():
        for rows in readings.days(rejects):
            yield Batch(contract.name, rows, source, rejects.take())
    if len(rejects):
        yield Batch(contract.name, empty_rows(contract), source, rejects.take())


def _entries(root: ET.Element) -> Iterator[tuple[ET.Element, dict[str, list[str]]]]:
    for entry in root.iter(f"{_ATOM}entry"):
        links: dict[str, list[str]] = {}
        for link in entry.findall(f"{_ATOM}link"):
            links.setdefault(link.get("rel", ""), []).append(link.get("href", ""))
        yield entry, links


def _reading_types(root: ET.Element) -> dict[str, _ReadingType]:
    """Reading types by the address of the MeterReading that they describe, and by their own address."""
    found: dict[str, _ReadingType] = {}
    for entry, links in _entries(root):
        for element in entry.iter(f"{_ESPI}ReadingType"):
            own = _ReadingType(
                _UNITS.get(element.findtext(f"{_ESPI}uom", ""), element.findtext(f"{_ESPI}uom", "none")),
                int(element.findtext(f"{_ESPI}powerOfTenMultiplier") or 0),
                int(element.findtext(f"{_ESPI}intervalLength") or 0),
                element.findtext(f"{_ESPI}flowDirection", _FORWARD) in (_FORWARD, "0"),
            )
            found |= {_tail(href): own for href in links.get("self", ["only"])}
    for entry, links in _entries(root):
        if entry.find(f".//{_ESPI}MeterReading") is not None:
            for href in links.get("related", []):
                if _tail(href) in found:
                    found |= {_tail(own): found[_tail(href)] for own in links.get("self", [])}
    return found


def _only(types: dict[str, _ReadingType]) -> _ReadingType | None:
    distinct = set(types.values())
    return distinct.pop() if len(distinct) == 1 else None


def _tail(href: str) -> str:
    """An address without its host and its part before the resource, so that absolute and relative forms agree."""
    return href.split("/resource/", 1)[-1].strip("/")


def _blocks(root: ET.Element) -> Iterator[tuple[str, str, ET.Element]]:
    """(metering point, address of the MeterReading, block)."""
    if root.tag == f"{_ESPI}IntervalBlock":
        yield "UsagePoint", "", root
    for entry, links in _entries(root):
        for block in entry.iter(f"{_ESPI}IntervalBlock"):
            href = _tail((links.get("up") or links.get("self") or [""])[0])
            parts = href.split("/")
            meter = parts[parts.index("UsagePoint") + 1] if "UsagePoint" in parts[:-1] else "UsagePoint"
            yield meter, href.split("/IntervalBlock")[0], block


def _add_block(
    block: ET.Element,
    meter: str,
    kind: _ReadingType | None,
    groups: dict[tuple[str, int], Readings],
    rejects: Rejects,
    row: int,
    civil_zone: str,
) -> int:
    """Add the readings of a block; each reading counts as a row."""
    collected: dict[int, list[tuple[int, float, int]]] = {}
    for reading in block.findall(f"{_ESPI}IntervalReading"):
        row += 1
        start = reading.findtext(f"{_ESPI}timePeriod/{_ESPI}start", "")
        value = reading.findtext(f"{_ESPI}value", "")
        raw = json.dumps({"usage_point": meter, "start": start, "value": value})
        if kind is None or kind.unit not in _UNITS.values():
            unit = f"uom {kind.unit}" if kind is not None else "no reading type"
            rejects.add(row, "unknown_unit", f"{unit}; a load curve needs Wh (72) or W (38)", raw)
            continue
        if not kind.forward:
            rejects.add(row, "not_forward", "energy that flows back has its own curve", raw)
            continue
        try:
            seconds = int(reading.findtext(f"{_ESPI}timePeriod/{_ESPI}duration") or kind.seconds)
            parsed = (int(start), float(value) * 10.0**kind.power / 1000.0, row)
        except ValueError:
            rejects.add(row, "bad_number", "start, duration or value is not a number", raw)
            continue
        if seconds not in _STEPS:
            rejects.add(
                row, "bad_interval", f"{seconds} s; 1, 5, 10, 15, 30 or 60 min can be brought on 96 points", raw
            )
            continue
        collected.setdefault(_STEPS[seconds], []).append(parsed)
    for minutes, items in collected.items():
        assert kind is not None
        unit = "kWh" if kind.unit == "Wh" else "kW"
        curve = Curve.model_validate(
            {
                "layout": "long",
                "unit": unit,
                "multiplier_applied": True,
                "zone": "UTC",
                "civil_zone": civil_zone,
                "time": "start",
                "value": "value",
                "interval_minutes": minutes,
            }
        )
        readings = groups.setdefault((unit, minutes), Readings(curve))
        starts, values, rows = zip(*items, strict=True)
        count = len(items)
        code = readings.codes(pa.array([meter]))[0]
        readings.add(
            np.full(count, code, dtype=np.int32),
            np.array(starts, dtype=np.int64),
            np.ones(count, dtype=bool),
            np.array(values, dtype=np.float64),
            np.array(rows, dtype=np.int64),
        )
    return row
