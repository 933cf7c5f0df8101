"""Statistics: each whole period once, and again where what it is made of changed and the change may be known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from hashlib import sha256
from itertools import pairwise

from dianhuan_federation.core import (
    Correction,
    Inputs,
    Retraction,
    StatisticBatch,
    canonical,
    encode_rows,
    lines_of,
    parse,
)
from dianhuan_federation.policy import CONTRIBUTOR, KEY, Compiled, Released, SharingTerms, compile_rows
from dianhuan_federation.publish._desk import Desk
from dianhuan_federation.publish._ledger import WITHDRAWN, Ledger, line_digest
from dianhuan_sdk import LOCAL_ZONE, InputError

NO_INPUTS = Inputs(commitment=None, expected=0, present=0, late=0)
"""A statistic commits to nothing, and says no number of records: with the cells shown it would reveal hidden ones."""

MAX_NAMED = 64
"""Record ids in one statement, which holds at most 8 KiB."""

CHANGED = "来源数据更正 · corrected at its source"
LEGAL_BASIS = "政务数据共享条例 (State Council Order 809)"


def due_statistics(desk: Desk, terms: SharingTerms, rows: Sequence[Mapping[str, object]]) -> list[str]:
    """Draft the periods that are over and not released, and corrections of those that were.

    A period has the policy's `min_days`; the first begins on the first Monday of the policy.

    Returns:
        Reasons why something did not leave.
    """
    assert terms.aggregation is not None
    refused: list[str] = []
    for start, end in periods(terms, desk.today):
        inside = [row for row in rows if start <= _day(row, terms) < end]
        basis = _basis(terms, inside)
        mark = f"{terms.target} {start}"
        if desk.ledger.basis.get(mark) == basis:
            continue
        if start.isoformat() < desk.ledger.blind.get(terms.source, ""):
            refused.append(
                f"{start}: cells of {terms.source} released earlier are not known any more, so that this one could "
                "reveal an enterprise by subtraction"
            )
            continue
        if any(a <= start.isoformat() < b for a, b in desk.ledger.unknown_days(terms.target)):
            refused.append(f"{start}: an earlier batch of this period is not known any more")
            continue
        try:
            compiled = compile_rows(terms, inside, start, end, desk.now, _earlier(desk.ledger, terms, inside))
            if is_released(desk.ledger, terms.target, start):
                refused.extend(_correct(desk, compiled))
            else:
                desk.batch(StatisticBatch, compiled, (), NO_INPUTS)
                remember(desk.ledger, terms.source, compiled.released)
            desk.ledger.basis[mark] = basis
        except InputError as error:
            refused.append(f"{start}: {error}")
    return refused


def _basis(terms: SharingTerms, rows: Sequence[Mapping[str, object]]) -> str:
    """Digest of all that a statistic depends on."""
    value = terms.aggregation.value if terms.aggregation is not None else None
    names = [KEY, CONTRIBUTOR, "division", "industry", *([] if value is None else [value])]
    counted = [
        [str(row[name]) for name in names]
        for row in rows
        if all(constraint.holds(row[constraint.left_operand]) for constraint in terms.constraint)
    ]
    return sha256(canonical(sorted(counted))).hexdigest()


def periods(terms: SharingTerms, today: date) -> list[tuple[date, date]]:
    """The whole periods [start, end) of a policy that are over."""
    assert terms.aggregation is not None
    first = terms.valid_from.astimezone(LOCAL_ZONE).date()
    first += timedelta(-first.weekday() % 7)
    step = terms.aggregation.min_days
    edges = [first + timedelta(step * i) for i in range(max(0, (today - first).days) // step + 1)]
    return list(pairwise(edges))


def is_released(ledger: Ledger, stream: str, start: date) -> bool:
    """Was a statistic of that period released?"""
    return any(
        entry.kind == "statistic-batch" and entry.stream == stream and entry.start == start.isoformat()
        for entry in ledger.entries
    )


def remember(ledger: Ledger, source: str, released: Sequence[Released]) -> None:
    """Keep the cells that are known outside now."""
    cells = ledger.cells.setdefault(source, [])
    cells.extend(dict(cell) for cell in released if dict(cell) not in cells)


def _correct(desk: Desk, compiled: Compiled) -> list[str]:
    """Only changed cells leave, and of those only what may be known beside their earlier values."""
    standing = desk.ledger.records.get(compiled.terms.target, {})
    barred = desk.ledger.barred.get(compiled.terms.target, {})
    changed = [
        (row[KEY], row)
        for line in lines_of(compiled.rows.payload)
        if barred.get((row := parse(line))[KEY]) != line_digest(line)
        and (
            (place := standing.get(row[KEY])) is None
            or (place.line != line_digest(line) and place.index not in desk.ledger.redacted)
        )
    ]
    held = sum(row["value"] is None and id in standing for id, row in changed)
    open_rows = [(id, row) for id, row in changed if not (row["value"] is None and id in standing)]
    for first in range(0, len(open_rows), MAX_NAMED):
        part = open_rows[first : first + MAX_NAMED]
        targets: dict[int, list[str]] = {}
        for id, _ in part:
            if id in standing:
                targets.setdefault(standing[id].index, []).append(id)
        if not targets:
            targets[_first(desk.ledger, compiled)] = []
        supersedes = [desk.ledger.target(index, ids) for index, ids in sorted(targets.items())]
        portion = replace(compiled, rows=encode_rows(compiled.schema, [row for _, row in part]))
        desk.batch(Correction, portion, (), NO_INPUTS, supersedes=supersedes, reason=CHANGED)
    lines = {parse(line)[KEY] for line in lines_of(compiled.rows.payload)}
    span = f":{compiled.start:%Y%m%d}:{(compiled.end - compiled.start).days}:"
    gone: dict[int, list[str]] = {}
    for id, place in standing.items():
        if span in id and id not in lines and place.index not in desk.ledger.redacted:
            gone.setdefault(place.index, []).append(id)
    for index, ids in sorted(gone.items()):
        for first in range(0, len(ids), MAX_NAMED):
            fields = {
                "targets": [desk.ledger.target(index, ids[first : first + MAX_NAMED])],
                "legal_basis": LEGAL_BASIS,
            }
            desk.state(Retraction, compiled.terms.target, {**fields, "reason": WITHDRAWN})
    if open_rows:
        remember(desk.ledger, compiled.terms.source, compiled.released)
    return [f"{compiled.start}: {held} changed cells held back: the difference would be about too few"] if held else []


def _first(ledger: Ledger, compiled: Compiled) -> int:
    """The batch of the period, where a cell is new in it."""
    return next(
        index
        for index, entry in enumerate(ledger.entries)
        if entry.kind == "statistic-batch"
        and entry.stream == compiled.terms.target
        and entry.start == compiled.start.isoformat()
    )


def _earlier(ledger: Ledger, terms: SharingTerms, inside: Sequence[Mapping[str, object]]) -> list[Released]:
    """Released cells that share a record with the period; others cannot be subtracted from it."""
    keys = {str(row[KEY]) for row in inside}
    return [cell for cell in ledger.cells.get(terms.source, []) if not keys.isdisjoint(cell)]


def _day(row: Mapping[str, object], terms: SharingTerms) -> date:
    return date.fromisoformat(str(row[terms.of.day])[:10])
