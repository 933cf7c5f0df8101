"""V1, V2, V9, V11: the curve is a treatment circuit; the production that it serves lies beside it."""

from __future__ import annotations

import numpy as np

from dianhuan_bench.injection._types import Bools, Draft


def runs(mask: Bools) -> list[tuple[int, int]]:
    """[start, end) of each stretch of true in a flat mask."""
    edges = np.flatnonzero(np.diff(np.r_[False, mask, False].astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def off(d: Draft, start: int, slots: int, level: float) -> None:
    """Standby from a flat slot on."""
    flat = d.kw.reshape(-1)
    part = flat[start : start + slots]
    flat[start : start + slots] = np.where(np.isnan(part), np.nan, np.minimum(part, level))


def v1(d: Draft) -> None:
    """Treatment at standby for 45 min to 8 h inside production, events as a Poisson process."""
    d.beside["production"] = d.source.copy()
    rate = d.draw("events_a_day", 0.15, 1.0)
    level = d.draw("standby", 0.0, 0.05) * d.peak
    places = [r for r in runs(d.working.reshape(-1)) if r[1] - r[0] >= 3 and r[1] > d.first * 96]
    events = 0
    for _ in range(max(1, int(d.rng.poisson(rate * (d.days - d.first))))):
        if not places:
            break
        start, end = places[int(d.rng.integers(len(places)))]
        start = max(start, d.first * 96)
        slots = min(int(d.rng.integers(3, 33)), end - start)
        off(d, int(d.rng.integers(start, end - slots + 1)), slots, level)
        events += 1
    d.drawn["events"] = events


def v2(d: Draft) -> None:
    """Under-load: .3 to .7 of what the production needs."""
    d.beside["production"] = d.source.copy()
    d.kw[d.first :] *= np.float32(d.draw("factor", 0.3, 0.7))


def v9(d: Draft) -> None:
    """The ratio sinks by 1 to 3 % a week."""
    d.beside["production"] = d.source.copy()
    weekly = d.draw("percent_a_week", 1, 3)
    weeks = (np.arange(d.days) - d.first).clip(0) / 7
    d.kw *= ((1 - weekly / 100) ** weeks)[:, None].astype(np.float32)


def v11(d: Draft) -> None:
    """Knows a persistence of 45 min: off 40 of every 60 min, a fan idling, on every second night only.

    A quarter hour holds 5 of the 20 minutes on average; which quarter is on moves from hour to hour.
    """
    d.beside["production"] = d.source.copy()
    idling = d.draw("idling", 0.1, 0.25)
    parity = d.whole("parity", 0, 1)
    night = (np.arange(96) >= 80) | (np.arange(96) < 24)
    for day in d.later:
        for hour in range(24):
            slots = slice(hour * 4, hour * 4 + 4)
            if (day + parity) % 2 or not night[slots].all():
                continue
            share = np.zeros(4, np.float32)
            begin = int(d.rng.integers(0, 60))
            for minute in range(begin, begin + 20):
                share[minute % 60 // 15] += 1 / 15
            d.kw[day, slots] *= share + (1 - share) * np.float32(idling)
