"""What devices read at a minute of the run: the samples of the days that a run needs, and a clock that runs faster."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import numpy as np

from dianhuan_simulator.emulator._devices import Channel, DeviceSpec
from dianhuan_simulator.emulator._shifts import DAY
from dianhuan_simulator.emulator.world import Emulation, PlantDay

_PLACES = {"active_power": 3, "energy": 2, "current": 3, "voltage": 1, "concentration": 3}


class Feed:
    """Samples of [first, last) minutes of a run; whole days are kept, from the first one needed to the last.

    Args:
        world: the plants.
        first, last: minutes of the run.
    """

    def __init__(self, world: Emulation, first: int, last: int) -> None:
        self.world, self.first, self.last = world, first, last
        days = range(first // DAY, min((last - 1 + 10) // DAY + 1, world.days))
        self._days: dict[int, PlantDay] = {offset: world.day(offset) for offset in days}
        self._energy: dict[tuple[int, int], np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = {}
        self._losses: dict[int, list[tuple[int, int, int]]] = {}
        for plant, story in world.stories():
            for e in story.effects:
                if e.kind == "lost":
                    self._losses.setdefault(plant, []).append((e.start, e.end, e.arrives if e.value else -1))

    def losses(self, plant: int) -> list[tuple[int, int, int]]:
        """(start, end, arrives) of a plant's losses of communication; `arrives` -1 = never sent."""
        return self._losses.get(plant, [])

    def has(self, minute: int) -> bool:
        """Are the samples of a minute kept?"""
        return minute >= self.first and minute // DAY in self._days

    def value(self, channel: Channel, minute: int) -> float | None:
        """What a channel shows for a minute by its device's clock; None = nothing."""
        day = self._days[minute // DAY]
        at = minute % DAY
        if channel.quantity == "concentration":
            raw = float(day.factors[channel.row, at])
        else:
            raw = float(day.kw[channel.row, at])
        if np.isnan(raw):
            return None
        if channel.quantity == "energy":
            raw = self._register(day, channel.row, at)
        elif channel.quantity == "current":
            raw = raw / (3**0.5 * 0.38 * float(day.power_factor[channel.row]))
        elif channel.quantity == "voltage":
            raw = 220.0 + 2.0 * float(np.sin(minute / 97 + channel.row))
        return round(raw * channel.scale, _PLACES[channel.quantity])

    def _register(self, day: PlantDay, row: int, at: int) -> float:
        key = (day.offset, row)
        if key not in self._energy:
            self._energy[key] = day.energy(np.array([row]))[0]
        return float(self._energy[key][at])

    def sample(self, spec: DeviceSpec, minute: int) -> list[tuple[Channel, float]]:
        """(channel, value) of all that a device shows for a minute."""
        read = [(c, self.value(c, minute)) for c in spec.channels] if self.has(minute) else []
        return [(c, v) for c, v in read if v is not None]


class SimClock:
    """Simulated time: `speed` minutes pass in a minute.

    Args:
        start: instant of the minute `first`.
        first: minute of the run at which the clock starts.
        speed: simulated seconds in a second.
    """

    def __init__(self, start: datetime, first: int, speed: float) -> None:
        self._start, self._first, self.speed = start, first, speed
        self._zero = asyncio.get_running_loop().time()

    def minutes(self) -> float:
        """Minutes of the run that have passed."""
        return self._first + (asyncio.get_running_loop().time() - self._zero) * self.speed / 60

    def now(self) -> datetime:
        """The simulated instant."""
        return self._start + timedelta(minutes=self.minutes() - self._first)

    async def until(self, minute: float) -> None:
        """Sleep until that minute of the run."""
        wait = (minute - self.minutes()) * 60 / self.speed
        if wait > 0:
            await asyncio.sleep(wait)
