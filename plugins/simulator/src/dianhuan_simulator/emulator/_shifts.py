"""When lines run: shifts, breaks, days off, and orders obeyed. Minutes count from 00:00 local time of the first day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np

from dianhuan_simulator._calendar import city_day
from dianhuan_simulator._knobs import load_knobs
from dianhuan_simulator._random import Bools, Floats, Ints, Purpose, stream
from dianhuan_simulator.emulator._knobs import PlantsKnobs
from dianhuan_simulator.emulator._plants import PLANT_BLOCK, SHIFTS, Site

DAY = 1440

# Start and end of a shift, and its breaks, in hours of its day.
_HOURS: dict[str, tuple[float, float, tuple[tuple[float, float], ...]]] = {
    "single": (8.0, 17.5, ((12.0, 13.0),)),
    "two": (7.0, 23.0, ((11.5, 12.3), (17.5, 18.3))),
    "three": (0.0, 24.0, ()),
    "valley": (22.5, 31.0, ()),
    "continuous": (0.0, 24.0, ()),
}
LONGEST_BREAKS = 2


@dataclass(frozen=True, slots=True)
class Order:
    """An order to one plant, [start, end) in minutes; `end` of a standing ban is the end of the run."""

    plant: int
    kind: str
    start: int
    end: int
    limit_percent: float | None


@dataclass(frozen=True)
class Timetable:
    """What the lines of a site do on each day of a run, from the day before the first to the day after the last.

    Args:
        window: shape (lines, days + 2, 2), start and end of the run that begins on a day; equal where there is none.
        breaks: shape (lines, days + 2, 2, 2).
        level: shape (lines, days + 2), share of rated power.
        off: shape (plants, days + 2), days without work for want of orders (stoppages).
        orders: all orders of the run.
    """

    window: Ints
    breaks: Ints
    level: Floats
    off: Bools
    orders: tuple[Order, ...]


def episodes(knobs: PlantsKnobs, seed: int, days: int) -> list[tuple[int, int]]:
    """Heavy-pollution alerts as [first day, day after the last)."""
    found = []
    for number in range(-(-days // knobs.orders.every_days)):
        rng = stream(seed, Purpose.ORDERS, number)
        length = int(rng.integers(knobs.orders.days[0], knobs.orders.days[1] + 1))
        room = max(1, knobs.orders.every_days - length)
        first = number * knobs.orders.every_days + int(rng.integers(0, room))
        if first < days:
            found.append((first, min(first + length, days)))
    return found


def timetable(knobs: PlantsKnobs, seed: int, at: Site, start: date, days: int, ordered: Bools) -> Timetable:
    """The timetable of a site; a longer run has the same first days.

    Args:
        ordered: shape (plants,), plants that every alert stops whatever the draw says.
    """
    lines = len(at.line_plant)
    shift = at.shift[at.line_plant]
    window = np.zeros((lines, days + 2, 2), dtype=np.int64)
    breaks = np.zeros((lines, days + 2, LONGEST_BREAKS, 2), dtype=np.int64)
    level = np.zeros((lines, days + 2), dtype=np.float32)
    off = np.zeros((PLANT_BLOCK, days + 2), dtype=np.bool_)
    festivals = load_knobs().spring_festivals
    rest = np.array([knobs.run.day_off[s] for s in SHIFTS])  # type: ignore[index]
    hours = np.array([_HOURS[s][:2] for s in SHIFTS])
    pauses = np.zeros((len(SHIFTS), LONGEST_BREAKS, 2))
    for row, name in enumerate(SHIFTS):
        for i, hours_of in enumerate(_HOURS[name][2]):
            pauses[row, i] = hours_of
    round_the_clock = np.isin(shift, [SHIFTS.index("three"), SHIFTS.index("continuous")])
    chance = np.where(at.shift == SHIFTS.index("continuous"), 0.0, knobs.run.stoppage)
    for column in range(days + 2):
        offset = column - 1
        rng = stream(seed, Purpose.SHIFT, at.number, column)
        holiday = city_day(start + timedelta(days=offset), festivals).kind in ("sunday", "holiday")
        works_plant = rng.random(PLANT_BLOCK) >= (rest[at.shift] if holiday else 0.0)
        off[:, column] = (rng.random(PLANT_BLOCK) < chance) & works_plant
        works = (works_plant & ~off[:, column])[at.line_plant] & (rng.random(lines) >= 0.5 * chance[at.line_plant])
        jitter = np.where(round_the_clock[:, None], 0, knobs.run.start_jitter * rng.standard_normal((lines, 2)))
        span = np.rint(hours[shift] * 60 + jitter).astype(np.int64) + offset * DAY
        window[:, column] = np.where(works[:, None], span, 0)
        pause = np.rint(pauses[shift] * 60 + 4 * rng.standard_normal((lines, LONGEST_BREAKS, 1))).astype(np.int64)
        real = works[:, None, None] & (pauses[shift] > 0)
        breaks[:, column] = np.where(real, pause + offset * DAY, 0)
        level[:, column] = rng.uniform(*knobs.run.level, lines)
    orders = tuple(_orders(knobs, seed, at, days, ordered))
    _obey(at, window, breaks, level, orders)
    return Timetable(window, breaks, level, off, orders)


def _orders(knobs: PlantsKnobs, seed: int, at: Site, days: int, ordered: Bools) -> list[Order]:
    k = knobs.orders
    draw = stream(seed, Purpose.ORDERS, at.number, 1).random(PLANT_BLOCK)
    draw[ordered] = 0.0
    found = [Order(int(p), "night_ban", 0, days * DAY, None) for p in np.flatnonzero(at.night_ban)]
    for first, last in episodes(knobs, seed, days):
        for plant in range(PLANT_BLOCK):
            stop = draw[plant] < k.stop
            if stop and SHIFTS[at.shift[plant]] != "continuous":
                found.append(Order(plant, "stop", first * DAY, last * DAY, None))
            elif draw[plant] < k.stop + k.limit:
                found.append(Order(plant, "limit", first * DAY, last * DAY, k.limit_percent))
    return found


def _obey(at: Site, window: Ints, breaks: Ints, level: Floats, orders: tuple[Order, ...]) -> None:
    for order in orders:
        for line in np.flatnonzero(at.line_plant == order.plant):
            run: Any = window[line]
            if order.kind == "limit":
                inside = (run[:, 0] >= order.start) & (run[:, 0] < order.end)
                level[line, inside] *= (order.limit_percent or 100.0) / 100 * 0.92
            elif order.kind == "stop":
                # What was begun before the order ends with it; what would begin under it waits for another day.
                starts_inside = (run[:, 0] >= order.start) & (run[:, 0] < order.end)
                run[starts_inside] = 0
                breaks[line, starts_inside] = 0
                run[:, 1] = np.where((run[:, 0] < order.start) & (run[:, 1] > order.start), order.start, run[:, 1])
            else:
                columns = np.arange(len(run)) - 1
                run[:, 1] = np.where(run[:, 1] > 0, np.minimum(run[:, 1], columns * DAY + 22 * 60 - 10), run[:, 1])
