"""The records of accepted statements, and what has become of each: corrections, retractions, redactions.

The present state of a record is decided by the origin's own log alone, by index and never by a clock, so it does not
depend on the order in which deliveries arrive:

* redacted: its contents are gone; retracted: withdrawn; hidden: its statement is not accepted;
* superseded: a higher index of the same log carries the same record of the same stream, or corrects it;
* current: none of these.

A retraction takes a correction's effect away, so what it had corrected is current again. A redaction only takes
contents: what it had replaced stays replaced.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_federation.core import Dispute, EntryResult, Hub, ModelDefinition, ResultBatch, digests
from dianhuan_federation.replica._statements import instant, text_list
from dianhuan_federation.replica._tables import (
    FEDERATED_DISPUTE,
    FEDERATED_MODEL,
    FEDERATED_OUTCOME,
    FEDERATED_STATISTIC,
    FEDERATED_WARNING,
)
from dianhuan_sdk import TableContract

SHARED: Mapping[str, TableContract] = {
    "warning": FEDERATED_WARNING,
    "outcome": FEDERATED_OUTCOME,
    "statistic": FEDERATED_STATISTIC,
}
"""Row schema → the table of its rows."""

SETTLED = (*SHARED.values(), FEDERATED_MODEL, FEDERATED_DISPUTE)

_FIXED = {"origin", "index", "record_id", "hub", "province", "stream", "witnessed_at", "state", "superseded_by"}
CONTENTS: Mapping[str, tuple[str, ...]] = {
    contract.name: tuple(f.name for f in contract.fields if f.name not in _FIXED) for contract in SHARED.values()
}
"""Table → the columns that a redaction empties."""

MAX_PASSPORT = 1024 * 1024

Row = dict[str, Any]
Part = frozenset[str] | None
"""Record ids of a statement; None means all of them."""


def record_batch(result: EntryResult, origin: str, hub: Hub, hidden: bool) -> tuple[str, pa.RecordBatch] | None:
    """The rows of a batch as columns of their table, all current or all hidden; None for statements without rows."""
    said = result.predicate
    contract = SHARED.get(said.schema.id) if isinstance(said, ResultBatch) else None
    if said is None or contract is None or not result.rows:
        return None
    there = set(result.rows[0].__struct_fields__)
    same: Mapping[str, object] = {
        "origin": origin,
        "index": result.index,
        "hub": hub.id,
        "province": hub.id[:2],
        "stream": said.stream,
        "witnessed_at": instant(result.witnessed_at),
        "state": "hidden" if hidden else "current",
        "superseded_by": None,
    }
    columns = []
    for wanted in contract.schema:
        if wanted.name in same:
            columns.append(pa.repeat(pa.scalar(same[wanted.name], wanted.type), len(result.rows)))
        elif wanted.name not in there:
            columns.append(pa.nulls(len(result.rows), wanted.type))
        else:
            values = list(map(attrgetter(wanted.name), result.rows))
            if wanted.type == pa.float64():
                columns.append(pc.cast(pa.array(values, pa.string()), wanted.type))
            else:
                columns.append(pa.array(values, wanted.type))
    return contract.name, pa.RecordBatch.from_arrays(columns, schema=contract.schema)


def other_record(result: EntryResult, origin: str, hub: Hub, blobs: Mapping[str, bytes]) -> tuple[str, Row] | None:
    """The row of a model definition or dispute; None for other statements."""
    said = result.predicate
    same = {
        "origin": origin,
        "index": result.index,
        "hub": hub.id,
        "province": hub.id[:2],
        "witnessed_at": instant(result.witnessed_at),
        "state": "current",
    }
    if isinstance(said, ModelDefinition):
        model = {"model_id": said.model.id, "model_version": said.model.version, "model_digest": said.model.digest}
        passport = _passport(said, blobs)
        return FEDERATED_MODEL.name, {
            **same,
            **model,
            "license": said.license,
            "passport": passport,
            "superseded_by": None,
        }
    if isinstance(said, Dispute):
        return FEDERATED_DISPUTE.name, {
            **same,
            "disputed": said.disputed,
            "target_index": said.target.index,
            "target_digest": said.target.digest,
            "record_ids": text_list(said.target.record_ids),
            "reason": said.reason,
        }
    return None


def _passport(said: ModelDefinition, blobs: Mapping[str, bytes]) -> str | None:
    for file in said.passports:
        name = file.digest.get("sha256", "")
        if file.size > MAX_PASSPORT:
            continue
        blob = blobs.get(name, b"")
        if len(blob) == file.size and digests(blob)["sha256"] == name:
            try:
                return msgspec.json.encode(msgspec.json.decode(blob)).decode()
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return None
    return None


@dataclass(slots=True)
class Marks:
    """What one log says about its earlier statements: index → the records that are meant.

    Args:
        retracted, redacted: by target.
        corrections: (index of the correction, index of its target, records).
    """

    retracted: dict[int, Part] = field(default_factory=dict)
    redacted: dict[int, Part] = field(default_factory=dict)
    corrections: list[tuple[int, int, Part]] = field(default_factory=list)

    def add(self, kind: str, by: int, targets: str) -> None:
        """Take note of an accepted correction, retraction or redaction, as its statement row tells it."""
        for target in msgspec.json.decode(targets):
            part = frozenset(target["record_ids"]) or None
            if ":correction:" in kind:
                self.corrections.append((by, target["index"], part))
            else:
                known = self.retracted if ":retraction:" in kind else self.redacted
                before = known.get(target["index"], frozenset())
                known[target["index"]] = None if part is None or before is None else before | part

    def superseded_by(self, row: Row, alive: Iterable[int]) -> int | None:
        """The highest index that took a row's place."""
        index, name = row["index"], record_of(row)
        later = [other for other in alive if other > index]
        for by, target, part in self.corrections:
            if target == index and (part is None or name in part) and not _in(self.retracted, by, name):
                later.append(by)
        return max(later, default=None)


def _in(marked: Mapping[int, Part], index: int, name: str) -> bool:
    if index not in marked:
        return False
    part = marked[index]
    return part is None or name in part


def record_of(row: Row) -> str:
    """The record's name, by which statements mean single rows; empty for models and disputes, which have none."""
    name: str = row.get("record_id", "")
    return name


def group_of(table: str, row: Row) -> tuple[object, ...]:
    """What makes two rows of one log the same record."""
    if table == FEDERATED_MODEL.name:
        return row["origin"], table, row["model_id"], row["model_version"]
    if table == FEDERATED_DISPUTE.name:
        return row["origin"], table, row["index"]
    return row["origin"], table, row["stream"], row["record_id"]


def settle(table: str, rows: Sequence[Row], marks: Mapping[str, Marks]) -> None:
    """Set state and successor of rows, in place.

    Args:
        table: their table.
        rows: every row of each record that is touched; `hidden` where the statement is not accepted.
        marks: by origin.
    """
    groups: dict[tuple[object, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[group_of(table, row)].append(row)
    for group in groups.values():
        said = marks.get(group[0]["origin"], Marks())
        alive = [
            row["index"]
            for row in group
            if row["state"] != "hidden" and not _in(said.retracted, row["index"], record_of(row))
        ]
        for row in group:
            _settle_one(table, row, said, alive)


def _settle_one(table: str, row: Row, said: Marks, alive: Collection[int]) -> None:
    by = None
    if _in(said.redacted, row["index"], record_of(row)):
        row["state"] = "redacted"
        row.update(dict.fromkeys(CONTENTS.get(table, ())))
        if table == FEDERATED_MODEL.name:
            row["passport"] = None
    elif _in(said.retracted, row["index"], record_of(row)):
        row["state"] = "retracted"
    elif row["state"] != "hidden":
        by = said.superseded_by(row, alive)
        row["state"] = "current" if by is None else "superseded"
    if "superseded_by" in row:
        row["superseded_by"] = by
