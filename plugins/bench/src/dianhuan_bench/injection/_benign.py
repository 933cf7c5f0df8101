"""Benign twins: what an honest enterprise does that looks like a recipe's violation."""

from __future__ import annotations

import numpy as np

from dianhuan_bench.injection._grid import close, order_window, quiet_neighbour, wet_hours
from dianhuan_bench.injection._treatment import off, runs
from dianhuan_bench.injection._types import NIGHT, SLOTS, WORK, Draft


def load_loss(d: Draft) -> None:
    """Fewer orders: the working part shrinks, the base stays."""
    _scale_work(d, d.draw("factor", 0.2, 0.8))


def efficient_machine(d: Draft) -> None:
    """A new machine: the working part needs less, for good."""
    _scale_work(d, d.draw("factor", 0.6, 0.9))


def _scale_work(d: Draft, factor: float) -> None:
    work = np.maximum(d.source[d.first :] - d.idle, 0)
    d.kw[d.first :] = d.source[d.first :] - np.float32(1 - factor) * work


def filed_maintenance(d: Draft) -> None:
    """Treatment off as filed before (`filed` beside the curve)."""
    start, slots = _one_stop(d, 4, 32)
    filed = np.zeros(d.days * 96, bool)
    filed[start : start + slots] = True
    d.beside["filed"] = filed.reshape(d.days, 96)


def _one_stop(d: Draft, shortest: int, longest: int) -> tuple[int, int]:
    d.beside["production"] = d.source.copy()
    places = [r for r in runs(d.working.reshape(-1)) if r[1] > d.first * 96 + 2]
    begin, end = places[int(d.rng.integers(len(places)))] if places else (d.first * 96, d.days * 96)
    slots = d.whole("slots", shortest, longest)
    start = int(d.rng.integers(max(begin, d.first * 96), end))
    off(d, start, slots, 0.02 * d.peak)
    return start, slots


def backwash(d: Draft) -> None:
    """A short stop at the same minute of each day."""
    d.beside["production"] = d.source.copy()
    slot, left = d.whole("slot", 24, 90), d.draw("left", 0.2, 0.6)
    d.kw[d.first :, slot] *= np.float32(left)


def lunch_stop(d: Draft) -> None:
    """Production and treatment both rest at noon."""
    start = d.whole("slot", 46, 49)
    d.kw[d.first :, start : start + 4] = np.minimum(d.kw[d.first :, start : start + 4], d.idle)
    d.beside["production"] = d.kw.copy()


def dead_ct(d: Draft) -> None:
    """A dead current transformer: exactly zero from some moment on, day and night."""
    d.beside["production"] = d.source.copy()
    start = d.first * 96 + d.whole("slot", 0, 95)
    flat = d.kw.reshape(-1)
    flat[start:] *= 0


def comm_loss(d: Draft) -> None:
    """Nothing comes for some hours."""
    d.beside["production"] = d.source.copy()
    start = d.first * 96 + d.whole("slot", 0, 60)
    d.kw.reshape(-1)[start : start + d.whole("slots", 8, 34)] = np.nan


def vfd_following(d: Draft) -> None:
    """A converter follows production, which has fallen too."""
    d.kw[d.first :] *= np.float32(d.draw("factor", 0.3, 0.7))
    d.beside["production"] = d.kw.copy()


def product_change(d: Draft) -> None:
    """Another product needs less treatment: one step, explained by the process (`work_order` in the parameters)."""
    d.beside["production"] = d.source.copy()
    d.drawn["work_order"] = True
    d.kw[d.first :] *= np.float32(d.draw("factor", 0.6, 0.8))


def valley_furnace(d: Draft) -> None:
    """Starts and ends with the valley, every night at the same level."""
    _nights(d, (SLOTS >= 92) | (SLOTS < 24), 0.03, 0.95)


def cold_store(d: Draft) -> None:
    """Compressors by night, half as much by day."""
    _nights(d, NIGHT, 0.45, 1.0)


def ev_depot(d: Draft) -> None:
    """Buses charge from about 22:30, tapering."""
    taper = np.exp(-(((SLOTS - 90) % 96) / 16)).astype(np.float32)
    d.kw[d.first :] = d.peak * taper * d.rng.normal(1, 0.08, (d.days - d.first, 96)).clip(0.3)
    _keep_gaps(d)


def security_light(d: Draft) -> None:
    """Dusk to dawn, constant."""
    _nights(d, (SLOTS >= 74) | (SLOTS < 25), 0.01, 1.0, noise=0.01)


def pv_net(d: Draft) -> None:
    """A roof of modules takes the day's load off the meter, below zero at noon."""
    sun = np.clip(np.sin((SLOTS - 24) / 52 * np.pi), 0, None) * (SLOTS < 76)
    power = d.draw("kwp", 0.8, 1.6) * d.peak
    d.kw[d.first :] -= (power * sun * d.rng.uniform(0.3, 1, (d.days - d.first, 1))).astype(np.float32)


def _nights(d: Draft, slots: np.ndarray, by_day: float, share: float, noise: float = 0.03) -> None:
    shape = np.where(slots, 1.0, by_day)
    runs_on = d.rng.random((d.days - d.first, 1)) < share
    level = d.peak * np.where(runs_on, shape, np.minimum(shape, by_day))
    d.kw[d.first :] = level * d.rng.normal(1, noise, (d.days - d.first, 96)).clip(0.3)
    _keep_gaps(d)


def _keep_gaps(d: Draft) -> None:
    d.kw[np.isnan(d.source)] = np.nan


def ct_ratio_change(d: Draft) -> None:
    """Another current transformer, with a work order; the sub-meters change with it in the same proportion."""
    d.drawn["work_order"] = True
    d.kw[d.first :] *= np.float32(d.draw("factor", 0.3, 0.8))
    d.beside["sub_meters"] = d.kw.copy()


def constant_pump(d: Draft) -> None:
    """A pump at constant speed behind a meter with a coarse quantum."""
    quantum = d.peak / d.whole("steps", 2, 4)
    level = round(d.peak * 0.8 / max(quantum, 1e-9)) * quantum
    end = min(d.first + d.whole("days", 1, 5), d.days)
    d.kw[d.first : end] = np.where(np.isnan(d.source[d.first : end]), np.nan, level)


def buffer_backfill(d: Draft) -> None:
    """A meter's buffer fills a gap with its own stored readings, rounded to the buffer's quantum."""
    quantum = max(d.peak / 200, 1e-6)
    end = min(d.first + d.whole("days", 1, 3), d.days)
    d.kw[d.first : end] = np.round(d.source[d.first : end] / quantum) * quantum


def true_cut(d: Draft) -> None:
    """An order is obeyed."""
    ordered = order_window(d)
    d.kw[ordered] *= np.float32(1 - d.draw("cut", 0.3, 0.5))


def order_slump(d: Draft) -> None:
    """Fewer orders from some days before the window to some days after it; the cut is met by chance."""
    ordered = order_window(d)
    days = np.flatnonzero(ordered[:, 0])
    d.kw[max(days[0] - 3, 0) : days[-1] + 4] *= np.float32(1 - d.draw("cut", 0.3, 0.5))


def dismantling(d: Draft) -> None:
    """Daytime works for some days after a closure."""
    close(d)
    end = min(d.first + d.whole("days", 3, 12), d.days)
    works = d.rng.uniform(0.05, 0.2, (end - d.first, int(WORK.sum()))).astype(np.float32)
    d.kw[d.first : end, WORK] += works * np.float32(d.peak)


def caretaker(d: Draft) -> None:
    """A guard house and lights after a closure."""
    close(d)
    lights = (SLOTS >= 73) & (SLOTS < 92)
    d.kw[d.first :, lights] += np.float32(d.draw("level", 0.005, 0.03) * d.peak)


def legal_tenant(d: Draft) -> None:
    """A new, permitted tenant after a closure (`new_owner_day` in the parameters), by day."""
    close(d)
    begin = min(d.first + d.whole("empty_days", 2, 10), d.days - 1)
    d.drawn["new_owner_day"] = begin
    d.kw[begin:, WORK] += np.float32(d.draw("level", 0.2, 0.9) * d.peak)


def dewatering(d: Draft) -> None:
    """Pumps against the water: they start with the rain and go on for hours after it."""
    wet = wet_hours(d).reshape(-1)
    after = np.convolve(wet, np.ones(25), "full")[: len(wet)] > 0
    after[: d.first * 96] = False
    d.kw.reshape(-1)[after] += np.float32(d.draw("level", 0.3, 1.0) * d.peak)


def ventilation(d: Draft) -> None:
    """Fans against damp air: a small part of the load."""
    wet = wet_hours(d).copy()
    wet[: d.first] = False
    d.kw[wet] *= np.float32(d.draw("ratio", 1.02, 1.15))


def indoor_work(d: Draft) -> None:
    """A day of rain is worked indoors, the whole day."""
    wet = np.asarray(wet_hours(d).any(axis=1))
    wet[: d.first] = False
    d.kw[wet] *= np.float32(d.draw("ratio", 1.1, 1.4))


def seasonal(d: Draft) -> None:
    """The treatment follows the season's temperature, down and up again."""
    d.beside["production"] = d.source.copy()
    swing = d.draw("swing", 0.03, 0.1)
    phase = np.pi * (np.arange(d.days) - d.first).clip(0) / max(d.days - d.first, 1)
    d.kw *= (1 - swing * np.sin(phase))[:, None].astype(np.float32)


def filter_step(d: Draft) -> None:
    """A filter fills slowly and is changed: the ratio returns in one step."""
    d.beside["production"] = d.source.copy()
    period = d.whole("period", 7, 21)
    age = (np.arange(d.days) - d.first).clip(0) % period
    d.kw *= (1 - 0.003 * age)[:, None].astype(np.float32)


def franchise(d: Draft) -> None:
    """Shops of one chain look alike, before as after; nobody was closed."""
    d.beside["neighbour"] = (quiet_neighbour(d) + np.float32(d.draw("level", 0.7, 1.0)) * d.source).astype(np.float32)
