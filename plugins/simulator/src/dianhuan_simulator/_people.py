"""A block of entities: who they are and how they use electricity, before anything happens to them.

A city is made of blocks of BLOCK entities that depend on the seed and the block's number only, so that the first
entities of a small city are the first entities of a large one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dianhuan_simulator._identity import credit_codes
from dianhuan_simulator._knobs import Knobs
from dianhuan_simulator._random import Bools, Floats, Ints, Purpose, stream
from dianhuan_simulator._shapes import PERSONS, VARIANTS, shape_index

BLOCK = 4096
NEVER = 1_000_000
"""A day offset beyond every run."""

_SERIAL_STRIDE, _SERIAL_SPACE = 514_229_117, 31**6


@dataclass
class People:
    """Arrays of shape (BLOCK,); day offsets count from the city's first day."""

    number: int
    profile: Ints
    division: Ints
    shape_row: Ints
    kw: Floats
    base: Floats
    saturday: Floats
    sunday: Floats
    holiday: Floats
    spring_depth: Floats
    spring_before: Ints
    spring_after: Ints
    temp: Floats
    noise: Floats
    daily: Floats
    code: Ints
    uscc: np.ndarray[Any, np.dtype[np.bytes_]]
    company: Bools
    name_picks: Ints
    contact: Ints
    phone: Ints
    lon: Floats
    lat: Floats
    opened: Ints
    closed: Ints
    phase_from: Ints
    phase_to: Ints
    phase_active: Floats
    phase_base: Floats
    boost_from: Ints
    boost_to: Ints
    boost: Floats
    permit: Ints
    night_permit: Ints
    guest: Bools


def profile_shares(knobs: Knobs) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Share of each profile once the valley night works are cut out of all others."""
    night = knobs.population.valley_night_share
    raw = np.array([0.0 if name == "valley_works" else p.share for name, p in knobs.profiles.items()])
    shares = raw / raw.sum() * (1 - night)
    shares[list(knobs.profiles).index("valley_works")] = night
    return np.asarray(shares)


def people(knobs: Knobs, seed: int, number: int) -> People:
    """The block of that number."""
    rng = stream(seed, Purpose.PEOPLE, number)
    profiles = list(knobs.profiles.values())
    divisions = list(knobs.divisions)
    weights = np.array([d.share for d in knobs.divisions.values()])
    profile = rng.choice(len(profiles), BLOCK, p=profile_shares(knobs))
    division = rng.choice(len(divisions), BLOCK, p=weights / weights.sum())

    def of(field: str) -> Floats:
        return np.array([getattr(p, field) for p in profiles], dtype=np.float32)[profile]

    kw = of("kw") * np.exp(of("sigma") * rng.standard_normal(BLOCK))
    works_or_not = of("works_or_not") > 0

    def level(field: str) -> Floats:
        rate = of(field)
        works = (rng.random(BLOCK) < rate).astype(np.float32)
        return np.where(works_or_not, works, rate * rng.uniform(0.9, 1.1, BLOCK)).astype(np.float32)

    shape = np.array([shape_index(p.shape) for p in profiles])[profile]
    serial = ((number * BLOCK + np.arange(BLOCK) + 1) * _SERIAL_STRIDE + seed * 7919) % _SERIAL_SPACE
    company = rng.random(BLOCK) < np.where(of("kw") > 12, 0.85, 0.25)
    registered = np.array([int(d) for d in divisions])[division]
    registered = np.where(rng.random(BLOCK) < 0.12, registered // 100 * 100, registered)
    centre = np.array([(d.lon, d.lat) for d in knobs.divisions.values()])[division]
    place = centre + rng.standard_normal((BLOCK, 2)) * 0.05
    return People(
        number=number,
        profile=profile,
        division=division,
        shape_row=(shape * PERSONS + rng.integers(0, PERSONS, BLOCK)) * VARIANTS,
        kw=np.clip(kw, 0.3, 20_000).astype(np.float32),
        base=(of("base") * rng.uniform(0.7, 1.3, BLOCK)).clip(0, 0.95).astype(np.float32),
        saturday=level("saturday"),
        sunday=level("sunday"),
        holiday=level("holiday"),
        spring_depth=of("spring"),
        spring_before=rng.integers(1, 11, BLOCK),
        spring_after=rng.integers(4, 14, BLOCK),
        temp=(of("temp") * rng.uniform(0.5, 1.5, BLOCK)).astype(np.float32),
        noise=(of("noise") * rng.uniform(0.7, 1.3, BLOCK)).astype(np.float32),
        daily=of("daily"),
        code=rng.integers(0, 1 << 30, BLOCK),
        uscc=credit_codes(np.where(company, 91, 92), registered, serial),
        company=company,
        name_picks=rng.integers(0, 1 << 30, (BLOCK, 2)),
        contact=rng.integers(0, 1 << 30, (BLOCK, 2)),
        phone=rng.integers(13_000_000_000, 19_999_999_999, BLOCK),
        lon=place[:, 0].astype(np.float32),
        lat=place[:, 1].astype(np.float32),
        opened=-rng.integers(120, 7000, BLOCK),
        closed=np.full(BLOCK, NEVER),
        phase_from=np.full(BLOCK, NEVER),
        phase_to=np.full(BLOCK, NEVER),
        phase_active=np.ones(BLOCK, dtype=np.float32),
        phase_base=np.ones(BLOCK, dtype=np.float32),
        boost_from=np.full(BLOCK, NEVER),
        boost_to=np.full(BLOCK, NEVER),
        boost=np.ones(BLOCK, dtype=np.float32),
        permit=np.zeros(BLOCK, dtype=np.int64),
        night_permit=np.full(BLOCK, -1),
        guest=np.zeros(BLOCK, dtype=bool),
    )
