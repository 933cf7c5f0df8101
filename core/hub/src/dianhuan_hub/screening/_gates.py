"""Gates: the reasons for which a finding must not become a warning. Each answers in words, whether it passes or not.

G1 telemetry, G2 outage, G3 filed report (报备), G5 calendar, G6 context (shared meter, PV, permitted night work),
G7 open case. G4 (device health) needs device channels and belongs to the real-time tier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_hub.screening._context import local_day
from dianhuan_sdk import LOCAL_ZONE, Block, Finding, ModelContext, Text
from dianhuan_sdk.models import Gate

MIN_POINTS = 77
"""G1: at least 80 % of the 96 points of the day."""

MIN_VALID_DAYS = 10
"""G1: days with data that a claim about habit rests on; fewer for a younger account."""


@dataclass(frozen=True, slots=True)
class GateAnswer:
    """What one gate says of one finding."""

    gate: Gate
    passed: bool
    words: Text

    def as_dict(self) -> dict[str, Any]:
        """For the finding's `gates` column."""
        return {"gate": self.gate, "passed": self.passed, "zh": self.words.zh, "en": self.words.en}


class Gates:
    """All gates of one screening run.

    Args:
        block: the city.
        context: calendar and tariff of the block's days.
        tables: `outage`, `filed_report`, `account_link`, `metering_point` as known on the day.
        open_cases: enterprise → its open case of an earlier day.
    """

    def __init__(
        self, block: Block, context: ModelContext, tables: Mapping[str, pa.Table], open_cases: Mapping[str, str]
    ) -> None:
        self._context = context
        self._entities = block.entities
        self._ids = block.entities.column("entity_id").combine_chunks()
        self._rows: dict[str, int] = {}
        self._points = block.feature("points")
        self._days = list(block.days)
        self._calendar = {d.day: d for d in context.calendar}
        self._outages = _Outages(tables["outage"], tables["account_link"], tables["metering_point"], context.as_of)
        self._reports = _by_entity(tables["filed_report"])
        self._open = open_cases

    def answer(self, finding: Finding, wanted: Sequence[Gate]) -> list[GateAnswer]:
        """The answers of the gates that a model asks for, in order."""
        asked = {
            "G1": self._telemetry,
            "G2": self._outage,
            "G3": self._filed_report,
            "G5": self._day_type,
            "G6": self._register,
            "G7": self._open_case,
        }
        return [GateAnswer(gate, *asked[gate](finding)) for gate in wanted if gate in asked]

    def prepare(self, entity_ids: Sequence[str]) -> None:
        """Look up the enterprises that will be asked about, all at once."""
        unique = pa.array(sorted(set(entity_ids)), pa.string())
        places = pc.index_in(unique, value_set=self._ids)
        self._rows = dict(zip(unique.to_pylist(), places.to_pylist(), strict=True))
        self._outages.prepare(unique)

    def _telemetry(self, finding: Finding) -> tuple[bool, Text]:
        row = self._rows[finding.entity_id]
        if finding.day not in self._days:
            return False, Text("当日不在数据窗口内", "the day lies outside of the window")
        points = self._points[row]
        on_day = points[self._days.index(finding.day)]
        count = 0 if np.isnan(on_day) else int(on_day)
        valid = int((points >= MIN_POINTS).sum())
        ok = count >= MIN_POINTS and valid >= min(MIN_VALID_DAYS, len(self._days))
        return ok, Text(
            f"当日有效 {count}/96 点,窗口内有效 {valid}/{len(self._days)} 天",
            f"{count}/96 points on the day, {valid}/{len(self._days)} days with data",
        )

    def _outage(self, finding: Finding) -> tuple[bool, Text]:
        hit = self._outages.of(finding.entity_id, finding.day)
        if hit is None:
            return True, Text("当日无停电记录", "no outage on record")
        start, end = hit
        return False, Text(f"当日停电 {start:%H:%M}–{end:%H:%M}", f"outage {start:%H:%M}–{end:%H:%M} on that day")

    def _filed_report(self, finding: Finding) -> tuple[bool, Text]:
        start, end = local_day(finding.day)
        for report in self._reports.get(finding.entity_id, ()):
            if report["starts_at"] < end and (report["ends_at"] is None or report["ends_at"] > start):
                kind = report["kind"]
                return False, Text(f"已报备({kind},{report['report_id']})", f"filed: {kind}, {report['report_id']}")
        return True, Text("无报备", "nothing was filed")

    def _day_type(self, finding: Finding) -> tuple[bool, Text]:
        shown = finding.exhibit.days if finding.exhibit else (finding.day,)
        special = [
            d
            for d in shown
            if (c := self._calendar.get(d)) is not None and (c.kind == "holiday" or c.spring_offset is not None)
        ]
        ordinary = len(shown) - len(special)
        provisional = any(c.provisional for c in self._context.calendar)
        note_zh, note_en = (",日历为暂定", ", calendar provisional") if provisional else ("", "")
        return ordinary * 2 >= len(shown), Text(
            f"所据 {len(shown)} 天中 {ordinary} 天为普通日{note_zh}",
            f"{ordinary} of the {len(shown)} days shown are ordinary days{note_en}",
        )

    def _register(self, finding: Finding) -> tuple[bool, Text]:
        row = self._rows[finding.entity_id]

        def value(name: str) -> Any:
            return self._entities.column(name)[row].as_py()

        night = finding.exhibit is not None and finding.exhibit.slots[0] > finding.exhibit.slots[1]
        if value("shared_meter"):
            return False, Text("与他户共用电表(转供电),用电无法归属", "the meter also feeds others")
        if night and value("pv"):
            return False, Text("有光伏,夜日比不可用", "PV on site: night over day says nothing")
        if night and value("night_permitted"):
            return False, Text("许可证载明夜间生产", "the permit names night work")
        permit = value("permit_class")
        return True, Text(
            f"许可类别 {permit or '未知(许可登记表未载入)'},无光伏,独立电表",
            f"permit class {permit or 'unknown (register not loaded)'}, no PV, own meter",
        )

    def _open_case(self, finding: Finding) -> tuple[bool, Text]:
        case = self._open.get(finding.entity_id)
        if case is None:
            return True, Text("无未结案件", "no open case")
        return False, Text(f"已有未结案件 {case}", f"already in the open case {case}")


class _Outages:
    """Outages by what they cut off; enterprises by the feeders, transformers and accounts that supply them."""

    def __init__(self, outages: pa.Table, links: pa.Table, points: pa.Table, day: date) -> None:
        self._day = day
        self._by: dict[tuple[str, str], list[tuple[datetime, datetime | None]]] = {}
        for row in outages.select(["feeder_id", "transformer_id", "account_no", "starts_at", "ends_at"]).to_pylist():
            for kind in ("account_no", "transformer_id", "feeder_id"):
                if row[kind]:
                    # The narrowest place that is named is the one that was cut off.
                    self._by.setdefault((kind, row[kind]), []).append((row["starts_at"], row["ends_at"]))
                    break
        self._links = links
        self._points = points
        self._places: dict[str, set[tuple[str, str]]] = {}

    def prepare(self, entity_ids: pa.Array) -> None:
        """Find what supplies these enterprises."""
        if not self._by:
            return
        mine = self._links.filter(pc.is_in(self._links.column("entity_id"), value_set=entity_ids))
        ends = mine.column("valid_to")
        mine = mine.filter(pc.or_kleene(pc.is_null(ends), pc.greater(ends, pa.scalar(self._day, pa.date32()))))
        accounts = mine.column("account_no").combine_chunks()
        points = self._points.filter(pc.is_in(self._points.column("account_no"), value_set=accounts))
        joined = mine.select(["account_no", "entity_id"]).join(
            points.select(["account_no", "feeder_id", "transformer_id"]), "account_no"
        )
        for row in joined.to_pylist():
            supply = self._places.setdefault(row["entity_id"], set())
            supply |= {(k, row[k]) for k in ("account_no", "feeder_id", "transformer_id") if (k, row[k]) in self._by}

    def of(self, entity_id: str, day: date) -> tuple[datetime, datetime] | None:
        """The longest outage of an hour or more on a local day, in local time, or None."""
        start, end = local_day(day)
        best: tuple[datetime, datetime] | None = None
        for place in self._places.get(entity_id, ()):
            for since, until in self._by.get(place, ()):
                a, b = max(since, start), min(until or end, end)
                if b - a >= timedelta(hours=1) and (best is None or b - a > best[1] - best[0]):
                    best = (a.astimezone(LOCAL_ZONE), b.astimezone(LOCAL_ZONE))
        return best


def _by_entity(reports: pa.Table) -> dict[str, list[dict[str, Any]]]:
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in reports.select(["report_id", "entity_id", "kind", "starts_at", "ends_at"]).to_pylist():
        grouped.setdefault(row["entity_id"], []).append(row)
    return grouped
