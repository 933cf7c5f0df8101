"""Rules that running systems use, as plain functions: named baselines for benches, not models of this plugin.

Each takes a block and returns an array of shape (entities,): 1 or more means the rule fires, a larger number ranks
higher, NaN where the rule has no data. None of them knows tariffs, permits, PV or the calendar; that is the point.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dianhuan_models._stats import Array, mean
from dianhuan_sdk import Block

LAST_WEEK = slice(-8, -1)


def night_rule(block: Block) -> Array:
    """Zhuzhou 2018: mean night load (22–06) above 1.5 × mean day load (08–18); 1 = at the limit."""
    night, day = mean(block.feature("night_kw")), mean(block.feature("day_kw"))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(day > 0, night / day, np.where(night > 0, np.inf, 0.0))
    return np.asarray(np.where(np.isnan(night) | np.isnan(day), np.nan, ratio / 1.5))


def three_sigma_own(block: Block) -> Array:
    """|last day − own mean| over three own standard deviations of daily energy; 1 = at three sigma."""
    kwh = block.feature("kwh")
    return _sigmas(kwh[:, -1], mean(kwh[:, :-1]), _std(kwh[:, :-1])) / 3


def three_sigma_industry(block: Block) -> Array:
    """|mean − industry's mean| over three standard deviations of mean daily energy among the same industry code."""
    level = mean(block.feature("kwh"))
    codes = block.entities.column("industry").combine_chunks().fill_null("").dictionary_encode()
    answer: Array = np.full(len(level), np.nan)
    index = codes.indices.to_numpy(zero_copy_only=False)
    for code in range(len(codes.dictionary)):
        rows = index == code
        peers = level[rows][None, :]
        answer[rows] = _sigmas(level[rows], mean(peers)[0], _std(peers)[0]) / 3
    return answer


def three_sigma_both(block: Block) -> Array:
    """Own *and* industry three-sigma rule (patent CN114049033B): the smaller of the two."""
    return np.asarray(np.minimum(three_sigma_own(block), three_sigma_industry(block)))


def colour_flag(block: Block) -> Array:
    """Coloured tables of running systems: the last day differs by ± 50 % from last week's mean; 1 = at 50 %."""
    kwh = block.feature("kwh")
    before = mean(kwh[:, LAST_WEEK])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(before > 0, np.abs(kwh[:, -1] / before - 1) / 0.5, np.nan))


def largest_kwh(block: Block) -> Array:
    """Daily energy: ranks only, in units in which 1 is the largest of the block."""
    level = mean(block.feature("kwh"))
    return np.asarray(level / np.fmax.reduce(level, initial=1e-9))


def _std(values: np.ndarray[Any, Any]) -> Array:
    centre = mean(values)
    answer: Array = np.sqrt(mean((values - centre[..., None]) ** 2))
    return answer


def _sigmas(value: Any, centre: Any, std: Any) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(std > 0, np.abs(value - centre) / std, np.where(value == centre, 0.0, np.nan)))


BASELINES: Mapping[str, Callable[[Block], Array]] = {
    "night_1.5x": night_rule,
    "3sigma_own": three_sigma_own,
    "3sigma_industry": three_sigma_industry,
    "3sigma_both": three_sigma_both,
    "colour_50pct": colour_flag,
    "largest_kwh": largest_kwh,
}
"""Baselines by name."""
