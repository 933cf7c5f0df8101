"""Green Button files: units, powers of ten, links, UTC onto local days, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dianhuan_grid_generic.green_button import is_green_button, read_green_button
from dianhuan_sdk import InputError
from dianhuan_standards import TABLES

DAY = int(datetime(2026, 1, 4, 16, tzinfo=UTC).timestamp())  # 2026-01-05 00:00 in Shanghai


def feed(
    *blocks: tuple[str, str], uom: int = 72, power: int = 0, flow: int = 1, length: int = 900, head: str = ""
) -> str:
    base = "https://dc.invalid/DataCustodian/espi/1_1/resource"
    entries = [
        f"""<entry><link rel="self" href="{base}/ReadingType/7"/><content><ReadingType xmlns="http://naesb.org/espi">
        <flowDirection>{flow}</flowDirection><intervalLength>{length}</intervalLength>
        <powerOfTenMultiplier>{power}</powerOfTenMultiplier><uom>{uom}</uom></ReadingType></content></entry>"""
    ]
    for point, readings in blocks:
        own = f"{base}/RetailCustomer/1/UsagePoint/{point}/MeterReading/1"
        entries += [
            f"""<entry><link rel="self" href="{own}"/><link rel="related" href="{base}/ReadingType/7"/>
            <content><MeterReading xmlns="http://naesb.org/espi"/></content></entry>""",
            f"""<entry><link rel="self" href="{own}/IntervalBlock/1"/><link rel="up" href="{own}/IntervalBlock"/>
            <content><IntervalBlock xmlns="http://naesb.org/espi">{readings}</IntervalBlock></content></entry>""",
        ]
    return f'<?xml version="1.0"?>{head}<feed xmlns="http://www.w3.org/2005/Atom">{"".join(entries)}</feed>'


def readings(values: list[Any], step: int = 900, start: int = DAY) -> str:
    return "".join(
        f"<IntervalReading><timePeriod><duration>{step}</duration><start>{start + i * step}</start></timePeriod>"
        f"<value>{v}</value></IntervalReading>"
        for i, v in enumerate(values)
    )


def read(path: Path, text: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    path.write_text(text, "utf-8")
    assert is_green_button(path)
    rows, rejects = [], []
    for batch in read_green_button(path, TABLES["load_curve"]):
        rows += batch.rows.to_pylist()
        rejects += batch.rejects.to_pylist() if batch.rejects is not None else []
    return rows, rejects


@pytest.mark.parametrize(
    ("uom", "power", "step", "factor"),
    [(72, 0, 900, 4 / 1000), (72, 3, 900, 4), (72, -3, 3600, 1 / 1e6), (38, 0, 900, 1 / 1000), (72, 0, 300, 12 / 1000)],
)
def test_units_and_powers(tmp_path: Path, uom: int, power: int, step: int, factor: float) -> None:
    count = 86_400 // step
    values = list(range(count))
    rows, rejects = read(tmp_path / "a.xml", feed(("UP1", readings(values, step)), uom=uom, power=power, length=step))
    assert rejects == []
    (row,) = rows
    assert (row["metering_point_id"], str(row["day"])) == ("UP1", "2026-01-05")
    per_slot = np.array(values, dtype=float).reshape(-1, max(count // 96, 1)).mean(axis=1) * factor
    np.testing.assert_allclose(row["kw"], np.repeat(per_slot, 96 // len(per_slot)), rtol=1e-6)


def test_one_metering_point_for_each_usage_point(tmp_path: Path) -> None:
    rows, _ = read(tmp_path / "a.xml", feed(("A", readings([1] * 96)), ("B", readings([2] * 96))))
    assert [(r["metering_point_id"], round(sum(r["kw"]) / 4, 6)) for r in rows] == [("A", 0.096), ("B", 0.192)]


def test_what_no_curve_can_be_made_of_is_refused(tmp_path: Path) -> None:
    rows, rejects = read(tmp_path / "a.xml", feed(("A", readings([1] * 4)), uom=169))
    assert rows == []
    assert {r["code"] for r in rejects} == {"unknown_unit"}
    rows, rejects = read(tmp_path / "a.xml", feed(("A", readings([1] * 4)), flow=19))
    assert {r["code"] for r in rejects} == {"not_forward"}
    rows, rejects = read(tmp_path / "a.xml", feed(("A", readings([1, "x", 3]) + readings([5], 86_400))))
    assert [r["code"] for r in rejects] == ["bad_number", "bad_interval"]
    assert [v for v in rows[0]["kw"] if v is not None] == pytest.approx([0.004, 0.012])


def test_hostile_xml_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("top secret", "utf-8")
    for doctype in (
        '<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>',
        f'<!DOCTYPE feed [<!ENTITY x SYSTEM "{secret.as_uri()}">]>',
        '<!DOCTYPE feed SYSTEM "http://127.0.0.1:1/x.dtd">',
    ):
        with pytest.raises(InputError, match="document type declaration"):
            read(tmp_path / "a.xml", feed(("A", readings([1])), head=doctype))


def test_broken_and_empty(tmp_path: Path) -> None:
    text = feed(("A", readings([1] * 96)))
    with pytest.raises(InputError, match="not whole XML"):
        read(tmp_path / "a.xml", text[: len(text) // 2])
    with pytest.raises(InputError, match="no IntervalBlock"):
        read(tmp_path / "a.xml", feed())


def test_the_adapter_knows_green_button_by_its_first_bytes(tmp_path: Path, context, drain) -> None:
    from dianhuan_grid_generic._adapter import SPEC

    path = tmp_path / "usage.xml"
    path.write_text(feed(("A", readings([1] * 96))), "utf-8")
    items = drain(SPEC.factory(context(SPEC.file_config("load_curve", path, None))), "load_curve")  # type: ignore[misc]
    assert items[0].rows.num_rows == 1
