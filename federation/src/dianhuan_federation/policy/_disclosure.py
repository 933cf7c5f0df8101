"""Statistical disclosure control of one table: primary and complementary suppression, and differencing.

Rules as in Hundepool et al., Statistical Disclosure Control (2012), chapter 4: threshold, p % rule, (n, k) dominance.
A table is a set of lines: the cells of a division and, where there are several, their total. Lines share no cell, so
checking each line checks every linear combination of what the table releases.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dianhuan_federation.policy._terms import DisclosureRule

Part = tuple[str, int]
"""Contributor and amount of one record."""


@dataclass(slots=True)
class Cell:
    """One cell, whole: it stays in the city.

    Args:
        division: GB/T 2260.
        industry: None for the total of the division.
        parts: record id → contributor and amount.
        suppressed: is its value withheld?
    """

    division: str
    industry: str | None
    parts: dict[str, Part] = field(default_factory=dict)
    suppressed: bool = False

    @property
    def value(self) -> int:
        """The sum."""
        return sum(amount for _, amount in self.parts.values())

    @property
    def contributors(self) -> int:
        """How many stand behind it."""
        return len({who for who, _ in self.parts.values()})


Released = Mapping[str, Part]
"""The parts of a cell that was released before; the hub keeps them, nobody else."""


def is_safe(parts: Iterable[Part], rule: DisclosureRule) -> bool:
    """May the sum of these parts be known? Nothing at all may."""
    amounts: dict[str, int] = {}
    for who, amount in parts:
        amounts[who] = amounts.get(who, 0) + abs(amount)
    if not amounts:
        return True
    if len(amounts) < rule.k:
        return False
    ordered = sorted(amounts.values(), reverse=True)
    total = sum(ordered)
    if rule.rule == "dominance":
        return sum(ordered[: rule.n]) * 100 <= rule.share * total
    return (total - ordered[0] - ordered[1]) * 100 >= rule.p * ordered[0]


def protect(lines: Sequence[Sequence[Cell]], rule: DisclosureRule, earlier: Sequence[Released]) -> None:
    """Suppress in place what must not be known.

    Args:
        lines: cells of one division; a total, if there is one, stands last and has no industry.
        rule: the rule.
        earlier: every cell released before that might overlap.
    """
    for line in lines:
        for cell in line:
            cell.suppressed = not is_safe(cell.parts.values(), rule) or _differs_by_few(cell.parts, earlier, rule)
        total = line[-1] if len(line) > 1 and line[-1].industry is None else None
        if total is None:
            continue
        if not total.suppressed:
            _complement(line[:-1], total, rule, earlier)
        elif not any(cell.suppressed for cell in line[:-1]):
            # Cells that are all shown add up to the total that must not be known.
            _smallest(line[:-1]).suppressed = True


def _complement(cells: Sequence[Cell], total: Cell, rule: DisclosureRule, earlier: Sequence[Released]) -> None:
    """Suppress more cells of a line, the smallest first, until the rest that total and cells reveal is safe too."""
    while True:
        hidden = {key: part for cell in cells if cell.suppressed for key, part in cell.parts.items()}
        few = sum(cell.suppressed for cell in cells) == 1
        if not hidden:
            return
        if not few and is_safe(hidden.values(), rule) and not _differs_by_few(hidden, earlier, rule):
            return
        shown = [cell for cell in cells if not cell.suppressed]
        if not shown:
            total.suppressed = True
            return
        _smallest(shown).suppressed = True


def _smallest(cells: Sequence[Cell]) -> Cell:
    return min(cells, key=lambda cell: (cell.value, cell.industry or ""))


def _differs_by_few(parts: Mapping[str, Part], earlier: Sequence[Released], rule: DisclosureRule) -> bool:
    """Would a reader who subtracts earlier cells from this one, or this one from them, learn about too few?"""
    inside: list[Released] = []
    for old in earlier:
        if parts.keys().isdisjoint(old):
            continue
        here = {key: part for key, part in parts.items() if old.get(key) != part}
        there = {key: part for key, part in old.items() if parts.get(key) != part}
        if not here and not there:
            continue
        if not here or not there:
            if not is_safe((here or there).values(), rule):
                return True
        elif len({who for who, _ in (*here.values(), *there.values())}) < rule.k:
            return True
        if not there:
            inside.append(old)
    rest = dict(parts)
    for old in sorted(inside, key=len, reverse=True):
        # Earlier cells that do not overlap may be subtracted together: the weeks of a month.
        if old.keys() <= rest.keys():
            for key in old:
                del rest[key]
    return not is_safe(rest.values(), rule)
