"""V3–V8, V10: the curve is a grid meter."""

from __future__ import annotations

import numpy as np

from dianhuan_bench.injection._types import NIGHT, SLOTS, WORK, Bools, Curve, Draft


def v3(d: Draft) -> None:
    """On 60–80 % of nights the energy of 08–18 goes to 22–05; by day the plant idles, on the other days altogether.

    `moved_days` counts the days whose work was moved; that of the others is not done.
    """
    share, idle = d.draw("nights", 0.6, 0.8), d.idle
    moved = [day for day in d.later if day == d.days - 2 or (day < d.days - 1 and d.rng.random() < share)]
    for day in moved:
        move_day(d, day, idle)
    d.kw[d.first :, WORK] = np.minimum(d.kw[d.first :, WORK], idle)
    d.drawn["moved_days"] = moved


def move_day(d: Draft, day: int, idle: float) -> None:
    """The work of a day to the night that follows it, evenly; gaps receive nothing."""
    work = np.nan_to_num(np.maximum(d.source[day, WORK] - idle, 0)).sum()
    evening, morning = d.kw[day, 88:], d.kw[day + 1, :20]
    room = int((~np.isnan(evening)).sum() + (~np.isnan(morning)).sum())
    if not room:
        return
    d.kw[day, 88:] += work / room
    d.kw[day + 1, :20] += work / room


def v4(d: Draft) -> None:
    """The grid meter counts .3 to .8 of the load; the sub-meters go on."""
    d.beside["sub_meters"] = d.source.copy()
    d.kw[d.first :] *= np.float32(d.draw("factor", 0.3, 0.8))


def v5(d: Draft) -> None:
    """Frozen value, replay of a week before, or replay with 1 % noise."""
    kind = ("freeze", "replay", "noisy_replay")[d.whole("form", 0, 2)]
    d.drawn["form"] = kind
    length = d.whole("days", 1, max(1, min(5, d.days - d.first)))
    end = min(d.first + length, d.days)
    if kind == "freeze":
        held = d.source[d.first, int(d.rng.integers(0, 96))]
        held = np.float32(d.peak / 2) if np.isnan(held) else held
        d.kw[d.first : end] = np.where(np.isnan(d.source[d.first : end]), np.nan, held)
        return
    back = 7 if d.first >= 7 else max(d.first, 1)
    for day in range(d.first, end):
        d.kw[day] = d.source[(day - back) % d.days]
        if kind == "noisy_replay":
            d.kw[day] *= d.rng.normal(1, 0.01, 96).astype(np.float32)


def order_window(d: Draft) -> Bools:
    """Days of an order of 1 to 7 days; kept beside the curve as a mask of points."""
    length = d.whole("order_days", 1, max(1, min(7, d.days - d.first)))
    ordered = np.zeros((d.days, 96), bool)
    ordered[d.first : d.first + length] = True
    d.beside["ordered"] = ordered
    return ordered


def v6(d: Draft) -> None:
    """An order of −30 %: 0 to −12 % is what happens, or the work is done before and after the window."""
    ordered = order_window(d)
    if d.rng.random() < 0.5:
        d.drawn["form"] = "ignored"
        d.kw[ordered] *= np.float32(1 - d.draw("cut", 0.01, 0.12))
        return
    d.drawn["form"] = "shifted"
    d.kw[ordered] *= np.float32(0.7)
    days = np.flatnonzero(ordered[:, 0])
    around = [n for n in (days[0] - 1, days[-1] + 1) if 0 <= n < d.days]
    moved = np.nansum(d.source[ordered]) - np.nansum(d.kw[ordered])
    for n in around:
        room = int((~np.isnan(d.kw[n])).sum())
        d.kw[n] += np.float32(moved / len(around) / max(room, 1))


def close(d: Draft) -> None:
    """An order of closure on the first day: the load falls to idle."""
    closed = np.zeros(d.days, bool)
    closed[d.first :] = True
    d.beside["closed"] = closed
    d.kw[d.first :] = np.minimum(d.source[d.first :], d.idle * 0.2)


def v7(d: Draft) -> None:
    """After a closure 5 to 60 % of the old load comes back, nights first."""
    close(d)
    wait = d.whole("quiet_days", 0, max(0, min(6, d.days - d.first - 2)))
    level, nights = d.draw("level", 0.05, 0.6), d.whole("nights_only", 2, 10)
    begin = d.first + wait
    work = np.nanmax(np.where(np.isnan(d.source), -np.inf, d.source), axis=1) if d.days else np.zeros(0)
    for day in range(begin, d.days):
        old = max(float(work[(day - d.first) % max(d.first, 1)]), 0.0) * level
        slots = NIGHT if day - begin < nights else NIGHT | WORK
        d.kw[day, slots] += np.float32(old) * d.rng.uniform(0.7, 1.1, int(slots.sum())).astype(np.float32)


def wet_hours(d: Draft) -> Bools:
    """Hours of rain, spells of some hours; kept beside the curve as a mask of points."""
    wet = np.zeros(d.days * 96, bool)
    for _ in range(max(1, int(d.days * 0.4))):
        start = int(d.rng.integers(0, len(wet)))
        wet[start : start + int(d.rng.integers(8, 40))] = True
    wet[min(d.first * 96 + 8, len(wet) - 24) :][:16] = True
    d.beside["wet"] = wet.reshape(d.days, 96)
    return d.beside["wet"]


def v8(d: Draft) -> None:
    """In wet hours 1.3 to 3 times the load."""
    wet = wet_hours(d).copy()
    wet[: d.first] = False
    d.kw[wet] *= np.float32(d.draw("ratio", 1.3, 3))


def v10(d: Draft) -> None:
    """The plant is closed, its shape appears at the neighbour's account, which the curve `neighbour` shows."""
    level = d.draw("level", 0.7, 1.0)
    neighbour = quiet_neighbour(d)
    neighbour[d.first :] += np.float32(level) * d.source[d.first :]
    d.beside["neighbour"] = neighbour
    close(d)


def quiet_neighbour(d: Draft) -> Curve:
    """A small shop next door."""
    shop = 0.05 * d.peak * (0.2 + ((SLOTS >= 34) & (SLOTS < 80)))
    return np.asarray(shop * d.rng.normal(1, 0.1, (d.days, 96)).clip(0.3), np.float32)
