"""The field: inspectors who err, violators who react to them, people who complain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from dianhuan_simulator._people import BLOCK, NEVER

if TYPE_CHECKING:
    from dianhuan_simulator._block import Block
    from dianhuan_simulator._stories import Story
    from dianhuan_simulator.city import City

CODES = ("verified", "benign_explained", "device_fault", "not_found", "could_not_inspect")
_DEVICE = frozenset({"dead_meter_zero", "dead_meter_missing", "ct_ratio_error"})


def _place(city: City, ids: Sequence[str]) -> dict[str, tuple[Block, int]]:
    wanted = {i.encode() for i in ids}
    found: dict[str, tuple[Block, int]] = {}
    for block in city.blocks:
        inside = block.folk.uscc[: city.inside(block)]
        for row in np.flatnonzero(np.isin(inside, list(wanted))).tolist():
            found[inside[row].decode()] = (block, row)
    return found


def _kinds(city: City, day: date) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Entity → kind of its violation, and of its benign story, on a day."""
    bad: dict[str, str] = {}
    benign: dict[str, str] = {}
    for t in city.truth().to_pylist():
        if t["from"] <= day and (t["to"] is None or t["to"] > day):
            (bad if t["is_violation"] else benign)[t["entity_id"]] = t["kind"]
    return bad, benign


def inspect(city: City, entity_ids: Sequence[str], day: date, rng: np.random.Generator) -> list[str]:
    """What visits on a day report, an outcome code of the standard table `outcome` for each; changes nothing.

    A violator is found unless the inspector errs (`inspectors.false_clear`); an innocent enterprise is explained by
    what it is, by its meter, or nothing is found.

    Args:
        city: the city.
        entity_ids: who is visited.
        day: of the run.
        rng: the inspectors' chance.
    """
    k = city.knobs.inspectors
    bad, benign = _kinds(city, day)
    out = []
    for entity in entity_ids:
        missed, hindered, wrong = rng.random(3)
        if hindered < k.could_not:
            code = "could_not_inspect"
        elif entity in bad:
            code = "not_found" if missed < rng.uniform(*k.false_clear) else "verified"
        elif wrong < k.false_find:
            code = "verified"
        elif entity in benign:
            code = "device_fault" if benign[entity] in _DEVICE else "benign_explained"
        else:
            code = "not_found"
        out.append(code)
    return out


def react(
    city: City, entity_ids: Sequence[str], codes: Sequence[str], day: date, rng: np.random.Generator
) -> list[str]:
    """Let violators react to visits: from the next day on they stop, lie low, or go on; so do some next door.

    The city's later days and its truth change from then on; days that were made before stay as they were made.

    Args:
        city: the city.
        entity_ids: who was visited.
        codes: what the visits reported, see `inspect`.
        day: of the visits.
        rng: the violators' choice.

    Returns:
        Who changed what they do.
    """
    k, offset = city.knobs.reactions, city.offset(day)
    places = _place(city, entity_ids)
    changed: list[str] = []

    def low(block: Block, entity: int, *, ever: bool) -> None:
        days = NEVER if ever else int(rng.integers(k.low_days[0], k.low_days[1] + 1))
        block.pauses.add(entity, offset + 1, offset + 1 + days, k.careful)
        changed.append(block.folk.uscc[entity].decode())

    for entity_id, code in zip(entity_ids, codes, strict=True):
        if entity_id not in places or code == "could_not_inspect":
            continue
        block, entity = places[entity_id]
        active = {s.entity for s in _violating(block, offset)}
        chance = float(rng.random())
        if entity in active:
            if code == "verified" and chance < k.stops_if_found:
                low(block, entity, ever=True)
            elif chance < (k.stops_if_found + k.lies_low_if_found if code == "verified" else k.lies_low_if_missed):
                low(block, entity, ever=False)
        area = block.points.area[block.points.owner == entity]
        for other in sorted(active - {entity}):
            theirs = block.points.area[block.points.owner == other]
            if np.isin(theirs, area).any() and rng.random() < k.neighbours:
                low(block, other, ever=False)
    return changed


def tip_offs(city: City, day: date, rng: np.random.Generator) -> list[str]:
    """Enterprises that somebody complains about on a day; most complaints about the guilty are never made."""
    k = city.knobs.inspectors
    bad, _ = _kinds(city, day)
    out = [entity for entity in sorted(bad) if rng.random() < k.tip_off]
    wrong = int(rng.binomial(city.config.entities, k.false_tip_off))
    for row in sorted(rng.integers(0, city.config.entities, wrong).tolist()):
        out.append(city.blocks[row // BLOCK].folk.uscc[row % BLOCK].decode())
    return list(dict.fromkeys(out))


def _violating(block: Block, offset: int) -> Iterator[Story]:
    for story in block.told.acts:
        if story.violation and any(a <= offset < b for a, b in block.pauses.parts(story)):
            yield story
