"""The policy compiler: allow-list, filter, aggregation, disclosure control, canonical rows. Pure, deny by default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from dianhuan_federation.core import Disclosure, Rows, RowSchema, encode_rows
from dianhuan_federation.policy._disclosure import Cell, Released, protect
from dianhuan_federation.policy._sources import CONTRIBUTOR, KEY
from dianhuan_federation.policy._terms import Aggregation, DisclosureRule, SharingTerms
from dianhuan_sdk import InputError


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a policy makes of a period.

    Args:
        terms: the policy.
        schema: of the rows.
        rows: canonical rows.
        start, end: the period [start, end).
        disclosure: as the statement says it.
        used: record ids that stand behind the rows.
        released: the parts of every cell whose value is shown: to be remembered in the city, never to be sent.
    """

    terms: SharingTerms
    schema: RowSchema
    rows: Rows
    start: date
    end: date
    disclosure: Disclosure
    used: frozenset[str]
    released: tuple[Released, ...] = ()


def compile_rows(
    terms: SharingTerms,
    rows: Sequence[Mapping[str, object]],
    start: date,
    end: date,
    now: datetime,
    earlier: Sequence[Released] = (),
) -> Compiled:
    """Apply a policy to the source's rows of a period.

    Args:
        terms: the policy.
        rows: flat rows of the source: its fields, `record_id` and `contributor`.
        start, end: civil days [start, end); rows outside are left out.
        now: the present; the policy must be in force.
        earlier: cells of the same source that were released before.

    Raises:
        InputError: the policy withholds, is not in force, or a row holds a field that the source does not have.
    """
    if terms.klass == "withheld":
        raise InputError(f"policy {terms.id} withholds {terms.target}", expected="class unconditional or conditional")
    if not terms.valid_from <= now < terms.valid_until:
        raise InputError(f"policy {terms.id} is not in force", expected=f"{terms.valid_from} to {terms.valid_until}")
    source = terms.of
    kept = _kept(terms, rows, start, end)
    schema = source.schema_of(terms.schema.id, terms.schema.version)
    if terms.aggregation is None or terms.disclosure is None:
        shared = [{KEY: row[KEY], **{name: row[name] for name in terms.fields}} for row in kept]
        disclosure = Disclosure(rule="none", k=0, p=0, suppressed=0, precision="exact")
        ids = frozenset(str(row[KEY]) for row in kept)
        return Compiled(terms, schema, encode_rows(schema, shared), start, end, disclosure, ids)
    return _tabulate(terms, schema, kept, start, end, earlier, terms.aggregation, terms.disclosure)


def cells_of(
    terms: SharingTerms, rows: Sequence[Mapping[str, object]], start: date, end: date
) -> list[tuple[Mapping[str, object], Released]]:
    """Every cell of a statistic as it would be shown, and its parts, before disclosure control: never to be sent.

    For a hub that must know again which parts stand behind the cells it released.

    Args:
        terms: the policy, which has an aggregation.
        rows: flat rows of the source.
        start, end: civil days [start, end).

    Raises:
        InputError: the policy is about single rows, or a row does not fit the source.
    """
    table, rule = terms.aggregation, terms.disclosure
    if table is None or rule is None:
        raise InputError(f"policy {terms.id} shares single rows", expected="a policy with an aggregation")
    precision = "rounded" if rule.round_to > 1 else "exact"
    lines = _lines(_kept(terms, rows, start, end), table)
    return [
        (_row(cell, table, rule.round_to, precision, start, end), dict(cell.parts)) for line in lines for cell in line
    ]


def _kept(
    terms: SharingTerms, rows: Sequence[Mapping[str, object]], start: date, end: date
) -> list[Mapping[str, object]]:
    """The rows of a period that pass the filter; a row of another form is refused."""
    source = terms.of
    known = {*source.fields, KEY, CONTRIBUTOR}
    kept: list[Mapping[str, object]] = []
    for row in rows:
        if row.keys() != known:
            raise InputError(
                f"a row of {source.id} with {sorted(row.keys() ^ known)}", expected=f"exactly {sorted(known)}"
            )
        inside = start <= date.fromisoformat(str(row[source.day])[:10]) < end
        if inside and all(constraint.holds(row[constraint.left_operand]) for constraint in terms.constraint):
            kept.append(row)
    return kept


def _tabulate(
    terms: SharingTerms,
    schema: RowSchema,
    rows: Sequence[Mapping[str, object]],
    start: date,
    end: date,
    earlier: Sequence[Released],
    table: Aggregation,
    rule: DisclosureRule,
) -> Compiled:
    if (end - start).days < table.min_days:
        raise InputError(f"a statistic over {(end - start).days} days", expected=f"at least {table.min_days}")
    lines = _lines(rows, table)
    protect(lines, rule, earlier)
    cells = [cell for line in lines for cell in line]
    precision = "rounded" if rule.round_to > 1 else "exact"
    shared = [_row(cell, table, rule.round_to, precision, start, end) for cell in cells]
    shown = [cell for cell in cells if not cell.suppressed]
    disclosure = Disclosure(rule=rule.rule, k=rule.k, p=rule.p, suppressed=len(cells) - len(shown), precision=precision)
    return Compiled(
        terms,
        schema,
        encode_rows(schema, shared),
        start,
        end,
        disclosure,
        frozenset(key for cell in cells for key in cell.parts),
        tuple(dict(cell.parts) for cell in shown),
    )


def _lines(rows: Sequence[Mapping[str, object]], table: Aggregation) -> list[list[Cell]]:
    """Cells by division; where they are split by industry, the division's total stands last."""
    totals: dict[str, Cell] = {}
    cells: dict[tuple[str, str], Cell] = {}
    open_ended: set[str] = set()
    for row in rows:
        division, industry = str(row["division"]), row["industry"]
        amount = 1 if table.value is None else row[table.value]
        if not isinstance(amount, int):
            raise InputError(f"{table.value} is {amount!r}", expected="an integer")
        key, part = str(row[KEY]), (str(row[CONTRIBUTOR]), amount)
        total = totals.setdefault(division, Cell(division, None))
        if key in total.parts:
            raise InputError(f"record {key} stands twice", expected="each record once")
        total.parts[key] = part
        if isinstance(industry, str):
            cells.setdefault((division, industry), Cell(division, industry)).parts[key] = part
        else:
            open_ended.add(division)
    if table.by == "division":
        return [[cell] for _, cell in sorted(totals.items())]
    lines: list[list[Cell]] = []
    for division, total in sorted(totals.items()):
        line = [cell for (where, _), cell in sorted(cells.items()) if where == division]
        # A total over rows without an industry would reveal those by subtraction, so there is none.
        lines.append(line if division in open_ended else [*line, total])
    return lines


def _row(cell: Cell, table: Aggregation, base: int, precision: str, start: date, end: date) -> dict[str, object]:
    def rounded(number: int) -> int:
        return (number + base // 2) // base * base

    return {
        KEY: f"{table.measure}:{start:%Y%m%d}:{(end - start).days}:{cell.division}:{cell.industry or 'all'}",
        "division": cell.division,
        "industry": cell.industry,
        "period_start": start.isoformat(),
        "period_end": end.isoformat(),
        "measure": table.measure,
        "unit": table.unit,
        "value": None if cell.suppressed else f"{rounded(cell.value)}.000",
        "contributors": None if cell.suppressed else rounded(cell.contributors),
        "count_precision": "suppressed" if cell.suppressed else precision,
    }
