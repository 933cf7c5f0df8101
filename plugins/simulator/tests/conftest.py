"""Small cities that several tests look at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from dianhuan_simulator import City, CityConfig, write_hunan

START = date(2026, 3, 2)


@pytest.fixture(scope="session")
def make_city() -> Callable[..., City]:
    def make(entities: int = 1500, days: int = 5, seed: int = 7, **more: object) -> City:
        start = more.pop("start", START)
        return City(CityConfig(entities=entities, days=days, start=start, **more), seed)

    return make


@pytest.fixture(scope="session")
def violators(make_city: Callable[..., City]) -> tuple[City, np.ndarray]:
    """A city of a block with many violators, and its curves: shape (metering points, 30, 96)."""
    city = make_city(entities=4096, days=30, base_rate=0.02)
    return city, np.stack([city.day(d) for d in city.days], axis=1)


@pytest.fixture(scope="session")
def hunan(make_city: Callable[..., City], tmp_path_factory: pytest.TempPathFactory) -> tuple[City, Path]:
    """A written city: two blocks, the second one cut, eight days."""
    city = make_city(entities=4700, days=8)
    out = tmp_path_factory.mktemp("hunan")
    write_hunan(city, out)
    return city, out
