"""The city: blocks of entities, days of load, registers and the truth."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from dianhuan_sdk import InputError
from dianhuan_simulator._block import Block, Surroundings
from dianhuan_simulator._calendar import CityDay, city_day
from dianhuan_simulator._knobs import Knobs, load_knobs
from dianhuan_simulator._people import BLOCK
from dianhuan_simulator._random import Floats, Ints
from dianhuan_simulator._shapes import HOURS, library
from dianhuan_simulator._weather import DayWeather, day_weather, sunshine


class CityConfig(BaseModel):
    """What a person chooses.

    Args:
        entities: how many; the first ones are the same for every choice.
        days: length of the run; events beyond it are not told.
        start: first day.
        base_rate: share of violators; None keeps the knobs' own.
        knobs: YAML file that overrides parts of `knobs.yaml`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    entities: int = Field(ge=1, le=5_000_000)
    days: int = Field(ge=1, le=2000)
    start: date
    base_rate: float | None = Field(default=None, ge=0, le=0.1)
    knobs: Path | None = None


class City:
    """A city with known truth; equal for equal (config, seed), any day made alone.

    Metering points stand in one fixed order: that of `registers()["metering_point"]` without the unlisted ones,
    which are part of `day()` too and named by `point_ids`.
    """

    def __init__(self, config: CityConfig, seed: int) -> None:
        self.config, self.seed = config, seed
        self.knobs: Knobs = load_knobs(config.knobs, config.base_rate)
        self.divisions = tuple(self.knobs.divisions)
        self.profiles = tuple(self.knobs.profiles.values())
        self._library = lru_cache(maxsize=4)(self._make_library)
        self._around = lru_cache(maxsize=2)(self._make_around)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks that hold the city's entities."""
        count = -(-self.config.entities // BLOCK)
        return tuple(Block(self.knobs, self.seed, number, self.config.start) for number in range(count))

    def inside(self, block: Block) -> int:
        """How many of a block's entities belong to the city."""
        return min(BLOCK, self.config.entities - block.number * BLOCK)

    def rows_inside(self, block: Block, rows: Ints) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which metering points of a block belong to the city: those of its entities."""
        return np.asarray(block.points.owner[rows] < self.inside(block))

    @property
    def days(self) -> tuple[date, ...]:
        """The days of the run."""
        return tuple(self.config.start + timedelta(days=i) for i in range(self.config.days))

    def offset(self, day: date) -> int:
        """Days from the start.

        Raises:
            InputError: the day is not of this city's run.
        """
        offset = (day - self.config.start).days
        if not 0 <= offset < self.config.days:
            raise InputError(
                f"{day} is not a day of this city", expected=f"{self.days[0]} … {self.days[-1]}", hint="raise `days`"
            )
        return offset

    def weather(self, day: date) -> DayWeather:
        """The weather of a day, by district in the order of `divisions`."""
        return day_weather(self.seed, day, len(self.divisions))

    def calendar(self, day: date) -> CityDay:
        """What day it is."""
        return city_day(day, self.knobs.spring_festivals)

    def _make_library(self, scheme: int) -> Floats:
        valley = np.zeros(96, dtype=bool)
        for first, last in self.knobs.tariff[scheme].valley:
            valley |= (first <= HOURS) & (last > HOURS)
        return library(self.seed, valley)

    def _make_around(self, day: date) -> Surroundings:
        schemes = [i for i, s in enumerate(self.knobs.tariff) if s.since <= day] or [0]
        weather = self.weather(day)
        return Surroundings(
            day=self.calendar(day),
            offset=self.offset(day),
            library=self._library(schemes[-1]),
            weather=weather.load_factor,
            sun=sunshine(weather, day),
        )

    def around(self, day: date) -> Surroundings:
        """What that day's blocks share."""
        return self._around(day)

    @cached_property
    def point_ids(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Number of every metering point (its id is the decimal text), in the order of `day()`."""
        return np.concatenate(
            [b.points.point[self.rows_inside(b, np.arange(len(b.points.point)))] for b in self.blocks]
        )

    def day_blocks(self, day: date) -> Iterator[Floats]:
        """`day`, a block at a time, for those who stream."""
        around = self.around(day)
        for block in self.blocks:
            report = block.report(around)
            kw = np.full((len(block.points.point), 96), np.nan, dtype=np.float32)
            kw[report.rows] = block.kilowatts(report.cells, report.rows, around.offset)
            yield kw[self.rows_inside(block, np.arange(len(kw)))]

    def day(self, day: date) -> Floats:
        """Load of a day after all corrections.

        Returns:
            Shape (metering points, 96), float32, primary-side kW, NaN = missing.
        """
        return np.concatenate(list(self.day_blocks(day)))

    def registers(self) -> dict[str, pa.Table]:
        """The standard tables of the city by name, over the whole run."""
        from dianhuan_simulator._registers import registers

        return registers(self)

    def truth(self) -> pa.Table:
        """What is true within the run: violations and benign twins; see `_truth.TRUTH_SCHEMA`."""
        from dianhuan_simulator._truth import truth

        return truth(self)
