"""Hourly weather by district: season, time of day, spells of some days, rain; made for any day alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date

import numpy as np

from dianhuan_simulator._random import Doubles, Floats, Purpose, stream

_MEMORY = np.array([1.0, 0.8, 0.55, 0.35, 0.2])
_MEMORY = _MEMORY / np.sqrt((_MEMORY**2).sum())


@dataclass(frozen=True)
class DayWeather:
    """One day of all districts, shape (districts, 24) each."""

    temp_c: Doubles
    rain_mm: Doubles
    wind_ms: Doubles
    humidity: Doubles
    cloud: Doubles

    @property
    def load_factor(self) -> Floats:
        """Shape (districts, 96): how much of the weather-driven load runs, 0 at 8 … 26 °C, 1 at 36 °C."""
        cooling = np.clip((self.temp_c - 26) / 10, 0, 1.2)
        heating = 0.7 * np.clip((8 - self.temp_c) / 12, 0, 1)
        return np.repeat(cooling + heating, 4, axis=1).astype(np.float32)


def _spell(seed: int, day: int, districts: int) -> Doubles:
    """Shape (3, districts): slowly changing standard normals for temperature, wetness, wind."""
    total = np.zeros((3, districts))
    for lag, weight in enumerate(_MEMORY):
        rng = stream(seed, Purpose.WEATHER, 0, day - lag)
        shared, own = rng.standard_normal((3, 1)), rng.standard_normal((3, districts))
        total += weight * (0.95 * shared + 0.312 * own)
    return total


def day_weather(seed: int, day: date, districts: int) -> DayWeather:
    """Weather of a day: means of Zhuzhou's climate (January 6 °C, July 30 °C, rain on about 150 days a year)."""
    temperature, wet, wind = _spell(seed, day.toordinal(), districts)
    rng = stream(seed, Purpose.WEATHER, 1, day.toordinal())
    hours = np.arange(24)
    season = 18 - 12 * math.cos(2 * math.pi * (day.timetuple().tm_yday - 20) / 365.25)
    rainy = wet > 0.22
    swing = np.where(rainy, 2.0, 4.5)[:, None] * np.cos(2 * np.pi * (hours - 15) / 24)
    temp = season + 3.2 * temperature[:, None] + swing - np.where(rainy, 2.0, 0.0)[:, None]
    falls = (rng.random((districts, 24)) < 0.45) & rainy[:, None]
    rain = np.where(falls, rng.gamma(0.7, 2.5, (districts, 24)), 0.0)
    cloud = np.clip(0.35 + 0.3 * wet[:, None] + 0.08 * rng.standard_normal((districts, 24)), 0.02, 0.95)
    humidity = np.clip(72 + 9 * wet[:, None] - 1.5 * swing, 25, 100)
    speed = np.clip(1.8 + 0.7 * wind[:, None] + 0.4 * rng.standard_normal((districts, 24)), 0, 25)
    return DayWeather(temp, rain, speed, humidity, cloud)


def sunshine(weather: DayWeather, day: date) -> Floats:
    """Shape (districts, 96): PV output ÷ rated power at about 27.8° N."""
    declination = 0.409 * math.sin(2 * math.pi * (day.timetuple().tm_yday - 81) / 365.25)
    latitude = math.radians(27.8)
    hour_angle = 2 * np.pi * ((np.arange(96) + 0.5) / 4 - 12.45) / 24
    height = math.sin(latitude) * math.sin(declination) + math.cos(latitude) * math.cos(declination) * np.cos(
        hour_angle
    )
    clear = 0.9 * np.clip(height, 0, None) ** 1.15
    return (clear * (1 - 0.85 * np.repeat(weather.cloud, 4, axis=1))).astype(np.float32)
