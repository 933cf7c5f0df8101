"""Random streams: one independent stream for each (seed, purpose, block, day), so that any part is made alone."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float32]]
Doubles = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]


class Purpose(IntEnum):
    """What a stream is for; values are part of a city's identity and never change."""

    SHAPES = 1
    PEOPLE = 2
    STORY = 3
    METERS = 4
    LOAD = 5
    LEVEL = 6
    ACTS = 7
    TELEMETRY = 8
    OUTAGE = 9
    WEATHER = 10
    WEEK = 11
    REGISTER = 12
    PLANT = 21
    SHIFT = 22
    PLANT_STORY = 23
    MINUTE = 24
    ANSWER = 25
    ORDERS = 26
    CURTAILMENT = 31
    METER_FAULT = 32


def stream(seed: int, purpose: Purpose, block: int = 0, day: int = 0) -> np.random.Generator:
    """The stream of a purpose; `day` is a proleptic ordinal, `block` the number of a block of entities."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence((seed, purpose, block, day))))
